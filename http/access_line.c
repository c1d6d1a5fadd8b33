/* Happy path: for each part its text is copied, and a function for its variable writes the value: write_value() is the
 * table of contents. Times are written once a second, and the client's address once while it stays the same.
 *
 * Failure modes: none. A value is cut where the room ends that its part has, and what has no value is "-", or nothing
 * in a string of JSON. */

#include "http/access_line.h"

#include "core/ascii.h"
#include "core/net_address.h"
#include "core/sys.h"
#include "core/tls_info.h"
#include "http/access_escape.h"
#include "http/access_format.h"
#include "http/access_memo.h"
#include "http/authority.h"
#include "http/digits.h"
#include "http/exchange.h"
#include "http/head_text.h"
#include "http/peer.h"
#include "http/proxied.h"
#include "http/request_id.h"

#include <string.h>

enum {
    USER_MAX = 128,           /* bytes of $remote_user */
    REQUEST_LINE_MAX = 16384, /* bytes of a request line that is not a request's, as far as it is shown */
};

/* A line in the making. */
struct line {
    const struct access_entry *entry;
    struct access_memo *memo;
    const char *end; /* of the room for the value being written */
    bool is_json;
    const struct slice *fields[ACCESS_FIELDS_MAX]; /* those of the format, in its order; NULL: not in this request */
};

/* Copy a short text in blocks, the last of which may go beyond its end, where there is room on both sides: one of the
 * format, or of the memo. A call of memcpy(3) takes longer. */
static inline char *put_block(char *at, const char *text, size_t len)
{
    memcpy(at, text, ACCESS_COPY_SLACK);
    for (size_t done = ACCESS_COPY_SLACK; done < len; done += ACCESS_COPY_SLACK) {
        memcpy(at + done, text + done, ACCESS_COPY_SLACK);
    }
    return at + len;
}

/* Values. */

static char *put_nothing(const struct line *line, char *at)
{
    if (!line->is_json) {
        *at++ = '-';
    }
    return at;
}

/* What a client, or a host, has chosen. */
static char *put_escaped(const struct line *line, char *at, const char *text, size_t len)
{
    return len == 0 ? put_nothing(line, at) : access_escape(at, line->end, text, len, line->is_json);
}

static char *put_chosen(const struct line *line, char *at, const char *text)
{
    return text == NULL ? put_nothing(line, at) : put_escaped(line, at, text, strlen(text));
}

/* Seconds with three decimals. */
static char *put_milliseconds(char *at, uint64_t ms)
{
    at = put_number(at, ms / 1000);
    *at++ = '.';
    return put_three_digits(at, (unsigned)(ms % 1000));
}

static char *put_duration(char *at, int64_t duration_us)
{
    return put_milliseconds(at, duration_us < 0 ? 0 : (uint64_t)duration_us / 1000);
}

static char *put_status(const struct line *line, char *at, int status)
{
    if (status == 0 && line->is_json) {
        *at++ = '0'; /* "000" is no number of JSON */
        return at;
    }
    return put_three_digits(at, (unsigned)status);
}

/* The client. */

static char *put_peer(const struct line *line, char *at)
{
    const struct peer *peer = line->entry->peer;
    struct access_memo *memo = line->memo;
    if (peer == NULL) {
        return put_nothing(line, at);
    }
    if (!access_memo_has_peer(memo, peer)) {
        access_memo_renew_peer(memo, peer);
    }
    return put_block(at, memo->peer_text, memo->peer_len);
}

static char *put_port(const struct line *line, char *at, const struct peer *peer)
{
    const uint8_t *bytes = peer == NULL ? NULL : (const uint8_t *)&peer->port;
    return bytes == NULL || peer->port == 0 ? put_nothing(line, at)
                                            : put_number(at, (uint64_t)bytes[0] << 8 | bytes[1]);
}

/* Who is connected: the client, or a proxy that told the client's address. */
static const struct peer *connected(const struct line *line)
{
    return line->entry->exchange == NULL ? line->entry->peer : line->entry->exchange->peer;
}

