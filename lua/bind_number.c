/* Numbers as text, wherever the server makes one of them: 1764448000000000, where Lua's tostring() has 1.764448e+15. */

#include "lua/bind_number.h"

#include "http/number.h"

void script_number_to_text(lua_State *L, int index)
{
    char text[NUMBER_TEXT_MAX];
    index = index < 0 ? lua_gettop(L) + index + 1 : index;
    lua_pushlstring(L, text, number_format(text, lua_tonumber(L, index)));
    lua_replace(L, index);
}

/* number_text(number). */
static int number_text(lua_State *L)
{
    lua_settop(L, 1);
    script_number_to_text(L, 1);
    return 1;
}

void bind_number(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"number_text", number_text},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
