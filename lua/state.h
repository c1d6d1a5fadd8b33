#ifndef EVSERVE_LUA_STATE_H
#define EVSERVE_LUA_STATE_H

/* What the files of lua/ share: the script and its Lua state. Only lua/ includes this, and only lua/ includes <lua.h>.
 *
 * Lua raises errors by jumping out of C functions. So a function that is called from Lua (lua_CFunction) owns nothing
 * while it may raise: it checks its arguments first and keeps what it needs in the script, where script_close() finds
 * it. All other functions here are called from C and do not raise, unless their comment says so. */

#include "core/stack.h"
#include "core/write_buffer.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "lua/deadline.h"
#include "lua/script.h"
#include "lua/script_error.h"
#include "lua/settings.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct coro;
struct deferral;
struct finalizer_failures;
struct log;
struct reactor;
struct script;
struct server;
struct site;
struct script_timer;

enum {
    MEMORY_RESERVE_PART = 8, /* the part of lua_memory that timers and app.on("memory", fn) may take beyond it */
    OTHERS_MAX = 64,         /* bytes of the end of a line that stands for others */
    BORROW_MIN = 8192,       /* a Lua string of this length or more is sent from where it is, a shorter one copied */
};

enum script_phase {
    SCRIPT_LOADING, /* the script runs: it may listen, set and register, but not wait */
    SCRIPT_READY,   /* requests are answered: what start-up made is fixed */
    SCRIPT_CLOSING, /* lua_close() runs finalizers: nothing may be asked any more */
};

/* Functions of C that may take long (watch.c). */
enum watched_function {
    WATCHED_FIND,
    WATCHED_MATCH,
    WATCHED_GMATCH,
    WATCHED_GSUB,
    WATCHED_REP,
    WATCHED_SORT,
    WATCHED_CONCAT,
    WATCHED_COLLECTGARBAGE,
    WATCHED_COUNT,
};

/* Lua's own functions that call back into Lua through C (stack_guard.c). */
enum guarded_function { GUARDED_GSUB, GUARDED_SORT, GUARDED_LOAD, GUARDED_LOADSTRING, GUARDED_REQUIRE, GUARDED_COUNT };

/* Values that C needs again and again: indices into script->refs, which names their places in Lua's registry. */
enum script_ref {
    REF_RUN,           /* run(handler): one request, from the request object to the answer */
    REF_RUN_TIMER,     /* run_timer(fn): one run of a timer */
    REF_RUN_DEFERRED,  /* run_deferred(): what app.defer() was given during a request */
    REF_ERROR_HANDLER, /* the function of app.on("error", fn); LUA_NOREF without one */
    REF_CLOSED,        /* the error that ends a coroutine whose client has gone */
    REF_CLOSED_TEXT,   /* "closed" */
    REF_RELAY,         /* what a function yields first that would wait inside a coroutine of the script's own */
    REF_REQUESTS,      /* request objects by coroutine index */
    REF_TRACES,        /* {error, traceback} by coroutine index: what trace() keeps */
    REF_UNSENT,        /* how many anchors hold a string, by string */
    REF_ANCHORS,       /* strings that C still sends, by anchor index */
    REF_HEADERS_META,  /* metatable of header tables: names in any case */
    REF_RESPONSE_META, /* metatable of response objects */
    REF_RAISED_META,   /* metatable of errors that are answers */
    REF_ANSWER_RAISED, /* answer_raised(req, err): what a handler would return to answer as err says */
    REF_TO_RESPONSE,   /* to_response(...): response object of what a handler returned */
    REF_WRAP,          /* wrap(fn): a route's function with the middleware around it */
    REF_FREEZE,        /* freeze(): no new globals from now on */
    REF_START,         /* lists of the functions that app.on() was given for "start", "stopping" and "stop" */
    REF_MEMORY,        /* and for "memory" */
    REF_STOPPING,
    REF_STOP,
    REF_DESCRIBE,     /* message handler: an error of the main thread as a text with its place */
    REF_ARRAY_META,   /* metatable of tables that are JSON arrays even when empty */
    REF_REQUEST_META, /* metatable of request objects */
    REF_STREAM_META,  /* metatable of stream objects */
    REF_TIMER_META,   /* metatable of timer objects */
    REF_PARTS_META,   /* metatable of the parsers of multipart bodies */
    REF_COUNT,
};

/* The limits of a route that has some of its own. */
struct route_limits {
    struct limits own;    /* as given with the route, where bits of is_own are set */
    struct limits limits; /* in force: the site's but for those */
    uint32_t is_own;      /* set of 1 << row of limit_table */
};
_Static_assert(sizeof(struct limits) / sizeof(uint64_t) <= 32, "is_own has a bit for each limit");

