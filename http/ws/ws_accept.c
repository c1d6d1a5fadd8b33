/* Happy path: the request has all that a handshake needs, and is answered with a 101; when that is sent, the connection
 * goes over to ws_protocol.
 *
 * Failure modes: what is missing is said in the response; a client that leaves before the 101 is sent is an on_close()
 * without an on_open(). */

#include "http/ws/ws_accept.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "core/slabs.h"
#include "core/tls.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/service.h"
#include "http/takeover.h"
#include "http/ws/ws_deflate.h"
#include "http/ws/ws_handshake.h"
#include "http/ws/ws_protocol.h"
#include "http/ws/ws_state.h"

#include <errno.h>
#include <string.h>

enum { ORIGIN_SHOWN_MAX = 200 }; /* bytes of an Origin, and of a Host, in the log */
enum { STATUS_BAD = 400, STATUS_FORBIDDEN = 403, STATUS_UPGRADE = 426, STATUS_INTERNAL = 500 };

/* Between the response and the moment when it is sent. */
struct ws_opening {
    struct takeover takeover;
    struct ws *ws; /* zeroed except for options and arg */
};

/* A refusal; status 0 is none. */
struct ws_refusal {
    int status;
    const char *why; /* for the client */
};

/* Whether one of the fields of that name lists a token. */
static bool lists_token(const struct exchange *exchange, const char *name, const char *token)
{
    size_t name_len = strlen(name);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == name_len && ascii_equals(exchange_text(exchange, field->name), name, name_len) &&
            ws_tokens_have(exchange_text(exchange, field->value), field->value.len, token)) {
            return true;
        }
    }
    return false;
}

/* The value of a field that must come exactly once; NULL: it does not. */
static const char *find_single(const struct exchange *exchange, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    const char *found = NULL;
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == name_len && ascii_equals(exchange_text(exchange, field->name), name, name_len)) {
            if (found != NULL) {
                return NULL;
            }
            found = exchange_text(exchange, field->value);
            *len = field->value.len;
        }
    }
    return found;
}

static bool may_connect(const struct exchange *exchange, const char *origins)
{
    size_t len, host_len = 0;
    const char *origin = exchange_field(exchange, "Origin", &len);
    if (origin == NULL) {
        return true;
    }
    if (origins != NULL) {
        return ws_origin_is_listed(origin, len, origins);
    }
    const char *host = exchange_host(exchange, &host_len);
    return host_len > 0 && ws_origin_is_own(origin, len, host, host_len, exchange_is_secure(exchange));
}

static struct ws_refusal check_handshake(const struct exchange *exchange, const struct ws_policy *policy)
{
    size_t key_len = 0, version_len = 0;
    if (exchange->head.method != METHOD_GET || exchange->head.minor_version == 0 ||
        !lists_token(exchange, "Upgrade", "websocket")) {
        return (struct ws_refusal){STATUS_UPGRADE,
                                   "This is a WebSocket: connect with ws:// or wss://. If you did, a proxy "
                                   "in between has not passed on the fields Upgrade and Connection."};
    }
    if (!lists_token(exchange, "Connection", "Upgrade")) {
        return (struct ws_refusal){STATUS_BAD,
                                   "The field Connection does not list Upgrade. If the client sent it, a proxy "
                                   "in between has dropped it."};
    }
    const char *version = find_single(exchange, "Sec-WebSocket-Version", &version_len);
    if (version == NULL || version_len != 2 || memcmp(version, "13", 2) != 0) {
        return (struct ws_refusal){STATUS_UPGRADE, "Sec-WebSocket-Version must be 13."};
    }
    const char *key = find_single(exchange, "Sec-WebSocket-Key", &key_len);
    if (key == NULL || !ws_key_is_valid(key, key_len)) {
        return (struct ws_refusal){STATUS_BAD, "Sec-WebSocket-Key must be 16 bytes in base64, sent once."};
    }
    if (!exchange->is_body_read) {
        return (struct ws_refusal){STATUS_BAD, "A request for a WebSocket has no body."};
    }
    if (!may_connect(exchange, policy->origins)) {
        return (struct ws_refusal){
            STATUS_FORBIDDEN,
            policy->origins != NULL
                ? "Pages of this Origin may not connect to this WebSocket."
                : "The Origin of the page is not the Host of this request. If both are the same site, a "
                  "proxy in between has changed the field Host, or dropped its port."};
    }
    return (struct ws_refusal){0, NULL};
}

