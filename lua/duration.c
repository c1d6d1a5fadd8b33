#include "lua/duration.h"

#include "http/limits.h"
#include "lua/script_error.h"

uint32_t duration_check(lua_State *L, int index, const char *what)
{
    uint64_t ms = 0;
    char err[128];
    if (lua_type(L, index) == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);
        if (!(number >= 0 && number <= UINT32_MAX) || number != (double)(uint32_t)number) {
            lua_pushnumber(L, number);
            script_raise(L, "%s: %s is not a whole number of milliseconds; write \"500ms\" or \"2s\"", what,
                         lua_tostring(L, -1));
        }
        return (uint32_t)number;
    }
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "%s: a duration such as \"500ms\" or \"2s\" expected, got %s", what, luaL_typename(L, index));
    }
    if (limits_parse_value(LIMIT_MS, script_check_text(L, index, what), &ms, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    if (ms > UINT32_MAX) {
        script_raise(L, "%s: \"%s\" is too long", what, lua_tostring(L, index));
    }
    return (uint32_t)ms;
}
