/* Happy path: a socket gets a link; a coroutine waits on one of its sides; an event of the link ends the wait, and the
 * function that waited is called again by the prelude to look at what has come. A reader is woken only when all that it
 * asked for is there.
 *
 * Failure modes: whatever ends a wait (time, the client, the end of the socket's owner) takes the coroutine off its
 * side first. A wait that ends needs no memory: errors go to Lua as numbers. When the Lua state is closed, coroutines
 * are gone, and the links are closed without them. */

#include "lua/socket_object.h"

#include "core/link.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "lua/coro.h"
#include "lua/object.h"
#include "lua/script_error.h"
#include "lua/task.h"

#include <errno.h>

enum {
    FILL_STEP_MAX = 262144,   /* bytes read at a time, at most */
    FILL_TURN_BYTES = 524288, /* read before other connections have their turn */
    SPARE_INPUT_MAX = 65536,  /* a larger block is freed when its bytes are gone */
};

/* Blocks for input. */

/* Count it, if it is a large one. */
static void note_held(struct script_socket *socket)
{
    struct outbound *outbound = socket->script->outbound;
    size_t held = socket->input.capacity > SPARE_INPUT_MAX ? socket->input.capacity : 0;
    if (outbound != NULL) {
        outbound->held_bytes += held - socket->held;
        socket->held = held;
    }
}

/* Whether a block that has have bytes may have more. */
static bool may_hold_more(const struct script_socket *socket, size_t have)
{
    const struct outbound *outbound = socket->script->outbound;
    size_t most = outbound == NULL ? 0 : outbound->held_max;
    most = most == 0 ? (size_t)OUTBOUND_HELD_MAX : most;
    return have <= SPARE_INPUT_MAX || outbound == NULL || outbound->held_bytes <= most;
}

static void take_input_block(struct script_socket *socket)
{
    struct write_buffer *spare = &socket->script->spare_input;
    if (socket->input.block == NULL && spare->block != NULL) {
        socket->input = *spare;
        write_buffer_init(spare);
    }
}

static void give_input_block(struct script_socket *socket)
{
    struct write_buffer *spare = &socket->script->spare_input;
    if (spare->block == NULL && socket->input.capacity <= SPARE_INPUT_MAX) {
        write_buffer_consume(&socket->input, SIZE_MAX);
        *spare = socket->input;
        write_buffer_init(&socket->input);
    } else {
        write_buffer_done(&socket->input);
    }
    note_held(socket);
}

void socket_consume(struct script_socket *socket, size_t len)
{
    write_buffer_consume(&socket->input, len);
    if (write_buffer_len(&socket->input) == 0) {
        give_input_block(socket);
    }
}

/* Waiting. */

/* Take a coroutine off its side. Returns the socket. */
static struct script_socket *end_socket_wait(struct coro *coro)
{
    struct script_socket *socket = coro->script->sockets[coro->ticket];
    enum socket_side side = socket->waits[SOCKET_READING] == coro ? SOCKET_READING : SOCKET_WRITING;
    socket->waits[side] = NULL;
    coro_cancel_timeout(coro);
    return socket;
}

static void cancel_socket_wait(struct coro *coro)
{
    (void)end_socket_wait(coro);
}

static int on_socket_user_gone(struct coro *coro)
{
    bool is_sending = coro->script->sockets[coro->ticket]->waits[SOCKET_WRITING] == coro;
    struct script_socket *socket = end_socket_wait(coro);
    if (socket->is_connecting || is_sending) { /* what is half sent is of no use */
        socket_close(socket);
    }
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait socket_wait_kind = {.on_gone = on_socket_user_gone, .cancel = cancel_socket_wait};

/* Push what a wait gives that is over for a reason, 0 or -errno. */
static int push_socket_reason(struct coro *coro, int reason)
{
    lua_pushnil(coro->L);
    lua_pushboolean(coro->L, 1);
    lua_pushinteger(coro->L, reason);
    return 3;
}

static void on_socket_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct coro *coro = arg;
    coro->wait_id = 0;
    (void)end_socket_wait(coro);
    coro_resume(coro, push_socket_reason(coro, -ETIMEDOUT));
}

/* Tell the link what is waited for. */
static int update_socket_want(const struct script_socket *socket)
{
    unsigned events = (socket->waits[SOCKET_READING] != NULL ? (unsigned)REACTOR_READABLE : 0U) |
                      (socket->waits[SOCKET_WRITING] != NULL ? (unsigned)REACTOR_WRITABLE : 0U);
    return socket->is_connecting || socket->link == NULL ? 0 : link_want(socket->link, events);
}

int socket_wait(lua_State *L, struct script_socket *socket, struct coro *coro, enum socket_side side, uint32_t ms)
{
    if (coro_is_unwanted(coro)) {
        if (side == SOCKET_WRITING) { /* what is half sent is of no use */
            socket_close(socket);
        }
        return coro_say_gone(L, coro);
    }
    *(side == SOCKET_READING ? &socket->turn_input : &socket->turn_output) = 0;
    socket->waits[side] = coro;
    coro->ticket = socket->index;
    coro->wait_id = reactor_set_timeout(coro->script->reactor, ms, on_socket_late, coro);
    if (coro->wait_id == 0 || update_socket_want(socket) < 0) {
        (void)end_socket_wait(coro);
        script_raise_memory(L);
    }
    return coro_wait(L, coro, &socket_wait_kind);
}