/* A route of the script's. */
struct lua_route {
    struct handler handler;      /* what the router knows: serve, with this struct as its context */
    struct script *script;       /* whose it is */
    struct lua_route *next;      /* in the script's list */
    struct route_limits *limits; /* owned; NULL without limits of its own */
    char *name;                  /* owned; NULL without one */
    uint64_t cpu_ms;             /* handler_cpu of its own, else 0 */
    bool is_compiled;            /* jit = true: LuaJIT compiles it, so there is no deadline */
    int fn_ref;   /* the Lua function, middleware around it, in the registry; LUA_NOREF: it was refused */
    char place[]; /* "scripts/site.lua:12", for the log */
};

/* A Lua string that must stay while C sends it. */
struct anchor {
    struct script *script;     /* whose it is */
    struct anchor *next_free;  /* in the list of those in no use */
    const char *data;          /* bytes of the string */
    size_t len;                /* of data */
    int index;                 /* in the table REF_ANCHORS */
    struct exchange *exchange; /* whose answer it is; NULL before, and then it is in no list */
    struct anchor *older;      /* in the list of those that answer */
    struct anchor *newer;
    bool is_cut; /* its answer is being cut */
};

/* Lines of a kind are logged once a second. */
struct line_limit {
    int64_t until_ms; /* reactor time of the next one */
    uint64_t skipped; /* since the last one */
};

/* An app.listen. */
struct listen {
    char *address; /* as given */
    char *place;   /* who asked for it: "site.lua:3" */
};

struct script {
    lua_State *L;                /* main thread; only start-up, reports and clean-up run on it */
    struct site *site;           /* borrowed: what the script configures */
    struct reactor *reactor;     /* borrowed: timers */
    const struct log *log;       /* borrowed, may be NULL */
    const struct server *server; /* who answers app.stats(); NULL before script_start() */
    char *chunk_name;            /* "@scripts/site.lua" */
    int base_fd;                 /* where that and other relative paths start: see sys_base() */
    enum script_phase phase;
    bool is_stopping;                     /* the "stopping" functions were called */
    bool is_stopped;                      /* script_stop() was called: nothing new is begun */
    struct stack stack;                   /* the C stack that Lua code was last entered on */
    lua_CFunction watched[WATCHED_COUNT]; /* what stands behind those of watch.c */
    lua_CFunction guarded[GUARDED_COUNT]; /* what stands behind the guards of stack_guard.c */
    struct settings settings;             /* in force */
    void (*on_file)(void *arg, const char *path, enum script_file what); /* the host's; may be NULL */
    void *on_file_arg;                                                   /* for on_file */
    struct settings fixed;      /* what the host asked for, which wins; 0: the script may choose */
    bool is_piped;              /* its text came from a pipe: there is no file, nor a folder */
    bool has_compiled;          /* there is a route with jit = true */
    bool has_started;           /* the "start" functions have run: from now on others are being served */
    const char *event;          /* of app.on(), whose function is called: "stopping"; NULL while none is */
    struct run *run;            /* what goes on in Lua code, as deadline.c sees it */
    struct run idle_run;        /* that, while nothing does */
    char stop_place[PLACE_MAX]; /* where the last run that was stopped was at work */
    size_t memory_bytes;        /* held by the Lua state now */
    size_t gc_limit;            /* of what may be held while everything is collected, else 0 */
    size_t memory_mark;         /* held, beyond which garbage is collected at once */
    int64_t full_until_ms;      /* reactor time until which no collection is tried, because the last one did not help */
    int64_t short_until_ms;     /* likewise, until which was_short does not count: the last time they let nothing go */
    bool wants_collection;      /* a block was refused */
    bool was_short;             /* a run has failed for want of memory since app.on("memory", fn) was asked last */
    bool lends_reserve;         /* to app.on("memory", fn), or to a timer that begins */
    bool is_exempt;             /* from lua_memory: an error is being reported */
    size_t collect_at;          /* bytes held at which the next step of the collector is due (collector.c) */
    size_t collected_bytes;     /* held after the last one */
    struct finalizer_failures *failures; /* of the collection that is under way; NULL: none is */
    unsigned collect_pause;              /* percent of what a cycle left at which the next one begins */
    bool is_collection_off;              /* the script has said so: collectgarbage "stop" */
    bool is_automatic;                   /* compiled code runs, and LuaJIT collects by itself */
    char *birth;                         /* memory set aside for lua_newstate() */
    size_t birth_used;                   /* bytes of it handed out */
    char *spare;                         /* memory for a stack that must grow when there is no other; NULL when lent */
    char *lent;                          /* the spare that a stack lives in, NULL when none does */
    int64_t started_ms;                  /* reactor time of script_start() */
    int refs[REF_COUNT];                 /* in Lua's registry */

