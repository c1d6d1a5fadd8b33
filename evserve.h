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
 * The library never exits, prints, forks, or touches signal dispositions; what it has to say goes to config.log. All
 * state hangs on the handle, so several servers can live in one process, each on a thread of its own.
 *
 * Thread rule: a server belongs to the thread that calls evserve_wait(). Only evserve_stop() may be called from other
 * threads, and from signal handlers. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* what is declared here is what a shared library shows */

struct lua_State;

typedef struct evserve evserve;

enum { EVSERVE_ERROR_MAX = 1024 }; /* bytes that hold any error text of this library */

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

    /* Called with each log line (no newline at its end) on the server's thread. Default: lines are dropped. */
    void (*log)(void *arg, int level, const char *line);
    int log_level; /* the most verbose level wanted; default EVSERVE_LOG_INFO */

    /* Called with the script's Lua state before the script runs, so that the host can add modules. Returns 0 to go on. */
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
    uint64_t max_connections;   /* default 100000 */

    /* Of the script, which they win over. */
    uint64_t handler_cpu_ms; /* processor time a Lua handler may take between two waits; default 50 */
    uint64_t lua_memory;     /* bytes of a Lua state; default 256 MiB */
    int debug; /* 1: error answers show what went wrong, to the client too; default what the script says */
};

/* Start a server: load the script, open the root, bind and listen. Connections are accepted from here on, and served
 * by evserve_wait(). Returns the server, or NULL with a text in err that names what was wrong ("cannot listen on
 * 127.0.0.1:80: permission denied ...", "site.lua:12: ..."), and nothing left behind. */
evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen);

/* Serve until evserve_stop(), and until the requests then in flight are finished or cut. Returns 0 when all of them
 * were finished, the number of connections cut at the deadline, or -errno when the event loop failed. */
int evserve_wait(evserve *server);

/* Stop: no new connections, idle ones are closed, requests in flight get drain_ms milliseconds to finish; then
 * evserve_wait() returns. Called again, the newer drain_ms counts from then. Any thread, signal handlers; server must
 * not be freed meanwhile. */
void evserve_stop(evserve *server, uint32_t drain_ms);

/* Free the server, closing what is still open. Not while evserve_wait() runs. NULL is allowed. */
void evserve_free(evserve *server);

/* The n-th address that the server listens on, as text with the port that was bound, and its port alone. NULL and -1
 * past the last; the port of a unix socket is 0. The text lives as long as the server. */
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
