#ifndef EVSERVE_CORE_REACTOR_H
#define EVSERVE_CORE_REACTOR_H

/* The event loop: readiness of fds, timers, deferred tasks, on one thread. It knows nothing of HTTP and can be used
 * alone (link evserve::reactor). core/README.md states the contracts R1 to R8 that are cited here.
 *
 * A tick is: wait, read the clock, call expired timers, call the fds that are ready, apply changed registrations, run
 * deferred tasks (R3). Callbacks run on the thread inside reactor_run() or reactor_run_once() and may call every
 * function here except those two and reactor_destroy().
 *
 * Thread rule: a reactor belongs to one thread at a time. Only reactor_stop() and reactor_post() may be called from
 * others; reactor_stop() from a signal handler too. */

#include "core/reactor_task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default) /* what is declared here is what a shared library shows */

struct log;

enum {
    REACTOR_READABLE = 1 << 0, /* bytes, a connection or the end of the stream can be read without blocking */
    REACTOR_WRITABLE = 1 << 1, /* there is room to write */
    REACTOR_ERROR = 1 << 2,    /* delivered unasked: the fd failed, reactor_error() tells why */
    REACTOR_HANGUP = 1 << 3,   /* delivered unasked: both directions are shut */
    REACTOR_EDGE = 1 << 4,     /* only when registering: report changes, not states (edge-triggered) */
    REACTOR_MORE = 1 << 5,     /* delivered unasked with READABLE and EDGE: see below */
    REACTOR_END = 1 << 6,      /* the peer has shut its side; there may be bytes to read before its end */
};

/* events is a set of READABLE, WRITABLE, END, ERROR and HANGUP. Data comes before the hang-up: an fd registered for READABLE
 * is told of READABLE alone as long as there is anything to read, the end of the stream (recv(2) returns 0) included.
 * HANGUP comes when there is nothing to read, or to those who did not ask for READABLE.
 *
 * Edge-triggered, a read of a TCP socket that brings less than was asked for has emptied it, and what comes after it is
 * a change of its own. MORE says that it is not so now: the peer has shut its side, or sent urgent data, where a read
 * stops. Read on, until -EAGAIN or the end: nothing else will be told of what is there (epoll(7), EPOLLRDHUP). */
typedef void (*reactor_event_fn)(struct reactor *reactor, int fd, unsigned events, void *arg);
typedef void (*reactor_timer_fn)(struct reactor *reactor, uint64_t timer, void *arg);

/* Create a reactor. log may be NULL and must outlive it. Returns 0 with *reactor, or -errno (-ENOMEM, -EMFILE, ...)
 * with nothing left behind. */
int reactor_create(struct reactor **reactor, const struct log *log);

/* Free the reactor with all registrations, timers, and tasks still there: none of them is called again. The fds stay
 * open, they belong to their owners. NULL is allowed. Not from a callback. */
void reactor_destroy(struct reactor *reactor);

/* In a process forked from the reactor's: close what the reactor has of the kernel, which the two processes share, and
 * leave everything else as it is. Only reactor_destroy() may follow. Any thread. */
void reactor_abandon(struct reactor *reactor);

/* Run ticks until reactor_stop(). Returns 0, or -errno when waiting failed. A stop that came before is honoured. */
int reactor_run(struct reactor *reactor);

/* One tick, waiting for timeout_ms at most (-1: until something happens, 0: not at all). Returns the number of
 * callbacks that ran, or -errno. For hosts with a loop of their own: see reactor_fd(). */
int reactor_run_once(struct reactor *reactor, int timeout_ms);

/* Make reactor_run() return after the tick it is in, or at once when it is not running. Any thread, signal handlers. */
void reactor_stop(struct reactor *reactor);

/* Watch fd: call fn when one of flags (READABLE, WRITABLE, END, with EDGE or without) holds, and for errors and hang-ups
 * always, also when flags has none. Registering an fd that is registered replaces flags, fn and arg; the same fn and arg mean the
 * same registration, other ones a new one, which events of the old one never reach (R1). The caller keeps the fd.
 *
 * Inside a callback the change is queued and applied after the tick's I/O, so several changes cost one system call and
 * changes that cancel out cost none (R2). When the kernel then refuses it, fn is called with REACTOR_ERROR.
 * Returns 0, or -EBADF (fd < 0), -ENOMEM, or the kernel's -errno, with the registration as it was before. */
int reactor_register(struct reactor *reactor, int fd, unsigned flags, reactor_event_fn fn, void *arg);

/* Stop watching fd. From this call on its callback is not called, not even for an event already fetched (R1). The
 * kernel is told at once, inside a callback too, so fd may be closed right after, duplicated or not (R2). Returns 0, or
 * -ENOENT when it is not registered. */
