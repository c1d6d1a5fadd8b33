/* The C functions that prelude_fetch.lua makes app.fetch of.
 *
 * Happy path: fetch_start() begins a request and gives its number; fetch_wait() waits for what is to come next;
 * fetch_take() gives the response, fetch_read() pieces of its body. fetch_write() and fetch_finish() hand on pieces of
 * a body that the script makes.
 *
 * Failure modes: what fails on the way is nil, a text and its kind, for the script to look at. Mistakes in a call are
 * errors. When the client of the handler goes away, the request ends, too, and the prelude raises the error for
 * that. */

#include "lua/bind_fetch.h"

#include "core/sys.h"
#include "lua/coro.h"
#include "lua/fetch_object.h"
#include "lua/fetch_options.h"
#include "lua/fetch_result.h"
#include "lua/relay.h"
#include "lua/script_error.h"

#include <errno.h>

/* Sets of events, for fetch_wait(). */
enum {
    AWAITS_END = 1 << FETCH_DONE | 1 << FETCH_FAILED, /* the response is complete */
    AWAITS_HEAD = AWAITS_END | 1 << FETCH_HEAD,       /* or its head is there */
    AWAITS_PIECE = AWAITS_END | 1 << FETCH_READABLE,
    AWAITS_ROOM = AWAITS_HEAD | 1 << FETCH_WRITABLE,
};

/* Begin the request. Returns the number of results. Raises. */
static int begin_fetch(lua_State *L, struct coro *coro, const struct fetch_request *request)
{
    struct script *script = script_of(L);
    char err[FETCH_FAILURE_MAX] = "";
    struct script_fetch *fetch = fetch_object_make(script);
    if (fetch == NULL) {
        script_raise_memory(L);
    }
    enum fetch_kind kind = fetch_start(&fetch->fetch, script->outbound, request, fetch_object_on_event, fetch, err,
                                       sizeof err);
    if (kind != FETCH_SUCCESS) {
        fetch->fetch = NULL;
        return fetch_result_push_failure(L, kind, err);
    }
    fetch_object_begin(fetch, coro);
    fetch_object_push_number(L, fetch);
    return 1;
}

/* fetch_start(url, options, text, type, streams): the number of a request that has begun; text is its body, or
 * streams is true. nil, a text and a kind if it has not; false when nobody wants to know any more; false and the name
 * of an unknown option. */
static int lua_fetch_start(lua_State *L)
{
    const struct script *script = script_of(L);
    struct fetch_request request = {.body_length = -1, .base_fd = script->base_fd};
    struct fetch_fields fields;
    lua_settop(L, 5);
    if (script->outbound == NULL) {
        script_raise(L, "app.fetch works only in a script of a server");
    }
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
    }
    bool is_relayed = relay_is_needed(L);
    struct coro *coro = is_relayed ? script->running : coro_check_waiting(L, "app.fetch");
    if (!is_relayed && coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (!lua_isnil(L, 2) && !fetch_options_read(L, 2, lua_tostring(L, 4), &request, &fields)) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    request.url = luaL_checklstring(L, 1, &request.url_len);
    request.body = lua_tolstring(L, 3, &request.body_len);
    request.streams_body = lua_toboolean(L, 5) != 0;
    if (!request.streams_body && request.body_length >= 0) {
        script_raise(L, "app.fetch: length: only for a body that a function gives");
    }
    return begin_fetch(L, coro, &request);
}

/* fetch_wait(object, what): true once something of the set what is there, or the request has ended; false when nobody
 * wants to know any more. */
static int lua_fetch_wait(lua_State *L)
{
    lua_settop(L, 2);
    struct script_fetch *fetch = fetch_object_check(L);
    unsigned awaited = (unsigned)luaL_checkinteger(L, 2);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "app.fetch");
    if (coro_is_unwanted(coro)) {
        if (fetch != NULL) {
            fetch_object_end(fetch);
        }
        return coro_say_gone(L, coro);
    }
    if (fetch == NULL || (fetch->events & awaited) != 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (fetch->coro != NULL) {
        script_raise(L, "app.fetch: another task reads this response already");
    }
    return fetch_object_wait(L, coro, fetch, awaited);
}

/* Push why it has failed, and end it. Returns the number of results. */
static int push_failure(lua_State *L, struct script_fetch *fetch)
{
    int count = fetch_result_push_failure(L, fetch_failure_kind(fetch->fetch), fetch_failure(fetch->fetch));
    fetch_object_end(fetch);
    return count;
}

/* The same for one that has ended, because its handler has or the script has closed it. */
static int push_fetch_closed(lua_State *L)
{
    return fetch_result_push_failure(L, FETCH_CUT, "the response was closed");
}

