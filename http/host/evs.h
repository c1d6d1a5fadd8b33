#ifndef EVSERVE_HTTP_EVS_H
#define EVSERVE_HTTP_EVS_H

/* Routes that a host writes in C: what evserve.h calls evs_routes and evs_requests, on top of handlers and exchanges.
 * An evs_request is a struct exchange. */

#include <stddef.h>
#include <stdint.h>

struct evs_route;
struct evs_routes;
struct exchange;
struct router;

/* Register the routes of a host, an array that a NULL route ends. Their texts are copied by the router. *added is to be
 * freed after the router. Returns 0, or -errno with a text in err that names the route, and nothing to free; some of
 * the routes may then be registered. */
int evs_routes_create(struct evs_routes **added, const struct evs_route *routes, struct router *router, char *err,
                      size_t errlen);
void evs_routes_destroy(struct evs_routes *routes); /* NULL is allowed */

/* What the host hangs on an exchange. Reset when a handler of the host's is called. */
struct evs_request;
struct evs_state {
    void (*fn)(struct evs_request *request, int event, void *arg); /* evs_on(), NULL without it */
    void *arg;                                                     /* handed to fn */
    uint64_t timer;                                                /* evs_after(), 0 while none is set */
};

#endif
