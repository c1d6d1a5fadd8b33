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
 * The library never exits, prints or forks, and never changes signal dispositions, signal masks, the umask or the
 * locale. Every file descriptor that it opens is close-on-exec and numbered 3 or above, even if the host has closed 0
 * to 2. Log messages go to config.log. All state belongs to the handle, so one process can run several servers. Parsing
 * and responses do not depend on the locale; all texts are English, in UTF-8. The library does not raise SIGPIPE, with
 * one exception: a script that writes to a pipe whose reader has closed it (io.popen) raises it, unless the script runs
 * on a thread of the server.
 *
 * Three ways to run:
 *
 *   evserve_wait()                    the calling thread serves, until evserve_stop() is called
 *   config.reactors = 4               four threads of the library serve; evserve_wait() waits for them to end
 *   evserve_fd() and evserve_poll()   the host has an event loop of its own, in which it watches one fd
 *
 * Thread rule: a server without threads of its own (reactors = 0) belongs to one thread at a time, the one that is in
 * evserve_wait() or evserve_poll(). Functions that other threads may call say so: evserve_stop(), evserve_post(),
 * evserve_reload(), evserve_stats(), those that take a ticket, timers and watches, and those that only return
 * information.
 *
 * evserve_free(), evserve_stop(), evserve_wake() and evserve_log() accept a NULL server and do nothing. No other function
 * accepts NULL as its server or request.
 *
 * C++17 programs may include evserve.hpp: the same functions with lambdas, handles that clean up, and exceptions that
 * never reach the library.
 *
 * Callbacks must return. A callback must not throw a C++ exception through the library, leave by longjmp(3), or end its
 * thread: any of these interrupts the event loop in the middle of its work. When an exception or the end of a thread
 * unwinds the loop, the server logs it, and its functions return -ENOTRECOVERABLE or -ESHUTDOWN from then on; only
 * evserve_free() may still be called. (The library in one file notices this only if it is compiled with -fexceptions.)
 * A callback may call any function, including those of other servers. For its own server, however, evserve_poll() and
 * evserve_wait() return -EBUSY, and evserve_free() does nothing but log the mistake.
 *
 * fork(2): a server belongs to the process that started it, so call daemon(3), for example, before evserve_start(). A
 * child process has the server's file descriptors until it calls exec; popen(3) and system(3) therefore need no special
 * care. In a child, evserve_free() closes them and does nothing else: it calls no callback, runs no script and frees no
 * memory, and the parent's server, its clients and its unix socket are not affected. evserve_poll(), evserve_wait(),
 * evserve_fd(), evserve_post(), evserve_reload(), evserve_adopt() and the functions of tickets, timers and watches
 * return -ECHILD in a child; evserve_stop(), evserve_wake() and evserve_log() do nothing, and evserve_changed() returns
 * 0. A child that keeps the file descriptors open neither delays the end of the parent's connections nor keeps its
 * addresses in use after the parent's server has stopped. Requests and their functions (evs_) belong to the parent
 * alone: a child that was forked in a callback must not return from it.
 *
 * Relative paths (root, script, its modules and directories, the root of evs_file(), a unix socket) are resolved
 * against the working directory of evserve_start(), on reloads too, so the host may call chdir(2) afterwards. Files
 * that a script opens through Lua functions such as io.open, and C modules found through a relative package.cpath, are
 * relative to the current working directory.
 *
 * A thread that serves a script needs a stack of at least EVSERVE_STACK_LEAST bytes; the usual 8 MiB allow deeper
 * recursion. A script that recurses too deeply gets the error "stack overflow". A thread that serves no script needs 64
 * KiB, in addition to what the host's callbacks and thread-local variables use. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* what is declared here is what a shared library shows */

struct lua_State;
struct sockaddr_storage;

typedef struct evserve evserve;
typedef struct evs_request evs_request;

enum {
    EVSERVE_ERROR_MAX = 1024,       /* bytes that hold any error text of this library */
    EVSERVE_REACTORS_MAX = 256,     /* threads of one server */
    EVSERVE_STACK_LEAST = 512 << 10 /* bytes of stack of a thread that serves a script */
};

/* The number 0 in a limit of struct evserve_config, where 0 itself selects the default. It means no body for max_body,
 * any rate for min_body_rate, no draining for max_drain, no separate cap for max_connections_per_address, nothing in
 * memory for max_cached_file and max_cached_memory, no probes for tcp_keepalive_ms, and no deadline for
 * handler_timeout_ms and stream_timeout_ms. The other limits reject it, as they reject 0 in a script. */
#define EVSERVE_ZERO UINT64_MAX

/* Levels of log lines. */
enum { EVSERVE_LOG_ERROR = 1, EVSERVE_LOG_WARN, EVSERVE_LOG_INFO, EVSERVE_LOG_DEBUG };

/* What config.sandbox may be. */
enum { EVSERVE_SANDBOX = 1, EVSERVE_SANDBOX_REQUIRE };

/* Limits of one route, which override the server's, in milliseconds and bytes. Each member has the same meaning as in
 * struct evserve_config. 0 keeps the server's value; EVSERVE_ZERO is the number 0. */
struct evs_limits {
    size_t size; /* sizeof(struct evs_limits) */
    uint64_t body_timeout_ms, min_body_rate, write_timeout_ms;
    uint64_t max_body, max_drain, write_high_mark, write_cap;
    uint64_t handler_timeout_ms, stream_timeout_ms;
};

/* A route in C. Initialise members by name, {.route = "GET /hello", .serve = hello}, so that a release that adds one
 * causes no warning. */
struct evs_route {
    /* Methods, a blank and a path, as in "GET /users/:id", "PUT,DELETE /files/ *path" (without the blank in "/ *"), or
     * "* /any" for every method. A method is any token (RFC 9110 section 9.1) of at most 32 bytes, such as PROPFIND or
     * PURGE, except CONNECT; the routes of a server may name 56 beside GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
     * A method that no route names is 501, another method than those of a path is 405, GET brings HEAD. NULL ends the
     * array. The rules for paths are the same in C and in Lua (stars stand apart from slashes here because of C):
     *
     *   /about.html         literal text. %XX is the byte it stands for: %3A, %2A, %7B and %25 are a plain ':', '*', '{'
     *                       and '%'. It is compared with the decoded path, case-sensitive.
     *   /users/:id          a parameter: the rest of its segment, at least one byte
     *   /users/:id{int}     a parameter of a type
     *   /files/a-:name.gz   literal text around a parameter; one parameter a segment
     *   /files/ *rest       last in the path: all that follows, including slashes, perhaps nothing; "*" alone is named "*"
     *
     * {int} is 1 to 18 decimal digits without a sign, so 005 is one and -5 is not; {alpha} is ASCII letters; {alnum} letters
     * and digits; {hex} hexadecimal digits; {slug} letters, digits, '-' and '_'; {uuid} hexadecimal digits in groups of
     * 8-4-4-4-12; {[a-z0-9.-]+} one or more of a set of your own: printable ASCII characters and ranges, with '-' first or
     * last, without / [ \ ] ^. What does not fit the type does not fit the route, and is 404 if nothing else fits.
     *
     * Names are letters, digits and '_', not beginning with a digit, each once in a path; at most 16 in one, and 1024 bytes
     * of path. "/users" and "/users/" are two paths, unless a script says otherwise (app.set { trailing_slash = ... }).
     *
     * Where several routes fit, the first place in which they differ decides, in whatever order they are registered:
     * literal text wins over a parameter with a type, that over one without, that over a rest. Of two types the one that
     * accepts fewer different characters wins, {uuid} before all; of one type, the one with more text after it. If the
     * winner has no such method, or its path leads nowhere, the next one is tried. */
    const char *route;

