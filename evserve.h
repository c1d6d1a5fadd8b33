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
 * There are three ways to run a server:
 *
 *   evserve_wait()                    the calling thread serves until evserve_stop() is called
 *   config.reactors = 4               four threads of the library serve; evserve_wait() waits for them to end
 *   evserve_fd() and evserve_poll()   your program has its own event loop and watches one fd in it
 *
 * The chapters of this file: basics, limits, routes, static files, finished requests, HTTPS, configuration, starting
 * and stopping, calls from other threads, reloading, addresses and statistics, reading a request, request bodies, forms
 * and parts, client and server of a request, header fields and complete responses, health, metrics, streamed responses,
 * events of a request, WebSockets, tickets, timers and watches, requests to other servers, checking and logging.
 *
 * C++17 programs may include evserve.hpp: the same functions with lambdas, handles that clean up, and exceptions that
 * never reach the library. */

/* ---- Basics ---- */

/* What the library leaves alone. It never exits, prints or forks, and never changes signal dispositions, signal masks,
 * the umask or the locale. Every file descriptor that it opens is close-on-exec and numbered 3 or above, even if the
 * host has closed 0 to 2. Log messages go to config.log. All state belongs to the handle, so one process can run
 * several servers. Parsing and responses do not depend on the locale; all texts are in English and in UTF-8. The
 * library does not raise SIGPIPE, with one exception: a script that writes to a pipe whose reader has closed it
 * (io.popen) raises it, unless the script runs on a thread of the server.
 *
 * Threads. A server without threads of its own (reactors = 0) belongs to one thread at a time: the one that is in
 * evserve_wait() or evserve_poll(). Functions that other threads may call say so ("Any thread"): evserve_stop(),
 * evserve_post(), evserve_reload(), evserve_stats(), those that take a ticket, timers and watches, and those that only
 * return information. A request and the functions that take one belong to the thread that called the handler.
 *
 * NULL. evserve_free(), evserve_stop(), evserve_wake() and evserve_log() accept a NULL server and do nothing. No other
 * function accepts NULL as its server or request.
 *
 * Callbacks must return. A callback must not throw a C++ exception through the library, leave by longjmp(3), or end its
 * thread: any of these interrupts the event loop in the middle of its work. When an exception or the end of a thread
 * unwinds the loop, the server logs it, and its functions return -ENOTRECOVERABLE or -ESHUTDOWN from then on; only
 * evserve_free() may still be called. (The library in one file notices this only if it is compiled with -fexceptions.)
 * A callback may call any function, including those of other servers. For its own server, however, evserve_poll() and
 * evserve_wait() return -EBUSY, and evserve_free() does nothing but log the mistake.
 *
 * fork(2). A server belongs to the process that started it, so call daemon(3), for example, before evserve_start(). A
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
 * Stack. A thread that serves a script needs a stack of at least EVSERVE_STACK_LEAST bytes; the usual 8 MiB allow
 * deeper recursion. A script that recurses too deeply gets the error "stack overflow". A thread that serves no script
 * needs 64 KiB, in addition to what the host's callbacks and thread-local variables use.
 *
 * Structs. One whose first member is size may grow in later releases: set size to sizeof the struct, and initialise
 * members by name. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* a shared library exports what is declared here */

struct lua_State;
struct sockaddr_storage;

typedef struct evserve evserve;         /* a server */
typedef struct evs_request evs_request; /* a request */

enum {
    EVSERVE_ERROR_MAX = 1024,                /* bytes that hold any error text of this library */
    EVSERVE_REACTORS_MAX = 256,              /* threads of one server */
    EVSERVE_ADDRESS_MAX = 128,               /* bytes of the address of a listener, with its NUL */
    EVSERVE_STACK_LEAST = 512 << 10,         /* stack of a thread that serves a script, in bytes */
    EVSERVE_RELOAD_TIMEOUT_MAX_MS = 86400000 /* evserve_config.reload_timeout_ms: a day */
};

/* Levels of log lines. */
enum { EVSERVE_LOG_ERROR = 1, EVSERVE_LOG_WARN, EVSERVE_LOG_INFO, EVSERVE_LOG_DEBUG };

/* Something that a line of the log says, by name. */
struct evs_log_field {
    const char *name; /* "status" */
    const char *text; /* "200" */
    int is_number;    /* text is a number, as JSON writes them */
};

/* A line of the log in its parts, for evserve_config.log_entry. Valid during the call; later releases may add members
 * at the end. */
struct evs_log_entry {
    int level;
    const char *text;       /* the line as evserve_config.log gets it, but without what follows here */
    const char *client;     /* of the request that it is about: "127.0.0.1:40312", one that a trusted proxy tells mostly
                             * without a port; NULL for other lines */
    const char *request_id; /* the same: evs_request_id() */
    const void *place; /* equal for lines that come from the same place, such as the errors of one route: to limit how
                             * often one of them is written. NULL for those of app.log, evs_log() and evserve_log() */
    const struct evs_log_field *fields; /* of a line about a slow request: field_count of them; text says the same */
    unsigned field_count;               /* 0 for other lines */
};

/* ---- Limits ---- */

/* The number 0 in a limit, where 0 itself selects the default. EVSERVE_ZERO means no body for max_body, any rate for
 * min_body_rate and rate_limit, no draining for max_drain, no separate cap for max_connections_per_address, nothing in
 * memory for max_cached_file and max_cached_memory, no probes for tcp_keepalive_ms, no deadline for handler_timeout_ms
 * and stream_timeout_ms, no lines for log_slow_ms and stall_warning_ms, nothing kept for dns_cache_ms, no contexts for
 * ws_deflate_memory, and no time for drain_timeout_ms, drain_delay_ms and drain_grace_ms. The other limits reject it,
 * as they reject 0 in a script. */
#define EVSERVE_ZERO UINT64_MAX

/* Limits of one route, which override the server's, in milliseconds and bytes. Each member has the same meaning as in
 * struct evserve_config. 0 keeps the server's value; EVSERVE_ZERO is the number 0. */
struct evs_limits {
    size_t size; /* sizeof(struct evs_limits) */
    uint64_t body_timeout_ms, min_body_rate, write_timeout_ms;
    uint64_t max_body, max_drain, write_high_mark, write_cap;
    uint64_t handler_timeout_ms, stream_timeout_ms;
    uint64_t log_slow_ms;
    uint64_t rate_limit;
};

/* ---- Routes ---- */

/* A route in C:
 *
 *     static void hello(evs_request *request, void *arg)
 *     {
 *         const char *name = evs_param(request, "name");
 *         evs_reply(request, 200, "text/plain", name, strlen(name));
 *     }
 *     const struct evs_route routes[] = {{.route = "GET /hello/:name", .serve = hello}, {.route = NULL}};
 *     config.routes = routes;
 *
 * Set members by name, so that a release that adds one causes no warning. */
struct evs_route {
    /* One or more methods, a space, and a path: "GET /users/:id", "PUT,DELETE /files/ *path", or "* /any" for every
     * method. (Where this comment has a space between slash and star, a path has none: C does not allow a comment to
     * begin in a comment.) A method is any token (RFC 9110 section 9.1) of at most 32 bytes, such as PROPFIND or PURGE,
     * except CONNECT; the routes of a server may name 56 in addition to GET, HEAD, POST, PUT, PATCH, DELETE and
     * OPTIONS. A method that no route names gets 501; a method that other routes name, but none for this path, gets
     * 405. A GET route also serves HEAD. NULL ends the array.
     *
     * The rules for paths are the same in C and in Lua:
     *
     *   /about.html         literal text. %XX is the byte it stands for: %3A, %2A, %7B and %25 are a plain ':', '*',
     *                       '{' and '%'. It is compared with the decoded path and is case-sensitive
     *   /users/:id          a parameter: the rest of its segment, at least one byte
     *   /users/:id{int}     a parameter with a type
     *   /files/a-:name.gz   literal text around a parameter
     *   /files/:name.:ext   several parameters in a segment, with text between them. Each takes what comes before the
     *                       first place where its text is, at least one byte: in a.tar.gz, ext is tar.gz
     *   /files/ *rest       at the end of a path: everything that follows, including slashes, possibly nothing. Without
     *                       a name, as in "/files/ *", it is called "*"
     *
     * The types: {int} is 1 to 18 decimal digits without a sign, so 005 matches and -5 does not; {alpha} is ASCII
     * letters; {alnum} is letters and digits; {hex} is hexadecimal digits; {slug} is letters, digits, '-' and '_';
     * {uuid} is hexadecimal digits in groups of 8-4-4-4-12; {[a-z0-9.-]+} is one or more characters of your own set:
     * printable ASCII characters and ranges, with '-' first or last, without / [ \ ] ^. Text that does not match the
     * type does not match the route, and gets 404 if nothing else matches.
     *
     * Parameter names consist of letters, digits and '_', do not begin with a digit, and occur once in a path. A path
     * has at most 16 parameters and 1024 bytes. "/users" and "/users/" are two different paths, unless a script says
     * otherwise (app.set { trailing_slash = ... }).
     *
     * If several routes match, the first place where they differ decides, regardless of the order of registration:
     * literal text beats a parameter with a type, which beats one without, which beats a rest. Of two types, the one
     * that accepts fewer different characters wins, {uuid} before all others; of the same type, the one with more text
     * after it. If the winner does not have the method, or its path leads to a dead end, the next one is tried. */
    const char *route;

    /* Responds to the request, at once or later (see "Reading a request"). */
    void (*serve)(evs_request *request, void *arg);
    void *arg;      /* passed to serve */
    unsigned flags; /* EVS_STREAM_BODY and others below, joined by |, or 0 */

    const struct evs_limits *limits; /* limits of this route, which evserve_start() copies; NULL: the server's */
};

enum {
    /* Call serve as soon as the head has arrived; serve reads the body piece by piece with evs_read(). Without this
     * flag, serve is called when the whole body, of at most max_body bytes, has arrived. */
    EVS_STREAM_BODY = 1,

    /* A client of this route that shuts down its side of the connection (a FIN, or the close_notify of TLS), as `nc -N`
     * does, still gets a response that comes late. Without this flag, such a client counts as gone, since a FIN is
     * nearly always the first half of a close: once the server has nothing left to send to it and waits for the host,
     * the request gets EVS_GONE. A response that is complete when serve returns is sent in either case. */
    EVS_HALF_CLOSE = 2,

    /* Requests of this route are not in the access log: those of a health check, for example. */
    EVS_NO_ACCESS_LOG = 4,

    /* serve calls evs_metrics(), so requests are to be counted by route. A route whose serve is evs_metrics itself does
     * not need this flag. */
    EVS_METRICS = 8,

    /* For a path that ends in *rest: the route comes before all static files. Without this flag, a file that exists is
     * served in its place, if the route is for all paths ("/ *rest") or the prefix of the file's mount is longer than the
     * text before the "*". The documentation of Lua describes the order under "Who answers". */
    EVS_BEFORE_FILES = 16,

    /* For a path that is nothing but "/ *rest": all paths exist, so other methods than those of the route get 405.
     * Without this flag they get 404, unless other routes have the path. */
    EVS_OWNS_PATHS = 32,

    /* Bodies come as the client sent them, whatever their Content-Encoding: for a host that stores them as they are, or
     * passes them on. Without this flag, bodies in gzip, br and zstd are decoded before serve sees them, max_body holds for
     * the decoded content too, Content-Encoding and Content-Length are not among the fields of such a request, and other
     * codings get 415. */
    EVS_KEEP_CODING = 64
};

/* ---- Static files ---- */

/* A header field. */
struct evs_field {
    const char *name, *value; /* "X-Frame-Options", "DENY" */
};

/* The media type of a file extension. */
struct evs_type {
    const char *extension, *type; /* "wasm", "application/wasm" */
};

/* A file in memory. The server copies neither the strings nor the content: they and the array must stay unchanged until
 * evserve_free(). Both evserve_embed() of the CMake package and scripts/embed.sh generate such an array from a
 * folder. */
struct evs_asset {
    const char *path;    /* below the mount's prefix, without a leading slash: "css/app.css"; NULL ends the array */
    const void *content; /* len bytes */
    size_t len;
    const char *type; /* Content-Type; NULL: derived from the extension of path, as for a file on disk */

    /* The entity tag without its quotes: 1 to 36 visible ASCII characters that change whenever the content does. NULL:
     * computed from the content when the server starts. */
    const char *etag;
    int64_t modified; /* Last-Modified, in seconds since the epoch; 0: the field is not sent */
};

/* A directory of static files, with the same options as app.static of a script, or files in memory:
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
    const char *prefix; /* of the paths: "/" or "/assets"; NULL ends the array */
    const char *dir;    /* the directory; what follows the prefix is the path below it. NULL with assets */

    /* Names of index files; the first one that exists is sent for its directory. NULL ends the list. Default
     * "index.html"; an empty list turns index files off. At most 8. */
    const char *const *index;

    /* A file below dir that is sent, with 200, for paths that are not found: for a single-page application, whose paths
     * exist only in the browser. It has "Cache-Control: no-cache" instead of cache_s. If this file or not_found is
     * missing from dir when the server starts, the log has a warning; the file may be added later. */
    const char *fallback;

    const char *not_found;           /* a file below dir that is the content of each 404 */
    const struct evs_field *headers; /* added to each response of the mount; a NULL name ends them; at most 32, 8 KiB */
    const struct evs_type *types;    /* precede the built-in media types; a NULL extension ends them; at most 256 */
    uint32_t cache_s;                /* "Cache-Control: max-age" of files, in seconds; 0 sends none. One that a handler
                                      * or a hook adds is sent in its place */
    int list;                        /* 1: list a directory that has no index file; not with assets */
    int dotfiles;         /* 1: serve files whose name begins with a dot, and the content of such directories */
    int no_precompressed; /* 1: do not look for a.css.br, a.css.zst and a.css.gz beside a.css */

    /* Files in memory instead of dir. They are served like files on disk: with conditional requests, ranges, entity
     * tags, index, fallback and not_found (which must be among them), and a.css.gz for a.css. They need no disk access,
     * do not count against max_cached_*, and their content is sent without being copied. */
    const struct evs_asset *assets;
};

/* ---- Reverse proxy ---- */

/* Requests below a prefix, with every method, go to another server (an upstream), and its responses to the clients,
 * both as they come. evserve_start() copies all of it:
 *
 *     static const char *const upstreams[] = {"http://127.0.0.1:3000", NULL};
 *     static const struct evs_proxy proxies[] = {{.prefix = "/api", .upstreams = upstreams}, {.prefix = NULL}};
 *
 * Routes and files with a more specific path come first. An upstream gets the request as the client sent it, without dot
 * segments, repeated slashes at the begin of its path and fields about the connection, and with X-Forwarded-For, -Proto
 * and -Host, X-Request-Id and Via. If nothing of a response has come, and the request did not reach the upstream or may
 * be repeated, another upstream is asked. Without a response the client gets 502, 503 or 504, and the log says why.
 * WebSockets pass through. deny_connect and allow_connect hold. */
