#ifndef EVSERVE_HTTP_HOST_EVS_HOST_H
#define EVSERVE_HTTP_HOST_EVS_HOST_H

/* What the C binding keeps for each thread of a server: the host's tickets (evs_tickets.c), and its timers and watched
 * fds (evs_calls.c). Any thread may look things up here under the lock; what is behind an id is the serving thread's,
 * which other threads reach through its mailbox.
 *
 * Ids of the public interface have three parts, so that no id names anything else: what it is (the sign), the thread,
 * and an id of evs_slots.h. */

#include "http/host/evs_slots.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct log;
struct mailbox;
struct reactor;

struct evs_host {
    struct mailbox *mailbox; /* borrowed: how other threads reach this one */
    struct reactor *reactor; /* borrowed: the thread's */
    const struct log *log;   /* borrowed */
    unsigned thread;         /* number of the thread */
    pthread_mutex_t lock;    /* of everything below; taken before that of the mailbox, never while fn of a host runs */
    pthread_cond_t eased;    /* for those that wait until a client has caught up */
    unsigned waiting;        /* how many threads wait for that */
    bool is_over;            /* the thread serves no more */
    struct evs_slots tickets;
    struct evs_slots calls;
};

/* How every evserve begins: all that the binding knows of the front door. */
struct evs_door {
    unsigned thread_count;
    struct evs_host *hosts; /* thread_count of them, in the order of the threads */
};

/* Before other threads know of it. */
void evs_host_init(struct evs_host *host, unsigned thread, struct mailbox *mailbox, struct reactor *reactor,
                   const struct log *log);

/* The thread serves no more, and its mailbox is about to be closed: timers and watches end, tickets name nothing from
 * here on. On that thread. A second call does nothing. */
void evs_host_end(struct evs_host *host);

/* The thread has been unwound: orders and calls are refused from here on, and threads that wait are told. */
void evs_host_refuse(struct evs_host *host);

/* Whether the calling process was forked from the server's, where a lock may be held by a thread that is not there. */
bool evs_host_is_in_child(const struct evs_host *host);

/* No request is left and no other thread calls. */
void evs_host_done(struct evs_host *host);

/* The thread's part of a public id, from the lowest bit on: what is above is the sign, what is below is of evs_slots.h. */
enum { EVS_THREAD_SHIFT = EVS_SLOT_BITS + EVS_GENERATION_BITS };

/* Whose id this is, or NULL when there is no such thread. */
struct evs_host *evs_host_of_id(const struct evs_door *door, uint64_t id);

/* The id within its thread. */
static inline uint64_t evs_id_within(uint64_t id)
{
    return id & ((UINT64_C(1) << EVS_THREAD_SHIFT) - 1);
}

/* evs_calls.c: end all timers and watches. The lock is held. */
void evs_calls_end(struct evs_host *host);

/* evs_tickets.c: the exchange is answered or lost, or its client has caught up. The serving thread. */
void evs_ticket_end(struct exchange *exchange);
void evs_ticket_ease(struct exchange *exchange);

#endif