    /* Answer request, at once or later (see below). */
    void (*serve)(evs_request *request, void *arg);
    void *arg;      /* handed to serve */
    unsigned flags; /* EVS_STREAM_BODY, EVS_HALF_CLOSE, or 0 */

    const struct evs_limits *limits; /* its own, copied by evserve_start(); NULL: the server's */
};

enum {
    /* serve is called as soon as the head has arrived, and reads the body piece by piece with evs_read(). Without this
     * flag serve is called when the whole body, of at most max_body bytes, has arrived. */
    EVS_STREAM_BODY = 1,

    /* A client of this route that shuts down its side of the connection (FIN), as `nc -N` does, still gets a response
     * that comes late. Without this flag such a client counts as gone, since a FIN is nearly always the first half of a
     * close: once the server has nothing left to send to it and waits for the host, the request is EVS_GONE. A response
     * that is complete when serve returns is sent in either case. */
    EVS_HALF_CLOSE = 2
};

/* A header field, and the media type of an extension. */
struct evs_field {
    const char *name, *value; /* "X-Frame-Options", "DENY" */
};
struct evs_type {
    const char *extension, *type; /* "wasm", "application/wasm" */
};

/* A file in memory. The server copies neither the strings nor the content: they and the array must stay unchanged until
 * evserve_free(). Both evserve_embed() of the CMake package and scripts/embed.sh generate such an array from a
 * folder. */
struct evs_asset {
    const char *path;    /* below the mount's prefix, without a slash before it: "css/app.css"; NULL ends the array */
    const void *content; /* len bytes */
    size_t len;
    const char *type; /* Content-Type; NULL: by the extension of path, as for a file of a directory */
    const char
        *etag; /* of the entity tag, without its quotes: 1 to 36 visible ASCII characters that change whenever the
                       * content does; NULL: made from the content when the server starts */
    int64_t modified; /* Last-Modified, in seconds since the epoch; 0: the field is not sent */
};

/* A directory of static files, with the options that app.static of a script has, or files in memory:
 *
 *     static const char *const index[] = {"index.html", "index.htm", NULL};
 *     static const struct evs_field headers[] = {{"X-Frame-Options", "DENY"}, {NULL, NULL}};
 *     const struct evs_mount mounts[] = {
 *         {.prefix = "/assets", .dir = "build/assets", .cache_s = 3600, .headers = headers},
 *         {.prefix = "/app", .dir = "build/app", .index = index, .fallback = "index.html"},
 *         {.prefix = "/ui", .assets = ui_assets},
 *         {.prefix = NULL},
 *     };
 *
 * Routes take precedence over mounts, and a mount with a longer prefix over one with a shorter prefix. If the host and
 * the script mount the same prefix, the host's mount is used. Zero, or NULL, in a member means its default. At most 64
 * mounts, including root and the script's. */
struct evs_mount {
    const char *prefix; /* of paths: "/" or "/assets"; NULL ends the array */
    const char *dir;    /* the directory; below it files are found as paths go on behind the prefix; NULL with assets */

    /* Names of index files; the first one that exists is sent for its directory. NULL ends them. Default "index.html";
     * with an empty list, no file is. At most 8. */
    const char *const *index;

    /* A file below dir that is sent, with 200, for paths that are not found: for a single-page application, whose paths
     * exist only in the browser. It has "Cache-Control: no-cache" instead of cache_s. If dir does not have it when the
     * server starts, or not_found, the log has a warning: it may be added later. */
    const char *fallback;

    const char *not_found;           /* a file below dir that is the content of each 404 */
    const struct evs_field *headers; /* added to each response of the mount; a NULL name ends them; at most 32, 8 KiB */
    const struct evs_type *types;    /* media types before the built-in ones; a NULL extension ends them; at most 256 */
    uint32_t cache_s;                /* "Cache-Control: max-age" of files, in seconds; 0 sends none */
    int list;                        /* 1: list a directory that has no index file; not with assets */
    int dotfiles;         /* 1: serve files whose name begins with a dot, and what is below such directories */
    int no_precompressed; /* 1: do not look for a.css.br, a.css.zst and a.css.gz beside a.css */

    /* Files in memory instead of dir. They are served like files of a directory: with conditional requests, ranges,
     * entity tags, index, fallback and not_found (which must be among them), and a.css.gz for a.css. They need no disk
     * access, do not count against max_cached_*, and their content is sent without being copied. */
    const struct evs_asset *assets;
};

/* How a request ended. */
enum evs_end {
    EVS_END_GONE,     /* the client closed the connection before all of the response was handed to the kernel */
    EVS_END_COMPLETE, /* all of it was; whether the client received it is not known */
    EVS_END_TIMEOUT,  /* a deadline cut the connection: write_timeout_ms, body_timeout_ms or stream_timeout_ms */
    EVS_END_ABORTED,  /* it could not be completed: evs_abort(), write_cap, memory, or its file changed meanwhile */
    EVS_END_STOPPED   /* the server stopped, and its drain time was over */
};

/* How a request ended. Strings are valid during the call; those that are not known are "". */
struct evs_outcome {
    size_t size;          /* sizeof(struct evs_outcome) of the library: what lies behind it is not there */
    const char *method;   /* as sent; "" if no request line has arrived */
    const char *target;   /* likewise: "/users/7?a=1"; visible ASCII, in which '"' may be */
    const char *peer;     /* as of evs_peer(); "" of a client that found no fd */
    const char *route;    /* "/users/:id" of the route, in C or Lua, that answered; NULL if it was none */
    int status;           /* of the response; 0: there is none, because the client or the server has gone before */
    int end;              /* enum evs_end */
    uint64_t bytes;       /* of the response, its head included, that the kernel took */
    uint64_t duration_us; /* microseconds from the first byte of the request to its end */
    unsigned thread;      /* of the server, from 0 */

    /* For evs_header(), evs_header_at(), evs_path(), evs_query_string(), evs_query(), evs_param() and evs_server(),
     * which say more about the request; no other function may be called for it. NULL if the head has not arrived. */
    evs_request *request;
};

