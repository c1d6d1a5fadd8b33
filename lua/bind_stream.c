/* The object that a stream function writes to.
 *
 * Happy path: out:write(text) queues the text; while the client is behind it waits for the queue to go down. Each write
 * counts as a wait for handler_cpu, and after a millisecond of writing it really is one: so a stream that takes long to
 * make is sent as it is made, and an endless one does not hold the loop.
 *
 * Failure modes: when the client has gone, write returns nil and "closed", once; the next write ends the coroutine. An
 * object kept beyond its stream is refused. */

#include "lua/bind_stream.h"

#include "http/response.h"
#include "http/status.h"
#include "lua/bind_number.h"
#include "lua/coro.h"
#include "lua/deadline.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/script_error.h"

enum {
    PIECE_MAX = 32768, /* bytes queued at a time */
    FRAMING_ROOM = 32, /* what the framing of a piece takes */
};

/* What Lua holds: numbers, no pointers. */
struct stream {
    uint32_t index;      /* of the coroutine */
    uint32_t generation; /* of its use */
};

/* Write the head of the stream, if that has not happened. */
static void begin_stream_head(struct coro *coro)
{
    if (!coro->stream.has_begun) {
        coro->stream.has_begun = true;
        response_begin(coro->exchange, coro->stream.status, coro->stream.type, coro->stream.length);
    }
}

bool stream_open(lua_State *L, struct coro *coro, int status, const char *type, int64_t length)
{
    coro->stream = (struct coro_stream){.status = status, .type = type, .length = length};
    if (coro->exchange->head_only || status_has_no_body(status)) {
        begin_stream_head(coro);
        response_end(coro_detach(coro));
        return false;
    }
    struct stream *stream = lua_newuserdata(L, sizeof *stream);
    *stream = (struct stream){.index = coro->index, .generation = coro->generation};
    script_push_ref(coro->script, L, REF_STREAM_META);
    lua_setmetatable(L, -2);
    coro->before_wait = begin_stream_head; /* the client may know the head */
    return true;
}

/* Write len bytes from data, in pieces that the response's queue has room for. Returns 1 when all were taken, 0 when
 * the client is behind (*done says how many were), -1 when it has gone. */
static int write_pieces(struct coro *coro, const char *data, size_t len, size_t *done)
{
    struct exchange *exchange = coro->exchange;
    const struct limits *limits = exchange->limits; /* the route may have its own */
    while (*done < len) {
        size_t queued = exchange_queued(exchange) + FRAMING_ROOM;
        size_t room = queued < limits->write_cap_bytes ? limits->write_cap_bytes - queued : 1;
        size_t piece = len - *done;
        piece = piece > room ? room : piece;
        piece = piece > PIECE_MAX ? PIECE_MAX : piece;
        int rv = response_write(exchange, data + *done, piece);
        if (rv < 0) {
            return -1;
        }
        *done += piece;
        if (rv == 0) {
            return 0;
        }
    }
    return 1;
}

/* The coroutine of the stream, which must be the one that runs, and able to wait. */
static struct coro *check_owner(lua_State *L, const struct stream *stream, const char *what)
{
    struct coro *coro = coro_find(script_of(L), stream->index, stream->generation);
    if (coro == NULL || (coro->exchange == NULL && !coro->is_gone)) {
        script_raise(L, "%s: the stream is over", what);
    }
    if (coro != (relay_is_needed(L) ? script_of(L)->running : coro_check_waiting(L, what))) {
        script_raise(L, "%s: the stream belongs to another request", what);
    }
    return coro;
}

static int say_closed(lua_State *L, struct coro *coro)
{
    if (coro_tell_gone(coro)) {
        coro_raise_closed(L);
    }
    lua_pushnil(L);
    script_push_ref(coro->script, L, REF_CLOSED_TEXT);
    return 2;
}

/* Its connection cannot go on: for the script, its client has gone. */
static void cut(struct coro *coro)
{
    coro_let_go(coro, HELD_PIECE);
    coro->is_gone = true;
    response_abort(coro_detach(coro));
}

/* Waiting for the client to take what was written. */

