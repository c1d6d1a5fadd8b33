/* The tickets of a thread, in the table of its struct evs_host.
 *
 * Failure mode: without memory there is no ticket. */

#include "http/host/evs_ticket.h"

#include "core/mem.h"
#include "http/host/evs_host.h"
#include "http/host/evs_internal.h"
#include "http/limits.h"
#include "http/service.h"

static const uint64_t TICKET_SIGN = UINT64_C(1) << 63; /* ids of timers and watches are positive numbers */

struct ticket *evs_ticket_find(const struct evs_host *host, uint64_t id)
{
    return host->is_over ? NULL : evs_slots_find(&host->tickets, id);
}

struct evs_host *evs_ticket_host(evserve *server, evs_ticket ticket)
{
    return (ticket & TICKET_SIGN) == 0 ? NULL : evs_host_of_id((const struct evs_door *)(void *)server, ticket);
}

/* A thread may wait for this. The lock is held. */
static void wake_waiting(struct evs_host *host)
{
    if (host->waiting > 0) {
        pthread_cond_broadcast(&host->eased);
    }
}

evs_ticket evs_defer(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    struct evs_host *host = exchange->service->host;
    if (exchange->evs.ticket != 0 || host == NULL || exchange->evs.is_unwanted ||
        exchange->response_state >= RESPONSE_COMPLETE) {
        return exchange->evs.ticket;
    }
    struct ticket *ticket = mem_alloc(sizeof *ticket);
    if (ticket == NULL) {
        return 0;
    }
    *ticket = (struct ticket){
        .exchange = exchange,
        .high = (size_t)exchange->limits->write_high_mark_bytes, /* at most 1 GiB, see limits.def */
        .cap = (size_t)exchange->limits->write_cap_bytes,
    };
    pthread_mutex_lock(&host->lock);
    ticket->id = evs_slots_take(&host->tickets, ticket);
    pthread_mutex_unlock(&host->lock);
    if (ticket->id == 0) {
        mem_free(ticket);
        return 0;
    }
    exchange->evs.ticket = TICKET_SIGN | (uint64_t)host->thread << EVS_THREAD_SHIFT | ticket->id;
    return exchange->evs.ticket;
}

void evs_ticket_end(struct exchange *exchange)
{
    if (exchange->evs.ticket == 0) {
        return;
    }
    struct evs_host *host = exchange->service->host;
    uint64_t id = evs_id_within(exchange->evs.ticket);
    exchange->evs.ticket = 0;
    pthread_mutex_lock(&host->lock);
    mem_free(evs_slots_find(&host->tickets, id));
    evs_slots_put(&host->tickets, id);
    wake_waiting(host);
    pthread_mutex_unlock(&host->lock);
}

bool evs_ticket_look(struct evs_host *host, struct ticket *ticket)
{
    ticket->queued = exchange_queued(ticket->exchange);
    ticket->is_behind = ticket->exchange->is_stalled;
    bool goes_on = ticket->is_held && !ticket->is_behind && ticket->posted <= ticket->high / 2;
    if (goes_on) {
        ticket->is_held = false;
        wake_waiting(host);
    }
    return goes_on;
}

void evs_ticket_ease(struct exchange *exchange)
{
    if (exchange->evs.ticket == 0) {
        return;
    }
    struct evs_host *host = exchange->service->host;
    pthread_mutex_lock(&host->lock);
    (void)evs_ticket_look(host, evs_slots_find(&host->tickets, evs_id_within(exchange->evs.ticket)));
    pthread_mutex_unlock(&host->lock);
}
