/* The stores of a script: its scope is that of its Lua state, and a copy that takes long is subject to handler_cpu. */

#include "lua/bind_store.h"

#include "lua/deadline.h"
#include "lua/script_error.h"
#include "lua/store_object.h"

void bind_store_init(struct script *script, struct stores *stores)
{
    store_scope_init(&script->store_scope, stores, script_raise);
    script->store_scope.rules.look = deadline_check;
}

void bind_store(lua_State *L)
{
    store_object_push_open(L, &script_of(L)->store_scope);
    lua_setfield(L, -2, "store");
}
