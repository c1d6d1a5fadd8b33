/* Happy path: the request goes out in one write on a kept connection; the response comes in one read, goes to the client
 * in one write, and the connection is kept for the next request. What is longer is passed on as it comes, in both
 * directions: no more is read from one side while the other is behind.
 *
 *   OPENS -- the connection is open --> WORKS -- the response is complete --> (freed)
 *     ^                                   |
 *     +------------- retry ---------------+
 *
 * Failure modes. Before anything of a response has come, a request goes to another upstream if it has not reached the
 * first one, or if it does no harm to send it twice (RFC 9110 section 9.2.2) and nothing of its body was taken; a kept
 * connection that has been closed just then is replaced without blame. Else the client gets 502, or 504 when the time is
 * over. Once the response has begun it is cut, so that the client can tell. A client that leaves takes the upstream's
 * connection with it. */

#include "http/proxy/passage.h"
#include "http/error_pages.h"

#include "core/deadline.h"
#include "core/kept_links.h"
#include "core/link.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "core/write_buffer.h"
#include "http/client/fetch_body.h"
#include "http/client/fetch_head.h"
#include "http/error_pages.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/limits.h"
#include "http/proxy/proxied_fields.h"
#include "http/proxy/proxied_head.h"
#include "http/proxy/proxied_upgrade.h"
#include "http/proxy/proxy_metrics.h"
#include "http/proxy/proxy_state.h"
#include "http/proxy/upstream.h"
#include "http/response.h"
#include "http/service.h"
#include "http/status.h"
#include "http/vhost.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PASSAGE_READS_MAX = 4,        /* from an upstream in one turn (R6) */
    PASSAGE_SENT_AT_ONCE = 32768, /* content up to this length is sent with its head, if it came with it */
    PASSAGE_FIELDS_MAX = 1000,    /* of an upstream's response */
    PASSAGE_INTERIM_MAX = 32,     /* interim responses before the response */
    PASSAGE_CHUNK_ROOM = 20,      /* hexadecimal digits of a length, and CRLF */
    PASSAGE_WHY_MAX = 256,        /* bytes of a text that says why */
};

struct passage {
    struct proxy *proxy;
    struct passage *next; /* of those that are kept */
    struct exchange *exchange;
    struct upstream *upstream;
    struct link *link;        /* NULL: there is none */
    struct deadline deadline; /* of what is waited for; its timer stays when the passage is kept */
    struct write_buffer out;  /* of the request, what the upstream has not taken */
    struct write_buffer came; /* of the head of the response, if it came in pieces */
    uint32_t tried;           /* upstreams that have had the request, bit n for upstream n */
    unsigned reused;          /* how often the link was used before */
    bool opens;               /* the link is not open yet */
    bool is_fresh;            /* no kept connection this time: one has failed */
    bool has_taken;           /* something of the request's body was taken from the client */
    bool is_body_sent;        /* all of the request was handed to the link or to out */
    bool is_send_broken;      /* the upstream takes no more; its response may be there all the same */
    bool upgrades;            /* the client has asked for another protocol, and the upstream with it */
    bool has_bytes;           /* something of a response came */
    bool has_begun;           /* the client gets a response */
    bool is_followed;         /* bytes came behind the response */
    uint8_t interims;         /* interim responses so far */
    struct fetch_body body;   /* behind the head of the response */
    int64_t began_ms;         /* when the upstream was chosen, reactor time */
    int status;               /* of the response; 0: there is none */
    uint32_t keep_ms;         /* how long the connection may be kept */
    struct fetch_head head;   /* large, and not zeroed with the rest */
};

static void on_passage_open(void *arg, int error);
static void on_passage_ready(void *arg, unsigned events);
static const struct link_user passage_link_user = {.on_open = on_passage_open, .on_ready = on_passage_ready};

static struct reactor *passage_reactor(const struct passage *passage)
{
    return passage->proxy->outbound->links.reactor;
}

/* Memory. */

