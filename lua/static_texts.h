#ifndef EVSERVE_LUA_STATIC_TEXTS_H
#define EVSERVE_LUA_STATIC_TEXTS_H

/* The files in memory of app.static: { ["/index.html"] = text, ["/x.png"] = { text, type = "image/png" } }. */

#include "http/assets.h"
#include "lua/state.h"

struct packed_file;

enum { STATIC_TEXTS_MAX = 4096 }; /* files in one table */

/* Read the table at index (a positive one). Pushes a userdata with the array, which it returns, and sets *count. The
 * array and the texts, which are not copied, are valid while both values are on the stack and the table stays as it is.
 * Raises an error that names the file; what is "app.static". */
const struct asset *static_texts_read(lua_State *L, int index, const char *what, size_t *count);

/* Make the assets of files in memory below a folder, whose name has skip bytes. Pushes a userdata with the array, which
 * it returns: count of them. Raises if memory is full. */
const struct asset *static_packed_read(lua_State *L, const struct packed_file *files, size_t count, size_t skip);

#endif
