/* A value in Redis is text that others can read and write, too: a number is its digits, so that Redis can add to it; a
 * boolean is "true" or "false"; a string is itself, behind a '$' if it would be taken for something else; a table is a
 * copy as of value.h behind a mark, which other programs leave alone.
 *
 * Failure modes: mistakes of the script raise the errors that stores in the process raise. What comes from Redis may be
 * anything: a copy is checked before it is read. */

#include "lua/bind_redis.h"

#include "lua/bind_prelude.h"
#include "lua/bind_settings.h"
#include "lua/coro_pool.h"
#include "lua/duration.h"
#include "lua/prelude.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/store_call.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    REDIS_VALUE_MAX = 63 << 20, /* bytes of a value: the command that it is part of must fit into a socket:send() */
    REDIS_ERROR_MAX = 512,      /* bytes of an error text with its NUL */
    REDIS_TIMEOUT_ODD_MS = 100, /* a number below most likely means seconds */
};

/* What a copy begins with: this form of it, in the order of the machine. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
static const char copy_mark[] = "\1ev1";
#else
static const char copy_mark[] = "\1EV1";
#endif
enum { COPY_MARK_LEN = sizeof copy_mark - 1 };

/* Fill in a call of a method, from its name at index 1 and that of the store at index 3. */
static void begin_redis_call(struct store_call *call, struct store_use *use, lua_State *L)
{
    lua_settop(L, 4);
    *use = (struct store_use){0};
    snprintf(use->name, sizeof use->name, "%s", luaL_checkstring(L, 3));
    *call = (struct store_call){.L = L, .what = luaL_checkstring(L, 1), .scope = store_call_scope(L), .use = use};
}

/* key(what, key, store): the key as text. */
static int lua_redis_key(lua_State *L)
{
    struct store_call call;
    struct store_use use;
    begin_redis_call(&call, &use, L);
    store_call_check_key(&call);
    lua_pushlstring(L, call.key.text, call.key.len);
    return 1;
}

/* ttl(what, ttl, store, is_needed): milliseconds as text, or nil for a key that stays. */
static int lua_redis_ttl(lua_State *L)
{
    struct store_call call;
    struct store_use use;
    char text[24];
    begin_redis_call(&call, &use, L);
    int64_t ms = store_call_ttl(&call, 2, lua_toboolean(L, 4) != 0);
    if (ms == 0) {
        lua_pushnil(L);
    } else {
        const int64_t most_ms = INT64_C(1) << 52; /* a time in the future that Redis can still count */
        snprintf(text, sizeof text, "%lld", (long long)(ms < most_ms ? ms : most_ms));
        lua_pushstring(L, text);
    }
    return 1;
}

/* number(what, number, store, name): a finite number as text. */
static int lua_redis_number(lua_State *L)
{
    struct store_call call;
    struct store_use use;
    char text[NUMBER_TEXT_MAX];
    begin_redis_call(&call, &use, L);
    double number = store_call_number(&call, 2, luaL_checkstring(L, 4), 0);
    lua_pushlstring(L, text, number_format(text, number));
    return 1;
}

/* timeout(timeout): milliseconds, of an option of app.store. */
static int lua_redis_timeout(lua_State *L)
{
    lua_settop(L, 1);
    uint32_t ms = duration_check(L, 1, "app.store: timeout");
    script_warn_if_seconds(L, 1, "app.store", "timeout", ms, REDIS_TIMEOUT_ODD_MS);
    lua_pushnumber(L, ms);
    return 1;
}

/* check(what): raises where nothing can wait. */
static int lua_redis_check(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    if (!relay_is_needed(L)) {
        (void)coro_check_waiting(L, what);
    }
    return 0;
}

/* Writing values. */

/* Whether a string would be taken for something else when it comes back. */
static bool needs_mark(const char *text, size_t len)
{
    static const char *const words[] = {"true", "false", "nan", "-nan", "inf", "-inf"};
    if (len == 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0) {
            return true;
        }
    }
    return strchr("0123456789-$\1", text[0]) != NULL && text[0] != '\0';
}

static int push_redis_copy(struct store_call *call)
{
    char err[REDIS_ERROR_MAX];
    lua_State *L = call->L;
    struct write_buffer *text = &call->scope->text;
    luaL_checkstack(L, VALUE_SLOTS, "value");
    write_buffer_consume(text, SIZE_MAX);
    int rv = write_buffer_append(text, copy_mark, COPY_MARK_LEN, REDIS_VALUE_MAX);
    rv = rv < 0 ? rv : value_write(L, 2, &call->scope->rules, text, REDIS_VALUE_MAX, "value", err, sizeof err);
    if (rv == -EINVAL) {
        store_call_refuse(L, call->what, "%s: %s", call->use->name, err);
    }
    if (rv == -ENOBUFS) {
        store_call_refuse(L, call->what, "%s: the value is too large: up to %d bytes fit", call->use->name,
                          (int)REDIS_VALUE_MAX);
    }
    if (rv < 0) {
        store_call_refuse_memory(L);
    }
    lua_pushlstring(L, write_buffer_data(text), write_buffer_len(text));
    store_call_trim(call->scope);
    return 1;
}

