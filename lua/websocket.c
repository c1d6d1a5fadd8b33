/* Happy path: the handler of a route ends in websocket_begin(): its coroutine goes on without its exchange. A message
 * that comes while the coroutine waits for one resumes it inside on_websocket_message(), where it makes a string of the
 * bytes in the read block; one that comes while it is at something else is copied into a short queue. When the function
 * has returned, on_function_end() closes with 1000.
 *
 * Failure modes: a queue that is full pauses the reader, so that TCP holds up the client. When the client goes, whoever
 * waits for a message or for room is told, and any other wait of the function ends with the error of a client that has
 * gone. A function that fails, or is stopped, closes with 1011. Without memory for the queue the connection ends with
 * 1011, too: a message must not be lost without a word. Where messages come compressed, a client occupies far more
 * memory than it sends: all that wait beyond the share of each WebSocket have a limit together, and whoever comes above
 * it is closed with 1013. */

#include "lua/websocket.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/site.h"
#include "lua/coro.h"
#include "lua/websocket_options.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* The pool. */

static struct script_websocket *make_websocket(struct script *script)
{
    if (script_grow((void ***)&script->websockets, script->websocket_count, &script->websocket_capacity) < 0) {
        return NULL;
    }
    struct script_websocket *socket = mem_zalloc(sizeof *socket);
    if (socket != NULL) {
        socket->script = script;
        socket->index = script->websocket_count;
        script->websockets[script->websocket_count++] = socket;
    }
    return socket;
}

static void on_function_end(struct coro_thing *thing);

struct script_websocket *websocket_take(struct script *script)
{
    struct script_websocket *socket = script->free_websockets;
    if (socket != NULL) {
        script->free_websockets = socket->next_free;
    } else {
        socket = make_websocket(script);
    }
    if (socket != NULL) {
        socket->id = ++script->last_websocket_id;
        socket->thing.end = on_function_end;
    }
    return socket;
}

/* Bytes of messages that wait, beyond what each WebSocket may have. */
static uint64_t excess_of(const struct script_websocket *socket)
{
    bool counts = socket->options != NULL && socket->options->options.compress_min > 0;
    return counts && socket->queued_bytes > WEBSOCKET_QUEUE_BYTES_MAX ? socket->queued_bytes - WEBSOCKET_QUEUE_BYTES_MAX
                                                                      : 0;
}

static void set_queued_bytes(struct script_websocket *socket, size_t bytes)
{
    socket->script->websocket_excess -= excess_of(socket);
    socket->queued_bytes = bytes;
    socket->script->websocket_excess += excess_of(socket);
}

static void drop_queue(struct script_websocket *socket)
{
    while (socket->first != NULL) {
        struct websocket_message *next = socket->first->next;
        mem_free(socket->first);
        socket->first = next;
    }
    socket->last = NULL;
    socket->queued = 0;
    set_queued_bytes(socket, 0);
}

void websocket_put(struct script_websocket *socket)
{
    struct script *script = socket->script;
    uint32_t index = socket->index;
    assert(socket->thing.coro == NULL && socket->reader.first == NULL && socket->senders.first == NULL);
    drop_queue(socket);
    mem_free(socket->reason);
    *socket = (struct script_websocket){.script = script, .index = index, .next_free = script->free_websockets};
    script->free_websockets = socket;
}

struct script_websocket *websocket_find(const struct script *script, const struct websocket_handle *handle)
{
    bool is_known = script->phase != SCRIPT_CLOSING && handle->index < script->websocket_count && handle->id != 0;
    struct script_websocket *socket = is_known ? script->websockets[handle->index] : NULL;
    return socket != NULL && socket->id == handle->id ? socket : NULL;
}

void websocket_free_all(struct script *script)
{
    if (script->websocket_timer != 0) {
        reactor_cancel_timer(script->reactor, script->websocket_timer);
    }
    for (uint32_t i = 0; i < script->websocket_count; i++) {
        drop_queue(script->websockets[i]);
        mem_free(script->websockets[i]->reason);
        mem_free(script->websockets[i]);
    }
    mem_free(script->websockets);
}

/* Waiting. */

