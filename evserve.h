#ifndef EVSERVE_H
#define EVSERVE_H

/* evserve: an HTTP/1.1 server inside your program. Two calls serve a directory:
 *
 *     struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:8080", .root = "public"};
 *     char err[EVSERVE_ERROR_MAX];
 *     evserve *server = evserve_start(&config, err, sizeof err);
 *     if (server == NULL) { fprintf(stderr, "%s\n", err); return 1; }
 *     evserve_wait(server);
 *     evserve_free(server);
 *
 * The library never exits, prints, forks, or touches signal dispositions, masks, the umask or the locale of its host;
 * SIGPIPE does not occur; every file descriptor is close-on-exec. What it has to say goes to config.log. All state hangs
 * on the handle, so several servers can live in one process.
 *
 * Three ways to run:
 *
 *   evserve_wait()                    the thread that calls it serves, until somebody calls evserve_stop()
 *   config.reactors = 4               four threads of the library serve; evserve_wait() waits for their end
 *   evserve_fd() and evserve_poll()   the host has a loop of its own, watches one fd, and lets the server work
 *
 * Thread rule: without threads of its own (reactors = 0) a server belongs to the thread that is in evserve_wait() or
 * calls evserve_poll(), to one at a time. What other threads may call says so: evserve_stop(), evserve_post(),
 * evserve_stats() and the functions that only tell something. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* what is declared here is what a shared library shows */

struct lua_State;

typedef struct evserve evserve;

enum {
    EVSERVE_ERROR_MAX = 1024,   /* bytes that hold any error text of this library */
    EVSERVE_REACTORS_MAX = 256, /* threads of one server */
};

/* Levels of log lines. */
enum { EVSERVE_LOG_ERROR = 1, EVSERVE_LOG_WARN, EVSERVE_LOG_INFO, EVSERVE_LOG_DEBUG };

/* What to serve. Zero, or NULL, in a field means its default. Everything is read during evserve_start() and may go
 * afterwards, but for log and arg. */
struct evserve_config {
    size_t size; /* sizeof(struct evserve_config): lets this struct grow without breaking older programs */

    /* Where to listen: "127.0.0.1:8080", "[::1]:8080", ":8080" (every address), "127.0.0.1:0" (a free port, see
     * evserve_port()), "unix:/run/x.sock", "fd:3" (an inherited listening socket); several separated by commas.
     * Default: what the script says, or 127.0.0.1:8080. */
    const char *listen;

    const char *root;   /* directory of static files, mounted at "/"; wins over the script's */
    const char *script; /* Lua script that configures the server and adds routes */

    /* 0: the server has no thread of its own; evserve_wait() or evserve_poll() runs it on the caller's. N, at most
     * EVSERVE_REACTORS_MAX: it runs on N threads of its own, which begin in evserve_start() and block all signals but
     * those of faults. Each has an event loop, a listening socket for each address (SO_REUSEPORT; unix sockets and
     * inherited ones are shared) and a Lua state: the script runs N times, and its globals are those of one thread. */
    unsigned reactors;

    /* Called with each log line (no newline at its end) on a thread of the server's, by one thread at a time. It must
     * not call back into the library, but for evserve_stop(). Default: lines are dropped. */
    void (*log)(void *arg, int level, const char *line);
    int log_level; /* the most verbose level wanted; default EVSERVE_LOG_INFO */

    /* Called with the script's Lua state before the script runs, so that the host can add modules: once for each Lua
     * state, by evserve_start(). Returns 0 to go on. */
    int (*lua_init)(struct lua_State *L, void *arg);

    void *arg; /* handed to log and lua_init */

    /* Timeouts in milliseconds, limits in bytes or numbers. A value here wins over the script's. */
    uint64_t idle_timeout_ms;   /* kept-alive connection without a request; default 30000 */
    uint64_t header_timeout_ms; /* request head from its first byte to its last; default 60000 */
    uint64_t body_timeout_ms;   /* request body without progress; default 30000 */
    uint64_t write_timeout_ms;  /* client that takes no byte of its answer; default 30000 */
    uint64_t max_request_line;  /* bytes; default 8192 */
    uint64_t max_header_bytes;  /* bytes of all field lines; default 16384 */
    uint64_t max_fields;        /* field lines; default 100 */
    uint64_t max_body;          /* bytes of a request body; default 1 MiB */
    uint64_t max_connections;   /* default 100000; of several threads each has an equal share */