/* What to serve. Zero, or NULL, in a member means its default. evserve_start() copies all strings, routes and mounts,
 * except assets, so you may free them once it returns. Whatever arg, and the arg of a route, point to must outlive the
 * server. */
struct evserve_config {
    size_t size; /* sizeof(struct evserve_config): lets this struct grow without breaking older programs */

    /* Where to listen: "127.0.0.1:8080", "[::1]:8080", ":8080" (every address), "127.0.0.1:0" (a free port, see
     * evserve_port()), "unix:/run/x.sock", "unix:/run/x.sock?mode=660" (permissions of its file), "unix:@name" (an
     * abstract socket, unix(7): it has no file, and every process of the network namespace can connect), "fd:3" (a
     * listening socket that the host has opened or inherited); several separated by commas. "none": nowhere;
     * connections are handed over with evserve_adopt(). While a server accepts on a unix socket, its path is in use; a
     * successor may start once the old server was asked to stop. To leave no gap, rename or remove the socket's file
     * first, start the successor, then stop the old server. The fd of "fd:3" stays the host's: the server accepts on a
     * duplicate and never closes the original, which the host may close as soon as evserve_start() has returned. A host
     * that keeps it keeps the socket listening: after a stop the kernel still completes connections, for a
     * successor to accept. Both share one file description, so the socket is non-blocking from then on; of a TCP socket
     * the server also sets TCP_NODELAY and the options of tcp_keepalive_ms. Default: what the script says, or
     * 127.0.0.1:8080. */
    const char *listen;

    const char *root;   /* directory of static files, mounted at "/"; wins over the script's */
    const char *script; /* Lua script that configures the server and adds routes; a pipe is read once, see reload */

    const struct evs_route *routes; /* routes in C, beside those of the script; ends with a NULL route */

    /* 0: the server has no threads of its own; evserve_wait() or evserve_poll() runs it on the caller's. N, at most
     * EVSERVE_REACTORS_MAX: it runs on N threads of its own, which evserve_start() creates, and which block all signals
     * except those of faults. They may call routes before evserve_start() has returned, so a route should get its
     * server from evs_server(), not from the variable that evserve_start() is assigned to. Each has an event loop, a
     * listening socket for each address (SO_REUSEPORT; unix sockets and inherited ones are shared) and a Lua state: the
     * script runs N times, and its globals are those of one thread. */
    unsigned reactors;

    /* Called with each log line (no newline at its end; what would not show in a terminal is escaped) on a thread of
     * the server's, by one thread at a time. It must not block, since the server would block with it, and must not call
     * the library, except evserve_stop(). Default: lines are dropped. */
    void (*log)(void *arg, int level, const char *line);
    int log_level; /* the most verbose level wanted; default EVSERVE_LOG_INFO */

    /* Called with the script's Lua state before the script runs, so that the host can add modules: a table that is set
     * as package.loaded.host, for example, is what require "host" returns. It is called once for each Lua state: on the
     * caller's thread by evserve_start(), on the server's by evserve_reload(). Returns 0 to go on. The state is
     * LuaJIT's: link the host with LuaJIT (pkg-config luajit), and with no other Lua, since all Luas have the same
     * names. A start with a script and two Luas fails. A library that was built with EVSERVE_LUAJIT_PRIVATE allows any
     * other Lua, but has no lua_init. */
    int (*lua_init)(struct lua_State *L, void *arg);

    void *arg; /* handed to log, lua_init, on_listening, on_wake, finished, before, not_found, on_error */

    /* Timeouts in milliseconds, limits in bytes or numbers. A value here wins over the script's. 0 leaves the
     * script's, or the default; the number 0 is EVSERVE_ZERO. */
    uint64_t idle_timeout_ms;   /* kept-alive connection without a request; default 30000 */
    uint64_t header_timeout_ms; /* request head from its first byte to its last; default 60000 */
    uint64_t body_timeout_ms;   /* request body without progress; default 30000 */
    uint64_t min_body_rate;     /* bytes a second of a body, after body_timeout; default 100, EVSERVE_ZERO for any */
    uint64_t write_timeout_ms;  /* client that takes no byte of its answer; default 30000 */
    uint64_t max_request_line;  /* bytes; default 8192 */
    uint64_t max_header_bytes;  /* bytes of all field lines; default 16384 */
    uint64_t max_fields;        /* field lines; default 100 */
    uint64_t max_body;          /* bytes of a request body; default 1 MiB */
    uint64_t max_drain;         /* bytes of an unwanted body, read to keep the connection; default 256 KiB. The
                                 * server's own 413 always closes the connection */
    uint64_t max_connections;   /* default 100000; of several threads each has an equal share */
    uint64_t max_connections_per_address; /* of one IPv4 address or IPv6 /64, likewise; default as max_connections */
    uint64_t write_high_mark;             /* queued bytes of an answer at which evs_write() returns 0; default 64 KiB */
    uint64_t write_cap;                   /* queued bytes at which a client is cut; default 256 KiB */
    uint64_t max_cached_files;            /* files that the cache keeps ready, on each thread; default 1024 */
    uint64_t max_cached_file;             /* bytes of the largest file kept in memory; default 16 KiB */
    uint64_t max_cached_memory;           /* bytes of all files kept in memory, on each thread; default 32 MiB */

    /* Of the script, which they win over. */
    uint64_t handler_cpu_ms; /* processor time a Lua handler may take between two waits; default 50 */
    uint64_t lua_memory;     /* bytes of a Lua state; default 256 MiB */
    int debug; /* 1: error answers show what went wrong, to the client too; default what the script says */

    /* Called once during the start, when all addresses are bound and nothing is served yet: for a host that began with
     * rights to listen, and now gives them up. Returns 0 to go on. With any other value the start fails, and
     * its text is what the function has written to err: at most errlen bytes with the NUL. If it writes none, the text
     * says what the function returned. To give up root, call setgroups(2), setgid(2) and setuid(2), in this order: each
     * needs the rights that a later one takes away. */
    int (*on_listening)(void *arg, char *err, size_t errlen);

    /* EVSERVE_SANDBOX: after on_listening, give up what serving does not need. Files: to read those below the mounted
     * directories, the folders of the script and of its modules, and allow_read; to change those below allow_write; no
     * others. No other programs, no new connections, no system calls but those in core/README.md (installed as core.md
     * beside the other documents). What the kernel cannot do is a line in the log; with EVSERVE_SANDBOX_REQUIRE the start
     * fails. It holds, for good and also after a start that failed late, for the thread that calls evserve_start(), the
     * threads of the server, and all that these begin later, so for threads of the host that the calling thread begins
     * after evserve_start(), too; other threads of the host stay as they are. tests/examples/confined.c gives up root
     * and writes uploads in the sandbox. */
    int sandbox;
    const char *allow_read;  /* more directories, or files, separated by colons; those of evs_file() and app.file */
    const char *allow_write; /* likewise; they must exist. Permissions of a file cannot be changed inside, so create it
                              * with them: open(path, O_CREAT | ..., 0644). mkstemp(3) always creates it with 0600 */

