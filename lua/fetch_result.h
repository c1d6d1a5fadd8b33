#ifndef EVSERVE_LUA_FETCH_RESULT_H
#define EVSERVE_LUA_FETCH_RESULT_H

/* What app.fetch returns. */

#include "http/client/fetch.h"
#include "lua/state.h"

/* Push the response as a table: status, reason, headers, url, redirects, and body, unless that is streamed. May raise
 * (memory). */
void fetch_result_push(lua_State *L, const struct fetch_response *response);

/* Push nil, the text and the name of the kind of a failure. Returns 3. May raise (memory). */
int fetch_result_push_failure(lua_State *L, enum fetch_kind kind, const char *text);

#endif