static int on_websocket_unwanted(struct coro *coro)
{
    coro_list_remove(coro);
    coro_cancel_timeout(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

const struct coro_wait websocket_read_wait = {.on_gone = on_websocket_unwanted, .cancel = coro_cancel_timeout};
const struct coro_wait websocket_send_wait = {.on_gone = on_websocket_unwanted, .cancel = coro_cancel_timeout};

/* Take the coroutine that waits for a message out of its wait; true lies on its stack. NULL: none does. */
static struct coro *take_reader(struct script_websocket *socket)
{
    struct coro *coro = socket->reader.first;
    if (coro != NULL) {
        coro_list_remove(coro);
        coro_cancel_timeout(coro);
        lua_pushboolean(coro->L, 1);
    }
    return coro;
}

/* Wake those that wait for room: it is there, or it is closed. */
static void wake_senders(struct script_websocket *socket)
{
    while (socket->senders.first != NULL) {
        struct coro *coro = socket->senders.first;
        coro_list_remove(coro);
        coro_cancel_timeout(coro);
        lua_pushboolean(coro->L, 1);
        coro_wake(coro, 1);
    }
}

/* The beginning. */

static struct script_websocket *of_thing(struct coro_thing *thing)
{
    return (struct script_websocket *)(void *)((char *)thing - offsetof(struct script_websocket, thing));
}

struct script_websocket *websocket_of(const struct coro *coro)
{
    struct coro_thing *thing = coro->things;
    while (thing != NULL && thing->end != on_function_end) {
        thing = thing->next;
    }
    return thing == NULL ? NULL : of_thing(thing);
}

/* struct coro.find_peer. */
static const struct peer *find_client(const struct coro *coro)
{
    const struct script_websocket *socket = websocket_of(coro);
    return socket == NULL || socket->ws == NULL ? NULL : ws_client_address(socket->ws);
}

void websocket_begin(struct script_websocket *socket, struct coro *coro)
{
    socket->options = coro->route->websocket;
    coro_own(coro, &socket->thing);
    coro->find_peer = find_client;
    coro->script->site->pins++;
}

/* The script may have been replaced: it goes when nothing is left that began with it. */
static void let_go_of_site(struct site *site)
{
    site->pins--;
    if (site->pins == 0 && site->on_unpinned != NULL) {
        site->on_unpinned(site->on_unpinned_arg);
    }
}

static void on_websocket_open(struct ws *ws, void *arg)
{
    struct script_websocket *socket = arg;
    socket->ws = ws;
    if (socket->thing.coro == NULL) { /* its function was cut before it could begin */
        ws_cut(ws);
        return;
    }
    struct coro *coro = take_reader(socket);
    if (coro != NULL) {
        coro_resume(coro, 1);
    }
}

/* Messages. */

bool websocket_has_message(const struct script_websocket *socket)
{
    return socket->handed != NULL || socket->first != NULL;
}

void websocket_read_on(struct script_websocket *socket)
{
    if (socket->is_paused && socket->first == NULL && socket->ws != NULL) {
        socket->is_paused = false;
        ws_resume(socket->ws);
    }
}

int websocket_push_message(lua_State *L, struct script_websocket *socket)
{
    if ((socket->first != NULL ? socket->first->kind : socket->handed->kind) == WS_TEXT) {
        lua_pushliteral(L, "text");
    } else {
        lua_pushliteral(L, "binary");
    }
    if (socket->first != NULL) {
        struct websocket_message *message = socket->first;
        lua_pushlstring(L, message->data, message->len);
        socket->first = message->next;
        socket->last = socket->first == NULL ? NULL : socket->last;
        socket->queued--;
        set_queued_bytes(socket, socket->queued_bytes - message->len);
        mem_free(message);
        websocket_read_on(socket);
    } else {
        lua_pushlstring(L, socket->handed->data, socket->handed->len);
        socket->handed = NULL;
    }
    lua_insert(L, -2);
    return 2;
}

/* Close from our side, if that has not begun. */
static void close_or_cut(const struct script_websocket *socket, unsigned code, const char *reason)
{
    if (ws_close(socket->ws, code, reason, strlen(reason)) == -ENOMEM) {
        ws_cut(socket->ws);
    }
}

/* Keep a message for later. */
static void keep_message(struct script_websocket *socket, const struct websocket_handed *handed)
{
    struct script *script = socket->script;
    if (script->websocket_excess > WEBSOCKET_EXCESS_MAX && handed->len > WEBSOCKET_QUEUE_BYTES_MAX) {
        log_write(
            script->log, LOG_WARN,
            "a WebSocket is closed: its message of %zu bytes would have to wait, and more than %d MiB wait already "
            "for functions of WebSockets that compress",
            handed->len, (int)(WEBSOCKET_EXCESS_MAX >> 20));
        close_or_cut(socket, WS_CODE_TRY_LATER, "too much waits for the server");
        return;
    }
    struct websocket_message *message = mem_alloc(sizeof *message + handed->len);
    if (message == NULL) {
        close_or_cut(socket, WS_CODE_INTERNAL, "out of memory");
        return;
    }
    *message = (struct websocket_message){.kind = handed->kind, .len = handed->len};
    if (handed->len > 0) {
        memcpy(message->data, handed->data, handed->len);
    }
    *(socket->last == NULL ? &socket->first : &socket->last->next) = message;
    socket->last = message;
    socket->queued++;
    set_queued_bytes(socket, socket->queued_bytes + handed->len);
    if (socket->queued >= WEBSOCKET_QUEUE_MAX || socket->queued_bytes >= WEBSOCKET_QUEUE_BYTES_MAX) {
        socket->is_paused = true;
        ws_pause(socket->ws);
    }
}

static void on_websocket_message(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len)
{
    (void)ws;
    struct script_websocket *socket = arg;
    struct websocket_handed handed = {.kind = kind, .data = data, .len = len};
    if (socket->thing.coro == NULL) { /* nobody reads any more: it is being closed */
        return;
    }
    struct coro *coro = take_reader(socket);
    if (coro != NULL) {
        socket->handed = &handed;
        coro_resume(coro, 1);
        bool was_taken = socket->handed == NULL;
        socket->handed = NULL;
        if (was_taken || socket->thing.coro == NULL) {
            return;
        }
    }
    keep_message(socket, &handed);
}

static void on_websocket_drain(struct ws *ws, void *arg)
{
    (void)ws;
    struct script_websocket *socket = arg;
    socket->is_behind = false;
    wake_senders(socket);
}

/* The end. */

/* Tell the function of a socket that the client has gone, wherever it waits. */
static void tell_function(struct script_websocket *socket)
{
    struct coro *coro = socket->thing.coro;
    bool is_told = coro == NULL || socket->reader.first == coro || socket->is_closing;
    struct coro *reader = take_reader(socket);
    if (reader != NULL) {
        coro_wake(reader, 1);
    }
    wake_senders(socket);
    if (!is_told) {
        coro_cancel(coro);
    }
}

static void on_websocket_close(struct ws *ws, void *arg, unsigned code, const char *reason, size_t len)
{
    (void)ws;
    struct script_websocket *socket = arg;
    socket->ws = NULL;
    socket->is_closed = true;
    socket->code = (uint16_t)code;
    socket->reason = len == 0 ? NULL : mem_alloc(len + 1); /* without memory there is no reason to be read */
    if (socket->reason != NULL) {
        memcpy(socket->reason, reason, len);
        socket->reason[len] = '\0';
    }
    let_go_of_site(socket->script->site);
    tell_function(socket);
    if (socket->thing.coro == NULL) {
        websocket_put(socket);
    }
}

const struct ws_user websocket_user = {
    .on_open = on_websocket_open,
    .on_message = on_websocket_message,
    .on_drain = on_websocket_drain,
    .on_close = on_websocket_close,
};

/* struct coro_thing.end: the function has returned, or failed, or was given up. */
static void on_function_end(struct coro_thing *thing)
{
    struct script_websocket *socket = of_thing(thing);
    drop_queue(socket);
    if (socket->is_closed) {
        websocket_put(socket);
        return;
    }
    if (socket->ws == NULL) { /* not open yet */
        return;
    }
    wake_senders(socket);
    websocket_read_on(socket);
    close_or_cut(socket, socket->is_done ? WS_CODE_NORMAL : WS_CODE_INTERNAL, "");
}

/* Old age. */

static void on_age(struct reactor *reactor, uint64_t timer, void *arg);

/* The smallest max_age of a route above age_ms; 0: there is none. */
static uint64_t next_age(const struct script *script, uint64_t age_ms)
{
    uint64_t next_ms = 0;
    for (const struct lua_route *route = script->routes; route != NULL; route = route->next) {
        uint64_t max_ms = route->websocket == NULL ? 0 : route->websocket->max_age_ms;
        if (max_ms > age_ms && (next_ms == 0 || max_ms < next_ms)) {
            next_ms = max_ms;
        }
    }
    return next_ms;
}

/* Set the timer for the next max_age, counted from the reload. Without memory they stay open. */
static void set_age_timer(struct script *script, uint64_t age_ms)
{
    uint64_t next_ms = next_age(script, age_ms);
    if (next_ms != 0) {
        script->websocket_timer = reactor_set_timeout(script->reactor, (uint32_t)(next_ms - age_ms), on_age, script);
    }
}

static void on_age(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct script *script = arg;
    uint64_t age_ms = (uint64_t)(reactor_now_ms(reactor) - script->retired_ms);
    script->websocket_timer = 0;
    for (uint32_t i = 0; i < script->websocket_count; i++) {
        const struct script_websocket *socket = script->websockets[i];
        uint64_t max_ms = socket->ws == NULL ? 0 : socket->options->max_age_ms;
        if (max_ms != 0 && age_ms >= max_ms) {
            close_or_cut(socket, WS_CODE_GOING_AWAY, "the server has a new configuration");
        }
    }
    set_age_timer(script, age_ms);
}

void websocket_retire(struct script *script)
{
    bool has_reactor = script->reactor != NULL && !script_is_elsewhere(script);
    if (has_reactor && next_age(script, 0) != 0) {
        script->retired_ms = reactor_now_ms(script->reactor);
        set_age_timer(script, 0);
    }
}