/* value(what, value, store): its text. */
static int lua_redis_value(lua_State *L)
{
    struct store_call call;
    struct store_use use;
    char text[NUMBER_TEXT_MAX];
    begin_redis_call(&call, &use, L);
    size_t len;
    const char *string;
    switch (lua_type(L, 2)) {
    case LUA_TNUMBER:
        lua_pushlstring(L, text, number_format(text, lua_tonumber(L, 2)));
        return 1;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, 2) != 0 ? "true" : "false");
        return 1;
    case LUA_TSTRING:
        string = lua_tolstring(L, 2, &len);
        if (len > REDIS_VALUE_MAX) {
            store_call_refuse(L, call.what, "%s: the value is too large: up to %d bytes fit", use.name,
                              (int)REDIS_VALUE_MAX);
        }
        if (needs_mark(string, len)) {
            lua_pushliteral(L, "$");
            lua_pushvalue(L, 2);
            lua_concat(L, 2);
        } else {
            lua_pushvalue(L, 2);
        }
        return 1;
    case LUA_TNIL:
        store_call_refuse(L, call.what, "%s: a value expected, got nil", use.name);
    default:
        return push_redis_copy(&call);
    }
}

/* Reading values. */

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

/* Whether a text is a number of JSON's grammar, which number_parse() wants. */
static bool is_json_number(const char *at, const char *end)
{
    at += at < end && *at == '-';
    const char *whole = at;
    at = skip_digits(at, end);
    if (at == whole || (*whole == '0' && at - whole > 1)) {
        return false;
    }
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction, end);
        if (at == fraction) {
            return false;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        const char *exponent = at;
        at = skip_digits(exponent, end);
        if (at == exponent) {
            return false;
        }
    }
    return at == end;
}

/* Push what a word stands for. Returns whether it is one. */
static bool push_redis_word(lua_State *L, const char *text)
{
    static const struct {
        const char *word;
        double number;
    } numbers[] = {{"nan", NAN}, {"-nan", NAN}, {"inf", INFINITY}, {"-inf", -INFINITY}};
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        lua_pushboolean(L, text[0] == 't');
        return true;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(text, numbers[i].word) == 0) {
            lua_pushnumber(L, numbers[i].number);
            return true;
        }
    }
    return false;
}

/* read(what, text, store): the value. */
static int lua_redis_read(lua_State *L)
{
    enum { WORD_MAX = 5 };
    struct store_call call;
    struct store_use use;
    begin_redis_call(&call, &use, L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    if (len > 0 && text[0] == '$') {
        lua_pushlstring(L, text + 1, len - 1);
    } else if (is_json_number(text, text + len)) {
        lua_pushnumber(L, number_parse(text, len));
    } else if (len > 0 && text[0] == '\1') {
        bool is_copy = len > COPY_MARK_LEN && memcmp(text, copy_mark, COPY_MARK_LEN) == 0 &&
                       value_check(text + COPY_MARK_LEN, len - COPY_MARK_LEN);
        if (!is_copy) {
            store_call_refuse(L, call.what, "%s: the value in Redis is not one that this version has written",
                              use.name);
        }
        luaL_checkstack(L, VALUE_SLOTS, "value");
        value_read(L, &call.scope->rules, text + COPY_MARK_LEN);
    } else if (len > WORD_MAX || strlen(text) != len || !push_redis_word(L, text)) {
        lua_pushvalue(L, 2);
    }
    return 1;
}

/* Loading. */

/* load(core, app, shared): the function that opens a store, shared.open_in_redis. */
static int lua_redis_load(lua_State *L)
{
    lua_settop(L, 3);
    prelude_run_parts(L, 1, evserve_redis_prelude);
    lua_getfield(L, 3, "open_in_redis");
    return 1;
}

void bind_redis(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"redis_key", lua_redis_key},         {"redis_ttl", lua_redis_ttl},     {"redis_number", lua_redis_number},
        {"redis_value", lua_redis_value},     {"redis_read", lua_redis_read},   {"redis_load", lua_redis_load},
        {"redis_timeout", lua_redis_timeout}, {"redis_check", lua_redis_check}, {NULL, NULL},
    };
    lua_pushlightuserdata(L, &script_of(L)->store_scope);
    luaL_openlib(L, NULL, functions, UP_SCOPE);
}