struct evs_proxy {
    const char *prefix;           /* "/api" or "/"; NULL ends the array */
    const char *const *upstreams; /* URLs, at most 32, ended by NULL: "http://127.0.0.1:3000", "https://app.internal",
                                   * "http+unix:/run/app.sock". A path in one goes before that of each request */
    const char *host;             /* the Host field for upstreams; "upstream": that of the URL. NULL: the client's */

    /* Fields of the request for the upstream, which a NULL name ends: set, or with a NULL value removed. */
    const struct evs_field *headers;

    uint32_t connect_timeout_ms; /* for the connection, TLS included; 0: 5 s */
    uint32_t timeout_ms;         /* until a response begins, and between two pieces of it; 0: 60 s */
    uint32_t tunnel_timeout_ms;  /* how long a WebSocket may be silent in both directions; 0: 10 min */
    unsigned tries;              /* upstreams that a request is sent to at most; 0: all */
    unsigned max_fails;       /* failures in a row after which an upstream gets no requests for fail_timeout_ms, unless
                                  * all have failed; 0: 1 */
    uint32_t fail_timeout_ms; /* 0: 10 s */
    int keepalive;            /* idle connections that each thread keeps to an upstream; 0: 64, -1: none */
    /* The upstream sees the path without the prefix. Its Location, Refresh and the Path of its cookies are changed where
     * they lead to itself. */
    int strip_prefix;

    /* TLS to upstreams. Relative paths start where the server was started. */
    int trust_anybody;                /* the upstream's certificate is not looked at */
    const char *ca_file;              /* PEM: authorities to trust; NULL: those of the system */
    const char *cert_file, *key_file; /* PEM: a certificate of ours with its key, or NULL */
    const char *server_name;          /* whose certificate it must be; NULL: the host of the URL */

    const struct evs_limits *limits; /* of its requests, such as max_body; NULL: the server's */
    unsigned flags;                  /* EVS_HALF_CLOSE, EVS_NO_ACCESS_LOG */
};

/* ---- Rules ---- */

/* What holds for all requests below a prefix, whatever responds to them: files, routes in C and Lua, or the server
 * itself. evserve_start() copies all of it:
 *
 *     static const struct evs_field headers[] = {{"X-Frame-Options", "DENY"}, {"Server", NULL}, {NULL, NULL}};
 *     static const struct evs_field cache[] = {{"*.css", "1y, immutable"}, {"text/html", "no-cache"}, {NULL, NULL}};
 *     static const struct evs_rule rules[] = {
 *         {.prefix = "/user/:id", .redirect_to = "/users?id=:id", .redirect_status = 308},
 *         {.prefix = "/", .headers = headers, .cache = cache},
 *         {.prefix = "/admin", .allow = "10.0.0.0/8, ::1"},
 *         {.prefix = NULL},
 *     };
 *
 * A prefix is plain text, decoded, and compared by whole segments, case-sensitive: "/admin" holds for "/admin" and
 * "/admin/x", not for "/administrator"; "*", parameters, "%XX" and dot segments in it are mistakes. All rules whose
 * prefix fits apply; where two contradict each other, the longer prefix decides. Rules come before routes, and before
 * config.before. They are added to those of the script: where both say something about the same prefix, the host's are
 * asked first, and redirects from the same path are a mistake. At most 1000, those of the script included. */
struct evs_rule {
    const char *prefix; /* "/" or "/admin"; NULL ends the array. For redirect_to a pattern, as that of a route */

    /* Redirect paths that fit the pattern, for all methods, to a path or a URL, percent-encoded, in which ":name" and
     * "*rest" stand for what the pattern has matched. The query of the request is kept. At most 10000. redirect_status
     * is 301 (the default), 302, 303, 307 or 308; or 410 without redirect_to: what was there is gone. */
    const char *redirect_to;
    int redirect_status;

    /* Fields for all responses, error pages included, which a NULL name ends. They are added where the response has
     * none of that name (Vary is added to one), or, with replace_headers, take the place of those it has. A NULL value
     * drops the field. At most 64 lines, 8 KiB. */
    const struct evs_field *headers;
    int replace_headers;

    /* Cache-Control of responses to GET and HEAD with 200, 206 or 304 that have none: entries whose name is the last
     * segment of the path ("*.css") or a media type ("text/html"), with * for any text, and whose value is a
     * time, directives, or both: "30d", "no-cache", "1y, immutable". Names come before media types, and of each the
     * more exact one. A NULL name ends them; at most 64. */
    const struct evs_field *cache;

    /* Which clients may ask; others get 403. Addresses and networks, separated by commas, "unix:" or "all". With allow,
     * all others are refused; with deny, these are. If both name a client, the narrower network decides, or deny. */
    const char *allow, *deny;

    /* Ask for a name and a password (RFC 7617): requests get 401 until they bring ones that are in the password file
     * basic_auth, as "htpasswd" writes it ("" lets everybody in, below a prefix that does not), or for which
     * authenticate returns 1. Of several such rules that fit, the one with the longest prefix decides alone. The
     * handler finds the name with evs_user(). Over plain HTTP, everybody on the way can read the password.
     *
     * The file is read again when it changes; a file that cannot be read, or is not valid, leaves the passwords as they
     * were, with a line in the log. Hashes: bcrypt ("htpasswd -B"), SHA-256, SHA-512, yescrypt, "$apr1$", "{SHA}",
     * "{SSHA}". They are computed on up to 4 threads, never on the loop. Of requests that wait for one, 256 may;
     * further ones get 503.
     *
     * authenticate is called on the thread that serves the request, once the head is there, and must not block. It may
     * respond itself. user and password are valid during the call. realm is shown to the user; NULL: "Restricted". */
    const char *basic_auth;
    int (*authenticate)(evs_request *request, const char *user, const char *password, void *arg);
    void *authenticate_arg;
    const char *realm;

    /* How often requests may come: limit_burst at a time, by default as many as the number of limit_rate ("10/s",
     * "600/m", "5/h", "100/d"), then at this rate; and how many may be there at a time that are not over
     * (limit_concurrency). Others get limit_status, by default 429, with Retry-After. Requests are counted by limit_by:
     * "client", an address or the /64 of IPv6 (the default); "header:NAME", the value of a field; "user", the name that
     * they came with; "host"; or "all" of them together. Those without such a field or user are counted by client. All
     * limits that fit must agree, and what one of them refuses costs nothing of the others. */
    const char *limit_rate;
    uint64_t limit_burst, limit_concurrency;
    const char *limit_by;
    int limit_status;

    /* Bytes per second of each response, in place of evserve_config.rate_limit and that of a route: at most 1 GiB. Of
     * several that fit, the one with the longest prefix counts. 0: the entry does not say. */
    uint64_t rate_limit;

    /* Which pages of other origins may read responses (CORS): "*" for all, or up to 100 origins, separated by commas:
     * "https://app.example, http://localhost:8080". A host of "*.example.org" stands for all below example.org, and a
     * port of "*" for any. The origin is in Access-Control-Allow-Origin of all responses, refusals and redirects
     * included, except where a handler has set that itself. Preflights get 204 before any other rule is asked. "" turns
     * off what a shorter prefix allows; of several that fit, the one with the longest prefix counts. cors_methods and cors_headers are what such pages may send, separated by commas, by default
     * "GET, HEAD, POST, PUT, PATCH, DELETE" and "Content-Type"; cors_expose lists the fields that they may read, by
     * default none beside the safe ones. "*" stands for all of them. cors_credentials lets pages send cookies and
     * passwords, and excludes "*". cors_max_age: for how many seconds browsers keep this; 0 leaves that to them. */
    const char *cors, *cors_methods, *cors_headers, *cors_expose;
    int cors_credentials;
    int cors_max_age;
};

/* ---- Error pages ---- */

/* A file in place of the short texts that the server sends with errors, and of responses of handlers that have a status
 * from 400 on and no content. It is sent with the status and the fields of the error and with the type that its name
 * says; when it is replaced on disk, the new one is sent within a second. If it is not there, the text is sent, and the
 * log has a warning at the start. A mount's not_found comes before it, and so does config.on_error.
 *
 *     static const struct evs_error_page pages[] = {
 *         {.statuses = "404", .file = "pages/404.html"},
 *         {.statuses = "5xx", .file = "pages/sorry.html"},
 *         {.statuses = NULL},
 *     };
 */
struct evs_error_page {
    const char *statuses; /* "404", "4xx", "5xx", or several of these: "403, 404". NULL ends the array */
    const char *file;     /* relative to the current directory at the start, or absolute. At most 64 */
    int for_proxied;      /* 1: for responses of other servers that app.proxy passes on, too */
};

/* ---- Hosts ---- */

/* What is served under one name or several:
 *
 *     static const char *const names[] = {"example.org", "*.example.org", NULL};
 *     static const struct evs_vhost hosts[] = {{.names = names, .routes = routes, .mounts = mounts}, {.names = NULL}};
 *     config.hosts = hosts;
 *
 * A name is "example.org", an address ("192.0.2.1", "::1"), or a wildcard: "*.example.org" is for all names that end in
 * ".example.org", with any number of labels in front. Case, ports and a dot at the end do not matter. A name itself
 * comes before wildcards, and the longest wildcard before others. A site has at most 1000 names, those of the script's
 * hosts (app.host) included; hosts here win over those of the script that have the same names.
 *
 * A host shares nothing with the default host or with others: what is to be served under two names is given twice.
 * Certificates are chosen by the name that the client asks for in its handshake: name them in evs_certificate.name.
 * evserve_start() copies all of it, except assets. */
struct evs_vhost {
    const char *const *names;                 /* at least one, ended by NULL; NULL ends the array of hosts */
    const struct evs_route *routes;           /* ended by a NULL route, or NULL */
    const struct evs_mount *mounts;           /* ended by a NULL prefix, or NULL */
    const struct evs_rule *rules;             /* ended by a NULL prefix, or NULL */
    const struct evs_error_page *error_pages; /* ended by NULL statuses, or NULL */
    const struct evs_proxy *proxies;          /* ended by a NULL prefix, or NULL */
    const struct evs_limits *limits;          /* of its requests, before those of a route; NULL: the server's */
    int no_access_log;                        /* 1: its requests are not in the access log; "off" below is the same */

    /* An access log of its own, in place of evserve_config.access_log, and the format of its lines, as there. NULL: the
     * log, and the format, of the server. Hosts may share a file; each host has the format that it names. At most 64
     * different pairs. evserve_config.access_log "off" turns these off, too. */
    const char *access_log;
    const char *access_log_format;
};

/* ---- Finished requests ---- */

/* How a request ended. */
enum evs_end {
    EVS_END_GONE,     /* the client closed the connection before the kernel had taken the whole response */
    EVS_END_COMPLETE, /* the kernel has taken all of it; whether the client received it is not known */
    EVS_END_TIMEOUT,  /* a deadline cut the connection: write_timeout_ms, body_timeout_ms or stream_timeout_ms */
    EVS_END_ABORTED,  /* it could not be completed: evs_abort(), write_cap, out of memory, or its file changed */
    EVS_END_STOPPED   /* the server stopped, and its drain time was over */
};

/* A finished request, for config.finished. Strings are valid during the call; unknown ones are "". */
struct evs_outcome {
    size_t size;          /* sizeof(struct evs_outcome) in the library: members beyond it do not exist */
    const char *method;   /* as sent; "" if no request line has arrived */
    const char *target;   /* as sent: "/users/7?a=1"; visible ASCII, which may include '"' */
    const char *peer;     /* the client, as written by evs_peer(); that of a trusted proxy has no port unless it was
                           * told; "" for a client that the server had no fd for */
    const char *route;    /* path of the route, in C or Lua, that responded: "/users/:id"; NULL if none did */
    int status;           /* of the response; 0: there is none, because the client left or the server stopped before */
    int end;              /* enum evs_end */
    uint64_t bytes;       /* bytes of the response, including its head, that the kernel took */
    uint64_t duration_us; /* microseconds from the first byte of the request to its end */
    unsigned thread;      /* of the server, from 0 */

    /* For evs_header(), evs_header_at(), evs_path(), evs_query_string(), evs_query(), evs_param() and evs_server(),
     * which tell more about the request; no other function may be called for it. NULL if the head has not arrived. */
    evs_request *request;
};

/* ---- HTTPS ---- */

/* A certificate with its key, for addresses with "?tls":
 *
 *     static const struct evs_certificate certificates[] = {
 *         {.cert_file = "fullchain.pem", .key_file = "privkey.pem"},
 *         {.name = "*.example.org", .cert_file = "wildcard.pem"},
 *         {.cert_file = NULL},
 *     };
 *     config.listen = ":443?tls";
 *     config.certificates = certificates;
 *
 * The first one is the default, for clients that name no server, or one that no certificate is for. A client that names
 * a server is shown the first certificate for exactly this name, or else the first with a wildcard for it; one with
 * another kind of key for the same name (ECDSA and RSA) is used beside it. Certificates and keys are PEM, in
 * files or in memory; the certificates of intermediate authorities follow the server's.
 *
 * Files are read by evserve_start(), before on_listening(); again by evserve_reload(); and within a minute after one of
 * them has changed. Each certificate is renewed by itself: while its files cannot be used, the server keeps the old
 * one, and the log says why. Set members by name, so that a release that adds one causes no warning.
 *
 * The first evserve_start() with a "?tls" address loads OpenSSL (libssl.so.3), and fails if it is not installed. A host
 * that uses OpenSSL itself shares that copy. In a thread that a sandbox already confines it cannot be loaded any more:
 * start the server with HTTPS first. */
struct evs_certificate {
    const char *name;      /* the server name it is for, "example.org" or "*.example.org"; NULL: those it contains */
    const char *cert_file; /* an entry without cert_file and cert_pem ends the array */
    const char *key_file;  /* NULL: the key is in cert_file */
    const char *cert_pem;  /* PEM in memory instead of cert_file; copied, as key_pem is */
    const char *key_pem;   /* NULL: the key is in cert_pem */

    /* Certificates of authorities: a client must present a certificate that one of them has signed (see evs_tls()), or
     * is rejected in the handshake. Requests for these names are 421 on a connection that was made for names with other
     * rules. NULL: no client is asked for one. */
    const char *client_ca_file;
    const char *client_ca_pem; /* the same in memory */
    int client_optional;       /* 1: a client without a certificate is served, too */
};

