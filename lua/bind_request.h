#ifndef EVSERVE_LUA_BIND_REQUEST_H
#define EVSERVE_LUA_BIND_REQUEST_H

/* Request objects. Except for the first two, all functions may raise. */

#include "lua/request_fields.h"
#include "lua/state.h"

struct coro;

/* What Lua holds. */
struct request {
    uint32_t index;      /* of the coroutine */
    uint32_t generation; /* of its use */
    uint32_t has_store;  /* 1: its environment is a table of its own: fields that are kept */
};

/* Push a new one for coro, which has just been taken, onto its stack: BASE_REQUEST. Returns false when memory is
 * short. */
bool request_push_new(struct coro *coro);

/* serve() of the prelude has ended, which had the request of coro, and other functions will run: keep it for them. Does
 * nothing more than once. When nothing runs on its stack. Does not raise. */
void request_store(struct coro *coro);

/* Push the request of coro, which runs and has one. */
void request_push_of(lua_State *L, struct coro *coro);

/* The request object at index 1. Raises for anything else; what is "req:header". */
struct request *request_check(lua_State *L, const char *what);

/* The same where the metatable has called: a look at the metatable is saved, but not the one at what it was called
 * with, since debug.getmetatable() gives it to everybody. */
struct request *request_check_self(lua_State *L, const char *what);

/* The coroutine of the request, or NULL when the request is over. Its exchange is NULL once the client has gone. */
struct coro *request_coro(lua_State *L, const struct request *request);

/* Raise that the request is over. */
_Noreturn void request_raise_over(lua_State *L, const char *what);

/* Keep the value on top of the stack as field key (a stack index) of the request at index 1. */
void request_keep(lua_State *L, struct request *request, int key);

/* Push the request object of the coroutine that runs. Returns its exchange, NULL when the request is over. */
struct exchange *request_push_current(lua_State *L);

/* The name of a field: "params". */
const char *request_field_name(enum request_field field);

/* Push what is kept as field key (a stack index), or nil. */
void request_push_kept(lua_State *L, const struct request *request, int key);

/* Add its functions to the table on top of the stack, which the prelude gets. */
void bind_request(lua_State *L);

#endif
