/* Left out are the method, which is GET, a path that is the same as the target, and tables that would be empty: they
 * are made when they are asked for. Header fields that only the handshake needs are gone for good. */

#include "lua/websocket_fields.h"

#include "lua/bind_request.h"
#include "lua/request_fields.h"

#include <string.h>

/* Whether a header field is about the handshake alone. */
static bool is_handshake_field(const char *name)
{
    static const char *const names[] = {"connection", "upgrade", "sec-websocket-key", "sec-websocket-version",
                                        "sec-websocket-extensions"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Replace the table of header fields on top of the stack by one without those. */
static void drop_handshake_fields(lua_State *L)
{
    int headers = lua_gettop(L);
    int count = 0;
    for (lua_pushnil(L); lua_next(L, headers) != 0; lua_pop(L, 1)) {
        count += lua_type(L, -2) == LUA_TSTRING && !is_handshake_field(lua_tostring(L, -2));
    }
    lua_createtable(L, 0, count);
    for (lua_pushnil(L); lua_next(L, headers) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        if (lua_type(L, -2) != LUA_TSTRING || is_handshake_field(lua_tostring(L, -2))) {
            lua_pop(L, 2);
        } else {
            lua_rawset(L, headers + 1);
        }
    }
    if (lua_getmetatable(L, headers)) {
        lua_setmetatable(L, -2);
    }
    lua_replace(L, headers);
}

/* Whether the value on top of the stack is worth keeping as that field of the request, whose target lies at index 2. */
static bool is_worth_keeping(lua_State *L, enum request_field field)
{
    if (field == REQUEST_METHOD || lua_isnil(L, -1)) {
        return false;
    }
    if (field == REQUEST_PATH) {
        return lua_rawequal(L, -1, 2) == 0;
    }
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        if (lua_next(L, -2) == 0) {
            return false;
        }
        lua_pop(L, 2);
    }
    return true;
}

static int push_lasting_fields(lua_State *L)
{
    lua_settop(L, 0);
    struct exchange *exchange = request_push_current(L);
    struct request *request = lua_touserdata(L, 1);
    if (exchange == NULL) {
        request_raise_over(L, "app.websocket");
    }
    request_push_field(L, exchange, REQUEST_TARGET);
    for (enum request_field field = REQUEST_METHOD; field < REQUEST_BODY; field++) {
        lua_settop(L, 2);
        lua_pushstring(L, request_field_name(field));
        request_push_kept(L, request, 3);
        if (!lua_isnil(L, -1)) {
            continue;
        }
        request_push_field(L, exchange, field);
        if (field == REQUEST_HEADERS) {
            drop_handshake_fields(L);
        }
        if (is_worth_keeping(L, field)) {
            request_keep(L, request, 3);
        }
    }
    lua_getfenv(L, 1);
    return 1;
}

void websocket_push_fields(lua_State *L)
{
    lua_pushcfunction(L, push_lasting_fields);
    lua_call(L, 0, 1);
}

void websocket_push_absent(lua_State *L, int fields, int name)
{
    static const enum request_field tables[] = {REQUEST_PARAMS, REQUEST_QUERY, REQUEST_HEADERS, REQUEST_COOKIES};
    const char *text = lua_type(L, name) == LUA_TSTRING ? lua_tostring(L, name) : "";
    if (strcmp(text, request_field_name(REQUEST_METHOD)) == 0) {
        lua_pushliteral(L, "GET");
        return;
    }
    if (strcmp(text, request_field_name(REQUEST_PATH)) == 0) {
        lua_pushstring(L, request_field_name(REQUEST_TARGET));
        lua_rawget(L, fields);
        return;
    }
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(text, request_field_name(tables[i])) == 0) {
            lua_newtable(L);
            lua_pushvalue(L, name);
            lua_pushvalue(L, -2);
            lua_rawset(L, fields);
            return;
        }
    }
    lua_pushnil(L);
}
