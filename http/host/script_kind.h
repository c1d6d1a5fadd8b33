#ifndef EVSERVE_HTTP_HOST_SCRIPT_KIND_H
#define EVSERVE_HTTP_HOST_SCRIPT_KIND_H

/* What the assembly of a site needs from a scripting language: a table of functions. lua/ supplies one, script_lua of
 * lua/script.h; a build without Lua has none, so http/host/offer.c refuses scripts there.
 *
 * All functions are called on the thread of the reactor, with two exceptions. close() may also run on the thread that
 * frees the server. And a script may be opened and started on another thread (struct script_load), while the reactor
 * goes on: until adopt(), no other function but close() is called, and the script does not touch the reactor. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct job_pools;
struct limit_info;
struct log;
struct lua_State;
struct metrics_own;
struct outbound;
struct packed;
struct reactor;
struct script; /* an open script; only its own kind knows what is in it */
struct server;
struct site;
struct stores;
struct tls_plan;
struct topics;

enum { SCRIPT_BYTES_MAX = 16 << 20 }; /* of a script or module */

/* What a script does with a file. */
enum script_file {
    SCRIPT_FILE_CODE, /* the file is part of it: the script, a module, or what dofile and loadfile read at start-up */
    SCRIPT_FILE_READ, /* it reads the file at start-up */
    SCRIPT_FILE_WRITTEN, /* it writes the file, at any time */
};

/* How a script is loaded while others serve. open() and start() end with -ETIMEDOUT at the deadline, whatever the
 * script does, except in a C function that does not return, in a finalizer and in compiled code. */
struct script_load {
    int64_t end_ns;                 /* the deadline, of sys_now_ns() */
    uint64_t timeout_ms;            /* that it comes after, for texts */
    const atomic_bool *is_unwanted; /* once it is true, they end as at the deadline */
    bool is_elsewhere;              /* open() and start() are called on another thread than the reactor's */
    uint64_t number;                /* of the load, from 1; the threads of a server load the same one together */
};

/* What a host asks of a script. All zero: nothing. */
struct script_host {
    int (*init)(struct lua_State *L, void *arg); /* called before the script runs, to add modules; returns 0 to go on */
    void *arg;                                   /* for init */
    uint64_t handler_cpu_ms;     /* wins over the script's setting of this name; 0: the script decides */
    uint64_t lua_memory_bytes;   /* likewise */
    bool debug;                  /* likewise */
    uint64_t lua_memory_default; /* bytes, if neither the host nor the script says it; 0: that of lua/settings.def */
    const char
        *text; /* the script, if it has already been read; its path then serves as its name. NULL: read the file */
    size_t text_len; /* bytes of text */
    /* Called for each file that the script consists of, reads or writes. NULL: not called. */
    void (*on_file)(void *arg, const char *path, enum script_file what);
    void *on_file_arg;              /* for on_file */
    const struct script_load *load; /* borrowed until adopt(); NULL: no deadline, on the reactor's thread */
    bool is_repeat;                 /* another thread loads the same script and logs its warnings */
    struct metrics_own *metrics;    /* borrowed: of the server; NULL: what the script counts is lost */
    struct stores *stores;          /* borrowed: of the server; NULL: the script has stores of its own */
    struct topics *topics;          /* borrowed: of the reactor; NULL: there is no publish and subscribe */
    unsigned thread;                /* number of the reactor's, for them */
    struct outbound *outbound;      /* borrowed: of the reactor; NULL: the script reaches no other servers */
    struct job_pools *jobs;         /* borrowed: of the server; NULL: the script has no workers */
    const struct packed *packed;    /* borrowed: files in memory that come before those on disk; may be NULL */
    int base_fd; /* borrowed: where relative paths of the script and its modules start, see sys_base() */
};

/* The server that a file of tests tests, see evserve_test(). Its functions are called between two turns of the loop, on
 * the thread that runs it. */