static struct passage *take_passage(struct proxy *proxy)
{
    struct passage *passage = proxy->spare;
    if (passage == NULL) {
        passage = mem_zalloc(sizeof *passage);
        if (passage == NULL) {
            return NULL;
        }
        passage->proxy = proxy;
        passage->deadline.at_ms = DEADLINE_NEVER;
    } else {
        proxy->spare = passage->next;
        proxy->spare_count--;
        struct deadline deadline = passage->deadline;
        memset(passage, 0, offsetof(struct passage, head));
        passage->proxy = proxy;
        passage->deadline = deadline;
    }
    proxy->busy_count++;
    return passage;
}

static void free_passage(struct passage *passage)
{
    deadline_cancel(&passage->deadline, passage_reactor(passage));
    mem_free(passage);
}

/* Nobody needs it any more: its link has gone elsewhere. */
static void put_passage(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    if (passage->came.block != NULL || passage->out.block != NULL) { /* seldom */
        write_buffer_done(&passage->came);
        write_buffer_done(&passage->out);
    }
    passage->deadline.at_ms = DEADLINE_NEVER; /* its timer finds that out */
    passage->exchange = NULL;
    proxy->busy_count--;
    if (proxy->spare_count >= PROXY_SPARE_MAX) {
        free_passage(passage);
        return;
    }
    passage->next = proxy->spare;
    proxy->spare = passage;
    proxy->spare_count++;
}

void passages_done(struct proxy *proxy)
{
    while (proxy->spare != NULL) {
        struct passage *passage = proxy->spare;
        proxy->spare = passage->next;
        free_passage(passage);
    }
    proxy->spare_count = 0;
}

/* The end. */

static void close_passage_link(struct passage *passage)
{
    link_close(passage->link);
    passage->link = NULL;
}

/* For the access log: the upstream that was asked last. */
static void note_upstream(const struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    if (passage->upstream == NULL) {
        return;
    }
    exchange->is_proxied = true;
    exchange->upstream.address = passage->upstream->address;
    exchange->upstream.ms = (uint32_t)(reactor_now_ms(passage_reactor(passage)) - passage->began_ms);
    exchange->upstream.status = passage->status;
}

/* The exchange goes its own way: no callback of it leads here any more. */
static void leave_exchange(struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    exchange->on_data = exchange->on_drain = exchange->on_gone = NULL;
    exchange->wants_body = false;
    exchange->user = NULL;
}

/* Part with exchange and upstream. Returns the exchange, for the last word. */
static struct exchange *end_passage(struct passage *passage)
{
    struct exchange *exchange = passage->exchange;
    note_upstream(passage);
    leave_exchange(passage);
    close_passage_link(passage);
    put_passage(passage);
    return exchange;
}

static void on_passage_gone(struct exchange *exchange)
{
    end_passage(exchange->user);
}

/* There will be no response of an upstream, or no more of it. */
static void fail_passage(struct passage *passage, int status, const char *detail)
{
    bool has_begun = passage->has_begun;
    struct exchange *exchange = end_passage(passage);
    if (has_begun) {
        response_abort(exchange);
    } else {
        response_error(exchange, status, detail);
    }
}

/* Time. */

static void try_upstream(struct passage *passage);
static void retry_or_fail(struct passage *passage, int status, bool is_unsent, const char *why);

static void on_passage_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct passage *passage = arg;
    if (!deadline_fired(&passage->deadline, reactor)) {
        if (passage->deadline.at_ms != DEADLINE_NEVER) {
            deadline_set(&passage->deadline, reactor, passage->deadline.at_ms, on_passage_deadline, passage);
        }
        return;
    }
    passage->deadline.at_ms = DEADLINE_NEVER;
    char why[PASSAGE_WHY_MAX];
    const struct proxy *proxy = passage->proxy;
    if (passage->opens) {
        snprintf(why, sizeof why, "no connection within %" PRIu32 " ms (connect_timeout)", proxy->connect_timeout_ms);
        retry_or_fail(passage, 504, true, why);
        return;
    }
    snprintf(why, sizeof why, "%s for %" PRIu32 " ms (timeout)",
             passage->has_begun ? "it sent nothing more of its response" : "no response", proxy->timeout_ms);
    passage->has_bytes = true; /* a request that takes so long is not asked twice */
    retry_or_fail(passage, 504, false, why);
}

