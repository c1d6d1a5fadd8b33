#ifndef EVSERVE_HTTP_EVS_H
#define EVSERVE_HTTP_EVS_H

/* What a host serves: directories, and routes that it writes in C: what evserve.h calls mounts, routes and requests, on
 * top of static mounts, handlers and exchanges. An evs_request is a struct exchange. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evs_mount;
struct evs_parsed;
struct evs_route;
struct evs_routes;
struct exchange;
struct limits;
struct router;
struct static_mounts;

/* Register the routes of a host, an array that a NULL route ends. Their texts are copied by the router, their limits are
 * needed until they are settled. *added is to be freed after the router. Returns 0, or -errno with a text in err that
 * names the route, and nothing to free; some of the routes may then be registered. */
int evs_routes_create(struct evs_routes **added, const struct evs_route *routes, struct router *router, char *err,
                      size_t errlen);
void evs_routes_destroy(struct evs_routes *routes); /* NULL is allowed */

/* Settle the limits of the routes that have some of their own; what they leave open is as in limits, those of the site,
 * which are final by now. Returns 0, or -errno with a text in err that names the route and the limit. routes may be
 * NULL. */
int evs_routes_settle_limits(struct evs_routes *routes, const struct limits *limits, char *err, size_t errlen);

/* Mount the directories of a host, an array that a NULL prefix ends; later mounts of the same prefixes, a script's, are
 * ignored. Returns 0, or -errno with a text in err that names the member; some of them may then be mounted. */
int evs_mounts_add(struct static_mounts *added, const struct evs_mount *mounts, char *err, size_t errlen);

/* A call that evs_on_done() asked for. */
struct evs_done {
    void (*fn)(void *arg);
    void *arg; /* handed to fn */
};

enum { EVS_DONE_LIMIT = 8 }; /* EVS_DONE_MAX of evserve.h */

/* What the host hangs on an exchange. Reset when a handler of the host's is called, except for the calls. */
struct evs_request;
struct evs_state {
    void (*fn)(struct evs_request *request, int event, void *arg); /* evs_on(), NULL without it */
    void *arg;                                                     /* handed to fn */
    uint64_t timer;                                                /* evs_after(), 0 while none is set */
    uint64_t ticket;                                               /* evs_defer(), 0 without one */
    bool has_read;       /* evs_read() gave a body that was there as a whole */
    bool is_unwanted;    /* the request is over, EVS_GONE has come, or timer is the one after which it does */
    unsigned done_count; /* of done */
    struct evs_done done[EVS_DONE_LIMIT]; /* in the order of asking */
};

/* Free what was parsed of a request for its host: exchange->parsed, which is not NULL. */
void evs_drop_parsed(struct exchange *exchange);

#endif
