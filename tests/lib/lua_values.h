#ifndef EVSERVE_TESTS_LUA_VALUES_H
#define EVSERVE_TESTS_LUA_VALUES_H

/* Lua values from text, for fuzz_lua.c: what a script might hand to our functions, rightly or not. A letter is a value:
 *
 *   n t f N         nil, true, false, JSON null           "text"    a string, up to the next quote
 *   #TEXT;          a number as strtod() has it           L D       10,000 times "x"; ten levels of tables
 *   [ values ]      a list                                { values }  a table: key, value, key, value
 *   F DIGIT         a function of the script's            A LETTER values ;   what the LETTER-th function of app gives
 *   I               a string that would be the end of a field line, and of a head, and another answer
 *
 * Everything else is skipped. */

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 200, VALUES_DEPTH_MAX = 20 };

struct lua_values {
    const char *at, *end; /* text still to be read */
    int count;            /* values pushed so far */
    int depth;            /* of tables and calls */
};

static inline int values_push(struct lua_values *values, lua_State *L, char closing);

static inline void values_push_string(struct lua_values *values, lua_State *L, char closing)
{
    const char *start = values->at;
    while (values->at < values->end && *values->at != closing) {
        values->at++;
    }
    lua_pushlstring(L, start, (size_t)(values->at - start));
    values->at += values->at < values->end ? 1 : 0;
}

static inline void values_push_number(struct lua_values *values, lua_State *L)
{
    values_push_string(values, L, ';');
    double number = strtod(lua_tostring(L, -1), NULL);
    lua_pop(L, 1);
    lua_pushnumber(L, number);
}

static inline void values_push_long(lua_State *L)
{
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (int i = 0; i < 10000; i++) {
        luaL_addchar(&buffer, 'x');
    }
    luaL_pushresult(&buffer);
}

static inline void values_push_deep(lua_State *L)
{
    lua_newtable(L);
    for (int i = 0; i < 10; i++) {
        lua_newtable(L);
        lua_insert(L, -2);
        lua_setfield(L, -2, "a");
    }
}

/* A list, or a table with what it has as key, value, key, value. */
static inline void values_push_table(struct lua_values *values, lua_State *L, bool is_list)
{
    int first = lua_gettop(L) + 1;
    int count = values_push(values, L, is_list ? ']' : '}');
    lua_newtable(L);
    for (int i = 0; i < (is_list ? count : count - 1); i += is_list ? 1 : 2) {
        bool can_be_key = is_list ||
                          (!lua_isnil(L, first + i) &&
                           !(lua_isnumber(L, first + i) && lua_tonumber(L, first + i) != lua_tonumber(L, first + i)));
        if (is_list) {
            lua_pushvalue(L, first + i);
            lua_rawseti(L, -2, i + 1);
        } else if (can_be_key) {
            lua_pushvalue(L, first + i);
            lua_pushvalue(L, first + i + 1);
            lua_rawset(L, -3);
        }
    }
    lua_replace(L, first);
    lua_settop(L, first);
}

/* The script's tables: functions to hand over, and those of app. index counts from 0 and goes round. */
static inline void values_push_function(lua_State *L, const char *table, int index)
{
    lua_getfield(L, LUA_REGISTRYINDEX, table);
    int len = (int)lua_objlen(L, -1);
    lua_rawgeti(L, -1, len == 0 ? 1 : index % len + 1);
    lua_remove(L, -2);
}

/* Call a function of app: its first result, or what it raised. */
static inline void values_push_call(struct lua_values *values, lua_State *L)
{
    int letter = values->at < values->end ? (unsigned char)*values->at++ : 'a';
    values_push_function(L, "fuzz.app", letter >= 'a' ? letter - 'a' : letter);
    int count = values_push(values, L, ';');
    lua_pcall(L, count, 1, 0);
}

/* Push all values up to closing, or to the end of the text. Returns how many. May raise (memory). */
static inline int values_push(struct lua_values *values, lua_State *L, char closing)
{
    int first = lua_gettop(L);
    values->depth++;
    luaL_checkstack(L, VALUES_MAX + 8, "values");
    while (values->at < values->end && values->count < VALUES_MAX) {
        char c = *values->at++;
        if (c == closing) {
            break;
        }
        int before = lua_gettop(L);
        if (c == 'n') {
            lua_pushnil(L);
        } else if (c == 't' || c == 'f') {
            lua_pushboolean(L, c == 't');
        } else if (c == 'N') {
            lua_pushlightuserdata(L, NULL);
        } else if (c == '"') {
            values_push_string(values, L, '"');
        } else if (c == '#') {
            values_push_number(values, L);
        } else if (c == 'L') {
            values_push_long(L);
        } else if (c == 'I') {
            lua_pushliteral(L, "a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        } else if (c == 'D') {
            values_push_deep(L);
        } else if (c == 'F' && values->at < values->end) {
            values_push_function(L, "fuzz.functions", (unsigned char)*values->at++);
        } else if ((c == '[' || c == '{') && values->depth < VALUES_DEPTH_MAX) {
            values_push_table(values, L, c == '[');
        } else if (c == 'A' && values->depth < VALUES_DEPTH_MAX) {
            values_push_call(values, L);
        }
        values->count += lua_gettop(L) - before;
    }
    values->depth--;
    return lua_gettop(L) - first;
}

#endif
