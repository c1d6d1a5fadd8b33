#ifndef EVSERVE_LUA_SERVE_H
#define EVSERVE_LUA_SERVE_H

/* The way of a request through a route. */

#include <stdbool.h>
#include <stddef.h>

struct coro;
struct exchange;
struct lua_route;

/* struct handler.serve of routes; ctx is the struct lua_route. */
void serve_route(struct exchange *exchange, void *ctx);

/* For functions beside routes that run for a request in the same way (bind_auth.c): call the function of route with a
 * request object, in a coroutine that the exchange is attached to; then on_return() says what it is resumed with
 * (struct coro). Without memory, which is reported, the client gets a 503. */
void serve_call(struct exchange *exchange, const struct lua_route *route, int (*on_return)(struct coro *coro));

/* For on_return(): whether the function has failed, then what to return; else what it returned lies on top. */
bool serve_has_failed(const struct coro *coro);
int serve_go_on_after_failure(struct coro *coro);

/* struct handler.say_place of them. */
void serve_say_place(const struct exchange *exchange, char *text, size_t size);

#endif
