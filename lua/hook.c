/* The count hook belongs to all threads of a state, and is set once and for good: deadline.c is behind it. What needs a
 * look soon does not have to know that. */

#include "lua/hook.h"

void hook_set_interval(struct script *script, int instructions)
{
    if (lua_gethookcount(script->L) != instructions) {
        lua_sethook(script->L, script->on_count, LUA_MASKCOUNT, instructions);
    }
}

void hook_look_soon(struct script *script)
{
    if (script->phase != SCRIPT_CLOSING && script->on_count != NULL) {
        hook_set_interval(script, 1);
    }
}
