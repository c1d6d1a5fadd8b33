#ifndef EVSERVE_CORE_REACTOR_H
#define EVSERVE_CORE_REACTOR_H

/* The event loop: readiness of fds, timers and tasks, on one thread. It knows nothing of HTTP and can be used alone
 * (link evserve::reactor). core/README.md states the contracts R1 to R8 that are cited here.
 *
 * One tick: wait, read the clock, call expired timers, call the fds that are ready, apply changed registrations, run
 * tasks (R3). Callbacks run on the thread that is inside reactor_run() or reactor_run_once(). They may call every
 * function here except those two and reactor_destroy().
 *
 * Threads: a reactor belongs to one thread at a time. Other threads may call only reactor_stop(), reactor_post() and
 * reactor_post_call(), a signal handler only reactor_stop(). */

#include "core/reactor_task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default) /* what is declared here is what a shared library shows */

struct log;
struct tick_clock;

enum {
    REACTOR_READABLE = 1 << 0, /* bytes, a connection or the end of the stream can be read without blocking */
    REACTOR_WRITABLE = 1 << 1, /* there is room to write */
    REACTOR_ERROR = 1 << 2,    /* delivered unasked: the fd failed, reactor_error() says why */
    REACTOR_HANGUP = 1 << 3,   /* delivered unasked: both directions are shut */
    REACTOR_EDGE = 1 << 4,     /* only when registering: report changes, not states (edge-triggered) */
    REACTOR_MORE = 1 << 5,     /* delivered unasked with READABLE and EDGE: see below */
    REACTOR_END = 1 << 6,      /* the peer has shut its side; there may be bytes to read before its end */
};

/* events is a set of READABLE, WRITABLE, END, ERROR and HANGUP. Data comes before the hang-up: an fd registered for
 * READABLE gets READABLE without HANGUP as long as there is anything to read, including the end of the stream, where
 * recv(2) returns 0. HANGUP comes once there is nothing to read, or if READABLE was not asked for.
 *
 * Edge-triggered, a short read from a TCP socket has emptied it, and what comes later causes an event of its own. MORE
 * says that this does not hold now: the peer has shut its side or sent urgent data, and a read stops there. Read on
 * until -EAGAIN or the end, because no further event will report what is already there (epoll(7), EPOLLRDHUP). */
typedef void (*reactor_event_fn)(struct reactor *reactor, int fd, unsigned events, void *arg);
typedef void (*reactor_timer_fn)(struct reactor *reactor, uint64_t timer, void *arg);

/* Create a reactor. log may be NULL and must outlive it. Returns 0 with *reactor, or -errno (-ENOMEM, -EMFILE, ...)
 * with nothing left behind. */
int reactor_create(struct reactor **reactor, const struct log *log);

/* Free the reactor with all its registrations, timers and tasks: none of them is called any more. The fds stay open;
 * they belong to their owners. NULL is allowed. Not from a callback. */
void reactor_destroy(struct reactor *reactor);

/* In a process forked from the reactor's: close the reactor's own fds, which the two processes share, and leave
 * everything else as it is. Only reactor_destroy() may follow. Any thread. */
void reactor_abandon(struct reactor *reactor);

/* Run ticks until reactor_stop(), which may have been called before. Returns 0, or -errno if waiting failed. */
int reactor_run(struct reactor *reactor);

/* Run one tick, and wait for timeout_ms at most (-1: until something happens, 0: not at all). Returns the number of
 * callbacks that ran, or -errno. For hosts with a loop of their own: see reactor_fd(). */
int reactor_run_once(struct reactor *reactor, int timeout_ms);

/* Make reactor_run() return after the current tick; if it is not running, its next call returns at once. Any thread,
 * and signal handlers. */
void reactor_stop(struct reactor *reactor);

/* Watch fd: call fn when one of flags holds (READABLE, WRITABLE, END, with or without EDGE), and always for errors and
 * hang-ups, even if flags is 0. Registering an fd again replaces flags, fn and arg. With the same fn and arg it is
 * still the same registration; otherwise it is a new one, and events of the old one never reach it (R1). The fd stays
 * the caller's.
 *
 * Inside a callback the change is queued and applied after the tick's I/O, so several changes cost one system call and
 * changes that cancel out cost none (R2). If the kernel then refuses it, fn is called with REACTOR_ERROR. Returns 0, or
 * -EBADF (fd < 0), -ENOMEM, or the kernel's -errno, with the registration as it was before. */
int reactor_register(struct reactor *reactor, int fd, unsigned flags, reactor_event_fn fn, void *arg);

/* Stop watching fd. From now on its callback is not called, not even for an event that was already fetched (R1). This
 * takes effect in the kernel at once, inside a callback too, so fd may be closed right after, duplicated or not (R2).
 * Returns 0, or -ENOENT if fd is not registered. */
int reactor_deregister(struct reactor *reactor, int fd);

/* Whether fd is registered with this fn and arg, or, if fn is NULL, with any. */
bool reactor_is_registered(const struct reactor *reactor, int fd, reactor_event_fn fn, const void *arg);