    struct listen *listens; /* app.listen addresses, listen_count of them */
    size_t listen_count;
    struct lua_route *routes; /* newest first */

    struct coro **coros;     /* by index; never freed before the script */
    uint32_t coro_count;     /* of coros */
    uint32_t coro_capacity;  /* of coros */
    struct coro *free_coros; /* in no use; most of them hold a thread to be used again */
    uint32_t idle_threads;   /* threads held by free_coros */
    struct coro *running;    /* innermost one being resumed, NULL when none is */

    struct script_timer **timers;     /* by index; never freed before the script */
    uint32_t timer_count;             /* of timers */
    uint32_t timer_capacity;          /* of timers */
    struct script_timer *free_timers; /* in no use */

    struct anchor **anchors;         /* by index; never freed before the script */
    uint32_t anchor_count;           /* of anchors */
    uint32_t anchor_capacity;        /* of anchors */
    struct anchor *free_anchors;     /* in no use */
    struct anchor *oldest_anchor;    /* of those that answer; NULL when there are none */
    struct anchor *newest_anchor;    /* likewise */
    struct anchor *uncounted_anchor; /* the newest of all, while its string is not counted in unsent_bytes; else NULL */
    size_t unsent_bytes;             /* of strings that anchors hold, each string once; without uncounted_anchor */
    size_t cut_bytes;                /* of them, what is being cut */
    struct line_limit cut_lines;     /* about answers that were cut */
    struct line_limit full_lines;    /* about memory that is full */

    struct deferral *free_deferrals;    /* in no use */
    struct deferral *due_deferrals;     /* to be run, in the order in which they became due */
    struct deferral *last_due_deferral; /* of them, while there are any */
    uint64_t defer_timer;               /* that runs them; 0 when there are none */

    struct write_buffer scratch; /* text being made by a C function */
    const char *scratch_user;    /* which one: "app.json.encode"; NULL while nobody has it */
    uint64_t request_count;      /* requests that reached Lua */
    uint64_t seed;               /* of math.random */
    uint32_t request_seed;       /* tells req.id of this script from those of another */
};

/* Bytes that the state may hold for what is at work now. */
static inline size_t memory_limit(const struct script *script)
{
    size_t cap = script->settings.lua_memory_bytes;
    return cap + (script->run->uses_reserve || script->lends_reserve ? cap / MEMORY_RESERVE_PART : 0);
}

/* The path of the script, as given. */
static inline const char *script_path(const struct script *script)
{
    return script->chunk_name + 1;
}

/* The script of a state: it is the argument of the state's allocator. */
static inline struct script *script_of(lua_State *L)
{
    void *script;
    (void)lua_getallocf(L, &script);
    return script;
}

/* Push one of the values above. Any thread of the state; needs one stack slot. */
static inline void script_push_ref(const struct script *script, lua_State *L, enum script_ref ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, script->refs[ref]);
}

/* Pop a value of L into the registry. May raise (memory). */
void script_set_ref(lua_State *L, enum script_ref ref);

/* Make the metatable ref of objects that have nothing but methods; scripts that ask for it get its name instead. May
 * raise (memory). */
void script_set_methods(lua_State *L, const luaL_Reg *methods, const char *name, enum script_ref ref);

/* The userdata at index, if it has the metatable and the size of what C made; debug.setmetatable() may have given the
 * metatable to something else. Raises for anything else; what is "req:header". */
void *script_check_object(lua_State *L, int index, enum script_ref meta, size_t size, const char *what);

/* The value at index for the setting or limit of a row, within its range. Raises; what is "app.set", for the text. */
uint64_t script_check_setting(lua_State *L, int index, const struct limit_info *info, const char *what);

/* C code is about to enter Lua, maybe on another thread than the last time: know its stack. */
static inline void script_enter_stack(struct script *script)
{
    if (!stack_has(&script->stack, stack_here())) {
        stack_find(&script->stack);
    }
}

/* stack_guard.c: raise "stack overflow" when so little of the C stack is left that nothing should call Lua from C any
 * more; what is "string.gsub". */
void script_check_stack(lua_State *L, const char *what);

/* Call what lies on the main thread's stack with nargs arguments, in protected mode: the one place for calls that are
 * not coroutines. Returns 0 with nresults values pushed, or -EINVAL or -ENOMEM with a one-line text in err. */
int script_call(struct script *script, int nargs, int nresults, char *err, size_t errlen);

