/* WebSockets of a host. What a host gives for one is usually the same for all WebSockets of a route, except for arg; so
 * those that are open on a thread share it (struct evs_ws_class), and one of them costs a host in C no memory beyond
 * that of http/ws/.
 *
 * Failure modes: a request that is no handshake gets a response that says so; mistakes of the host are in its log. */

#include "core/mem.h"
#include "http/host/evs_blame.h"
#include "http/host/evs_events.h"
#include "http/host/evs_host.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_stalls.h"
#include "http/peer.h"
#include "http/response.h"
#include "http/service.h"
#include "http/ws/ws.h"
#include "http/ws/ws_accept.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CLASSES_LOOKED_AT = 16,   /* of a thread, for one that a new WebSocket can share */
    PROTOCOLS_LEN_MAX = 1000, /* bytes of evs_ws_callbacks.protocols */
    STATUS_INTERNAL_ERROR = 500,
};

/* What WebSockets share. */
struct evs_ws_class {
    struct ws_options options;      /* its address is that of the class */
    struct evs_ws_callbacks socket; /* without arg and origins, which need not be the same; protocols is text */
    struct evs_host *host;          /* of the thread */
    struct evs_ws_class *next;      /* in host->ws_classes, the one used last first */
    uint64_t users;                 /* WebSockets */
    char text[];
};

static struct ws *ws_of(const evs_ws *ws)
{
    union {
        const evs_ws *public;
        struct ws *inner;
    } cast = {.public = ws};
    return cast.inner;
}

static evs_ws *public_of(struct ws *ws)
{
    return (evs_ws *)(void *)ws;
}

static struct evs_ws_class *class_of(const struct ws *ws)
{
    union {
        const struct ws_options *options;
        struct evs_ws_class *class;
    } cast = {.options = ws_options_of(ws)};
    return cast.class;
}

/* Callbacks. */

static void note_stall(const struct evs_ws_class *class, const char *what)
{
    evs_stalls_note(class->host->reactor, what);
}

static void open_hosted(struct ws *ws, void *arg)
{
    const struct evs_ws_class *class = class_of(ws);
    if (class->socket.on_open != NULL) {
        class->socket.on_open(public_of(ws), arg);
        note_stall(class, "evs_ws_callbacks.on_open");
    }
}

static void take_hosted(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len)
{
    const struct evs_ws_class *class = class_of(ws);
    if (class->socket.on_message != NULL) {
        class->socket.on_message(public_of(ws), (int)kind, data, len, arg);
        note_stall(class, "evs_ws_callbacks.on_message");
    }
}

static void drain_hosted(struct ws *ws, void *arg)
{
    const struct evs_ws_class *class = class_of(ws);
    if (class->socket.on_drain != NULL) {
        class->socket.on_drain(public_of(ws), arg);
        note_stall(class, "evs_ws_callbacks.on_drain");
    }
}

static void pong_hosted(struct ws *ws, void *arg, const char *data, size_t len)
{
    const struct evs_ws_class *class = class_of(ws);
    if (class->socket.on_pong != NULL) {
        class->socket.on_pong(public_of(ws), data, len, arg);
        note_stall(class, "evs_ws_callbacks.on_pong");
    }
}

static void leave_class(struct evs_ws_class *class)
{
    if (--class->users > 0) {
        return;
    }
    struct evs_ws_class **at = &class->host->ws_classes;
    while (*at != class) {
        at = &(*at)->next;
    }
    *at = class->next;
    mem_free(class);
}

static void close_hosted(struct ws *ws, void *arg, unsigned code, const char *reason, size_t len)
{
    struct evs_ws_class *class = class_of(ws);
    char text[WS_REASON_MAX + 1];
    size_t kept = len < WS_REASON_MAX ? len : WS_REASON_MAX;
    memcpy(text, reason, kept);
    text[kept] = '\0';
    if (class->socket.on_close != NULL) {
        class->socket.on_close(public_of(ws), (int)code, text, arg);
        note_stall(class, "evs_ws_callbacks.on_close");
    }
    leave_class(class);
}

