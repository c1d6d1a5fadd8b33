/* Happy path: a method checks its arguments, copies a value into the scope's buffer or out of the store, and calls
 * core/store.h. No lock is held while Lua runs.
 *
 * Failure modes: every mistake raises an error that names the method, the store and what was wrong. A value that is
 * held while it is read, and what a list of keys is made of, are given back before an error goes on. */

#include "lua/store_object.h"

#include "lua/store_call.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    OPEN_ERROR_MAX = 512, /* bytes of an error text with its NUL */
    KEYS_USUAL = 1000,    /* keys that store:keys() returns at most, unless the script says otherwise */
    KEYS_MAX = 1000000,   /* and at most */
};

/* Methods. */

static int put_store_value(struct store_call *call, enum store_when when)
{
    struct store_value value = store_call_value(call, 3);
    int rv = store_put(call->use->store, call->key, value, store_call_ttl(call, 4, false), when);
    if (rv == -EMSGSIZE) {
        store_call_refuse_size(call);
    }
    if (rv == -ENOMEM) {
        store_call_refuse_memory(call->L);
    }
    store_call_trim(call->scope);
    lua_pushboolean(call->L, rv == 0);
    return 1;
}

/* store:set(key, value, ttl): true. nil removes the key. */
static int store_object_set(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:set");
    if (lua_isnoneornil(L, 3)) {
        store_delete(call.use->store, call.key);
        lua_pushboolean(L, 1);
        return 1;
    }
    return put_store_value(&call, STORE_ALWAYS);
}

static void check_some_value(const struct store_call *call)
{
    if (lua_isnoneornil(call->L, 3)) {
        store_call_refuse(call->L, call->what, "%s: a value expected, got nil", call->use->name);
    }
}

/* store:add(key, value, ttl): whether the key was absent. */
static int store_object_add(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:add");
    check_some_value(&call);
    return put_store_value(&call, STORE_IF_ABSENT);
}

/* store:replace(key, value, ttl): whether the key was present. */
static int store_object_replace(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:replace");
    check_some_value(&call);
    return put_store_value(&call, STORE_IF_PRESENT);
}

/* store:once(key, ttl): true for the first call in so much time. */
static int store_object_once(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:once");
    int64_t ttl_ms = store_call_ttl(&call, 3, true);
    lua_settop(L, 2);
    lua_pushboolean(L, 1);
    struct store_value value = store_call_value(&call, 3);
    int rv = store_put(call.use->store, call.key, value, ttl_ms, STORE_IF_ABSENT);
    if (rv == -EMSGSIZE) {
        store_call_refuse_size(&call);
    }
    if (rv == -ENOMEM) {
        store_call_refuse_memory(L);
    }
    lua_pushboolean(L, rv == 0);
    return 1;
}

/* What call_protected() has left for the function that it calls. A script that has found this function has none. */
static void *take_argument(lua_State *L)
{
    struct store_scope *scope = store_call_scope(L);
    void *argument = scope->argument;
    scope->argument = NULL;
    if (argument == NULL) {
        luaL_error(L, "this function is not for scripts");
    }
    return argument;
}

/* Call the function that is an upvalue. Scripts can find it, so it is not given a pointer as Lua's functions are.
 * Returns as lua_pcall(). */
static int call_protected(const struct store_call *call, int upvalue, void *argument, int nresults)
{
    lua_pushvalue(call->L, lua_upvalueindex(upvalue));
    call->scope->argument = argument;
    int rv = lua_pcall(call->L, 0, nresults, 0);
    call->scope->argument = NULL;
    return rv;
}

/* read(): the value of a struct store_found. */
static int read_held(lua_State *L)
{
    const struct store_found *found = take_argument(L);
    luaL_checkstack(L, VALUE_SLOTS, "value");
    value_read(L, &store_call_scope(L)->rules, found->value.bytes);
    return 1;
}

/* store:get(key): the value, or nil. */
static int store_object_get(lua_State *L)
{
    struct store_call call;
    struct store_found found;
    store_call_begin(&call, L, "store:get");
    if (!store_get(call.use->store, call.key, &found)) {
        lua_pushnil(L);
        return 1;
    }
    if (found.value.is_number) {
        lua_pushnumber(L, found.value.number);
        return 1;
    }
    if (found.held == NULL) {
        luaL_checkstack(L, VALUE_SLOTS, "value");
        value_read(L, &call.scope->rules, found.value.bytes);
        return 1;
    }
    int rv = call_protected(&call, UP_READ, &found, 1);
    store_done(&found);
    return rv == 0 ? 1 : lua_error(L);
}

/* store:delete(key): whether it was there. */
static int store_object_delete(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:delete");
    lua_pushboolean(L, store_delete(call.use->store, call.key));
    return 1;
}

