#ifndef EVSERVE_LUA_OFFER_H
#define EVSERVE_LUA_OFFER_H

/* What one thread serves: a site, with the routes in C and the script that fill it. Used by one reactor's thread. It
 * knows scripts by lua/script.h alone, so a build without Lua has it too. */

#include "lua/script.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evs_mount;
struct evs_route;
struct evs_routes;
struct log;
struct reactor;
struct server;
struct site;

/* What to fill a site with. */
struct offer_config {
    int base_fd;                    /* borrowed: where relative paths start, see sys_base() */
    const char *root;               /* directory served at "/", or NULL; wins over the script's */
    const struct evs_mount *mounts; /* more directories, ended by a NULL prefix, or NULL; win over the script's */
    const struct evs_route *routes; /* in C, ended by a NULL route, or NULL */
    const char *script;             /* its path, or NULL */
    struct script_host host;        /* of the script */
};

struct offer {
    struct site *site;         /* owned */
    struct evs_routes *routes; /* owned; NULL without any */
    struct script *script;     /* owned; NULL without one */
    struct offer *next;        /* of lua/retired.h: among the retired */
    int64_t unused_ms;         /* of lua/retired.h: when its last request was over, 0 before */
};

/* Make what there is to serve. reactor and log are borrowed and must outlive it, the texts of config need not. Returns
 * 0, or -errno with a text in err that names the culprit. */
int offer_create(struct offer **offer, const struct offer_config *config, struct reactor *reactor,
                 const struct log *log, char *err, size_t errlen);

/* No server may use its site any more. NULL is allowed. */
void offer_destroy(struct offer *offer);

/* Listen on each address of listen (separated by commas; "none" for none), else, when that is NULL, on those of the
 * script, else on 127.0.0.1:8080. is_shared: servers of other threads will join. Returns 0 or more, or -errno with a
 * text in err that begins with the place in the script that asked for the address. */
int offer_listen(const struct offer *offer, const char *listen, struct server *server, bool is_shared, char *err,
                 size_t errlen);

/* Whether the scripts of two offers ask for the same addresses: 0, or -EINVAL with a text in err that names the
 * addresses and path, which is next's script. */
int offer_check_addresses(const struct offer *before, const struct offer *next, const char *path, char *err,
                          size_t errlen);

/* Describe an offer for people, a line of text at a time: limits and settings that are not the defaults, and the
 * addresses that offer_listen() would listen on. Returns 0 or more, or -EINVAL with a text in err about an address that
 * is none. */
int offer_describe(const struct offer *offer, const char *listen, void (*line)(void *arg, const char *text), void *arg,
                   char *err, size_t errlen);

#endif