static const struct ws_user hosted_user = {
    .on_open = open_hosted,
    .on_message = take_hosted,
    .on_pong = pong_hosted,
    .on_drain = drain_hosted,
    .on_close = close_hosted,
};

/* Classes. */

/* The number that a limit stands for, if it is one of 1 to most, or of 0 to most with allows_zero. Returns false if it
 * is not. */
static bool take_limit(uint64_t given, uint64_t initial, uint64_t most, bool allows_zero, uint64_t *value)
{
    *value = given == 0 ? initial : given == EVSERVE_ZERO ? 0 : given;
    return *value <= most && (*value > 0 || allows_zero || given == 0);
}

static bool take_time(uint64_t given, uint32_t *ms, bool allows_zero)
{
    enum { DAY_MS = 86400000 };
    uint64_t value;
    bool is_right = take_limit(given, *ms, DAY_MS, allows_zero, &value);
    *ms = (uint32_t)value;
    return is_right;
}

/* Returns NULL, or what is wrong. */
static const char *take_options(struct ws_options *options, const struct evs_ws_callbacks *socket,
                                const struct limits *limits)
{
    uint64_t max_message;
    ws_options_init(options, limits, &hosted_user);
    if (!take_limit(socket->max_message, options->max_message, WS_SEND_MAX_BYTES, false, &max_message)) {
        return "evs_ws_callbacks.max_message must be 1 byte to 1 GiB";
    }
    options->max_message = (size_t)max_message;
    if (!take_time(socket->ping_ms, &options->ping_ms, true) ||
        !take_time(socket->pong_timeout_ms, &options->pong_timeout_ms, false) ||
        !take_time(socket->idle_timeout_ms, &options->idle_timeout_ms, true) ||
        !take_time(socket->close_timeout_ms, &options->close_timeout_ms, false)) {
        return "a time in struct evs_ws_callbacks must be 1 ms to a day; ping_ms and idle_timeout_ms may be EVSERVE_ZERO";
    }
    uint64_t compress_min;
    if (!take_limit(socket->compress_min, WS_COMPRESS_MIN_BYTES, WS_SEND_MAX_BYTES, false, &compress_min)) {
        return "evs_ws_callbacks.compress_min must be 1 byte to 1 GiB";
    }
    options->compress_min = socket->compress != 0 ? (uint32_t)compress_min : 0;
    return socket->protocols != NULL && strlen(socket->protocols) > PROTOCOLS_LEN_MAX
               ? "evs_ws_callbacks.protocols is longer than 1000 bytes"
               : NULL;
}

static bool is_class_for(const struct evs_ws_class *class, const struct evs_ws_callbacks *socket,
                         const struct ws_options *options)
{
    const struct evs_ws_callbacks *own = &class->socket;
    const char *protocols = socket->protocols == NULL ? "" : socket->protocols;
    return own->on_open == socket->on_open && own->on_message == socket->on_message &&
           own->on_drain == socket->on_drain && own->on_pong == socket->on_pong && own->on_close == socket->on_close &&
           memcmp(&class->options, options, sizeof *options) == 0 && strcmp(class->text, protocols) == 0;
}

/* The class of a new WebSocket, with one user more. NULL without memory. */
static struct evs_ws_class *join_class(struct evs_host *host, const struct evs_ws_callbacks *socket,
                                       const struct ws_options *options)
{
    unsigned looks = 0;
    for (struct evs_ws_class **at = &host->ws_classes; *at != NULL && looks < CLASSES_LOOKED_AT; at = &(*at)->next) {
        struct evs_ws_class *class = *at;
        if (is_class_for(class, socket, options)) {
            *at = class->next;
            class->next = host->ws_classes;
            host->ws_classes = class;
            class->users++;
            return class;
        }
        looks++;
    }
    size_t len = socket->protocols == NULL ? 0 : strlen(socket->protocols);
    struct evs_ws_class *class = mem_alloc(sizeof *class + len + 1);
    if (class == NULL) {
        return NULL;
    }
    class->options = *options;
    class->socket = *socket;
    class->socket.arg = NULL;
    class->socket.origins = NULL;
    class->host = host;
    class->users = 1;
    memcpy(class->text, len == 0 ? "" : socket->protocols, len + 1);
    class->socket.protocols = len == 0 ? NULL : class->text;
    class->next = host->ws_classes;
    host->ws_classes = class;
    return class;
}