/* store:incr(key, number, initial, ttl): the sum. */
static int store_object_incr(lua_State *L)
{
    struct store_call call;
    double sum = 0;
    store_call_begin(&call, L, "store:incr");
    double number = store_call_number(&call, 3, "the second argument", 1);
    bool has_more = lua_gettop(L) > 3;
    double initial = has_more ? store_call_number(&call, 4, "the initial value", 0) : 0;
    int64_t ttl_ms = has_more ? store_call_ttl(&call, 5, false) : 0;
    int rv = store_add(call.use->store, call.key, number, initial, ttl_ms, &sum);
    if (rv == -EINVAL) {
        store_call_refuse(L, call.what, "%s: the value of \"%.*s\" is not a number", call.use->name,
                          (int)(call.key.len < 100 ? call.key.len : 100), call.key.text);
    }
    if (rv == -EMSGSIZE) {
        store_call_refuse_size(&call);
    }
    if (rv < 0) {
        store_call_refuse_memory(L);
    }
    lua_pushnumber(L, sum);
    return 1;
}

/* store:expire(key, ttl): whether it is there. */
static int store_object_expire(lua_State *L)
{
    struct store_call call;
    store_call_begin(&call, L, "store:expire");
    lua_pushboolean(L, store_expire(call.use->store, call.key, store_call_ttl(&call, 3, false)));
    return 1;
}

/* store:ttl(key): milliseconds; math.huge without a deadline; nil if it is not there. */
static int store_object_ttl(lua_State *L)
{
    struct store_call call;
    int64_t ttl_ms = 0;
    store_call_begin(&call, L, "store:ttl");
    if (store_ttl(call.use->store, call.key, &ttl_ms)) {
        lua_pushnumber(L, ttl_ms == 0 ? (double)INFINITY : (double)ttl_ms);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int store_object_flush(lua_State *L)
{
    struct store_call call;
    store_call_check_store(&call, L, "store:flush");
    store_flush(call.use->store);
    return 0;
}

static int store_object_stats(lua_State *L)
{
    struct store_call call;
    struct store_stats stats;
    store_call_check_store(&call, L, "store:stats");
    lua_createtable(L, 0, 4);
    store_stats(call.use->store, &stats);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"keys", stats.keys}, {"bytes", stats.bytes}, {"size", stats.size}, {"evicted", stats.evicted}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        lua_pushnumber(L, (double)fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    return 1;
}

/* Listing keys. */

struct store_listing {
    struct store_call *call;
    struct write_buffer text; /* keys of a stretch */
    size_t most;              /* keys */
};

/* Append the keys of a stretch to the list on top of the stack, which has count. Returns how many it has now. */
static size_t list_stretch(lua_State *L, const struct store_listing *listing, size_t count)
{
    if (write_buffer_len(&listing->text) == 0) {
        return count; /* the buffer may have no memory yet */
    }
    const char *at = write_buffer_data(&listing->text), *end = at + write_buffer_len(&listing->text);
    while (at < end && count < listing->most) {
        uint16_t len;
        memcpy(&len, at, sizeof len);
        lua_pushlstring(L, at + sizeof len, len);
        lua_rawseti(L, -2, (int)++count);
        at += sizeof len + len;
    }
    return count + (at < end);
}

/* list(): the keys of a struct store_listing, and whether there are more. */
static int list_keys(lua_State *L)
{
    struct store_listing *listing = take_argument(L);
    struct store_call *call = listing->call;
    uint64_t at = 0;
    size_t count = 0;
    int rv = 0;
    lua_newtable(L);
    while (rv == 0 && count <= listing->most) {
        write_buffer_consume(&listing->text, SIZE_MAX);
        rv = store_keys(call->use->store, &at, call->key, &listing->text);
        count = rv == 0 ? list_stretch(L, listing, count) : count;
        if (call->scope->rules.look != NULL) {
            call->scope->rules.look(L);
        }
    }
    if (rv == -ENOMEM) {
        return luaL_error(L, "not enough memory");
    }
    lua_pushboolean(L, count > listing->most);
    return 2;
}

/* store:keys(prefix, most): a list, and whether there are more. */
static int store_object_keys(lua_State *L)
{
    struct store_call call;
    store_call_check_store(&call, L, "store:keys");
    call.key = (struct store_key){"", 0};
    if (!lua_isnoneornil(L, 2) && (lua_type(L, 2) != LUA_TSTRING || lua_objlen(L, 2) > 0)) {
        store_call_check_key(&call);
    }
    double most = store_call_number(&call, 3, "the number of keys", KEYS_USUAL);
    if (!(most >= 1 && most <= KEYS_MAX)) {
        char text[NUMBER_TEXT_MAX];
        store_call_refuse(L, call.what, "%s: 1 to %d keys expected, got %.*s", call.use->name, (int)KEYS_MAX,
                          (int)number_format(text, most), text);
    }
    struct store_listing listing = {.call = &call, .most = (size_t)most};
    write_buffer_init(&listing.text);
    int rv = call_protected(&call, UP_LIST, &listing, 2);
    write_buffer_done(&listing.text);
    return rv == 0 ? 2 : lua_error(L);
}

/* Opening. */

static bool is_redis_option(const char *name)
{
    static const char *const names[] = {"db", "password", "timeout", "tls", "user"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The size in the table of options at index; 0: none is given. */
static uint64_t check_store_options(lua_State *L, int index, const char *what)
{
    uint64_t size = 0;
    if (lua_isnoneornil(L, index)) {
        return 0;
    }
    if (lua_type(L, index) != LUA_TTABLE) {
        store_call_refuse(L, what, "a table of options such as { size = \"16M\" } expected, got %s",
                          luaL_typename(L, index));
    }
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "redis") == 0) {
            store_call_refuse(
                L, what,
                "redis: modules of workers have no stores in Redis. Call them in the script, and hand the "
                "module what it needs");
        }
        if (strcmp(name, "size") != 0) {
            store_call_refuse(L, what,
                              is_redis_option(name) ? "%s: an option of a store in Redis, which has redis, too"
                                                    : "unknown option \"%.40s\": there are redis, size",
                              name);
        }
        const struct store_amount amount = {what, NULL, "size", "a size such as \"16M\"", LIMIT_BYTES};
        size = store_call_amount(L, lua_gettop(L), &amount);
        if (size == 0) {
            store_call_refuse(L, what, "size: at least 64K expected, got 0");
        }
    }
    return size;
}

/* Push the object of a store. The metatable keeps it, at index + 1. */
static void push_new_object(lua_State *L, struct store_scope *scope, int index)
{
    struct store_handle *handle = lua_newuserdata(L, sizeof *handle);
    handle->index = (uint32_t)index;
    lua_pushvalue(L, lua_upvalueindex(UP_META));
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, lua_upvalueindex(UP_META), index + 1);
    scope->uses[index]->object = handle;
}

