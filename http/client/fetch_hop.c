/* One request and its response.
 *
 * Happy path: the request goes out in one write, on a kept connection at once, on a new one when it is open; what the
 * server sends is handed to fetch_content.c; at the end the connection is kept, and the owner told.
 *
 * Failure modes: a kept connection may have been closed by the server just now. If nothing came of the response, and
 * the method may be repeated, the request goes out again, on a new connection. A server that takes no more of the
 * request may have responded all the same, so what it sent is read. All else is fetch_fail(). */

#include "http/client/fetch_hop.h"

#include "core/log.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/tls_client_context.h"
#include "http/client/fetch_content.h"
#include "http/client/fetch_kept.h"
#include "http/client/fetch_over.h"
#include "http/client/fetch_redirect.h"
#include "http/client/fetch_state.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    HOP_BLOCK = 16384,  /* bytes that are received at a time */
    HOP_READS_MAX = 16, /* times, before others have their turn, */
    HOP_TURN = 1 << 20, /* or so many bytes */
};

static struct reactor *hop_reactor(const struct fetch *fetch)
{
    return fetch->outbound->links.reactor;
}

/* Time. */

static void on_fetch_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct fetch *fetch = arg;
    char name[FETCH_FAILURE_MAX / 2];

    if (!deadline_fired(&fetch->deadline, reactor)) {
        deadline_set(&fetch->deadline, reactor, fetch->deadline.at_ms, on_fetch_deadline, fetch);
        return;
    }
    fetch_peer_name(fetch, name);
    if (fetch->stage == FETCH_OPENS) {
        bool is_whole = reactor_now_ms(reactor) >= fetch->ends_ms;
        fetch_fail(fetch, FETCH_TIMED_OUT, "no connection to %s within %" PRIu32 " ms (%s)", name,
                   is_whole ? fetch->timeout_ms : fetch->connect_timeout_ms, is_whole ? "timeout" : "connect_timeout");
    } else if (fetch->has_result && fetch->streams_response) {
        fetch_fail(fetch, FETCH_TIMED_OUT, "%s sent nothing more of its response for %" PRIu32 " ms (timeout)", name,
                   fetch->timeout_ms);
    } else if (fetch->has_result) {
        fetch_fail(fetch, FETCH_TIMED_OUT, "%s did not complete its response within %" PRIu32 " ms (timeout)", name,
                   fetch->timeout_ms);
    } else {
        fetch_fail(fetch, FETCH_TIMED_OUT, "no response from %s within %" PRIu32 " ms (timeout)", name,
                   fetch->timeout_ms);
    }
    fetch_tell(fetch);
}

/* Set the deadline of what is waited for now. */
static void set_hop_deadline(struct fetch *fetch)
{
    int64_t at_ms = fetch->ends_ms;

    if (fetch->stage == FETCH_OPENS) {
        int64_t opens_ms = reactor_now_ms(hop_reactor(fetch)) + fetch->connect_timeout_ms;
        at_ms = opens_ms < at_ms ? opens_ms : at_ms;
    } else if (fetch->streams_response && fetch->has_result) {
        /* Each wait for more counts anew; while the owner has something to read, nobody waits for the server. */
        at_ms = fetch->content.len > 0 ? DEADLINE_NEVER : reactor_now_ms(hop_reactor(fetch)) + fetch->timeout_ms;
    }
    deadline_set(&fetch->deadline, hop_reactor(fetch), at_ms, on_fetch_deadline, fetch);
}

/* Kept connections. */

static bool is_request_sent(const struct fetch *fetch)
{
    bool is_written = !fetch->order.streams_body || fetch->has_written;
    bool is_body_sent = !fetch_order_is_split(&fetch->order) || fetch->body_sent == fetch->order.body_len;
    return is_written && is_body_sent && write_buffer_len(&fetch->out) == 0 && !fetch->is_send_broken;
}

/* The response is complete: keep the connection, if both sides do. */
static void release_link(struct fetch *fetch)
{
    char name[FETCH_KEPT_NAME_MAX];
    size_t len = fetch_kept_name(fetch, name);

    if (len > 0 && !fetch->order.closes && fetch_reply_keeps(&fetch->reply) && is_request_sent(fetch)) {
        (void)kept_links_put(&fetch->outbound->kept, name, len, fetch->link, fetch->reused, fetch_kept_ms(fetch),
                             KEPT_POOL_SIZE);
        fetch->link = NULL;
    }
    fetch_let_go(fetch);
}

