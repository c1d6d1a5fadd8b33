#include "lua/fetch_result.h"

#include "core/ascii.h"
#include "lua/script_error.h"

enum { FIELD_NAME_SHORT = 64 }; /* bytes of a name that is made lower-case on the stack */

/* Push the name in lower case. */
static void push_fetched_name(lua_State *L, const struct fetch_field *field)
{
    char few[FIELD_NAME_SHORT];
    char *name = field->name_len <= sizeof few ? few : lua_newuserdata(L, field->name_len);
    for (size_t i = 0; i < field->name_len; i++) {
        name[i] = ascii_lower(field->name[i]);
    }
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
    lua_pushlstring(L, field->value, field->value_len);
    if (ascii_is(field->name, field->name_len, "set-cookie")) {
        add_to_list(L);
    } else if (lua_isnil(L, -2)) {
        lua_remove(L, -2);
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

void fetch_result_push(lua_State *L, const struct fetch_response *response)
{
    const struct script *script = script_of(L);
    luaL_checkstack(L, 8, "app.fetch");
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, response->status);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, response->reason);
    lua_setfield(L, -2, "reason");
    lua_createtable(L, 0, (int)response->field_count);
    for (size_t i = 0; i < response->field_count; i++) {
        if (!response->is_decoded || !is_about_coding(&response->fields[i])) {
            push_fetched_field(L, &response->fields[i]);
        }
    }
    script_push_ref(script, L, REF_HEADERS_META);
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "headers");
    lua_pushstring(L, response->url);
    lua_setfield(L, -2, "url");
    lua_pushinteger(L, (lua_Integer)response->redirects);
    lua_setfield(L, -2, "redirects");
    if (response->body != NULL) {
        lua_pushlstring(L, response->body, response->body_len);
        lua_setfield(L, -2, "body");
    }
    script_push_ref(script, L, REF_FETCHED_META);
    lua_setmetatable(L, -2);
}

int fetch_result_push_failure(lua_State *L, enum fetch_kind kind, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, fetch_kind_name(kind));
    return 3;
}