/* More room: first for what the script has written already, then for what it will write. */
static void go_on_writing(struct coro *coro)
{
    const struct anchor *piece = coro->held[HELD_PIECE];
    if (piece != NULL) {
        int rv = write_pieces(coro, piece->data, piece->len, &coro->stream.piece_done);
        if (rv == 0) {
            return;
        }
        coro_let_go(coro, HELD_PIECE);
        if (rv < 0) {
            coro_lose(coro);
            return;
        }
    }
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

static int push_closed(struct coro *coro)
{
    lua_pushnil(coro->L);
    script_push_ref(coro->script, coro->L, REF_CLOSED_TEXT);
    return 2;
}

static const struct coro_wait drain_wait = {.on_drain = go_on_writing, .on_gone = push_closed};

/* drain(): wait until the client has taken what was written; gives what out:write() gives. Where that cannot be, what
 * the script has written will not go out, so the response is cut. */
static int stream_drain(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    lua_settop(L, 0);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    if (!lua_isyieldable(L)) {
        cut(coro);
        coro_check_waiting(L, "out:write");
    }
    return coro_wait(L, coro, &drain_wait);
}

/* Write the texts behind the stream object. what is "out:write". */
static int write_texts(lua_State *L, const char *what)
{
    const struct stream *stream = object_check(L, 1, REF_STREAM_META, sizeof *stream, what);
    int count = lua_gettop(L) - 1;
    for (int i = 2; i <= count + 1; i++) {
        if (lua_type(L, i) != LUA_TSTRING && lua_type(L, i) != LUA_TNUMBER) {
            script_raise(L, "%s: a string expected, got %s", what, luaL_typename(L, i));
        }
        if (lua_type(L, i) == LUA_TNUMBER) {
            script_number_to_text(L, i);
        }
    }
    struct coro *coro = check_owner(L, stream, what);
    if (coro->is_gone) {
        return say_closed(L, coro);
    }
    lua_concat(L, count);
    size_t len;
    const char *data = lua_tolstring(L, -1, &len);
    uint64_t left = coro->stream.has_begun ? coro->exchange->content_left : (uint64_t)coro->stream.length;
    if (coro->stream.length >= 0 && len > left) {
        script_raise(L, "%s: more than the %lld bytes announced by Content-Length", what,
                     (long long)coro->stream.length);
    }
    begin_stream_head(coro);
    size_t done = 0;
    int rv = write_pieces(coro, data, len, &done);
    if (rv < 0) {
        coro_detach(coro);
        coro->is_gone = true;
        return say_closed(L, coro);
    }
    bool is_sent = len > 0 && !coro->exchange->head_only; /* to write nothing is no wait */
    if (rv > 0 && !(is_sent && deadline_restart(coro->script))) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (rv > 0) {
        response_pause(coro->exchange);
    }
    if (done < len) { /* the rest goes out before the script is resumed */
        coro->stream.piece_done = done;
        anchor_send(coro_hold(L, coro, HELD_PIECE, lua_gettop(L)), coro->exchange);
    }
    if (relay_is_needed(L)) {
        return relay_to(L, stream_drain);
    }
    return coro_wait(L, coro, &drain_wait);
}

/* out:write(text, ...): true; or nil, "closed" when the client has gone. */
static int stream_write(lua_State *L)
{
    return write_texts(L, "out:write");
}

/* write_event(out, text): the same. */
static int stream_write_event(lua_State *L)
{
    return write_texts(L, "events:send");
}

/* finish(): the stream function has returned. */
static int stream_finish(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "the end of a stream");
    if (coro->exchange == NULL) {
        return 0;
    }
    if (coro->before_wait != begin_stream_head) {
        script_raise(L, "no stream is running here");
    }
    begin_stream_head(coro);
    if (coro->exchange->content_left > 0) {
        script_raise(L, "the stream ended before the %lld bytes announced by Content-Length",
                     (long long)coro->stream.length);
    }
    response_end(coro_detach(coro));
    return 0;
}

void bind_stream(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"write", stream_write},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"finish", stream_finish},
        {"write_event", stream_write_event},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "stream", REF_STREAM_META);
    luaL_register(L, NULL, functions);
}
