#include "lua/fetch_result.h"

#include "core/ascii.h"
#include "lua/script_error.h"

enum { FIELD_NAME_SHORT = 64 }; /* bytes of a name that is made lower-case on the stack */

/* Push the name in lower case. */
static void push_fetched_name(lua_State *L, const struct fetch_field *field)
{
    char few[FIELD_NAME_SHORT];
    char *name = field->name_len <= sizeof few ? few : lua_newuserdata(L, field->name_len);
    ascii_copy_lower(name, field->name, field->name_len);
    lua_pushlstring(L, name, field->name_len);
    if (name != few) {
        lua_remove(L, -2);
    }
}

/* Set-Cookie is the field whose values cannot be joined (RFC 9110 section 5.3): they are a list, even if there is one.
 * The value to add lies on top of the stack, below it what there is, and then the name and the table. */
static void add_to_list(lua_State *L)
{
    if (lua_isnil(L, -2)) {
        lua_createtable(L, 1, 0);
        lua_replace(L, -3);
    }
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* Add a field to the table on top of the stack. */
static void push_fetched_field(lua_State *L, const struct fetch_field *field)
{
    push_fetched_name(L, field);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    bool is_list = ascii_is(field->name, field->name_len, "set-cookie");
    if (!is_list && lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, field->value, field->value_len);
        lua_rawset(L, -3);
        return;
    }
    lua_pushlstring(L, field->value, field->value_len);
    if (is_list) {
        add_to_list(L);
    } else {
        lua_pushliteral(L, ", ");
        lua_insert(L, -2);
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

/* Of a body that came as gzip, these are about what lay on the wire. */
static bool is_about_coding(const struct fetch_field *field)
{
    return ascii_is(field->name, field->name_len, "content-encoding") ||
           ascii_is(field->name, field->name_len, "content-length");
}

int fetch_result_push(lua_State *L, const struct fetch_response *response)
{
    luaL_checkstack(L, 12, "app.fetch");
    lua_pushinteger(L, response->status);
    lua_pushstring(L, response->reason);
    lua_createtable(L, 0, (int)response->field_count);
    for (size_t i = 0; i < response->field_count; i++) {
        if (!response->is_decoded || !is_about_coding(&response->fields[i])) {
            push_fetched_field(L, &response->fields[i]);
        }
    }
    script_push_ref(script_of(L), L, REF_HEADERS_META);
    lua_setmetatable(L, -2);
    lua_pushstring(L, response->url);
    lua_pushinteger(L, (lua_Integer)response->redirects);
    if (response->body != NULL) {
        lua_pushlstring(L, response->body, response->body_len);
    } else {
        lua_pushnil(L);
    }
    return 6;
}

int fetch_result_push_failure(lua_State *L, enum fetch_kind kind, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, fetch_kind_name(kind));
    return 3;
}