/* ---- Configuration ---- */

/* Values of config.sandbox. */
enum { EVSERVE_SANDBOX = 1, EVSERVE_SANDBOX_REQUIRE };

/* What to serve, and how. Zero, or NULL, in a member means its default. evserve_start() copies all strings, routes and
 * mounts, except assets, so you may free them once it returns. Whatever arg, and the arg of a route, point to must
 * outlive the server. (Members are in the order in which they were added.) */
struct evserve_config {
    size_t size; /* sizeof(struct evserve_config): lets this struct grow without breaking older programs */

    /* Addresses to listen on, separated by commas. Default: the script's addresses, or 127.0.0.1:8080.
     *
     *   "127.0.0.1:8080"             an IPv4 address and a port
     *   "[::1]:8080"                 an IPv6 address and a port
     *   ":8080"                      every address of the machine, IPv4 and IPv6; so does "[::]:8080"
     *   "127.0.0.1:0"                a free port, see evserve_port()
     *   "unix:/run/x.sock"           a unix socket
     *   "unix:/run/x.sock?mode=660"  the same, with these permissions for its file
     *   "unix:@name"                 an abstract socket, see unix(7). It has no file, and every process of the network
     *                                namespace can connect to it
     *   "fd:3"                       a listening socket that the host has opened or inherited
     *   "fd:3?tls"                   the same for HTTPS. If a script's addresses have "?tls", and sockets without it
     *                                take their place, evserve_start() fails rather than serve plain HTTP there
     *   ":443?tls"                   HTTPS: "?tls" may follow each of these addresses; see certificates. "&" joins
     *                                options: "unix:/run/x.sock?tls&mode=660"
     *   "127.0.0.1:8081?proxy"       for a proxy in front that sends the PROXY protocol (version 1 or 2), which is then
     *                                required: the client is the one that its header names, see evs_proxied(). With
     *                                "?tls&proxy" the header comes in clear, before the handshake. Everybody who can
     *                                connect may name any client, unless trusted_proxies is set: then only these may
     *   ":80?redirect_https"         HTTP to HTTPS: each request gets a 308 to https:// and the same host and target,
     *                                with the port of the first address with "?tls", or that of
     *                                ":80?redirect_https=443". The host must be a name of a certificate; for another
     *                                one, the response is 421. before(), not_found() and on_error() are not called
     *   "none"                       no address: connections are handed over with evserve_adopt()
     *
     * Unix sockets: while a server accepts connections, its path is in use; a successor may start once the old server
     * was asked to stop. To leave no gap, rename or remove the socket's file first, start the successor, then stop the
     * old server.
     *
     * "fd:3": the fd stays the host's. The server accepts on a duplicate and never closes the original, which the host
     * may close as soon as evserve_start() has returned. A host that keeps it open keeps the socket listening: after a
     * stop the kernel still completes connections, for a successor to accept. Both share one file description, so the
     * socket is non-blocking from then on; on a TCP socket the server also sets TCP_NODELAY and the options of
     * tcp_keepalive_ms. */
    const char *listen;

    const char *root;   /* directory of static files, mounted at "/"; takes precedence over the script's */
    const char *script; /* Lua script that configures the server and adds routes; a pipe is read once, see reload */

    const struct evs_route *routes; /* routes in C, in addition to the script's; a NULL route ends the array */

    /* Number of threads of the server.
     *
     * 0: the server has no threads of its own; it runs on the thread that calls evserve_wait() or evserve_poll().
     *
     * N, at most EVSERVE_REACTORS_MAX: it runs on N threads of its own, which evserve_start() creates, and which block
     * all signals except those of faults. Each has an event loop, a listening socket for each address (SO_REUSEPORT;
     * unix sockets and inherited ones are shared) and a Lua state: the script runs N times, and each thread has its own
     * globals. These threads may call routes before evserve_start() has returned, so a route should get its server from
     * evs_server(), not from the variable that evserve_start() is assigned to. */
    unsigned reactors;

    /* Called with each log line, on a thread of the server or of a reload, by one thread at a time. The line has no
     * newline at its end, and characters that a terminal would not show are escaped. The function must not block, since
     * the server would block with it, and must not call the library, except evserve_stop(). A line about a request ends
     * with " [client 127.0.0.1:40312, id 9f8c...]"; if it goes on over several lines, such as a traceback, the first
     * one does. config.log_entry has these apart. Default: lines are dropped. */
    void (*log)(void *arg, int level, const char *line);
    int log_level; /* the most verbose level to report; default EVSERVE_LOG_INFO */

    /* Called with the script's Lua state before the script runs, so that the host can add modules: a table that is set
     * as package.loaded.host, for example, is what require "host" returns. It is called once for each Lua state, except
     * those of workers (app.worker): on the caller's thread by evserve_start(), and by a reload on a thread that exists
     * only for that, see evserve_reload(). Return 0 to go on. The state is LuaJIT's: link the host with LuaJIT
     * (pkg-config luajit), and with no other Lua, since all Lua implementations use the same function names. A start
     * with a script and two Luas fails. A library that was built with EVSERVE_LUAJIT_PRIVATE allows any other Lua, but
     * has no lua_init. */
    int (*lua_init)(struct lua_State *L, void *arg);

    void *arg; /* passed to log, lua_init, on_listening, on_wake, finished, before, not_found, on_error */

    /* Timeouts in milliseconds, limits in bytes or numbers. A value here takes precedence over the script's. 0 keeps
     * the script's value, or the default; the number 0 is EVSERVE_ZERO. */
    uint64_t idle_timeout_ms;   /* a kept-alive connection without a request; default 30000 */
    uint64_t header_timeout_ms; /* a request head, from its first byte to its last; default 60000 */
    uint64_t body_timeout_ms;   /* a request body without progress; default 30000 */
    uint64_t min_body_rate;     /* bytes per second of a body, after body_timeout; default 100, EVSERVE_ZERO for any */
    uint64_t write_timeout_ms;  /* a client that takes no byte of its response; default 30000 */
    uint64_t max_request_line;  /* bytes; default 8192 */
    uint64_t max_header_bytes;  /* bytes of all field lines; default 16384 */
    uint64_t max_fields;        /* field lines; default 100 */
    uint64_t max_body;          /* bytes of a request body; default 1 MiB */
    uint64_t max_drain;         /* bytes of an unwanted body that are read to keep the connection; default 256 KiB. The
                                 * server's own 413 always closes the connection */
    uint64_t max_connections;   /* default 100000; with several threads, each has an equal share */
    uint64_t max_connections_per_address; /* of one IPv4 address or IPv6 /64, likewise; default: as max_connections */
    uint64_t write_high_mark;             /* queued response bytes at which evs_write() returns 0; default 64 KiB */
    uint64_t write_cap;                   /* queued response bytes at which a client is cut; default 256 KiB */
    uint64_t max_cached_files;            /* files that the cache keeps ready, on each thread; default 1024 */
    uint64_t max_cached_file;             /* bytes of the largest file kept in memory; default 16 KiB */
    uint64_t max_cached_memory;           /* bytes of all files kept in memory, on each thread; default 32 MiB */

    /* Settings of the script. A value here takes precedence. */
    uint64_t handler_cpu_ms; /* processor time a Lua handler may use between two waits; default 50 */
    uint64_t lua_memory;     /* bytes of a Lua state; default 256 MiB, less in a small cgroup */
    int debug;               /* 1: error pages show the client what went wrong; default: what the script says */

    /* Called once during the start, when all addresses are bound and nothing is served yet: a host that started as root
     * in order to listen gives up its privileges here. Return 0 to go on. With any other value the start fails, and its
     * error text is what the function has written to err: at most errlen bytes, including the NUL. If it writes none,
     * the text says what the function returned. To give up root, call setgroups(2), setgid(2) and setuid(2), in this
     * order: each needs the privileges that a later one takes away. */
    int (*on_listening)(void *arg, char *err, size_t errlen);

    /* EVSERVE_SANDBOX: after on_listening, give up what serving does not need. The server may then read only files
     * below the mounted directories, the folders of the script and of its modules, and allow_read, and change only
     * files below allow_write. It can run no programs, open no connections except to allow_connect, and make no system
     * calls except those in core/README.md (installed as core.md beside the other documents). If the kernel lacks a
     * part, the log says so; with EVSERVE_SANDBOX_REQUIRE the start fails.
     *
     * The sandbox cannot be undone, and remains even after a start that failed late. It holds for the thread that calls
     * evserve_start(), the threads of the server, and all threads that these create later, which includes threads that
     * the host creates from the calling thread after evserve_start(). The host's other threads are not affected.
     * tests/examples/confined.c gives up root and writes uploads in the sandbox. */
    int sandbox;
    const char *allow_read; /* more directories or files, separated by colons, such as those of evs_file(), app.file */

    /* Directories or files that may be changed, likewise; they must exist. Inside the sandbox a file's permissions
     * cannot be changed, so create it with them: open(path, O_CREAT | ..., 0644). mkstemp(3) always creates it with
     * 0600. */
    const char *allow_write;

    /* Called on the server's thread (the first one, if it has several) after evserve_wake(). It may call every function
     * that takes a server, except evserve_wait(), evserve_poll() and evserve_free(). */
    void (*on_wake)(void *arg);

    uint64_t list_max; /* entries of a directory that a listing shows; default 10000 */

    /* Silence after which the kernel probes a TCP client; a client that has vanished is noticed after twice that time.
     * Default 60000, at least 1000, EVSERVE_ZERO for never. Sockets handed over by evserve_adopt() keep the options
     * they have. */
    uint64_t tcp_keepalive_ms;

    const struct evs_mount *mounts; /* static files, beside root and the script's; a NULL prefix ends the array */

    /* Called once for each request when it is over, whatever has responded to it: routes in C and Lua, files, listings,
     * the server itself (400, 408, 413, 431, ...; also 503 to a client for which there is no room). Not called for
     * connections that end before a request. It runs on the thread that has served the request, in the middle of its
     * work, and on several threads at the same time: it must not block, and may call only functions that any thread may
     * call. While it is set, each pipelined response takes a send(2) of its own, and the clock is read twice for each
     * request. */
    void (*finished)(void *arg, const struct evs_outcome *outcome);

    /* How long a handler, in C or Lua, may keep its client waiting: handler_timeout_ms until its response begins (then
     * the client gets 503), stream_timeout_ms without a further byte of a response that has begun (then the connection
     * is cut). The request gets EVS_GONE, and the log names its route. Time in which the handler waits for the request
     * body, or for the client to take what was written, does not count. The defaults are 300000 and EVSERVE_ZERO, which
     * means without limit. */
    uint64_t handler_timeout_ms;
    uint64_t stream_timeout_ms;

    /* Called once for each request with a valid head and path, before it is routed, except for challenges of acme, on
     * addresses that redirect to HTTPS, and where a rule has responded: for authentication, CORS, redirects, or a
     * header field in every response.
     *
     * Return 0 to let the request go on. Header fields that were added are then in its response, whatever sends it,
     * except that a script's or a mount's line replaces one of a field that is sent only once. evs_on() and evs_after()
     * are forgotten; evs_on_done() is not.
     *
     * Return 1 if the function has responded, or will respond later, as a route may. It then owns the request, and the
     * request body is dropped, as that of GET is. If it never responds, the client gets 503 after handler_timeout_ms.
     * Any other value counts as 1, and so does 0 when a response has begun. evs_param() and evs_body() have nothing
     * yet. */
    int (*before)(evs_request *request, void *arg);

    /* Responds, at once or later, to a request that matches neither a route nor a file, in place of 404; the request
     * body is dropped. A mount's own fallback or not_found takes precedence. A path that matches a route with other
     * methods is still 405. So is every path of a mount, whether a file exists or not: mounts serve only GET and HEAD.
     * With root, or a mount at "/", POST to a path without a route is therefore 405 and does not come here; it does if
     * the files are mounted below a prefix of their own. */
    void (*not_found)(evs_request *request, void *arg);

    /* Called before the server sends an error page of its own. It may send one instead, with evs_reply(), evs_file(),
     * or evs_write() and evs_end(); the response must be complete when it returns. If it sends nothing, the server's
     * page is sent. status is 403, 404, 405 (Allow is set), 412, 416 and the like for files and for requests that match
     * nothing; 413; 500 and 503 for routes in C and Lua that failed and that the script has no page for; and the
     * server's own 501 and 503. Not called for requests whose end or whose path is in doubt (400, 408, 414, 431, 505,
     * ...), nor for an error in a page of its own. evs_on() and evs_after() are forgotten. */
    void (*on_error)(evs_request *request, int status, void *arg);

    /* Certificates for the addresses with "?tls"; an entry without a certificate ends the array. They take the place of
     * the script's. The start fails if there is such an address and no certificate, or a certificate that cannot be
     * used. evserve_start() copies the array. */
    const struct evs_certificate *certificates;

    /* TLS settings, which take precedence over the script's. The default is Mozilla's intermediate configuration. */
    const char *tls_min_version; /* "1.2", the default, or "1.3" */
    const char *tls_ciphers;     /* of TLS 1.2, as openssl-ciphers(1) writes a list */
    const char *tls_groups;      /* for key exchange: "X25519:prime256v1" */

    /* A directory in which an ACME client (certbot, acme.sh, lego, ...) puts the challenges of a certificate authority
     * (RFC 8555): GET /.well-known/acme-challenge/TOKEN sends the file TOKEN, on every address, those that redirect to
     * HTTPS included, and without a call of before(). It is looked up for each request, so it may be made or replaced
     * at any time; inside the sandbox it, or the directory above it, must exist at the start. Takes precedence over the
     * script's. */
    const char *acme;

    /* Strict-Transport-Security (RFC 6797) in every response over TLS, so that browsers keep to HTTPS: for how long,
     * "365d" (s, m, h, d; at most ten years), to which "; includeSubDomains" and "; preload" may be added. "0s" makes
     * browsers forget; "off" sends none, whatever the script says. The field of a route or a mount replaces it. Takes
     * precedence over the script's. */
    const char *hsts;

    /* HTTPS for development, when this is not NULL: evserve_start() makes a key and a certificate in memory, for
     * localhost, 127.0.0.1, ::1, and the server names and IP addresses in this text, separated by commas ("" for no
     * more). The log says how clients recognize it: set config.log to see that. It takes the place of the script's
     * certificates, and cannot be combined with those of the config. If no address has "?tls", every address gets it.
     * The start fails if other machines could connect to one of them, unless tls_dev_anywhere is 1. */
    const char *tls_dev;
    int tls_dev_anywhere;

