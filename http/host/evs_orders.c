/* Orders: what other threads want done with the request of a ticket.
 *
 * Happy path: an order is checked against the ticket under the lock, copied into a message and posted; deliver_order()
 * carries it out on the request's thread. On that thread itself an order is carried out at once, unless messages are on
 * their way, which it must not overtake. When the request ends, so does its ticket, and messages still on their way are
 * dropped.
 *
 * Bounds: what is on its way and what waits in the connection's queue count together, at most write_cap bytes; beyond
 * that an order is refused. So a thread that is faster than its client can neither fill the memory nor get the client
 * cut.
 *
 * Failure modes: without memory an order is refused and nothing has changed. */

#include "http/host/evs_internal.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/units.h"
#include "http/host/evs_events.h"
#include "http/host/evs_host.h"
#include "http/host/evs_ticket.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/service.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { MESSAGE_COST = 64 }; /* bytes that a message counts for beside its content; more than the framing of a chunk */

enum order_kind { ORDER_HEADER, ORDER_BEGIN, ORDER_WRITE, ORDER_END, ORDER_ABORT, ORDER_REPLY, ORDER_PAUSE };

/* One call of another thread. */
struct order {
    enum order_kind kind;
    int status;          /* of BEGIN and REPLY */
    int64_t length;      /* of BEGIN */
    const char *text;    /* type, or name of the field; may be NULL */
    const void *content; /* or value of the field, with its NUL */
    size_t len;          /* bytes of content */
};

struct message {
    struct evs_host *host;
    uint64_t id; /* of the ticket, within its thread */
    struct order order;
    char bytes[]; /* text, with its NUL, and content: what order points to */
};

/* Whether an order comes too late once the response has begun. */
static bool comes_first(enum order_kind kind)
{
    return kind == ORDER_HEADER || kind == ORDER_BEGIN || kind == ORDER_REPLY;
}

static bool begins(enum order_kind kind)
{
    return kind == ORDER_BEGIN || kind == ORDER_WRITE || kind == ORDER_REPLY;
}

static bool ends(enum order_kind kind)
{
    return kind == ORDER_END || kind == ORDER_ABORT || kind == ORDER_REPLY;
}

/* On the request's thread. */

static int carry_out_write(evs_request *request, const struct order *order)
{
    int rv = evs_write(request, order->content, order->len);
    return rv < 0 ? -ESRCH : rv; /* EVS_GONE is under way */
}

/* Carry out an order. The ticket may be gone afterwards. Returns what the function of evserve.h returns. */
static int carry_out(struct exchange *exchange, const struct order *order)
{
    evs_request *request = request_of(exchange);
    if (exchange->response_state == RESPONSE_COMPLETE || exchange->response_state == RESPONSE_ABORTED) {
        return -ESRCH; /* EVS_GONE is under way */
    }
    switch (order->kind) {
    case ORDER_HEADER:
        return evs_set_header(request, order->text, order->content);
    case ORDER_BEGIN:
        return evs_begin(request, order->status, order->text, order->length);
    case ORDER_WRITE:
        return carry_out_write(request, order);
    case ORDER_END:
        return evs_end(request);
    case ORDER_ABORT:
        return evs_abort(request);
    case ORDER_REPLY:
        return evs_reply(request, order->status, order->text, order->content, order->len);
    case ORDER_PAUSE:
        if (exchange->response_state == RESPONSE_STREAMING) {
            response_pause(exchange);
        }
        break;
    }
    return 0;
}

static size_t cost_of(const struct order *order)
{
    return order->len + MESSAGE_COST;
}

static void deliver_order(void *arg)
{
    struct message *message = arg;
    struct evs_host *host = message->host;
    pthread_mutex_lock(&host->lock);
    struct ticket *ticket = evs_ticket_find(host, message->id);
    pthread_mutex_unlock(&host->lock);
    if (ticket == NULL) {
        mem_free(message);
        return;
    }
    struct exchange *exchange = ticket->exchange; /* only this thread frees tickets */
    int rv = carry_out(exchange, &message->order);
    if (rv < 0 && message->order.kind == ORDER_HEADER && rv != -ESRCH) {
        log_write(host->log, LOG_ERROR, "evserve_set_header_to: cannot set %s: %s", message->order.text,
                  errno_text(-rv));
        evs_abort(request_of(exchange)); /* without the field it would be a different response */
    }
    pthread_mutex_lock(&host->lock);
    ticket = evs_ticket_find(host, message->id);
    bool goes_on = false;
    if (ticket != NULL) {
        ticket->posted -= cost_of(&message->order);
        goes_on = evs_ticket_look(host, ticket) && exchange->response_state <= RESPONSE_STREAMING;
    }
    pthread_mutex_unlock(&host->lock);
    mem_free(message);
    if (goes_on) {
        evs_tell(exchange, EVS_DRAIN);
    }
}

