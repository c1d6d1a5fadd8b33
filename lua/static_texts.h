#ifndef EVSERVE_LUA_STATIC_TEXTS_H
#define EVSERVE_LUA_STATIC_TEXTS_H

/* The files in memory of app.static: { ["/index.html"] = text, ["/x.png"] = { text, type = "image/png" } }. */

#include "http/assets.h"
#include "lua/state.h"

enum { STATIC_TEXTS_MAX = 4096 }; /* files in one table */

/* Read the table at index (a positive one). Pushes a userdata with the array, which it returns, and sets *count. The
 * array and the texts, which are not copied, are valid while both values are on the stack and the table stays as it is.
 * Raises an error that names the file; what is "app.static". */
const struct asset *static_texts_read(lua_State *L, int index, const char *what, size_t *count);

#endif
