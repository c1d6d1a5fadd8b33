/* The C stack under Lua code.
 *
 * Lua calls Lua without it, but some functions of C call Lua back: string.gsub (8 KiB each), coroutine.resume,
 * table.sort, require, and C functions of ours that call a __tostring. A script that recurses through one of them would
 * run into the end of the stack, which is SIGSEGV.
 *
 * Happy path: each of them compares the address of its frame with that of the stack's end, which was found when Lua
 * code was entered; on the same stack as before that is a comparison, too.
 *
 * Failure modes: too little is left: "stack overflow", an error like any other. What nobody can stand before (a
 * __tostring that string.format calls, a C module, ffi callbacks) is seen by the count hook (deadline.c), which looks
 * every 1,000 instructions: the reserve is larger than what they can take until then. */

#include "lua/stack_guard.h"

#include "lua/script_error.h"

enum {
    RESERVE_BYTES = 192 << 10, /* left for what C does where it is not guarded, and until the hook looks again */
    PARSER_BYTES = 160 << 10,  /* and what the parser takes in addition: functions in functions, 200 deep */
};

static bool is_short(const struct script *script, size_t wanted)
{
    return stack_here() - script->stack.low < wanted;
}

static _Noreturn void raise_overflow(lua_State *L, const char *what)
{
    const struct stack *stack = &script_of(L)->stack;
    script_raise(L, "stack overflow (%s: too little is left of the %zu KiB of C stack)", what,
                 (size_t)(stack->high - stack->low) / 1024);
}

void script_check_stack(lua_State *L, const char *what)
{
    if (is_short(script_of(L), RESERVE_BYTES)) {
        raise_overflow(L, what);
    }
}

/* The guards. Each leaves its arguments to the function behind it, which finds the same frame, name and place. */

static int guard(lua_State *L, enum guarded_function function, const char *what, size_t wanted)
{
    const struct script *script = script_of(L);
    if (is_short(script, wanted)) {
        raise_overflow(L, what);
    }
    return script->guarded[function](L);
}

static int guard_gsub(lua_State *L)
{
    return guard(L, GUARDED_GSUB, "string.gsub", RESERVE_BYTES);
}

static int guard_sort(lua_State *L)
{
    return guard(L, GUARDED_SORT, "table.sort", RESERVE_BYTES);
}

static int guard_load(lua_State *L)
{
    return guard(L, GUARDED_LOAD, "load", RESERVE_BYTES + PARSER_BYTES);
}

static int guard_loadstring(lua_State *L)
{
    return guard(L, GUARDED_LOADSTRING, "loadstring", RESERVE_BYTES + PARSER_BYTES);
}

static int guard_require(lua_State *L)
{
    return guard(L, GUARDED_REQUIRE, "require", RESERVE_BYTES);
}

/* check_stack(what). */
static int lua_check_stack(lua_State *L)
{
    script_check_stack(L, luaL_checkstring(L, 1));
    return 0;
}

lua_CFunction script_replace_function(lua_State *L, const char *table, const char *name, lua_CFunction by)
{
    int top = lua_gettop(L);
    if (table == NULL) {
        lua_pushvalue(L, LUA_GLOBALSINDEX);
    } else {
        lua_getglobal(L, table);
    }
    lua_getfield(L, -1, name);
    lua_CFunction replaced = lua_tocfunction(L, -1);
    if (replaced != NULL) {
        lua_pushcfunction(L, by);
        lua_getfenv(L, -2); /* where require finds its loaders */
        lua_setfenv(L, -2);
        lua_setfield(L, top + 1, name);
    }
    lua_settop(L, top);
    return replaced;
}

void bind_stack_guard(lua_State *L)
{
    static const struct {
        const char *table; /* where it is found, a global; NULL: it is one itself */
        const char *name;  /* in there */
        lua_CFunction guard;
    } guards[GUARDED_COUNT] = {
        [GUARDED_GSUB] = {"string", "gsub", guard_gsub},
        [GUARDED_SORT] = {"table", "sort", guard_sort},
        [GUARDED_LOAD] = {NULL, "load", guard_load},
        [GUARDED_LOADSTRING] = {NULL, "loadstring", guard_loadstring},
        [GUARDED_REQUIRE] = {NULL, "require", guard_require},
    };
    struct script *script = script_of(L);
    for (int i = 0; i < GUARDED_COUNT; i++) {
        script->guarded[i] = script_replace_function(L, guards[i].table, guards[i].name, guards[i].guard);
    }
    static const luaL_Reg functions[] = {
        {"check_stack", lua_check_stack},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