/* The wait on a side is over: the coroutine goes on, now or, if is_later, soon. */
static void wake_socket_side(struct script_socket *socket, enum socket_side side, int reason, bool is_later)
{
    struct coro *coro = socket->waits[side];
    if (coro == NULL) {
        return;
    }
    (void)end_socket_wait(coro);
    int count = push_socket_reason(coro, reason);
    if (is_later) {
        coro_wake(coro, count);
    } else {
        coro_resume(coro, count);
    }
}

/* Reading. */

int socket_fill(struct script_socket *socket, const struct receive_pattern *pattern)
{
    size_t have = write_buffer_len(&socket->input), wanted = SOCKET_INPUT_BYTES;
    bool is_large = pattern->kind == RECEIVE_ALL || (pattern->kind == RECEIVE_COUNT && pattern->count > have + wanted);
    if (is_large && have > wanted) { /* grow with what comes, not with what somebody says will come */
        wanted = have < (size_t)FILL_STEP_MAX ? have : (size_t)FILL_STEP_MAX;
    }
    if (!may_hold_more(socket, have)) {
        socket->end = -ENOBUFS;
        return 0;
    }
    take_input_block(socket);
    char *room = write_buffer_reserve(&socket->input, wanted, UINT32_MAX, NULL);
    if (room == NULL) {
        return -ENOMEM;
    }
    note_held(socket);
    ssize_t got = link_recv(socket->link, room, wanted);
    if (got > 0) {
        write_buffer_commit(&socket->input, (size_t)got);
        socket->turn_input += (size_t)got;
    }
    socket->is_drained = got < (ssize_t)wanted;
    if (got <= 0 && have == 0) {
        give_input_block(socket);
    }
    if (got <= 0 && got != -EAGAIN) {
        socket->end = got == 0 ? 1 : (int)got;
    }
    return 0;
}

/* Something has come. Returns whether the reader need not wait any longer. */
static bool read_for_reader(struct script_socket *socket)
{
    struct receive_cut cut;
    size_t before = write_buffer_len(&socket->input);
    socket->is_drained = false;
    while (!socket->is_drained && socket->end == 0) {
        if (socket_fill(socket, &socket->pattern) < 0) {
            return true; /* it tries for itself, and fails */
        }
        size_t len = write_buffer_len(&socket->input);
        if (socket->pattern.kind == RECEIVE_UNTIL) { /* its delimiter is in Lua's memory */
            return len > before || socket->end != 0;
        }
        struct receive_pattern pattern = socket->pattern;
        const char *bytes = len == 0 ? NULL : write_buffer_data(&socket->input);
        if (receive_look(&pattern, bytes, len, &cut) != RECEIVE_MORE) {
            return true;
        }
        socket->pattern = pattern;
        if (len - before >= FILL_TURN_BYTES) {
            return false;
        }
    }
    return socket->end != 0;
}

static void on_socket_ready(void *arg, unsigned events)
{
    struct script_socket *socket = arg;
    uint64_t id = socket->id;
    bool is_readable = (events & (unsigned)REACTOR_READABLE) != 0 && socket->waits[SOCKET_READING] != NULL;
    bool is_writable = (events & (unsigned)REACTOR_WRITABLE) != 0;
    if (is_readable && read_for_reader(socket)) {
        wake_socket_side(socket, SOCKET_READING, 0, is_writable);
    }
    if (socket->id == id && is_writable) {
        wake_socket_side(socket, SOCKET_WRITING, 0, false);
    }
    if (socket->id == id && update_socket_want(socket) < 0) {
        socket_close(socket);
    }
}

static void on_socket_open(void *arg, int error)
{
    struct script_socket *socket = arg;
    socket->is_connecting = false;
    socket->connect_error = error;
    wake_socket_side(socket, SOCKET_READING, 0, false); /* whoever connects */
}

const struct link_user socket_link_user = {.on_open = on_socket_open, .on_ready = on_socket_ready};

/* Objects. */

static struct script_socket *make_socket(struct script *script)
{
    if (script_grow((void ***)&script->sockets, script->socket_count, &script->socket_capacity) < 0) {
        return NULL;
    }
    struct script_socket *socket = mem_zalloc(sizeof *socket);
    if (socket != NULL) {
        socket->script = script;
        socket->index = script->socket_count;
        script->sockets[script->socket_count++] = socket;
        socket->next_free = script->free_sockets;
        script->free_sockets = socket;
    }
    return socket;
}

/* struct coro_thing.end */
static void end_socket(struct coro_thing *thing)
{
    socket_close((struct script_socket *)thing);
}

