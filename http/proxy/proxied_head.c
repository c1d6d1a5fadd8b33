/* Happy path: the request line, Host, the client's fields one by one, then what we say ourselves. There is no failure:
 * whoever calls has made room.
 *
 * What the upstream reads must mean what we have read. So the target is the client's only while it names the path that
 * we have routed, byte for byte; fields are written anew; the length of the body is said once, by us; and a name that
 * some servers read like one of ours (X_Forwarded_For) is not passed on. */

#include "http/proxy/proxied_head.h"

#include "core/ascii.h"
#include "core/write_buffer.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/head_text.h"
#include "http/peer.h"
#include "http/proxy/connection_options.h"
#include "http/proxy/proxy_state.h"
#include "http/proxy/tunnel.h"
#include "http/request_id.h"
#include "http/site.h"
#include "http/trusted_proxies.h"
#include "http/url.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    OWN_FIELDS_ROOM = 640, /* bytes of the lines that we write ourselves, without the client's texts */
    VALUES_MAX = 64,       /* bytes of a short value: an address, a scheme */
};

static const char via_name[] = "evserve"; /* what Via calls us */

/* Whether a name is that of a field of ours, in any case, also with '_' for '-', as CGI writes names. */
static bool is_named(const char *name, const char *ours, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i] == '_' ? '-' : ascii_lower(name[i]);
        if (c != ours[i]) {
            return false;
        }
    }
    return true;
}

#define IS_NAMED(name, len, ours) ((len) == sizeof(ours) - 1 && is_named(name, ours, sizeof(ours) - 1))

/* What becomes of a field of the client's. */
enum field_fate {
    FIELD_PASSES,
    FIELD_ENDS_HERE,   /* it is about the connection, or said by us */
    FIELD_X_FORWARDED, /* passes if it comes from a trusted proxy, and such fields of it count */
    FIELD_FORWARDED,   /* likewise */
};

static enum field_fate fate_of_proxy_field(const char *name, size_t len)
{
    static const char begin[] = "x-forwarded-";
    if (IS_NAMED(name, len, "x-forwarded-for") || IS_NAMED(name, len, "x-forwarded-host") ||
        IS_NAMED(name, len, "x-forwarded-proto") || IS_NAMED(name, len, "x-request-id")) {
        return FIELD_ENDS_HERE;
    }
    bool is_of_proxies = (len >= sizeof begin - 1 && is_named(name, begin, sizeof begin - 1)) ||
                         IS_NAMED(name, len, "x-real-ip");
    return is_of_proxies ? FIELD_X_FORWARDED : FIELD_PASSES;
}

static enum field_fate fate_of(const char *name, size_t len)
{
    bool ends = false;
    switch (ascii_lower(name[0])) {
    case 'c':
        ends = IS_NAMED(name, len, "connection") || IS_NAMED(name, len, "content-length");
        break;
    case 'e':
        ends = IS_NAMED(name, len, "expect");
        break;
    case 'f':
        return IS_NAMED(name, len, "forwarded") ? FIELD_FORWARDED : FIELD_PASSES;
    case 'h':
        ends = IS_NAMED(name, len, "host") || IS_NAMED(name, len, "http2-settings");
        break;
    case 'k':
        ends = IS_NAMED(name, len, "keep-alive");
        break;
    case 'p': /* "Proxy" becomes HTTP_PROXY in CGI */
        ends = IS_NAMED(name, len, "proxy") || IS_NAMED(name, len, "proxy-connection") ||
               IS_NAMED(name, len, "proxy-authorization") || IS_NAMED(name, len, "proxy-authenticate");
        break;
    case 't':
        ends = IS_NAMED(name, len, "te") || IS_NAMED(name, len, "trailer") || IS_NAMED(name, len, "transfer-encoding");
        break;
    case 'u':
        ends = IS_NAMED(name, len, "upgrade");
        break;
    case 'x':
        return fate_of_proxy_field(name, len);
    default:
        break;
    }
    return ends ? FIELD_ENDS_HERE : FIELD_PASSES;
}

/* List what the Connection fields of the request name. */
static void list_options(const struct exchange *exchange, struct connection_options *options)
{
    const struct head *head = &exchange->head;
    options->count = 0;
    options->has_more = false;
    unsigned first = head->first[FIELD_CONNECTION];
    for (unsigned i = first == 0 ? head->field_count : first - 1U; i < head->field_count; i++) {
        const struct field *field = &head->fields[i];
        if (ascii_is(exchange_text(exchange, field->name), field->name.len, "Connection")) {
            connection_options_add(options, exchange_text(exchange, field->value), field->value.len);
        }
    }
}

