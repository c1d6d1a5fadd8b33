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

#include "core/deadline.h"
#include "core/kept_links.h"
#include "core/link.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/proxy/passage_end.h"
#include "http/proxy/passage_receive.h"
#include "http/proxy/passage_send.h"
#include "http/proxy/passage_state.h"
#include "http/proxy/proxied_head.h"
#include "http/proxy/proxy_metrics.h"
#include "http/proxy/upstream.h"
#include "http/response.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void on_passage_open(void *arg, int error);
static void on_passage_ready(void *arg, unsigned events);
static const struct link_user passage_link_user = {.on_open = on_passage_open, .on_ready = on_passage_ready};

static void on_passage_gone(struct exchange *exchange)
{
    passage_end(exchange->user);
}

/* Time. */

static void send_to_upstream(struct passage *passage);
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

/* Set the deadline of what is waited for now: the upstream, or nothing while the client is behind. The head of a response
 * has one from the end of the request on, so that an upstream that sends it byte by byte, or one interim response after
 * another, does not hold the client for longer. has_moved: the upstream has done something, or its turn begins. */
static void set_passage_deadline(struct passage *passage, bool has_moved)
{
    const struct proxy *proxy = passage->proxy;
    struct reactor *reactor = passage_reactor(passage);
    bool is_sent = write_buffer_len(&passage->out) == 0 && (passage->is_body_sent || passage->is_send_broken);
    bool awaits_head = !passage->opens && is_sent && !passage->has_begun;
    if (awaits_head && passage->awaits_head) {
        return;
    }
    passage->awaits_head = awaits_head;
    int64_t at_ms = DEADLINE_NEVER;
    if (passage->opens) {
        at_ms = reactor_now_ms(reactor) + proxy->connect_timeout_ms;
    } else if (write_buffer_len(&passage->out) > 0 ||
               (!passage->exchange->is_stalled && (is_sent || passage->has_begun))) {
        at_ms = reactor_now_ms(reactor) + proxy->timeout_ms;
    }
    if (!has_moved && at_ms != DEADLINE_NEVER && passage->deadline.at_ms != DEADLINE_NEVER) {
        return;
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

/* The upstream has failed. Returns whether it gets no requests for a while from now on. */
static bool blame_upstream(const struct passage *passage, int64_t now_ms)
{
    struct proxy *proxy = passage->proxy;
    proxy_metrics_note(proxy, passage->exchange, passage->upstream, 0, true);
    return upstream_note_failure(proxy, passage->upstream, now_ms);
}

/* This upstream did not do: on to the next one, or 502 and the like; 503 if it is we who lack something. is_unsent:
 * nothing of the request has reached it. passage may be gone when this returns. */
static void retry_or_fail(struct passage *passage, int status, bool is_unsent, const char *why)
{
    struct proxy *proxy = passage->proxy;
    struct upstream *upstream = passage->upstream;
    int64_t now_ms = reactor_now_ms(passage_reactor(passage));
    bool was_kept = passage->reused > 0 && !passage->has_bytes && status == 502;
    bool may_retry = !passage->has_bytes && !passage->has_begun && !passage->has_taken &&
                     (is_unsent || is_repeatable(passage));
    passage_close_link(passage);
    write_buffer_consume(&passage->out, SIZE_MAX);
    if (was_kept && may_retry) { /* it was closed while nobody used it, most likely */
        passage->is_fresh = true;
        send_to_upstream(passage);
        return;
    }
    bool is_down = !was_kept && status != 503 && blame_upstream(passage, now_ms);
    passage->tried |= 1U << (upstream - proxy->upstreams);
    exchange_log(passage->exchange, LOG_WARN, upstream, "upstream %s: %s%s%s", upstream_name(upstream), why,
                 passage->has_begun ? "; the response is cut" : "", is_down ? "; it gets no requests for a while" : "");
    unsigned tries = (unsigned)__builtin_popcount(passage->tried);
    struct upstream *next = may_retry && tries < proxy->tries ? upstream_choose(proxy, passage->tried, now_ms) : NULL;
    if (next != NULL) {
        passage->is_fresh = false;
        passage->upstream = next;
        send_to_upstream(passage);
        return;
    }
    passage_fail(passage, status, NULL);
}

/* Turns. */

/* Ask for the events that are still needed. has_moved: as above. */
static void want_upstream(struct passage *passage, bool has_moved)
{
    unsigned events = write_buffer_len(&passage->out) > 0 ? (unsigned)REACTOR_WRITABLE : 0;
    events |= passage->exchange->is_stalled ? 0 : (unsigned)REACTOR_READABLE;
    int rv = link_want(passage->link, events);
    if (rv < 0) {
        retry_or_fail(passage, 503, false, errno_text(-rv));
        return;
    }
    set_passage_deadline(passage, has_moved);
}

static void on_passage_ready(void *arg, unsigned events)
{
    struct passage *passage = arg;
    bool may_send = write_buffer_len(&passage->out) > 0 && (events & (unsigned)REACTOR_WRITABLE) != 0;
    if ((!may_send || passage_pump(passage)) && passage_receive(passage)) {
        want_upstream(passage, true);
    }
}

/* A piece of the body came. That is no reason to wait longer for the upstream: it has moved if it took what waited. */
static void on_passage_data(struct exchange *exchange)
{
    struct passage *passage = exchange->user;
    size_t waited = write_buffer_len(&passage->out);
    if (!passage->opens && passage_pump(passage)) {
        want_upstream(passage, write_buffer_len(&passage->out) < waited);
    }
}

/* The client has taken most of what waited for it. */
static void on_passage_drain(struct exchange *exchange)
{
    struct passage *passage = exchange->user;
    if (passage_receive(passage)) {
        want_upstream(passage, true);
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
    if (passage_send_head(passage)) {
        want_upstream(passage, true);
    }
}

/* Take a connection that is kept, if there is one. A request that could not be sent again must not run into one that the
 * upstream has closed: for a look at the socket it is worth a system call. The others look at what comes in this turn of
 * the reactor (is_from_before()). */
static void take_kept_link(struct passage *passage)
{
    struct kept_links *kept = &passage->proxy->outbound->kept;
    const struct upstream *upstream = passage->upstream;
    bool is_once = passage->exchange->has_body || !is_repeatable(passage);
    do {
        passage_close_link(passage);
        passage->link = kept_links_take(kept, upstream->kept_name, upstream->kept_name_len, &passage->reused);
    } while (passage->link != NULL && is_once && link_looks_stale(passage->link));
    passage->reused = passage->link == NULL ? 0 : passage->reused;
    passage->taken_turn = passage->reused > 0 && !is_once ? reactor_counts(passage_reactor(passage)).ticks : 0;
}

/* Have the request sent to the upstream. passage may be gone when this returns. */
static void send_to_upstream(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    struct outbound *outbound = proxy->outbound;
    struct upstream *upstream = passage->upstream;
    passage->began_ms = reactor_now_ms(passage_reactor(passage));
    passage_expect_head(passage);
    passage->is_send_broken = passage->is_body_sent = passage->awaits_head = false;
    passage->reused = 0;
    passage->taken_turn = 0;
    if (!passage->is_fresh && proxy->keepalive > 0) {
        take_kept_link(passage);
    }
    if (passage->link != NULL) {
        passage->opens = false;
        link_set_user(passage->link, &passage_link_user, passage);
        if (passage_send_head(passage)) {
            want_upstream(passage, true);
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
    set_passage_deadline(passage, true);
}

void passage_begin(struct proxy *proxy, struct exchange *exchange)
{
    if (proxied_head_circles(exchange)) {
        exchange_log(exchange, LOG_WARN, proxy,
                     "Via names evserve %d times: the upstream %s leads back here; the client gets 508",
                     (int)PROXY_HOPS_MAX, upstream_name(&proxy->upstreams[0]));
        response_error(exchange, 508, NULL);
        return;
    }
    if (proxied_head_names_too_many(exchange)) {
        response_error(exchange, 400, "Connection names more than 64 fields");
        return;
    }
    struct passage *passage = passage_take(proxy);
    if (passage != NULL && proxy->block == NULL) {
        proxy->block = mem_alloc(PROXY_BLOCK);
    }
    if (passage == NULL || proxy->block == NULL) {
        if (passage != NULL) {
            passage_put(passage);
        }
        response_error(exchange, 503, NULL);
        return;
    }
    passage->exchange = exchange;
    passage->give_up = retry_or_fail;
    passage->upgrades = proxied_head_upgrades(exchange);
    exchange->user = passage;
    exchange->on_gone = on_passage_gone;
    exchange->on_data = on_passage_data;
    exchange->on_drain = on_passage_drain;
    passage->upstream = upstream_choose(proxy, 0, reactor_now_ms(passage_reactor(passage)));
    send_to_upstream(passage);
}
