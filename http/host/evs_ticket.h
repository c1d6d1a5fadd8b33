#ifndef EVSERVE_HTTP_HOST_EVS_TICKET_H
#define EVSERVE_HTTP_HOST_EVS_TICKET_H

/* Tickets: requests that any thread may respond to (evs_defer() of evserve.h). A ticket belongs to the thread that
 * serves its request, and ends with the request; its id finds nothing from then on. Orders of other threads are in
 * evs_orders.c. */

#include "evserve.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evs_host;
struct exchange;

struct ticket {
    struct exchange *exchange; /* the serving thread's */
    uint64_t id;               /* within the thread */
    size_t high, cap;          /* the request's write_high_mark and write_cap */

    /* Under the lock of the thread's struct evs_host. */
    size_t posted;  /* bytes of orders on their way, with their cost */
    size_t queued;  /* bytes that waited for the client when the queue was last looked at */
    bool is_behind; /* the client is behind: on_drain() of the exchange is due */
    bool is_held;   /* a thread was asked to wait, and not yet to go on */
    bool has_begun; /* an order that begins the response was accepted */
    bool is_ended;  /* an order that ends it was accepted: no more are */
};

/* The response of the exchange is about to be complete, or its connection is lost: end its ticket, if it has one. The
 * serving thread. */
void evs_ticket_end(struct exchange *exchange);

/* The client of the exchange has caught up: threads that wait for its ticket may go on. The serving thread. */
void evs_ticket_ease(struct exchange *exchange);

/* The thread of a public id, or NULL. Any thread. */
struct evs_host *evs_ticket_host(evserve *server, evs_ticket ticket);

/* The ticket of an id within its thread, or NULL. The lock is held. */
struct ticket *evs_ticket_find(const struct evs_host *host, uint64_t id);

/* Look at the queue of the ticket's response. The serving thread, with the lock held. Returns whether threads that were
 * asked to wait may go on. */
bool evs_ticket_look(struct evs_host *host, struct ticket *ticket);

#endif