    /* Of the script, which they win over. */
    uint64_t handler_cpu_ms; /* processor time a Lua handler may take between two waits; default 50 */
    uint64_t lua_memory;     /* bytes of a Lua state; default 256 MiB */
    int debug; /* 1: error answers show what went wrong, to the client too; default what the script says */
};

/* Start a server: load the script, open the root, bind and listen. With threads of its own it serves from here on, else
 * connections wait in the kernel for evserve_wait() or evserve_poll(). Returns the server, or NULL with a text in err
 * that names what was wrong ("cannot listen on 127.0.0.1:80: permission denied ...", "site.lua:12: ..."), and nothing
 * left behind. Any thread. */
evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen);

/* Serve until evserve_stop(), and until the requests then in flight are finished or cut; a server with threads of its own
 * is waited for. Returns 0 when all requests were finished, the number of connections cut at the deadline, or -errno
 * when an event loop failed, which stops the server. Called again, it returns the same at once. */
int evserve_wait(evserve *server);

/* For hosts with a loop of their own (poll, libuv, libevent, GLib, ...): one fd that is readable whenever the server has
 * something to do, timers included. Watch it for reading, level- or edge-triggered, and then call evserve_poll(server,
 * 0). It is the server's, and stays the same until evserve_free(). Returns -EINVAL for a server with threads of its own,
 * or -errno when the kernel gives no timer. */
int evserve_fd(evserve *server);

/* One turn of the server's loop: wait for something to do, for timeout_ms at most (0: not at all, -1: without limit), and
 * do it. Returns 1 while the server goes on; 0 when it was stopped and all is finished (evserve_wait() then tells how
 * many connections were cut); -errno when the event loop failed, -EINVAL for a server with threads of its own. Not from
 * a callback of the same server. */
int evserve_poll(evserve *server, int timeout_ms);

/* Stop: no new connections, idle ones are closed, requests in flight get drain_ms milliseconds to finish; then
 * evserve_wait() returns. Called again, the newer drain_ms counts from then. Any thread, signal handlers, callbacks;
 * server must not be freed meanwhile. */
void evserve_stop(evserve *server, uint32_t drain_ms);

/* Free the server, closing what is still open and ending its threads; requests in flight are cut. Not while
 * evserve_wait() or evserve_poll() runs, nor on a thread of the server's. NULL is allowed. */
void evserve_free(evserve *server);

/* Call fn(arg) on the server's thread, between two events; with several threads, on the first one. Calls of one thread
 * keep their order. Returns 0: fn will be called, by evserve_free() at the latest. -ESHUTDOWN: the server has ended, fn
 * is not called; or -ENOMEM. Any thread; not from signal handlers. */
int evserve_post(evserve *server, void (*fn)(void *arg), void *arg);

/* Numbers since the start; but active, which is now. */
struct evs_stats {
    size_t size;             /* sizeof(struct evs_stats), set by the caller: lets this struct grow */
    uint64_t accepted;       /* connections accepted */
    uint64_t active;         /* connections open now */
    uint64_t requests;       /* requests answered */
    uint64_t by_class[6];    /* of them by class of status: by_class[2] counts 2xx */
    uint64_t bytes_received; /* from clients */
    uint64_t bytes_sent;     /* to clients */
    uint64_t timeouts;       /* connections closed by a deadline */
    uint64_t errors;         /* connections lost: reset, hung up, cut */
};

/* Fill in stats, the sum over all threads. Costs the server nothing. Returns 0, or -EINVAL when stats->size is wrong.
 * Any thread. */
int evserve_stats(const evserve *server, struct evs_stats *stats);

/* The n-th address that the server listens on, as text with the port that was bound, and its port alone. NULL and -1
 * past the last; the port of a unix socket is 0. The text lives as long as the server. Any thread. */
const char *evserve_address(const evserve *server, unsigned listener);
int evserve_port(const evserve *server, unsigned listener);

/* Load what config says, without listening, and describe it: line is called once for each limit that is not the
 * default, address, mount and route. Returns 0, or -1 with a text in err as evserve_start() gives it. */
int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen);

/* The version of the library: "0.1.0". */
const char *evserve_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