    /* The access log: a line for each response. Takes precedence over the script's.
     *
     *   "/var/log/evserve/access.log"  a file, which is made if it is not there (mode 0640), or a FIFO
     *   "stdout"                       standard output of the process
     *   "syslog:"                      the local syslog daemon, one datagram for each line. Options may follow:
     *                                  "syslog:server=unix:/dev/log,facility=local7,severity=info,tag=evserve"
     *   "off"                          none, of no host either, whatever the script says
     *
     * The file is opened by evserve_start(), before on_listening() and the sandbox; by a reload that names another one;
     * and by evserve_reopen_logs(). Lines are collected for a second, or until there are 64 KiB of them, by each
     * thread, and appended with one write. Nothing waits for a full pipe or a full disk: lines that find no room are
     * lost, and the log says so, and later how many. */
    const char *access_log;

    /* The format of its lines: "combined", the default; "json", an object on each line; or a text with the $variables
     * of nginx: "$remote_addr $request_time \"$request\" $status". README.md, "Logs", lists them. A mistake makes the
     * start fail, with the name and its place. What clients have sent is escaped (\xHH), so no client can write a line
     * of its own. With "escape=json " in front of the text, values are escaped for strings of JSON. */
    const char *access_log_format;

    /* How a stop goes, see evserve_stop(). drain_timeout_ms counts only for EVSERVE_DRAIN_TIMEOUT. */
    uint64_t drain_timeout_ms; /* for requests in flight; default 10000 */
    uint64_t drain_delay_ms;   /* in which everything goes on, while evs_health() says 503; default EVSERVE_ZERO */
    uint64_t drain_grace_ms;   /* for connections without a request to send one; default 1000 */

    /* The proxies in front whose word counts, such as "127.0.0.1, 10.0.0.0/8, unix:": addresses, networks, and "unix:"
     * for every client of a unix socket, at most 64. If one of them sends X-Request-Id, that is evs_request_id(), and
     * the response repeats it; and they say who the client is, see forwarded. "none": nobody, whatever the script says.
     * Takes precedence over the script's. */
    const char *trusted_proxies;

    /* Listening sockets that another program has handed over (evserve_listeners()), inherited_count of them. Where an
     * address to listen on is that of such a socket, the server takes the socket instead of opening one: connections
     * that wait in it are served. The fds stay the host's, which closes all of them when evserve_start() has returned;
     * the server has duplicates of those that it took. If the start fails, the sockets go on as they were. A socket
     * that was opened for "fd:3" is not taken: list its number in listen. */
    const struct evs_inherited *inherited;
    unsigned inherited_count;

    /* How long the script may take to load in a reload, its "start" functions included; default 30000, at most
     * EVSERVE_RELOAD_TIMEOUT_MAX_MS. After that it is stopped, and the reload has failed. */
    uint64_t reload_timeout_ms;

    /* Called with each log line in place of log, with what the line is about apart; everything else is as there. */
    void (*log_entry)(void *arg, const struct evs_log_entry *entry);

    /* A request that takes longer has a line in the log, at level warn: its method, path and status, how long it took,
     * what that time was spent on (reading the request, running its handler, waiting for a handler that was not
     * running, such as one that waits for a ticket or a timer, and sending the response to a slow client), and its
     * route. Time counts from the first byte of the request to the last one of its response. Default: EVSERVE_ZERO,
     * none is logged. A route can have its own: EVSERVE_ZERO suits one whose responses last long by design. */
    uint64_t log_slow_ms;

    /* The host names by which evs_metrics() shows requests and bytes, such as "example.org, www.example.org": at most
     * 64, in any case, without a port. They come with those of the script. All others are counted together, without a
     * name, since clients send what they like. Each name has numbers of its own for each route, so the page grows. */
    const char *metrics_hosts;

    /* A turn of an event loop that takes longer is a stall: nobody else of its thread was served meanwhile. Each is
     * counted in struct evs_stats, and the log, at level warn and at most once a second, has what held the loop: the
     * route, timer or other function that ran longest. Default 100 ms; EVSERVE_ZERO: none is counted or logged. */
    uint64_t stall_warning_ms;

    /* Connections to other servers: those of scripts, and of evs_fetch(). */
    uint64_t dns_cache_ms; /* how long the addresses of a name are kept; default 30000, EVSERVE_ZERO: not at all */

    /* Which servers may not be connected with, whatever name leads to them: "private" for all addresses that are not
     * public (loopback, private, link-local and so on) and for unix sockets; addresses, networks and "unix:"; and
     * exceptions, which begin with "!": "private, !127.0.0.1:6379, !unix:/run/db.sock". "none": nothing is denied,
     * whatever the script says. Takes precedence over the script's. */
    const char *deny_connect;

    /* With a sandbox: the servers that alone may be connected with, such as "api.example.org:443, *.example.org:443,
     * 10.0.0.0/8:5432, [::1]:6379, *:443, unix:/run/db.sock". Without it, none may. */
    const char *allow_connect;

    /* Bytes that the contexts of compressed WebSockets may take, in each thread; default 67108864. A context lets
     * messages refer to earlier ones, which makes them shorter, and takes about 52 KiB a connection. WebSockets for
     * which no room is left compress each message alone. EVSERVE_ZERO: all do. */
    uint64_t ws_deflate_memory;

    /* What carries publications (evserve_publish()) between the servers of several machines: the URL of a Redis server,
     * "redis://user:password@host:6379/0", "rediss://host?ca_file=ca.pem" for TLS, or "unix:/run/redis.sock". The
     * server starts without it, and connects again whenever it is lost; meanwhile publications reach subscribers of
     * this server at once, and others later. deny_connect and allow_connect hold. Needs hiredis. NULL: none. Takes
     * precedence over the script's. */
    const char *broker;

    const struct evs_rule *rules; /* for all requests, beside those of the script; a NULL prefix ends the array */

    /* Bytes per second of one response, its head included, that are sent to a client that could take more: for
     * downloads that are not to take the whole line. A client that takes less is waited for as ever. Default:
     * EVSERVE_ZERO, no limit; at most 1 GiB. A route can have its own. */
    uint64_t rate_limit;

    /* How many clients, or whatever limits of requests (struct evs_rule, app.limit) count by, are kept count of at a
     * time, in a table of 16 bytes each for all threads; default 65536, 8 to 16777216. When more come, those are
     * forgotten that have the least to wait. There is no table without such limits. */
    uint64_t limit_entries;

    /* Files in place of texts about errors, which NULL statuses end. A status that has a page here and in the script is
     * a mistake. */
    const struct evs_error_page *error_pages;

    /* Requests that go to other servers. A NULL prefix ends the array. */
    const struct evs_proxy *proxies;

    /* What is served under names of its own; NULL names end the array. What the members above say of routes, mounts,
     * rules and error pages is for all other names, that of the default host. unknown_host is for those: 404 or 421
     * refuses them with this status, 200 has the default host serve them, 0 leaves it to the script, whose default is
     * to serve them. */
    const struct evs_vhost *hosts;
    uint64_t unknown_host;

    /* Which fields of trusted_proxies say who the client is (evs_client(), evs_scheme(), evs_host_name()):
     * "x-forwarded", the default, for X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host; a list of those that the
     * proxies set, such as "x-forwarded-for, x-forwarded-proto"; "forwarded" for that of RFC 7239; or "off". A proxy
     * must replace or delete each of them, else clients choose what it says. Takes precedence over the script's. */
    const char *forwarded;

    /* 1: take fields of this kind out of requests if they do not count, so that no handler believes them: Forwarded,
     * X-Real-IP and all that begin with X-Forwarded-. 0: the script says. */
    int strip_forwarded;

    /* Connections to other servers that each thread may have open, kept ones and those of struct evs_proxy included. At
     * the limit kept ones are closed; then evs_fetch() is -ENOBUFS, and a proxied request gets 503. Default 1000. */
    uint64_t max_outbound;

    /* Request bodies with a Content-Encoding that each thread decodes at a time; requests with further ones get 503.
     * Default 1000. */
    uint64_t decode_streams;

    /* Files in memory that the script finds in place of those on disk, by their paths relative to the working
     * directory: script itself, what it gets with require, dofile, loadfile, app.template and app.worker, and the
     * directories of app.static. io.open and other functions of Lua, app.file, and files of passwords and certificates
     * read the disk. A NULL path ends the array; at most 65534. */
    const struct evs_asset *script_files;
};

/* A listening socket that one program hands over to another. */
struct evs_inherited {
    int fd;                            /* above 2 */
    char address[EVSERVE_ADDRESS_MAX]; /* that it was opened for, without options: "127.0.0.1:0", "unix:/run/x.sock" */
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

/* ---- Starting and stopping ---- */

/* Start a server: load the script, open the root, bind and listen. A server with threads of its own serves from here
 * on; otherwise connections wait in the kernel for evserve_wait() or evserve_poll(). Returns the server. On failure it
 * leaves nothing behind and returns NULL, with a text in err that says what is wrong ("cannot listen on 127.0.0.1:80:
 * permission denied ...", "site.lua:12: ..."). Any thread. */
evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen);

/* Serve until evserve_stop() is called and the requests then in flight have finished or were cut. If the server has
 * threads of its own, wait for them to do so. Returns
 *
 *   0 or more       the number of connections cut at the deadline
 *   -EBUSY          called in a callback of the same server, or while another thread serves it; or called in a callback
 *                   of another server while another thread reloads this one
 *   -EDEADLK        a thread of the server is itself waiting for the calling thread
 *   -ECHILD         called in a forked child
 *   another -errno  an event loop failed, which stops the server
 *
 * Called again, it returns the same at once. */
int evserve_wait(evserve *server);

/* For a host with its own event loop (poll, libuv, libevent, GLib, ...): one fd that is readable whenever the server
 * has something to do, timers included. Watch it for reading, level- or edge-triggered, and then call
 * evserve_poll(server, 0). The fd belongs to the server and stays the same until evserve_free(). Returns -EINVAL for a
 * server with threads of its own, -ECHILD in a forked child, or -errno if the kernel gives no timer. */
int evserve_fd(evserve *server);

/* One turn of the server's loop: wait for something to do, for at most timeout_ms (0: do not wait, -1: no limit), and
 * do it. Returns 1 while the server goes on; 0 when it was stopped and everything has finished (evserve_wait() then
 * returns how many connections were cut); -errno when the event loop failed, -EINVAL for a server with threads of its
 * own, -EBUSY as evserve_wait(), -ECHILD in a forked child. An event loop that runs inside a callback must not watch
 * the fd: it would stay readable, and evserve_poll() would return -EBUSY. */
int evserve_poll(evserve *server, int timeout_ms);

/* drain_ms of evserve_stop(): as long as the setting drain_timeout says; as long as it takes. */
#define EVSERVE_DRAIN_TIMEOUT UINT32_MAX
#define EVSERVE_DRAIN_FOREVER (UINT32_MAX - 1)

/* Stop: answer the connections that the kernel has queued, accept no new ones, and give requests in flight, and work
 * that scripts have begun (app.defer, runs of timers), drain_ms milliseconds to finish; then evserve_wait() returns.
 * With 0 everything is cut at once.
 *
 * Clients should notice nothing of it. Every response says Connection: close. A connection without a request stays open
 * for drain_grace_ms (1 s): a request that is on its way is answered, and so is the first one of a client that has just
 * connected; then the connection ends. With drain_delay_ms, all this begins later: until then the server accepts
 * connections and serves them, responses say Connection: close, and evs_health() and app.health say 503, so that a
 * balancer sends its requests elsewhere. drain_ms counts from the end of that delay.
 *
 * When it begins, the script's "stopping" functions are called, and requests in C get EVS_STOPPING, so that streams can
 * end; the script's "stop" functions are called last. The log names each app.defer and timer of a script that had to be
 * cut, and what the connections were doing that were cut; evserve_wait() returns how many those were. If called again,
 * the newer drain_ms counts from then. A stop may overtake functions that were posted before; they are still called, by
 * evserve_free() at the latest.
 *
 * Any thread, signal handlers, callbacks; server must not be freed meanwhile, so a program whose signal handler calls
 * this ignores the signal before evserve_free(): signal(SIGTERM, SIG_IGN). NULL does nothing, so a signal handler that
 * is installed before evserve_start() may call this at any time. A signal that arrives during the start is then lost,
 * so check for it when evserve_start() has returned. */
void evserve_stop(evserve *server, uint32_t drain_ms);

/* Free the server: close what is still open, end its threads, and cut requests in flight. A function of a script's
 * worker (app.worker) that still runs then is left behind: it uses nothing of the host's, and ends its thread when it
 * returns. While evserve_wait() or evserve_poll() runs, and on a thread of the server, this frees nothing and logs the
 * mistake. In a forked child it only closes file descriptors (see "Basics"). NULL is allowed. */
void evserve_free(evserve *server);

/* ---- Calls from other threads ---- */

/* Call fn(arg) on the server's thread (the first one, if it has several), between two events. Calls from one thread
 * keep their order. Returns 0: fn will be called, by evserve_free() at the latest; -ESHUTDOWN: the server has ended,
 * and fn is not called; -ECHILD in a forked child; or -ENOMEM. Any thread; not from signal handlers. */
int evserve_post(evserve *server, void (*fn)(void *arg), void *arg);

/* evserve_post() to the n-th thread of the server, such as that of a request (evs_thread()). -EINVAL: the server has no
 * such thread. */
int evserve_post_to(evserve *server, unsigned thread, void (*fn)(void *arg), void *arg);

/* evserve_post() for signal handlers: call config.on_wake soon, between two turns of the server's loop. Calls made
 * before on_wake runs are merged into one. Does nothing without on_wake, when the server has ended, or for NULL. Any
 * thread, signal handlers; server must not be freed meanwhile. errno is preserved. */
void evserve_wake(evserve *server);

/* ---- Reloading ---- */

