#ifndef EVSERVE_LUA_FETCH_OBJECT_H
#define EVSERVE_LUA_FETCH_OBJECT_H

/* Requests to other servers that have not ended, their objects in Lua, and their ends. bind_fetch.c has what scripts
 * call. */

#include "http/client/fetch.h"
#include "lua/coro_pool.h"

/* One that has not ended. */
struct script_fetch {
    struct script *script;            /* whose it is */
    struct script_fetch *next_free;   /* in the list of those in no use */
    uint32_t index;                   /* in script->fetches */
    uint64_t id;                      /* never used twice; 0 in no use */
    struct fetch *fetch;              /* owned */
    struct coro *coro;                /* that waits for it; NULL: none does */
    struct coro *owner;               /* it ends with that */
    struct script_fetch *next, *prev; /* in owner->fetches */
    unsigned events;                  /* set of 1 << enum fetch_event that have come */
    unsigned awaited;                 /* those that coro waits for */
    bool is_torn;                     /* a piece of the body was taken and then lost, for want of memory */
    bool is_lost;                     /* the whole response was: nothing in Lua leads to it */
};

/* Push a number that stands for it, as long as it has not ended. */
void fetch_object_push_number(lua_State *L, const struct script_fetch *fetch);

/* Push an object that stands for it; when that is collected, it ends. May raise (memory). */
void fetch_object_push(lua_State *L, const struct script_fetch *fetch);

/* One for fetch_object_begin(), at the head of script->free_fetches. NULL when memory is short. */
struct script_fetch *fetch_object_make(struct script *script);

/* Take the first of script->free_fetches, for what fetch_start() has begun with it as arg. It ends with coro; one that
 * a task begins, with whoever the task ends with. Those of that one that are lost end now. */
void fetch_object_begin(struct script_fetch *fetch, struct coro *coro);

/* For fetch_start(). */
void fetch_object_on_event(struct fetch *fetch, enum fetch_event event, void *arg);

/* What the number or the object at index 1 stands for, or NULL if that has ended. Raises for anything else. */
struct script_fetch *fetch_object_check(lua_State *L);

/* Wait until one of awaited has come: what a C function returns that has called coro_check_waiting(). The coroutine is
 * resumed with true, or with false when nobody wants to know any more. */
int fetch_object_wait(lua_State *L, struct coro *coro, struct script_fetch *fetch, unsigned awaited);

/* Close it. A coroutine that waits for it is resumed soon. */
void fetch_object_end(struct script_fetch *fetch);

/* Free those of a script whose Lua state is closed. */
void fetch_object_free_all(struct script *script);

/* Make the metatable of the objects. May raise (memory). */
void fetch_object_bind(lua_State *L);

#endif