/* Set the deadline of what is waited for now: the upstream, or nothing while the client is behind. */
static void set_passage_deadline(struct passage *passage)
{
    const struct proxy *proxy = passage->proxy;
    struct reactor *reactor = passage_reactor(passage);
    int64_t at_ms = DEADLINE_NEVER;
    if (passage->opens) {
        at_ms = reactor_now_ms(reactor) + proxy->connect_timeout_ms;
    } else if (write_buffer_len(&passage->out) > 0 ||
               (!passage->exchange->is_stalled && (passage->is_body_sent || passage->has_begun))) {
        at_ms = reactor_now_ms(reactor) + proxy->timeout_ms;
    }
    deadline_set(&passage->deadline, reactor, at_ms, on_passage_deadline, passage);
}

/* Failures. */

/* Whether the request may be sent again, though it may have arrived. */
static bool is_repeatable(const struct passage *passage)
{
    static const unsigned idempotent = 1U << METHOD_GET | 1U << METHOD_HEAD | 1U << METHOD_PUT | 1U << METHOD_DELETE |
                                       1U << METHOD_OPTIONS;
    return (idempotent >> passage->exchange->head.method & 1) != 0;
}

/* This upstream did not do: on to the next one, or 502 and the like. is_unsent: nothing of the request has reached it.
 * passage may be gone when this returns. */
static void retry_or_fail(struct passage *passage, int status, bool is_unsent, const char *why)
{
    struct proxy *proxy = passage->proxy;
    struct upstream *upstream = passage->upstream;
    int64_t now_ms = reactor_now_ms(passage_reactor(passage));
    bool was_kept = passage->reused > 0 && !passage->has_bytes && status == 502;
    bool may_retry = !passage->has_bytes && !passage->has_begun && !passage->has_taken &&
                     (is_unsent || is_repeatable(passage));
    close_passage_link(passage);
    write_buffer_consume(&passage->out, SIZE_MAX);
    if (was_kept && may_retry) { /* it was closed while nobody used it, most likely */
        passage->is_fresh = true;
        try_upstream(passage);
        return;
    }
    if (!was_kept) {
        proxy_metrics_note(proxy, passage->exchange, upstream, 0, true);
    }
    bool is_down = !was_kept && upstream_note_failure(proxy, upstream, now_ms);
    passage->tried |= 1U << (upstream - proxy->upstreams);
    exchange_log(passage->exchange, LOG_WARN, upstream, "upstream %s: %s%s%s", upstream_name(upstream), why,
                 passage->has_begun ? "; the response is cut" : "", is_down ? "; it gets no requests for a while" : "");
    unsigned tries = (unsigned)__builtin_popcount(passage->tried);
    if (may_retry && tries < proxy->tries && upstream_choose(proxy, passage->tried, now_ms) != NULL) {
        passage->is_fresh = false;
        try_upstream(passage);
        return;
    }
    fail_passage(passage, status, NULL);
}

/* Sending. */

/* Send what parts have, behind what waits already; what the upstream does not take is kept in out. Returns 0, or
 * -ENOMEM. */