    /* Called on the server's thread, with several on the first one, after evserve_wake(). May call whatever takes a
     * server, but evserve_wait(), evserve_poll() and evserve_free(). */
    void (*on_wake)(void *arg);

    uint64_t list_max; /* entries of a directory that a listing shows; default 10000 */

    /* Silence after which the kernel probes a TCP client: one that has vanished is noticed after twice that time.
     * Default 60000, at least 1000, EVSERVE_ZERO for never. Sockets handed over by evserve_adopt() keep the options
     * they have. */
    uint64_t tcp_keepalive_ms;

    const struct evs_mount *mounts; /* directories of static files, beside root and those of the script; a NULL prefix
                                     * ends the array */

    /* Called once for each request when it is over, whatever has answered it: routes in C and Lua, files, listings, the
     * server itself (400, 408, 413, 431, ...; also 503 to a client for which there is no room). Not called for
     * connections that end before a request. It runs on the thread that has served the request, in the middle of its
     * work, and on several threads at the same time: it must not block, and may call only what any thread may call.
     * While it is set, each pipelined response takes a send(2) of its own, and the clock is read twice for each
     * request. */
    void (*finished)(void *arg, const struct evs_outcome *outcome);

    /* How long a handler, in C or Lua, may keep its client waiting: handler_timeout_ms until its response begins (then
     * the client gets 503), stream_timeout_ms without a further byte of a response that has begun (then the connection
     * is cut). The request is EVS_GONE, and the log names its route. Time in which the handler waits for the request
     * body, or for the client to take what was written, does not count. The defaults are 300000 and EVSERVE_ZERO, which
     * means without limit. */
    uint64_t handler_timeout_ms;
    uint64_t stream_timeout_ms;

    /* Called once for each request with a valid head and path, before it is routed: for authentication, CORS,
     * redirects, or a header field in every response. Returns 0 to let the request go on; header fields that were added
     * are then in its response, whatever sends it, except that a script's or a mount's line replaces one of a field
     * that is sent only once. Returns 1 if it has answered, or will answer later, as a route may: the request is then
     * its own, and the request body is dropped, as that of GET is. Any other value counts as 1; and a response that it
     * has begun counts, even if it returns 0. If it returns 1 and never answers, the client gets 503 after
     * handler_timeout_ms. evs_param() and evs_body() have nothing yet. When it returns 0, evs_on() and evs_after() are
     * forgotten; evs_on_done() is not. */
    int (*before)(evs_request *request, void *arg);

    /* Answers, at once or later, a request that matches neither a route nor a file, in place of 404; the request body
     * is dropped. A mount's own fallback or not_found takes precedence. A path that matches a route with other methods
     * is still 405. So is every path of a mount: it serves GET and HEAD alone, whether a file is there or not. With root,
     * or a mount at "/", POST to a path without a route is therefore 405 and does not come here; it does if the files
     * are mounted below a prefix of their own. */
    void (*not_found)(evs_request *request, void *arg);

    /* Called before the server sends an error page of its own. It may send one instead, with evs_reply(), evs_file(),
     * or evs_write() and evs_end(); the response must be complete when it returns. If it sends nothing, the server's
     * page is sent. status is 403, 404, 405 (Allow is set), 412, 416 and the like of files and of what nothing fits;
     * 413; 500 and 503 of routes in C and Lua that failed, for which a script has no page; 501 and 503. Not for
     * requests whose end or whose path is in doubt (400, 408, 414, 431, 505, ...), nor for an error in a page of its
     * own. evs_on() and evs_after() are forgotten. */
    void (*on_error)(evs_request *request, int status, void *arg);
};

/* A config in which everything is default: struct evserve_config config = EVSERVE_CONFIG_INIT; */
#if !defined __cplusplus && defined __STDC_VERSION__ && __STDC_VERSION__ >= 199901L
#define EVSERVE_CONFIG_INIT                                                                                            \
    {                                                                                                                  \
        .size = sizeof(struct evserve_config)                                                                          \
    }
#else
static __inline__ struct evserve_config evserve_config_init(void) /* C89 and C++17 cannot name the member */
{
    static struct evserve_config zero; /* as everything static is */
    struct evserve_config config = zero;
    config.size = sizeof config;
    return config;
}
#define EVSERVE_CONFIG_INIT evserve_config_init()
#endif

/* Start a server: load the script, open the root, bind and listen. With threads of its own it serves from here on, else
 * connections wait in the kernel for evserve_wait() or evserve_poll(). Returns the server, or NULL with a text in err
 * that names what was wrong ("cannot listen on 127.0.0.1:80: permission denied ...", "site.lua:12: ..."), and
 * nothing left behind. Any thread. */
evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen);

/* Serve until evserve_stop() is called and the requests then in flight have finished or were cut. For a server with
 * threads of its own, wait for that. Returns 0 when all requests were finished, the number of connections cut at the
 * deadline, or -errno when an event loop failed, which stops the server; -EBUSY in a callback of the same server, while
 * another thread serves it, or, in a callback of another server, while another thread reloads it; -EDEADLK when a
 * thread of the server is itself waiting for the calling one; -ECHILD in a forked child. Called again, it returns the
 * same at once. */
int evserve_wait(evserve *server);

/* For hosts with a loop of their own (poll, libuv, libevent, GLib, ...): one fd that is readable whenever the server
 * has something to do, timers included. Watch it for reading, level- or edge-triggered, and then call
 * evserve_poll(server, 0). It is the server's, and stays the same until evserve_free(). Returns -EINVAL for a server
 * with threads of its own, -ECHILD in a forked child, or -errno when the kernel gives no timer. */
int evserve_fd(evserve *server);

/* One turn of the server's loop: wait for something to do, for timeout_ms at most (0: not at all, -1: without limit),
 * and do it. Returns 1 while the server goes on; 0 when it was stopped and all is finished (evserve_wait() then tells
 * how many connections were cut); -errno when the event loop failed, -EINVAL for a server with threads of its own,
 * -EBUSY as evserve_wait(), -ECHILD in a forked child. An event loop that runs inside a callback must not watch the fd:
 * it would stay readable, and evserve_poll() would return -EBUSY. */
int evserve_poll(evserve *server, int timeout_ms);

/* Stop: no new connections, idle ones are closed, requests in flight get drain_ms milliseconds to finish, and so
 * does what scripts have begun (app.defer, runs of timers); then evserve_wait() returns. The script's "stopping"
 * functions are called before, and requests in C get EVS_STOPPING, so that streams can end; its "stop" functions
 * after. The log names the app.defer and timers of a script that had to be cut; of requests, evserve_wait() returns
 * how many connections were cut, not which. Called again, the newer drain_ms counts from then. A stop may overtake
 * functions that were posted before; they are called nevertheless, by evserve_free() at the latest. Any thread, signal
 * handlers, callbacks; server must not be freed meanwhile. NULL does nothing: a signal handler that is installed before
 * evserve_start() may call this at any time. A signal that arrives during the start is lost then, so the host checks
 * for it when evserve_start() has returned. */
