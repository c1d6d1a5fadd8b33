#ifndef EVSERVE_LUA_STATE_H
#define EVSERVE_LUA_STATE_H

/* What the files of lua/ share: the script and its Lua state. Only lua/ includes this, and only lua/ includes <lua.h>.
 * state.c is below all other files of lua/ that know the state; they call each other only downwards (README.md).
 *
 * Lua raises errors by jumping out of C functions. So a function that Lua calls (lua_CFunction) owns nothing while it
 * may raise: it checks its arguments first and keeps what it needs in the script, where script_close() finds it. In the
 * headers of lua/, functions that take a script do not raise, unless their comment says so. */

#include "core/reactor.h"
#include "core/stack.h"
#include "core/write_buffer.h"
#include "http/host/script_kind.h"
#include "http/host/tls_plan.h"
#include "lua/run.h"
#include "lua/settings.h"
#include "lua/store_scope.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct anchor;
struct coro;
struct deferral;
struct event_beat;
struct finalizer_failures;
struct free_block;
struct auth_call;
struct job_pools;
struct password_desk;
struct outbound;
struct packed;
struct log;
struct lua_route;
struct script;
struct script_socket;
struct script_subscription;
struct script_fetch;
struct script_timer;
struct script_task;
struct script_udp;
struct script_websocket;
struct script_worker;
struct regex_cache;
struct server;
struct site;
struct topics;

enum {
    PLACE_MAX = 512,        /* bytes of "scripts/site.lua:12" with its NUL */
    SCRIPT_TEXT_MAX = 1024, /* bytes of an error text with its NUL */
    OTHERS_MAX = 64,        /* bytes of the end of a line that stands for others */
};

enum script_phase {
    SCRIPT_LOADING, /* the script runs: it may listen, set and register, but not wait */
    SCRIPT_READY,   /* requests are served: what start-up made is fixed */
    SCRIPT_CLOSING, /* lua_close() runs finalizers: nothing may be asked any more */
};

/* Whether the process may make memory executable (compiler.c). */
enum script_code { CODE_UNKNOWN, CODE_ALLOWED, CODE_DENIED };

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
    REF_XPCALL,        /* Lua's own */
    REF_REPORT,        /* report(err): the message handler of what runs in coroutines */
    REF_SERVE,         /* serve(handler, req): what the handler returns */
    REF_RESPOND,       /* respond(...): send what a handler has returned; gives what run_stream() takes, or nothing */
    REF_RUN_STREAM,    /* run_stream(fn, out): one stream */
    REF_RUN_FAILED,    /* run_failed(false, err): what follows when a handler has failed */
    REF_RUN_TIMER,     /* run_timer(fn): one run of a timer */
    REF_RUN_DEFERRED,  /* run_deferred(): what app.defer() was given during a request */
    REF_RUN_WEBSOCKET, /* run_websocket(fn, ws): the function of a WebSocket */
    REF_RUN_TASK,      /* run_task(fn, ...): what app.spawn() was given */
    REF_ERROR_HANDLER, /* the function of app.on("error", fn); LUA_NOREF without one */
    REF_CLOSED,        /* the error that ends a coroutine whose client has gone */
    REF_CLOSED_TEXT,   /* "closed" */
    REF_CANCELLED,     /* the error that ends a task that was cancelled */
    REF_RELAY,         /* what a function yields first that would wait inside a coroutine of the script's own */
    REF_THREADS,       /* the threads that C resumes, and nothing else may: weak keys */
    REF_TRACES,        /* {error, traceback} by coroutine index: what trace() keeps */
    REF_UNSENT,        /* how many anchors hold a string, by string */
    REF_ANCHORS,       /* strings that C still sends, by anchor index */
    REF_HEADERS_META,  /* metatable of header tables: names in any case */
    REF_RESPONSE_META, /* metatable of response objects */
    REF_RAISED_META,   /* metatable of errors that are responses */
    REF_ANSWER_RAISED, /* answer_raised(req, err): what a handler would return to answer as err says */
    REF_TO_RESPONSE,   /* to_response(...): response object of what a handler returned */
    REF_WRAP,          /* wrap(route): its function with the middleware around it, and the one for its refusals */
    REF_NO_ROUTES,     /* no_routes(): for each host, what handles requests that no route has */
    REF_FREEZE,        /* freeze(): no new globals from now on */
    REF_START,         /* lists of the functions that app.on() was given for "start", "stopping" and "stop" */
    REF_MEMORY,        /* and for "memory" */
    REF_STOPPING,
    REF_STOP,
    REF_DESCRIBE,          /* message handler: an error of the main thread as a text with its place */
    REF_ARRAY_META,        /* metatable of tables that are JSON arrays even when empty */
    REF_REQUEST_META,      /* metatable of request objects */
    REF_STREAM_META,       /* metatable of stream objects */
    REF_TIMER_META,        /* metatable of timer objects */
    REF_TASK_META,         /* metatable of task objects */
    REF_UDP_META,          /* metatable of sockets for datagrams */
    REF_METRIC_META,       /* metatable of metrics */
    REF_PARTS_META,        /* metatable of the parsers of multipart bodies */
    REF_WORKER_META,       /* metatable of handles of workers */
    REF_GIVE_BACK,         /* give_back(): posts for those that ended inside sem:with() */
    REF_SOCKET_META,       /* metatable of sockets */
    REF_WEBSOCKET_META,    /* metatable of WebSockets */
    REF_SUBSCRIPTION_META, /* metatable of subscriptions */
    REF_FETCH_META,        /* metatable of handles of requests to other servers */
    REF_FETCHED_META,      /* metatable of their responses */
    REF_RUN_TESTS,         /* in the state of a file of tests: prelude_test.lua */
    REF_FUNCTIONS,         /* in the state of a worker's thread: the functions of its module, by number */
    REF_COUNT,
};