/* Load the config's script, root and C routes anew, into new Lua states, and the TLS certificates, and serve them from
 * the next request of each connection on. Requests that have begun finish with the old ones, which are closed after the
 * last of them; work that the old script has begun until then (app.defer, runs of timers) gets one more minute. If
 * anything is wrong, such as a script that does not load, the old ones go on serving. If
 * the script has other addresses than before (app.listen, without config.listen), new ones are opened first, and those
 * that are gone are closed in the end. Their connections get one more response each, with Connection: close; those that
 * send no request within drain_grace_ms end. A reload fails if it needs a new socket in a sandbox, other options for an
 * address, or the first address with HTTPS.
 *
 * While the new script loads, the server's threads go on serving: evserve_reload() starts a thread for each Lua state,
 * which runs lua_init, the script and its "start" functions, and ends. Signals are blocked there, and the sandbox is in
 * force. A call on the server's own thread, for example in a route, or of a server that no thread is serving at the
 * moment loads on the calling thread, which is busy for so long; evserve_reload_later() never does that. A script that
 * takes longer than reload_timeout_ms is stopped, by an error that it cannot catch. That does not help against a C
 * function that does not return, such as io.read on a FIFO: a moment later the reload has failed, and the thread is
 * left behind. It ends when the function returns. After two such reloads no other one is begun.
 *
 * The order of calls: lua_init for each new Lua state; the new script's "start" functions; the old script's "stopping"
 * functions, when its timers end and requests in C that have begun get EVS_STOPPING; and the old script's "stop"
 * functions before it is closed, which is after the last of these requests.
 *
 * Returns 0, or -errno with a text in err; -EBUSY: another reload is under way; -ESHUTDOWN: the server has stopped;
 * -ESPIPE: the script came through a pipe and cannot be read again; -ETIMEDOUT: it took too long; -ECHILD in a forked
 * child. Any thread. */
int evserve_reload(evserve *server, char *err, size_t errlen);

/* The same without waiting: done(arg, error, err) is called once it is over, on the server's first thread, with what
 * evserve_reload() would have returned and its text. done may be NULL. If the server is freed before that,
 * evserve_free() calls done with -ESHUTDOWN. Returns 0, or -errno with a text in err, and done is not called: -EBUSY,
 * -ESHUTDOWN, -ESPIPE, -ECHILD or -ENOMEM. Any thread. */
int evserve_reload_later(evserve *server, void (*done)(void *arg, int error, const char *err), void *arg, char *err,
                         size_t errlen);

/* Open the access log's file again, since logrotate, for example, has renamed it; lines that wait to be written go to
 * the new one. Returns 0, also without such a file, or -errno with a text in err: then lines go on to the old one.
 * -ECHILD in a forked child. Any thread; not from signal handlers (see evserve_wake()). */
int evserve_reopen_logs(evserve *server, char *err, size_t errlen);

/* Whether the script, or a file that it required or read while it started, has changed since it was loaded or since the
 * last call. Returns 1, which means that it is time for evserve_reload(), or 0. Looks at each file. Any thread. */
int evserve_changed(evserve *server);

/* ---- Handing listeners over to another program ---- */

/* A new version of a program takes the place of the old one, and no client notices:
 *
 *   1. The old program gets its sockets with evserve_listeners(), and evserve_ticket_keys() if it has HTTPS, and starts
 *      the new one, to which it passes them: they are close-on-exec, so it clears that in the child, or sends them over
 *      a unix socket.
 *   2. The new program calls evserve_start() with config.inherited, and says that it serves.
 *   3. The old one calls evserve_hand_over(server, EVSERVE_SERVED), then evserve_stop(server, EVSERVE_DRAIN_TIMEOUT).
 *      Had the new one failed, it would go on as if nothing had happened.
 *
 * From 2 to 3 both accept connections. Each thread has a socket of its own for an address with a port, so the new
 * program needs at least as many threads (config.reactors) as the old one: sockets that no thread takes are closed, and
 * a client that waits there at that moment is turned away. The log warns of it. tests/examples/replaced.c is a whole
 * program. */

/* Duplicates of the listening sockets, the first max of them; the fds are the caller's to close. With several threads
 * there may be several for an address. Returns how many there are, or -errno with no fd left open: -EMFILE, -ENFILE;
 * -ESHUTDOWN when the server has ended; -ECHILD in a forked child. Any thread; waits until each thread of the server
 * has listed its own. */
int evserve_listeners(evserve *server, struct evs_inherited *listeners, unsigned max);

/* The keys of the server's TLS session tickets, as one more entry for config.inherited: with them, clients of the new
 * program resume the sessions that they have, which spares both sides the costly part of a handshake. They wait in a
 * pipe, never on a disk, and can be read once: get them anew for each program that you start, and close keys->fd as the
 * sockets'. Returns 0, or -errno with nothing to close: -ENOENT if no listener speaks TLS; -EMFILE, -ENFILE; -ECHILD in
 * a forked child. Any thread. */
int evserve_ticket_keys(evserve *server, struct evs_inherited *keys);

/* The listening sockets live on when this server closes its own: they are not shut down, and the files of unix sockets
 * stay. EVSERVE_STORED: something keeps them for a later program, such as systemd's store of fds; a stop is the usual
 * one. EVSERVE_SERVED: another program already serves them, so a stop begins at once, without drain_delay, and health
 * stays 200 for the clients that are still connected here. EVSERVE_KEPT: a process that starts this server again when
 * it fails has them, so they stay open only if the server ends with a failure; it takes nothing back. Returns
 * 0, -EINVAL for another value, -ECHILD in a forked child. Any thread. */
int evserve_hand_over(evserve *server, int how);
enum { EVSERVE_STORED = 1, EVSERVE_SERVED, EVSERVE_KEPT };

/* ---- Addresses, statistics, handed-over connections ---- */

/* The address of a listener, counted from 0, as text with the port that was bound; and its port alone. NULL and -1 past
 * the last listener; the port of a unix socket is 0. One that a reload has opened comes after the others; one that a
 * reload has closed keeps its number and text. The text lives as long as the server. Any thread. */
const char *evserve_address(const evserve *server, unsigned listener);
int evserve_port(const evserve *server, unsigned listener);

/* Whether a listener is still there: 1, or 0 if a reload has closed it, or -1 past the last. Any thread. */
int evserve_is_listening(const evserve *server, unsigned listener);

/* What clients speak with a listener: "https" if it has "?tls", else "http"; NULL past the last one. Static text. Any
 * thread. */
const char *evserve_scheme(const evserve *server, unsigned listener);

/* Whether connections of a listener begin with a header of the PROXY protocol, since it has "?proxy": 1 or 0; -1 past
 * the last one. Any thread. */
int evserve_expects_proxy(const evserve *server, unsigned listener);

/* Totals since the server started, except active, which is the current value. */
struct evs_stats {
    size_t size;                /* sizeof(struct evs_stats), set by the caller: lets this struct grow */
    uint64_t accepted;          /* connections accepted */
    uint64_t active;            /* connections open now */
    uint64_t requests;          /* requests that got a response */
    uint64_t by_class[6];       /* the same by class of status: by_class[2] counts 2xx */
    uint64_t bytes_received;    /* from clients */
    uint64_t bytes_sent;        /* to clients */
    uint64_t timeouts;          /* deadlines that have expired: connections closed, late handlers */
    uint64_t errors;            /* connections lost: reset, hung up, cut */
    uint64_t reloads;           /* that succeeded */
    uint64_t reloads_failed;    /* that did not, so that what was served before goes on */
    uint64_t reload_has_failed; /* 1 if the last one did not */
    uint64_t stalls;            /* turns of the event loops that took longer than stall_warning_ms */
    uint64_t websockets;        /* open now */
    uint64_t websocket_received, websocket_sent; /* messages */
    uint64_t subscribers;                        /* of topics, now */
    uint64_t published;                          /* messages */
    uint64_t delivered, skipped; /* of those, for single subscribers: sent; not, since they were behind or are gone */
    uint64_t broker_connected;   /* 1 if there is a broker, and it is connected */
    uint64_t limited;            /* requests refused by limits (struct evs_rule, app.limit) */
};

/* Fill in stats with the sums over all threads. This does not slow the server down. Returns 0, or -EINVAL if
 * stats->size is wrong. Any thread. */
int evserve_stats(const evserve *server, struct evs_stats *stats);

/* Serve a connected stream socket as if the server had accepted it: one that another process handed over, or one end of
 * a socketpair(2), through which a test sends requests to routes in C and in Lua without a port (listen = "none"), as
 * evserve --request does. Its peer is "unix:". Takes ownership of fd, even on failure; it is read in the loop's next
 * turn. Returns 0; -EINVAL for a server with threads of its own, -ECHILD in a forked child, -ESHUTDOWN for one that was
 * stopped, -ENOTSOCK if fd is not a socket (a pipe or a file), or another -errno. The server's thread, callbacks
 * included. */
int evserve_adopt(evserve *server, int fd);

/* ---- Reading a request ---- */

/* A request, and all functions that take one, belong to the thread that called serve.
 *
 * Each request gets one response: from evs_reply(), from evs_file(), from evs_write()... and evs_end(), or from
 * evs_abort(), which abandons it. You may send it during serve, or later: from an event (evs_on()), a timer
 * (evs_after()), or a call that another thread posts (evserve_post_to() with evs_thread()). The request exists until
 * its response is complete, or until EVS_GONE; do not use it afterwards. Code that responds later should therefore ask
 * for events, and forget the request on EVS_GONE.
 *
 * Strings end with NUL. They are valid until the function that the server called returns: code that responds later must
 * ask for them again, or copy them. A NULL name matches nothing; a NULL value is rejected. */

const char *evs_method(evs_request *request);       /* "GET", case-sensitive; with a route for "*", any token */
const char *evs_target(evs_request *request);       /* as sent: "/users/7%20?a=1" */
const char *evs_path(evs_request *request);         /* decoded, without dot segments: "/users/7 " */
const char *evs_query_string(evs_request *request); /* as sent, without the "?"; "" if there is none */

/* The route parameter with this name ("*" for a rest without a name), decoded; NULL if the route has none. */
const char *evs_param(evs_request *request, const char *name);

/* The first query parameter with this name, decoded ("+" is a space); NULL if there is none. A NUL in it (%00) ends the
 * string for C; this holds for cookies and forms, too. */
const char *evs_query(evs_request *request, const char *name);

/* The query parameter at index, from 0, in the order sent, including names that occur more than once. Returns 1, or 0
 * past the last. */
int evs_query_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The first cookie with this name, as sent: nothing is decoded, and quotes are part of it (RFC 6265 section 5.4); NULL
 * if there is none. Browsers send the cookie with the longest path first. */
const char *evs_cookie(evs_request *request, const char *name);

/* The cookie at index, from 0, in the order sent. Returns 1, or 0 past the last. */
int evs_cookie_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The first header field with this name, in any case; NULL if there is none. If the request target has an authority
 * ("GET http://b/x"), Host is that authority, whatever the client sent as Host. */
const char *evs_header(evs_request *request, const char *name);

/* The header field at index, from 0. Returns 1, or 0 past the last. */
int evs_header_at(evs_request *request, unsigned index, const char **name, const char **value);

/* ---- Request bodies ---- */

/* The whole body and its length; not NUL-terminated; never NULL. Bodies of GET and HEAD are dropped. */
const void *evs_body(evs_request *request, size_t *len);

/* Take the next piece of the body: *data and *len (at least 1), valid until the next call or until the function that
 * the server called returns. With EVS_STREAM_BODY, TCP holds back at the client what you have not taken. Without it the
 * body is one piece. Returns
 *
 *   EVS_PIECE  there is one
 *   EVS_WAIT   not yet: call again on EVS_DATA (only with EVS_STREAM_BODY)
 *   EVS_END    the body is complete, or there was none
 *   -413, -400, -431, -408: the body is longer than max_body, malformed, or too slow. The request still needs a
 *              response, with this status or another one
 *   -EINVAL    evs_part_next() has begun to take the body */
enum { EVS_WAIT, EVS_PIECE, EVS_END, EVS_PART = EVS_PIECE };
int evs_read(evs_request *request, const void **data, size_t *len);

/* Why the body is not available, after evs_read(), evs_form_count(), evs_part_next() or evs_part_read() has returned a
 * negated status: "too many parts", "the request body is longer than max_body". NULL if nothing is wrong with it. */
const char *evs_body_error(evs_request *request);

/* ---- Forms and multipart bodies ---- */

/* The first form field with this name, decoded; NULL if there is none, or the body is not a form. For routes without
 * EVS_STREAM_BODY. A form is application/x-www-form-urlencoded, with at most 1000 fields, or multipart/form-data, whose
 * parts are fields with their content, including those of files. */
const char *evs_form(evs_request *request, const char *name);

/* The field at index, from 0, in the order sent. Returns 1, or 0 past the last. */
int evs_form_at(evs_request *request, unsigned index, const char **name, const char **value);

/* The number of fields of the form. If the body is not a form, the status to reply with, negated: -415, another
 * Content-Type; -413, more fields than allowed; -400, malformed; -503, out of memory. -EINVAL, with a line in the log:
 * the route has EVS_STREAM_BODY. */
int evs_form_count(evs_request *request);

/* A part of a multipart/form-data body (RFC 7578): a field of a form, or a file. */
struct evs_part {
    size_t size;          /* sizeof(struct evs_part), set by the caller: lets this struct grow */
    const char *name;     /* of the form field; never NULL */
    const char *filename; /* the client's name for the file, for display: never use it as a path; NULL if not a file */
    const char *type;     /* its Content-Type; NULL without one */
};

/* Go to the next part of the body, skipping what was not read of the part before. Strings of part are valid until the
 * next call, at most as long as the request. Works for every route; with EVS_STREAM_BODY, a large file needs no more
 * memory than a small one. Returns
 *
 *   EVS_PART   part describes it; evs_part_read() has its content
 *   EVS_WAIT   not yet: call again on EVS_DATA (only with EVS_STREAM_BODY)
 *   EVS_END    there is no other part, and the body is complete
 *   -415, -400, -413: the body is not multipart/form-data, is malformed, or has more than 1000 parts, or more than 16
 *              header fields or 4096 bytes of them in one part; or a status of evs_read(); -503, out of memory. The
 *              request still needs a response
 *   -EINVAL    part->size is wrong (logged) */
int evs_part_next(evs_request *request, struct evs_part *part);

/* Take the next piece of the part's content: *data and *len (at least 1), valid until the next call or until the
 * function that the server called returns. Returns EVS_PIECE; EVS_WAIT as above; EVS_END: this part is complete, or no
 * part has begun yet, so go to the next one; or a negated status as above. A handler that continues on EVS_DATA
 * therefore need not remember whether it is in a part:
 *
 *     do {
 *         while ((rv = evs_part_read(request, &data, &len)) == EVS_PIECE) { ... }
 *         rv = rv == EVS_END ? evs_part_next(request, &part) : rv;
 *     } while (rv == EVS_PART);                               (then: EVS_WAIT, EVS_END of the body, or an error) */
int evs_part_read(evs_request *request, const void **data, size_t *len);

/* The header field with this name, in any case, of the part that evs_part_next() returned; NULL if there is none. Valid
 * as long as the strings of the part. */
const char *evs_part_header(evs_request *request, const char *name);

/* ---- Client and server of a request ---- */

/* Write the address of the client's socket into text: "127.0.0.1:40312", or "unix:". Behind a proxy that is the
 * proxy's: see evs_client(). Returns text. 64 bytes suffice. */
