/* Happy path: what is asked for is in the input already, or the socket has it: then nothing waits. Else the coroutine
 * waits, and the prelude calls the same function again with the reason why that is over.
 *
 * Failure modes: the end of the connection, its errors and time give nil, a text and what had come. After the first two
 * the connection gives nothing more; it may still be written. A result that would be too long closes it, because nobody
 * can tell what the bytes behind it are. Memory that is short raises with the input as it was. */

#include "lua/socket_receive.h"

#include "core/link.h"
#include "core/log.h"
#include "lua/relay.h"
#include "lua/script_error.h"
#include "lua/socket_error.h"
#include "lua/socket_object.h"

#include <errno.h>
#include <string.h>

enum {
    SCANNED_BY_LINE = 1, /* script_socket.scanned_by; readers of receiveuntil() have numbers above that */
    WOKEN_REASON = 3,    /* index of the argument that says why a wait is over; nil: nobody has waited */
};

/* One call. */
struct receive_call {
    lua_State *L;
    const char *what;
    struct script_socket *socket;
    struct coro *coro;
    struct receive_pattern pattern;
    uint64_t scanned_by; /* who that is, for script_socket.scanned_by; 0: nobody who scans */
};

/* The reader that receiveuntil() makes: userdata, the upvalue of a function. Its values of fallback are followed by the
 * text of the delimiter. */
struct until_reader {
    uint64_t id; /* for script_socket.scanned_by */
    size_t len;  /* of the delimiter */
    bool is_inclusive;
    bool has_ended; /* the last piece was handed over: the next call says so */
    uint32_t fallback[];
};

static const char *input_bytes(const struct script_socket *socket)
{
    return write_buffer_len(&socket->input) == 0 ? "" : write_buffer_data(&socket->input);
}

/* How far the call has looked is of use to the next one. */
static void remember_pattern(const struct receive_call *call)
{
    call->socket->pattern = call->pattern;
    call->socket->pattern.delimiter = NULL; /* it does not outlive the call */
    call->socket->scanned_by = call->scanned_by;
}

/* Push the result, and drop its bytes from the input. */
static void push_cut(struct receive_call *call, const struct receive_cut *cut)
{
    struct script_socket *socket = call->socket;
    size_t len = cut->len;
    if (call->pattern.kind == RECEIVE_LINE && len > 0) {
        len = receive_drop_returns(socket->input.block + socket->input.start, len);
    }
    lua_pushlstring(call->L, input_bytes(socket), len); /* may raise: nothing has changed yet */
    socket_consume(socket, cut->taken);
    remember_pattern(call);
}

