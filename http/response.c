/* The only writer of head bytes and chunk framing.
 *
 * Happy path: put_head() writes the status line and Date into exchange->out, the fields and the framing follow, then
 * the content: copied behind the head when it is short, else left where it is as exchange->response_body.
 *
 * Failure modes: an answer for which memory is short is aborted, and the connection is cut; it has no proper end, so the
 * client can tell. A handler that breaks the rules of its own answer (fields with line breaks, more content than it
 * announced) is told by the return value, and what went out before stays well-formed. */

#include "http/response.h"

#include "core/mem.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/conn.h"
#include "http/conn_body.h"
#include "http/head_text.h"
#include "http/limits.h"
#include "http/prebuilt.h"
#include "http/response_refs.h"
#include "http/service.h"
#include "http/status.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    COPY_MAX = 32768,       /* content up to this length is copied behind its head; longer content becomes a range */
    REDIRECT_PAGE_MAX = 64, /* bytes of a redirect's text */
};

static const char text_plain[] = "text/plain; charset=utf-8";

/* Writing. */

/* Room for len bytes of output. Heads and short content do not count against write_cap: a connection whose queue is
 * above the high mark is not given another request to answer. Without memory the answer is aborted. */
static char *reserve(struct exchange *exchange, size_t len)
{
    char *at = write_buffer_reserve(&exchange->out, len, SIZE_MAX, NULL);
    if (at == NULL) {
        exchange->response_state = RESPONSE_ABORTED;
    }
    return at;
}

static void count_response(struct exchange *exchange, int status)
{
    exchange->status = status;
    stat_add(&exchange->service->stats.requests, 1);
    stat_add(&exchange->service->stats.by_class[(unsigned)status / 100], 1);
}

static char *put_connection(const struct exchange *exchange, char *at)
{
    if (!exchange->keep_alive) {
        return put_text(at, "Connection: close\r\n");
    }
    /* HTTP/1.0 assumes close unless told otherwise (RFC 9112 section 9.3). */
    return exchange->head.minor_version == 0 ? put_text(at, "Connection: keep-alive\r\n") : at;
}

/* How the end of the content is marked. */
enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

/* Write a whole head, and leave room for content_room bytes behind it. Returns where the content goes, NULL when the
 * answer had to be aborted. write_buffer_commit() is done for the head. */
static char *put_head(struct exchange *exchange, int status, const char *type, enum framing framing, uint64_t length,
                      size_t content_room)
{
    assert(exchange->response_state == RESPONSE_NONE); /* one answer a request */
    if (framing == FRAMING_NONE || framing == FRAMING_LENGTH) {
        conn_plan_rest(exchange); /* a stream may still take its body */
    }
    if (type != NULL && write_buffer_len(&exchange->fields) > 0) {
        response_drop_field(exchange, "Content-Type", 12);
    }
    size_t fields_len = write_buffer_len(&exchange->fields);
    size_t type_len = type == NULL ? 0 : strlen(type);
    char *start = reserve(exchange, HEAD_ROOM + type_len + fields_len + content_room);
    if (start == NULL) {
        return NULL;
    }
    char *at = put_status_line(start, status);
    at = put(at, service_date(exchange->service), HTTP_DATE_LEN);
    at = put_text(at, "\r\n");
    if (type != NULL) {
        at = put_text(at, "Content-Type: ");
        at = put(at, type, type_len);
        at = put_text(at, "\r\n");
    }
    if (fields_len > 0) {
        at = put(at, write_buffer_data(&exchange->fields), fields_len);
    }
    if (framing == FRAMING_LENGTH) {
        at = put_text(at, "Content-Length: ");
        at = put_number(at, length);
        at = put_text(at, "\r\n");
    } else if (framing == FRAMING_CHUNKED) {
        at = put_text(at, "Transfer-Encoding: chunked\r\n");
    }
    at = put_connection(exchange, at);
    at = put_text(at, "\r\n");
    write_buffer_commit(&exchange->out, (size_t)(at - start));
    count_response(exchange, status);
    return at;
}

static void complete(struct exchange *exchange)
{
    if (exchange->response_state != RESPONSE_ABORTED) {
        exchange->response_state = RESPONSE_COMPLETE;
    }
    conn_resume(exchange->conn);
}

