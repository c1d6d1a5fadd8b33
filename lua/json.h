#ifndef EVSERVE_LUA_JSON_H
#define EVSERVE_LUA_JSON_H

/* JSON (RFC 8259) of Lua values, strict in what it reads. lua/README.md tells how values correspond. */

#include "core/write_buffer.h"

#include <lua.h>
#include <stddef.h>

enum {
    JSON_DEPTH_MAX = 128,    /* arrays and objects inside each other; also ends a table that contains itself */
    JSON_TEXT_MAX = 1 << 30, /* bytes of an encoded text; nor more than lua_memory */
    JSON_LOOK = 1024,        /* values between two looks at the deadline of the run */
    JSON_LOOK_BYTES = 65536, /* bytes of text between two looks, when there are fewer values in them */
};

/* Append the JSON text of the value at index to out. Raises an error that says which value has no JSON. */
void json_encode(lua_State *L, int index, struct write_buffer *out);

/* Read a JSON text, all of it. Pushes the value and returns 1, or pushes nil and a text and returns 2. scratch is
 * overwritten. Raises only for memory and at the deadline of the run. The text must stay where it is. */
int json_decode(lua_State *L, const char *text, size_t len, struct write_buffer *scratch);

#endif
