#ifndef EVSERVE_CORE_MAILBOX_H
#define EVSERVE_CORE_MAILBOX_H

/* Calls that other threads ask of a reactor's thread. More than reactor_post(): whatever was accepted is called, also
 * when the loop ends first, so arguments are never lost. */

#include "core/reactor.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mailbox_call;
struct round;

/* One call that waits in a mailbox. */
struct letter {
    struct letter *next;
    void (*fn)(void *arg);
    void *arg;
    struct mailbox_call
        *call; /* a thread waits for it, and has the letter; NULL: the letter is the mailbox's to free */
};

struct mailbox {
    struct reactor *reactor;       /* borrowed: on whose thread calls are made */
    pid_t process;                 /* whose the reactor is */
    pthread_mutex_t lock;          /* of everything below up to is_closed */
    pthread_cond_t is_left;        /* owner has become 0, while entering is not */
    struct letter *first, *last;   /* waiting, oldest first */
    size_t count;                  /* of them */
    struct reactor_call wake;      /* makes the reactor's thread look here */
    bool is_waking;                /* wake is posted, and has not been called yet */
    struct round *waiting;         /* the owner waits in this round for calls of other mailboxes; else NULL */
    bool is_closed;                /* nothing more is accepted */
    struct mailbox *outer;         /* which the owner had entered before this one */
    _Atomic(pthread_t) owner;      /* whose the reactor is at the moment, 0 for nobody's */
    _Atomic(pthread_t) last_owner; /* who has entered last, 0 before that */
    atomic_uint entering;          /* threads that wait for is_left */
};

/* An open mailbox of reactor, which must outlive it. Before other threads use it. */
void mailbox_init(struct mailbox *mailbox, struct reactor *reactor);

/* The mailbox is closed, and no other thread uses it any more. */
void mailbox_done(struct mailbox *mailbox);

/* Call fn(arg) on the reactor's thread in its next tick. Calls of one thread keep their order. Returns 0; or, and
 * then fn is not called, -ESHUTDOWN when the mailbox is closed, -ECHILD in a process forked from the reactor's, or -ENOMEM.
 * Any thread. */
int mailbox_post(struct mailbox *mailbox, void (*fn)(void *arg), void *arg);

/* The reactor is the calling thread's until mailbox_leave(), which the same thread calls; mailboxes are left in the
 * reverse order of entering. Waits while another thread has the reactor for a call (mailbox_call_all()). Returns 0;
 * -EBUSY, and nothing is entered, when it is the calling thread's already, or when that would have to wait in a callback
 * of another reactor, for which the other thread might be waiting. */
int mailbox_enter(struct mailbox *mailbox);
void mailbox_leave(struct mailbox *mailbox);

/* Whether the reactor is the calling thread's, and whether it is anybody's. Any thread. */
bool mailbox_is_mine(const struct mailbox *mailbox);
bool mailbox_is_entered(const struct mailbox *mailbox);

/* Whether the calling thread must not wait for what the reactor's thread does: it is that thread, or serves another reactor;
 * or nobody has the reactor, and the calling thread was the last that had it. Any thread. */
bool mailbox_forbids_waiting(const struct mailbox *mailbox);

/* A call that is waited for. */
struct mailbox_call {
    struct mailbox *mailbox; /* whose thread makes it */
    void (*fn)(void *arg);   /* what is called there */
    void *arg;               /* handed to fn */
    int rv;                  /* 0 when it was made, -ESHUTDOWN when the mailbox is closed */
    bool is_here;            /* the calling thread makes it itself */
    bool is_taken;           /* and has entered the mailbox for that */
    struct letter letter;    /* of mailbox.c: so that a call needs no memory */
    struct round *round;     /* of mailbox.c: whom it belongs to */
};

/* Make count calls, each on the thread whose the reactor of its mailbox is, all at a time, and wait until they are made.
 * What is nobody's, or the calling thread's own, is called by that. While it waits, the calling thread makes the calls
 * that others ask in this way of the mailboxes that it has entered: so two threads that call each other both return. Any
 * thread. */
void mailbox_call_all(struct mailbox_call *calls, size_t count);

/* Accept no more, and call what waits. On the reactor's thread, after its last tick. A second call does nothing. */
void mailbox_close(struct mailbox *mailbox);

/* Accept no more, and let those who wait for their calls have -ESHUTDOWN: the reactor will make no call again. What was
 * posted waits for mailbox_close(). On the reactor's thread. */
void mailbox_refuse(struct mailbox *mailbox);

#endif