static void free_copy(void *arg)
{
    mem_free(arg);
}

void response_send(struct exchange *exchange, int status, const char *type, const void *content, size_t len)
{
    bool is_empty = status_has_no_body(status);
    size_t sent = is_empty || exchange->head_only ? 0 : len;
    if (sent > COPY_MAX) {
        char *copy = mem_alloc(len);
        if (copy == NULL) {
            response_abort(exchange);
            return;
        }
        memcpy(copy, content, len);
        response_send_borrowed(exchange, status, type, copy, len, free_copy, copy);
        return;
    }
    char *at = put_head(exchange, status, is_empty ? NULL : type, is_empty ? FRAMING_NONE : FRAMING_LENGTH, len, sent);
    if (at != NULL && sent > 0) {
        memcpy(at, content, sent);
        write_buffer_commit(&exchange->out, sent);
    }
    complete(exchange);
}

void response_send_borrowed(struct exchange *exchange, int status, const char *type, const void *content, size_t len,
                            void (*release)(void *arg), void *arg)
{
    bool is_empty = status_has_no_body(status);
    char *at = put_head(exchange, status, is_empty ? NULL : type, is_empty ? FRAMING_NONE : FRAMING_LENGTH, len, 0);
    if (at == NULL || is_empty || exchange->head_only || len == 0) {
        if (release != NULL) {
            release(arg);
        }
    } else {
        exchange->response_body.kind = BODY_BORROWED;
        exchange->response_body.borrowed =
            (struct borrowed){.data = content, .len = len, .release = release, .arg = arg};
    }
    complete(exchange);
}

static void put_file(void *arg)
{
    cached_file_put(arg);
}

void response_set_file(struct exchange *exchange, struct cached_file *file, uint64_t offset, uint64_t len)
{
    struct response_body *body = &exchange->response_body;
    if (file->fd >= 0) {
        body->kind = BODY_FILE;
        body->file.file = file;
        body->file.offset = (int64_t)offset;
        body->file.len = len;
        body->file.doubted_ms = 0;
        body->file.is_checked = exchange->response_state == RESPONSE_NONE; /* the cache has looked just now */
    } else {
        assert(offset <= file->size && len <= file->size - offset);
        body->kind = BODY_BORROWED;
        body->borrowed = (struct borrowed){.data = cached_file_contents(file) + offset,
                                           .len = (size_t)len,
                                           .release = put_file,
                                           .arg = file};
    }
}

void response_file(struct exchange *exchange, int status, const char *type, struct cached_file *file, uint64_t offset,
                   uint64_t len)
{
    char *at = put_head(exchange, status, type, FRAMING_LENGTH, len, 0);
    if (at == NULL || exchange->head_only || len == 0) {
        cached_file_put(file);
    } else {
        response_set_file(exchange, file, offset, len);
    }
    complete(exchange);
}

void response_redirect(struct exchange *exchange, int status, const char *location, size_t len)
{
    if (response_set_field(exchange, "Location", 8, location, len) < 0) {
        response_error(exchange, 500, NULL);
        return;
    }
    char page[REDIRECT_PAGE_MAX];
    int page_len = snprintf(page, sizeof page, "%d %s\n", status, status_reason(status));
    response_send(exchange, status, text_plain, page, (size_t)page_len);
}

/* Streams. */

void response_begin(struct exchange *exchange, int status, const char *type, int64_t length)
{
    enum framing framing = FRAMING_LENGTH;
    exchange->chunked = false;
    exchange->has_content_length = length >= 0;
    exchange->content_left = length < 0 ? 0 : (uint64_t)length;
    if (status_has_no_body(status)) {
        framing = FRAMING_NONE;
        type = NULL;
        exchange->head_only = true; /* what is written is counted and dropped, as for HEAD */
    } else if (length < 0 && exchange->head.minor_version > 0) {
        framing = FRAMING_CHUNKED;
        exchange->chunked = true;
    } else if (length < 0) {
        framing = FRAMING_CLOSE; /* HTTP/1.0 knows no chunks (RFC 9112 section 6.3) */
        exchange->keep_alive = false;
        exchange->ends_with_close = true;
    }
    put_head(exchange, status, type, framing, exchange->content_left, 0);
    if (exchange->response_state != RESPONSE_ABORTED) {
        exchange->response_state = RESPONSE_STREAMING;
    }
    conn_resume(exchange->conn);
}

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

