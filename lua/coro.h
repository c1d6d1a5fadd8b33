#ifndef EVSERVE_LUA_CORO_H
#define EVSERVE_LUA_CORO_H

/* Coroutines of requests and timers. Each runs on a Lua thread that is used again after it ended well. A coroutine that
 * waits is suspended, and the event it waits for resumes it. */

#include "lua/state.h"

#include <stdbool.h>
#include <stdint.h>

enum coro_wait {
    CORO_RUNS,   /* or is in no use */
    CORO_SLEEPS, /* until sleep_timer */
    CORO_DRAINS, /* until the client has taken what was written */
    CORO_READS,  /* until more of the request's body has come */
    CORO_ENDS,   /* for good: its client has gone, and it has been told */
};

/* How a script takes the body of its request: one way excludes the others. */
enum body_use {
    BODY_UNUSED, /* not yet, or as a whole */
    BODY_IN_CHUNKS,
    BODY_IN_PARTS,
};

struct coro {
    struct script *script;  /* whose it is */
    struct coro *next_free; /* in the list of those in no use */
    lua_State *L;           /* its thread, NULL while it needs none */
    int thread_ref;         /* keeps the thread, in the registry */
    uint32_t index;         /* in script->coros; with generation, what Lua objects hold of it */
    uint32_t generation;    /* rises with each use */
    enum coro_wait wait;    /* what it is suspended for */
    uint64_t sleep_timer;   /* of CORO_SLEEPS, else 0 */
    int64_t wake_ms;        /* reactor time at which that is due */

    struct exchange *exchange;     /* the request it answers; NULL for a timer, after the answer, and once gone */
    const struct lua_route *route; /* of the request, NULL for a timer */
    uint64_t request_number;       /* for req.id */
    enum body_use body_use;        /* of the request */
    bool is_error_handler;         /* runs app.on("error", fn): there is no second one */
    bool is_raised;                /* answers an error that is an answer: there is no second one */
    struct anchor *page;           /* what app.set { debug = true } shows of its error; NULL when there is none */
    bool is_page_json;             /* and that is JSON, not HTML */
    bool has_trace;                /* of an error, in the table REF_TRACES */
    bool is_reported;              /* the error being dealt with has been logged */
    bool is_gone;                  /* the client left before the answer was complete */
    bool is_told;                  /* and the script knows: its next wait is its last */

    bool is_stream;          /* the handler returned a function, which runs now */
    bool has_begun;          /* the stream's head is written */
    int stream_status;       /* of the head */
    const char *stream_type; /* Content-Type of the head, NULL when a field has it; static text */
    int64_t stream_length;   /* of the head, or RESPONSE_LENGTH_UNKNOWN */
    struct anchor *pending;  /* written by the script, but not yet taken to its end; NULL when there is none */
    size_t pending_done;     /* bytes of it that are */

    struct deferral *deferral; /* what app.defer() was given; NULL when that was nothing */

    struct script_timer *timer; /* that it runs for; NULL for a request */
    uint64_t timer_id;          /* tells whether timer is still the same one */
};

/* A coroutine with a thread, in use from now on. NULL when memory is short; uses_reserve: even beyond lua_memory. */
struct coro *coro_take(struct script *script, bool uses_reserve);

/* Start or go on: the function (at the start) and nargs values lie on coro->L. Whatever becomes of it is dealt with
 * here: its end, its errors, its waiting. The coroutine may be in use for something else when this returns. This is the
 * one place where Lua code of requests and timers is entered. */
void coro_resume(struct coro *coro, int nargs);

/* The coroutine that runs on L, if it may wait there. Raises an error that says why it may not; what is "app.sleep". */
struct coro *coro_check_waiting(lua_State *L, const char *what);

/* The coroutine that runs, for functions that the prelude calls in one. Raises where none does; what is "a request". */
struct coro *coro_check_running(lua_State *L, const char *what);

/* relay.c: whether L is a coroutine of the script's own in which a function that waits must not go on, but return
 * relay_call(L) instead, with its arguments alone on the stack. It is then called again where it can wait, and what it
 * returns there is what it returns here. If it raises there, it returns false and the error here. */
bool relay_is_needed(lua_State *L);
int relay_call(lua_State *L);

/* The same for another function, without arguments. */
int relay_to(lua_State *L, lua_CFunction fn);

/* The coroutine that a Lua object was made for, if it is still the same one, else NULL. */
struct coro *coro_find(const struct script *script, uint32_t index, uint32_t generation);

/* Whether it is in use: runs, or waits. */
static inline bool coro_is_used(const struct coro *coro)
{
    return coro->route != NULL || coro->timer != NULL;
}

/* Say in the log where each coroutine waits that no request waits for: it is about to be cut. */
void coro_report_cut(const struct script *script);

/* Part with the exchange, whose answer is about to be completed. Returns it. */
struct exchange *coro_detach(struct coro *coro);

/* Cut the connection of a stream that cannot go on. For the script its client has gone. */
void coro_cut(struct coro *coro);

/* Raise the error that ends a coroutine whose client has gone. */
_Noreturn void coro_raise_closed(lua_State *L);

/* Write the head of the stream, if that has not happened. */
void coro_begin_stream(struct coro *coro);

/* struct handler.serve of routes; ctx is the struct lua_route. */
void coro_serve(struct exchange *exchange, void *ctx);

/* Free all coroutines of a script whose Lua state is closed. */
void coro_free_all(struct script *script);

/* bind_stream.c: push the object that the stream of coro writes to. May raise. */
void stream_push(lua_State *L, const struct coro *coro);

/* bind_stream.c: write len bytes from data, in pieces that the answer's queue has room for. Returns 1 when all were
 * taken, 0 when the client is behind (*done says how many were), -1 when it has gone. */
int stream_write_pieces(struct coro *coro, const char *data, size_t len, size_t *done);

/* bind_defer.c: the coroutine of a request has ended. What was deferred runs when its answer is over, too. */
void defer_release(struct deferral *deferral);

/* bind_defer.c: how many functions behind the one at work have not begun. */
int defer_left(const struct deferral *deferral);

/* bind_defer.c: run what is due; free one that its coroutine still had, and all of a script, when their Lua state is
 * closed and the server gone. */
void defer_run_due(struct script *script);
void defer_free(struct deferral *deferral);
void defer_free_all(struct script *script);

/* bind_timer.c: a run of a timer has ended. */
void timer_run_ended(struct script_timer *timer, uint64_t id);

/* bind_timer.c: cancel all timers; free those of a script whose Lua state is closed. */
void timer_cancel_all(struct script *script);
void timer_free_all(struct script *script);

#endif