/* An address without its port. peer may be NULL. */
static char *put_address(const struct line *line, char *at, const struct peer *peer)
{
    char text[NET_TEXT_MAX];
    if (peer == NULL) {
        return put_nothing(line, at);
    }
    peer_format_host(peer, text, sizeof text);
    return put_text(at, text);
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* The name in a field Authorization of the scheme Basic (RFC 7617). */
static char *put_user(const struct line *line, char *at, const struct slice field)
{
    static const char scheme[] = "basic ";
    const char *value = exchange_text(line->entry->exchange, field);
    size_t len = field.len, put_len = 0;
    if (len < sizeof scheme || !ascii_equals(value, scheme, sizeof scheme - 1)) {
        return put_nothing(line, at);
    }
    char user[USER_MAX];
    unsigned bits = 0, kept = 0;
    for (size_t i = sizeof scheme - 1; i < len && put_len < sizeof user; i++) {
        int digit = base64_digit(value[i]);
        if (digit < 0) {
            break;
        }
        kept = (kept << 6 | (unsigned)digit) & 0xfff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            char byte = (char)(kept >> bits & 0xff);
            if (byte == ':') {
                return put_escaped(line, at, user, put_len);
            }
            user[put_len++] = byte;
        }
    }
    return put_nothing(line, at); /* without a colon it is no name and password */
}

/* The request. */

/* The line of a request whose head never was complete, as far as it has come. */
static char *put_raw(const struct line *line, char *at)
{
    const char *raw = line->entry->raw;
    size_t len = raw == NULL ? 0 : line->entry->raw_len, begin = 0;
    while (begin < len && (raw[begin] == '\r' || raw[begin] == '\n')) {
        begin++;
    }
    size_t room = len - begin < REQUEST_LINE_MAX ? len - begin : (size_t)REQUEST_LINE_MAX;
    const char *newline = room == 0 ? NULL : memchr(raw + begin, '\n', room);
    size_t line_len = newline == NULL ? room : (size_t)(newline - raw) - begin;
    if (newline != NULL && line_len > 0 && raw[begin + line_len - 1] == '\r') {
        line_len--;
    }
    return line_len == 0 ? put_nothing(line, at) : put_escaped(line, at, raw + begin, line_len);
}