/* Sending. */

/* Send what is there. Returns whether something is left for which there is no room now. */
static bool send_request(struct fetch *fetch)
{
    const struct fetch_order *order = &fetch->order;

    while (!fetch->is_send_broken) {
        size_t queued = write_buffer_len(&fetch->out);
        size_t body_left = fetch_order_is_split(order) ? order->body_len - fetch->body_sent : 0;
        if (queued + body_left == 0) {
            return false;
        }
        const char *body = body_left > 0 ? order->body + fetch->body_sent : NULL;
        struct iovec parts[2] = {
            {.iov_base = fetch->out.block + fetch->out.start, .iov_len = queued},
            {.iov_base = (void *)(uintptr_t)body, .iov_len = body_left},
        };
        size_t first = queued == 0;
        ssize_t sent = body_left == 0 ? link_send(fetch->link, parts[0].iov_base, queued)
                                      : link_sendv(fetch->link, parts + first, 2 - first);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0) {
            fetch->is_send_broken = sent != -EAGAIN;
            return sent == -EAGAIN;
        }
        size_t of_queue = (size_t)sent < queued ? (size_t)sent : queued;
        write_buffer_consume(&fetch->out, of_queue);
        fetch->body_sent += (size_t)sent - of_queue;
    }
    return false;
}

static void note_room(struct fetch *fetch)
{
    if (fetch->wants_room && (write_buffer_len(&fetch->out) < FETCH_QUEUE_MAX / 2 || fetch->is_send_broken)) {
        fetch->wants_room = false;
        fetch_note(fetch, FETCH_WRITABLE);
    }
}

/* Receiving. */

/* The connection broke: a kept one may be replaced. Returns whether the request goes out again. */
static bool retry(struct fetch *fetch)
{
    char err[FETCH_FAILURE_MAX];

    if (fetch->reused == 0 || fetch->reply.has_bytes || !fetch_order_is_repeatable(&fetch->order)) {
        return false;
    }
    link_close(fetch->link);
    fetch->link = NULL;
    fetch->is_fresh = true;
    enum fetch_kind kind = fetch_hop_begin(fetch, err, sizeof err);
    if (kind != FETCH_SUCCESS) {
        fetch_fail(fetch, kind, "%s", err);
    }
    return true;
}

static enum fetch_reply_verdict take_break(struct fetch *fetch, int error)
{
    char name[FETCH_FAILURE_MAX / 2];

    if (retry(fetch)) {
        return REPLY_CUT;
    }
    if (error == 0) {
        return fetch_take_end(fetch);
    }
    bool is_tls = error == -EPROTO || error == -ECONNABORTED; /* which has words of its own */
    fetch_fail(fetch, error == -EPROTO ? FETCH_TLS_FAILED : FETCH_CUT, "the connection to %s broke: %s",
               fetch_peer_name(fetch, name), is_tls ? link_failure(fetch->link) : errno_text(-error));
    return REPLY_MALFORMED;
}

/* Whether what came on a kept connection is no response: the reactor knew of it before the request was sent. */
static bool came_unasked(const struct fetch *fetch)
{
    return fetch->reused > 0 && !fetch->reply.has_bytes &&
           fetch->taken_turn == reactor_counts(fetch->outbound->links.reactor).ticks;
}

/* Receive what is there, as far as there is room for it. REPLY_CUT: this connection is done with. */
static enum fetch_reply_verdict receive_response(struct fetch *fetch)
{
    char block[HOP_BLOCK];
    size_t total = 0;

    if (fetch_has_rest(fetch)) {
        enum fetch_reply_verdict verdict = fetch_take_rest(fetch);
        if (verdict != REPLY_MORE) {
            return verdict;
        }
    }
    for (int i = 0; i < HOP_READS_MAX && total < HOP_TURN && fetch_has_room(fetch); i++) {
        size_t room = sizeof block;
        char *direct = fetch_content_room(fetch, &room);
        char *data = direct != NULL ? direct : block;
        ssize_t len = link_recv(fetch->link, data, room);
        if (len == -EINTR) {
            continue;
        }
        if (len == -EAGAIN) {
            return REPLY_MORE;
        }
        if (len > 0 && came_unasked(fetch) && retry(fetch)) {
            return REPLY_CUT;
        }
        enum fetch_reply_verdict verdict = len > 0 ? fetch_take_bytes(fetch, data, (size_t)len)
                                                   : take_break(fetch, (int)len);
        if (verdict != REPLY_MORE || (size_t)len < room) {
            return verdict;
        }
        total += (size_t)len;
    }
    return REPLY_MORE;
}

