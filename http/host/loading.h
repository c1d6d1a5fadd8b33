#ifndef EVSERVE_HTTP_HOST_LOADING_H
#define EVSERVE_HTTP_HOST_LOADING_H

/* Making the offers of a reload, one for each worker: on threads that exist only for that, so that the workers go on
 * serving. A script that never finishes is stopped at a deadline. One that is stuck in a C function cannot be stopped:
 * its thread is left behind, and cleans up if the function ever returns. */

#include "evserve.h"
#include "http/host/script_kind.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct offer;
struct plan;
struct outbound;
struct topics;
struct worker;

enum {
    LOADING_GRACE_MS = 1000, /* after the deadline, until a script counts as stuck */
    LOADING_END_MS = 1000,   /* for a script that nobody wants any more, because the server is being freed */
    LOADING_STUCK_MAX = 2,   /* reloads that have left threads behind; after so many, none is begun */
};

/* The making of one offer. */
struct load {
    struct loading *loading;
    struct worker *worker;     /* that it is for: only to begin it, since it may be gone later */
    struct plan *plan;         /* borrowed */
    struct outbound *outbound; /* of the worker: not used on another thread */
    struct topics *topics;     /* likewise */
    unsigned number, count;    /* of the worker, of workers */
    struct script_load limit;  /* of its script */
    const pthread_t *caller;   /* who waits for it and may make it itself; NULL: nobody */
    atomic_bool is_unwanted;   /* its script is to end */
    pthread_t thread;          /* of has_thread */
    bool has_thread;           /* it is made on a thread of its own, which is to be joined */
    bool is_over;              /* under the lock: what follows is final */
    bool is_left;              /* under the lock: its thread frees it */
    struct offer *offer;       /* owned; NULL if it has failed, or when it was taken */
    int rv;                    /* of making it */
    char err[EVSERVE_ERROR_MAX];
};

/* What is being loaded for a handle. */
struct loading {
    pthread_mutex_t lock;
    pthread_cond_t has_news;    /* of the fields below, which the lock protects */
    struct load **loads;        /* of the reload under way, count of them; NULL between two reloads */
    unsigned count;             /* of loads */
    unsigned running;           /* of them */
    const struct load *failed;  /* the first one that has */
    bool is_cancelled;          /* for good: the server has ended */
    uint64_t number;            /* of the reload under way, or of the last one */
    unsigned stuck;             /* threads that were left behind and have not returned */
    bool is_released;           /* the owner is being freed: the last of those threads calls on_last */
    void (*on_over)(void *arg); /* the last load is over: called on its thread; NULL: a thread waits for it */
    void *arg;                  /* for on_over */
    void (*on_last)(void *owner);
    void *owner;
};

void loading_init(struct loading *loading, void (*on_last)(void *owner), void *owner);

/* Begin to make count offers. The threads are started by those of the workers, so that they have no more rights than
 * these. caller: the calling thread, which will wait: what it would have to ask of itself is made before this returns.
 * NULL: on_over(arg) is called when all is over. Returns 0, and loading_take() must follow, or -errno with a text in
 * err. */
int loading_begin(struct loading *loading, struct worker *workers, unsigned count, uint64_t timeout_ms,
                  const pthread_t *caller, void (*on_over)(void *arg), void *arg, char *err, size_t errlen);

/* Wait until all is over, or the scripts are stuck. */
void loading_wait(struct loading *loading, uint64_t timeout_ms);

/* Whether all is over. */
bool loading_is_over(struct loading *loading);

/* Take the offers that were made, count of them, and leave those behind that are not over. The caller owns each offer
 * that is not NULL, and adopts or destroys it before loading_done(). Returns 0 if all were made, or -errno with a text
 * in err. */
int loading_take(struct loading *loading, struct offer **offers, char *err, size_t errlen);

/* The reload is over. */
void loading_done(struct loading *loading);

/* The server has ended, and nothing more is loaded. Any thread. */
void loading_cancel(struct loading *loading);

/* After loading_cancel(): wait for what is under way, LOADING_END_MS at most. */
void loading_wait_end(struct loading *loading);

/* The owner is being freed: on_last(owner) is called now, or by the last thread that was left behind. */
void loading_release(struct loading *loading);

#endif