const char *evs_peer(evs_request *request, char *text, size_t size);

/* Write the client's address without a port into text: "203.0.113.7", "2001:db8::7", or "unix:". Behind one of
 * trusted_proxies it is the address that the proxy tells (evserve_config.forwarded); else that of evs_peer(). Returns
 * text. 64 bytes suffice. */
const char *evs_client(evs_request *request, char *text, size_t size);

/* Write the host that the client has asked for into text, with its port if it has one, in lower case:
 * "example.org:8443". Behind one of trusted_proxies it is the one that the proxy tells; else that of the target or of
 * Host. Returns its length, 0 with an empty text if the request names none. If the length is size or more, the text was
 * cut: 256 bytes suffice for every name that DNS can have. */
size_t evs_host_name(evs_request *request, char *text, size_t size);

/* The name with which the client has passed a rule that asks for one (struct evs_rule), written into text; NULL if no
 * rule did. 1024 bytes suffice. */
const char *evs_user(evs_request *request, char *text, size_t size);

/* The id of the request, by which its lines in different logs are found: what a trusted proxy has sent as X-Request-Id,
 * if that is well-formed (1 to 128 letters, digits and "-_.~=:+@", of which the first is a letter or a digit);
 * otherwise 32 random hexadecimal digits. The server's own lines about the request contain it. It is made when it is
 * first asked for, and then stays the same. */
const char *evs_request_id(evs_request *request);

/* Write the address of the client's socket (<sys/socket.h>) into address, as getpeername(2) would: family AF_INET or
 * AF_INET6, address and port; or AF_UNIX and nothing else. A client that comes over IPv4 has an AF_INET address on
 * every listener. Returns the number of bytes written, for getnameinfo(3) and the like. For the address that the client
 * connected to, call getsockname(2) with evs_socket(). */
int evs_sockaddr(evs_request *request, struct sockaddr_storage *address);

/* The listener that the client came through: its index in evserve_address(), or -1 for evserve_adopt(). A host that
 * also listens on a unix socket or on a separate address can thereby serve more there than to the public. */
int evs_listener(evs_request *request);

/* The client's socket, for getsockopt(2) (SO_PEERCRED of a unix socket, TCP_INFO) and getsockname(2). It belongs to the
 * server: do not read, write, close or change it, and do not keep it. */
int evs_socket(evs_request *request);

/* "https" if the client came through an address with "?tls", or if one of trusted_proxies says so; else "http". A
 * static string. */
const char *evs_scheme(evs_request *request);

/* What TLS has agreed on with a client. Strings are never NULL: "" if there is nothing. */
struct evs_tls_info {
    size_t size;                    /* sizeof(struct evs_tls_info), set by the caller: lets this struct grow */
    const char *version;            /* "TLSv1.3" */
    const char *cipher;             /* "TLS_AES_128_GCM_SHA256" */
    const char *server_name;        /* that the client asked for (SNI) */
    const char *alpn;               /* "http/1.1", "http/1.0"; "" if the client offered no protocol */
    const char *client_subject;     /* of the client's certificate, as RFC 4514 writes it: "CN=alice,O=Example" */
    const char *client_fingerprint; /* its SHA-256 in hexadecimal; "" if the client has presented no certificate */
    int resumed;                    /* 1: the session of an earlier connection goes on */
};

/* Describe the TLS connection of a request. A client certificate is described only if it was verified. Returns 1; 0,
 * with empty strings, for a connection without TLS; -EINVAL if tls->size is wrong. Strings are valid until the function
 * that the server called returns. */
int evs_tls(evs_request *request, struct evs_tls_info *tls);

/* What a proxy in front has said of the connection, in the header of the PROXY protocol: an address with "?proxy".
 * Strings are never NULL: "" if there is nothing. */
struct evs_proxied_info {
    size_t size;             /* sizeof(struct evs_proxied_info), set by the caller: lets this struct grow */
    char address[64];        /* of the proxy itself, as evs_peer() writes it */
    char server[64];         /* what the client has connected with: "198.51.100.2:443" */
    const void *unique_id;   /* the proxy's id of the connection: bytes that may be any, with a NUL behind them */
    size_t unique_id_len;    /* of them, 0 to 128 */
    const char *authority;   /* the host that the client asked the proxy for, by SNI for example */
    const char *alpn;        /* what they have agreed on: "http/1.1" */
    int tls;                 /* 1: the client uses TLS with the proxy, so evs_scheme() is "https" */
    const char *tls_version; /* "TLSv1.3" */
    const char *tls_cipher;  /* "TLS_AES_128_GCM_SHA256" */
    const char *tls_client;  /* common name of the client's certificate, which the proxy has verified */
};

/* Describe the proxy of a request. Returns 1; 0, with empty strings, if the connection has no such header, or one
 * without a client; -EINVAL if proxy->size is wrong. Strings are valid until the function that the server called
 * returns. */
int evs_proxied(evs_request *request, struct evs_proxied_info *proxy);

/* The server of the request, and the number of its thread, from 0. */
evserve *evs_server(evs_request *request);
unsigned evs_thread(evs_request *request);

/* ---- Header fields and complete responses ---- */

/* Set a header field of the response, before it begins: evs_set_header() replaces fields set under that name,
 * evs_add_header() adds one more line (Set-Cookie). Returns
 *
 *   0
 *   -EINVAL    the name is not valid, or the value is NULL or has control characters
 *   -EPERM     the field is the server's own (Content-Length, Transfer-Encoding, Date, ...). "Connection: close" is
 *              allowed, and closes the connection after the response
 *   -EEXIST    evs_add_header() of a field that may occur only once in a response (RFC 9110 section 5.3), such as
 *              Content-Type, ETag or Location, and that is already set
 *   -ENOBUFS   more than 16 KiB of fields
 *   -EALREADY  the response has begun
 *   -ENOMEM
 *
 * A field that may occur only once is never sent twice; the functions that send a response say which value is used. */
int evs_set_header(evs_request *request, const char *name, const char *value);
int evs_add_header(evs_request *request, const char *name, const char *value);

/* Mistakes in a response. This holds for evs_reply(), evs_file(), evs_begin(), evs_write(), evs_end() and evs_abort(),
 * and for the two with _ref. A call that cannot be carried out is logged with its route and function, ends the request
 * as evs_abort() does, and returns the reason: -EINVAL for an argument that cannot be sent, -EALREADY for a response
 * that has begun or is complete (a complete one is still sent), -ENOMEM. A program that ignores the result therefore
 * leaves no client waiting. evs_write() returns -1 for all of these. After evs_begin() and evs_write(), EVS_GONE
 * follows, as it does when the client leaves. After the other functions the request is over, whatever they return,
 * except where evs_file() says otherwise. */

/* Respond with a status (200 to 599) and len bytes of content, which are copied. type is the Content-Type; NULL if
 * there is none, or if evs_set_header() has set it. Returns 0, or an error as above; -EINVAL: another status, a type
 * with control characters, or NULL as content with a length above 0. */
int evs_reply(evs_request *request, int status, const char *type, const void *content, size_t len);

/* Respond with the file at path below the directory root, in the way static files are sent: with media type, entity
 * tag, date, ranges and 304. path may come from a client: nothing outside root is sent, and no dot file; a missing file
 * is 404. root is opened once and stays open; at most 64 directories.
 *
 * Header fields that were added are in each of these responses, except that 403, 404, 412 and 416 omit those that
 * describe the file, such as Content-Disposition, ETag, or a Cache-Control with an age. A Content-Type from
 * evs_set_header() replaces the one that the name of the file suggests; ETag, Last-Modified, Accept-Ranges and
 * Content-Range are always the file's own.
 *
 * Returns 0, or -EALREADY as above. After every other error nothing has been sent, and the request still needs a
 * response: root is not a readable directory (-errno), or root or path is NULL (-EINVAL). */
int evs_file(evs_request *request, const char *root, const char *path);

/* Abandon the response: the client gets 500 if it has not begun; otherwise the connection is cut, so that the client
 * can tell. Returns 0, or -EALREADY if the response is complete. */
int evs_abort(evs_request *request);

/* The progress of the response: 0, it has not begun; 1, it has begun, and evs_write() and evs_end() may follow; 2, it
 * is complete or was abandoned. While serve or the function of evs_on() runs, you may call this even after responding,
 * so that code that catches a handler's failure can tell whether evs_reply() may still report it. */
int evs_begun(evs_request *request);

/* ---- Health ---- */

/* What evs_health() asks. */
struct evs_health_check {
    /* Return 0 if all is well. Otherwise write the reason into why: at most size bytes, including the NUL. It must not
     * block, and may be called by several threads at the same time. */
    int (*check)(void *arg, char *why, size_t size);
    void *arg; /* passed to check */
};

/* A route that tells balancers whether to send requests here:
 *
 *     {.route = "GET /healthz", .serve = evs_health},
 *
 * It responds 200 "ok"; 503 "stopping" from the moment a stop begins, see drain_delay_ms; and 503 with the reason if
 * arg, unless it is NULL, points to a struct evs_health_check whose check does not return 0. Never cached
 * (Cache-Control: no-store). A host whose check takes long responds itself, and asks evs_is_stopping(). */
void evs_health(evs_request *request, void *arg);

/* Whether a stop has begun: 1 or 0. */
int evs_is_stopping(evs_request *request);

/* ---- Metrics ---- */

/* A route that monitoring systems read, Prometheus for example:
 *
 *     {.route = "GET /metrics", .serve = evs_metrics, .flags = EVS_NO_ACCESS_LOG},
 *
 * It responds with what the server has counted, summed over its threads, in Prometheus' text format, or in OpenMetrics'
 * if the client accepts that. README.md lists the metrics. They say much about the server, so do not show them to
 * everyone: let a handler of your own check the request before it calls this function, in a route with EVS_METRICS. arg
 * is not used. */
void evs_metrics(evs_request *request, void *arg);

/* Metrics of your own, on the same page:
 *
 *     static const char *const labels[] = {"kind", NULL};
 *     const struct evs_metric orders = {.size = sizeof orders, .kind = EVSERVE_COUNTER, .name = "orders_total",
 *                                           .help = "Orders taken.", .labels = labels};
 *     int id = evserve_metric(server, &orders, err, sizeof err);
 *     ...
 *     evserve_metric_add(server, id, 1, (const char *const[]){"book"}); */
enum { EVSERVE_COUNTER = 1, EVSERVE_GAUGE, EVSERVE_HISTOGRAM };

struct evs_metric {
    size_t size; /* sizeof(struct evs_metric) */
    int kind;    /* EVSERVE_COUNTER, which only grows; EVSERVE_GAUGE; EVSERVE_HISTOGRAM, which counts values by size */

    /* Up to 128 letters, digits and '_'. The name of a counter ends in "_total", and no other; names that begin with
     * "evserve_" are the server's own. By convention a name ends in its unit: "_seconds", "_bytes". */
    const char *name;
    const char *help;          /* what is counted, 1 to 512 bytes */
    const char *const *labels; /* names of labels, up to 8, ended by NULL; NULL: none */
    const double *buckets;     /* of a histogram: 1 to 32 upper bounds, ascending. NULL: 1 ms to 60 s, in seconds */
    size_t bucket_count;       /* of buckets */
};

/* Define a metric. One that has been defined in the same way, by a script perhaps, is the same metric. Returns its id,
 * 0 or more; or with a text in err: -EINVAL, -EEXIST (it exists with another kind, other labels or buckets), -ENOSPC (a
 * server has at most 256), or -ENOMEM. With config.reactors, the server's threads may serve before evserve_start() has
 * returned: let the variable of the id begin with -1, which the functions below refuse. Any thread. */
int evserve_metric(evserve *server, const struct evs_metric *metric, char *err, size_t errlen);

/* Add to a counter or a gauge; set a gauge; count a value in a histogram. values are those of the labels, in the order
 * of their definition; NULL without labels. What is longer than 128 bytes is cut. Each metric has up to 1,000 different
 * sets of values; further ones are counted as "other", and the log says so once. So values that clients choose cannot
 * fill the memory, but they make the metric useless. If scripts set a gauge too, the page shows the sum. Return 0;
 * -EINVAL: no such metric, the function does not fit its kind, the value is no number, a counter would shrink, or a
 * value is NULL; -ENOMEM; -ECHILD in a forked child. Any thread. */
int evserve_metric_add(evserve *server, int metric, double value, const char *const *values);
int evserve_metric_set(evserve *server, int metric, double value, const char *const *values);
int evserve_metric_observe(evserve *server, int metric, double value, const char *const *values);

/* ---- Topics ---- */

/* Publish a text to all subscribers of a topic, on all threads of the server: WebSockets and Server-Sent Events, in
 * scripts too.
 *
 *     evserve_publish(server, "news", "It works.", 9);
 *
 * The text is copied. Nothing is sent inside of the call: each thread delivers in its own time, to each subscriber in
 * the order of publishing. Nothing happens if nobody subscribes. In functions that the server calls, use evs_server()
 * or evs_ws_server(): with config.reactors, a variable for what evserve_start() returns may still be NULL there.
 * Returns 0, or with nothing published: -EINVAL: the topic is empty or NULL; -ENAMETOOLONG: it has more than 256 bytes;
 * -EMSGSIZE: the text has more than 1 MiB; -EILSEQ: it is not UTF-8; -ENOBUFS: a thread is so far behind that 64 MiB of
 * messages wait for its subscribers, so publish more slowly; -ENOMEM; -ECHILD in a forked child. Any thread; not from
 * signal handlers. */
int evserve_publish(evserve *server, const char *topic, const void *data, size_t len);

/* The same with all that can be said about a message. */
struct evs_publication {
    size_t size;       /* sizeof(struct evs_publication) */
    const char *topic; /* 1 to 256 bytes */
    const void *data;  /* its text; UTF-8, unless it is binary */
    size_t len;        /* bytes of data, up to 1 MiB */
    const char *event; /* the event's name for Server-Sent Events, up to 128 bytes without line breaks; NULL: none */
    int binary;        /* not 0: WebSockets get a binary message */
};

/* Returns as evserve_publish(); -EINVAL also for a wrong size, and for an event's name that has a line break. */
int evserve_publish_as(evserve *server, const struct evs_publication *publication);

/* Respond with the messages of a topic as Server-Sent Events, which browsers read with EventSource:
 *
 *     static void serve(evs_request *request, void *arg)
 *     {
 *         const struct evs_events_options options = {.size = sizeof options, .topic = "news", .replay = 100};
 *         evs_events(request, &options);
 *     }
 *
 * From then on every message that is published to the topic is sent as an event, without a call of the host. The
 * request gets no further events of evs_on(), and is over when the client leaves or the stream ends: when the server
 * stops, within half a minute after a reload, and when the client falls too far behind. EventSource then connects again
 * by itself.
 *
 * Each event has an id, and a client that comes back names the last one that it has (Last-Event-ID, or lastEventId in
 * the query; "earliest" for all). It first gets what it has missed, as far as the topic keeps it (replay); if more was
 * published, an event named "lost" comes before. */
