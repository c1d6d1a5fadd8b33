#ifndef EVSERVE_LUA_FOLDERS_H
#define EVSERVE_LUA_FOLDERS_H

/* Files and folders of a script: where its require looks, and why a file cannot be read. */

#include "lua/state.h"

#include <limits.h>

/* The folder that a script lies in. */
void script_folder(const struct script *script, char folder[PATH_MAX]);

/* Call fn with the script's folder and each directory that package.path and package.cpath name, except those relative
 * to the working directory, until it returns other than 0. Returns that, or 0. */
int folders_each(struct script *script, int (*fn)(void *arg, const char *folder), void *arg);

/* Whether the file at path is in memory, and comes before one on disk. */
bool script_has_packed(const struct script *script, const char *path);

/* Append the content of a file, of at most SCRIPT_BYTES_MAX bytes, from memory or from disk. Returns as
 * file_text_read(). */
int script_read_file(const struct script *script, const char *path, struct write_buffer *text);

/* What to say of a file that could not be opened: error is what sys_open() returned. */
const char *script_open_error(const char *path, int error);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_folders(lua_State *L);

#endif
