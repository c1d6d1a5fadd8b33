#ifndef EVSERVE_LUA_BIND_STREAM_H
#define EVSERVE_LUA_BIND_STREAM_H

/* The object that a stream function writes to. */

#include "lua/state.h"

struct coro;

/* The running coroutine has a stream as its response, of which no byte exists yet. Push the object that the stream
 * function gets, and return true; or return false when there is nothing to write, and the response is complete. length
 * is that of the content, or RESPONSE_LENGTH_UNKNOWN; type as in response_begin(), static text. May raise (memory). */
bool stream_open(lua_State *L, struct coro *coro, int status, const char *type, int64_t length);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_stream(lua_State *L);

#endif
