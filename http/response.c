/* What is said in response; how it is written is the framing's business (http/framing.h).
 *
 * Happy path: begin_head() hands the head to the framing, the content behind it: copied with the head when it is short,
 * else left where it is as exchange->source.
 *
 * Failure modes: a response for which memory is short is aborted, and the connection is cut; it has no proper end, so
 * the client can tell. A handler that breaks the rules of its own response (more content than it announced) learns so
 * from the return value, and what went out before stays well-formed. */

#include "http/response.h"

#include "core/mem.h"
#include "http/error_pages_state.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/router.h"
#include "http/service.h"
#include "http/status.h"
#include "http/vhost.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    COPY_MAX = 32768,  /* content up to this length is copied behind its head; longer content becomes a range */
    PIECE_ROOM = 1024, /* with less room than this below write_cap the client counts as behind */
};

void response_count(struct exchange *exchange, int status)
{
    exchange->status = status;
    stat_add(&exchange->service->stats.requests, 1);
    stat_add(&exchange->service->stats.by_class[(unsigned)status / 100], 1);
}

/* Queue a head. Returns 0, or -ENOMEM with the response aborted. */
static int begin_head(struct exchange *exchange, const struct response_head *head)
{
    assert(exchange->response_state == RESPONSE_NONE); /* one response a request */
    if (head->type != NULL && write_buffer_len(&exchange->fields) > 0) {
        response_drop_field(exchange, "Content-Type", 12);
    }
    int rv = exchange->framing->begin(exchange, head);
    if (rv < 0) {
        exchange->response_state = RESPONSE_ABORTED;
    } else {
        response_count(exchange, head->status);
    }
    return rv;
}

void response_complete(struct exchange *exchange)
{
    if (exchange->response_state != RESPONSE_ABORTED) {
        exchange->response_state = RESPONSE_COMPLETE;
    }
    exchange_resume(exchange);
}

static void free_copy(void *arg)
{
    mem_free(arg);
}

/* The head of a response with len bytes of content, or of one that has none. */
static struct response_head head_of(int status, const char *type, int64_t len)
{
    bool is_empty = status_has_no_body(status);
    return (
        struct response_head){.status = status, .type = is_empty ? NULL : type, .length = is_empty ? LENGTH_NONE : len};
}

bool response_send_page(struct exchange *exchange, int status)
{
    const struct error_pages *pages = exchange->vhost->error_pages;
    return pages != NULL && pages->send(exchange, pages, status);
}

/* Content that is too long to be copied behind the head. */
static void send_copy(struct exchange *exchange, int status, const char *type, const void *content, size_t len)
{
    char *copy = mem_alloc(len);
    if (copy == NULL) {
        response_abort(exchange);
        return;
    }
    memcpy(copy, content, len);
    response_send_borrowed(exchange, status, type, copy, len, free_copy, copy);
}

static void send_head(struct exchange *exchange, const struct response_head *head)
{
    begin_head(exchange, head);
    response_complete(exchange);
}

/* response_send() with nothing to be sent behind the head, or too much: apart from what each response needs. */
__attribute__((noinline)) static void send_unusual(struct exchange *exchange, const struct response_head *head,
                                                   const void *content, size_t len)
{
    if (head->length != LENGTH_NONE && !exchange->head_only && len > 0) {
        send_copy(exchange, head->status, head->type, content, len);
    } else if (len > 0 || head->status < ERROR_STATUS_FIRST || !response_send_page(exchange, head->status)) {
        send_head(exchange, head);
    }
}

void response_send(struct exchange *exchange, int status, const char *type, const void *content, size_t len)
{
    struct response_head head = head_of(status, type, (int64_t)len);
    size_t sent = head.length == LENGTH_NONE || exchange->head_only ? 0 : len;
    if (sent - 1 >= COPY_MAX) { /* one comparison for both, since each response comes here */
        send_unusual(exchange, &head, content, len);
        return;
    }
    head.content = content;
    head.content_len = sent;
    send_head(exchange, &head);
}