/* For hosts. */

int evs_websocket(evs_request *request, const struct evs_ws_callbacks *socket)
{
    struct exchange *exchange = exchange_of(request);
    struct ws_options options;
    memset(&options, 0, sizeof options);
    if (exchange->response_state != RESPONSE_NONE) {
        evs_blame(exchange, LOG_ERROR, "evs_websocket", "the response has begun already");
        return -EALREADY;
    }
    const char *why = socket->size != sizeof *socket ? "evs_ws_callbacks.size is not sizeof(struct evs_ws_callbacks)"
                                                     : take_options(&options, socket, exchange->limits);
    if (why != NULL) {
        evs_blame(exchange, LOG_ERROR, "evs_websocket", why);
        response_error(evs_part(request), STATUS_INTERNAL_ERROR, NULL);
        return -EINVAL;
    }
    struct evs_ws_class *class = join_class(exchange->service->host, socket, &options);
    if (class == NULL) {
        response_error(evs_part(request), STATUS_INTERNAL_ERROR, NULL);
        return STATUS_INTERNAL_ERROR;
    }
    const struct ws_policy policy = {.origins = socket->origins, .protocols = class->socket.protocols};
    int rv = ws_accept(evs_part(request), &policy, &class->options, socket->arg, NULL);
    if (rv != 0) {
        leave_class(class);
    }
    return rv;
}

int evs_ws_send(evs_ws *ws, int kind, const void *data, size_t len)
{
    if (kind != EVS_WS_TEXT && kind != EVS_WS_BINARY) {
        return -EINVAL;
    }
    return ws_send(ws_of(ws), (enum ws_kind)kind, data, len);
}

int evs_ws_ping(evs_ws *ws, const void *data, size_t len)
{
    return ws_ping(ws_of(ws), data, len);
}

int evs_ws_close(evs_ws *ws, int code, const char *reason)
{
    return code < 0 ? -EINVAL : ws_close(ws_of(ws), (unsigned)code, reason, reason == NULL ? 0 : strlen(reason));
}

void evs_ws_pause(evs_ws *ws)
{
    ws_pause(ws_of(ws));
}

void evs_ws_resume(evs_ws *ws)
{
    ws_resume(ws_of(ws));
}

evserve *evs_ws_server(const evs_ws *ws)
{
    return ws_service(ws_of(ws))->owner;
}

unsigned evs_ws_thread(const evs_ws *ws)
{
    return ws_service(ws_of(ws))->owner_index;
}

size_t evs_ws_queued(const evs_ws *ws)
{
    return ws_queued(ws_of(ws));
}

void *evs_ws_arg(const evs_ws *ws)
{
    return ws_arg(ws_of(ws));
}

const char *evs_ws_client(const evs_ws *ws, char *text, size_t size)
{
    peer_format_host(ws_client_address(ws_of(ws)), text, size);
    return text;
}

const char *evs_ws_peer(const evs_ws *ws, char *text, size_t size)
{
    peer_format(ws_peer(ws_of(ws)), text, size);
    return text;
}

const char *evs_ws_protocol(const evs_ws *ws, char *text, size_t size)
{
    unsigned place = ws_protocol_place(ws_of(ws));
    const char *at = place == 0 ? "" : class_of(ws_of(ws))->text;
    for (; place > 1; place--) {
        at = strchr(at, ',') + 1;
    }
    at += strspn(at, " \t");
    snprintf(text, size, "%.*s", (int)strcspn(at, ", \t"), at);
    return text;
}