/* Read what the client offers in Sec-WebSocket-Extensions. Returns false if that is malformed. */
static bool read_offer(const struct exchange *exchange, struct ws_offer *offer)
{
    static const char extension_field[] = "Sec-WebSocket-Extensions";
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == sizeof extension_field - 1 &&
            ascii_equals(exchange_text(exchange, field->name), extension_field, sizeof extension_field - 1) &&
            !ws_extension_read(offer, exchange_text(exchange, field->value), field->value.len)) {
            return false;
        }
    }
    return true;
}

/* A browser does not show why a handshake was refused, not even to its developer. */
static void log_origin(struct exchange *exchange, const struct ws_policy *policy)
{
    size_t len = 0, host_len = 0;
    const char *origin = exchange_field(exchange, "Origin", &len);
    const char *host = exchange_host(exchange, &host_len);
    int shown = len < ORIGIN_SHOWN_MAX ? (int)len : ORIGIN_SHOWN_MAX,
        host_shown = host_len < ORIGIN_SHOWN_MAX ? (int)host_len : ORIGIN_SHOWN_MAX;
    if (policy->origins != NULL) {
        exchange_log(exchange, LOG_WARN, policy, "GET %s: WebSocket refused: Origin %.*s is not in \"origins\"",
                     exchange->path, shown, origin);
    } else {
        exchange_log(
            exchange, LOG_WARN, policy,
            "GET %s: WebSocket refused: Origin %.*s, Host %.*s: if both are the same site, the proxy in front must "
            "pass on Host with its port; otherwise list the origin in \"origins\"",
            exchange->path, shown, origin, host_shown, host);
    }
}

static int refuse_handshake(struct exchange *exchange, const struct ws_refusal *refusal, const struct ws_policy *policy)
{
    if (refusal->status == STATUS_FORBIDDEN) {
        log_origin(exchange, policy);
    }
    static const char lines[] = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    if (refusal->status == STATUS_UPGRADE && response_add_lines(exchange, lines, sizeof lines - 1) < 0) {
        response_error(exchange, STATUS_INTERNAL, NULL);
        return STATUS_INTERNAL;
    }
    response_error_page(exchange, refusal->status, refusal->why);
    return refusal->status;
}

static bool is_offered(void *arg, const char *name, size_t len)
{
    static const char protocol_field[] = "Sec-WebSocket-Protocol";
    const struct exchange *exchange = arg;
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == sizeof protocol_field - 1 &&
            ascii_equals(exchange_text(exchange, field->name), protocol_field, sizeof protocol_field - 1) &&
            ws_protocols_have(exchange_text(exchange, field->value), field->value.len, name, len)) {
            return true;
        }
    }
    return false;
}

/* Add the fields of the 101. Returns 0 or -errno. */
static int add_agreed(struct exchange *exchange, const struct ws_policy *policy, struct ws_agreed *agreed)
{
    char value[WS_ACCEPT_LEN];
    size_t key_len = 0;
    const char *key = find_single(exchange, "Sec-WebSocket-Key", &key_len);
    ws_accept_value(key, key_len, value);
    int rv = response_set_field(exchange, "Sec-WebSocket-Accept", 20, value, sizeof value);
    *agreed = (struct ws_agreed){0};
    if (rv == 0 && policy->protocols != NULL) {
        agreed->protocol = ws_choose_protocol(policy->protocols, is_offered, exchange, &agreed->protocol_len);
    }
    if (agreed->protocol != NULL) {
        agreed->place = 1;
        for (const char *at = policy->protocols; at < agreed->protocol; at++) {
            agreed->place += *at == ',' ? 1 : 0;
        }
    }
    if (agreed->place > UINT8_MAX) {
        *agreed = (struct ws_agreed){0};
    }
    if (agreed->protocol != NULL) {
        rv = response_set_field(exchange, "Sec-WebSocket-Protocol", 22, agreed->protocol, agreed->protocol_len);
    }
    return rv;
}

