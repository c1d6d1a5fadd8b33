/* Routes of a host: struct evs_route of evserve.h, checked and registered with the router as handlers. */

#include "http/host/evs_routes.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/exchange.h"
#include "http/host/evs_config.h"
#include "http/host/evs_events.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_stalls.h"
#include "http/limits.h"
#include "http/router.h"
#include "http/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct host_route {
    struct handler handler; /* with this struct as its context */
    void (*serve)(evs_request *request, void *arg);
    void *arg;                    /* handed to serve */
    const char *text;             /* borrowed, as given: "GET /users/:id" */
    size_t number;                /* in the host's array */
    const struct evs_limits *own; /* of the host's config; NULL without any */
    struct limits limits;         /* of the server and its own, of own */
    bool has_metrics;             /* it shows metrics */
};

struct evs_routes {
    char name[64]; /* where they come from */
    size_t count;
    struct host_route list[];
};

static void serve(struct exchange *exchange, void *ctx)
{
    const struct host_route *route = ctx;
    struct reactor *reactor = exchange->service->reactor;
    evs_hook(exchange);
    route->serve(request_of(exchange), route->arg);
    evs_stalls_note_route(reactor, route->text, route->number);
}

/* The set of methods in text[0..len): "GET", "GET,PROPFIND" or "*". */
static int parse_methods(struct route_methods *names, const char *text, size_t len, uint64_t *methods, char *err,
                         size_t errlen)
{
    const char *end = text + len;
    *methods = 0;
    for (const char *next; text <= end; text = next + 1) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        next = comma == NULL ? end : comma;
        int rv = route_methods_add(names, text, (size_t)(next - text), methods, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    return 0;
}

static int add_route(struct host_route *added, const struct evs_route *route, const char *name, size_t number,
                     struct router *router, char *err, size_t errlen)
{
    char where[96];
    char why[512];
    uint64_t methods;
    snprintf(where, sizeof where, "%s[%zu]", name, number);
    size_t methods_len = strcspn(route->route, " ");
    const char *pattern = route->route + methods_len + strspn(route->route + methods_len, " ");
    if (pattern[0] != '/') {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" must be methods and a path, as in \"GET /users/:id\"",
                          where, route->route);
    }
    if (route->serve == NULL) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" has no function", where, route->route);
    }
    if (parse_methods(router_method_names(router), route->route, methods_len, &methods, why, sizeof why) < 0) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\": %s", where, route->route, why);
    }
    /* A body means something only with these methods; GET's is drained (RFC 9110 section 9.3.1). */
    bool takes_body = (methods & ~(METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD))) != 0;
    if ((route->flags & ~(unsigned)(EVS_STREAM_BODY | EVS_HALF_CLOSE | EVS_NO_ACCESS_LOG | EVS_METRICS |
                                    EVS_BEFORE_FILES | EVS_OWNS_PATHS | EVS_KEEP_CODING)) != 0) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" has flags that do not exist: %#x", where, route->route,
                          route->flags);
    }
    enum body_mode wanted = route->flags & EVS_STREAM_BODY ? BODY_STREAM : BODY_WHOLE;
    *added = (struct host_route){
        .handler = {.serve = serve,
                    .ctx = added,
                    .body_mode = takes_body ? wanted : BODY_UNWANTED,
                    .half_close = (route->flags & EVS_HALF_CLOSE) != 0,
                    .is_unlogged = (route->flags & EVS_NO_ACCESS_LOG) != 0,
                    .before_files = (route->flags & EVS_BEFORE_FILES) != 0,
                    .owns_paths = (route->flags & EVS_OWNS_PATHS) != 0,
                    .keeps_coding = (route->flags & EVS_KEEP_CODING) != 0},
        .serve = route->serve,
        .arg = route->arg,
        .text = route->route,
        .number = number,
        .own = route->limits,
        .has_metrics = route->serve == evs_metrics || (route->flags & EVS_METRICS) != 0,
    };
    added->handler.limits = added->own == NULL ? NULL : &added->limits;
    return router_add(router, methods, pattern, &added->handler, where, err, errlen);
}

int evs_routes_create(struct evs_routes **added, const struct evs_route *routes, struct router *router,
                      const char *name, char *err, size_t errlen)
{
    size_t count = 0;
    while (routes[count].route != NULL) {
        count++;
    }
    struct evs_routes *made = mem_alloc(sizeof *made + count * sizeof made->list[0]);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    made->count = count;
    snprintf(made->name, sizeof made->name, "%s", name);
    for (size_t i = 0; i < count; i++) {
        int rv = add_route(&made->list[i], &routes[i], name, i, router, err, errlen);
        if (rv < 0) {
            mem_free(made);
            return rv;
        }
    }
    *added = made;
    return 0;
}

int evs_routes_settle_limits(struct evs_routes *routes, const struct limits *limits, char *err, size_t errlen)
{
    for (size_t i = 0; routes != NULL && i < routes->count; i++) {
        struct host_route *route = &routes->list[i];
        char why[512];
        route->limits = *limits;
        int rv = route->own == NULL ? 0 : evs_config_apply_route(&route->limits, route->own, why, sizeof why);
        if (rv < 0) {
            return error_text(err, errlen, rv, "%s[%zu].limits: %s", routes->name, i, why);
        }
    }
    return 0;
}

bool evs_routes_have_metrics(const struct evs_routes *routes)
{
    bool has_one = false;
    for (size_t i = 0; routes != NULL && i < routes->count; i++) {
        has_one = has_one || routes->list[i].has_metrics;
    }
    return has_one;
}

void evs_routes_destroy(struct evs_routes *routes)
{
    mem_free(routes);
}
