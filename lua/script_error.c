/* Errors that say where they happened.
 *
 * Happy path: a function that Lua has called raises with script_raise(), which puts the place in front. What ends in
 * the main thread comes through the message handler script_message_handler(), while the stack still shows where it
 * was, and then as one line to whoever asked (script_describe_error()).
 *
 * Failure modes: an error value may be anything. That of a table is what its __tostring says, else some of its
 * fields. */

#include "lua/script_error.h"

#include "core/log.h"
#include "lua/bind_number.h"
#include "lua/scratch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Of an error that is a table: how many of its fields are shown, and bytes of all of them. */
enum { ERROR_FIELD_COUNT_MAX = 8, ERROR_FIELDS_MAX = 200 };

#define WORD_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* Whether the prelude has entered a handler with the call at level, of C (prelude_run.lua). A handler that ended in a
 * tail call has no frame of its own any more, and what lies below is the middleware around it. */
static bool is_entry(lua_State *L, int level, const char *name)
{
    lua_Debug caller;
    if (name == NULL || strcmp(name, "xpcall") != 0 || lua_getstack(L, level + 1, &caller) == 0) {
        return false;
    }
    lua_getinfo(L, "S", &caller);
    return strcmp(caller.source, "=evserve") == 0;
}

void script_place(lua_State *L, char place[PLACE_MAX])
{
    lua_Debug frame;
    for (int level = 0; lua_getstack(L, level, &frame) != 0; level++) {
        lua_getinfo(L, "nSl", &frame);
        if (frame.what[0] == 'C' && is_entry(L, level, frame.name)) {
            break;
        }
        if (frame.source[0] == '@' && frame.currentline > 0) {
            snprintf(place, PLACE_MAX, "%s:%d", frame.source + 1, frame.currentline);
            return;
        }
    }
    const struct script *script = script_of(L);
    snprintf(place, PLACE_MAX, "%s", script->run->place != NULL ? script->run->place : script_path(script));
}

void script_put_visible(lua_State *L, struct write_buffer *out, const char *text, size_t len,
                        enum visible_manner manner)
{
    for (size_t at = 0; at < len;) {
        char piece[VISIBLE_PIECE_MAX];
        size_t span = visible_span(text + at, len - at, manner);
        int rv = write_buffer_append(out, text + at, span, SIZE_MAX);
        at += span;
        if (rv == 0 && at < len) {
            at += visible_escape(text + at, len - at, piece);
            rv = write_buffer_append(out, piece, strlen(piece), SIZE_MAX);
        }
        if (rv < 0) {
            script_raise_memory(L);
        }
    }
}

void script_push_visible(lua_State *L, const char *text, size_t len, enum visible_manner manner)
{
    struct write_buffer *out = script_lend_scratch(L, "a text that is shown");
    script_put_visible(L, out, text, len, manner);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
}

void script_raise_top(lua_State *L)
{
    script_end_loan(script_of(L)); /* the jump goes past whoever has it */
    lua_error(L);                  /* <lua.h> does not say that it never returns */
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

const char *script_check_text(lua_State *L, int index, const char *what)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (text == NULL) {
        script_raise(L, "%s: text expected, got %s", what, luaL_typename(L, index));
    }
    if (strlen(text) != len) {
        script_raise(L, "%s: the text contains a NUL byte", what);
    }
    return text;
}

/* The length of "file:12:" at the beginning of text, 0 without. */
static size_t place_len(const char *text)
{
    const char *colon = strchr(text, ':');
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");
    return digits > 0 && colon[1 + digits] == ':' ? (size_t)(colon - text) + digits + 2 : 0;
}

static bool has_place(const char *text)
{
    return place_len(text) > 0;
}

/* Of an error that has another text than a place in front of it, such as one that went through require, the words alone
 * could be the script's own. */
bool script_is_memory_error(lua_State *L, int index, const struct run *run)
{
    static const char words[] = "not enough memory";
    size_t len;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
    if (text == NULL || len < sizeof words - 1 || strcmp(text + len - (sizeof words - 1), words) != 0) {
        return false;
    }
    size_t front = len - (sizeof words - 1);
    size_t place = place_len(text);
    return run->refused_bytes > 0 || front == 0 || (place > 0 && front == place + 1);
}

