#ifndef EVSERVE_LUA_JSON_DECODE_H
#define EVSERVE_LUA_JSON_DECODE_H

#include "lua/state.h"

/* Read a JSON text, all of it. Pushes the value and returns 1, or pushes nil and a text and returns 2. scratch is
 * overwritten. Raises only for memory and at the deadline of the run. The text must stay where it is. */
int json_decode(lua_State *L, const char *text, size_t len, struct write_buffer *scratch);

#endif