/* On any thread. */

/* Copy an order. Returns NULL without memory. */
static struct message *make_message(struct evs_host *host, uint64_t id, const struct order *order)
{
    size_t text_len = order->text == NULL ? 0 : strlen(order->text) + 1;
    struct message *message = order->len > SIZE_MAX / 2 ? NULL : mem_alloc(sizeof *message + text_len + order->len);
    if (message == NULL) {
        return NULL;
    }
    *message = (struct message){.host = host, .id = id, .order = *order};
    if (text_len > 0) {
        memcpy(message->bytes, order->text, text_len);
        message->order.text = message->bytes;
    }
    if (order->len > 0) {
        memcpy(message->bytes + text_len, order->content, order->len);
        message->order.content = message->bytes + text_len;
    }
    return message;
}

/* Post an order, with a message that was made beforehand, or NULL. The lock is held. Takes the message. Returns 0 or
 * -errno. */
static int post_order(struct evs_host *host, struct ticket *ticket, const struct order *order, struct message *made)
{
    struct message *message = made != NULL ? made : make_message(host, ticket->id, order);
    int rv = message == NULL ? -ENOMEM : mailbox_post(host->mailbox, deliver_order, message);
    if (rv < 0) {
        mem_free(message);
        return rv;
    }
    ticket->posted += cost_of(order);
    ticket->has_begun = ticket->has_begun || begins(order->kind);
    ticket->is_ended = ticket->is_ended || ends(order->kind);
    return 0;
}

/* Whether there is room for an order. A thread that was asked to wait may go on when the queue has sunk to half of the
 * high mark, so a piece must fit beside that much. The lock is held. Returns 0 or -errno. */
static int check_room(struct evs_host *host, struct ticket *ticket, const struct order *order)
{
    size_t cost = cost_of(order);
    if (order->kind != ORDER_WRITE) {
        return ticket->posted > ticket->cap && !ends(order->kind) ? -EAGAIN : 0;
    }
    if (order->len > ticket->cap || cost > ticket->cap - ticket->high / 2) {
        return -EMSGSIZE;
    }
    if (ticket->posted + ticket->queued + cost <= ticket->cap) {
        return 0;
    }
    if (ticket->posted == 0 && !ticket->is_behind) { /* nothing is on its way whose arrival would report room */
        int rv = post_order(host, ticket, &(struct order){.kind = ORDER_PAUSE}, NULL);
        if (rv < 0) {
            return rv;
        }
    }
    ticket->is_held = true;
    return -EAGAIN;
}

/* Post an order if there is room. As post_order(), but returns 1 or 0 for a piece: whether more may follow at once. */
static int accept_order(struct evs_host *host, struct ticket *ticket, const struct order *order, struct message *made)
{
    int rv = check_room(host, ticket, order);
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    rv = post_order(host, ticket, order, made);
    if (rv < 0 || order->kind != ORDER_WRITE) {
        return rv;
    }
    bool goes_on = !ticket->is_behind && ticket->posted + ticket->queued <= ticket->high;
    ticket->is_held = ticket->is_held || !goes_on;
    return goes_on ? 1 : 0;
}

/* Whether an order can be accepted. The lock is held. Returns 0 with *found, or -errno. */
static int check_order(struct evs_host *host, evs_ticket ticket, enum order_kind kind, struct ticket **found)
{
    *found = evs_ticket_find(host, evs_id_within(ticket));
    if (host->is_over) {
        return -ESHUTDOWN;
    }
    if (*found == NULL || (*found)->is_ended) {
        return -ESRCH;
    }
    return (*found)->has_begun && comes_first(kind) ? -EALREADY : 0;
}

/* Carry out an order on the request's thread, with no message on its way. The lock is held, and is released here. */
static int carry_out_here(struct evs_host *host, struct ticket *ticket, const struct order *order)
{
    struct exchange *exchange = ticket->exchange;
    uint64_t id = ticket->id;
    ticket->has_begun = ticket->has_begun || begins(order->kind);
    pthread_mutex_unlock(&host->lock);
    if (comes_first(order->kind) && exchange->response_state != RESPONSE_NONE) {
        return -EALREADY;
    }
    int rv = carry_out(exchange, order);
    pthread_mutex_lock(&host->lock);
    ticket = evs_ticket_find(host, id);
    if (ticket != NULL) {
        (void)evs_ticket_look(host, ticket);
    }
    pthread_mutex_unlock(&host->lock);
    return rv;
}

