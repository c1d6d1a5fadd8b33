/* Errors that say where they happened.
 *
 * Happy path: a function that Lua has called raises with script_raise(), which puts the place in front. What ends in
 * the main thread comes through the message handler script_message_handler(), while the stack still shows where it
 * was, and then as one line to whoever asked (script_describe_error()).
 *
 * Failure modes: an error value may be anything, a table with a __tostring that fails among them; then its type is
 * told. */

#include "lua/script_error.h"

#include "core/log.h"
#include "lua/coro.h"
#include "lua/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void script_place(lua_State *L, char place[PLACE_MAX])
{
    lua_Debug frame;
    for (int level = 0; lua_getstack(L, level, &frame) != 0; level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.source[0] == '@' && frame.currentline > 0) {
            snprintf(place, PLACE_MAX, "%s:%d", frame.source + 1, frame.currentline);
            return;
        }
    }
    const struct script *script = script_of(L);
    bool has_route = script->running != NULL && script->running->route != NULL;
    snprintf(place, PLACE_MAX, "%s", has_route ? script->running->route->place : script_path(script));
}

void script_raise_top(lua_State *L)
{
    lua_error(L); /* <lua.h> does not say that it never returns */
    __builtin_unreachable();
}

void script_raise(lua_State *L, const char *format, ...)
{
    char place[PLACE_MAX];
    char text[SCRIPT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    script_place(L, place);
    lua_pushfstring(L, "%s: %s", place, text);
    script_raise_top(L);
}

void script_raise_answer(lua_State *L, int status, const char *format, ...)
{
    char text[SCRIPT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    lua_pushfstring(L, "%s\n", text);
    lua_setfield(L, -2, "body");
    script_push_ref(script_of(L), L, REF_RAISED_META);
    lua_setmetatable(L, -2);
    script_raise_top(L);
}

void script_raise_memory(lua_State *L)
{
    lua_pushliteral(L, "not enough memory");
    script_raise_top(L);
}

void script_check_loading(lua_State *L, const char *what)
{
    if (script_of(L)->phase != SCRIPT_LOADING) {
        script_raise(L, "%s works only while the script starts", what);
    }
}

/* Whether text begins with "file:12:". */
static bool has_place(const char *text)
{
    size_t digits = 0;
    const char *colon = strchr(text, ':');
    if (colon != NULL) {
        digits = strspn(colon + 1, "0123456789");
    }
    return digits > 0 && colon[1 + digits] == ':';
}

/* Lua shortens long file names to "...the/end/of/site.lua". The script's own can be made whole again. */
static const char *skip_shortened_path(const struct script *script, const char *text)
{
    const char *path = script_path(script);
    const char *colon = strchr(text, ':');
    if (strncmp(text, "...", 3) != 0 || colon == NULL) {
        return NULL;
    }
    size_t tail = (size_t)(colon - text) - 3;
    size_t len = strlen(path);
    return tail <= len && memcmp(path + len - tail, text + 3, tail) == 0 ? colon : NULL;
}

/* Make one line of a text: what follows "module 'x' not found:" are all the places where it was looked for. */
static void join_lines(char *text)
{
    char *found = strstr(text, "' not found:\n");
    if (found != NULL) {
        found[strlen("' not found")] = '\0';
    }
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        bool is_space = *in == '\n' || *in == '\t';
        if (!is_space) {
            *out++ = *in;
        } else if (out > text && out[-1] != ' ') {
            *out++ = ' ';
        }
    }
    *out = '\0';
}

int script_message_handler(lua_State *L)
{
    char place[PLACE_MAX];
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        bool is_told = luaL_getmetafield(L, 1, "__tostring") != 0;
        if (is_told) {
            lua_pushvalue(L, 1);
            is_told = lua_pcall(L, 1, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING;
        }
        if (!is_told) {
            lua_pushfstring(L, "the error is a %s", luaL_typename(L, 1));
        }
    } else if (has_place(lua_tostring(L, 1))) {
        return 1;
    }
    script_place(L, place);
    lua_pushfstring(L, "%s: %s", place, lua_tostring(L, -1));
    return 1;
}

int script_describe_error(const struct script *script, int result, char *err, size_t errlen)
{
    lua_State *L = script->L;
    if (lua_type(L, -1) == LUA_TSTRING) {
        const char *text = lua_tostring(L, -1);
        const char *rest = skip_shortened_path(script, text);
        if (rest != NULL) {
            error_text(err, errlen, 0, "%s%s", script_path(script), rest);
        } else {
            error_text(err, errlen, 0, "%s%s%s", has_place(text) ? "" : script_path(script),
                       has_place(text) ? "" : ": ", text);
        }
    } else {
        error_text(err, errlen, 0, "%s: the error is a %s", script_path(script), luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    if (errlen > 0) {
        join_lines(err);
    }
    return result;
}