struct script_stage {
    void *arg; /* for all of them */

    /* Connect with the server. Returns the client's end, a socket that does not block, to be closed; or -errno. */
    int (*connect)(void *arg);

    /* Let the server work, and wait for timeout_ms at most. Returns 1; 0 if it has ended; or -errno. */
    int (*turn)(void *arg, int timeout_ms);

    /* Move the clock to the next timer that is due by end_ms (of sys_now_ns()), or else to end_ms, and let the server
     * work until it has nothing to do. Returns 1 once the clock is at end_ms, 0 before that, or -errno. */
    int (*step)(void *arg, int64_t end_ms);

    /* End the server, which closes the connections, and start another one. Returns 0, or -errno with a text in err:
     * then there is none. */
    int (*restart)(void *arg, char *err, size_t errlen);

    /* Write a line of the report. */
    void (*line)(void *arg, const char *text);
};

struct script_kind {
    /* Run the script at path: it fills in site and may set timers on reactor. host may be NULL. site, reactor and log
     * are borrowed and must outlive the script, and the script must outlive every server made from site. Returns 0 with
     * *script, or -errno with a text in err: "scripts/site.lua:12: what is wrong". */
    int (*open)(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, const struct script_host *host, char *err, size_t errlen);

    /* Call fn with each setting of the script's own, beside the limits of its site, and the value in force. */
    void (*each_setting)(const struct script *script,
                         void (*fn)(void *arg, const struct limit_info *info, uint64_t value), void *arg);

    /* The n-th address that the script wants to listen on, or NULL past the last. Valid as long as the script. */
    const char *(*listen)(const struct script *script, size_t n);

    /* Where the script asked for it, "site.lua:3", or NULL past the last. Valid as long as the script. */
    const char *(*listen_place)(const struct script *script, size_t n);

    /* The certificates and TLS settings that the script asks for. Valid as long as the script. */
    const struct tls_plan *(*tls)(const struct script *script);

    /* Call fn with each directory in which the script looks for modules, except those relative to the working
     * directory, until fn returns something other than 0. Returns that value, or 0. */
    int (*each_folder)(struct script *script, int (*fn)(void *arg, const char *folder), void *arg);

    /* The server is about to run: the script's "start" functions are called. server is NULL if they are called on
     * another thread than the server's. Returns 0, or -errno with a text in err if one of them failed. */
    int (*start)(struct script *script, const struct server *server, char *err, size_t errlen);

    /* The reactor's thread takes over a script that was opened and started elsewhere: its timers begin. Returns 0, or
     * -ENOMEM: then only stop() and close() may follow. */
    int (*adopt)(struct script *script, const struct server *server);

    /* The server begins to stop, or another script replaces this one: the "stopping" functions are called, unless they
     * already were. Requests continue, and so do timers until end_timers(). */
    void (*announce_stop)(struct script *script);

    /* Timers set so far no longer begin a run; timers set from now on do. Runs that have begun continue. */
    void (*end_timers)(struct script *script);

    /* Whether the script still does something that no request waits for. Whatever sleeps beyond until_ms (reactor time)
     * does not count, since waiting for it until then would be in vain. */
    bool (*is_busy)(const struct script *script, int64_t until_ms);

    /* Bytes that the script holds, and how many it may. */
    void (*memory)(const struct script *script, uint64_t *held, uint64_t *limit);

    /* The end: what is due runs up to its first wait, what waits is cut, timers end, and the "stop" functions are
     * called. Only close() may follow. */
    void (*stop)(struct script *script);

    /* Free the script. The server must be gone. NULL is allowed. */
    void (*close)(struct script *script);

    /* Run the file of tests at path, of which only the cases whose name contains only, or all of them if it is NULL.
     * Returns how many have failed, or -errno with a text in err. */
    int (*test)(const struct script_stage *stage, const char *path, const char *only, char *err, size_t errlen);
};

#endif
