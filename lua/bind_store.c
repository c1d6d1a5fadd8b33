/* The stores of a script: its scope is that of its Lua state, and a copy that takes long is subject to handler_cpu. */

#include "lua/bind_store.h"

#include "core/store.h"
#include "lua/bind_prelude.h"
#include "lua/deadline.h"
#include "lua/prelude.h"
#include "lua/script_error.h"
#include "lua/store_call.h"
#include "lua/store_object.h"

#include <errno.h>

void bind_store_init(struct script *script, struct stores *stores)
{
    store_scope_init(&script->store_scope, stores, script_raise);
    script->store_scope.rules.look = deadline_check;
}

/* For compiled code: store_add() to a key that need not be there. Returns 0, or less for what the method in C says. */
static int add_for_compiled(void *arg, uint32_t index, const char *key, size_t len, double number, double *sum)
{
    const struct store_scope *scope = arg;
    if (index >= scope->use_count || len == 0 || len > STORE_KEY_MAX) {
        return -EINVAL;
    }
    return store_add(scope->uses[index]->store, (struct store_key){key, len}, number, 0, 0, sum);
}

/* store_index(object): the number of a store, for add_for_compiled(). */
static int lua_store_index(lua_State *L)
{
    struct store_call call;
    store_call_check_store(&call, L, "store:incr");
    lua_pushnumber(L, ((const struct store_handle *)call.use->object)->index);
    return 1;
}

/* store_compile(core, app, shared): have store:incr compiled in routes with jit = true. */
static int lua_store_compile(lua_State *L)
{
    lua_settop(L, 3);
    prelude_run_parts(L, 1, evserve_compiled_prelude);
    return 0;
}

void bind_store(lua_State *L)
{
    struct store_scope *scope = &script_of(L)->store_scope;
    store_object_push_open(L, scope);
    lua_getupvalue(L, -1, UP_META);
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -4, "store_methods");
    lua_pop(L, 1);
    lua_setfield(L, -2, "store");
    lua_pushlightuserdata(L, scope);
    lua_setfield(L, -2, "store_scope");
    lua_pushlightuserdata(L, (void *)(uintptr_t)add_for_compiled);
    lua_setfield(L, -2, "store_adder");
    lua_pushlightuserdata(L, scope); /* UP_SCOPE */
    lua_pushcclosure(L, lua_store_index, 1);
    lua_setfield(L, -2, "store_index");
    lua_pushcfunction(L, lua_store_compile);
    lua_setfield(L, -2, "store_compile");
}