/* Whether Connection says more than what browsers say. A second such field counts as more. */
static bool has_nominations(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    unsigned first = head->first[FIELD_CONNECTION];
    if (first == 0) {
        return false;
    }
    for (unsigned i = first; i < head->field_count; i++) { /* those behind the first one */
        const struct field *field = &head->fields[i];
        if (ascii_is(exchange_text(exchange, field->name), field->name.len, "Connection")) {
            return true;
        }
    }
    const struct slice value = head->fields[first - 1].value;
    const char *text = exchange_text(exchange, value);
    return !ascii_is(text, value.len, "keep-alive") && !ascii_is(text, value.len, "close");
}

bool proxied_head_names_too_many(const struct exchange *exchange)
{
    struct connection_options options;
    if (!has_nominations(exchange)) {
        return false;
    }
    list_options(exchange, &options);
    return options.has_more;
}

/* How often a value of Via, "1.1 one, 1.1 two (text)", names us. */
static unsigned count_own_hops(const char *value, size_t len)
{
    unsigned count = 0;
    for (const char *at = value, *end = value + len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma == NULL ? end : comma;
        while (at < stop && (*at == ' ' || *at == '\t')) {
            at++;
        }
        const char *name = memchr(at, ' ', (size_t)(stop - at));
        while (name != NULL && name < stop && *name == ' ') {
            name++;
        }
        size_t left = name == NULL ? 0 : (size_t)(stop - name);
        bool is_ours = left >= sizeof via_name - 1 && ascii_equals(name, via_name, sizeof via_name - 1) &&
                       (left == sizeof via_name - 1 || name[sizeof via_name - 1] == ' ');
        count += is_ours ? 1 : 0;
        at = comma == NULL ? end : comma + 1;
    }
    return count;
}

bool proxied_head_circles(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    unsigned count = 0;
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct field *field = &head->fields[i];
        if (field->name.len == 3 && ascii_equals(exchange_text(exchange, field->name), "Via", 3)) {
            count += count_own_hops(exchange_text(exchange, field->value), field->value.len);
        }
    }
    return count >= PROXY_HOPS_MAX;
}

/* One protocol, as WebSockets and most others are asked for. A tunnel of HTTP/2 would take requests past our rules, and
 * TLS is ours to end. */
static bool is_protocol(const char *name, size_t len)
{
    bool is_token = len > 0 && len <= TUNNEL_NAME_MAX;
    for (size_t i = 0; i < len; i++) {
        is_token = is_token && (char_is(name[i], CLASS_TOKEN) || name[i] == '/');
    }
    return is_token && !(len >= 2 && ascii_equals(name, "h2", 2)) && !(len >= 4 && ascii_equals(name, "HTTP", 4)) &&
           !(len >= 3 && ascii_equals(name, "TLS", 3));
}

bool proxied_head_upgrades(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    size_t len = 0;
    if (head->first[FIELD_CONNECTION] == 0 || head->minor_version == 0 || exchange->has_body) {
        return false;
    }
    const char *protocol = exchange_field(exchange, "Upgrade", &len);
    if (protocol == NULL || !is_protocol(protocol, len)) {
        return false;
    }
    struct connection_options options;
    list_options(exchange, &options);
    return connection_options_have(&options, "upgrade", 7);
}

/* Whether the options of the proxy set or remove a field. */
static bool is_replaced(const struct proxy *proxy, const char *name, size_t len)
{
    for (size_t i = 0; i < proxy->field_count; i++) {
        if (ascii_is(name, len, proxy->fields[i].name)) {
            return true;
        }
    }
    return false;
}

/* The target. */

/* Whether the path as the client sent it is the one that was routed, with nothing but escapes in between: no segment
 * was resolved, which always makes a path shorter. An escape is three bytes for one. */
static bool is_path_as_sent(const struct exchange *exchange)
{
    const struct head *head = &exchange->head;
    if (head->path_is_plain) {
        return head->path.len > 0;
    }
    const char *path = exchange_text(exchange, head->path);
    size_t len = head->path.len;
    for (size_t i = 0; i < head->path.len; i++) {
        len -= path[i] == '%' ? 2 : 0;
    }
    return len == exchange->path_len && head->path.len > 0;
}