void evserve_stop(evserve *server, uint32_t drain_ms);

/* Free the server, closing what is still open and ending its threads; requests in flight are cut. Not while
 * evserve_wait() or evserve_poll() runs, nor on a thread of the server's: then nothing is freed, and a line in the log says
 * so. In a forked child it only closes file descriptors (see above). NULL is allowed. */
void evserve_free(evserve *server);

/* Call fn(arg) on the server's thread, between two events; with several threads, on the first one. Calls of one thread
 * keep their order. Returns 0: fn will be called, by evserve_free() at the latest. -ESHUTDOWN: the server has ended, fn
 * is not called; -ECHILD in a forked child; or -ENOMEM. Any thread; not from signal handlers. */
int evserve_post(evserve *server, void (*fn)(void *arg), void *arg);

/* Have on_wake called soon, between two turns of the server's loop: what evserve_post() is for signal handlers. Calls
 * made before on_wake runs are merged into one. Does nothing without on_wake, when the server has ended, or for NULL.
 * Any thread, signal handlers; server must not be freed meanwhile. errno stays as it is. */
void evserve_wake(evserve *server);

/* Load the config's script, root and C routes anew, into new Lua states, and serve them from the next request of each
 * connection on; requests that have begun finish with the old ones, which are closed after the last of them; what a
 * script has begun until then (app.defer, runs of timers) gets a minute more. When something is wrong, a script that
 * does not load for example, the old ones go on serving. Listeners stay as they are: a script that changes app.listen
 * is refused. Timers of the old script end and its "stopping" functions are called after the "start" functions of the
 * new one, requests in C that have begun get EVS_STOPPING (the old script stays until the last of them is over), its
 * "stop" functions before it is closed; lua_init is called again, on each thread of the server.
 *
 * Returns 0, or -errno with a text in err; -EBUSY: another reload is under way; -ESHUTDOWN: the server has stopped;
 * -ECHILD in a forked child. Any thread, the server's own too, from a route for example; others wait until the
 * server's threads have done it. A server that no thread is serving at the moment is reloaded by the caller. A
 * script that came through a pipe cannot be read again, so the reload fails. */
int evserve_reload(evserve *server, char *err, size_t errlen);

/* Whether the script, or a file that it required or read while it started, has changed since it was loaded or since the
 * last call: 1, then it is time for evserve_reload(), or 0. Looks at each file. Any thread. */
int evserve_changed(evserve *server);

/* Totals since the server started, except active, which is the current value. */
struct evs_stats {
    size_t size;             /* sizeof(struct evs_stats), set by the caller: lets this struct grow */
    uint64_t accepted;       /* connections accepted */
    uint64_t active;         /* connections open now */
    uint64_t requests;       /* requests answered */
    uint64_t by_class[6];    /* of them by class of status: by_class[2] counts 2xx */
    uint64_t bytes_received; /* from clients */
    uint64_t bytes_sent;     /* to clients */
    uint64_t timeouts;       /* deadlines that have expired: connections closed, late handlers */
    uint64_t errors;         /* connections lost: reset, hung up, cut */
};

/* Fill in stats, the sum over all threads. Costs the server nothing. Returns 0, or -EINVAL when stats->size is wrong.
 * Any thread. */
int evserve_stats(const evserve *server, struct evs_stats *stats);

/* The n-th address that the server listens on, as text with the port that was bound, and its port alone. NULL and -1
 * past the last; the port of a unix socket is 0. The text lives as long as the server. Any thread. */
const char *evserve_address(const evserve *server, unsigned listener);
int evserve_port(const evserve *server, unsigned listener);

/* Serve a connected stream socket as if the server had accepted it: one that another process handed over, or one end of
 * a socketpair(2), through which a test asks routes in C and in Lua without a port (listen = "none"), as evserve
 * --request does. Its peer is "unix:". Takes ownership of fd, even on failure; it is read in the loop's next turn.
 * Returns 0; -EINVAL for a server with threads of its own, -ECHILD in a forked child, -ESHUTDOWN for one that was
 * stopped, -ENOTSOCK when fd is no socket (a pipe or a file), or another -errno. The server's thread, callbacks
 * included. */
int evserve_adopt(evserve *server, int fd);

/* Requests: what a function of evs_route.serve may do. A request and all of these functions belong to the thread that
 * called serve.
 *
 * A request is answered once: by evs_reply(), by evs_file(), by evs_write()... and evs_end(), or given up by
 * evs_abort(). This may happen during serve, or later, from an event (evs_on()), a timer (evs_after()) or a call that
 * another thread sends (evserve_post_to() with evs_thread()). The request exists until it is answered, or until
 * EVS_GONE; it must not be used afterwards. So code that answers later should ask for events, and forget the request on
 * EVS_GONE.
 *
 * Strings end with NUL. They are valid until the function that the server called returns: code that answers later must
 * ask again, or make a copy. A NULL name matches nothing; a NULL value is rejected. */

/* What was asked for. */
const char *evs_method(evs_request *request);       /* "GET", case-sensitive; with a route for "*", any token */
const char *evs_target(evs_request *request);       /* as sent: "/users/7%20?a=1" */
const char *evs_path(evs_request *request);         /* decoded, without dot segments: "/users/7 " */
const char *evs_query_string(evs_request *request); /* as sent, without the "?"; "" when there is none */

/* A parameter of the route by its name ("*" for a rest without one), decoded; NULL when the route has none. */
const char *evs_param(evs_request *request, const char *name);

/* The first query parameter of that name, decoded ("+" is a space); NULL when there is none. A NUL in it (%00) is where the
 * text ends for C; this holds for cookies and forms, too. */
const char *evs_query(evs_request *request, const char *name);

/* The query parameter at index, from 0, in the order in which they came, also of names that come more than once. Returns 1,
 * or 0 past the last. */
int evs_query_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The first cookie of that name, as it was sent: nothing is decoded, and quotes are part of it (RFC 6265 section 5.4); NULL
 * when there is none. Browsers send the cookie of the longest path first. */
const char *evs_cookie(evs_request *request, const char *name);

/* The cookie at index, from 0, in the order in which they came. Returns 1, or 0 past the last. */
int evs_cookie_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The first header field of that name, in any case; NULL when there is none. If the request target has an authority
 * ("GET http://b/x"), Host is that authority, whatever the client sent as Host. */
const char *evs_header(evs_request *request, const char *name);

/* The header field at index, from 0. Returns 1, or 0 past the last. */
int evs_header_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The body, all of it, and its length; not NUL-terminated; never NULL. Bodies of GET and HEAD are dropped. */
const void *evs_body(evs_request *request, size_t *len);

