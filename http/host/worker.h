#ifndef EVSERVE_HTTP_HOST_WORKER_H
#define EVSERVE_HTTP_HOST_WORKER_H

/* What one thread of a server serves with: a reactor, a server, and an offer, which is what it serves. Workers of a
 * handle share its plan and nothing else: other threads stop a worker, wake it, and reach it through its mailbox.
 *
 * From the start to the end: worker_init(), worker_load(), worker_open(), worker_wait() or worker_poll() until the
 * worker is over, worker_free(). */

#include "core/broker.h"
#include "core/mailbox.h"
#include "core/outbound.h"
#include "core/topics.h"
#include "evserve.h"
#include "http/host/meter.h"
#include "http/host/retired.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct evs_host;
struct full_state;
struct log;
struct offer;
struct plan;
struct reactor;
struct server;

/* What becomes of a worker's listening sockets when it closes them. */
enum {
    WORKER_LEAVES_NONE,   /* they are shut down, and their files removed */
    WORKER_LEAVES_FAILED, /* likewise, unless the worker ends with a failure: then another process has them */
    WORKER_LEAVES_HANDED, /* not those that another program has handed over to this one, which could not start */
    WORKER_LEAVES_ALL,    /* another program, or the store of systemd, has them */
    WORKER_LEAVES_SERVED, /* and it serves them already */
};

struct worker {
    evserve *owner;                    /* the handle */
    void (*on_failed)(evserve *owner); /* the loop has failed: the other workers must end, too */
    void (*on_ended)(evserve *owner);  /* the loop has ended, in whatever way; called once on its thread */
    struct plan *plan;                 /* borrowed */
    const struct log *log;             /* borrowed */
    struct evs_host *host;             /* borrowed: what the binding keeps for this thread */
    unsigned number;                   /* of the thread, from 0 */
    unsigned count;                    /* of workers of the handle */
    struct worker *all;                /* count of them, in the order of their numbers */
    struct reactor *reactor;
    struct outbound outbound; /* of its scripts and its host; outlives them */
    struct topics topics;     /* likewise: subscribers of this thread */
    struct broker *broker;    /* of the first worker: carries topics between machines; NULL: nothing does */
    struct broker_bell bell;  /* wakes it */
    struct mailbox mailbox;   /* calls of other threads; exists as soon as the reactor does */
    struct offer *offer;      /* what new requests get */
    struct offer *next;       /* made by a reload, until all workers have theirs; else NULL */
    struct retired retired;   /* what was served before a reload, while it is in use */
    struct server *server;
    struct access_log *access; /* of its thread; NULL before it is first needed */
    struct meter meter;        /* what its requests add up to */
    pthread_t thread;          /* of has_thread */
    bool has_thread;           /* it runs on a thread of ours, which is not joined yet */
    atomic_bool is_turning;    /* its loop is running: a handler may be on the stack */
    bool is_over;              /* it has drained, or its loop has failed */
    bool is_stopping;          /* it has acted on worker_stop() */
    int64_t stop_by_ms;        /* reactor time at which it is over at the latest, once it drains */
    uint32_t drain_ms;         /* what it then has, while delay_timer is set */
    uint64_t delay_timer;      /* set while drain_delay passes; else 0 */
    uint64_t quiet_timer;      /* set while no request is left but scripts are still busy; else 0 */
    int error;                 /* of the loop that failed, -errno, else 0 */
    unsigned cut;              /* connections that were cut */
    atomic_int leaves;         /* WORKER_LEAVES_... */
    atomic_bool is_woken;      /* worker_wake() was called, on_wake not yet */
    struct full_state *full;   /* borrowed: the handle's */
    _Atomic int64_t stop_ms;   /* drain time that worker_stop() asked for, until the worker acts on it; else negative */
};

/* Fill in a worker of zeros: its owner, plan, log, host, number, count, all, full and on_failed are set already. */
void worker_init(struct worker *worker);

/* Make the reactor and the offer. Returns 0, or -errno with a text in err. */
int worker_load(struct worker *worker, char *err, size_t errlen);

/* Make the server of what was loaded, and start the script. The first worker binds the addresses; the others pass it as
 * first and join it. Returns 0 or more, or -errno with a text in err. */
int worker_open(struct worker *worker, const struct worker *first, char *err, size_t errlen);

/* Serve on a thread of its own. Returns 0 or -errno. */
int worker_start_thread(struct worker *worker);

/* Serve until the worker is over, or wait until its own thread has. Returns 0, -EBUSY in a callback, or -EDEADLK when
 * its thread waits for the calling one. */
int worker_wait(struct worker *worker);

/* One turn of the loop. Returns 1, or 0 once it is over, or -errno: -EBUSY in a callback. */
int worker_poll(struct worker *worker, int timeout_ms);

/* Ask the worker to drain: drain_ms as in evserve_stop(). Any thread, signal handlers too. */
void worker_stop(struct worker *worker, uint32_t drain_ms);

/* Say what becomes of its listening sockets, WORKER_LEAVES_...: WORKER_LEAVES_FAILED does not take back what was said
 * before. Any thread. */
void worker_leave(struct worker *worker, int leaves);

/* Have on_wake of the config called between two turns of the loop. Any thread, signal handlers too. */
void worker_wake(struct worker *worker);

/* Free all that a worker has, half-built ones too. On the calling thread, which has entered the mailbox, so that what
 * runs at the end finds itself in a callback. */
void worker_free(struct worker *worker);

/* In a child process: close the fds, and leave everything else as it is. */
void worker_abandon(struct worker *worker);

#endif
