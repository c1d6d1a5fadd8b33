#ifndef EVSERVE_LUA_SCRIPT_H
#define EVSERVE_LUA_SCRIPT_H

/* A Lua script that configures a site and answers its Lua routes: one Lua state, used by one reactor's thread. */

#include "lua/settings.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct lua_State;
struct reactor;
struct script;
struct server;
struct site;

enum { SCRIPT_BYTES_MAX = 16 << 20 }; /* of a script or module */

/* What a script does with a file. */
enum script_file {
    SCRIPT_FILE_CODE,    /* it is made of it: the script itself, a module, what dofile and loadfile read at start-up */
    SCRIPT_FILE_READ,    /* it reads it at start-up */
    SCRIPT_FILE_WRITTEN, /* it writes it, whenever */
};

/* What a host wants of the script's state. All zero: nothing. */
struct script_host {
    int (*init)(struct lua_State *L, void *arg); /* called before the script runs, to add modules; 0 to go on */
    void *arg;                                   /* for init */
    struct settings settings;                    /* what is not 0 wins over the script's */
    const char *text; /* the script, which has been read already; NULL: it is a file. The path is its name then */
    size_t text_len;  /* bytes of text */
    /* Told of each file that the script is made of, reads or writes; may be NULL. */
    void (*on_file)(void *arg, const char *path, enum script_file what);
    void *on_file_arg; /* for on_file */
    int base_fd;       /* borrowed: where paths of the script and its modules start, see sys_base() */
};

/* Run the script at path: app.set, app.static and the routes go into site, app.listen is remembered, timers are set on
 * reactor. host may be NULL. site, reactor and log are borrowed and must outlive the script, and the script must outlive
 * every server made from site. Returns 0, or -errno with a text in err: "scripts/site.lua:12: what is wrong". */
int script_open(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, const struct script_host *host, char *err, size_t errlen);

/* The settings in force. Valid as long as the script. */
const struct settings *script_settings(const struct script *script);

/* The n-th app.listen address, or NULL past the last. Valid as long as the script. */
const char *script_listen(const struct script *script, size_t n);

/* Where the script asked for it: "site.lua:3". */
const char *script_listen_place(const struct script *script, size_t n);

/* Call fn with the script's folder and each directory that package.path and package.cpath name, except those relative to
 * the working directory, until it returns other than 0. Returns that, or 0. */
int script_each_folder(struct script *script, int (*fn)(void *arg, const char *folder), void *arg);

/* The server runs: app.stats() answers from it, the "start" functions are called. Returns 0, or -EINVAL when one of
 * them failed, with a text in err. */
int script_start(struct script *script, const struct server *server, char *err, size_t errlen);

/* The server begins to stop, or another script takes the place of this one: the "stopping" functions are called, unless they
 * were already. Requests go on, and so do timers until script_end_timers(). */
void script_announce_stop(struct script *script);

/* No timer begins a run any more, unless it is set from now on. Runs that have begun go on. */
void script_end_timers(struct script *script);

/* Whether something of the script's goes on that no request waits for: app.defer, a run of a timer, a handler whose client
 * has gone. What sleeps beyond until_ms (reactor time) does not count: to wait for it until then would be in vain. */
bool script_is_busy(const struct script *script, int64_t until_ms);

/* The end: what is due runs up to its first wait, what waits is cut, which the log says, timers end, and the "stop" functions
 * are called. Only script_close() may follow. */
void script_stop(struct script *script);

/* Close the state. The server must be gone. NULL is allowed. */
void script_close(struct script *script);

#endif
