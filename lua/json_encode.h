#ifndef EVSERVE_LUA_JSON_ENCODE_H
#define EVSERVE_LUA_JSON_ENCODE_H

#include "lua/state.h"

enum { JSON_INDENT_MAX = 8 }; /* spaces a level */

/* How the text looks. */
struct json_style {
    unsigned indent; /* spaces that a level of nesting is indented by, each item on a line; 0: all in one line */
    bool is_sorted;  /* the fields of objects come in the order of the bytes of their names */
};

/* Append the JSON text of the value at index to out. Raises an error that says which value has no JSON. */
void json_encode(lua_State *L, int index, struct write_buffer *out);

/* The same in a style. */
void json_encode_styled(lua_State *L, int index, const struct json_style *style, struct write_buffer *out);

#endif
