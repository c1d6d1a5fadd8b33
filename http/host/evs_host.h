#ifndef EVSERVE_HTTP_HOST_EVS_HOST_H
#define EVSERVE_HTTP_HOST_EVS_HOST_H

/* What the C binding keeps for each thread of a server: the host's tickets (evs_ticket.h), and its timers and watched
 * fds (evs_calls.c). Any thread may look up an id here under the lock; what the id names belongs to the serving thread,
 * which other threads reach through its mailbox.
 *
 * An id of the public interface has three parts, so that it names only one thing: its kind (the sign), the thread, and
 * an id of evs_slots.h. */

#include "http/host/evs_slots.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct evs_fetching;
struct evs_ws_class;
struct hub;
struct log;
struct mailbox;
struct metrics_own;
struct outbound;
struct reactor;

struct evs_host {
    struct mailbox *mailbox; /* borrowed: how other threads reach this one */
    struct reactor *reactor; /* borrowed: the thread's */
    const struct log *log;   /* borrowed */
    unsigned thread;         /* number of the thread */
    pthread_mutex_t lock;    /* of everything below; taken before that of the mailbox, never while fn of a host runs */
    pthread_cond_t eased;    /* signalled when a client has caught up */
    unsigned waiting;        /* threads that wait for that */
    bool is_over;            /* the thread serves no more */
    struct evs_slots tickets;
    struct evs_slots calls;

    /* The thread's own, without the lock. */
    int base_fd;                  /* borrowed: where relative paths start, sys_base() */
    struct outbound *outbound;    /* borrowed; NULL: other servers cannot be reached */
    struct evs_slots fetch_ids;   /* of fetches */
    struct evs_fetching *fetches; /* that are under way */
    struct evs_ws_class *ws_classes; /* of WebSockets that are open: http/host/evs_websocket.c */
};

/* The beginning of every struct evserve: all that the binding knows of the front door. */
struct evs_door {
    unsigned thread_count;
    struct evs_host *hosts;      /* thread_count of them, in the order of the threads */
    struct metrics_own *metrics; /* borrowed: of the application */
    struct hub *hub;             /* borrowed: topics */
};

/* Make the tables, before other threads know of them. */
void evs_host_init(struct evs_host *host, unsigned thread, struct mailbox *mailbox, struct reactor *reactor,
                   const struct log *log);

/* The thread serves no more: orders and calls are refused from now on, tickets name nothing, and threads that wait for
 * a client go on. On that thread. Timers and watches are ended by evs_calls_end(). A second call does nothing. */
void evs_host_end(struct evs_host *host);

/* Whether the calling process was forked from the server's, where a lock may be held by a thread that is not there. */
bool evs_host_is_in_child(const struct evs_host *host);

/* Free the tables. No request is left and no other thread calls. */
void evs_host_done(struct evs_host *host);

/* The first bit of the thread in a public id. Above it are the thread and the sign, below it the id of evs_slots.h. */
enum { EVS_THREAD_SHIFT = EVS_SLOT_BITS + EVS_GENERATION_BITS };

/* The thread of an id, or NULL when there is no such thread. */
struct evs_host *evs_host_of_id(const struct evs_door *door, uint64_t id);

/* The id within its thread. */
static inline uint64_t evs_id_within(uint64_t id)
{
    return id & ((UINT64_C(1) << EVS_THREAD_SHIFT) - 1);
}

#endif