/* Lua puts the place of the calling function in front of an error of a C function. After a tail call that is the
 * prelude's. Returns what follows such a place, or NULL. */
static const char *skip_prelude_place(const char *text)
{
    size_t len = strncmp(text, "evserve:", 8) == 0 ? place_len(text) : 0;
    return len == 0 ? NULL : text + len + strspn(text + len, " ");
}

/* A short text, of at most ERROR_FIELDS_MAX bytes. */
struct short_text {
    size_t len;
    bool is_cut;
    char bytes[ERROR_FIELDS_MAX];
};

static void add_bytes(struct short_text *text, const char *bytes, size_t len)
{
    size_t room = sizeof text->bytes - text->len;
    text->is_cut = text->is_cut || len > room;
    len = len < room ? len : room;
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void add_text(struct short_text *text, const char *bytes)
{
    add_bytes(text, bytes, strlen(bytes));
}

/* Add the value on top of the stack, a key or not. */
static void add_value(lua_State *L, struct short_text *text, bool is_key)
{
    size_t len = 0;
    const char *bytes = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (bytes != NULL) {
        bool is_name = is_key && len > 0 && strspn(bytes, WORD_BYTES) == len;
        add_text(text, is_name ? "" : is_key ? "[\"" : "\"");
        add_bytes(text, bytes, len);
        add_text(text, is_name ? "" : is_key ? "\"]" : "\"");
        return;
    }
    add_text(text, is_key ? "[" : "");
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_pushvalue(L, -1); /* a key may not change its type under lua_next() */
        script_number_to_text(L, -1);
        add_text(text, lua_tostring(L, -1));
        lua_pop(L, 1);
    } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
        add_text(text, lua_toboolean(L, -1) ? "true" : "false");
    } else {
        add_text(text, luaL_typename(L, -1));
    }
    add_text(text, is_key ? "]" : "");
}

/* Push the fields of the table at index: {code = 1, "first"}. Those of its own, without metamethods. */
static void push_fields(lua_State *L, int index)
{
    struct short_text text = {.len = 0};
    int count = 0;
    add_text(&text, "{");
    for (lua_pushnil(L); !text.is_cut && lua_next(L, index) != 0; count++) {
        if (count == ERROR_FIELD_COUNT_MAX) {
            text.is_cut = true;
            lua_pop(L, 2);
            break;
        }
        add_text(&text, count > 0 ? ", " : "");
        lua_pushvalue(L, -2);
        add_value(L, &text, true);
        lua_pop(L, 1);
        add_text(&text, " = ");
        add_value(L, &text, false);
        lua_pop(L, 1);
        if (text.is_cut) {
            lua_pop(L, 1);
        }
    }
    lua_pushlstring(L, text.bytes, text.len);
    lua_pushstring(L, text.is_cut ? "...}" : "}");
    lua_concat(L, 2);
}

void script_push_error_text(lua_State *L, int index)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        return;
    }
    int top = lua_gettop(L);
    if (luaL_getmetafield(L, index, "__tostring")) {
        lua_pushvalue(L, index);
        if (lua_pcall(L, 1, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING) {
            return;
        }
    }
    lua_settop(L, top);
    if (lua_type(L, index) == LUA_TTABLE) {
        lua_pushliteral(L, "the error is a table: ");
        push_fields(L, index);
        lua_concat(L, 2);
    } else {
        lua_pushfstring(L, "the error is a %s", luaL_typename(L, index));
    }
}

void script_place_error(lua_State *L)
{
    char place[PLACE_MAX];
    const char *rest = skip_prelude_place(lua_tostring(L, -1));
    if (rest != NULL) {
        script_place(L, place);
        lua_pushfstring(L, "%s: %s", place, rest);
        lua_replace(L, -2);
    }
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
    script_push_error_text(L, 1);
    script_place_error(L);
    if (lua_type(L, 1) == LUA_TSTRING && has_place(lua_tostring(L, -1))) {
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