struct evs_events_options {
    size_t size;           /* sizeof(struct evs_events_options) */
    const char *topic;     /* 1 to 256 bytes */
    unsigned replay;       /* messages of the topic that are kept from now on, up to 10,000 and 4 MiB; 0: none */
    uint32_t heartbeat_ms; /* time between two comments, which keep the connection alive, 100 or more; 0: 15 s */
    uint32_t retry_ms;     /* how long the client waits before it connects again; 0: as it likes, about 3 s */
    unsigned flags;        /* EVS_SKIP, or 0 */
};

#define EVS_NO_HEARTBEAT UINT32_MAX /* heartbeat_ms: no comments */

/* A client that is write_cap bytes behind misses messages, and stays connected. Without this flag its stream ends
 * behind what is queued, so that it comes back for what it has missed. */
enum { EVS_SKIP = 1 };

/* Copies the options. Returns 0; -EALREADY: the response has begun; -EINVAL: an option is wrong (the log says which);
 * -ENOSPC: the server has 100,000 topics already; or -ENOMEM. In each case the request is over: without a stream, its
 * client gets a 500 or 503. */
int evs_events(evs_request *request, const struct evs_events_options *options);

/* ---- Streamed responses ---- */

/* Begin a response whose content follows in pieces: length bytes in all, or -1 if the length is not known yet. The head
 * is sent when the function that the server called returns, together with what evs_write() has queued by then, or alone
 * if there is nothing: an EventSource, for example, opens at once. Returns as evs_reply(). */
int evs_begin(evs_request *request, int status, const char *type, int64_t length);

/* Queue a piece of content, which is copied. The first piece begins the response with status 200 unless evs_begin() was
 * called. Returns
 *
 *   1   go on
 *   0   queued, but the client is falling behind: wait for EVS_DRAIN before writing more. If the queue reaches
 *       write_cap (256 KiB by default), the connection is cut, and a warning names the route. Within one callback
 *       nothing is sent, so a loop that ignores 0 reaches it even if the client is fast; a piece longer than write_cap
 *       always does. With pieces of at most write_cap minus write_high_mark, a host that waits is never cut.
 *       evs_reply() has no such limit
 *   -1  nothing was queued: the client has gone, was cut, or wants no content (HEAD); the piece exceeds the length that
 *       evs_begin() announced; or content is NULL. EVS_GONE follows, unless the response was complete before */
int evs_write(evs_request *request, const void *content, size_t len);

/* Complete the response. If nothing was written, it is an empty one (204). Returns 0; -EPIPE: the client has gone or
 * was cut before; -EINVAL: less content than evs_begin() announced, and the connection is cut; -EALREADY. */
int evs_end(evs_request *request);

/* evs_write() and evs_reply() with content that is not copied: it must stay where it is, unchanged, until release(arg)
 * is called. So one buffer can be sent to a thousand clients at a time:
 *
 *     struct message { unsigned refs; size_t len; char text[]; };
 *     static void put(void *arg) { struct message *message = arg; if (--message->refs == 0) free(message); }
 *
 *     message->refs++;                                    // for each stream
 *     evs_write_ref(stream, message->text, message->len, put, message);
 *
 * With streams on several threads, refs must be atomic.
 *
 * release is called exactly once, whatever the functions return: when the content was sent, when the client has gone,
 * when the call is rejected or the client wants no content (HEAD), in evserve_free() at the latest; and before the
 * functions of evs_on_done(). It is called on the request's thread, possibly before evs_write_ref() returns: content of
 * up to 4 KiB is copied at once, and so is a piece when 64 others are waiting. release must not call functions that
 * take a request. It may be NULL, for static content for example. Returns as evs_write() and evs_reply(); bytes that
 * wait to be sent count against write_high_mark and write_cap, copied or not. */
int evs_write_ref(evs_request *request, const void *content, size_t len, void (*release)(void *arg), void *arg);
int evs_reply_ref(evs_request *request, int status, const char *type, const void *content, size_t len,
                  void (*release)(void *arg), void *arg);

/* ---- Events of a request ---- */

/* What can happen to a request before its response is complete. Events come from the server's loop, never from inside a
 * library function that the host has called, such as evs_write(), evs_read() or evs_begin(). The exceptions are
 * evserve_wait() and evserve_poll(), which run the loop, and evserve_free(), which sends EVS_GONE to each request that
 * is left. */
enum evs_event {
    EVS_DRAIN = 1, /* the client has taken what made evs_write() return 0 */
    EVS_GONE,      /* the request has ended early: evs_write() returned -1, the client has gone, handler_timeout_ms or
                    * stream_timeout_ms is over, or the deadline of a stop has passed. Do not use the request after the
                    * call; nothing written during it is sent */
    EVS_TIMER,     /* the time of evs_after() has come */
    EVS_DATA,      /* evs_read() can go on */
    EVS_STOPPING   /* once: evserve_stop() was called, or evserve_reload() has replaced the routes that the request came
                    * through. End streams and long waits soon: at the deadline of the stop, the rest gets EVS_GONE */
};

/* Call fn for every event of request from now on; it replaces the function set before. NULL turns events off. */
void evs_on(evs_request *request, void (*fn)(evs_request *request, int event, void *arg), void *arg);

/* Call the function of evs_on() with EVS_TIMER once, ms milliseconds from now; a second call moves the time. No event
 * comes after the response. Returns 0; -EALREADY: the response is complete, or EVS_GONE is due or has come; -ENOMEM. */
int evs_after(evs_request *request, uint32_t ms);

/* Call fn(arg) once, when the request is over, however it ends: the kernel has taken the whole response, or the
 * connection was lost or cut, by a stop too. If EVS_GONE comes, it comes before. The request no longer exists then: use
 * fn to free what the host keeps for it. fn is called on the request's thread. At most EVS_DONE_MAX calls per request;
 * they are made in reverse order, and before the next pipelined request of the connection begins. Returns 0; -EINVAL:
 * fn is NULL; -ENOBUFS: there are EVS_DONE_MAX already. */
enum { EVS_DONE_MAX = 8 };
int evs_on_done(evs_request *request, void (*fn)(void *arg), void *arg);

/* ---- WebSockets ---- */

/* A WebSocket (RFC 6455) is a connection on which both sides send messages at any time. A GET route accepts it; from
 * then on, functions of yours are called:
 *
 *     static void on_message(evs_ws *ws, int kind, const void *data, size_t len, void *arg)
 *     {
 *         evs_ws_send(ws, kind, data, len);                        // an echo
 *     }
 *     static void on_close(evs_ws *ws, int code, const char *reason, void *arg)
 *     {
 *         // ws is over: forget it
 *     }
 *     static void serve_echo(evs_request *request, void *arg)
 *     {
 *         const struct evs_ws_callbacks echo = {.size = sizeof echo, .on_message = on_message, .on_close = on_close};
 *         evs_websocket(request, &echo);
 *     }
 *     const struct evs_route routes[] = {{.route = "GET /echo", .serve = serve_echo}, {.route = NULL}};
 *
 * Check passwords, cookies and parameters before that, as for any request: evs_reply(request, 401, ...) refuses. What
 * you will need of the request later, copy into arg: the request ends with the upgrade.
 *
 * Threads. A WebSocket belongs to the thread of its request: its callbacks are called there, and the functions below
 * may be called only there, from on_open until the end of on_close, in callbacks of this WebSocket or of anything else.
 * Other threads use evserve_post_to(). No function calls back into the host: what it causes comes later.
 *
 * The server answers pings by itself, and pings clients that say nothing, so that one that has vanished is noticed. A
 * stop sends close code 1001 and waits for the client until the deadline of the stop, or for close_timeout_ms if it has
 * none. A reload leaves open WebSockets alone: your functions and arg must stay valid until on_close. */
typedef struct evs_ws evs_ws;

enum { EVS_WS_TEXT = 1, EVS_WS_BINARY = 2 }; /* kinds of messages; a text is UTF-8 */

/* Close codes (RFC 6455 section 7.4.1) that on_close gets in addition to those that a client sent. */
enum {
    EVS_WS_NO_CODE = 1005, /* the client closed without a code */
    EVS_WS_LOST = 1006     /* the connection ended without a close: the client has vanished, or was cut */
};

/* What evs_websocket() is given. It is copied, with its texts, when a WebSocket is accepted. Each function may be NULL.
 * In limits, 0 is the default and EVSERVE_ZERO the number 0. */
struct evs_ws_callbacks {
    size_t size; /* sizeof(struct evs_ws_callbacks) */
    void *arg;   /* passed to the functions */

    /* It is open: messages may be sent. */
    void (*on_open)(evs_ws *ws, void *arg);

    /* A message from the client. data is valid during the call. Without this function, messages are dropped. */
    void (*on_message)(evs_ws *ws, int kind, const void *data, size_t len, void *arg);

    /* evs_ws_send() returned 0, and now at most half of write_high_mark is left to be sent. */
    void (*on_drain)(evs_ws *ws, void *arg);

    /* A pong: usually the answer to evs_ws_ping(), with its data. */
    void (*on_pong)(evs_ws *ws, const void *data, size_t len, void *arg);

    /* The end: called exactly once for each evs_websocket() that returned 0, even if on_open was never called because
     * the client left too early; ws may then not be used at all. code is the client's, EVS_WS_NO_CODE, EVS_WS_LOST, or
     * the code that the server sent because the client broke the rules: 1002 (malformed frames), 1007 (a text that is
     * not UTF-8), 1008 (a message with more than 64 empty fragments), 1009 (beyond max_message); or 1011: there was no
     * memory for a message. reason is a text, perhaps empty, valid during the call. */
    void (*on_close)(evs_ws *ws, int code, const char *reason, void *arg);

    /* The pages that may connect from a browser: origins separated by commas, such as "https://example.org,
     * https://example.com:8443"; "*" for all; NULL for pages of the same host and port as the request's Host. Clients
     * that send no Origin are no browsers and may always connect. A browser sends cookies whichever page connects, so
     * "*" is for WebSockets that are open to everybody. */
    const char *origins;

    /* Subprotocols, separated by commas, the best one first: "chat.v2, chat.v1". The first one that the client offers
     * is agreed on; without such a one there is none. NULL: none. At most 1,000 bytes. */
    const char *protocols;

    uint64_t max_message;      /* bytes of a message from the client; default 1 MiB, at most 1 GiB */
    uint64_t ping_ms;          /* silence of the client after which it gets a ping, up to a quarter sooner, so that not
                                * all get it at once; default 30 s; EVSERVE_ZERO: no pings */
    uint64_t pong_timeout_ms;  /* how long it may then remain silent before it is cut; default 20 s. Like
                                * close_timeout_ms, it begins anew while the client still receives what was sent
                                * before */
    uint64_t idle_timeout_ms;  /* time without a message in either direction after which the WebSocket is closed with
                                * 1001; default: none */
    uint64_t close_timeout_ms; /* how long evs_ws_close() waits for the client; default 10 s */

    /* Not 0: messages are compressed (permessage-deflate, RFC 7692) with clients that offer it, as browsers do. It
     * costs time for each message, and memory (evserve_config.ws_deflate_memory). Do not compress a secret together
     * with text that others choose: the length tells whether they have something in common. max_message counts what
     * comes out. Ignored where zlib is missing. */
    int compress;
    uint64_t compress_min; /* bytes of the shortest message that is compressed; default 256 */
};

/* Respond with 101 and the header fields that were set, and speak WebSocket from then on; or, if the request is not a
 * proper request for a WebSocket, respond with an error and a text that says what is missing. Returns
 *
 *   0          accepted
 *   a status   the response that was sent instead: 426 (an ordinary request), 400, 403 (the origin is not allowed) or
 *              500 (no memory). None of the functions is called, and arg is still yours
 *   -EINVAL    size is wrong, a limit is out of range or protocols is too long: the client gets a 500
 *   -EALREADY  the response has begun
 *
 * The route's write_timeout_ms, write_high_mark and write_cap hold for the WebSocket, too; a single message may be
 * longer than write_cap. */
int evs_websocket(evs_request *request, const struct evs_ws_callbacks *callbacks);

/* Send a message, which is copied. kind is EVS_WS_TEXT or EVS_WS_BINARY. Returns
 *
 *   1   go on
 *   0   queued, but the client is falling behind (write_high_mark): wait for on_drain before sending more
 *   -EPIPE     it is closing or over
 *   -EINVAL    no such kind
 *   -EILSEQ    the text is not UTF-8
 *   -EMSGSIZE  longer than 1 GiB
 *   -ENOBUFS   more than write_cap bytes are waiting already: the connection is cut, and on_close follows
 *   -ENOMEM    nothing was queued
 *
 * What is sent within one callback leaves together when the callback returns, usually with one system call; a message
 * of 16 KiB or more may leave at once. */
int evs_ws_send(evs_ws *ws, int kind, const void *data, size_t len);

/* Send a ping with at most 125 bytes. The pong is an on_pong. Returns as evs_ws_send(). */
int evs_ws_ping(evs_ws *ws, const void *data, size_t len);

/* Close: what is queued is sent first, then the code and the reason (UTF-8, at most 123 bytes; NULL: none). No further
 * message is delivered; on_close follows when the client has answered, or after close_timeout_ms. code is 1000 to 1003,
 * 1007 to 1014, 3000 to 4999, or 0 for none. Returns 0; -EINVAL: such a code or reason cannot be sent; -EPIPE: it is
 * closing or over; -ENOMEM. */
int evs_ws_close(evs_ws *ws, int code, const char *reason);

/* Read nothing more from the client until evs_ws_resume(): TCP then slows it down. After evs_ws_pause() no further
 * on_message comes, even if a message has arrived already. */
void evs_ws_pause(evs_ws *ws);
void evs_ws_resume(evs_ws *ws);

/* The server, and the number of its thread that the WebSocket belongs to, for evserve_post_to(). */
evserve *evs_ws_server(const evs_ws *ws);
unsigned evs_ws_thread(const evs_ws *ws);

/* Bytes that wait for the client; evs_ws_callbacks.arg; the client's address, written like those of evs_peer() and
 * evs_client(). */
size_t evs_ws_queued(const evs_ws *ws);
void *evs_ws_arg(const evs_ws *ws);
const char *evs_ws_peer(const evs_ws *ws, char *text, size_t size);
const char *evs_ws_client(const evs_ws *ws, char *text, size_t size);