int reactor_deregister(struct reactor *reactor, int fd);

/* Whether fd is registered: with this fn and arg, or, when fn is NULL, with any. */
bool reactor_is_registered(const struct reactor *reactor, int fd, reactor_event_fn fn, const void *arg);

/* Deregister fd, if it is registered, and close it: the same as the two calls, but the kernel forgets the fd by itself
 * and needs no system call to be told. Only for fds that were not duplicated. */
void reactor_close(struct reactor *reactor, int fd);

/* Inside an event callback with REACTOR_ERROR: the error as -errno (SO_ERROR of a socket, which is thereby cleared).
 * 0 when the kernel names none. */
int reactor_error(const struct reactor *reactor);

/* Call fn once, delay_ms from now. Equal deadlines run in the order they were set (R5). A timer set in a callback runs
 * in the next tick at the earliest. Returns the timer's id, or 0 when memory is short. Ids are never reused. */
uint64_t reactor_set_timeout(struct reactor *reactor, uint32_t delay_ms, reactor_timer_fn fn, void *arg);

/* Call fn every interval_ms (at least 1), first in interval_ms. The next expiry is counted from the previous one, not
 * from when the callback ran, so there is no drift; expiries that a busy loop missed are skipped (R5). Returns the id
 * or 0 as above. */
uint64_t reactor_set_interval(struct reactor *reactor, uint32_t interval_ms, reactor_timer_fn fn, void *arg);

/* Cancel a timer; inside its own callback too. Returns 0, or -ENOENT when it fired, was cancelled, or is 0. */
int reactor_cancel_timer(struct reactor *reactor, uint64_t timer);

/* When the timer is due next, on the clock of reactor_now_ms(), or -ENOENT when it fired, was cancelled, or is 0. */
int64_t reactor_timer_due_ms(const struct reactor *reactor, uint64_t timer);

/* Call task->fn once at the end of this tick; if called from a task or a post, at the end of the next tick (R4). Tasks
 * run in the order in which they were scheduled or deferred. Scheduling a task that is already scheduled changes
 * nothing, its place in the order included. When fn is called, the task is no longer scheduled: fn may schedule it
 * again, or free it. A scheduled task must not move, and its memory must stay until it has run, was unscheduled, or the
 * reactor was destroyed, which neither calls it nor touches it. Cannot fail, allocates nothing. */
void reactor_schedule(struct reactor *reactor, struct reactor_task *task);

/* Take back a task that is scheduled, so that it is not called: from here on it may be freed. From other tasks too,
 * even if both were due in the same tick. Does nothing if the task is not scheduled. */
void reactor_unschedule(struct reactor *reactor, struct reactor_task *task);

/* Whether the task waits for its call. */
static inline bool reactor_is_scheduled(const struct reactor_task *task)
{
    return task->next != NULL;
}

/* The object of the given type that has the task as its member. Where that is the first member, a cast does as well. */
#define REACTOR_OWNER(task, type, member) ((type *)(void *)((char *)(task)-offsetof(type, member)))

/* The same for a function and its argument, in memory that the reactor brings along. Such a task cannot be taken back:
 * arg must stay valid until fn is called. Returns 0 or -ENOMEM. */
int reactor_defer(struct reactor *reactor, reactor_task_fn fn, void *arg);

/* Call fn on the reactor's thread in its next tick. Any thread; order is kept for the calls of one thread. What is
 * still waiting when the reactor is destroyed is not called. Returns 0 or -ENOMEM. */
int reactor_post(struct reactor *reactor, reactor_task_fn fn, void *arg);

/* The same, and it cannot fail. call must stay where it is until fn is called, and must not be posted again before that;
 * from fn on it may be. */
void reactor_post_call(struct reactor *reactor, struct reactor_call *call);

/* One fd that becomes readable whenever reactor_run_once(reactor, 0) has something to do: I/O, a timer, a task or a
 * post (R8). It stays the reactor's. Returns the fd, or -errno when the kernel gives no timerfd. */
int reactor_fd(struct reactor *reactor);

/* Monotonic time of this tick in milliseconds; outside of a tick, the time now. */
int64_t reactor_now_ms(const struct reactor *reactor);

/* Numbers that only rise, for tests and statistics. */
struct reactor_counts {
    uint64_t ticks;        /* returns from waiting */
    uint64_t events;       /* I/O callbacks */
    uint64_t stale_events; /* events dropped because their registration was gone */
    uint64_t timers;       /* timer callbacks */
    uint64_t tasks;        /* deferred and posted tasks run */
};

/* The numbers as they are now. The reactor's thread. */
struct reactor_counts reactor_counts(const struct reactor *reactor);

#pragma GCC visibility pop

#endif
