#ifndef EVSERVE_LUA_ROUTES_H
#define EVSERVE_LUA_ROUTES_H

/* The routes of a script. */

#include "http/exchange.h"
#include "lua/state.h"

struct proxy;
struct route_websocket;

/* The limits of a route that has some of its own. */
struct route_limits {
    struct limits own;    /* as given with the route, where bits of is_own are set */
    struct limits limits; /* in force: the host's but for those */
    uint32_t is_own;      /* set of 1 << row of limit_table */
};
_Static_assert(sizeof(struct limits) / sizeof(uint64_t) <= 32, "is_own has a bit for each limit");

/* A route of the script's. */
struct lua_route {
    struct handler handler;            /* what the router knows: serve, with this struct as its context */
    struct script *script;             /* whose it is */
    const struct vhost *vhost;         /* which host of the site it is a route of */
    struct lua_route *next;            /* in the script's list */
    struct route_limits *limits;       /* owned; NULL without limits of its own */
    struct route_websocket *websocket; /* owned; NULL unless it is one of app.websocket */
    struct proxy *proxy;               /* owned; NULL unless it is one of app.proxy */
    char *name;                        /* owned; NULL without one */
    uint64_t cpu_ms;                   /* handler_cpu of its own, else 0 */
    bool finishes;                     /* finish = true: a handler runs on after its client has left */
    bool is_compiled;                  /* jit = true: LuaJIT compiles it, so there is no deadline */
    bool is_rule;                      /* no route: a function of app.basic_auth */
    int fn_ref;   /* the Lua function, middleware around it, in the registry; LUA_NOREF: it was refused */
    char place[]; /* "scripts/site.lua:12", for the log */
};

/* Make a route, which belongs to the script from now on, whatever becomes of it. serve gets the route as its context;
 * place is copied. Returns NULL when memory is short. */
struct lua_route *routes_make(struct script *script, const struct vhost *vhost, const char *place,
                              void (*serve)(struct exchange *exchange, void *ctx));

/* Make the limits of routes that have some of their own, from the site's as they are now. Returns 0, or -EINVAL with a
 * text in err. */
int routes_settle_limits(struct script *script, char *err, size_t errlen);

/* Free all of them. The server must be gone. */
void routes_free(struct script *script);

#endif