/* Write the subprotocol that was agreed on into text, which has size bytes, cut if it is too long; "" if there is none.
 * Returns text. */
const char *evs_ws_protocol(const evs_ws *ws, char *text, size_t size);

/* Subscribe to a topic, 1 to 256 bytes: what evserve_publish() sends there goes to the client as a message, without a
 * call of your functions. A client that falls behind is cut when more than write_cap bytes wait for it; with
 * EVS_WS_SKIP, it misses messages instead while more than write_high_mark bytes wait. Subscribing again only changes
 * that. Returns 0; -EPIPE: it is closing or over; -EINVAL: topic is empty, or flags are unknown; -ENAMETOOLONG; -E2BIG:
 * it has 1,000 topics already; -ENOSPC: the server has 100,000; -ENOMEM. */
enum { EVS_WS_SKIP = 1 };
int evs_ws_subscribe(evs_ws *ws, const char *topic, unsigned flags);

/* Get nothing more from a topic. Returns 0, or -ENOENT if it is not subscribed. WebSockets that end leave all
 * topics. */
int evs_ws_unsubscribe(evs_ws *ws, const char *topic);

/* ---- Tickets: responding from any thread ---- */

/* A handler that leaves its work to another thread gives that thread a ticket:
 *
 *     static void serve(evs_request *request, void *arg)
 *     {
 *         struct job *job = make_job(evs_query(request, "n"));    (which copies the string)
 *         job->server = evs_server(request);
 *         job->ticket = evs_defer(request);
 *         if (job->ticket == 0) { evs_abort(request); free_job(job); return; }    (out of memory)
 *         hand_to_a_worker(job);
 *     }
 *     ... on the worker: evserve_reply_to(job->server, job->ticket, 200, "text/plain", job->text, job->len);
 *
 * A ticket is a number. You may copy, store and compare it, and it never dangles: once its request has got its
 * response, or its client has gone, the functions below return -ESRCH for it. 0 is never a ticket. */
typedef uint64_t evs_ticket;

/* The ticket of a request that needs a response; asked again, the same one. It need not be given back. Returns 0 if
 * memory is out, or if the request has got its response or EVS_GONE. The request's thread. */
evs_ticket evs_defer(evs_request *request);

/* The functions of requests, for a ticket. Any thread, while the server is not freed; not from signal handlers. Content
 * is copied.
 *
 * On the request's own thread they act at once, like their namesakes. On another thread they pass the work to the
 * request's thread. Calls from one thread keep their order, which includes evserve_post_to() to that thread. An
 * accepted call is dropped silently if the client leaves before it is carried out: the next call then returns -ESRCH,
 * and EVS_GONE comes if evs_on() asked for events.
 *
 * All of them return
 *
 *   -ESRCH      the request is over: it has got its response, an earlier call has ended it, or its client has gone
 *   -ESHUTDOWN  the server has ended
 *   -EINVAL     the arguments can never be sent (see evs_reply()); -EPERM, the field is the server's own
 *   -EALREADY   a status, a field or a whole response, after the response has begun
 *   -EAGAIN     too many calls are waiting
 *   -ENOMEM, or -ECHILD in a forked child
 *
 * In all these cases nothing has changed, except that a call on the request's own thread may have ended the request, as
 * its namesake does.
 *
 * If several threads write to one request, or its own thread also uses evs_write(), each should leave room for the
 * others: the connection is cut if what they queue together exceeds write_cap. */
int evserve_reply_to(evserve *server, evs_ticket ticket, int status, const char *type, const void *content, size_t len);
int evserve_set_header_to(evserve *server, evs_ticket ticket, const char *name, const char *value);
int evserve_begin_to(evserve *server, evs_ticket ticket, int status, const char *type, int64_t length);
int evserve_end_to(evserve *server, evs_ticket ticket);
int evserve_abort_to(evserve *server, evs_ticket ticket);

/* evs_write() for a ticket. Returns
 *
 *   1          go on
 *   0          accepted, but the client is falling behind: wait with evserve_ready_to(), or for EVS_DRAIN
 *   -EAGAIN    not accepted, because write_cap bytes are waiting: wait as for 0, then try again. The connection is not
 *              cut
 *   -EMSGSIZE  the piece is too long ever to be accepted: with 64 bytes of bookkeeping, it exceeds write_cap minus half
 *              of write_high_mark (224 KiB by default)
 *
 * or an error as above. */
int evserve_write_to(evserve *server, evs_ticket ticket, const void *content, size_t len);

/* Wait until the client has caught up, for at most timeout_ms (0: do not wait, -1: no limit). Returns 1: write on; 0:
 * it is still behind; -ESRCH or -ESHUTDOWN, at once when the client leaves meanwhile; -EDEADLK instead of waiting where
 * nothing would ever change: in a callback of any server, and on the thread that called evserve_poll() last, between
 * two calls. With a timeout of 0, a long job can ask whether anyone still wants its result. */
int evserve_ready_to(evserve *server, evs_ticket ticket, int timeout_ms);

/* The request of a ticket, for functions that have no namesake above, such as evs_file(). Call it in a function that
 * evserve_post_to() runs on the request's thread. NULL when the request is over, and on every other thread. */
evs_request *evs_find(evserve *server, evs_ticket ticket);

/* ---- Timers and watches ---- */

/* Timers and fds of the host, on the loop of the n-th thread of the server, from 0. Any thread, in callbacks and before
 * the loop runs, too; not from signal handlers. fn is called on the server's thread, between two events, as long as the
 * server serves. A stop does not wait for timers and watches: they stay active while it drains, and are dropped without
 * a call when it ends. A reload does not affect them. Their number is limited only by memory.
 *
 * evserve_after() calls fn once, ms milliseconds after the call at the earliest. evserve_every() calls it every ms
 * milliseconds, first after ms, without drift; calls that a busy loop missed are skipped. Both return an id above 0,
 * which no other timer or watch ever has; or -EINVAL (no such thread, no fn, or every 0 ms), -ESHUTDOWN when the server
 * has ended, or -ENOMEM. */
int64_t evserve_after(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg);
int64_t evserve_every(evserve *server, unsigned thread, uint32_t ms, void (*fn)(void *arg), void *arg);

/* Events to watch for, and those that fn is called with. */
enum {
    EVS_READABLE = 1, /* bytes, a connection, or the end of the stream can be read without blocking */
    EVS_WRITABLE = 2, /* there is room to write */
    EVS_ERROR = 4,    /* always reported: the fd failed, or cannot be watched; error says why */
    EVS_HANGUP = 8    /* always reported: both directions are shut, and nothing is left to read */
};

/* Call fn whenever one of events holds for fd, as poll(2) would report it: again and again as long as it holds. Errors
 * and hang-ups are reported even if events is 0. error is -errno with EVS_ERROR (for a socket, its SO_ERROR, which is
 * thereby cleared), else 0. If the kernel refuses fd (a regular file, for example, with EPERM), or the server already
 * watches it (EEXIST), this function returns the error or fn is called with EVS_ERROR. The fd stays the host's; it
 * should not block. Returns an id as above, or -errno; -EBADF: fd is below 0.
 *
 * Cancel the watch before you close fd: its number may come back as one of the server's. On the server's thread, close
 * it right after evserve_cancel(); from another thread, have evserve_post_to() close it there. */
int64_t evserve_watch(evserve *server, unsigned thread, int fd, unsigned events,
                      void (*fn)(int fd, unsigned events, int error, void *arg), void *arg);

/* Watch for other events from now on. Returns 0; -ENOENT: the watch has been cancelled; -EINVAL: it is a timer, or
 * events has bits other than EVS_READABLE and EVS_WRITABLE; or -errno. Any thread. */
int evserve_rewatch(evserve *server, int64_t watch, unsigned events);

/* End a timer or a watch; in its own fn, too. On the server's thread, fn is not called again once this has returned.
 * From another thread, no further call begins, but one that has begun may still run: you may free what arg points to in
 * a function that you post afterwards with evserve_post_to(). Returns 0, or -ENOENT: it is over, as a timer of
 * evserve_after() is once its fn is called, or was cancelled before. Any thread. */
int evserve_cancel(evserve *server, int64_t id);

/* ---- Requests to other servers ---- */

/* A request to another server, over HTTP/1.1: plain, with TLS, or through a unix socket. Nothing waits: the response is
 * collected, and done is called with it.
 *
 *     static void on_price(const struct evs_fetched *fetched, void *arg)
 *     {
 *         struct order *order = arg;
 *         evs_request *request = evs_find(order->server, order->ticket);
 *         if (request != NULL) {
 *             evs_reply(request, fetched->status == 200 ? 200 : 502, "text/plain", fetched->body, fetched->body_len);
 *         }
 *         free(order);
 *     }
 *     struct evs_fetch_request price = {.size = sizeof price, .url = "http://127.0.0.1:8081/price?of=7"};
 *     evs_fetch(evs_server(request), evs_thread(request), &price, on_price, order, NULL, 0);
 *
 * Connections are kept for the next request to the same server. Redirects are followed; one that leads to another
 * origin gets no Authorization, Proxy-Authorization, Cookie or Host field and no client certificate, and has its
 * certificate verified. A request over a kept connection that the server has just closed is sent again if its method
 * allows that. evs_fetch() copies all strings, fields and the body. */
struct evs_fetch_request {
    size_t size;        /* sizeof(struct evs_fetch_request) */
    const char *url;    /* "https://example.org:8443/x?y", or "http+unix:/run/x.sock:/path" */
    const char *method; /* NULL: "GET" */
    /* Up to one whose name is NULL; NULL: none. Framing and the connection are the library's, so Content-Length,
     * Transfer-Encoding, Connection, Keep-Alive, Proxy-Connection, Expect, Upgrade, TE and Trailer are refused. */
    const struct evs_field *headers;
    const void *body; /* body_len bytes; NULL: none */
    size_t body_len;
    const char *unix_path;       /* connect to this unix socket ("@name": an abstract one) in place of the URL's host */
    uint32_t timeout_ms;         /* for everything; 0: 30 s */
    uint32_t connect_timeout_ms; /* for the name, the connection and TLS; 0: 10 s */
    int redirects;               /* followed at most, up to 50; 0: 10; -1: none, a redirect is a response like others */
    uint64_t max_body;           /* bytes of a response's body; 0: 16 MiB. Its head has at most 64 KiB */
    const char *ca_file;         /* PEM of the authorities to trust; NULL: those of the system */
    const char *cert_file;       /* PEM of the client's certificate, with key_file; NULL: none */
    const char *key_file;
    const char *server_name; /* whose certificate the server must have; NULL: the URL's host */
    unsigned flags;          /* EVS_FETCH_UNVERIFIED, EVS_FETCH_CLOSE, joined by |, or 0 */
};

enum {
    EVS_FETCH_UNVERIFIED = 1, /* whatever certificate the server has */
    EVS_FETCH_CLOSE = 2       /* on a connection of its own, which is closed then */
};

/* What came of it. Valid until done returns. */
struct evs_fetched {
    int status; /* of the response; 0: it failed */
    /* Why it failed: "resolve", "denied", "connect", "tls", "timeout", "closed", "protocol", "too large", "redirects",
     * "busy" or "memory"; "" if it did not. Static. */
    const char *kind;
    const char *error;               /* the same in words, "" likewise */
    const char *reason;              /* behind the status: "OK" */
    const char *url;                 /* of the response, after redirects */
    const struct evs_field *headers; /* header_count of them, in order, and one whose name is NULL */
    size_t header_count;
    const void *body; /* body_len bytes, and a NUL */
    size_t body_len;
};

/* Begin. done is called once, later, on the thread of the server with this number, unless the fetch is cancelled; if
 * the server ends first, it is called with kind "closed". Call this in a callback on that thread, such as serve; from
 * elsewhere, have evserve_post_to() call it. Returns an id above 0; or -errno with a text in err, and done is not
 * called: -EINVAL (the request is malformed, or there is no such thread), -ENOBUFS (max_outbound connections of this
 * thread are open), -EHOSTUNREACH (deny_connect or the sandbox denies the server, a file for TLS cannot be used, or
 * nothing can be connected), -ENOMEM, -ESHUTDOWN, -EPERM (not in a callback on that thread), -ECHILD in a forked child.
 * err may be NULL if errlen is 0. */
int64_t evs_fetch(evserve *server, unsigned thread, const struct evs_fetch_request *request,
                  void (*done)(const struct evs_fetched *fetched, void *arg), void *arg, char *err, size_t errlen);

/* Give it up: done is not called. In a callback on the same thread. Returns 0; -ENOENT: it is over; -EPERM and -ECHILD
 * as above. */
int evs_fetch_cancel(evserve *server, int64_t id);

/* The value of the first field called name (in any case) of a response, or NULL. */
const char *evs_fetched_header(const struct evs_fetched *fetched, const char *name);

/* ---- Checking, logging, version ---- */

/* Load what config says, without listening, and describe it: line is called once for each limit that is not the
 * default, each address, each certificate with its names and its end, and each line of the route table. Files are read
 * and not written: of the access log, it checks whether evserve_start() could write it. Returns 0, or -1 with a text in
 * err like that of evserve_start(). */
int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen);

/* The same for the route table alone, in aligned columns, in the order of paths: methods, path, name ("-" without one)
 * and place of each route; "static", prefix, "-" and directory of each mount; "rule", prefix, "-" and kind of each
 * rule; and status, pattern, "-" and target of each redirect. */
int evserve_routes(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                   size_t errlen);

/* Run the file of tests at path (see lua/README.md, "Testing a site") against a server with this config, as
 * `evserve --test` does: without listening, without an access log and on the calling thread. Only cases whose name
 * contains the text only are run; NULL runs all of them. line is called with each line of the report, in the Test
 * Anything Protocol: the lines about a case follow what it has written to config.log. t:advance() moves the clocks of
 * every server in this process, and they stay ahead, so a process that tests should do nothing else. Returns how many
 * cases have failed, 0 for a success; or -1 with a text in err if the server does not start or the build has no Lua. */
int evserve_test(const struct evserve_config *config, const char *path, const char *only,
                 void (*line)(void *arg, const char *text), void *arg, char *err, size_t errlen);

/* Write a line to config.log, as the server writes its own: if level is within log_level, and with characters escaped
 * that a terminal would not show. A NULL server or text writes nothing. Any thread that may call the server (see
 * "Basics"); for a server with threads of its own, any thread. */
void evserve_log(evserve *server, int level, const char *text);

/* The same about a request: the line has its client and its id. */
void evs_log(evs_request *request, int level, const char *text);

/* The version of the library: "0.1.0". */
const char *evserve_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
