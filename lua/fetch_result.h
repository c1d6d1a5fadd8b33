#ifndef EVSERVE_LUA_FETCH_RESULT_H
#define EVSERVE_LUA_FETCH_RESULT_H

/* What app.fetch returns; prelude_fetch.lua makes a table of it. */

#include "http/client/fetch.h"
#include "lua/state.h"

/* Push the parts of the response: status, reason, headers (a table), url, redirects, and the body, which is nil if it
 * is streamed. Returns 6. May raise (memory). */
int fetch_result_push(lua_State *L, const struct fetch_response *response);

/* Push nil, the text and the name of the kind of a failure. Returns 3. May raise (memory). */
int fetch_result_push_failure(lua_State *L, enum fetch_kind kind, const char *text);

#endif
