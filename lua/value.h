#ifndef EVSERVE_LUA_VALUE_H
#define EVSERVE_LUA_VALUE_H

/* Copies of Lua values as bytes, which can be read into another state: what the store keeps, and what goes to a worker
 * and back. A value may be nil, a boolean, a number, a string, app.json.null, or a plain table of such values. Tables
 * made by app.json.array() stay marked; no other table may have a metatable. The keys of a table are strings, numbers
 * or booleans.
 *
 * The bytes are in the machine's order, and value_read() trusts them: see value_check(). These functions
 * know no struct script, so they work in any state. */

#include "core/write_buffer.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VALUE_DEPTH_MAX = 32,                  /* tables inside each other; also ends a table that contains itself */
    VALUE_SLOTS = 4 * VALUE_DEPTH_MAX + 8, /* Lua stack slots that these functions need: see luaL_checkstack() */
    VALUE_LOOK_BYTES = 65536,              /* bytes between two calls of look */
};

/* How a state copies values. */
struct value_rules {
    int array_meta;             /* the metatable of app.json.array() in the registry, or LUA_NOREF */
    void (*look)(lua_State *L); /* called now and then while a copy takes long; may raise. NULL: not called */
};

/* Append a copy of the value at index, so that out has at most cap bytes in all. VALUE_SLOTS must be free on the stack.
 * where names the value in errors: "argument 1". Raises only what look raises. Returns 0; -EINVAL with a text in err,
 * such as "argument 1.users[3].fn: a function cannot be copied"; -ENOBUFS: it needs more than cap; -ENOMEM. On failure,
 * out may end in a part of the copy. */
int value_write(lua_State *L, int index, const struct value_rules *rules, struct write_buffer *out, size_t cap,
                const char *where, char *err, size_t errlen);

/* Whether len bytes are the whole copy of a value, as value_write() makes them on this kind of machine: only then may
 * bytes that have been elsewhere be read. Numbers and strings in it may be any. */
bool value_check(const char *bytes, size_t len);

/* Push the value whose copy begins at bytes. VALUE_SLOTS must be free on the stack. Returns where its copy ends. May
 * raise (memory, look). */
const char *value_read(lua_State *L, const struct value_rules *rules, const char *bytes);

#endif