void response_send_borrowed(struct exchange *exchange, int status, const char *type, const void *content, size_t len,
                            void (*release)(void *arg), void *arg)
{
    const struct source source = {
        .kind = SOURCE_BORROWED,
        .borrowed = {.data = content, .len = len, .release = release, .arg = arg},
    };
    response_send_source(exchange, status, type, len, &source);
}

void response_send_source(struct exchange *exchange, int status, const char *type, uint64_t len,
                          const struct source *source)
{
    const struct response_head head = head_of(status, type, (int64_t)len);
    exchange->source = *source; /* before the head, since a framing may put something of its own in its place */
    int rv = begin_head(exchange, &head);
    if (rv < 0 || head.length <= 0 || exchange->head_only) {
        source_release(&exchange->source);
    } else if (source->kind == SOURCE_NONE && source_next(&exchange->source, exchange) < 0) {
        exchange->response_state = RESPONSE_ABORTED;
    }
    response_complete(exchange);
}

size_t response_format_page(char page[RESPONSE_PAGE_MAX], int status, const char *detail)
{
    int len = snprintf(page, RESPONSE_PAGE_MAX, "%d %s\n%s%s", status, status_reason(status),
                       detail == NULL ? "" : detail, detail == NULL ? "" : "\n");
    return len < 0 ? 0 : len < RESPONSE_PAGE_MAX ? (size_t)len : RESPONSE_PAGE_MAX - 1;
}

void response_redirect(struct exchange *exchange, int status, const char *location, size_t len)
{
    if (response_set_field(exchange, "Location", 8, location, len) < 0) {
        response_error(exchange, 500, NULL);
        return;
    }
    char page[RESPONSE_PAGE_MAX];
    response_send(exchange, status, RESPONSE_TEXT_PLAIN, page, response_format_page(page, status, NULL));
}

int response_switch(struct exchange *exchange, const struct takeover *takeover)
{
    if (exchange->head.minor_version == 0) {
        return -EPROTO;
    }
    if (!exchange->is_body_read) {
        return -EBUSY;
    }
    const struct response_head head = head_of(101, NULL, 0);
    exchange->takeover = takeover;
    begin_head(exchange, &head);
    response_complete(exchange);
    return 0;
}

/* Streams. */

void response_begin(struct exchange *exchange, int status, const char *type, int64_t length)
{
    struct response_head head = head_of(status, type, length < 0 ? LENGTH_UNKNOWN : length);
    exchange->has_content_length = length >= 0;
    exchange->content_left = length < 0 ? 0 : (uint64_t)length;
    if (head.length == LENGTH_NONE) {
        exchange->head_only = true; /* what is written is counted and dropped, as for HEAD */
    }
    if (begin_head(exchange, &head) == 0) {
        exchange->response_state = RESPONSE_STREAMING;
    }
    exchange_resume(exchange);
}

bool response_is_beyond_cap(const struct exchange *exchange, size_t len)
{
    uint64_t cap = exchange->limits->write_cap_bytes;
    size_t queued = exchange_queued(exchange) + exchange->framing->overhead(exchange);
    return queued > cap || len > cap - queued;
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
    exchange_resume(exchange);
    const struct limits *limits = exchange->limits;
    size_t queued = exchange_queued(exchange);
    exchange->is_stalled = queued > limits->write_high_mark_bytes || queued + PIECE_ROOM > limits->write_cap_bytes;
    return exchange->is_stalled ? 0 : 1;
}