/* Deregister fd, if it is registered, and close it. This saves the system call of reactor_deregister(), because the
 * kernel itself forgets an fd that is closed. Only for fds that were not duplicated. */
void reactor_close(struct reactor *reactor, int fd);

/* Inside an event callback with REACTOR_ERROR: the error as -errno (SO_ERROR of a socket, which the reactor has thereby
 * cleared), or 0 if the kernel gives none. */
int reactor_error(const struct reactor *reactor);

/* Call fn once, delay_ms from now. Timers with equal deadlines run in the order in which they were set (R5). A timer
 * set in a callback runs in the next tick at the earliest. Returns the timer's id, or 0 if there is no memory. Ids are
 * never reused. */
uint64_t reactor_set_timeout(struct reactor *reactor, uint32_t delay_ms, reactor_timer_fn fn, void *arg);

/* Call fn every interval_ms (at least 1), for the first time after interval_ms. Each expiry counts from the previous
 * one, not from the time the callback ran, so there is no drift. Expiries that a busy loop missed are skipped (R5).
 * Returns the id or 0 as above. */
uint64_t reactor_set_interval(struct reactor *reactor, uint32_t interval_ms, reactor_timer_fn fn, void *arg);

/* Cancel a timer, inside its own callback too. Returns 0, or -ENOENT if it fired, was cancelled, or is 0. */
int reactor_cancel_timer(struct reactor *reactor, uint64_t timer);

/* When the timer is due next, on the clock of reactor_now_ms(), or -ENOENT if it fired, was cancelled, or is 0. */
int64_t reactor_timer_due_ms(const struct reactor *reactor, uint64_t timer);

/* When the first timer of all is due, on that clock and rounded up, or -ENOENT if none is set. */
int64_t reactor_next_due_ms(const struct reactor *reactor);

/* Call task->fn once at the end of this tick; if called from a task or a post, at the end of the next tick (R4). Tasks
 * run in the order in which they were scheduled or deferred. Scheduling a task that is already scheduled changes
 * nothing, its place in the order included. When fn is called, the task is no longer scheduled: fn may schedule it
 * again, or free it. A scheduled task must not move, and its memory must stay until it runs, is unscheduled, or the
 * reactor is destroyed; reactor_destroy() neither calls nor touches it. Cannot fail, allocates nothing. */
void reactor_schedule(struct reactor *reactor, struct reactor_task *task);

/* Take back a task that is scheduled, so that it is not called and may be freed. Another task may do so, even if both
 * are due in the same tick. Does nothing if the task is not scheduled. */
void reactor_unschedule(struct reactor *reactor, struct reactor_task *task);

/* Whether the task is scheduled and has not been called since. */
static inline bool reactor_is_scheduled(const struct reactor_task *task)
{
    return task->next != NULL;
}

/* The object of the given type that has the task as its member. For the first member a cast will do. */
#define REACTOR_OWNER(task, type, member) ((type *)(void *)((char *)(task)-offsetof(type, member)))

/* Schedule a call of fn with arg, as above, in memory of the reactor's own. It cannot be taken back, so arg must stay
 * valid until then. Returns 0 or -ENOMEM. */
int reactor_defer(struct reactor *reactor, reactor_task_fn fn, void *arg);

/* Call fn on the reactor's thread in its next tick. Any thread; the calls of one thread keep their order. Calls that
 * are still waiting when the reactor is destroyed are dropped. Returns 0 or -ENOMEM. */
int reactor_post(struct reactor *reactor, reactor_task_fn fn, void *arg);

/* The same in memory of the caller's, so it cannot fail. call must stay where it is, and must not be posted again,
 * until fn is called; fn itself may post it again. */
void reactor_post_call(struct reactor *reactor, struct reactor_call *call);

/* One fd that becomes readable whenever reactor_run_once(reactor, 0) has something to do: I/O, a timer, a task or a
 * post (R8). It stays the reactor's. Returns the fd, or -errno if the kernel provides no timerfd. */
int reactor_fd(struct reactor *reactor);

/* Monotonic time of this tick in milliseconds; outside of a tick, the time now. */
int64_t reactor_now_ms(const struct reactor *reactor);

/* The clock of its ticks (core/tick_clock.h), which is off, and its stalls, which nobody watches. Valid as long as the
 * reactor. */
struct tick_clock *reactor_clock(struct reactor *reactor);

/* Totals since the reactor was created. */
struct reactor_counts {
    uint64_t ticks;        /* returns from waiting */
    uint64_t events;       /* I/O callbacks */
    uint64_t stale_events; /* events dropped because their registration was gone */
    uint64_t timers;       /* timer callbacks */
    uint64_t tasks;        /* tasks and posts that were run */
};

/* The totals as they are now; those of the current tick may be missing. The reactor's thread. */
struct reactor_counts reactor_counts(const struct reactor *reactor);

#pragma GCC visibility pop

#endif