enum {
    CHUNK_ROOM = 16 + 2 + 2, /* size line and the CRLF behind the data */
    PIECE_ROOM = 1024,       /* with less room than this below write_cap the client counts as behind */
};

bool response_is_beyond_cap(const struct exchange *exchange, size_t len)
{
    uint64_t cap = exchange->limits->write_cap_bytes;
    size_t queued = response_refs_queued(exchange) + (exchange->chunked ? CHUNK_ROOM : 0);
    return queued > cap || len > cap - queued;
}

/* Queue a piece, copied. Returns 0, or -1 without memory. */
static int write_piece(struct exchange *exchange, const void *content, size_t len)
{
    uint64_t cap = exchange->limits->write_cap_bytes; /* there is room: it was checked */
    size_t room = len + (exchange->chunked ? CHUNK_ROOM : 0);
    char *start = write_buffer_reserve(response_refs_end(exchange), room, cap, NULL);
    if (start == NULL) {
        return -1;
    }
    char *at = exchange->chunked ? put_chunk_size(start, len) : start;
    at = put(at, content, len);
    at = exchange->chunked ? put_text(at, "\r\n") : at;
    response_refs_commit(exchange, (size_t)(at - start));
    return 0;
}

_Static_assert((int)CHUNK_ROOM <= (int)REFS_TAIL_ROOM, "the framing of a chunk has room beside a borrowed piece");

/* Queue a piece where it is. Returns 0, and the piece will be released, or -1: there are too many, or no memory. */
static int borrow_piece(struct exchange *exchange, const struct borrowed *piece)
{
    if (response_refs_prepare(exchange) < 0) {
        return -1;
    }
    if (exchange->chunked) {
        char *start = write_buffer_reserve(response_refs_end(exchange), CHUNK_ROOM, SIZE_MAX, NULL);
        if (start == NULL) {
            return -1;
        }
        response_refs_commit(exchange, (size_t)(put_chunk_size(start, piece->len) - start));
    }
    response_refs_add(exchange, piece);
    if (exchange->chunked) {
        put_text(write_buffer_reserve(response_refs_end(exchange), 2, SIZE_MAX, NULL), "\r\n"); /* there is room */
        response_refs_commit(exchange, 2);
    }
    return 0;
}

/* Count a piece of content. Returns 0 when it is to be queued, 1 when there is nothing to send, or -1. */
static int count_piece(struct exchange *exchange, size_t len)
{
    if (exchange->response_state != RESPONSE_STREAMING) {
        return -1;
    }
    if (exchange->has_content_length) {
        if (len > exchange->content_left) {
            response_abort(exchange);
            return -1;
        }
        exchange->content_left -= len;
    }
    if (len == 0 || exchange->head_only) { /* an empty chunk would end the content */
        return 1;
    }
    if (response_is_beyond_cap(exchange, len)) {
        response_abort(exchange);
        return -1;
    }
    return 0;
}

/* A piece was queued. Returns what response_write() does. */
static int finish_piece(struct exchange *exchange)
{
    conn_resume(exchange->conn);
    const struct limits *limits = exchange->limits;
    size_t queued = response_refs_queued(exchange);
    exchange->is_stalled = queued > limits->write_high_mark_bytes || queued + PIECE_ROOM > limits->write_cap_bytes;
    return exchange->is_stalled ? 0 : 1;
}

int response_write(struct exchange *exchange, const void *content, size_t len)
{
    int rv = count_piece(exchange, len);
    if (rv == 0 && write_piece(exchange, content, len) < 0) {
        response_abort(exchange);
        return -1;
    }
    return rv == 0 ? finish_piece(exchange) : rv;
}

int response_write_borrowed(struct exchange *exchange, const void *content, size_t len, void (*release)(void *arg),
                            void *arg)
{
    const struct borrowed piece = {.data = content, .len = len, .release = release, .arg = arg};
    int rv = count_piece(exchange, len);
    bool is_borrowed = rv == 0 && len > REF_COPY_MAX && borrow_piece(exchange, &piece) == 0;
    if (!is_borrowed) {
        if (rv == 0 && write_piece(exchange, content, len) < 0) {
            response_abort(exchange);
            rv = -1;
        }
        if (release != NULL) {
            release(arg);
        }
    }
    return rv == 0 ? finish_piece(exchange) : rv;
}

