#ifndef EVSERVE_CORE_REACTOR_TASK_H
#define EVSERVE_CORE_REACTOR_TASK_H

/* The types of what a reactor calls once. core/reactor.h includes this and explains them. */

#include <stdbool.h>

struct reactor;

typedef void (*reactor_task_fn)(struct reactor *reactor, void *arg);

/* A task that is a member of the object it belongs to, and so needs no memory of its own. Set fn, leave the rest
 * zero. */
struct reactor_task {
    reactor_task_fn fn;               /* called with the task as arg: see REACTOR_OWNER */
    struct reactor_task *next, *prev; /* the reactor's; next is NULL while the task is not scheduled */
};

/* A call for reactor_post_call(), which needs no memory of its own either. Set fn and arg. */
struct reactor_call {
    reactor_task_fn fn;        /* called with arg */
    void *arg;                 /* handed to fn */
    struct reactor_call *next; /* these two are the reactor's */
    bool is_allocated;
};

#endif