/* Leave one of the slashes that a path begins with. Servers that read "//x/admin" as a reference (RFC 3986 section 4.2)
 * take x for a host, and would see the path "/admin", which no rule has seen. */
static void skip_slashes(const char **path, size_t *len)
{
    while (*len > 1 && (*path)[0] == '/' && (*path)[1] == '/') {
        (*path)++;
        (*len)--;
    }
}

static char *put_target(char *at, const struct exchange *exchange, const struct proxy *proxy,
                        const struct upstream *upstream)
{
    const struct head *head = &exchange->head;
    const char *raw = exchange_text(exchange, head->path);
    size_t cut = proxy->prefix_len;
    bool is_raw = is_path_as_sent(exchange) && (cut == 0 || memcmp(raw, proxy->prefix, cut) == 0);
    at = put(at, upstream->base, upstream->base_len);
    const char *path = is_raw ? raw + cut : exchange->path + cut;
    size_t len = is_raw ? head->path.len - cut : exchange->path_len - cut;
    if (upstream->base_len == 0) {
        skip_slashes(&path, &len);
    }
    if (len == 0) {
        *at++ = '/';
    } else if (is_raw) {
        at = put(at, path, len);
    } else {
        at += url_encode_path(path, len, at);
    }
    if (head->has_query) {
        *at++ = '?';
        at = put(at, exchange_text(exchange, head->query), head->query.len);
    }
    return at;
}

/* Fields. */

static char *put_proxied_line(char *at, const char *name, size_t name_len, const char *value, size_t value_len)
{
    at = put(at, name, name_len);
    *at++ = ':';
    *at++ = ' ';
    at = put(at, value, value_len);
    return put(at, "\r\n", 2);
}

static char *put_proxied_host(char *at, const struct exchange *exchange, const struct proxy *proxy,
                              const struct upstream *upstream)
{
    const struct slice own = exchange->head.authority;
    at = put_text(at, "Host: ");
    if (proxy->host != NULL) {
        at = put_text(at, proxy->host);
    } else if (proxy->sends_upstream_host || own.len == 0) {
        at = put(at, upstream->url.authority, upstream->url.authority_len);
    } else {
        at = put(at, exchange_text(exchange, own), own.len);
    }
    return put(at, "\r\n", 2);
}

/* The address that the request came from, without a port; nothing for a unix socket. */
static char *put_sender(char *at, const struct peer *peer)
{
    if (peer->family == AF_INET) {
        for (int i = 0; i < 4; i++) {
            at = put_number(at, peer->address[i]);
            *at++ = '.';
        }
        return at - 1;
    }
    if (peer->family == AF_INET6 && inet_ntop(AF_INET6, peer->address, at, VALUES_MAX) != NULL) {
        at += strlen(at);
    }
    return at;
}

/* Put an address behind others. Without one, such as that of a unix socket, nothing is put. */
static char *add_address(char *at, const char *values, const struct peer *peer)
{
    if (peer->family == AF_UNIX) {
        return at;
    }
    at = at > values ? put(at, ", ", 2) : at;
    return put_sender(at, peer);
}

/* The client, and the proxies in front of us: what a trusted one has said, and where that came from. */
static char *put_forwarded_for(char *at, const struct exchange *exchange, unsigned sources)
{
    char *start = at;
    at = put_text(at, "X-Forwarded-For: ");
    char *values = at;
    for (unsigned i = 0; (sources & FORWARDED_BY_FOR) != 0 && i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->value.len > 0 &&
            ascii_is(exchange_text(exchange, field->name), field->name.len, "X-Forwarded-For")) {
            at = at > values ? put(at, ", ", 2) : at;
            at = put(at, exchange_text(exchange, field->value), field->value.len);
        }
    }
    if ((sources & FORWARDED_BY_STANDARD) != 0 && (exchange->told & FORWARDED_CLIENT) != 0) {
        at = add_address(at, values, &exchange->forwarded.client);
    }
    at = add_address(at, values, exchange->peer);
    return at > values ? put(at, "\r\n", 2) : start;
}

/* Whether we say a field: the options do not set or remove it. */
static bool says(const struct proxy *proxy, const char *name)
{
    return proxy->field_count == 0 || !is_replaced(proxy, name, strlen(name));
}