/* Take the next piece of the body: *data and *len (at least 1), valid until the next call or until the function that the
 * server called returns. With EVS_STREAM_BODY, what is not taken stays with the client: TCP holds it up. Without it the
 * body is one piece. Returns
 *   EVS_PIECE  there is one
 *   EVS_WAIT   not yet: EVS_DATA tells when to call again (EVS_STREAM_BODY alone)
 *   EVS_END    the body is complete; or there was none
 *   -413, -400, -431, -408: the body is longer than max_body, malformed, or too slow. The request still wants its
 *              answer, with this status or another one.
 *   -EINVAL    evs_part_next() has begun to take the body */
enum { EVS_WAIT, EVS_PIECE, EVS_END, EVS_PART = EVS_PIECE };
int evs_read(evs_request *request, const void **data, size_t *len);

/* Forms, of a route without EVS_STREAM_BODY: the first field of that name, decoded; NULL when there is none, or the body is
 * no form. Forms are application/x-www-form-urlencoded, at most 1000 fields, or multipart/form-data, whose parts are
 * fields with their content, those of files too. */
const char *evs_form(evs_request *request, const char *name);

/* The field at index, from 0, in the order in which they came. Returns 1, or 0 past the last. */
int evs_form_at(evs_request *request, unsigned index, const char **name, const char **value);

/* How many fields the form has; or, when the body is no form, the status to reply with, negated: -415, another
 * Content-Type; -413, more fields than allowed; -400, malformed; -503, memory is short. -EINVAL, with a line in the log: the
 * route has EVS_STREAM_BODY. */
int evs_form_count(evs_request *request);

/* A part of a multipart/form-data body (RFC 7578): a field of a form, or a file. */
struct evs_part {
    size_t size;      /* sizeof(struct evs_part), set by the caller: lets this struct grow */
    const char *name; /* of the form's field; never NULL */
    const char
        *filename;    /* as the client calls the file, for display: never use it as a path; NULL for what is no file */
    const char *type; /* its Content-Type; NULL without one */
};

/* Go to the next part of the body, skipping what was not read of the part before. Strings of part are valid until the
 * next call, and as long as the request. Works for every route; one with EVS_STREAM_BODY needs no more memory for a
 * large file than for a small one. Returns
 *   EVS_PART   part describes it; evs_part_read() has its content
 *   EVS_WAIT   not yet: EVS_DATA tells when to call again (EVS_STREAM_BODY alone)
 *   EVS_END    there is no other part, and the body is complete
 *   -415, -400, -413: the body is not multipart/form-data, is malformed, or has more than 1000 parts, or more than 16 header
 *              fields or 4096 bytes of them in one part; or a status of evs_read(); -503, memory is short. The request still
 *              wants its answer.
 *   -EINVAL    part->size is wrong (logged) */
int evs_part_next(evs_request *request, struct evs_part *part);

/* Take the next piece of the content of the part: *data and *len (at least 1), valid until the next call or until the
 * function that the server called returns. Returns EVS_PIECE; EVS_WAIT as above; EVS_END: this part is complete, or
 * there is none yet, go to the next one; or a status, negated, as above. So a handler that continues after EVS_DATA need
 * not remember whether it is in a part:
 *
 *     do {
 *         while ((rv = evs_part_read(request, &data, &len)) == EVS_PIECE) { ... }
 *         rv = rv == EVS_END ? evs_part_next(request, &part) : rv;
 *     } while (rv == EVS_PART);                               (EVS_WAIT, EVS_END of the body, or what is wrong) */
int evs_part_read(evs_request *request, const void **data, size_t *len);

/* The header field of that name, in any case, of the part that evs_part_next() gave; NULL when there is none. Valid as the
 * texts of the part are. */
const char *evs_part_header(evs_request *request, const char *name);

/* Why the body is not available, after a status of evs_read(), evs_form_count(), evs_part_next() or evs_part_read():
 * "too many parts", "the request body is longer than max_body". NULL when nothing is wrong with it. */
const char *evs_body_error(evs_request *request);

/* Write the client's address into text: "127.0.0.1:40312", or "unix:". Returns text. 64 bytes suffice. */
const char *evs_peer(evs_request *request, char *text, size_t size);

/* The client's address (<sys/socket.h>), written to address as getpeername(2) would: family AF_INET or AF_INET6, address
 * and port; or AF_UNIX and nothing else. A client that comes over IPv4 has an AF_INET address on every listener. Returns
 * the number of bytes written, for getnameinfo(3) and the like. getsockname(2) of evs_socket() is the address that the
 * client connected to. */
int evs_sockaddr(evs_request *request, struct sockaddr_storage *address);

/* Which listener the client came through: its index in evserve_address(), or -1 for evserve_adopt(). So a host that also
 * listens on a unix socket or on an address of its own can serve more there than to everybody. */
int evs_listener(evs_request *request);

/* The client's socket, for getsockopt(2) (SO_PEERCRED of a unix socket, TCP_INFO) and getsockname(2). It is the server's:
 * do not read, write, close, or change it, and do not keep it. */
int evs_socket(evs_request *request);

/* The server of the request, and the number of its thread, from 0. */
evserve *evs_server(evs_request *request);
unsigned evs_thread(evs_request *request);

/* Set a header field of the answer, before it begins: evs_set_header() replaces what was set under that name,
 * evs_add_header() adds one more line (Set-Cookie). Returns 0; -EINVAL: no valid name, no value, or one with control
 * characters; -EPERM: the server's own (Content-Length, Transfer-Encoding, Date, ...; "Connection: close" is allowed
 * and closes after the answer); -EEXIST: evs_add_header() of a field that a response has once at most (RFC 9110 section
 * 5.3), such as Content-Type, ETag or Location, and that is set already; -ENOBUFS: more than 16 KiB of fields;
 * -EALREADY: the answer has begun; -ENOMEM. A field that a response has once at most is never sent twice; the functions
 * that answer say which value is sent. */
int evs_set_header(evs_request *request, const char *name, const char *value);
int evs_add_header(evs_request *request, const char *name, const char *value);

/* The functions that answer: evs_reply(), evs_file(), evs_begin(), evs_write(), evs_end() and evs_abort(). A call that
 * cannot be carried out is logged with its route and function, ends the request as evs_abort() does, and returns why:
 * -EINVAL for an argument that cannot be sent, -EALREADY for an answer that has begun or is complete (a complete one is
 * sent all the same), -ENOMEM. So a program that ignores the result leaves no client waiting. evs_write() returns -1
 * for all of these. After evs_begin() and evs_write() EVS_GONE follows, as it does when the client leaves. After the
 * other functions the request is over, whatever they return, except where evs_file() says otherwise. */

/* Answer with a status (200 to 599) and len bytes of content, which are copied. type is the Content-Type, or NULL when
 * there is none, or evs_set_header() gave it. Returns 0, or as above; -EINVAL: another status, a type with control
 * characters, or NULL as content of a length above 0. */
