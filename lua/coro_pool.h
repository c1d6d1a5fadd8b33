#ifndef EVSERVE_LUA_CORO_POOL_H
#define EVSERVE_LUA_CORO_POOL_H

/* Coroutines, which are used again and again, and what they wait for.
 *
 * A new thing to wait for is a file of its own: it has a struct coro_wait and calls coro_wait(). What begins coroutines
 * of its own fills in struct coro_owner. coro.c runs them and knows neither. */

#include "core/log.h"
#include "core/net_address.h"
#include "lua/anchor.h"
#include "lua/routes.h"
#include "lua/state.h"

/* What a suspended coroutine waits for. The functions say what happens meanwhile; NULL: nothing. Each may resume
 * coro. */
struct coro_wait {
    void (*on_drain)(struct coro *coro); /* the client has taken some of what was written */
    void (*on_data)(struct coro *coro);  /* more of the request's body has come, or its end, or a fault */
    int (*on_gone)(
        struct coro *coro); /* the client has gone: the wait is over. Push what the function that waits returns,
                                          * and return the number of values; coro is then resumed with them */
    void (*cancel)(struct coro *coro); /* the script ends: nothing may resume coro any more. Its Lua state is closed */
};

/* What has begun a coroutine, or takes part in its end. */
struct coro_owner {
    const char *what; /* what the log calls the coroutine: "timer" */
    void (*on_end)(void *owned,
                   uint64_t id);    /* the coroutine has ended, and is back in the pool; what was given with owner */
    int (*left)(const void *owned); /* how much more of the same has not begun; may be NULL */
    void (*place)(const struct coro *coro, char place[PLACE_MAX]); /* " (function at site.lua:3)"; may be NULL */
};

/* How a script takes the body of its request: one way excludes the others. */
enum body_use {
    BODY_UNUSED, /* not yet, or as a whole */
    BODY_IN_CHUNKS,
    BODY_IN_PARTS,
};

/* What belongs to a coroutine and ends with it, such as a socket: part of a larger struct. */
struct coro_thing {
    struct coro *coro; /* NULL: it belongs to none */
    struct coro_thing *next, *prev;
    void (*end)(struct coro_thing *thing); /* the coroutine ends, and has parted with it; may resume nothing */
};

/* Strings that a coroutine holds, until its end or until its client has gone. */
enum coro_held {
    HELD_PAGE,  /* what app.set { debug = true } shows of its error */
    HELD_PIECE, /* written by a stream, but not yet taken to its end */
    HELD_COUNT,
};

/* The response that a stream function writes (bind_stream.c). */
struct coro_stream {
    bool has_begun;    /* its head is written */
    int status;        /* of the head */
    const char *type;  /* Content-Type of the head, NULL when a field has it; static text */
    int64_t length;    /* of the content, or RESPONSE_LENGTH_UNKNOWN */
    size_t piece_done; /* bytes of HELD_PIECE that are taken */
};

/* What each thread has at the bottom of its stack, below what runs: to copy it from there is quicker than to look for
 * it in the registry. The first is no function: LuaJIT's coroutine.resume would call it in a thread that rests. */
enum coro_base {
    BASE_REQUEST_META = 1,
    BASE_XPCALL,
    BASE_REPORT, /* the message handler for it */
    BASE_SERVE,
    BASE_RESPOND,
    CORO_BASE = BASE_RESPOND, /* the number of them */
    BASE_REQUEST,             /* of one that responds to a request, above them: its request object */
};

struct peer;

struct coro {
    struct script *script;  /* whose it is */
    struct coro *next_free; /* in the list of those in no use */
    lua_State *L;           /* its thread, NULL while it needs none */
    int thread_ref;         /* keeps the thread, in the registry */
    uint32_t index;         /* in script->coros; with generation, what Lua objects hold of it */
    uint32_t generation;    /* rises with each use */
    int request_ref;        /* its place in the registry for a request object; LUA_NOREF until there is one */

    /* From here on it is about one use, and zero when it begins. */
    bool is_used;      /* it runs, or waits */
    bool uses_reserve; /* it may hold more than lua_memory */
    bool has_request;  /* it has a request object: of its own, or lent to a task */
    bool is_stored;    /* and that lies in the place of request_ref, for those who ask for it */

    const struct coro_wait *wait; /* what it is suspended for; NULL while it runs, or is in no use */
    uint64_t wait_id;             /* the wait's own: which timer wakes it */
    uint64_t ticket;              /* likewise: who may wake it (bind_sync.c) */
    int64_t wake_ms;              /* reactor time at which that is due; 0: nobody knows when the wait ends */

    /* Its function has returned; what that returned lies above CORO_BASE on L. Returns the number of arguments for a
     * function that lies there now and runs next on the same thread, or -1: this is the end. NULL: it is. */
    int (*on_return)(struct coro *coro);

    struct coro_list *list;   /* that it is in; NULL: in none */
    struct coro *prev, *next; /* in that list */
    int wake_nargs;           /* while it is ready: how many values it is resumed with, which lie on L already */

    struct script_task *tasks;            /* that it has begun and that end with it (bind_task.c) */
    void (*end_tasks)(struct coro *coro); /* called at its end while it has some */

    unsigned places;                       /* of semaphores that it holds inside sem:with() (bind_sync.c) */
    void (*end_places)(struct coro *coro); /* called at its end while it holds some */
    struct coro_thing *things;             /* that belong to it */

    const struct peer *(*find_peer)(
        const struct coro *coro); /* its client, for log lines after the response; may return
                                                               * NULL. NULL: there is none */

    void *result; /* of the job that a thread has done for it, until it takes it */
    void (*end_result)(
        struct coro *coro); /* whose it is: frees it, at its end at the latest; the Lua state may be closed */

