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

/* For functions beside routes that run for a request in the same way (bind_auth.c). A coroutine on which lies all that
 * coro_resume(coro, SERVE_NARGS) needs to call the route's function with a request object; attach it to the exchange,
 * and set its on_return, before. Returns NULL, which was reported, without memory. */
enum { SERVE_NARGS = 4 };
struct coro *serve_take_coro(const struct lua_route *route);

/* For their on_return: whether the function has failed, then what to return; else what it returned lies on top. */
bool serve_has_failed(const struct coro *coro);
int serve_go_on_after_failure(struct coro *coro);

/* struct handler.say_place of them. */
void serve_say_place(const struct exchange *exchange, char *text, size_t size);

#endif
