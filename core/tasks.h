#ifndef EVSERVE_CORE_TASKS_H
#define EVSERVE_CORE_TASKS_H

/* The calls that a reactor makes at the end of a tick: the tasks of its own thread (R4), and the posts of other threads
 * (R8). For reactor.c. The contracts are in core/README.md. */

#include "core/reactor_task.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPELL_NS = 10000000 }; /* after which a tick begins no further timer, task or post (R6): the next tick goes on */

/* The reactor's thread only. */
struct tasks {
    struct reactor_task ring;    /* its next is the first scheduled task, its prev the last; both itself if none is */
    struct reactor_task *last;   /* the last one that this tick runs, while it runs them; else NULL */
    struct deferred *unused;     /* memory for tasks_defer() */
    struct deferred_slab *slabs; /* all such memory, used or not */
    uint32_t deferred_count;     /* tasks that it holds */
    uint64_t run_count;          /* tasks that were run */
};

void tasks_init(struct tasks *tasks);

/* Frees the memory of deferred tasks. Touches no task that is a member of its owner. */
void tasks_done(struct tasks *tasks);

static inline bool tasks_are_waiting(const struct tasks *tasks)
{
    return tasks->ring.next != &tasks->ring;
}

/* Put a task behind all others, unless it is scheduled. */
void tasks_add(struct tasks *tasks, struct reactor_task *task);

/* Take a task back, if it is scheduled. */
void tasks_remove(struct tasks *tasks, struct reactor_task *task);

/* Put a call of fn behind all others. Returns 0 or -ENOMEM. */
int tasks_defer(struct tasks *tasks, reactor_task_fn fn, void *arg);

/* Run the tasks that are waiting; there must be at least one. Tasks that they add wait for the next call (R4), and so
 * do those that the spell has no time for, ahead of the others. A single task reads no clock. Returns how many ran. */
int tasks_run(struct tasks *tasks, struct reactor *reactor);

struct posts {
    _Atomic(struct reactor_call *) newest; /* what other threads posted, newest first */
    struct reactor_call *taken;            /* oldest first: what the last posts_run() had no time for */
    uint64_t run_count;                    /* posts that were run */
};

/* Free what was never run. */
void posts_done(struct posts *posts);

/* Any thread. Then wake the reactor. */
void posts_add(struct posts *posts, struct reactor_call *call);

/* The same for a call in memory that is freed before fn is called. Returns 0 or -ENOMEM. Any thread. */
int posts_add_new(struct posts *posts, reactor_task_fn fn, void *arg);

/* Whether the last posts_run() had no time for some. */
static inline bool posts_are_left(const struct posts *posts)
{
    return posts->taken != NULL;
}

static inline bool posts_are_waiting(const struct posts *posts)
{
    return posts_are_left(posts) || atomic_load_explicit(&posts->newest, memory_order_relaxed) != NULL;
}

/* Run the posts that are waiting; there must be at least one: those left over from the last call if there are any, else
 * those that came since. If the spell has no time for all, some are left over again. Returns how many ran. */
int posts_run(struct posts *posts, struct reactor *reactor);

#endif