/* The response is a redirect: go where it leads. */
static void follow_redirect(struct fetch *fetch)
{
    char err[FETCH_FAILURE_MAX];

    if (fetch_redirect(fetch) < 0) {
        return;
    }
    enum fetch_kind kind = fetch_hop_begin(fetch, err, sizeof err);
    if (kind != FETCH_SUCCESS) { /* what is wrong with the request is wrong with where the server sent it */
        fetch_fail(fetch, kind == FETCH_BAD_REQUEST ? FETCH_REDIRECTED : kind, "%s", err);
    }
}

/* Turns. */

/* Ask for the events that are still needed. */
static void want_events(struct fetch *fetch, bool is_full)
{
    unsigned events = is_full ? (unsigned)REACTOR_WRITABLE : 0;
    char name[FETCH_FAILURE_MAX / 2];

    if (fetch_has_room(fetch)) {
        events |= (unsigned)REACTOR_READABLE;
    }
    int rv = link_want(fetch->link, events);
    if (rv < 0) {
        fetch_fail(fetch, FETCH_CUT, "the connection to %s cannot be waited for: %s", fetch_peer_name(fetch, name),
                   errno_text(-rv));
    }
}

static void end_hop(struct fetch *fetch)
{
    release_link(fetch);
    if (fetch->is_redirect) {
        follow_redirect(fetch);
    } else if (fetch_finish_content(fetch) == 0) {
        fetch->stage = FETCH_ENDED;
        fetch->is_send_broken = true; /* nothing more of the body is wanted */
        note_room(fetch);
        fetch_note(fetch, FETCH_DONE);
    }
}

/* Go on as far as the connection lets us. */
static void advance(struct fetch *fetch)
{
    if (fetch->stage == FETCH_WORKS) {
        bool is_full = send_request(fetch);
        note_room(fetch);
        switch (receive_response(fetch)) {
        case REPLY_DONE:
            end_hop(fetch);
            break;
        case REPLY_MORE:
            if (fetch->is_redirect) {
                fetch_let_go(fetch); /* its content is not worth the wait */
                follow_redirect(fetch);
                break;
            }
            want_events(fetch, is_full);
            set_hop_deadline(fetch);
            if (fetch_has_rest(fetch)) {
                fetch_hop_nudge(fetch);
            }
            break;
        default:
            break;
        }
    }
    fetch_tell(fetch);
}

static void on_fetch_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    advance(REACTOR_OWNER(arg, struct fetch, task));
}

static void on_fetch_ready(void *arg, unsigned events)
{
    (void)events;
    advance(arg);
}

static void fail_to_open(struct fetch *fetch, int error)
{
    char name[FETCH_FAILURE_MAX / 2];
    const char *why = link_failure(fetch->link);

    fetch_peer_name(fetch, name);
    if (error == -EPERM) {
        fetch_fail(fetch, FETCH_DENIED, "%s", why);
        return;
    }
    switch (link_stage(fetch->link)) {
    case LINK_RESOLVING:
        fetch_fail(fetch, FETCH_NOT_RESOLVED, "%s", why); /* it has the name */
        break;
    case LINK_SHAKING_HANDS:
        fetch_fail(fetch, FETCH_TLS_FAILED, "no TLS with %s: %s", name, why);
        break;
    default:
        fetch_fail(fetch, FETCH_NOT_REACHED, "cannot connect to %s: %s", name, why);
        break;
    }
}

static void on_fetch_open(void *arg, int error)
{
    struct fetch *fetch = arg;

    if (error < 0) {
        fail_to_open(fetch, error);
        fetch_tell(fetch);
        return;
    }
    fetch->stage = FETCH_WORKS;
    advance(fetch);
}

static const struct link_user fetch_link_user = {.on_open = on_fetch_open, .on_ready = on_fetch_ready};

/* Beginning. */