int evs_reply(evs_request *request, int status, const char *type, const void *content, size_t len);

/* Answer with the file at path below the directory root, as static files are sent: with type, tag and date, ranges,
 * 304. path may come from a client: nothing outside root is sent, and no dot file; a missing file is 404. Header fields
 * that were added are in each of these answers, except that 403, 404, 412 and 416 omit those that describe the file,
 * such as Content-Disposition, ETag, or a Cache-Control with an age. A Content-Type from evs_set_header() replaces the
 * one that the name of the file suggests; ETag, Last-Modified, Accept-Ranges and Content-Range are always the file's
 * own. root is opened once and stays open; at most 64 directories. Returns 0, or -EALREADY as above. If root is not a
 * readable directory (-errno), or root or path is NULL (-EINVAL), nothing has been answered, and the request still
 * needs an answer. */
int evs_file(evs_request *request, const char *root, const char *path);

/* Begin an answer whose content comes in pieces: length bytes in all, or -1 if the length is not known yet. The head is
 * sent when the function that the server called returns, together with what evs_write() has queued by then, or alone if
 * there is nothing: an EventSource, for example, opens at once. Returns as evs_reply(). */
int evs_begin(evs_request *request, int status, const char *type, int64_t length);

/* Queue a piece of content, which is copied; the first one begins the answer with status 200 unless evs_begin() was
 * called. Returns
 *   1   go on
 *   0   queued, but the client is falling behind: wait for EVS_DRAIN before writing more. If the queue reaches write_cap
 *       (256 KiB by default), the connection is cut, and a warning names the route. Within one callback nothing is sent,
 *       so a loop that ignores 0 gets there even if the client is fast; a piece longer than write_cap always does. With
 *       pieces of at most write_cap less write_high_mark, a host that waits is never cut. evs_reply() has no such limit
 *   -1  nothing was queued: the client has gone, was cut, or wants no content (HEAD); the piece exceeds the length that
 *       evs_begin() announced; or content is NULL. EVS_GONE follows, unless the answer was complete before. */
int evs_write(evs_request *request, const void *content, size_t len);

/* evs_write() and evs_reply() with content that is not copied: it stays where it is, unchanged, until release(arg) is
 * called. That happens exactly once, whatever is returned: when the content was sent, when the client has gone, when
 * the call is refused or the client wants no content (HEAD), at the latest in evserve_free(); and before the functions
 * of evs_on_done(). It is called on the request's thread, possibly before the function returns: content of up to 4 KiB
 * is copied at once, and so is a piece when 64 others are waiting. release must not call functions that take a request.
 * It may be NULL, for static content for example. Returns as evs_write() and evs_reply(); bytes that wait to be sent
 * count against write_high_mark and write_cap, copied or not.
 *
 * So one buffer can be sent to a thousand clients at a time:
 *
 *     struct message { unsigned refs; size_t len; char text[]; };
 *     static void put(void *arg) { struct message *message = arg; if (--message->refs == 0) free(message); }
 *
 *     message->refs++;                                    // for each stream
 *     evs_write_ref(stream, message->text, message->len, put, message);
 *
 * With streams on several threads, refs must be atomic. */
int evs_write_ref(evs_request *request, const void *content, size_t len, void (*release)(void *arg), void *arg);
int evs_reply_ref(evs_request *request, int status, const char *type, const void *content, size_t len,
                  void (*release)(void *arg), void *arg);

/* Complete the answer. If nothing was written, it is an empty one (204). Returns 0; -EPIPE: the client has gone or was
 * cut before; -EINVAL: less content than evs_begin() announced, and the connection is cut; -EALREADY. */
int evs_end(evs_request *request);

/* Give up the answer: 500 if it has not begun; otherwise the connection is cut, so that the client can tell. Returns 0,
 * or -EALREADY when the answer is complete. */
int evs_abort(evs_request *request);

/* How far the answer has come: 0, nothing of it has begun; 1, it has begun, and evs_write() and evs_end() may follow;
 * 2, it is complete or was given up. While serve or the function of evs_on() runs, this may be called even if the
 * request has been answered, so that code that catches a handler's failure can tell whether evs_reply() may still
 * report it. */
int evs_begun(evs_request *request);

/* What can happen to a request before it is answered. Events come from the server's loop, never from inside a library
 * function that the host has called, such as evs_write(), evs_read() or evs_begin(). The exceptions are evserve_wait()
 * and evserve_poll(), which run the loop, and evserve_free(), which sends EVS_GONE to each request that is left. */
enum evs_event {
    EVS_DRAIN = 1, /* the client has taken what made evs_write() return 0 */
    EVS_GONE,      /* evs_write() gave -1, the client has gone, handler_timeout_ms or stream_timeout_ms is over, or the
                    * deadline of a stop: the request must not be used after the call, and nothing written during it is
                    * sent */
    EVS_TIMER,     /* the time of evs_after() has come */
    EVS_DATA,      /* evs_read() can go on */
    EVS_STOPPING   /* once: evserve_stop() was called, or evserve_reload() has replaced the routes that the request came
                    * by. End streams and long waits soon; what has not ended at the deadline of the stop is EVS_GONE */
};

/* Call fn for every event of request from now on, in place of the function before; NULL turns events off. */
void evs_on(evs_request *request, void (*fn)(evs_request *request, int event, void *arg), void *arg);

/* Call the function of evs_on() with EVS_TIMER once, ms milliseconds from now; a second call moves the time. No event
 * comes after the answer. Returns 0; -EALREADY: the answer is complete, or EVS_GONE is due or has come; -ENOMEM. */
int evs_after(evs_request *request, uint32_t ms);

/* Call fn(arg) once, when the request is over however it ends: all of its response was handed to the kernel, or its
 * connection was lost or cut, by a stop too; if EVS_GONE comes, it comes before. The request does not exist any more
 * then: fn is there to free what the host keeps for it, on the thread of the request. At most EVS_DONE_MAX calls for
 * one request; they are made in reverse order. The next pipelined request of the connection begins after them. Returns
 * 0; -EINVAL: fn is NULL; -ENOBUFS: there are EVS_DONE_MAX already. */
enum { EVS_DONE_MAX = 8 };
int evs_on_done(evs_request *request, void (*fn)(void *arg), void *arg);

/* evserve_post() to the n-th thread of the server, that of a request for example. -EINVAL: there is none. */
int evserve_post_to(evserve *server, unsigned thread, void (*fn)(void *arg), void *arg);

/* Tickets: answering from any thread. A handler that leaves its work to another thread gives it a ticket:
 *
 *     static void serve(evs_request *request, void *arg)
 *     {
 *         struct job *job = make_job(evs_query(request, "n"));    (texts of the request are copied)
 *         job->server = evs_server(request);
 *         job->ticket = evs_defer(request);
 *         if (job->ticket == 0) { evs_abort(request); free_job(job); return; }    (without memory)
 *         hand_to_a_worker(job);
 *     }
 *     ... on the worker: evserve_reply_to(job->server, job->ticket, 200, "text/plain", job->text, job->len);
 *
 * A ticket is a number. It may be copied, stored and compared, and it never dangles: once its request has been
 * answered, or its client has gone, the functions below return -ESRCH for it. 0 is never a ticket. */
