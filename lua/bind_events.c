/* Happy path: the prelude asks for the text of an event and writes it as any stream does (bind_stream.c). Each stream
 * has a timer that writes a comment from time to time, without Lua: so a proxy does not take it for dead, and
 * a client that has gone is noticed.
 *
 * Failure modes: while the client is behind, what waits for it says as much as a comment, and the last event may be
 * there in part only: so none is written. Without memory for the timer the stream does not begin. */

#include "lua/bind_events.h"

#include "core/mem.h"
#include "http/event_stream.h"
#include "http/response.h"
#include "http/sse.h"
#include "lua/bind_settings.h"
#include "lua/coro.h"
#include "lua/duration.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

/* The comments of one stream. */
struct event_beat {
    struct coro_thing thing;        /* it ends with the coroutine of the stream */
    struct script *script;          /* whose it is */
    struct event_beat *next, *prev; /* in the list of all */
    uint64_t timer;                 /* of the reactor; 0: the stream is over */
    uint32_t interval_ms;           /* between two comments */
};

static void free_beat(struct event_beat *beat)
{
    if (beat->timer != 0) {
        reactor_cancel_timer(beat->script->reactor, beat->timer);
    }
    *(beat->prev == NULL ? &beat->script->beats : &beat->prev->next) = beat->next;
    if (beat->next != NULL) {
        beat->next->prev = beat->prev;
    }
    mem_free(beat);
}

static void end_beat(struct coro_thing *thing)
{
    free_beat((struct event_beat *)(void *)thing);
}

/* Write a comment, unless something waits for the client. Returns false if the client is lost. */
static bool write_beat(struct coro *coro)
{
    static const char comment[] = ":\n\n";
    bool may_write = coro->stream.has_begun && coro->held[HELD_PIECE] == NULL && exchange_queued(coro->exchange) == 0;
    return !may_write || response_write(coro->exchange, comment, sizeof comment - 1) >= 0;
}

static void on_beat(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct event_beat *beat = arg;
    struct coro *coro = beat->thing.coro;
    beat->timer = 0;
    if (coro->exchange == NULL) { /* the stream is over, and its coroutine will be soon */
        return;
    }
    if (!write_beat(coro)) {
        coro_lose(coro);
        return;
    }
    beat->timer = reactor_set_timeout(reactor, beat->interval_ms, on_beat, beat);
}

/* begin_beat(ms): comments for the stream that runs, so often; never: 0. */
static int lua_begin_beat(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "app.events");
    lua_Number interval = luaL_checknumber(L, 1);
    if (coro->exchange == NULL || !(interval >= EVENT_STREAM_HEARTBEAT_LEAST_MS && interval <= UINT32_MAX)) {
        return 0;
    }
    uint32_t interval_ms = (uint32_t)interval;
    struct script *script = coro->script;
    struct event_beat *beat = mem_zalloc(sizeof *beat);
    if (beat == NULL) {
        script_raise_memory(L);
    }
    beat->thing.end = end_beat;
    beat->script = script;
    beat->interval_ms = interval_ms;
    beat->next = script->beats;
    if (beat->next != NULL) {
        beat->next->prev = beat;
    }
    script->beats = beat;
    beat->timer = reactor_set_timeout(script->reactor, event_stream_first_ms(interval_ms, beat), on_beat, beat);
    if (beat->timer == 0) {
        free_beat(beat);
        script_raise_memory(L);
    }
    coro_own(coro, &beat->thing);
    return 0;
}

/* The text at index, if there is one. */
static const char *optional_text(lua_State *L, int index, size_t *len)
{
    *len = 0;
    return lua_isnoneornil(L, index) ? NULL : luaL_checklstring(L, index, len);
}

/* Room for len bytes that will be pushed. Raises for want of memory. */
static char *make_event_room(lua_State *L, struct write_buffer *out, size_t len)
{
    char *at = write_buffer_reserve(out, len, UINT32_MAX, NULL);
    if (at == NULL) {
        script_raise_memory(L);
    }
    return at;
}

static int push_made(lua_State *L, struct write_buffer *out, size_t len)
{
    write_buffer_commit(out, len);
    lua_pushlstring(L, write_buffer_data(out), len);
    script_return_scratch(L);
    return 1;
}

/* event_text(data, event, id, retry_ms): the text of an event, each of them a string, or nil; retry_ms is a number. */
static int lua_event_text(lua_State *L)
{
    static const char user[] = "events:send";
    struct sse_event event = {.retry_ms = SSE_NO_RETRY};
    lua_Number retry = luaL_optnumber(L, 4, SSE_NO_RETRY);
    if (retry >= 0 && retry <= UINT32_MAX) {
        event.retry_ms = (int64_t)retry;
    }
    event.data = optional_text(L, 1, &event.data_len);
    event.event = optional_text(L, 2, &event.event_len);
    event.id = optional_text(L, 3, &event.id_len);
    const char *complaint = sse_check(&event);
    if (complaint != NULL) {
        script_raise(L, "%s: %s", user, complaint);
    }
    size_t len = sse_length(&event);
    struct write_buffer *out = script_lend_scratch(L, user);
    sse_put(make_event_room(L, out, len), &event);
    return push_made(L, out, len);
}

/* comment_text(text): the same of a comment. */
static int lua_comment_text(lua_State *L)
{
    size_t text_len;
    const char *text = luaL_checklstring(L, 1, &text_len);
    size_t len = sse_comment_length(text, text_len);
    struct write_buffer *out = script_lend_scratch(L, "events:comment");
    sse_put_comment(make_event_room(L, out, len), text, text_len);
    return push_made(L, out, len);
}

/* event_ms(what, duration, least, retry): milliseconds. retry, if it is there, is the time below which a number for the
 * option retry is most likely meant in seconds. */
static int lua_event_ms(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    uint32_t ms = duration_check(L, 2, what);
    int64_t least = luaL_checkinteger(L, 3);
    bool is_number = lua_type(L, 2) == LUA_TNUMBER;
    if (ms < least && is_number) {
        script_raise(L, "%s: it must be at least %lld ms; for seconds, write \"%us\"", what, (long long)least, ms);
    } else if (ms < least) {
        script_raise(L, "%s: it must be at least %lld ms", what, (long long)least);
    }
    script_warn_if_seconds(L, 2, "app.events", "retry", ms, (uint32_t)luaL_optinteger(L, 4, 0));
    lua_pushnumber(L, ms);
    return 1;
}

void event_beats_free(struct script *script)
{
    while (script->beats != NULL) {
        free_beat(script->beats);
    }
}

void bind_events(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"begin_beat", lua_begin_beat},
        {"comment_text", lua_comment_text},
        {"event_ms", lua_event_ms},
        {"event_text", lua_event_text},
        {NULL, NULL},
    };
    lua_pushinteger(L, EVENT_STREAM_HEARTBEAT_LEAST_MS);
    lua_setfield(L, -2, "BEAT_LEAST_MS");
    luaL_register(L, NULL, functions);
}
