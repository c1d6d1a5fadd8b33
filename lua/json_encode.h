#ifndef EVSERVE_LUA_JSON_ENCODE_H
#define EVSERVE_LUA_JSON_ENCODE_H

#include "lua/state.h"

/* Append the JSON text of the value at index to out. Raises an error that says which value has no JSON. */
void json_encode(lua_State *L, int index, struct write_buffer *out);

#endif