static char *put_protocol(const struct line *line, char *at)
{
    const struct exchange *exchange = line->entry->exchange;
    return exchange == NULL ? put_nothing(line, at)
                            : put(at, exchange->head.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1", 8);
}

static char *put_method(char *at, const struct exchange *exchange)
{
    const struct slice method = exchange->head.method_text;
    if (method.len == 3) { /* GET, PUT: a token has nothing to escape */
        return put(at, exchange_text(exchange, method), 3);
    }
    return put(at, exchange_text(exchange, method), method.len);
}

/* As it was sent; or in pieces, which handlers may have ended with NUL. */
static char *put_request_line(const struct line *line, char *at)
{
    const struct exchange *exchange = line->entry->exchange;
    if (exchange == NULL) {
        return put_raw(line, at);
    }
    const struct slice method = exchange->head.method_text, target = exchange->head.target;
    const char *text = exchange_text(exchange, method);
    size_t target_end = target.offset + target.len - method.offset;
    if (text[method.len] == ' ' && text[target_end] == ' ') {
        return access_escape(at, line->end, text, target_end + 9, line->is_json);
    }
    at = put_method(at, exchange);
    *at++ = ' ';
    if (line->end - at > 9) {
        at = access_escape(at, line->end - 9, exchange_text(exchange, target), target.len, line->is_json);
        *at++ = ' ';
        at = put_protocol(line, at);
    }
    return at;
}

static char *put_slice(const struct line *line, char *at, const struct slice slice)
{
    return put_escaped(line, at, exchange_text(line->entry->exchange, slice), slice.len);
}

/* The first field of that name which was added to the response. */
static char *put_sent_field(const struct line *line, char *at, const struct access_field *wanted)
{
    const struct exchange *exchange = line->entry->exchange;
    size_t len = exchange == NULL ? 0 : write_buffer_len(&exchange->fields);
    const char *text = len == 0 ? NULL : write_buffer_data(&exchange->fields), *end = text + len;
    while (len > 0 && text < end) { /* "name: value\r\n" */
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *value = text + wanted->len + 2;
        if (newline == NULL || (value < newline && value[-2] == ':' && ascii_equals(text, wanted->name, wanted->len))) {
            return newline == NULL ? put_nothing(line, at)
                                   : put_escaped(line, at, value, (size_t)(newline - 1 - value));
        }
        text = newline + 1;
    }
    return put_nothing(line, at);
}

/* The host without its port, in lower case. */
static char *put_host(const struct line *line, char *at)
{
    char name[256];
    size_t host_len;
    const char *text = exchange_host(line->entry->exchange, &host_len);
    size_t len = authority_host_len(text, host_len);
    len = len < sizeof name ? len : sizeof name;
    ascii_copy_lower(name, text, len);
    return put_escaped(line, at, name, len);
}

/* The connection. */

static char *put_scheme(const struct line *line, char *at)
{
    const struct exchange *exchange = line->entry->exchange;
    return exchange == NULL ? put_nothing(line, at) : put_text(at, exchange_scheme(exchange));
}

static char *put_tls(const struct line *line, char *at, enum access_variable variable)
{
    struct tls_info info;
    const struct exchange *exchange = line->entry->exchange;
    if (exchange == NULL || !exchange_tls(exchange, &info)) {
        return put_nothing(line, at);
    }
    switch (variable) {
    case ACCESS_SSL_CIPHER:
    case ACCESS_TLS_CIPHER:
        return put_chosen(line, at, info.cipher);
    case ACCESS_SSL_SERVER_NAME:
    case ACCESS_TLS_SERVER_NAME:
        return put_chosen(line, at, info.server_name);
    default:
        return put_chosen(line, at, info.version);
    }
}

/* What the header of the PROXY protocol has said, whatever other proxies say in fields. */
static char *put_proxied(const struct line *line, char *at, enum access_variable variable)
{
    const struct exchange *exchange = line->entry->exchange;
    const struct proxied *proxied = exchange == NULL ? NULL : exchange_proxied(exchange);
    if (proxied == NULL) {
        return put_nothing(line, at);
    }
    switch (variable) {
    case ACCESS_PROXY_PROTOCOL_ADDR:
        return put_address(line, at, exchange->peer);
    case ACCESS_PROXY_PROTOCOL_PORT:
        return put_port(line, at, exchange->peer);
    case ACCESS_PROXY_PROTOCOL_SERVER_ADDR:
        return put_address(line, at, &proxied->destination);
    case ACCESS_PROXY_PROTOCOL_SERVER_PORT:
        return put_port(line, at, &proxied->destination);
    default:
        return proxied->unique_id_len == 0 ? put_nothing(line, at)
                                           : put_escaped(line, at, proxied->unique_id, proxied->unique_id_len);
    }
}

/* The server that the request was passed on to, last. */
static char *put_upstream_value(const struct line *line, char *at, enum access_variable variable)
{
    const struct exchange *exchange = line->entry->exchange;
    if (exchange == NULL || !exchange->is_proxied) {
        return put_nothing(line, at);
    }
    switch (variable) {
    case ACCESS_UPSTREAM_ADDR:
        return put_chosen(line, at, exchange->upstream.address);
    case ACCESS_UPSTREAM_STATUS:
        return exchange->upstream.status == 0 ? put_nothing(line, at)
                                              : put_decimal(at, (uint64_t)exchange->upstream.status);
    default:
        return put_milliseconds(at, exchange->upstream.ms);
    }
}

/* All variables that need a head; without one they have no value. */
static char *put_of_head(const struct line *line, char *at, enum access_variable variable)
{
    const struct exchange *exchange = line->entry->exchange;
    if (exchange == NULL) {
        return put_nothing(line, at);
    }
    switch (variable) {
    case ACCESS_ARGS:
    case ACCESS_QUERY_STRING:
        return put_slice(line, at, exchange->head.query);
    case ACCESS_HOST:
        return put_host(line, at);
    case ACCESS_REQUEST_ID: /* which may have to be made now */
        return put_chosen(line, at, request_id((struct exchange *)(uintptr_t)exchange));
    case ACCESS_REQUEST_METHOD:
        return put_method(at, exchange);
    case ACCESS_REQUEST_URI:
        return put_slice(line, at, exchange->head.target);
    default:
        return put_escaped(line, at, exchange->path, exchange->path_len);
    }
}

static char *write_value(const struct line *line, char *at, const struct access_part *part)
{
    const struct access_entry *entry = line->entry;
    switch (part->variable) {
    case ACCESS_NOTHING:
    case ACCESS_FIELD: /* access_line_write() has it, and the next one */
    case ACCESS_SENT_FIELD:
    case ACCESS_VARIABLE_COUNT:
        return at;
    case ACCESS_BODY_BYTES_SENT:
        return put_decimal(at, entry->body_bytes);
    case ACCESS_BYTES_SENT:
        return put_decimal(at, entry->bytes);
    case ACCESS_MSEC:
        return put_milliseconds(at, (uint64_t)sys_wall_time_ms());
    case ACCESS_PID:
        return put_number(at, (uint64_t)sys_process_id());
    case ACCESS_REALIP_REMOTE_ADDR:
        return put_address(line, at, connected(line));
    case ACCESS_REALIP_REMOTE_PORT:
        return put_port(line, at, connected(line));
    case ACCESS_REMOTE_ADDR:
        return put_peer(line, at);
    case ACCESS_REMOTE_PORT:
        return put_port(line, at, entry->peer);
    case ACCESS_REMOTE_USER:
        return line->fields[part->field] == NULL ? put_nothing(line, at)
                                                 : put_user(line, at, *line->fields[part->field]);
    case ACCESS_REQUEST:
        return put_request_line(line, at);
    case ACCESS_REQUEST_COMPLETION:
        return entry->is_complete ? put(at, "OK", 2) : put_nothing(line, at);
    case ACCESS_REQUEST_LENGTH:
        return put_decimal(at, entry->request_bytes);
    case ACCESS_REQUEST_TIME:
        return put_duration(at, entry->duration_us);
    case ACCESS_ROUTE:
        return put_chosen(line, at, entry->route);
    case ACCESS_UPSTREAM_ADDR:
    case ACCESS_UPSTREAM_RESPONSE_TIME:
    case ACCESS_UPSTREAM_STATUS:
        return put_upstream_value(line, at, part->variable);
    case ACCESS_SCHEME:
        return put_scheme(line, at);
    case ACCESS_SERVER_PROTOCOL:
        return put_protocol(line, at);
    case ACCESS_SSL_CIPHER:
    case ACCESS_SSL_PROTOCOL:
    case ACCESS_SSL_SERVER_NAME:
    case ACCESS_TLS_CIPHER:
    case ACCESS_TLS_SERVER_NAME:
    case ACCESS_TLS_VERSION:
        return put_tls(line, at, part->variable);
    case ACCESS_PROXY_PROTOCOL_ADDR:
    case ACCESS_PROXY_PROTOCOL_PORT:
    case ACCESS_PROXY_PROTOCOL_SERVER_ADDR:
    case ACCESS_PROXY_PROTOCOL_SERVER_PORT:
    case ACCESS_PROXY_PROTOCOL_TLV_UNIQUE_ID:
        return put_proxied(line, at, part->variable);
    case ACCESS_STATUS:
        return put_status(line, at, entry->status);
    case ACCESS_TIME_ISO8601:
        return put_block(at, line->memo->iso, line->memo->iso_len);
    case ACCESS_TIME_LOCAL:
        return put_block(at, line->memo->local, line->memo->local_len);
    case ACCESS_ARGS:
    case ACCESS_HOST:
    case ACCESS_QUERY_STRING:
    case ACCESS_REQUEST_ID:
    case ACCESS_REQUEST_METHOD:
    case ACCESS_REQUEST_URI:
    case ACCESS_URI:
        break;
    }
    return put_of_head(line, at, part->variable);
}

/* Find the fields that the format shows: the first of each name. */
static void find_fields(struct line *line, const struct access_format *format)
{
    const struct exchange *exchange = line->entry->exchange;
    for (unsigned n = 0; n < format->field_count; n++) {
        line->fields[n] = NULL;
    }
    unsigned count = exchange == NULL || format->field_count == 0 ? 0 : exchange->head.field_count;
    for (unsigned i = 0; i < count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len >= 64 || (format->field_lens >> field->name.len & 1) == 0) {
            continue;
        }
        for (unsigned n = 0; n < format->field_count; n++) {
            const struct access_field *wanted = &format->fields[n];
            if (wanted->len == field->name.len && line->fields[n] == NULL &&
                ascii_equals(exchange_text(exchange, field->name), wanted->name, wanted->len)) {
                line->fields[n] = &field->value;
            }
        }
    }
}

char *access_line_write(const struct access_format *format, const struct access_entry *entry, struct access_memo *memo,
                        char *at, size_t max)
{
    const char *end = at + max;
    struct line line;
    line.entry = entry;
    line.memo = memo;
    line.is_json = format->is_json;
    find_fields(&line, format);
    if (memo->second != entry->now_s || memo->local_len == 0) {
        access_memo_renew_times(memo, entry->now_s);
    }
    const struct access_part *last = format->parts + format->count;
    for (const struct access_part *part = format->parts; part < last; part++) {
        at = put_block(at, part->text, part->text_len);
        const char *value_end = end - part->rest;
        line.end = value_end;
        if (part->variable == ACCESS_FIELD) { /* the usual formats have no more of others than of these */
            const struct slice *field = line.fields[part->field];
            at = field == NULL || field->len == 0
                     ? put_nothing(&line, at)
                     : access_escape(at, value_end, exchange_text(entry->exchange, *field), field->len, line.is_json);
        } else {
            at = part->variable == ACCESS_SENT_FIELD ? put_sent_field(&line, at, &format->sent_fields[part->field])
                                                     : write_value(&line, at, part);
        }
    }
    *at++ = '\n';
    return at;
}