    struct script_fetch *fetches;           /* that it has begun and that end with it (fetch_object.c) */
    void (*end_fetches)(struct coro *coro); /* called at its end while it has some */

    const struct coro_owner *owner; /* NULL for a request without anything to do at its end */
    void *owned;                    /* for the owner */
    uint64_t owned_id;              /* likewise */

    struct exchange *exchange;     /* the request it responds to; NULL for a timer, after the response, and once gone */
    const struct lua_route *route; /* of the request, NULL for a timer */
    enum body_use body_use;        /* of the request */
    struct anchor *held[HELD_COUNT];    /* NULL where there is none */
    unsigned kept;                      /* set of 1 << enum script_ref: tables that have something of it */
    void (*before_wait)(struct coro *); /* called before it waits, while there is an exchange; may be NULL */

    bool is_error_handler; /* runs app.on("error", fn): there is no second one */
    bool is_raised;        /* answers an error that is a response: there is no second one */
    bool is_page_json;     /* HELD_PAGE is JSON, not HTML */
    bool is_reported;      /* the error being dealt with has been logged */
    unsigned shields;      /* how many hold off the end: while there are any, its client's leaving ends no wait */
    bool is_gone;          /* the client left before the response was complete, or it was cancelled */
    bool is_told;          /* and the script knows: its next wait is its last */

    struct coro_stream stream; /* what it writes, if it does */
};

/* A coroutine with a thread, in use from now on. NULL when memory is short; uses_reserve: even beyond lua_memory. */
struct coro *coro_take(struct script *script, bool uses_reserve);

/* Back to the pool, with a thread that is at its end or without one. It has parted with its exchange. Its owner is
 * called last, and may begin other coroutines. */
void coro_put(struct coro *coro);

/* Put it, which is in no list, at the end of one; take it out, if it is in one. */
void coro_list_add(struct coro_list *list, struct coro *coro);
void coro_list_remove(struct coro *coro);

/* From now on the thing, which belongs to no coroutine, ends with coro; it does not any more. The latter does nothing
 * for a thing that belongs to none. */
void coro_own(struct coro *coro, struct coro_thing *thing);
void coro_disown(struct coro_thing *thing);

/* Let go of its thread, which cannot run again. */
void coro_drop_thread(struct coro *coro);

/* Free all coroutines of a script whose Lua state is closed. */
void coro_free_all(struct script *script);

/* The coroutine that a Lua object was made for, if it is still the same one, else NULL. */
static inline struct coro *coro_find(const struct script *script, uint32_t index, uint32_t generation)
{
    struct coro *coro = index < script->coro_count ? script->coros[index] : NULL;
    return coro != NULL && coro->generation == generation ? coro : NULL;
}

/* The coroutine that runs, for functions that the prelude calls in one. Raises where none does; what is "a request". */
struct coro *coro_check_running(lua_State *L, const char *what);

/* The coroutine that runs on L, if it may wait there. Raises an error that says why it may not; what is "app.sleep". */
struct coro *coro_check_waiting(lua_State *L, const char *what);

/* Free the result that it has and could not take, if there is one. */
static inline void coro_end_result(struct coro *coro)
{
    if (coro->result != NULL) {
        coro->end_result(coro);
    }
}

/* Wait: what a C function returns that has called coro_check_waiting(). on_gone of wait must not be NULL. */
int coro_wait(lua_State *L, struct coro *coro, const struct coro_wait *wait);

/* Whether nobody wants its result any more, so that it must not wait: coro_say_gone(). */
static inline bool coro_is_unwanted(const struct coro *coro)
{
    return coro->is_gone && coro->shields == 0;
}

/* The script is told that the client has gone. Returns whether it knows already, so that this is its end. Under a
 * shield nothing ends it: it is told each time it asks, and once more behind the shield. */
static inline bool coro_tell_gone(struct coro *coro)
{
    bool is_end = coro->is_told && coro->shields == 0;
    coro->is_told = coro->is_told || coro->shields == 0;
    return is_end;
}

/* What a C function that would wait returns when the client has gone, for the prelude: false, the first time. A
 * coroutine that waits again all the same is ended. */
int coro_say_gone(lua_State *L, struct coro *coro);

/* Whether it waits since coro_say_gone(): that is its end. */
bool coro_has_ended(const struct coro *coro);

/* What a log line about a coroutine without an exchange is about: the text of its client's address, if that is known,
 * is put into client. place: see struct log_subject. */
struct log_subject coro_subject(const struct coro *coro, const void *place, char client[NET_TEXT_MAX]);

/* Raise the error that ends a coroutine whose client has gone. */
_Noreturn void coro_raise_closed(lua_State *L);

/* Part with the exchange, whose response is about to be completed. Returns it. */
struct exchange *coro_detach(struct coro *coro);

/* Hold the string at index of L; let go of it, if there is one; let go of all. The first raises (memory). */
struct anchor *coro_hold(lua_State *L, struct coro *coro, enum coro_held what, int index);
void coro_let_go(struct coro *coro, enum coro_held what);
void coro_let_go_all(struct coro *coro);

/* Keep the value on top of L's stack, which is popped, as what the table ref has of coro, until its end. May raise. */
void coro_keep(lua_State *L, struct coro *coro, enum script_ref ref);

/* Push what the table ref has of coro, or nil. Needs two stack slots. */
void coro_push_kept(lua_State *L, const struct coro *coro, enum script_ref ref);

/* Log where each coroutine waits that no request waits for: it is about to be cut. */
void coro_report_cut(const struct script *script);

/* Whether a coroutine is at work, or waits for something that may come before until_ms (reactor time). */
bool coro_any_is_busy(const struct script *script, int64_t until_ms);

#endif
