#ifndef EVSERVE_LUA_STORE_OBJECT_H
#define EVSERVE_LUA_STORE_OBJECT_H

/* Store objects: what app.store() returns, in a script and in a worker. They hold an index into the scope of their
 * state, which each method knows. */

#include "lua/store_scope.h"

/* Push a function open(what, name, options), which returns a store object: "app.store", the name, and a table of
 * options or nil. scope must outlive the state. May raise (memory). */
void store_object_push_open(lua_State *L, struct store_scope *scope);

#endif