void response_pause(struct exchange *exchange)
{
    exchange->is_stalled = true;
    conn_resume(exchange->conn);
}

void response_end(struct exchange *exchange)
{
    if (exchange->response_state != RESPONSE_STREAMING) {
        return;
    }
    if (exchange->content_left > 0 && !exchange->head_only) {
        response_abort(exchange);
        return;
    }
    if (exchange->chunked && !exchange->head_only) {
        char *at = write_buffer_reserve(response_refs_end(exchange), 5, SIZE_MAX, NULL);
        if (at == NULL) {
            exchange->response_state = RESPONSE_ABORTED;
        } else {
            put_text(at, "0\r\n\r\n");
            response_refs_commit(exchange, 5);
        }
    }
    complete(exchange);
}

void response_abort(struct exchange *exchange)
{
    if (exchange->response_state == RESPONSE_NONE) {
        response_error(exchange, 500, NULL);
        return;
    }
    exchange->response_state = RESPONSE_ABORTED;
    conn_resume(exchange->conn);
}

void response_continue(struct exchange *exchange)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char *at = reserve(exchange, sizeof interim - 1);
    if (at != NULL) {
        put(at, interim, sizeof interim - 1);
        write_buffer_commit(&exchange->out, sizeof interim - 1);
    }
}

/* Answers made beforehand. */

/* The fields of this answer go before the empty line of the head that was made beforehand. */
static char *put_prebuilt_head(const struct exchange *exchange, const struct prebuilt *prebuilt, char *at)
{
    char *start = at;
    at = put(at, prebuilt->bytes, prebuilt->head_len - 2);
    memcpy(start + prebuilt->date_offset, service_date(exchange->service), HTTP_DATE_LEN);
    if (write_buffer_len(&exchange->fields) > 0) {
        at = put(at, write_buffer_data(&exchange->fields), write_buffer_len(&exchange->fields));
    }
    at = put_connection(exchange, at);
    return put_text(at, "\r\n");
}

/* What describes the content is in the head that was made beforehand. A type that was added has no place in it: the file's
 * own is there, or it is a 304, which has none (RFC 9110 section 15.4.5). */
static void drop_rivals(struct exchange *exchange, const struct prebuilt *prebuilt)
{
    if (write_buffer_len(&exchange->fields) > 0) {
        response_drop_field(exchange, "Content-Type", 12);
        response_drop_rivals(exchange, prebuilt->bytes + prebuilt->lines_offset, prebuilt->lines_len);
    }
}

void response_send_prebuilt(struct exchange *exchange, const struct prebuilt *prebuilt, struct cached_file *file,
                            uint64_t file_len)
{
    conn_plan_rest(exchange);
    drop_rivals(exchange, prebuilt);
    size_t content_len = exchange->head_only ? 0 : prebuilt->content_len;
    bool is_lent = content_len > PREBUILT_COPY_MAX && file != NULL;
    if (is_lent) {
        content_len = 0;
    }
    size_t fields_len = write_buffer_len(&exchange->fields);
    char *start = reserve(exchange, prebuilt->head_len + HEAD_ROOM + fields_len + content_len);
    if (start == NULL) {
        cached_file_put(file);
        complete(exchange);
        return;
    }
    char *at;
    if (fields_len == 0 && exchange->keep_alive && exchange->head.minor_version > 0) {
        at = put(start, prebuilt->bytes, prebuilt->head_len + content_len); /* the usual case: one copy */
        memcpy(start + prebuilt->date_offset, service_date(exchange->service), HTTP_DATE_LEN);
    } else {
        at = put_prebuilt_head(exchange, prebuilt, start);
        at = put(at, prebuilt->bytes + prebuilt->head_len, content_len);
    }
    write_buffer_commit(&exchange->out, (size_t)(at - start));
    count_response(exchange, prebuilt->status);
    bool has_rest = file_len > 0 && !exchange->head_only && (is_lent || prebuilt->content_len == 0);
    if (file != NULL && has_rest) {
        response_set_file(exchange, file, 0, file_len);
    } else {
        cached_file_put(file);
    }
    complete(exchange);
}