/* Lines of a kind are logged once a second. */
struct line_limit {
    int64_t until_ms; /* reactor time of the next one */
    uint64_t skipped; /* since the last one */
};

/* Coroutines in the order in which they came. A coroutine is in one list at most. */
struct coro_list {
    struct coro *first, *last; /* NULL when it is empty */
};

/* An app.listen. */
struct listen {
    char *address; /* as given */
    char *place;   /* who asked for it: "site.lua:3" */
};

struct script {
    lua_State *L;                   /* main thread; only start-up, reports and clean-up run on it */
    struct site *site;              /* borrowed: what the script configures */
    struct reactor *reactor;        /* borrowed: timers. Its thread alone may touch it */
    const struct script_load *load; /* borrowed: how long loading may take; NULL when that does not count (any more) */
    const struct log *log;          /* borrowed, may be NULL */
    struct metrics_own *metrics;    /* borrowed: of the server; may be NULL */
    unsigned thread;                /* whose shard of them the script counts in */
    struct outbound *outbound;      /* borrowed: of the reactor, for other servers; may be NULL */
    struct topics *topics;          /* borrowed: of the reactor, subscribers; its hub is for any thread; may be NULL */
    struct job_pools *jobs;         /* borrowed: of the server, for workers; may be NULL */
    struct auth_call *auth_call;    /* for bind_auth.c: a function of app.basic_auth is called; else NULL */
    uint64_t load_number;           /* of the load that made this script, 0 for the start */
    bool is_worker;                 /* the state of a worker's thread: there is no site, no reactor and no coroutine */
    const struct script *worker_of; /* and the script that it is for, while it is made */
    const struct server *server;    /* who answers app.stats(); NULL before script_start() */
    char *chunk_name;               /* "@scripts/site.lua" */
    const struct packed *packed;    /* borrowed: files in memory that come before those on disk; may be NULL */
    int base_fd;                    /* where that and other relative paths start: see sys_base() */
    enum script_phase phase;
    bool is_stopping;                     /* the "stopping" functions were called */
    bool is_stopped;                      /* script_stop() was called: nothing new is begun */
    struct stack stack;                   /* the C stack that Lua code was last entered on */
    lua_CFunction watched[WATCHED_COUNT]; /* what stands behind those of watch.c */
    lua_CFunction guarded[GUARDED_COUNT]; /* what stands behind the guards of stack_guard.c */
    struct settings settings;             /* in force */
    void (*on_file)(void *arg, const char *path, enum script_file what); /* the host's; may be NULL */
    void *on_file_arg;                                                   /* for on_file */
    lua_Hook on_count;                      /* called when instructions of Lua code were executed (hook.c) */
    bool (*on_full)(struct script *script); /* ask the script to release memory; returns whether that is possible */
    struct settings fixed;                  /* what the host asked for, which wins; 0: the script may choose */
    bool is_piped;                          /* its text came from a pipe: there is no file, nor a folder */
    bool has_compiled;                      /* there is a route with jit = true */
    enum script_code code;                  /* whether LuaJIT can compile it */
    bool is_repeat;                         /* another thread has loaded the same script, and logged the warnings */
    bool is_warned_of_seconds;              /* of a time given to a call while the script serves */
    bool has_started;                       /* the "start" functions have run: from now on others are being served */
    const char *event;                      /* of app.on(), whose function is called: "stopping"; NULL while none is */
    struct run *run;                        /* what goes on in Lua code, as deadline.c sees it */
    struct run idle_run;                    /* that, while nothing does */
    int64_t cpu_marked_ns;                  /* coarse time when a run last read the thread's processor time; 0: never */
    int64_t cpu_ahead_ns;                   /* how far that was ahead of it, plus what the coarse clock may err */
    char stop_place[PLACE_MAX];             /* where the last run that was stopped was at work */
    size_t memory_bytes;                    /* held by the Lua state now */
    size_t gc_limit;                        /* of what may be held while everything is collected, else 0 */
    size_t memory_mark;                     /* held, beyond which garbage is collected at once */
    int64_t full_until_ms; /* reactor time until which no collection is tried, because the last one did not help */
    int64_t
        full_since_ms; /* reactor time since which it is full, 0: it is not, or was not the last time that mattered */
    int64_t short_until_ms; /* likewise, until which was_short does not count: the last time they let nothing go */
    bool wants_collection;  /* a block was refused */
    bool was_short;         /* a run has failed for want of memory since app.on("memory", fn) was asked last */
    bool lends_reserve;     /* to app.on("memory", fn), or to a timer that begins */
    bool is_exempt;         /* from lua_memory: an error is being reported */
    size_t collect_at;      /* bytes held at which the next step of the collector is due (collector.c) */
    size_t collected_bytes; /* held after the last one */
    struct finalizer_failures *failures; /* of the collection that is under way; NULL: none is */
    unsigned collect_pause;              /* percent of what a cycle left at which the next one begins */
    bool is_collection_off;              /* the script has said so: collectgarbage "stop" */
    bool is_automatic;                   /* compiled code runs, and LuaJIT collects by itself */
    char *birth;                         /* memory set aside for lua_newstate() */
    size_t birth_used;                   /* bytes of it handed out */
    char *spare;                         /* memory for a stack that must grow when there is no other; NULL when lent */
    char *blocks;                        /* set aside for request objects (memory.c) */
    size_t block_bytes;                  /* of each */
    unsigned blocks_used;                /* that were ever handed out */
    struct free_block *free_blocks;      /* of them, in no use now */
    void *ready_block;                   /* for the next allocation, which is of that size; NULL: it is any other */
    char *lent;                          /* the spare that a stack lives in, NULL when none does */
    int64_t started_ms;                  /* reactor time of script_start() */
    int refs[REF_COUNT];                 /* in Lua's registry */
    const void *ref_places[REF_COUNT];   /* where tables and functions of it are: they stay there */

