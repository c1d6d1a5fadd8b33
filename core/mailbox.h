#ifndef EVSERVE_CORE_MAILBOX_H
#define EVSERVE_CORE_MAILBOX_H

/* Calls that other threads ask a reactor's thread to make. Unlike reactor_post(), a mailbox makes every call that it
 * has accepted, even if the loop ends first, so arguments are never lost. */

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
    struct mailbox_call *call; /* a thread waits for it and owns the letter; NULL: the mailbox frees the letter */
};

struct mailbox {
    struct reactor *reactor;       /* borrowed: on whose thread calls are made */
    pid_t process;                 /* that the reactor belongs to */
    pthread_mutex_t lock;          /* protects everything below up to is_closed */
    pthread_cond_t is_left;        /* owner has become 0, while entering is not */
    struct letter *first, *last;   /* waiting, oldest first */
    size_t count;                  /* of them */
    struct reactor_call wake;      /* makes the reactor's thread look here */
    bool is_waking;                /* wake is posted, and has not been called yet */
    struct round *waiting;         /* the owner waits in this round for calls of other mailboxes; else NULL */
    bool is_closed;                /* nothing more is accepted */
    struct mailbox *outer;         /* that the owner entered before this one */
    _Atomic(pthread_t) owner;      /* thread that has the reactor at the moment, 0 for none */
    _Atomic(pthread_t) last_owner; /* thread that entered last, 0 before that */
    atomic_uint entering;          /* threads that wait for is_left */
};

/* Open a mailbox for reactor, which must outlive it. Before other threads use it. */
void mailbox_init(struct mailbox *mailbox, struct reactor *reactor);

/* Free what the mailbox has. It must be closed, and no other thread may use it any more. */
void mailbox_done(struct mailbox *mailbox);

/* Call fn(arg) on the reactor's thread in its next tick. Calls of one thread keep their order. Returns 0, or, without
 * calling fn, -ESHUTDOWN if the mailbox is closed, -ECHILD in a process forked from the reactor's, or -ENOMEM. Any
 * thread. */
int mailbox_post(struct mailbox *mailbox, void (*fn)(void *arg), void *arg);

/* Take the reactor for the calling thread, until the same thread calls mailbox_leave(). Mailboxes are left in the
 * reverse order of entering. If another thread has the reactor for a call (mailbox_call_all()), this waits for it.
 * Returns 0, or -EBUSY with nothing entered if the calling thread has the reactor already, or if it would have to wait
 * inside a callback of another reactor, for which the other thread might be waiting. */
int mailbox_enter(struct mailbox *mailbox);
void mailbox_leave(struct mailbox *mailbox);

/* Whether the calling thread has the reactor, and whether any thread has it. Any thread. */
bool mailbox_is_mine(const struct mailbox *mailbox);
bool mailbox_is_entered(const struct mailbox *mailbox);

/* Whether the calling thread must not wait for the reactor's thread, because it is that thread, or serves another
 * reactor, or was the last to have the reactor, which no thread has now. Any thread. */
bool mailbox_forbids_waiting(const struct mailbox *mailbox);

/* A call for which a thread waits. */
struct mailbox_call {
    struct mailbox *mailbox; /* its reactor's thread makes the call */
    void (*fn)(void *arg);   /* called there */
    void *arg;               /* handed to fn */
    int rv;                  /* 0 if it was made, -ESHUTDOWN if the mailbox is closed */
    bool is_here;            /* the calling thread makes it itself */
    bool is_taken;           /* and has entered the mailbox for that */
    struct letter letter;    /* for mailbox.c: so that a call needs no memory */
    struct round *round;     /* for mailbox.c: the calls that are waited for together */
};

/* Make count calls at the same time, each on the thread that has the reactor of its mailbox, and wait until all are
 * made. If no thread has a reactor, or if the calling thread has it, the calling thread makes the call itself. While it
 * waits, it also makes the calls that others ask in this way of the mailboxes that it has entered, so two threads that
 * call each other both return. Any thread. */
void mailbox_call_all(struct mailbox_call *calls, size_t count);

/* Accept no more calls, and make those that wait. On the reactor's thread, after its last tick. A second call does
 * nothing. */
void mailbox_close(struct mailbox *mailbox);

/* Accept no more calls, since the reactor will make none again: threads that wait for one get -ESHUTDOWN. Calls that
 * were posted wait for mailbox_close(). On the reactor's thread. */
void mailbox_refuse(struct mailbox *mailbox);

#endif
