/* Happy path: one reservation in the queue takes a head and short content behind it.
 * Failure mode: without memory nothing is queued, and the response is aborted. */

#include "http/h1/h1_head.h"

#include "core/tls.h"
#include "http/h1/h1.h"
#include "http/h1/h1_refs.h"
#include "http/head_text.h"
#include "http/http_date.h"
#include "http/prebuilt.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"
#include "http/takeover.h"

#include <errno.h>
#include <stdio.h>

/* Whether the connection goes on after this response. */
static bool goes_on(const struct h1 *h1)
{
    return !h1->closes && !h1->exchange.wants_close;
}

static char *put_connection(const struct h1 *h1, char *at)
{
    if (h1->exchange.takeover != NULL) {
        at = put_text(at, "Connection: Upgrade\r\nUpgrade: ");
        at = put_text(at, h1->exchange.takeover->name);
        return put_text(at, "\r\n");
    }
    if (!goes_on(h1)) {
        return put_text(at, "Connection: close\r\n");
    }
    /* HTTP/1.0 assumes close unless told otherwise (RFC 9112 section 9.3). */
    return h1->exchange.head.minor_version == 0 ? put_text(at, "Connection: keep-alive\r\n") : at;
}

/* The length of the site's line of Strict-Transport-Security that this response is to have: none for a client of plain
 * HTTP (RFC 6797 section 7.2), nor if the handler has added one of its own. */
__attribute__((noinline)) static size_t find_hsts(const struct h1 *h1)
{
    static const char name[] = "Strict-Transport-Security";
    const struct exchange *exchange = &h1->exchange;
    size_t ignored;
    bool is_told = exchange->told != 0 || h1->conn->transport.ops != &tls_transport_ops;
    bool is_secured = !is_told || exchange_is_secure(exchange); /* which takes longer */
    bool has_own = is_secured && response_added_field(exchange, name, sizeof name - 1, &ignored) != NULL;
    return !is_secured || has_own ? 0 : exchange->site->hsts.len;
}

/* Most sites have none. */
static inline size_t hsts_len(const struct h1 *h1)
{
    return h1->exchange.site->hsts.len == 0 ? 0 : find_hsts(h1);
}

void h1_plan_rest(struct h1 *h1)
{
    const struct exchange *exchange = &h1->exchange;
    if (!exchange->has_body || exchange->is_body_read) {
        return;
    }
    bool is_cheap = exchange->head.chunked || h1->body_left <= h1_limits(h1)->max_drain_bytes;
    if (!is_cheap || h1->awaits_continue) {
        h1->closes = true;
        h1->conn->has_unread = true;
    }
}

/* How the end of content of unknown length is marked; HTTP/1.0 knows no chunks (RFC 9112 section 6.3). */
static void choose_end(struct h1 *h1, int64_t length)
{
    h1->end = END_BY_LENGTH;
    if (length == LENGTH_UNKNOWN && h1->exchange.head.minor_version > 0) {
        h1->end = END_BY_CHUNK;
    } else if (length == LENGTH_UNKNOWN) {
        h1->end = END_BY_CLOSE;
        h1->closes = true;
        h1->ends_with_close = true;
    }
}

int h1_begin(struct exchange *exchange, const struct response_head *head)
{
    struct h1 *h1 = h1_of(exchange);
    choose_end(h1, head->length);
    if (head->length != LENGTH_UNKNOWN) {
        h1_plan_rest(h1); /* a stream may still take its body */
    }
    size_t fields_len = write_buffer_len(&exchange->fields);
    size_t type_len = head->type == NULL ? 0 : strlen(head->type);
    size_t hsts = hsts_len(h1);
    char *start = write_buffer_reserve(&h1->out, HEAD_ROOM + type_len + fields_len + hsts + head->content_len, SIZE_MAX,
                                       NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = put_status_line(start, head->status);
    at = put(at, service_date(exchange->service), HTTP_DATE_LEN);
    at = put_text(at, "\r\n");
    if (head->type != NULL) {
        at = put_text(at, "Content-Type: ");
        at = put(at, head->type, type_len);
        at = put_text(at, "\r\n");
    }
    if (fields_len > 0) {
        at = put(at, write_buffer_data(&exchange->fields), fields_len);
    }
    if (hsts > 0) {
        at = put(at, exchange->site->hsts.line, hsts);
    }
    if (head->length >= 0) {
        at = put_text(at, "Content-Length: ");
        at = put_number(at, (uint64_t)head->length);
        at = put_text(at, "\r\n");
    } else if (h1->end == END_BY_CHUNK) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    }
    at = put_connection(h1, at);
    at = put_text(at, "\r\n");
    exchange->head_bytes += (uint32_t)(at - start);
    if (head->content_len > 0) {
        at = put(at, head->content, head->content_len);
    }
    write_buffer_commit(&h1->out, (size_t)(at - start));
    return 0;
}

