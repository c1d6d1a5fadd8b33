#ifndef EVSERVE_LUA_SERVE_H
#define EVSERVE_LUA_SERVE_H

/* The way of a request through a route. */

struct exchange;

/* struct handler.serve of routes; ctx is the struct lua_route. */
void serve_route(struct exchange *exchange, void *ctx);

#endif