/* fetch_take(object): the six parts of the response (fetch_result.h), and if its body is still to be read, the object
 * for that; nil, a text and a kind after a failure. */
static int lua_fetch_take(lua_State *L)
{
    struct script_fetch *fetch = fetch_object_check(L);
    const struct fetch_response *response = fetch == NULL ? NULL : fetch_response(fetch->fetch);
    lua_settop(L, 1);
    if (fetch == NULL) {
        return push_fetch_closed(L);
    }
    bool is_streamed = response != NULL && response->body == NULL;
    if (response == NULL || (!is_streamed && (fetch->events & 1U << FETCH_FAILED) != 0)) {
        return push_failure(L, fetch);
    }
    fetch->is_lost = true; /* unless there is memory for it */
    int count = fetch_result_push(L, response);
    if (is_streamed) {
        fetch_object_push(L, fetch);
        fetch->is_lost = false;
        return count + 1;
    }
    fetch_object_end(fetch);
    return count;
}

/* fetch_read(object): a piece of the body; true: wait, and call again; nil at its end; nil, a text and a kind after a
 * failure. */
static int lua_fetch_read(lua_State *L)
{
    const char *data;
    struct script_fetch *fetch = fetch_object_check(L);
    lua_settop(L, 1);
    if (fetch == NULL || fetch->is_torn) {
        return fetch == NULL ? push_fetch_closed(L)
                             : fetch_result_push_failure(L, FETCH_NO_MEMORY, "not enough memory");
    }
    ssize_t len = fetch_read(fetch->fetch, &data);
    if (len > 0) {
        fetch->is_torn = true; /* unless there is memory for it */
        lua_pushlstring(L, data, (size_t)len);
        fetch->is_torn = false;
        return 1;
    }
    if (len == -EAGAIN) {
        fetch->events &= ~(1U << FETCH_READABLE | 1U << FETCH_DONE); /* after that, too, it is readable once more */
        lua_pushboolean(L, 1);
        return 1;
    }
    if (len < 0) {
        return push_failure(L, fetch);
    }
    fetch_object_end(fetch);
    lua_pushnil(L);
    return 1;
}

/* What fetch_write() or fetch_write_end() have said: true; false: wait, and call again; nil: the response is next. */
static int say_written(lua_State *L, struct script_fetch *fetch, int rv)
{
    if (rv == -EMSGSIZE) {
        fetch_object_end(fetch);
        script_raise(L, "app.fetch: the function for the body gives another number of bytes than length says");
    }
    if (rv == -ENOMEM) {
        fetch_object_end(fetch);
        script_raise_memory(L);
    }
    if (rv == -EAGAIN) {
        fetch->events &= ~(1U << FETCH_WRITABLE);
    }
    if (rv == 0 || rv == -EAGAIN) {
        lua_pushboolean(L, rv == 0);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

/* fetch_write(object, piece), fetch_finish(object): say_written(). */
static int lua_fetch_write(lua_State *L)
{
    struct script_fetch *fetch = fetch_object_check(L);
    size_t len;
    const char *piece = luaL_checklstring(L, 2, &len);
    lua_settop(L, 2);
    return say_written(L, fetch, fetch == NULL ? -EPIPE : fetch_write(fetch->fetch, piece, len));
}

static int lua_fetch_finish(lua_State *L)
{
    struct script_fetch *fetch = fetch_object_check(L);
    lua_settop(L, 1);
    return say_written(L, fetch, fetch == NULL ? -EPIPE : fetch_write_end(fetch->fetch));
}

/* fetch_close(object): end it, whatever it does. */
static int lua_fetch_close(lua_State *L)
{
    struct script_fetch *fetch = fetch_object_check(L);
    if (fetch != NULL) {
        fetch_object_end(fetch);
    }
    return 0;
}

void bind_fetch(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fetch_start", lua_fetch_start}, {"fetch_wait", lua_fetch_wait},
        {"fetch_take", lua_fetch_take},   {"fetch_read", lua_fetch_read},
        {"fetch_write", lua_fetch_write}, {"fetch_finish", lua_fetch_finish},
        {"fetch_close", lua_fetch_close}, {NULL, NULL},
    };
    static const struct {
        const char *name;
        int value;
    } sets[] = {
        {"AWAITS_END", AWAITS_END},
        {"AWAITS_HEAD", AWAITS_HEAD},
        {"AWAITS_PIECE", AWAITS_PIECE},
        {"AWAITS_ROOM", AWAITS_ROOM},
    };
    fetch_object_bind(L);
    luaL_register(L, NULL, functions);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        lua_pushinteger(L, sets[i].value);
        lua_setfield(L, -2, sets[i].name);
    }
}
