#include "lua/store_call.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    STORE_ERROR_MAX = 1024,  /* bytes of an error text with its NUL */
    TEXT_KEEP_BYTES = 65536, /* a scope's buffer that grew beyond this is freed after its use */
};

void store_call_trim(struct store_scope *scope)
{
    if (scope->text.capacity > TEXT_KEEP_BYTES) {
        write_buffer_done(&scope->text);
    }
}

void store_call_refuse(lua_State *L, const char *what, const char *format, ...)
{
    char text[STORE_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    store_call_trim(store_call_scope(L));
    store_call_scope(L)->raise(L, "%s: %s", what, text);
    __builtin_unreachable(); /* it has raised */
}

void store_call_refuse_memory(lua_State *L)
{
    store_call_trim(store_call_scope(L));
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
    __builtin_unreachable(); /* <lua.h> does not say that it never returns */
}

/* Arguments. */

void store_call_check_store(struct store_call *call, lua_State *L, const char *what)
{
    call->L = L;
    call->what = what;
    call->scope = store_call_scope(L);
    const struct store_handle *handle = lua_touserdata(L, 1);
    bool may_be = handle != NULL && lua_type(L, 1) == LUA_TUSERDATA && lua_objlen(L, 1) == sizeof *handle &&
                  handle->index < call->scope->use_count;
    call->use = may_be ? call->scope->uses[handle->index] : NULL;
    if (call->use == NULL || call->use->object != handle) {
        store_call_refuse(L, what, "call it as a method, with a colon");
    }
}

void store_call_check_key(struct store_call *call)
{
    lua_State *L = call->L;
    int type = lua_type(L, 2);
    if (type == LUA_TNUMBER) {
        call->key = (struct store_key){call->key_text, number_format(call->key_text, lua_tonumber(L, 2))};
        return;
    }
    if (type != LUA_TSTRING) {
        store_call_refuse(L, call->what, "%s: text expected as the key, got %s", call->use->name, luaL_typename(L, 2));
    }
    call->key.text = lua_tolstring(L, 2, &call->key.len);
    if (call->key.len == 0 || call->key.len > STORE_KEY_MAX) {
        store_call_refuse(L, call->what, "%s: a key of 1 to %d bytes expected, got %lu", call->use->name,
                          (int)STORE_KEY_MAX, (unsigned long)call->key.len);
    }
}

void store_call_begin(struct store_call *call, lua_State *L, const char *what)
{
    store_call_check_store(call, L, what);
    store_call_check_key(call);
}

/* Refuse an amount. */
_Noreturn static void refuse_amount(lua_State *L, const struct store_amount *amount, const char *why)
{
    bool has_store = amount->store != NULL;
    store_call_refuse(L, amount->what, "%s%s%s: %s", has_store ? amount->store : "", has_store ? ": " : "",
                      amount->name, why);
}

uint64_t store_call_amount(lua_State *L, int index, const struct store_amount *amount)
{
    uint64_t value = 0;
    char err[STORE_ERROR_MAX];
    if (lua_type(L, index) == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);
        if (!(number >= 0 && number < 9007199254740992.0) || (double)(uint64_t)number < number) {
            char text[NUMBER_TEXT_MAX];
            snprintf(err, sizeof err, "%.*s is not a whole number; write %s", (int)number_format(text, number), text,
                     amount->example);
            refuse_amount(L, amount, err);
        }
        return (uint64_t)number;
    }
    if (lua_type(L, index) != LUA_TSTRING) {
        snprintf(err, sizeof err, "%s expected, got %s", amount->example, luaL_typename(L, index));
        refuse_amount(L, amount, err);
    }
    const char *text = lua_tostring(L, index);
    if (strlen(text) != lua_objlen(L, index)) {
        refuse_amount(L, amount, "the text contains a NUL byte");
    }
    if (limits_parse_value(amount->unit, text, &value, err, sizeof err) < 0) {
        refuse_amount(L, amount, err);
    }
    return value;
}

int64_t store_call_ttl(const struct store_call *call, int index, bool is_needed)
{
    lua_State *L = call->L;
    if (!is_needed && lua_isnoneornil(L, index)) {
        return 0;
    }
    if (!is_needed && lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) >= (double)INFINITY) {
        return 0;
    }
    const struct store_amount amount = {call->what, call->use->name, "ttl", "a duration such as \"30s\"", LIMIT_MS};
    uint64_t ms = store_call_amount(L, index, &amount);
    if (ms == 0) {
        refuse_amount(L, &amount,
                      is_needed ? "at least a millisecond expected, got 0"
                                : "at least a millisecond expected, got 0; leave it out for a key that stays");
    }
    return ms < INT64_MAX ? (int64_t)ms : INT64_MAX;
}

double store_call_number(const struct store_call *call, int index, const char *name, double absent)
{
    lua_State *L = call->L;
    int type = lua_type(L, index);
    if (type == LUA_TNONE || type == LUA_TNIL) {
        return absent;
    }
    double number = type == LUA_TNUMBER ? lua_tonumber(L, index) : (double)NAN;
    if (!isfinite(number)) {
        store_call_refuse(L, call->what, "%s: %s: a finite number expected, got %s", call->use->name, name,
                          type == LUA_TNUMBER ? "one that is not" : luaL_typename(L, index));
    }
    return number;
}

void store_call_refuse_size(const struct store_call *call)
{
    store_call_refuse(call->L, call->what,
                      "%s: the value is too large: up to %llu bytes fit; app.store(\"%s\", { size = ... }) makes room",
                      call->use->name, (unsigned long long)store_value_most(call->use->store, call->key.len),
                      call->use->name);
}

struct store_value store_call_value(const struct store_call *call, int index)
{
    lua_State *L = call->L;
    struct write_buffer *text = &call->scope->text;
    char err[STORE_ERROR_MAX];
    if (lua_type(L, index) == LUA_TNUMBER) {
        return (struct store_value){.is_number = true, .number = lua_tonumber(L, index)};
    }
    size_t most = STORE_VALUE_MAX;
    if (lua_istable(L, index)) {
        luaL_checkstack(L, VALUE_SLOTS, "value");
        most = (size_t)store_value_most(call->use->store, call->key.len);
    }
    write_buffer_consume(text, SIZE_MAX);
    int rv = value_write(L, index, &call->scope->rules, text, most, "value", err, sizeof err);
    if (rv == -EINVAL) {
        store_call_refuse(L, call->what, "%s: %s", call->use->name, err);
    }
    if (rv == -ENOBUFS) {
        store_call_refuse_size(call);
    }
    if (rv < 0) {
        store_call_refuse_memory(L);
    }
    return (struct store_value){.bytes = write_buffer_data(text), .len = write_buffer_len(text)};
}