int response_write(struct exchange *exchange, const void *content, size_t len)
{
    int rv = count_piece(exchange, len);
    if (rv == 0 && exchange->framing->write(exchange, content, len) < 0) {
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
    bool is_borrowed = rv == 0 && len > REF_COPY_MAX && exchange->framing->borrow(exchange, &piece) == 0;
    if (!is_borrowed) {
        if (rv == 0 && exchange->framing->write(exchange, content, len) < 0) {
            response_abort(exchange);
            rv = -1;
        }
        if (release != NULL) {
            release(arg);
        }
    }
    return rv == 0 ? finish_piece(exchange) : rv;
}

void response_set_rate(struct exchange *exchange, uint64_t bytes)
{
    exchange->rate_bytes = bytes;
    exchange->dues.is_paced = PACED_OWN;
}

void response_pause(struct exchange *exchange)
{
    exchange->is_stalled = true;
    exchange_resume(exchange);
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
    if (!exchange->head_only && exchange->framing->end(exchange) < 0) {
        exchange->response_state = RESPONSE_ABORTED;
    }
    response_complete(exchange);
}

void response_abort(struct exchange *exchange)
{
    if (exchange->response_state == RESPONSE_NONE) {
        response_error(exchange, 500, NULL);
        return;
    }
    exchange->response_state = RESPONSE_ABORTED;
    exchange_resume(exchange);
}

/* Content that is made range by range. */

int response_add_lines(struct exchange *exchange, const char *lines, size_t len)
{
    int error = 0;
    char *at = write_buffer_reserve(&exchange->fields, len, SIZE_MAX, &error);
    if (at == NULL) {
        return error;
    }
    write_buffer_commit(&exchange->fields, (size_t)(response_put_lines(exchange, at, lines, len) - at));
    return 0;
}

int response_queue(struct exchange *exchange, const void *content, size_t len)
{
    return exchange->framing->queue(exchange, content, len);
}

void response_send_ranges(struct exchange *exchange, int status, const char *type, uint64_t length,
                          const struct continuation *then)
{
    const struct source source = {.then = *then};
    response_send_source(exchange, status, type, length, &source);
}

/* Error pages: a status and a short text, or what the host says in its place. An error while the host is asked for a
 * page is sent without asking. */

/* Allow is a must of 405 (RFC 9110 section 15.5.6): where there is no room for it, it goes before all others. */
static void add_allow(struct exchange *exchange)
{
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->vhost->router, exchange->match.allowed, allow);
    if (response_add_field(exchange, "Allow", 5, allow, strlen(allow)) < 0) {
        response_clear_fields(exchange);
        response_add_field(exchange, "Allow", 5, allow, strlen(allow));
    }
}

void response_error(struct exchange *exchange, int status, const char *detail)
{
    response_clear_fields(exchange);
    response_refuse(exchange, status, detail);
}

/* Whether the host has sent a page of its own for an error. */
static bool ask_host(struct exchange *exchange, int status)
{
    struct service *service = exchange->service;
    if (service->hooks.on_error == NULL || service->is_asking) {
        return false;
    }
    service->is_asking = true;
    service->hooks.on_error(exchange, status, service->hooks.arg);
    service->is_asking = false;
    return exchange->response_state != RESPONSE_NONE;
}

static void send_error_page(struct exchange *exchange, int status, const char *detail)
{
    if (response_send_page(exchange, status)) {
        return;
    }
    char page[RESPONSE_PAGE_MAX];
    response_send(exchange, status, RESPONSE_TEXT_PLAIN, page, response_format_page(page, status, detail));
}

void response_error_page(struct exchange *exchange, int status, const char *detail)
{
    if (!ask_host(exchange, status)) {
        send_error_page(exchange, status, detail);
    }
}

void response_refuse(struct exchange *exchange, int status, const char *detail)
{
    response_drop_content_fields(exchange);
    if (status == 405) {
        add_allow(exchange);
    }
    response_error_page(exchange, status, detail);
}

void response_error_plain(struct exchange *exchange, int status, const char *detail)
{
    response_clear_fields(exchange);
    response_drop_content_fields(exchange);
    send_error_page(exchange, status, detail);
}
