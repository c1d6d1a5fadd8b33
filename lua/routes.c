/* The routes of a script belong to it, in a list, from the moment they are made; one that is refused stays there
 * without a function. */

#include "lua/routes.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/proxy/proxy.h"
#include "http/site.h"
#include "lua/websocket_options.h"

#include <errno.h>
#include <string.h>

struct lua_route *routes_make(struct script *script, const struct vhost *vhost, const char *place,
                              void (*serve)(struct exchange *exchange, void *ctx))
{
    size_t len = strlen(place) + 1;
    struct lua_route *route = mem_zalloc(sizeof *route + len);
    if (route == NULL) {
        return NULL;
    }
    memcpy(route->place, place, len);
    route->handler = (struct handler){
        .serve = serve,
        .ctx = route,
        .body_mode = BODY_STREAM,
    };
    route->script = script;
    route->vhost = vhost;
    route->fn_ref = LUA_NOREF;
    route->next = script->routes;
    script->routes = route;
    return route;
}

/* The limits of the route are settled: so is what its WebSockets take of them. */
static void settle_websocket(const struct lua_route *route)
{
    if (route->websocket != NULL) {
        const struct limits *own = route->handler.limits;
        websocket_settle_options(route->websocket,
                                 own == NULL ? vhost_limits(route->vhost, &route->script->site->limits) : own);
    }
}

int routes_settle_limits(struct script *script, char *err, size_t errlen)
{
    for (struct lua_route *route = script->routes; route != NULL; route = route->next) {
        struct route_limits *of_route = route->limits;
        char text[SCRIPT_TEXT_MAX];
        if (route->fn_ref == LUA_NOREF && route->proxy == NULL) {
            continue;
        }
        if (of_route == NULL) {
            settle_websocket(route);
            continue;
        }
        of_route->limits = *vhost_limits(route->vhost, &script->site->limits);
        for (size_t i = 0; i < limit_table_len; i++) {
            if (of_route->is_own & 1U << i) {
                uint64_t value = limits_get(&of_route->own, &limit_table[i]);
                (void)limits_set(&of_route->limits, &limit_table[i], value, NULL, 0); /* it is in range */
            }
        }
        if (limits_check(&of_route->limits, text, sizeof text) < 0) {
            return error_text(err, errlen, -EINVAL, "%s: limits of the route: %s", route->place, text);
        }
        settle_websocket(route);
    }
    return 0;
}

void routes_free(struct script *script)
{
    while (script->routes != NULL) {
        struct lua_route *route = script->routes;
        script->routes = route->next;
        proxy_destroy(route->proxy);
        mem_free(route->limits);
        websocket_free_options(route->websocket);
        mem_free(route->name);
        mem_free(route);
    }
}
