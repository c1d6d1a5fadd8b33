/* Happy path: a response that comes in one read goes to the client in one write, and its connection is kept.
 * Failure modes: what is no response that has only one meaning, and a connection that ends before its response does, go to
 * give_up() of the passage. */

#include "http/proxy/passage_receive.h"

#include "core/kept_links.h"
#include "core/link.h"
#include "core/log.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "http/error_pages.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/proxy/passage_end.h"
#include "http/proxy/passage_state.h"
#include "http/proxy/proxied_fields.h"
#include "http/proxy/proxied_upgrade.h"
#include "http/proxy/proxy_metrics.h"
#include "http/proxy/upstream.h"
#include "http/response.h"
#include "http/status.h"
#include "http/vhost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    PASSAGE_READS_MAX = 4,        /* from an upstream in one turn (R6) */
    PASSAGE_SENT_AT_ONCE = 32768, /* content up to this length is sent with its head, if it came with it */
    PASSAGE_FIELDS_MAX = 1000,    /* of an upstream's response */
    PASSAGE_INTERIM_MAX = 32,     /* interim responses before the response */
};

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
    struct exchange *exchange = passage_end(passage);
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
    passage->give_up(passage, 502, false, why);
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
    passage->give_up(passage, 502, false, why);
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
    if (proxied_fields_add(exchange, passage->proxy, passage->upstream, head, data, &passage->keep_ms) < 0) {
        passage_lack_memory(passage);
        return false;
    }
    if (error_pages_replace(exchange, exchange->vhost->error_pages, head->status)) {
        note_response(passage);
        passage_end(passage);
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
    int rv = proxied_upgrade_accept(passage->exchange, passage->proxy, passage->upstream, passage->link, &passage->head,
                                    data, early, len);
    if (rv == -EPROTO) {
        fail_malformed(passage, "it switches to a protocol that was not asked for");
    } else if (rv < 0) {
        passage_lack_memory(passage);
    } else {
        note_response(passage);
        passage->status = 101;
        passage->link = NULL; /* the tunnel's */
        passage_end(passage);
    }
}

void passage_expect_head(struct passage *passage)
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
            passage_lack_memory(passage);
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
        if (head->status != 100 &&
            proxied_fields_interim(passage->exchange, passage->proxy, passage->upstream, head, bytes) < 0) {
            passage_lack_memory(passage);
            return -1;
        }
        if (++passage->interims > PASSAGE_INTERIM_MAX) {
            fail_malformed(passage, "too many interim responses");
            return -1;
        }
        passage_expect_head(passage);
    }
    if (write_buffer_len(came) > 0) {
        write_buffer_consume(came, write_buffer_len(came) - *len);
    } else if (*len > 0 && write_buffer_append(came, *data, *len, SIZE_MAX) < 0) {
        passage_lack_memory(passage);
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
        passage_end(passage); /* the client is lost, or is cut */
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

/* Whether what came on a kept connection is no response: the reactor knew of it before the request was sent. */
static bool is_from_before(const struct passage *passage)
{
    return passage->taken_turn != 0 && !passage->has_bytes &&
           passage->taken_turn == reactor_counts(passage_reactor(passage)).ticks;
}

/* Returns false if the passage is gone. */
static bool take_upstream_bytes(struct passage *passage, char *data, size_t len)
{
    const char *rest = data;
    if (is_from_before(passage)) {
        passage->give_up(passage, 502, false, "it sent something that nobody had asked for");
        return false;
    }
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
bool passage_receive(struct passage *passage)
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