/* Without waiting, TLS fails for what it was told: files that cannot be read, a name that can have no certificate. */
static enum fetch_kind kind_of_error(int error, bool is_secured)
{
    switch (error) {
    case -ENOBUFS:
    case -EBUSY:
        return FETCH_BUSY;
    case -EPERM:
        return FETCH_DENIED;
    case -ENOMEM:
        return FETCH_NO_MEMORY;
    case -EINVAL:
        return is_secured ? FETCH_TLS_FAILED : FETCH_BAD_REQUEST;
    case -EPROTO:
        return FETCH_TLS_FAILED;
    default:
        return FETCH_NOT_REACHED;
    }
}

static enum fetch_kind connect_hop(struct fetch *fetch, char *err, size_t errlen)
{
    const char *path = fetch->order.unix_path != NULL ? fetch->order.unix_path : fetch->url.unix_path;
    const struct fetch_order *order = &fetch->order;
    struct tls_client_settings settings = {.is_unverified = order->trusts_anybody,
                                           .ca_file = order->ca_file,
                                           .cert_file = order->cert_file,
                                           .key_file = order->key_file,
                                           .alpn = "http/1.1",
                                           .base_fd = order->base_fd};
    struct link_tls tls = {.settings = &settings,
                           .server_name = order->server_name != NULL ? order->server_name : fetch->url.host};
    struct link_target target = {.path = path, .tls = fetch->url.is_secured ? &tls : NULL};

    if (path == NULL) {
        target.host = fetch->url.host;
        target.port = fetch->url.port;
    }
    fetch->reused = 0;
    fetch->stage = FETCH_OPENS;
    char why[FETCH_FAILURE_MAX / 2] = "";
    char name[FETCH_FAILURE_MAX / 2];
    int rv = outbound_connect(fetch->outbound, &fetch->link, &target, &fetch_link_user, fetch, why, sizeof why);
    if (rv < 0) {
        if (rv == -EPERM) {
            error_text(err, errlen, rv, "%s", why); /* it names the server, and who denies it */
        } else {
            error_text(err, errlen, rv, "cannot connect to %s: %s", fetch_peer_name(fetch, name), why);
        }
        return kind_of_error(rv, fetch->url.is_secured);
    }
    return FETCH_SUCCESS;
}

/* A kept connection, if there is one; the request goes out at once. Returns whether it does. */
static bool reuse_link(struct fetch *fetch)
{
    char name[FETCH_KEPT_NAME_MAX];
    size_t len = fetch->is_fresh || fetch->order.closes ? 0 : fetch_kept_name(fetch, name);

    if (len > 0) {
        fetch->link = kept_links_take(&fetch->outbound->kept, name, len, &fetch->reused);
    }
    if (fetch->link == NULL) {
        return false;
    }
    link_set_user(fetch->link, &fetch_link_user, fetch);
    fetch->stage = FETCH_WORKS;
    fetch->taken_turn = reactor_counts(fetch->outbound->links.reactor).ticks;
    bool is_full = send_request(fetch);
    if (fetch->is_send_broken ||
        link_want(fetch->link, (unsigned)REACTOR_READABLE | (is_full ? REACTOR_WRITABLE : 0)) < 0) {
        fetch_hop_nudge(fetch); /* what it is shows when it is read */
    }
    return true;
}

enum fetch_kind fetch_hop_begin(struct fetch *fetch, char *err, size_t errlen)
{
    bool is_to_head = strcmp(fetch->order.method, "HEAD") == 0;

    fetch_reply_done(&fetch->reply);
    fetch_reply_init(&fetch->reply, fetch->max_head, is_to_head);
    write_buffer_consume(&fetch->out, write_buffer_len(&fetch->out));
    fetch->body_sent = 0;
    fetch->is_redirect = fetch->is_send_broken = false;
    fetch->task.fn = on_fetch_task;
    if (fetch_order_write(&fetch->order, &fetch->url, &fetch->out) < 0) {
        error_text(err, errlen, 0, "out of memory");
        return FETCH_NO_MEMORY;
    }
    if (!reuse_link(fetch)) {
        enum fetch_kind kind = connect_hop(fetch, err, errlen);
        if (kind != FETCH_SUCCESS) {
            return kind;
        }
    }
    set_hop_deadline(fetch);
    if (fetch->deadline.timer == 0) { /* without a timer it might never end */
        fetch_let_go(fetch);
        error_text(err, errlen, 0, "out of memory");
        return FETCH_NO_MEMORY;
    }
    return FETCH_SUCCESS;
}

void fetch_hop_nudge(struct fetch *fetch)
{
    if (!fetch_is_over(fetch)) {
        reactor_schedule(hop_reactor(fetch), &fetch->task);
    }
}