/* Content that is made range by range. */

int response_add_lines(struct exchange *exchange, const char *lines, size_t len)
{
    return write_buffer_append(&exchange->fields, lines, len, SIZE_MAX);
}

int response_queue(struct exchange *exchange, const void *content, size_t len)
{
    return write_buffer_append(&exchange->out, content, len, SIZE_MAX);
}

int response_queue_file(struct exchange *exchange, const struct cached_file *file, uint64_t offset, size_t len)
{
    if (file->fd < 0) {
        return response_queue(exchange, cached_file_contents(file) + offset, len);
    }
    char *at = write_buffer_reserve(&exchange->out, len, SIZE_MAX, NULL);
    if (at == NULL) {
        return -ENOMEM;
    }
    for (size_t done = 0; done < len;) {
        ssize_t got = sys_pread(file->fd, at + done, len - done, (off_t)(offset + done));
        if (got < 0 && got != -EINTR) {
            return (int)got;
        }
        if (got == 0) {
            return -ENODATA; /* it was truncated: what was announced cannot be sent */
        }
        done += got > 0 ? (size_t)got : 0;
    }
    write_buffer_commit(&exchange->out, len);
    return 0;
}

void response_send_ranges(struct exchange *exchange, int status, const char *type, uint64_t length,
                          const struct continuation *then)
{
    char *at = put_head(exchange, status, type, FRAMING_LENGTH, length, 0);
    if (at == NULL || exchange->head_only) {
        then->release(then->arg);
    } else {
        exchange->response_body.then = *then;
        if (response_next_range(exchange) < 0) {
            exchange->response_state = RESPONSE_ABORTED;
        }
    }
    complete(exchange);
}

static void release_range(const struct response_body *body)
{
    if (body->kind == BODY_FILE) {
        cached_file_put(body->file.file);
    } else if (body->kind == BODY_BORROWED && body->borrowed.release != NULL) {
        body->borrowed.release(body->borrowed.arg);
    }
}

int response_next_range(struct exchange *exchange)
{
    struct response_body *body = &exchange->response_body;
    struct response_body sent = *body;
    body->kind = BODY_NONE;
    int rv = sent.then.next == NULL ? 0 : sent.then.next(exchange, sent.then.arg);
    release_range(&sent); /* last: it may be a host's function, which then finds everything in order */
    return rv;
}

static bool has_body(const struct exchange *exchange)
{
    return exchange->response_body.kind != BODY_NONE || exchange->response_body.then.release != NULL;
}

void response_release_body(struct exchange *exchange)
{
    struct response_body *body = &exchange->response_body;
    if (!has_body(exchange)) {
        return;
    }
    struct response_body lost = *body;
    body->kind = BODY_NONE;
    body->then = (struct continuation){0};
    release_range(&lost);
    if (lost.then.release != NULL) {
        lost.then.release(lost.then.arg);
    }
}

void response_reset(struct exchange *exchange)
{
    if (has_body(exchange)) { /* seldom, and each request comes here: no call */
        response_release_body(exchange);
    }
    write_buffer_consume(&exchange->fields, SIZE_MAX);
    exchange->kept_fields = 0;
    exchange->response_state = RESPONSE_NONE;
    exchange->status = 0;
    exchange->head_only = false;
    exchange->chunked = false;
    exchange->has_content_length = false;
    exchange->is_stalled = false;
    exchange->content_left = 0;
    if (exchange->on_end != NULL) {
        void (*on_end)(void *) = exchange->on_end;
        exchange->on_end = NULL;
        on_end(exchange->end_arg);
    }
}

/* For those without an exchange. */

int response_format_turned_away(struct service *service, bool head_only, char text[RESPONSE_TURNED_AWAY_MAX])
{
    return snprintf(text, RESPONSE_TURNED_AWAY_MAX,
                    "HTTP/1.1 503 Service Unavailable\r\n"
                    "Date: %.*s\r\n"
                    "Content-Type: %s\r\n"
                    "Content-Length: 17\r\n"
                    "Retry-After: 1\r\n"
                    "Connection: close\r\n"
                    "\r\n"
                    "%s",
                    HTTP_DATE_LEN, service_date(service), text_plain, head_only ? "" : "503 Too many now\n");
}