static int send_request_parts(struct passage *passage, struct iovec *parts, size_t count)
{
    size_t sent = 0;
    if (write_buffer_len(&passage->out) == 0 && !passage->is_send_broken) {
        ssize_t rv;
        do {
            rv = count == 1 ? link_send(passage->link, parts[0].iov_base, parts[0].iov_len)
                            : link_sendv(passage->link, parts, count);
        } while (rv == -EINTR);
        passage->is_send_broken = rv < 0 && rv != -EAGAIN;
        sent = rv > 0 ? (size_t)rv : 0;
    }
    for (size_t i = 0; i < count && !passage->is_send_broken; i++) {
        size_t of_part = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= of_part;
        const char *rest = (const char *)parts[i].iov_base + of_part;
        if (of_part < parts[i].iov_len &&
            write_buffer_append(&passage->out, rest, parts[i].iov_len - of_part, SIZE_MAX) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Send what waits. Returns whether all of it is gone. */
static bool flush_request(struct passage *passage)
{
    struct write_buffer *out = &passage->out;
    while (write_buffer_len(out) > 0 && !passage->is_send_broken) {
        ssize_t sent = link_send(passage->link, write_buffer_data(out), write_buffer_len(out));
        if (sent == -EAGAIN) {
            return false;
        }
        passage->is_send_broken = sent < 0 && sent != -EINTR;
        write_buffer_consume(out, sent > 0 ? (size_t)sent : 0);
    }
    if (passage->is_send_broken) {
        write_buffer_consume(out, SIZE_MAX);
    }
    return true;
}

/* Put a piece of the body into parts, framed as the upstream expects it. digits has PASSAGE_CHUNK_ROOM bytes. */
static size_t frame_piece(const struct passage *passage, struct iovec *parts, char *digits, const char *data,
                          size_t len)
{
    static char crlf[] = "\r\n";
    size_t count = 0;
    if (passage->exchange->head.chunked) {
        int written = snprintf(digits, PASSAGE_CHUNK_ROOM, "%zx\r\n", len);
        parts[count++] = (struct iovec){.iov_base = digits, .iov_len = (size_t)written};
    }
    parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    if (passage->exchange->head.chunked) {
        parts[count++] = (struct iovec){.iov_base = crlf, .iov_len = 2};
    }
    return count;
}

/* Read a piece of the body, behind the first count of parts. Returns how many parts there are then, or -errno or an HTTP
 * status, negated, as exchange_read_body(). */
static int add_body_piece(struct passage *passage, struct iovec *parts, int count, char *digits)
{
    static char last_chunk[] = "0\r\n\r\n";
    struct exchange *exchange = passage->exchange;
    const char *data;
    size_t len;
    int rv = exchange_read_body(exchange, &data, &len);
    if (rv < 0 || rv == BODY_WAIT) {
        return rv < 0 ? rv : count;
    }
    if (rv == BODY_DATA) {
        passage->has_taken = true;
        count += (int)frame_piece(passage, parts + count, digits, data, len);
    }
    if (exchange->is_body_read) {
        passage->is_body_sent = true;
        if (exchange->head.chunked) {
            parts[count++] = (struct iovec){.iov_base = last_chunk, .iov_len = sizeof last_chunk - 1};
        }
    }
    return count;
}

/* The body of the request cannot be had, for which the client is to blame. */
static void refuse_body(struct passage *passage, int status)
{
    fail_passage(passage, status, passage->exchange->body_reason);
}

static void lack_memory(struct passage *passage)
{
    fail_passage(passage, 503, NULL);
}

/* Pass the body on, as far as it has come and the upstream takes it. Returns false if the passage is gone. */
static bool pump_request(struct passage *passage)
{
    while (flush_request(passage) && !passage->is_body_sent && !passage->is_send_broken) {
        struct iovec parts[4];
        char digits[PASSAGE_CHUNK_ROOM];
        int count = add_body_piece(passage, parts, 0, digits);
        if (count < 0) {
            refuse_body(passage, -count);
            return false;
        }
        if (count == 0) {
            break; /* on_data tells when there is more */
        }
        if (send_request_parts(passage, parts, (size_t)count) < 0) {
            lack_memory(passage);
            return false;
        }
    }
    return true;
}

/* The link is open: send the head, and what there is of the body with it. Returns false if the passage is gone. */
static bool send_head(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    struct exchange *exchange = passage->exchange;
    size_t room = proxied_head_room(exchange, proxy, passage->upstream);
    if (room > proxy->scratch_len) {
        char *scratch = mem_resize(proxy->scratch, room);
        if (scratch == NULL) {
            lack_memory(passage);
            return false;
        }
        proxy->scratch = scratch;
        proxy->scratch_len = room;
    }
    struct iovec parts[5];
    char digits[PASSAGE_CHUNK_ROOM];
    parts[0].iov_base = proxy->scratch;
    parts[0].iov_len = proxied_head_write(proxy->scratch, exchange, proxy, passage->upstream, passage->upgrades);
    int count = 1;
    if (!exchange->has_body) {
        passage->is_body_sent = true;
    } else {
        count = add_body_piece(passage, parts, 1, digits);
        if (count < 0) {
            refuse_body(passage, -count);
            return false;
        }
    }
    if (send_request_parts(passage, parts, (size_t)count) < 0) {
        lack_memory(passage);
        return false;
    }
    return passage->is_body_sent || pump_request(passage); /* which asks for what has not come yet */
}

/* Receiving. */

/* The upstream has responded. */
static void note_response(const struct passage *passage)
{
    int64_t took_ms = reactor_now_ms(passage_reactor(passage)) - passage->began_ms;
    upstream_note_success(passage->upstream);
    proxy_metrics_note(passage->proxy, passage->exchange, passage->upstream, took_ms, false);
}

/* The response is complete. The connection is kept if both sides keep it and nothing is under way on it. */
static void finish_passage(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    struct upstream *upstream = passage->upstream;
    bool is_kept = passage->head.keep_alive && passage->body.framing != FRAMING_TO_CLOSE && !passage->is_followed &&
                   passage->is_body_sent && !passage->is_send_broken && write_buffer_len(&passage->out) == 0 &&
                   proxy->keepalive > 0;
    note_response(passage);
    if (is_kept) {
        struct link *link = passage->link;
        passage->link = NULL;
        (void)kept_links_put(&proxy->outbound->kept, upstream->kept_name, upstream->kept_name_len, link,
                             passage->reused, passage->keep_ms, proxy->keepalive);
    }
    struct exchange *exchange = end_passage(passage);
    if (exchange->response_state == RESPONSE_STREAMING) {
        response_end(exchange);
    }
}

/* What came is no response that has only one meaning. */
static void fail_malformed(struct passage *passage, const char *what)
{
    char why[PASSAGE_WHY_MAX];
    snprintf(why, sizeof why, "what it sent is no valid response: %s", what);
    passage->has_bytes = true;
    retry_or_fail(passage, 502, false, why);
}

/* The connection has ended, or broken. */
static void take_upstream_end(struct passage *passage, int error)
{
    if (error == 0 && passage->has_begun && fetch_body_end(&passage->body)) {
        passage->head.keep_alive = false;
        finish_passage(passage);
        return;
    }
    char why[PASSAGE_WHY_MAX];
    bool is_tls = error == -EPROTO || error == -ECONNABORTED;
    snprintf(why, sizeof why, "the connection %s %s%s%s", error == 0 ? "ended" : "broke",
             passage->has_begun   ? "in the middle of the response's content"
             : passage->has_bytes ? "in the middle of the response's head"
                                  : "before any byte of the response",
             error == 0 ? "" : ": ",
             error == 0 ? ""
             : is_tls   ? link_failure(passage->link)
                        : errno_text(-error));
    retry_or_fail(passage, 502, false, why);
}

/* The head is complete, and len bytes lie behind it: begin the response to the client. data are the bytes of the head.
 * Returns false if the passage is gone. */
static bool begin_proxied_response(struct passage *passage, const char *data, const char *rest, size_t len)
{
    struct exchange *exchange = passage->exchange;
    const struct fetch_head *head = &passage->head;
    enum fetch_framing framing = fetch_head_framing(head, exchange->head_only);
    if (!status_is_final(head->status)) {
        fail_malformed(passage, "its status is none that HTTP knows");
        return false;
    }
    passage->status = head->status;
    passage->keep_ms = KEPT_IDLE_MS;
    if (proxied_fields_add(exchange, head, data, &passage->keep_ms) < 0) {
        lack_memory(passage);
        return false;
    }
    if (error_pages_replace(exchange, exchange->vhost->error_pages, head->status)) {
        note_response(passage);
        end_passage(passage);
        return false;
    }
    fetch_body_begin(&passage->body, framing, head->content_length);
    passage->has_begun = true;
    bool is_whole = framing == FRAMING_LENGTH && head->content_length <= len &&
                    head->content_length <= PASSAGE_SENT_AT_ONCE;
    if (is_whole) {
        passage->body.is_complete = true;
        passage->is_followed = head->content_length < len;
        if (head->content_length == 0) { /* it has no content: response_send() would look for a page */
            response_begin(exchange, head->status, NULL, 0);
        } else {
            response_send(exchange, head->status, NULL, rest, (size_t)head->content_length);
        }
        finish_passage(passage);
        return false;
    }
    response_begin(exchange, head->status, NULL, head->has_length ? (int64_t)head->content_length : -1);
    return true;
}

/* The upstream has agreed to the protocol that the client has asked for: from here on bytes are passed on unseen. data
 * are those of the head, and len bytes lie behind it. The passage is gone when this returns. */
static void switch_protocols(struct passage *passage, const char *data, const char *early, size_t len)
{
    int rv = proxied_upgrade_accept(passage->exchange, passage->proxy, passage->link, &passage->head, data, early, len);
    if (rv == -EPROTO) {
        fail_malformed(passage, "it switches to a protocol that was not asked for");
    } else if (rv < 0) {
        lack_memory(passage);
    } else {
        note_response(passage);
        passage->status = 101;
        passage->link = NULL; /* the tunnel's */
        end_passage(passage);
    }
}

static void begin_head_of(struct passage *passage)
{
    fetch_head_reset(&passage->head);
    passage->head.max_bytes = PROXY_RESPONSE_HEAD_MAX;
    passage->head.max_fields = PASSAGE_FIELDS_MAX;
    passage->head.may_switch = passage->upgrades;
}

/* Take bytes of the head. *data and *len become those behind it. Returns 1 when it is complete; 0 when more must come;
 * -1 if the passage is gone. */
static int take_upstream_head(struct passage *passage, const char **data, size_t *len)
{
    struct fetch_head *head = &passage->head;
    struct write_buffer *came = &passage->came;
    if (write_buffer_len(came) > 0) {
        if (write_buffer_append(came, *data, *len, SIZE_MAX) < 0) {
            lack_memory(passage);
            return -1;
        }
        *data = write_buffer_data(came);
        *len = write_buffer_len(came);
    }
    for (;;) {
        enum parse_verdict verdict = fetch_head_parse(head, *data, *len);
        if (verdict == PARSE_ERROR) {
            fail_malformed(passage, head->why);
            return -1;
        }
        if (verdict == PARSE_INCOMPLETE) {
            break;
        }
        const char *bytes = *data;
        *data += head->len;
        *len -= head->len;
        if (head->status == 101) {
            switch_protocols(passage, bytes, *data, *len);
            return -1;
        }
        if (head->status >= 200) {
            return begin_proxied_response(passage, bytes, *data, *len) ? 1 : -1;
        }
        if (head->status != 100 && proxied_fields_interim(passage->exchange, head, bytes) < 0) {
            lack_memory(passage);
            return -1;
        }
        if (++passage->interims > PASSAGE_INTERIM_MAX) {
            fail_malformed(passage, "too many interim responses");
            return -1;
        }
        begin_head_of(passage);
    }
    if (write_buffer_len(came) > 0) {
        write_buffer_consume(came, write_buffer_len(came) - *len);
    } else if (*len > 0 && write_buffer_append(came, *data, *len, SIZE_MAX) < 0) {
        lack_memory(passage);
        return -1;
    }
    return 0;
}

/* Take content: the bytes of its chunks are moved together, so that the client gets as many as can be at once. Returns
 * false if the passage is gone. */
static bool pass_content(struct passage *passage, char *data, size_t len)
{
    struct exchange *exchange = passage->exchange;
    char *content = data;
    size_t used = 0, found = 0;
    enum parse_verdict verdict = PARSE_INCOMPLETE;
    while (verdict == PARSE_INCOMPLETE && used < len) {
        size_t taken;
        struct slice piece;
        verdict = fetch_body_take(&passage->body, &passage->proxy->trailer_limits, data + used, len - used, &taken,
                                  &piece);
        if (piece.len > 0 && verdict != PARSE_ERROR) {
            const char *from = data + used + piece.offset;
            if (found == 0) {
                content = data + used + piece.offset;
            } else if (content + found != from) {
                memmove(content + found, from, piece.len);
            }
            found += piece.len;
        }
        used += taken;
    }
    if (found > 0 && response_write(exchange, content, found) < 0) {
        end_passage(passage); /* the client is lost, or is cut */
        return false;
    }
    if (verdict == PARSE_ERROR) {
        fail_malformed(passage, passage->body.chunk.reason);
        return false;
    }
    if (verdict == PARSE_COMPLETE || passage->body.is_complete) {
        passage->is_followed = used < len;
        finish_passage(passage);
        return false;
    }
    return true;
}

/* Returns false if the passage is gone. */
static bool take_upstream_bytes(struct passage *passage, char *data, size_t len)
{
    const char *rest = data;
    passage->has_bytes = true;
    if (!passage->has_begun) {
        int rv = take_upstream_head(passage, &rest, &len);
        if (rv <= 0) {
            return rv == 0;
        }
    }
    bool goes_on = len == 0 && !passage->body.is_complete ? true : pass_content(passage, (char *)(uintptr_t)rest, len);
    if (goes_on) {
        write_buffer_done(&passage->came);
    }
    return goes_on;
}

/* How much may be received at once: what the client may owe, head and framing included. */
static size_t passage_room(const struct passage *passage)
{
    const struct exchange *exchange = passage->exchange;
    uint64_t cap = exchange->limits->write_cap_bytes, queued = exchange_queued(exchange);
    uint64_t room = queued < cap ? (cap - queued) / 2 : 0;
    return room == 0 ? 1 : room < PROXY_BLOCK ? (size_t)room : PROXY_BLOCK;
}

/* Receive what is there, as far as the client takes it. Returns false if the passage is gone. */
static bool receive_from_upstream(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    for (int i = 0; i < PASSAGE_READS_MAX && !passage->exchange->is_stalled; i++) {
        size_t room = passage_room(passage);
        ssize_t len = link_recv(passage->link, proxy->block, room);
        if (len == -EINTR) {
            continue;
        }
        if (len == -EAGAIN) {
            return true;
        }
        if (len <= 0) {
            take_upstream_end(passage, (int)len);
            return false;
        }
        if (!take_upstream_bytes(passage, proxy->block, (size_t)len)) {
            return false;
        }
        if ((size_t)len < room) {
            break;
        }
    }
    return true;
}

/* Turns. */

/* Ask for the events that are still needed. */
static void want_upstream(struct passage *passage)
{
    unsigned events = write_buffer_len(&passage->out) > 0 ? (unsigned)REACTOR_WRITABLE : 0;
    events |= passage->exchange->is_stalled ? 0 : (unsigned)REACTOR_READABLE;
    int rv = link_want(passage->link, events);
    if (rv < 0) {
        retry_or_fail(passage, 503, false, errno_text(-rv));
        return;
    }
    set_passage_deadline(passage);
}

static void on_passage_ready(void *arg, unsigned events)
{
    struct passage *passage = arg;
    bool may_send = write_buffer_len(&passage->out) > 0 && (events & (unsigned)REACTOR_WRITABLE) != 0;
    if ((!may_send || pump_request(passage)) && receive_from_upstream(passage)) {
        want_upstream(passage);
    }
}

static void on_passage_data(struct exchange *exchange)
{
    struct passage *passage = exchange->user;
    if (!passage->opens && pump_request(passage)) {
        want_upstream(passage);
    }
}

/* The client has taken most of what waited for it. */
static void on_passage_drain(struct exchange *exchange)
{
    struct passage *passage = exchange->user;
    if (receive_from_upstream(passage)) {
        want_upstream(passage);
    }
}

/* Beginning. */

static void on_passage_open(void *arg, int error)
{
    struct passage *passage = arg;
    if (error < 0) {
        char why[PASSAGE_WHY_MAX];
        snprintf(why, sizeof why, "cannot connect: %s", link_failure(passage->link));
        retry_or_fail(passage, 502, true, why);
        return;
    }
    passage->opens = false;
    if (send_head(passage)) {
        want_upstream(passage);
    }
}

/* Take a connection that is kept, if there is one. A request that could not be sent again must not run into one that the
 * upstream has closed: for a look at the socket it is worth a system call. */
static void take_kept_link(struct passage *passage)
{
    struct kept_links *kept = &passage->proxy->outbound->kept;
    const struct upstream *upstream = passage->upstream;
    bool is_once = passage->exchange->has_body || !is_repeatable(passage);
    do {
        close_passage_link(passage);
        passage->link = kept_links_take(kept, upstream->kept_name, upstream->kept_name_len, &passage->reused);
    } while (passage->link != NULL && is_once && link_looks_stale(passage->link));
    passage->reused = passage->link == NULL ? 0 : passage->reused;
}

/* Have the request sent to the upstream. passage may be gone when this returns. */
static void send_to_upstream(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    struct outbound *outbound = proxy->outbound;
    struct upstream *upstream = passage->upstream;
    passage->began_ms = reactor_now_ms(passage_reactor(passage));
    begin_head_of(passage);
    passage->is_send_broken = passage->is_body_sent = false;
    passage->reused = 0;
    if (!passage->is_fresh && proxy->keepalive > 0) {
        take_kept_link(passage);
    }
    if (passage->link != NULL) {
        passage->opens = false;
        link_set_user(passage->link, &passage_link_user, passage);
        if (send_head(passage)) {
            want_upstream(passage);
        }
        return;
    }
    char err[PASSAGE_WHY_MAX];
    passage->opens = true;
    int rv = outbound_connect(outbound, &passage->link, &upstream->target, &passage_link_user, passage, err,
                              sizeof err);
    if (rv < 0) {
        passage->link = NULL;
        retry_or_fail(passage, rv == -ENOBUFS || rv == -EMFILE || rv == -ENFILE || rv == -ENOMEM ? 503 : 502, true,
                      err);
        return;
    }
    set_passage_deadline(passage);
}

static void try_upstream(struct passage *passage)
{
    if (!passage->is_fresh) {
        passage->upstream = upstream_choose(passage->proxy, passage->tried, reactor_now_ms(passage_reactor(passage)));
    }
    send_to_upstream(passage);
}

void passage_begin(struct proxy *proxy, struct exchange *exchange)
{
    struct passage *passage = take_passage(proxy);
    if (passage != NULL && proxy->block == NULL) {
        proxy->block = mem_alloc(PROXY_BLOCK);
    }
    if (passage == NULL || proxy->block == NULL) {
        if (passage != NULL) {
            put_passage(passage);
        }
        response_error(exchange, 503, NULL);
        return;
    }
    passage->exchange = exchange;
    passage->upgrades = proxied_head_upgrades(exchange);
    exchange->user = passage;
    exchange->on_gone = on_passage_gone;
    exchange->on_data = on_passage_data;
    exchange->on_drain = on_passage_drain;
    try_upstream(passage);
}