/* The fields of this response go before the empty line of the head that was made beforehand. Returns 0 or -ENOMEM. */
__attribute__((noinline)) static int put_prebuilt_with_fields(struct h1 *h1, const struct prebuilt *prebuilt,
                                                              size_t content_len)
{
    const struct exchange *exchange = &h1->exchange;
    size_t fields_len = write_buffer_len(&exchange->fields);
    size_t hsts = prebuilt->has_hsts ? 0 : hsts_len(h1);
    char *start = write_buffer_reserve(&h1->out, prebuilt->head_len + HEAD_ROOM + fields_len + hsts + content_len,
                                       SIZE_MAX, NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    const uint32_t lines_end = prebuilt->lines_offset + prebuilt->lines_len;
    char *at = put(start, prebuilt->bytes, prebuilt->lines_offset);
    at = response_put_lines(exchange, at, prebuilt->bytes + prebuilt->lines_offset, prebuilt->lines_len);
    at = put(at, prebuilt->bytes + lines_end, prebuilt->head_len - 2 - lines_end);
    if (fields_len > 0) {
        at = put(at, write_buffer_data(&exchange->fields), fields_len);
    }
    at = put(at, exchange->site->hsts.line, hsts);
    at = put_connection(h1, at);
    at = put_text(at, "\r\n");
    h1->exchange.head_bytes += (uint32_t)(at - start);
    at = put(at, prebuilt->bytes + prebuilt->head_len, content_len);
    memcpy(start + prebuilt->date_offset, service_date(exchange->service), HTTP_DATE_LEN);
    write_buffer_commit(&h1->out, (size_t)(at - start));
    return 0;
}

int h1_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, size_t content_len)
{
    struct h1 *h1 = h1_of(exchange);
    h1_plan_rest(h1);
    if (write_buffer_len(&exchange->fields) > 0 || exchange->site->hsts.len > 0 || !goes_on(h1) ||
        exchange->head.minor_version == 0) {
        return put_prebuilt_with_fields(h1, prebuilt, content_len);
    }
    size_t len = prebuilt->head_len + content_len; /* the usual case: one copy */
    char *start = write_buffer_reserve(&h1->out, len, SIZE_MAX, NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    exchange->head_bytes += prebuilt->head_len;
    memcpy(start, prebuilt->bytes, len);
    memcpy(start + prebuilt->date_offset, service_date(exchange->service), HTTP_DATE_LEN);
    write_buffer_commit(&h1->out, len);
    return 0;
}

/* Streams. */

static char *put_chunk_size(char *at, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    char digits[16];
    size_t first = sizeof digits;
    do {
        digits[--first] = hex[size % 16];
        size /= 16;
    } while (size > 0);
    at = put(at, digits + first, sizeof digits - first);
    return put_text(at, "\r\n");
}

enum { CHUNK_ROOM = 16 + 2 + 2 }; /* size line and the CRLF behind the data */

_Static_assert((int)CHUNK_ROOM <= (int)REFS_TAIL_ROOM, "the framing of a chunk has room beside a borrowed piece");

size_t h1_overhead(const struct exchange *exchange)
{
    return h1_of(exchange)->end == END_BY_CHUNK ? (size_t)CHUNK_ROOM : 0;
}

int h1_write(struct exchange *exchange, const void *content, size_t len)
{
    struct h1 *h1 = h1_of(exchange);
    bool is_chunk = h1->end == END_BY_CHUNK;
    size_t room = len + (is_chunk ? CHUNK_ROOM : 0);
    char *start = write_buffer_reserve(h1_refs_end(h1), room, h1_limits(h1)->write_cap_bytes, NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = is_chunk ? put_chunk_size(start, len) : start;
    at = put(at, content, len);
    at = is_chunk ? put_text(at, "\r\n") : at;
    h1_refs_commit(h1, (size_t)(at - start));
    return 0;
}

int h1_borrow(struct exchange *exchange, const struct borrowed *piece)
{
    struct h1 *h1 = h1_of(exchange);
    bool is_chunk = h1->end == END_BY_CHUNK;
    int rv = h1_refs_prepare(h1);
    if (rv < 0) {
        return rv;
    }
    if (is_chunk) {
        char *start = write_buffer_reserve(h1_refs_end(h1), CHUNK_ROOM, SIZE_MAX, NULL);
        if (start == NULL) {
            return -ENOMEM;
        }
        h1_refs_commit(h1, (size_t)(put_chunk_size(start, piece->len) - start));
    }
    h1_refs_add(h1, piece);
    if (is_chunk) {
        put_text(write_buffer_reserve(h1_refs_end(h1), 2, SIZE_MAX, NULL), "\r\n"); /* there is room */
        h1_refs_commit(h1, 2);
    }
    return 0;
}

int h1_end_content(struct exchange *exchange)
{
    struct h1 *h1 = h1_of(exchange);
    if (h1->end != END_BY_CHUNK) {
        return 0;
    }
    char *at = write_buffer_reserve(h1_refs_end(h1), 5, SIZE_MAX, NULL);
    if (at == NULL) {
        return -ENOMEM;
    }
    put_text(at, "0\r\n\r\n");
    h1_refs_commit(h1, 5);
    return 0;
}

int h1_queue(struct exchange *exchange, const void *content, size_t len)
{
    return write_buffer_append(&h1_of(exchange)->out, content, len, SIZE_MAX);
}

int h1_continue(struct h1 *h1)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    h1->awaits_continue = false;
    h1->exchange.head_bytes += sizeof interim - 1;
    return write_buffer_append(&h1->out, interim, sizeof interim - 1, SIZE_MAX);
}

int h1_interim(struct exchange *exchange, int status, const char *lines, size_t len)
{
    struct h1 *h1 = h1_of(exchange);
    if (exchange->head.minor_version == 0) {
        return 0;
    }
    char *start = write_buffer_reserve(&h1->out, HEAD_ROOM + len, SIZE_MAX, NULL);
    if (start == NULL) {
        return -ENOMEM;
    }
    char *at = put_text(start, "HTTP/1.1 ");
    at = put_number(at, (uint64_t)status);
    *at++ = ' ';
    at = put_text(at, status_reason(status));
    at = put_text(at, "\r\n");
    at = put(at, lines, len);
    at = put_text(at, "\r\n");
    exchange->head_bytes += (uint32_t)(at - start);
    write_buffer_commit(&h1->out, (size_t)(at - start));
    conn_resume(h1->conn);
    return 0;
}

/* Clients without a connection. */

size_t h1_refuse_newcomer(struct service *service, const char *received, size_t len, char text[REFUSAL_MAX])
{
    static const char head[] = "HEAD ";
    bool is_head = len >= sizeof head - 1 && memcmp(received, head, sizeof head - 1) == 0;
    int written = snprintf(text, REFUSAL_MAX,
                           "HTTP/1.1 503 Service Unavailable\r\n"
                           "Date: %.*s\r\n"
                           "Content-Type: " RESPONSE_TEXT_PLAIN "\r\n"
                           "Content-Length: 17\r\n"
                           "Retry-After: 1\r\n"
                           "Connection: close\r\n"
                           "\r\n"
                           "%s",
                           HTTP_DATE_LEN, service_date(service), is_head ? "" : "503 Too many now\n");
    return written < 0 ? 0 : (size_t)written;
}