static char *put_own_fields(char *at, struct exchange *exchange, const struct proxy *proxy, unsigned sources)
{
    size_t host_len;
    const char *host = exchange_host(exchange, &host_len);
    if (says(proxy, "X-Forwarded-For")) {
        at = put_forwarded_for(at, exchange, sources);
    }
    if (says(proxy, "X-Forwarded-Proto")) {
        at = put_text(at, "X-Forwarded-Proto: ");
        at = put_text(at, exchange_scheme(exchange));
        at = put(at, "\r\n", 2);
    }
    if (host_len > 0 && says(proxy, "X-Forwarded-Host")) {
        at = put_proxied_line(at, "X-Forwarded-Host", 16, host, host_len);
    }
    if (says(proxy, "X-Request-Id")) {
        at = put_text(at, "X-Request-Id: ");
        at = put_text(at, request_id(exchange));
        at = put(at, "\r\n", 2);
    }
    if (says(proxy, "Via")) { /* RFC 9110 section 7.6.3: must */
        at = put_proxied_line(at, "Via", 3, "1.1 evserve", 11);
    }
    return at;
}

static char *put_client_fields(char *at, const struct exchange *exchange, const struct proxy *proxy, unsigned sources)
{
    const struct head *head = &exchange->head;
    struct connection_options options;
    bool nominates = has_nominations(exchange);
    if (nominates) {
        list_options(exchange, &options);
    }
    for (unsigned i = 0; i < head->field_count; i++) {
        const struct field *field = &head->fields[i];
        const char *name = exchange_text(exchange, field->name);
        enum field_fate fate = fate_of(name, field->name.len);
        if (fate == FIELD_ENDS_HERE || (fate == FIELD_X_FORWARDED && (sources & FORWARDED_BY_DEFAULT) == 0) ||
            (fate == FIELD_FORWARDED && (sources & FORWARDED_BY_STANDARD) == 0) ||
            (nominates && connection_options_have(&options, name, field->name.len)) ||
            (proxy->field_count > 0 && is_replaced(proxy, name, field->name.len))) {
            continue;
        }
        at = put_proxied_line(at, name, field->name.len, exchange_text(exchange, field->value), field->value.len);
    }
    for (size_t i = 0; i < proxy->field_count; i++) {
        const struct proxy_field *field = &proxy->fields[i];
        if (field->value != NULL) {
            at = put_proxied_line(at, field->name, strlen(field->name), field->value, strlen(field->value));
        }
    }
    return at;
}

/* How the body ends, and what becomes of the connection. */
static char *put_framing(char *at, const struct exchange *exchange, const struct proxy *proxy, bool upgrades)
{
    const struct head *head = &exchange->head;
    if (head->chunked) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    } else if (head->has_length) {
        at = put_text(at, "Content-Length: ");
        at = put_number(at, head->content_length);
        at = put(at, "\r\n", 2);
    }
    if (upgrades) {
        size_t len = 0;
        const char *protocol = exchange_field(exchange, "Upgrade", &len);
        at = put_text(at, "Connection: Upgrade\r\n");
        return put_proxied_line(at, "Upgrade", 7, protocol, len);
    }
    return proxy->keepalive == 0 ? put_text(at, "Connection: close\r\n") : at;
}

size_t proxied_head_room(const struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream)
{
    const struct head *head = &exchange->head;
    size_t host_len;
    (void)exchange_host(exchange, &host_len);
    return (size_t)OWN_FIELDS_ROOM + head->method_text.len + upstream->base_len + 3 * ((size_t)exchange->path_len + 1) +
           head->path.len + head->query.len + 2 * ((size_t)head->len + head->field_count) + proxy->set_bytes +
           host_len + upstream->url.authority_len + (proxy->host == NULL ? 0 : strlen(proxy->host));
}

size_t proxied_head_write(char *text, struct exchange *exchange, const struct proxy *proxy,
                          const struct upstream *upstream, bool upgrades)
{
    const struct slice method = exchange->head.method_text;
    const struct trusted_proxies *trusted = exchange->site->trusted;
    bool is_trusted = trusted != NULL && trusted_proxies_have(trusted, exchange->peer);
    unsigned sources = is_trusted ? exchange->site->forwarded : 0; /* whose fields say who the client is */
    char *at = put(text, exchange_text(exchange, method), method.len);
    *at++ = ' ';
    at = put_target(at, exchange, proxy, upstream);
    at = put_text(at, " HTTP/1.1\r\n");
    at = put_proxied_host(at, exchange, proxy, upstream);
    at = put_client_fields(at, exchange, proxy, sources);
    at = put_own_fields(at, exchange, proxy, sources);
    at = put_framing(at, exchange, proxy, upgrades);
    at = put(at, "\r\n", 2);
    return (size_t)(at - text);
}