/* open(what, name, options): a store object. */
static int open_store(lua_State *L)
{
    char err[OPEN_ERROR_MAX];
    const char *what = luaL_checkstring(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING) {
        store_call_refuse(L, what, "a name such as \"sessions\" expected, got %s", luaL_typename(L, 2));
    }
    if (strlen(lua_tostring(L, 2)) != lua_objlen(L, 2)) {
        store_call_refuse(L, what, "the name contains a NUL byte");
    }
    uint64_t size = check_store_options(L, 3, what);
    struct store_scope *scope = store_call_scope(L);
    int index = store_scope_open(scope, lua_tostring(L, 2), size, err, sizeof err);
    if (index < 0) {
        store_call_refuse(L, what, "%s", err);
    }
    lua_rawgeti(L, lua_upvalueindex(UP_META), index + 1);
    if (lua_isnil(L, -1)) {
        push_new_object(L, scope, index);
    }
    return 1;
}

/* Push what all functions have as upvalues: the scope, the metatable at index meta, read_held() and list_keys(). */
static void push_upvalues(lua_State *L, struct store_scope *scope, int meta)
{
    lua_pushlightuserdata(L, scope);
    lua_pushvalue(L, meta);
    lua_pushlightuserdata(L, scope);
    lua_pushcclosure(L, read_held, 1);
    lua_pushlightuserdata(L, scope);
    lua_pushcclosure(L, list_keys, 1);
}

void store_object_push_open(lua_State *L, struct store_scope *scope)
{
    static const luaL_Reg methods[] = {
        {"add", store_object_add},
        {"delete", store_object_delete},
        {"expire", store_object_expire},
        {"flush", store_object_flush},
        {"get", store_object_get},
        {"incr", store_object_incr},
        {"keys", store_object_keys},
        {"once", store_object_once},
        {"replace", store_object_replace},
        {"set", store_object_set},
        {"stats", store_object_stats},
        {"ttl", store_object_ttl},
        {NULL, NULL},
    };
    lua_newtable(L);
    int meta = lua_gettop(L);
    lua_newtable(L);
    push_upvalues(L, scope, meta);
    luaL_openlib(L, NULL, methods, UP_COUNT);
    lua_setfield(L, meta, "__index");
    lua_pushliteral(L, "store");
    lua_setfield(L, meta, "__metatable");
    push_upvalues(L, scope, meta);
    lua_pushcclosure(L, open_store, UP_COUNT);
    lua_remove(L, meta);
}