/* Call fn(L, arg) on the main thread's stack, in protected mode, so that it may raise. Returns as script_call(). */
int script_protect(struct script *script, lua_CFunction fn, void *arg, char *err, size_t errlen);

/* memory.c: make script->L. Returns 0, -ENOMEM, or -ENOTSUP when LuaJIT takes no memory of ours. And, when that is
 * closed, free what belonged to it. */
int memory_new_state(struct script *script);
void memory_free_all(struct script *script);

/* bind_app.c: make the limits of routes that have some of their own, from the site's as they are now. Returns 0, or
 * -EINVAL with a text in err. */
int routes_settle_limits(struct script *script, char *err, size_t errlen);

/* Make a text of the number at index of L, in place: digits for whole numbers. May raise (memory). */
void script_number_to_text(lua_State *L, int index);

/* Keep the string at index of L alive until script_release() is called with the anchor. Raises (memory). */
struct anchor *script_anchor(lua_State *L, int index);
void script_release(void *anchor);

/* The string is the answer of exchange, or the next part of it: from now on it may be cut when its client does not take it. */
void anchor_send(struct anchor *anchor, struct exchange *exchange);

/* How many bytes of strings anchors hold, each string once. */
size_t anchor_unsent_bytes(const struct script *script);

/* Whether a line of a kind may be logged now; others gets its end, which says how many were not. */
bool script_may_log(const struct script *script, struct line_limit *limit, char others[OTHERS_MAX]);

/* script.c: call the functions of app.on("memory", fn). Whether there are any. */
bool script_tell_memory(struct script *script);

/* The cap, lua_memory: whether garbage should be collected now; whether more is held than allowed; whether a run may
 * begin, after a collection if need be; collect garbage, from any thread of the state, without raising. */
bool memory_is_low(const struct script *script);
bool memory_is_over(const struct script *script);
bool memory_has_room(struct script *script, bool uses_reserve);
void memory_collect(lua_State *L);

/* Log, once a second at most, that the state is full, so that what at place was refused. */
void memory_report_full(struct script *script, const char *what, const char *place);

/* The cap has changed. */
void memory_reset_mark(struct script *script);

/* Put the sentence that says that the cap is reached, as run (or NULL) met it, into text. */
void memory_describe(const struct script *script, const struct run *run, char *text, size_t len);

/* Whether there is memory to run Lua code with, so that not even growing a stack can fail (see memory.c). */
bool script_has_spare(struct script *script);

/* Lend the reusable text buffer, empty, to a C function, until that returns it. It has one user at a time, so what the user
 * calls meanwhile must not run Lua code, and garbage is not collected. What is larger than usual is freed when it comes
 * back. An error ends the loan: it jumps past the return. user is "app.json.encode". */
struct write_buffer *script_lend_scratch(lua_State *L, const char *user);
void script_return_scratch(lua_State *L);

/* End the loan, if there is one, so that LuaJIT may collect again in compiled code. Does not raise; allowed inside the
 * allocator. */
void script_end_loan(struct script *script);

/* Make room for so many values on L's stack. Raises; what is "JSON". */
void script_reserve_values(lua_State *L, int count, const char *what);

/* The folder that a script lies in. */
void script_folder(const struct script *script, char folder[PATH_MAX]);

/* What to say of a file that could not be opened: error is what sys_open() returned. */
const char *script_open_error(const char *path, int error);

/* Grow an array of pointers by one, doubling. Returns 0 or -ENOMEM. */
int script_grow(void ***array, uint32_t count, uint32_t *capacity);

/* stack_guard.c: put by in the place of a C function of Lua's, with the same environment. table is the global that it is
 * in, NULL when it is a global itself. Returns the function, for by to call; NULL, with nothing changed, when this LuaJIT
 * has it in assembly. Raises. */
lua_CFunction script_replace_function(lua_State *L, const char *table, const char *name, lua_CFunction by);

/* Each adds its functions to the table on top of L's stack, which the prelude gets. They raise. */
void bind_stack_guard(lua_State *L);
void bind_collector(lua_State *L);
void bind_watch(lua_State *L);
void bind_app(lua_State *L);
void bind_settings(lua_State *L);
void bind_static(lua_State *L);
void bind_url(lua_State *L);
void bind_answer(lua_State *L);
void bind_answer_parts(lua_State *L);
void bind_coro_error(lua_State *L);
void bind_defer(lua_State *L);
void bind_request(lua_State *L);
void bind_body(lua_State *L);
void bind_stream(lua_State *L);
void bind_timer(lua_State *L);
void bind_json(lua_State *L);
void bind_number(lua_State *L);
void bind_folders(lua_State *L);

#endif
