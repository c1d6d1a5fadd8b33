/* Happy path: one worker after the other looks at its listeners on its own thread.
 *
 * Failure modes: no fd for a duplicate, or a worker that is over; the duplicates that exist by then are closed. */

#include "http/host/handover.h"

#include "core/log.h"
#include "core/mailbox.h"
#include "core/net_handed.h"
#include "core/sys.h"
#include "evserve.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct list_errand {
    const struct worker *worker;     /* whose turn it is */
    struct evs_inherited *listeners; /* room for max of them */
    unsigned max;
    unsigned count; /* found so far */
    int error;      /* -errno, else 0 */
};

static void list_worker(void *arg)
{
    struct list_errand *errand = arg;
    const char *wanted;
    bool is_own_socket;
    int fd;
    for (unsigned n = 0;
         (fd = server_listener_fd(errand->worker->server, n, &wanted, &is_own_socket)) != SERVER_NO_LISTENER; n++) {
        if (fd == SERVER_CLOSED_LISTENER || (errand->worker->number > 0 && !is_own_socket)) {
            continue; /* a reload has closed it, or the first worker has it */
        }
        if (errand->count < errand->max) {
            struct evs_inherited *listener = &errand->listeners[errand->count];
            listener->fd = sys_duplicate(fd);
            if (listener->fd < 0) {
                errand->error = listener->fd;
                return;
            }
            snprintf(listener->address, sizeof listener->address, "%s", wanted);
        }
        errand->count++;
    }
}

int handover_list(struct worker *workers, unsigned count, struct evs_inherited *listeners, unsigned max)
{
    struct list_errand errand = {.listeners = listeners, .max = max};
    for (unsigned i = 0; i < count && errand.error == 0; i++) {
        struct mailbox_call call = {.mailbox = &workers[i].mailbox, .fn = list_worker, .arg = &errand};
        errand.worker = &workers[i];
        mailbox_call_all(&call, 1);
        errand.error = call.rv < 0 ? call.rv : errand.error;
    }
    if (errand.error == 0) {
        return (int)errand.count;
    }
    for (unsigned i = 0; i < errand.count && i < max; i++) {
        sys_close(listeners[i].fd);
    }
    return errand.error;
}

int handover_tickets(struct plan *plan, struct evs_inherited *keys)
{
    int fd = tls_keeper_pass_tickets(&plan->tls);
    if (fd >= 0) {
        *keys = (struct evs_inherited){.fd = fd, .address = NET_HANDED_TICKET_KEYS};
    }
    return fd < 0 ? fd : 0;
}

void handover_leave(struct worker *workers, unsigned count, int how)
{
    for (unsigned i = 0; i < count; i++) {
        worker_leave(&workers[i], how == EVSERVE_SERVED ? WORKER_LEAVES_SERVED
                                  : how == EVSERVE_KEPT ? WORKER_LEAVES_FAILED
                                                        : WORKER_LEAVES_ALL);
    }
}

void handover_warn_of_left(const struct plan *plan, const struct worker *first)
{
    const char *wanted = ""; /* as gcc sees no promise that it is set */
    bool is_own_socket;
    int fd;
    for (unsigned n = 0; (fd = server_listener_fd(first->server, n, &wanted, &is_own_socket)) != SERVER_NO_LISTENER;
         n++) {
        unsigned left = 0;
        for (unsigned i = 0; i < plan->handed.count; i++) {
            const struct net_handed *handed = &plan->handed.sockets[i];
            left += !handed->is_taken && strcmp(handed->address, wanted) == 0;
        }
        if (left > 0) {
            log_write(
                plan->log, LOG_WARN,
                "%u of the sockets that were handed over for %s %s left, since this server has fewer threads than "
                "the old one: clients that wait there when it ends are turned away",
                left, wanted, left == 1 ? "is" : "are");
        }
    }
}

void handover_return(struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        worker_leave(&workers[i], WORKER_LEAVES_HANDED);
    }
}