static int give_order(evserve *server, evs_ticket id, const struct order *order)
{
    struct evs_host *host = evs_ticket_host(server, id);
    if (host == NULL) {
        return -ESRCH;
    }
    if (evs_host_is_in_child(host)) {
        return -ECHILD;
    }
    bool is_here = mailbox_is_mine(host->mailbox);
    struct message *made = is_here ? NULL : make_message(host, evs_id_within(id), order); /* copied without the lock */
    if (!is_here && made == NULL) {
        return -ENOMEM;
    }
    struct ticket *ticket;
    pthread_mutex_lock(&host->lock);
    int rv = check_order(host, id, order->kind, &ticket);
    if (rv == 0 && is_here && ticket->posted == 0) {
        return carry_out_here(host, ticket, order);
    }
    if (rv == 0) {
        rv = accept_order(host, ticket, order, made);
    } else {
        mem_free(made);
    }
    pthread_mutex_unlock(&host->lock);
    return rv;
}

static bool is_answerable(int status, const char *type)
{
    return status >= 200 && status <= 599 &&
           (type == NULL || response_check_field("Content-Type", 12, type, strlen(type)) == 0);
}

int evserve_reply_to(evserve *server, evs_ticket ticket, int status, const char *type, const void *content, size_t len)
{
    if (!is_answerable(status, type) || (content == NULL && len > 0)) {
        return -EINVAL;
    }
    return give_order(server, ticket,
                      &(struct order){ORDER_REPLY, .status = status, .text = type, .content = content, .len = len});
}

int evserve_set_header_to(evserve *server, evs_ticket ticket, const char *name, const char *value)
{
    if (name == NULL || value == NULL) {
        return -EINVAL;
    }
    int rv = response_check_field(name, strlen(name), value, strlen(value));
    bool is_close = ascii_is(name, strlen(name), "connection") && ascii_is(value, strlen(value), "close");
    if (rv < 0 && !is_close) {
        return rv;
    }
    return give_order(server, ticket,
                      &(struct order){ORDER_HEADER, .text = name, .content = value, .len = strlen(value) + 1});
}

int evserve_begin_to(evserve *server, evs_ticket ticket, int status, const char *type, int64_t length)
{
    if (!is_answerable(status, type)) {
        return -EINVAL;
    }
    return give_order(server, ticket, &(struct order){ORDER_BEGIN, .status = status, .text = type, .length = length});
}

int evserve_write_to(evserve *server, evs_ticket ticket, const void *content, size_t len)
{
    if (content == NULL && len > 0) {
        return -EINVAL;
    }
    return give_order(server, ticket, &(struct order){ORDER_WRITE, .content = content, .len = len});
}

int evserve_end_to(evserve *server, evs_ticket ticket)
{
    return give_order(server, ticket, &(struct order){ORDER_END, .status = 0});
}

int evserve_abort_to(evserve *server, evs_ticket ticket)
{
    return give_order(server, ticket, &(struct order){ORDER_ABORT, .status = 0});
}

evs_request *evs_find(evserve *server, evs_ticket id)
{
    struct evs_host *host = evs_ticket_host(server, id);
    if (host == NULL || !mailbox_is_mine(host->mailbox) || evs_host_is_in_child(host)) {
        return NULL;
    }
    pthread_mutex_lock(&host->lock);
    const struct ticket *ticket = evs_ticket_find(host, evs_id_within(id));
    pthread_mutex_unlock(&host->lock);
    return ticket == NULL ? NULL : request_of(ticket->exchange);
}

/* Wait until something changes, or end_ns has come (-1: forever). The lock is held. */
static void wait_for_change(struct evs_host *host, int64_t end_ns)
{
    host->waiting++;
    if (end_ns < 0) {
        pthread_cond_wait(&host->eased, &host->lock);
    } else {
        const struct timespec end = thread_until(end_ns);
        pthread_cond_timedwait(&host->eased, &host->lock, &end);
    }
    host->waiting--;
}

int evserve_ready_to(evserve *server, evs_ticket id, int timeout_ms)
{
    struct evs_host *host = evs_ticket_host(server, id);
    if (host == NULL) {
        return -ESRCH;
    }
    int64_t end_ns = timeout_ms < 0 ? -1 : sys_now_ns() + (int64_t)timeout_ms * NS_PER_MS;
    if (evs_host_is_in_child(host)) {
        return -ECHILD;
    }
    bool must_not_wait = mailbox_forbids_waiting(host->mailbox);
    struct ticket *ticket;
    pthread_mutex_lock(&host->lock);
    int rv = check_order(host, id, ORDER_WRITE, &ticket);
    while (rv == 0 && (ticket->is_held || ticket->is_behind)) {
        if (timeout_ms == 0 || (end_ns >= 0 && sys_now_ns() >= end_ns) || must_not_wait) {
            pthread_mutex_unlock(&host->lock);
            return must_not_wait && timeout_ms != 0 ? -EDEADLK : 0;
        }
        ticket->is_held = true; /* so that this thread is woken when the queue has sunk */
        wait_for_change(host, end_ns);
        rv = check_order(host, id, ORDER_WRITE, &ticket);
    }
    pthread_mutex_unlock(&host->lock);
    return rv < 0 ? rv : 1;
}
