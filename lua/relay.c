/* Waiting inside coroutines that the script makes itself.
 *
 * Happy path: a function that would wait there yields itself and its arguments to who resumed the coroutine, behind
 * REF_RELAY. That is coroutine.resume or coroutine.wrap of the prelude, which calls the function outside, where it can
 * wait, and resumes the coroutine with what it returned.
 *
 * Failure modes: outside may be another coroutine of the script's: then the same happens again. An error outside comes
 * back as false and its value, since a C function cannot raise behind its yield: the function of the prelude that has
 * called it does. out:write is called by no such function. It does all that may fail inside, and relays the wait alone,
 * so that the script gets false and an error only where no outer coroutine can wait. */

#include "lua/relay.h"

#include "lua/coro_pool.h"

bool relay_is_needed(lua_State *L)
{
    const struct script *script = script_of(L);
    return script->phase == SCRIPT_READY && script->running != NULL && script->running->L != L && lua_isyieldable(L);
}

int relay_call(lua_State *L)
{
    lua_Debug frame;
    int count = lua_gettop(L);
    luaL_checkstack(L, 2, "too many arguments");
    lua_getstack(L, 0, &frame);
    lua_getinfo(L, "f", &frame);
    lua_insert(L, 1);
    script_push_ref(script_of(L), L, REF_RELAY);
    lua_insert(L, 1);
    return lua_yield(L, count + 2);
}

int relay_to(lua_State *L, lua_CFunction fn)
{
    script_push_ref(script_of(L), L, REF_RELAY);
    lua_pushcfunction(L, fn);
    return lua_yield(L, 2);
}