typedef uint64_t evs_ticket;

/* The ticket of a request that wants its answer; the same one when asked again. It need not be given back. Returns 0
 * without memory, or when the request has been answered or is EVS_GONE. The request's thread. */
evs_ticket evs_defer(evs_request *request);

/* The functions of requests, for a ticket. Any thread, while the server is not freed; not from signal handlers. content
 * is copied.
 *
 * On the request's own thread they act at once, as their namesakes do. On another thread they leave the work to the
 * request's thread, and orders of one thread keep their order; evserve_post_to() to that thread is in the same order.
 * An accepted order is dropped silently if the client leaves before it is carried out: the next call then returns
 * -ESRCH, and EVS_GONE comes where evs_on() asked for events.
 *
 * All of them return -ESRCH when the request is over: it has been answered, an earlier call has ended it, or its client
 * has gone; -ESHUTDOWN when the server has ended; -EINVAL for what can never be sent (see evs_reply()); -EALREADY when a
 * status, a field or a whole answer comes after the answer has begun; -EAGAIN when too many orders wait; -ENOMEM. In all
 * these cases nothing has changed.
 *
 * If several threads write to one request, or its own thread also uses evs_write(), each should leave room for the
 * others: the connection is cut if what they queue together exceeds write_cap. */
int evserve_reply_to(evserve *server, evs_ticket ticket, int status, const char *type, const void *content, size_t len);
int evserve_set_header_to(evserve *server, evs_ticket ticket, const char *name, const char *value);
int evserve_begin_to(evserve *server, evs_ticket ticket, int status, const char *type, int64_t length);
int evserve_end_to(evserve *server, evs_ticket ticket);
int evserve_abort_to(evserve *server, evs_ticket ticket);

/* evs_write() for a ticket. Returns
 *   1          go on
 *   0          accepted, but the client is falling behind: wait with evserve_ready_to(), or for EVS_DRAIN
 *   -EAGAIN    not accepted, since write_cap bytes are waiting: the same, then try again. The connection is not cut
 *   -EMSGSIZE  a piece longer than write_cap less half of write_high_mark (224 KiB by default): never accepted
 * or an error as above. */
int evserve_write_to(evserve *server, evs_ticket ticket, const void *content, size_t len);

/* Wait until the client has caught up, for timeout_ms at most (0: not at all, -1: without limit). Returns 1: write on;
 * 0: it is still behind; -ESRCH or -ESHUTDOWN, at once when the client leaves meanwhile; -EDEADLK instead of waiting where
 * nothing would ever change: in a callback of any server, and on the thread that called evserve_poll() last, between two
 * calls. With a timeout of 0 it is how a long job asks whether anyone still wants its result. */
int evserve_ready_to(evserve *server, evs_ticket ticket, int timeout_ms);

/* The request of a ticket, for functions that have no namesake above, evs_file() for example: in a function that
 * evserve_post_to() calls on the request's thread. NULL when the request is over, and on every other thread. */
evs_request *evs_find(evserve *server, evs_ticket ticket);

/* Timers and fds of the host, on the loop of the n-th thread of the server, from 0. Any thread, in callbacks and before
 * the loop runs, too; not from signal handlers. fn is called on the server's thread, between two events, as long as the
 * server serves: a stop does not wait for timers and fds; they stay active while it drains, and are dropped without a
 * call when it ends. A reload does not affect them. Their number is limited only by memory.
 *
 * evserve_after() calls fn once, ms milliseconds after the call at the earliest; evserve_every() every ms milliseconds,
 * first after ms, without drift; what a busy loop missed is skipped. Return an id above 0, which no other timer or watch
 * ever has, or -EINVAL (no such thread, no fn, or every 0 ms), -ESHUTDOWN when the server has ended, or -ENOMEM. */
int64_t evserve_after(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg);
int64_t evserve_every(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg);

/* Events to watch for, and those that fn is called with. */
enum {
    EVS_READABLE = 1, /* bytes, a connection, or the end of the stream can be read without blocking */
    EVS_WRITABLE = 2, /* there is room to write */
    EVS_ERROR = 4,    /* reported always: the fd failed, or cannot be watched; error says why */
    EVS_HANGUP = 8    /* reported always: both directions are shut, and nothing is left to read */
};

/* Call fn whenever one of events holds for fd, as poll(2) would say it: again and again as long as it holds. Errors and
 * hang-ups are reported even if events is 0. error is -errno with EVS_ERROR (of a socket, its SO_ERROR, which is
 * thereby cleared), else 0. If the kernel refuses fd (a regular file, for example, with EPERM), or the server watches
 * it already (EEXIST), this function returns the error or fn is called with EVS_ERROR. The fd stays the host's; it
 * should not block. Returns an id as above, or -errno; -EBADF: fd is below 0.
 *
 * Cancel the watch before fd is closed: its number may come back as one of the server's. Close it right after
 * evserve_cancel() on the server's thread; from another thread have it closed there, by evserve_post_to(). */
int64_t evserve_watch(evserve *server, unsigned thread, int fd, unsigned events,
                      void (*fn)(int fd, unsigned events, int error, void *arg), void *arg);

/* Watch for other events from now on. Returns 0; -ENOENT: the watch has been cancelled; -EINVAL: it is a timer, or events
 * are others; or -errno. Any thread. */
int evserve_rewatch(evserve *server, int64_t watch, unsigned events);

/* End a timer or a watch; in its own fn, too. On the server's thread, fn is not called any more once this has returned.
 * From another thread no call begins any more, but one that has begun may still run: what arg points to is free
 * when a function that is posted afterwards with evserve_post_to() runs. Returns 0, or -ENOENT: it is over, as a timer of
 * evserve_after() is when its fn is called, or was cancelled before. Any thread. */
int evserve_cancel(evserve *server, int64_t id);

/* Load what config says, without listening, and describe it: line is called once for each limit that is not the
 * default, each address, and each line of the route table. Returns 0, or -1 with a text in err as evserve_start() gives
 * it. */
int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen);

/* The same for the route table alone: methods, path, name ("-" without one) and place of each route, and "static",
 * prefix, "-" and directory of each mount, in aligned columns, in the order of paths. */
int evserve_routes(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                   size_t errlen);

/* Write a line to config.log, as the server writes its own: at a level up to log_level, with what would not show in a
 * terminal escaped. A NULL server or text writes nothing. A thread that may call the server (see the thread rule); of a
 * server with threads of its own, any. */
void evserve_log(evserve *server, int level, const char *text);

/* The version of the library: "0.1.0". */
const char *evserve_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