static int push_socket_failure(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

/* No more bytes come, or not in time. */
static int give_up_receiving(struct receive_call *call)
{
    lua_State *L = call->L;
    struct script_socket *socket = call->socket;
    struct receive_cut cut;
    bool is_end = socket->end != 0;
    bool is_whole = socket->end == 1 && call->pattern.kind == RECEIVE_ALL;
    receive_give_up(&call->pattern, write_buffer_len(&socket->input), is_end, &cut);
    if (!is_whole && socket->end < 0) {
        lua_pushnil(L);
        socket_push_error(L, socket->end);
    } else if (!is_whole) {
        (void)push_socket_failure(L, is_end ? "closed" : "timeout");
    }
    push_cut(call, &cut);
    socket->is_read_closed = is_end;
    return is_whole ? 1 : 3;
}

static int refuse_length(struct receive_call *call)
{
    lua_State *L = call->L;
    socket_close(call->socket);
    lua_pushnil(L);
    lua_pushfstring(L, "more than max_receive: %s",
                    call->pattern.kind == RECEIVE_LINE  ? "a line"
                    : call->pattern.kind == RECEIVE_ALL ? "everything up to the end"
                                                        : "what comes before the delimiter");
    lua_pushliteral(L, "");
    return 3;
}

/* Look at what is there, read what has come, or wait. cut is the result if this returns 1 with a value pushed. */
static int receive_now(struct receive_call *call, struct receive_cut *cut)
{
    lua_State *L = call->L;
    struct script_socket *socket = call->socket;
    bool is_late = lua_tointeger(L, WOKEN_REASON) < 0;
    if (socket->scanned_by == call->scanned_by && call->scanned_by != 0) {
        call->pattern.scanned = socket->pattern.scanned;
        call->pattern.matched = socket->pattern.matched;
    }
    while (true) {
        size_t len = write_buffer_len(&socket->input);
        enum receive_verdict verdict = receive_look(&call->pattern, input_bytes(socket), len, cut);
        if (verdict == RECEIVE_DONE) {
            push_cut(call, cut);
            return 1;
        }
        if (verdict == RECEIVE_TOO_LONG) {
            return refuse_length(call);
        }
        if (socket->end != 0 || is_late) {
            return give_up_receiving(call);
        }
        if (socket->is_drained || socket->turn_input >= SOCKET_TURN_INPUT) { /* a fast peer must not hold the loop */
            break;
        }
        if (socket_fill(socket, &call->pattern) < 0) {
            script_raise_memory(L);
        }
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    (void)coro_check_waiting(L, call->what);
    remember_pattern(call);
    return socket_wait(L, socket, call->coro, SOCKET_READING, socket->read_ms);
}

/* Begin a call for the socket at index. Returns 0; else what the function returns: its socket cannot be read. */
static int begin_receiving(struct receive_call *call, lua_State *L, int index, const char *what)
{
    struct script_socket *socket = socket_check(L, index, what);
    *call = (struct receive_call){.L = L, .what = what, .socket = socket};
    call->pattern.most = (size_t)socket->script->settings.max_receive_bytes;
    if (socket->link == NULL || socket->is_read_closed) {
        return push_socket_failure(L, "closed");
    }
    call->coro = socket_check_owner(L, socket, what);
    return socket_push_busy(L, socket, 1U << SOCKET_READING) ? 2 : 0;
}

/* The number of bytes at index, at least least. */
static double check_byte_count(lua_State *L, int index, const char *what, double least)
{
    double count = lua_tonumber(L, index);
    if (!(count >= least) || count != count) {
        script_raise(L, "%s: a number of bytes from %d on expected, got %s", what, (int)least, lua_tostring(L, index));
    }
    return count;
}

/* Ask for count bytes at most. Returns 0, or what the function returns: there may not be so many. */
static int ask_for_bytes(struct receive_call *call, double count)
{
    if (count > (double)call->pattern.most) {
        lua_pushnil(call->L);
        lua_pushfstring(call->L, "more than max_receive: %f bytes", count);
        lua_pushliteral(call->L, "");
        return 3;
    }
    call->pattern.count = (size_t)count;
    return 0;
}

/* receive(socket, what, reason): what is a number of bytes, "*l" or "*a". */
static int socket_receive(lua_State *L)
{
    struct receive_call call;
    struct receive_cut cut;
    lua_settop(L, WOKEN_REASON);
    int rv = begin_receiving(&call, L, 1, "socket:receive");
    if (rv > 0) {
        return rv;
    }
    if (lua_isnumber(L, 2)) {
        double count = check_byte_count(L, 2, call.what, 0);
        if (count < 1) {
            lua_pushliteral(L, "");
            return 1;
        }
        call.pattern.kind = RECEIVE_COUNT;
        rv = ask_for_bytes(&call, count);
        return rv > 0 ? rv : receive_now(&call, &cut);
    }
    const char *what = lua_isnil(L, 2) ? "*l" : lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(what, "*a") == 0) {
        call.pattern.kind = RECEIVE_ALL;
    } else if (strcmp(what, "*l") == 0) {
        call.scanned_by = SCANNED_BY_LINE;
    } else {
        script_raise(L, "%s: a number of bytes, \"*l\" or \"*a\" expected, got %s", call.what,
                     what[0] == '\0' ? luaL_typename(L, 2) : lua_pushfstring(L, "\"%s\"", what));
    }
    return receive_now(&call, &cut);
}

/* receiveany(socket, most, reason) */
static int socket_receiveany(lua_State *L)
{
    struct receive_call call;
    struct receive_cut cut;
    lua_settop(L, WOKEN_REASON);
    if (!lua_isnumber(L, 2)) {
        script_raise(L, "socket:receiveany: how many bytes at most? A number expected, got %s", luaL_typename(L, 2));
    }
    double most = check_byte_count(L, 2, "socket:receiveany", 1);
    int rv = begin_receiving(&call, L, 1, "socket:receiveany");
    if (rv > 0) {
        return rv;
    }
    call.pattern.kind = RECEIVE_ANY;
    call.pattern.count = most > (double)call.pattern.most ? call.pattern.most : (size_t)most;
    return receive_now(&call, &cut);
}

/* What receiveuntil() gives: read(size, unused, reason), with the socket and the reader as upvalues. Nothing at all
 * when the delimiter has come, in pieces. */
static int read_until(lua_State *L)
{
    struct receive_call call;
    struct receive_cut cut = {.is_end = false};
    lua_settop(L, WOKEN_REASON);
    if (!lua_isnil(L, 1) && !lua_isnumber(L, 1)) {
        script_raise(L, "the reader of socket:receiveuntil: a number of bytes expected, got %s", luaL_typename(L, 1));
    }
    double size = lua_tonumber(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    int rv = begin_receiving(&call, L, lua_gettop(L), "the reader of socket:receiveuntil");
    if (rv > 0) {
        return rv;
    }
    lua_settop(L, WOKEN_REASON);
    struct until_reader *reader = lua_touserdata(L, lua_upvalueindex(2));
    if (reader->has_ended) {
        reader->has_ended = false;
        return 0;
    }
    const struct receive_delimiter delimiter = {
        .text = (const char *)(reader->fallback + reader->len),
        .fallback = reader->fallback,
        .len = reader->len,
        .is_inclusive = reader->is_inclusive,
    };
    call.pattern.kind = RECEIVE_UNTIL;
    call.pattern.delimiter = &delimiter;
    call.scanned_by = reader->id;
    rv = size >= 1 ? ask_for_bytes(&call, size) : 0;
    rv = rv > 0 ? rv : receive_now(&call, &cut);
    bool is_last = rv == 1 && cut.is_end && call.pattern.count > 0;
    if (is_last && lua_objlen(L, -1) == 0) {
        return 0;
    }
    reader->has_ended = is_last;
    return rv;
}

/* receiveuntil(socket, delimiter, is_inclusive): a function, or nil and an error text. */
static int socket_receiveuntil(lua_State *L)
{
    size_t len;
    lua_settop(L, 3);
    struct script_socket *socket = socket_check(L, 1, "socket:receiveuntil");
    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER) {
        script_raise(L, "socket:receiveuntil: a delimiter such as \"\\r\\n\" expected, got %s", luaL_typename(L, 2));
    }
    const char *text = lua_tolstring(L, 2, &len);
    if (len == 0) {
        return push_socket_failure(L, "pattern is empty");
    }
    if (len > RECEIVE_DELIMITER_MAX) {
        script_raise(L, "socket:receiveuntil: the delimiter has %zu bytes; at most %d are allowed", len,
                     (int)RECEIVE_DELIMITER_MAX);
    }
    bool is_inclusive = lua_toboolean(L, 3) != 0;
    lua_pushvalue(L, 1);
    struct until_reader *reader = lua_newuserdata(L, sizeof *reader + len * sizeof reader->fallback[0] + len);
    *reader = (struct until_reader){.id = ++socket->script->last_socket_id, .len = len, .is_inclusive = is_inclusive};
    memcpy(reader->fallback + len, text, len);
    receive_prepare(text, len, reader->fallback);
    lua_pushcclosure(L, read_until, 2);
    return 1;
}

void bind_socket_receive(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"socket_receive", socket_receive},
        {"socket_receiveany", socket_receiveany},
        {"socket_receiveuntil", socket_receiveuntil},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
