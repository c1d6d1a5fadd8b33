#ifndef EVSERVE_HTTP_HOST_EVS_ROUTES_H
#define EVSERVE_HTTP_HOST_EVS_ROUTES_H

/* Routes that a host writes in C (struct evs_route of evserve.h), as routes of a router. */

#include <stdbool.h>
#include <stddef.h>

struct evs_route;
struct evs_routes;
struct limits;
struct router;

/* Register the routes of a host, an array that a NULL route ends. name, copied, is where they come from, for errors:
 * "evserve_config.routes". The router copies their texts; their limits must live
 * until they are settled. Free *added after the router. Returns 0, or -errno with a text in err that names the route,
 * and nothing to free; some of the routes may then be registered. */
int evs_routes_create(struct evs_routes **added, const struct evs_route *routes, struct router *router,
                      const char *name, char *err, size_t errlen);
void evs_routes_destroy(struct evs_routes *routes); /* NULL is allowed */

/* Whether one of them shows metrics: evs_metrics(), EVS_METRICS. NULL is allowed. */
bool evs_routes_have_metrics(const struct evs_routes *routes);

/* Settle the limits of the routes that have limits of their own. What they leave open is as in limits, those of the
 * site, which no longer change. Returns 0, or -errno with a text in err that names the route and the limit. routes may
 * be NULL. */
int evs_routes_settle_limits(struct evs_routes *routes, const struct limits *limits, char *err, size_t errlen);

#endif
