#ifndef EVSERVE_LUA_BIND_PUBLISH_H
#define EVSERVE_LUA_BIND_PUBLISH_H

/* app.publish. */

#include "lua/state.h"

struct write_buffer;

/* The bytes of the value at index that is to be sent: of a text, a number, or a table as JSON. The latter lends the
 * scratch buffer to *json, which is NULL otherwise; the caller returns it. Raises for anything else; what is "ws:send".
 */
const char *publish_check_data(lua_State *L, int index, const char *what, struct write_buffer **json, size_t *len);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_publish(lua_State *L);

#endif
