/* Tasks are a ring of links inside their owners, so adding and removing one costs a few stores. A deferred task has no
 * owner: its link comes from a pool that grows in slabs and is kept (R7). Posts are a stack that other threads push on,
 * taken as a whole and turned round.
 *
 * Failure mode: without memory for a deferred task or a post nothing has changed. */

#include "core/tasks.h"

#include "core/mem.h"
#include "core/sys.h"

#include <assert.h>
#include <errno.h>

enum {
    FIRST_TASKS = 64,    /* deferred tasks in the first slab; each further slab doubles their number */
    TASKS_MAX = 1 << 24, /* deferred tasks at once; one more is -ENOMEM */
};

/* A task that no owner embeds. */
struct deferred {
    struct reactor_task task; /* its fn is NULL: the function to call is below */
    reactor_task_fn fn;       /* called with arg */
    void *arg;                /* while this is unused: the next unused one */
};

struct deferred_slab {
    struct deferred_slab *next; /* made before this one */
    struct deferred tasks[];    /* as many as the slabs before it have together */
};

/* Tasks. */

void tasks_init(struct tasks *tasks)
{
    *tasks = (struct tasks){.last = NULL};
    tasks->ring.next = tasks->ring.prev = &tasks->ring;
}

void tasks_done(struct tasks *tasks)
{
    struct deferred_slab *slab = tasks->slabs;
    while (slab != NULL) {
        struct deferred_slab *next = slab->next;
        mem_free(slab);
        slab = next;
    }
    tasks_init(tasks);
}

static void link_task(struct tasks *tasks, struct reactor_task *task)
{
    task->next = &tasks->ring;
    task->prev = tasks->ring.prev;
    tasks->ring.prev->next = task;
    tasks->ring.prev = task;
}

static void unlink_task(struct tasks *tasks, struct reactor_task *task)
{
    if (task == tasks->last) {
        tasks->last = task->prev == &tasks->ring ? NULL : task->prev;
    }
    task->prev->next = task->next;
    task->next->prev = task->prev;
    task->next = NULL;
}

void tasks_add(struct tasks *tasks, struct reactor_task *task)
{
    assert(task->fn != NULL);
    if (task->next == NULL) {
        link_task(tasks, task);
    }
}

void tasks_remove(struct tasks *tasks, struct reactor_task *task)
{
    if (task->next != NULL) {
        unlink_task(tasks, task);
    }
}

static int add_deferred_slab(struct tasks *tasks)
{
    uint32_t count = tasks->deferred_count == 0 ? FIRST_TASKS : tasks->deferred_count;
    if (count > TASKS_MAX - tasks->deferred_count) {
        return -ENOMEM;
    }
    struct deferred_slab *slab = mem_alloc(sizeof *slab + count * sizeof slab->tasks[0]);
    if (slab == NULL) {
        return -ENOMEM;
    }
    slab->next = tasks->slabs;
    tasks->slabs = slab;
    tasks->deferred_count += count;
    for (uint32_t i = count; i-- > 0;) {
        slab->tasks[i] = (struct deferred){.arg = tasks->unused};
        tasks->unused = &slab->tasks[i];
    }
    return 0;
}

int tasks_defer(struct tasks *tasks, reactor_task_fn fn, void *arg)
{
    if (tasks->unused == NULL) {
        int rv = add_deferred_slab(tasks);
        if (rv < 0) {
            return rv;
        }
    }
    struct deferred *deferred = tasks->unused;
    tasks->unused = deferred->arg;
    deferred->fn = fn;
    deferred->arg = arg;
    link_task(tasks, &deferred->task);
    return 0;
}

/* The memory is unused again before the call, which may defer as many tasks as it takes away. */
static void run_deferred(struct tasks *tasks, struct deferred *deferred, struct reactor *reactor)
{
    reactor_task_fn fn = deferred->fn;
    void *arg = deferred->arg;
    deferred->arg = tasks->unused;
    tasks->unused = deferred;
    fn(reactor, arg);
}

__attribute__((noinline)) int tasks_run(struct tasks *tasks, struct reactor *reactor)
{
    int calls = 0;
    int64_t end_ns = tasks->ring.next != tasks->ring.prev ? sys_now_ns() + SPELL_NS : 0;
    tasks->last = tasks->ring.prev;
    do {
        struct reactor_task *task = tasks->ring.next;
        unlink_task(tasks, task);
        if (task->fn != NULL) {
            task->fn(reactor, task); /* which may free it */
        } else {
            run_deferred(tasks, (struct deferred *)task, reactor);
        }
        calls++;
    } while (tasks->last != NULL && sys_now_ns() < end_ns);
    tasks->last = NULL;
    tasks->run_count += (uint64_t)calls;
    return calls;
}

/* Posts. */

void posts_add(struct posts *posts, struct reactor_call *call)
{
    call->next = atomic_load_explicit(&posts->newest, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&posts->newest, &call->next, call, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

int posts_add_new(struct posts *posts, reactor_task_fn fn, void *arg)
{
    struct reactor_call *call = mem_alloc(sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    *call = (struct reactor_call){.fn = fn, .arg = arg, .is_allocated = true};
    posts_add(posts, call);
    return 0;
}

/* Take all, oldest first. */
static struct reactor_call *take_posts(struct posts *posts)
{
    struct reactor_call *newest = atomic_exchange_explicit(&posts->newest, NULL, memory_order_acquire);
    struct reactor_call *oldest = NULL;
    while (newest != NULL) {
        struct reactor_call *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

__attribute__((noinline)) int posts_run(struct posts *posts, struct reactor *reactor)
{
    int calls = 0;
    if (posts->taken == NULL) {
        posts->taken = take_posts(posts);
    }
    int64_t end_ns = posts->taken->next != NULL ? sys_now_ns() + SPELL_NS : 0;
    do {
        struct reactor_call *first = posts->taken;
        struct reactor_call call = *first;
        posts->taken = call.next;
        if (call.is_allocated) {
            mem_free(first);
        }
        call.fn(reactor, call.arg); /* which may post first again, if it is the caller's */
        calls++;
    } while (posts->taken != NULL && sys_now_ns() < end_ns);
    posts->run_count += (uint64_t)calls;
    return calls;
}

static void free_posts(struct reactor_call *call)
{
    while (call != NULL) {
        struct reactor_call *next = call->next;
        if (call->is_allocated) {
            mem_free(call);
        }
        call = next;
    }
}

void posts_done(struct posts *posts)
{
    free_posts(posts->taken);
    free_posts(take_posts(posts));
    posts->taken = NULL;
}
