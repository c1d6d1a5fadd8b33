#ifndef EVSERVE_CORE_MAILBOX_H
#define EVSERVE_CORE_MAILBOX_H

/* Calls that other threads ask of a reactor's thread. More than reactor_post(): whatever was accepted is called, also
 * when the loop ends first, so arguments are never lost. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct letter;
struct reactor;

struct mailbox {
    struct reactor *reactor;     /* borrowed: on whose thread calls are made */
    pthread_mutex_t lock;        /* of what is waiting, and of is_closed */
    struct letter *first, *last; /* waiting, oldest first */
    bool is_closed;              /* nothing more is accepted */
    _Atomic(pthread_t) owner;    /* whose the reactor is at the moment, 0 for nobody's */
};

/* An open mailbox of reactor, which must outlive it. Before other threads use it. */
void mailbox_init(struct mailbox *mailbox, struct reactor *reactor);

/* The mailbox is closed, and no other thread uses it any more. */
void mailbox_done(struct mailbox *mailbox);

/* Call fn(arg) on the reactor's thread in its next tick. Calls of one thread keep their order. Returns 0; -ESHUTDOWN
 * when the mailbox is closed, or -ENOMEM: then fn is not called. Any thread. */
int mailbox_post(struct mailbox *mailbox, void (*fn)(void *arg), void *arg);

/* The reactor is the calling thread's until mailbox_leave(), which the same thread calls. Waits while another thread has
 * it for a call (mailbox_call_all()). */
void mailbox_enter(struct mailbox *mailbox);
void mailbox_leave(struct mailbox *mailbox);

/* A call that is waited for. */
struct mailbox_call {
    struct mailbox *mailbox; /* whose thread makes it */
    void (*fn)(void *arg);   /* what is called there */
    void *arg;               /* handed to fn */
    int rv;                  /* 0 when it was made, -ESHUTDOWN when the mailbox is closed */
    bool is_here;            /* the calling thread makes it itself */
    bool is_taken;           /* and has entered the mailbox for that */
};

/* Make count calls, each on the thread whose the reactor of its mailbox is, all at a time, and wait until they are made.
 * What is nobody's, or the calling thread's own, is called by that. Any thread. */
void mailbox_call_all(struct mailbox_call *calls, size_t count);

/* Accept no more, and call what waits. On the reactor's thread, after its last tick. A second call does nothing. */
void mailbox_close(struct mailbox *mailbox);

#endif