    struct listen *listens; /* app.listen addresses, listen_count of them */
    size_t listen_count;
    struct tls_plan tls;      /* of app.tls */
    struct lua_route *routes; /* newest first */

    struct coro **coros;     /* by index; never freed before the script */
    uint32_t coro_count;     /* of coros */
    uint32_t coro_capacity;  /* of coros */
    struct coro *free_coros; /* in no use; most of them hold a thread to be used again */
    uint32_t idle_threads;   /* threads held by free_coros */
    struct coro *running;    /* innermost one being resumed, NULL when none is */

    struct coro_list ready;         /* those that coro_wake() was called for */
    struct reactor_task ready_task; /* that resumes them */

    struct script_task **tasks;     /* by index; never freed before the script */
    uint32_t task_count;            /* of tasks */
    uint32_t task_capacity;         /* of tasks */
    uint32_t tasks_used;            /* that have not ended */
    struct script_task *free_tasks; /* in no use */
    uint64_t last_task_id;          /* that was given to one */
    uint64_t last_ticket;           /* that was drawn (bind_sync.c) */
    struct reactor_task place_task; /* that gives back the places of those that have ended (bind_sync.c) */

    struct script_timer **timers;     /* by index; never freed before the script */
    uint32_t timer_count;             /* of timers */
    uint32_t timer_capacity;          /* of timers */
    struct script_timer *free_timers; /* in no use */
    uint64_t last_timer_id;           /* that was given to one */