struct script_socket *socket_push(lua_State *L)
{
    struct script *script = script_of(L);
    struct socket_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct socket_handle){.id = 0};
    script_push_ref(script, L, REF_SOCKET_META);
    lua_setmetatable(L, -2);
    if (script->free_sockets == NULL && make_socket(script) == NULL) {
        script_raise_memory(L);
    }
    struct script_socket *socket = script->free_sockets;
    script->free_sockets = socket->next_free;
    *socket = (struct script_socket){
        .thing.end = end_socket,
        .script = script,
        .index = socket->index,
        .id = ++script->last_socket_id,
        .connect_ms = SOCKET_TIMEOUT_MS,
        .send_ms = SOCKET_TIMEOUT_MS,
        .read_ms = SOCKET_TIMEOUT_MS,
    };
    *handle = (struct socket_handle){.index = socket->index, .id = socket->id};
    return socket;
}

static struct script_socket *find_socket(const struct script *script, const struct socket_handle *handle)
{
    bool is_known = script->phase != SCRIPT_CLOSING && handle->id != 0 && handle->index < script->socket_count;
    struct script_socket *socket = is_known ? script->sockets[handle->index] : NULL;
    return socket != NULL && socket->id == handle->id ? socket : NULL;
}

struct script_socket *socket_check(lua_State *L, int index, const char *what)
{
    const struct socket_handle *handle = object_check(L, index, REF_SOCKET_META, sizeof *handle, what);
    struct script_socket *socket = find_socket(script_of(L), handle);
    if (socket == NULL) { /* the script has ended, or has taken it apart */
        script_raise(L, "%s: the socket is no more", what);
    }
    return socket;
}

struct coro *socket_check_owner(lua_State *L, const struct script_socket *socket, const char *what)
{
    struct coro *coro = coro_check_running(L, what);
    if (socket->thing.coro != NULL && socket->thing.coro != coro && socket->thing.coro != task_root(coro)) {
        script_raise(L,
                     "%s: the socket belongs to another request, timer or task, which has connected it; "
                     "connect one here, and pass it on with setkeepalive",
                     what);
    }
    return coro;
}

bool socket_push_busy(lua_State *L, const struct script_socket *socket, unsigned sides)
{
    bool reads = socket->waits[SOCKET_READING] != NULL, writes = socket->waits[SOCKET_WRITING] != NULL;
    const char *text = socket->is_connecting                           ? "socket busy connecting"
                       : reads && (sides & 1U << SOCKET_READING) != 0  ? "socket busy reading"
                       : writes && (sides & 1U << SOCKET_WRITING) != 0 ? "socket busy writing"
                                                                       : NULL;
    if (text != NULL) {
        lua_pushnil(L);
        lua_pushstring(L, text);
    }
    return text != NULL;
}

void socket_attach(struct script_socket *socket, struct coro *coro, struct link *link, bool is_open)
{
    socket->link = link;
    socket->is_connecting = !is_open;
    socket->is_drained = true;
    socket->is_read_closed = false;
    socket->end = 0;
    socket->connect_error = 0;
    socket->scanned_by = 0;
    coro_own(task_root(coro), &socket->thing);
    if (is_open) {
        link_set_user(link, &socket_link_user, socket);
    }
}

struct link *socket_detach(struct script_socket *socket)
{
    struct link *link = socket->link;
    socket->link = NULL;
    socket->is_connecting = false;
    give_input_block(socket);
    write_buffer_done(&socket->output);
    coro_disown(&socket->thing);
    mem_free(socket->pool);
    socket->pool = NULL;
    return link;
}

void socket_close(struct script_socket *socket)
{
    if (socket->link == NULL) {
        return;
    }
    link_close(socket_detach(socket));
    for (unsigned side = 0; side < SOCKET_SIDES; side++) {
        wake_socket_side(socket, (enum socket_side)side, 0, true);
    }
}

static void put_socket(struct script_socket *socket)
{
    struct script *script = socket->script;
    socket_close(socket);
    mem_free(socket->pool);
    socket->pool = NULL;
    socket->id = 0;
    socket->next_free = script->free_sockets;
    script->free_sockets = socket;
}

int socket_collect(lua_State *L)
{
    const struct socket_handle *handle = object_check_size(L, 1, sizeof *handle);
    bool is_it = handle != NULL && object_has_meta(L, 1, REF_SOCKET_META);
    struct script_socket *socket = is_it ? find_socket(script_of(L), handle) : NULL;
    bool is_waited_on = socket != NULL &&
                        (socket->waits[SOCKET_READING] != NULL || socket->waits[SOCKET_WRITING] != NULL);
    if (socket != NULL && !is_waited_on) { /* a script may call this for one that is in use */
        put_socket(socket);
    }
    return 0;
}

void socket_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->socket_count; i++) {
        struct script_socket *socket = script->sockets[i];
        link_close(socket->link);
        write_buffer_done(&socket->input);
        note_held(socket);
        write_buffer_done(&socket->output);
        mem_free(socket->pool);
        mem_free(socket);
    }
    mem_free(script->sockets);
    write_buffer_done(&script->spare_input);
}
