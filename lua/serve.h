#ifndef EVSERVE_LUA_SERVE_H
#define EVSERVE_LUA_SERVE_H

/* The way of a request through a route. */

#include <stddef.h>

struct exchange;

/* struct handler.serve of routes; ctx is the struct lua_route. */
void serve_route(struct exchange *exchange, void *ctx);

/* struct handler.say_place of them. */
void serve_say_place(const struct exchange *exchange, char *text, size_t size);

#endif