    struct script_socket **sockets;     /* by index; never freed before the script */
    uint32_t socket_count;              /* of sockets */
    uint32_t socket_capacity;           /* of sockets */
    struct script_socket *free_sockets; /* in no use */
    uint64_t last_socket_id;            /* that was given to one, or to a reader of one */
    struct write_buffer spare_input;    /* without bytes: its block is for the next socket that reads */
    struct script_fetch **fetches;      /* by index; never freed before the script */
    uint32_t fetch_count;               /* of fetches */
    uint32_t fetch_capacity;            /* of fetches */
    struct script_fetch *free_fetches;  /* in no use */
    uint64_t last_fetch_id;             /* that was given to one */

    struct anchor **anchors;         /* by index; never freed before the script */
    uint32_t anchor_count;           /* of anchors */
    uint32_t anchor_capacity;        /* of anchors */
    struct anchor *free_anchors;     /* in no use */
    struct anchor *oldest_anchor;    /* of those that answer; NULL when there are none */
    struct anchor *newest_anchor;    /* likewise */
    struct anchor *uncounted_anchor; /* the newest of all, while its string is not counted in unsent_bytes; else NULL */
    size_t unsent_bytes;             /* of strings that anchors hold, each string once; without uncounted_anchor */
    size_t cut_bytes;                /* of them, what is being cut */
    struct line_limit cut_lines;     /* about responses that were cut */
    struct line_limit full_lines;    /* about memory that is full */

    struct deferral *deferrals;         /* all of them; never freed before the script */
    struct deferral *free_deferrals;    /* in no use */
    struct deferral *due_deferrals;     /* to be run, in the order in which they became due */
    struct deferral *last_due_deferral; /* of them, while there are any */
    struct reactor_task defer_task;     /* that runs them */

    struct script_subscription **subscriptions;     /* by index; never freed before the script */
    uint32_t subscription_count;                    /* of subscriptions */
    uint32_t subscription_capacity;                 /* of subscriptions */
    struct script_subscription *free_subscriptions; /* in no use */
    uint64_t last_subscription_id;                  /* that was given to one */

    struct event_beat *beats; /* comments of streams of events */

    struct script_udp **udps;     /* by index; never freed before the script */
    uint32_t udp_count;           /* of udps */
    uint32_t udp_capacity;        /* of udps */
    uint32_t udps_open;           /* that have an fd */
    struct script_udp *free_udps; /* in no use */
    uint64_t last_udp_id;         /* that was given to one */

    struct script_websocket **websockets;     /* by index; never freed before the script */
    uint32_t websocket_count;                 /* of websockets */
    uint32_t websocket_capacity;              /* of websockets */
    struct script_websocket *free_websockets; /* in no use */
    uint64_t websocket_excess;                /* bytes that count for WEBSOCKET_EXCESS_MAX */
    uint64_t last_websocket_id;               /* that was given to one */
    uint64_t websocket_timer;                 /* that ends those that are too old, once the script is retired; else 0 */
    int64_t retired_ms;                       /* reactor time of that */

    struct script_worker *workers;   /* of app.worker; newest first */
    struct password_desk *passwords; /* of app.password; NULL before its first call that waits */
    struct store_scope store_scope;  /* stores in use */

    struct write_buffer scratch; /* text being made by a C function */
    const char *scratch_user;    /* which one: "app.json.encode"; NULL while nobody has it */
    uint64_t seed;               /* of math.random */

    struct regex_cache *regexes; /* patterns of ngx.re; NULL until there are some */
};

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

/* Whether another thread than the reactor's has the script, so that the reactor must be left alone. */
static inline bool script_is_elsewhere(const struct script *script)
{
    return script->is_worker || (script->load != NULL && script->load->is_elsewhere);
}

/* The reactor's time, as far as it may be asked. */
int64_t script_now_ms(const struct script *script);

/* C code is about to enter Lua, maybe on another thread than the last time: know its stack, and forget the processor
 * time of the other thread. */
static inline void script_enter_stack(struct script *script)
{
    if (!stack_has(&script->stack, stack_here())) {
        stack_find(&script->stack);
        script->cpu_marked_ns = 0;
    }
}

/* Grow an array of pointers by one, doubling. Returns 0 or -ENOMEM. */
int script_grow(void ***array, uint32_t count, uint32_t *capacity);

/* Whether a line of a kind may be logged now; others gets its end, which says how many were not. */
bool script_may_log(const struct script *script, struct line_limit *limit, char others[OTHERS_MAX]);

#endif
