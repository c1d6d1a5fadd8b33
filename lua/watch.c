/* Functions of C that may take long without a large block of memory, which would be noticed (memory.c).
 *
 * Happy path: each does its work, and when its arguments were large enough to make it slow, the deadline is looked at
 * before the next instruction of Lua code. So a loop of such calls is stopped as soon as it is over its budget,
 * although there are few instructions in it.
 *
 * Failure modes: a call by itself is never stopped, because nothing can look inside. The log has a line of a run that
 * took too long and ended all the same (coro.c). */

#include "lua/watch.h"

#include "lua/hook.h"
#include "lua/script_error.h"
#include "lua/stack_guard.h"

enum {
    LONG_TEXT = 1024,  /* bytes in which a pattern may take some time */
    LONG_LIST = 1024,  /* items whose sorting takes some time */
    LONG_REPEAT = 512, /* times that a text is repeated; the result may be one that exists, which takes no memory */
};

/* Call the function behind: it finds the same frame, name and place. */
static int call(lua_State *L, enum watched_function function, bool is_slow)
{
    struct script *script = script_of(L);
    int count = script->watched[function](L);
    if (is_slow) {
        hook_look_soon(script);
    }
    return count;
}

static bool is_long_list(lua_State *L)
{
    return lua_istable(L, 1) && lua_objlen(L, 1) >= LONG_LIST;
}

static bool is_long_text(lua_State *L)
{
    return lua_type(L, 1) == LUA_TSTRING && lua_objlen(L, 1) >= LONG_TEXT;
}

static int watch_find(lua_State *L)
{
    return call(L, WATCHED_FIND, is_long_text(L));
}

static int watch_match(lua_State *L)
{
    return call(L, WATCHED_MATCH, is_long_text(L));
}

static int watch_gsub(lua_State *L)
{
    return call(L, WATCHED_GSUB, is_long_text(L));
}

/* The iterator of gmatch, which is the upvalue: it wants to be called as itself. Its errors are those of the pattern,
 * and have no place yet. */
static int next_match(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    int verdict = lua_pcall(L, 0, LUA_MULTRET, 0);
    if (verdict == LUA_ERRRUN) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    if (verdict != 0) {
        script_raise_top(L);
    }
    hook_look_soon(script_of(L));
    return lua_gettop(L);
}

static int watch_gmatch(lua_State *L)
{
    bool is_long = is_long_text(L);
    int count = call(L, WATCHED_GMATCH, is_long);
    if (is_long) {
        lua_pushcclosure(L, next_match, 1);
    }
    return count;
}

static int watch_rep(lua_State *L)
{
    return call(L, WATCHED_REP, lua_tonumber(L, 2) >= LONG_REPEAT);
}

static int watch_sort(lua_State *L)
{
    return call(L, WATCHED_SORT, is_long_list(L));
}

static int watch_concat(lua_State *L)
{
    return call(L, WATCHED_CONCAT, is_long_list(L));
}

static int watch_collectgarbage(lua_State *L)
{
    return call(L, WATCHED_COLLECTGARBAGE, true);
}

void bind_watch(lua_State *L)
{
    static const struct {
        const char *table; /* where it is found, a global; NULL: it is one itself */
        const char *name;  /* in there */
        lua_CFunction watch;
    } watches[WATCHED_COUNT] = {
        [WATCHED_FIND] = {"string", "find", watch_find},
        [WATCHED_MATCH] = {"string", "match", watch_match},
        [WATCHED_GMATCH] = {"string", "gmatch", watch_gmatch},
        [WATCHED_GSUB] = {"string", "gsub", watch_gsub},
        [WATCHED_REP] = {"string", "rep", watch_rep},
        [WATCHED_SORT] = {"table", "sort", watch_sort},
        [WATCHED_CONCAT] = {"table", "concat", watch_concat},
        [WATCHED_COLLECTGARBAGE] = {NULL, "collectgarbage", watch_collectgarbage},
    };
    struct script *script = script_of(L);
    for (int i = 0; i < WATCHED_COUNT; i++) {
        script->watched[i] = script_replace_function(L, watches[i].table, watches[i].name, watches[i].watch);
    }
}
