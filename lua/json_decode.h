#ifndef EVSERVE_LUA_JSON_DECODE_H
#define EVSERVE_LUA_JSON_DECODE_H

#include "lua/state.h"

/* What becomes of integers that a number of Lua may not hold exactly: those beyond 2^53. */
enum json_int64 {
    JSON_INT64_NUMBER, /* the nearest number */
    JSON_INT64_CDATA,  /* int64_t or uint64_t; those beyond 64 bits are numbers */
    JSON_INT64_TEXT,   /* text, whatever their length */
};

/* Read a JSON text, all of it. Pushes the value and returns 1, or pushes nil and a text and returns 2. scratch is
 * overwritten. Raises only for memory and at the deadline of the run. The text must stay where it is. For
 * JSON_INT64_CDATA, cdata_load() comes first. */
int json_decode(lua_State *L, const char *text, size_t len, enum json_int64 int64, struct write_buffer *scratch);

#endif