/* Keep the client that a proxy has told beyond the request. Returns 0 or -ENOMEM. */
static int keep_client(struct ws *ws, const struct exchange *exchange)
{
    const struct peer *client = exchange_client(exchange);
    if (client == exchange->peer) {
        return 0;
    }
    ws->client = mem_alloc(sizeof *ws->client);
    if (ws->client == NULL) {
        return -ENOMEM;
    }
    *ws->client = *client;
    return 0;
}

/* Agree on compression, if the client offers it and there is memory for it. Returns 0 or -errno. */
static int add_compression(struct exchange *exchange, struct ws *ws, const struct ws_offer *offer)
{
    struct service *service = exchange->service;
    struct ws_deflate_terms terms;
    char value[WS_EXTENSION_MAX];
    if (ws->options->compress_min == 0 || !offer->is_there ||
        ws_deflate_create(&ws->deflate, &service->ws_codecs, exchange->limits->ws_deflate_memory_bytes, offer, &terms) <
            0) {
        return 0;
    }
    return response_set_field(exchange, "Sec-WebSocket-Extensions", 24, value, ws_extension_write(value, &terms));
}

static void *begin_ws(struct conn *conn, const char *unread, size_t len, void *arg)
{
    struct ws_opening *opening = arg;
    struct ws *ws = opening->ws;
    if (ws_begin(ws, conn, unread, len) < 0) {
        return NULL; /* then lose_opening() comes */
    }
    mem_free(opening);
    return ws;
}

static void free_opening(struct ws_opening *opening)
{
    ws_deflate_destroy(opening->ws->deflate);
    mem_free(opening->ws->client);
    slabs_put(opening->ws);
    mem_free(opening);
}

static void lose_opening(void *arg)
{
    struct ws_opening *opening = arg;
    struct ws *ws = opening->ws;
    ws->state = WS_OVER;
    ws->options->user->on_close(ws, ws->arg, WS_CODE_LOST, "", 0);
    free_opening(opening);
}

static struct ws_opening *make_opening(struct service *service, const struct ws_options *options, void *arg)
{
    struct ws_opening *opening = mem_alloc(sizeof *opening);
    struct ws *ws = slabs_take(&service->websockets, sizeof *ws);
    if (opening == NULL || ws == NULL) {
        mem_free(opening);
        slabs_put(ws);
        return NULL;
    }
    ws->options = options;
    ws->arg = arg;
    opening->takeover = (struct takeover){
        .name = "websocket", .to = &ws_protocol, .begin = begin_ws, .lose = lose_opening, .arg = opening};
    opening->ws = ws;
    return opening;
}

int ws_accept(struct exchange *exchange, const struct ws_policy *policy, const struct ws_options *options, void *arg,
              struct ws_agreed *agreed)
{
    struct ws_agreed own;
    struct ws_offer offer = {0};
    agreed = agreed == NULL ? &own : agreed;
    struct ws_refusal refusal = check_handshake(exchange, policy);
    if (refusal.status == 0 && !read_offer(exchange, &offer)) {
        refusal.status = STATUS_BAD;
        refusal.why = "Sec-WebSocket-Extensions is no list of extensions (RFC 6455 section 9.1).";
    }
    if (refusal.status != 0) {
        return refuse_handshake(exchange, &refusal, policy);
    }
    struct ws_opening *opening = make_opening(exchange->service, options, arg);
    if (opening == NULL || keep_client(opening->ws, exchange) < 0 || add_agreed(exchange, policy, agreed) < 0 ||
        add_compression(exchange, opening->ws, &offer) < 0) {
        if (opening != NULL) {
            free_opening(opening);
        }
        response_error(exchange, STATUS_INTERNAL, NULL);
        return STATUS_INTERNAL;
    }
    opening->ws->protocol = (uint8_t)agreed->place;
    (void)response_switch(exchange, &opening->takeover); /* HTTP/1.0 and bodies were refused */
    return 0;
}
