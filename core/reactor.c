/* The dispatch loop over epoll(7). The contracts R1 to R8 are in core/README.md.
 *
 * Happy path: run_tick() waits, then calls expired timers, ready fds, queued registrations and deferred tasks, in this
 * order. Each fd has a slot in a table that grows in chunks and never moves. The kernel carries the slot's fd and
 * generation with each event; an event whose generation is not the slot's is dropped.
 *
 * Failure modes: a wait that fails ends the run with -errno; a registration that the kernel refuses after the callback
 * that asked for it returned is reported to its callback as REACTOR_ERROR; running out of memory is told to the caller
 * of the function that needed it and changes nothing. */

#include "core/reactor.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/timer_heap.h"
#include "core/units.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
    BATCH = 512,         /* events fetched by one wait (R6): bounds a tick, and lets timers in between */
    SPELL_NS = 10000000, /* after which a tick begins no further timer, task or post (R6): the next tick goes on */
    CHUNK = 256,         /* watches in a chunk of the table */
    FIRST_TASKS = 64,    /* tasks in the first slab of deferred ones; each further slab doubles their number */
    TASKS_MAX = 1 << 24, /* deferred tasks at once; one more is -ENOMEM */
    NOT_QUEUED = -1,     /* watch.next_queued of a watch that is in no queue */
    END_OF_QUEUE = -2,   /* watch.next_queued of the last one */
    UNKNOWN = 0xff,      /* watch.kernel_flags: no set of flags */
    CACHE_LINE = 64,
    WATCH_AHEAD = 4, /* events by which a watch is asked for before its turn */
    ARG_AHEAD = 2,   /* and what it was registered with: its first two cache lines */
};

/* What REACTOR_MORE stands for. */
static const uint32_t MORE_EVENTS = (uint32_t)EPOLLRDHUP | (uint32_t)EPOLLPRI;

/* One fd of the table. */
struct watch {
    reactor_event_fn fn;        /* NULL while not registered */
    void *arg;                  /* handed to fn */
    uint32_t generation;        /* of the registration; rises with each new one */
    uint32_t kernel_generation; /* what the kernel's events carry */
    int32_t next_queued;        /* next fd with a queued change, or NOT_QUEUED or END_OF_QUEUE */
    uint8_t flags;              /* wanted: REACTOR_READABLE | WRITABLE | END | EDGE */
    uint8_t kernel_flags;       /* what the kernel was told last, or UNKNOWN to tell it again */
    bool in_kernel;             /* the kernel watches it, as far as we know */
};

/* A task of reactor_defer(): it has fn and arg, since no owner embeds it. */
struct deferred {
    struct reactor_task task; /* runs run_deferred() */
    reactor_task_fn fn;
    void *arg;
};

struct deferred_slab {
    struct deferred_slab *next;
    struct deferred tasks[];
};

struct reactor {
    const struct log *log; /* borrowed; may be NULL */
    int epoll_fd;          /* what the loop sleeps on */
    int wake_fd;           /* eventfd of reactor_stop() and reactor_post() */
    int timer_fd;          /* timerfd of reactor_fd(), -1 until that is asked for */
    int error;             /* of the event being delivered, -errno or 0 */
    int64_t now_ns;        /* clock of this tick */
    int64_t armed_ns;      /* what timer_fd is set to, 0 when disarmed */
    bool in_tick;          /* changes are queued, the clock stands still */
    bool lacks_ns_waits;   /* the kernel, or a filter of system calls, knows epoll_pwait2(2) not */
    struct watch **chunks; /* table of watches by fd, chunks may be NULL */
    uint32_t chunk_count;
    int32_t queue_head, queue_tail; /* fds with changed registrations, in order of change */
    struct timer_heap timers;
    struct reactor_task tasks; /* head of the ring of scheduled tasks; next is the first of them, or the head itself */
    struct reactor_task *last_task;       /* the last one that this tick runs, while it runs them; else NULL */
    struct deferred *unused;              /* for reactor_defer() */
    struct deferred_slab *slabs;          /* all of those, used or not */
    uint32_t deferred_count;              /* in all slabs */
    _Atomic(struct reactor_call *) posts; /* newest first */
    struct reactor_call *taken;           /* of them, oldest first: what the last tick had no time for */
    atomic_bool stop;                     /* asked for and not yet honoured */
    struct reactor_counts counts;
    struct epoll_event events[BATCH];
};

/* Watches. */

static struct watch *find_watch(const struct reactor *reactor, int fd)
{
    uint32_t chunk = (uint32_t)fd / CHUNK;
    if (fd < 0 || chunk >= reactor->chunk_count || reactor->chunks[chunk] == NULL) {
        return NULL;
    }
    return &reactor->chunks[chunk][(uint32_t)fd % CHUNK];
}

/* The watch of fd, made if it is new. The table grows in chunks, so a pointer into it stays valid (R7). */
static struct watch *make_watch(struct reactor *reactor, int fd)
{
    uint32_t chunk = (uint32_t)fd / CHUNK;
    if (chunk >= reactor->chunk_count) {
        uint32_t count = reactor->chunk_count * 2 > chunk ? reactor->chunk_count * 2 : chunk + 1;
        struct watch **chunks = mem_resize(reactor->chunks, count * sizeof(struct watch *));
        if (chunks == NULL) {
            return NULL;
        }
        memset(chunks + reactor->chunk_count, 0, (count - reactor->chunk_count) * sizeof(struct watch *));
        reactor->chunks = chunks;
        reactor->chunk_count = count;
    }
    if (reactor->chunks[chunk] == NULL) {
        struct watch *watches = mem_zalloc(CHUNK * sizeof *watches);
        if (watches == NULL) {
            return NULL;
        }
        for (int i = 0; i < CHUNK; i++) {
            watches[i].next_queued = NOT_QUEUED;
        }
        reactor->chunks[chunk] = watches;
    }
    return find_watch(reactor, fd);
}

static uint32_t epoll_events(unsigned flags)
{
    bool tells_more = (flags & REACTOR_READABLE) && (flags & REACTOR_EDGE);
    return (flags & REACTOR_READABLE ? (uint32_t)EPOLLIN : 0) | (flags & REACTOR_WRITABLE ? (uint32_t)EPOLLOUT : 0) |
           (flags & REACTOR_EDGE ? (uint32_t)EPOLLET : 0) | (tells_more ? MORE_EVENTS : 0) |
           (flags & REACTOR_END ? (uint32_t)EPOLLRDHUP : 0);
}

/* End a registration: its fd is a zombie for the rest of the batch (R2). The kernel is told at once, inside a callback
 * too: queued, it would be told after the caller's close(2), when it is too late to ask, and a description that lives
 * on in a duplicate (an inherited listener) would wake the loop for good. */
static void forget_watch(struct reactor *reactor, int fd, struct watch *watch)
{
    watch->fn = NULL;
    watch->arg = NULL;
    if (watch->in_kernel) {
        int rv = sys_epoll_delete(reactor->epoll_fd, fd);
        watch->in_kernel = rv < 0 && rv != -EBADF && rv != -ENOENT; /* these two: fd was closed before */
    }
}

/* Tell the kernel what a watch wants now. Our idea of what it knows may be out of date, because a closed fd leaves
 * epoll by itself and its number may be in use again: the other operation then does. */
static int apply_watch(struct reactor *reactor, int fd, struct watch *watch)
{
    if (watch->fn == NULL) {
        return 0; /* registered and deregistered meanwhile */
    }
    if (watch->in_kernel && watch->kernel_generation == watch->generation && watch->kernel_flags == watch->flags) {
        return 0;
    }
    uint32_t events = epoll_events(watch->flags);
    uint64_t data = (uint64_t)watch->generation << 32 | (uint32_t)fd;
    int rv;
    if (watch->in_kernel) {
        rv = sys_epoll_modify(reactor->epoll_fd, fd, events, data);
        rv = rv == -ENOENT ? sys_epoll_add(reactor->epoll_fd, fd, events, data) : rv;
    } else {
        rv = sys_epoll_add(reactor->epoll_fd, fd, events, data);
        rv = rv == -EEXIST ? sys_epoll_modify(reactor->epoll_fd, fd, events, data) : rv;
    }
    if (rv < 0) {
        return rv;
    }
    watch->in_kernel = true;
    watch->kernel_generation = watch->generation;
    watch->kernel_flags = watch->flags;
    return 0;
}

static void queue_watch(struct reactor *reactor, int fd, struct watch *watch)
{
    if (watch->next_queued != NOT_QUEUED) {
        return; /* coalesced with an earlier change (R2) */
    }
    watch->next_queued = END_OF_QUEUE;
    if (reactor->queue_tail == END_OF_QUEUE) {
        reactor->queue_head = fd;
    } else {
        find_watch(reactor, reactor->queue_tail)->next_queued = fd;
    }
    reactor->queue_tail = fd;
}

int reactor_register(struct reactor *reactor, int fd, unsigned flags, reactor_event_fn fn, void *arg)
{
    struct watch *watch = fd < 0 ? NULL : make_watch(reactor, fd);
    if (watch == NULL) {
        return fd < 0 ? -EBADF : -ENOMEM;
    }
    struct watch before = *watch;
    if (watch->fn != fn || watch->arg != arg) {
        watch->generation++; /* events fetched for the old registration are stale from here on (R1) */
    }
    watch->fn = fn;
    watch->arg = arg;
    watch->flags = (uint8_t)(flags & (REACTOR_READABLE | REACTOR_WRITABLE | REACTOR_END | REACTOR_EDGE));
    if (reactor->in_tick) {
        queue_watch(reactor, fd, watch);
        return 0;
    }
    int rv = apply_watch(reactor, fd, watch);
    if (rv < 0) {
        *watch = before;
    }
    return rv;
}

int reactor_deregister(struct reactor *reactor, int fd)
{
    struct watch *watch = find_watch(reactor, fd);
    if (watch == NULL || watch->fn == NULL) {
        return -ENOENT;
    }
    forget_watch(reactor, fd, watch);
    return 0;
}

bool reactor_is_registered(const struct reactor *reactor, int fd, reactor_event_fn fn, const void *arg)
{
    const struct watch *watch = find_watch(reactor, fd);
    return watch != NULL && watch->fn != NULL && (fn == NULL || (watch->fn == fn && watch->arg == arg));
}

void reactor_close(struct reactor *reactor, int fd)
{
    struct watch *watch = find_watch(reactor, fd);
    if (watch != NULL) {
        watch->fn = NULL;
        watch->arg = NULL;
        watch->in_kernel = false;
    }
    sys_close(fd);
}

int reactor_error(const struct reactor *reactor)
{
    return reactor->error;
}

/* Call a watch with one event, unless the event is stale (R1). Returns whether it was called. */
static bool deliver(struct reactor *reactor, const struct epoll_event *event)
{
    int fd = (int)(uint32_t)event->data.u64;
    if (fd == reactor->wake_fd || fd == reactor->timer_fd) { /* edge-triggered: they need no reading */
        if (fd == reactor->timer_fd) {
            reactor->armed_ns = 0; /* it has fired: the same deadline, too, must be set again (R8) */
        }
        return false;
    }
    struct watch *watch = find_watch(reactor, fd);
    if (watch == NULL || watch->fn == NULL || watch->generation != (uint32_t)(event->data.u64 >> 32)) {
        reactor->counts.stale_events++;
        if (watch != NULL && watch->fn == NULL) {
            forget_watch(reactor, fd, watch); /* once more, if the kernel refused it: else the event comes for ever */
        }
        return false;
    }
    unsigned flags = (event->events & (uint32_t)EPOLLIN ? REACTOR_READABLE : 0U) |
                     (event->events & (uint32_t)EPOLLOUT ? REACTOR_WRITABLE : 0U) |
                     (event->events & (uint32_t)EPOLLRDHUP ? REACTOR_END : 0U);
    if ((flags & ~(unsigned)(watch->flags | REACTOR_END)) && (watch->kernel_flags & REACTOR_EDGE)) {
        watch->kernel_flags = UNKNOWN; /* the kernel reports an edge once: have it look again when asked for again */
    }
    flags &= watch->flags; /* an earlier callback of this batch may have changed what is wanted */
    if ((flags & REACTOR_READABLE) && (watch->flags & REACTOR_EDGE) && (event->events & MORE_EVENTS)) {
        flags |= REACTOR_MORE;
    }
    if (event->events & (uint32_t)EPOLLERR) {
        int error = sys_get_option(fd, SOL_SOCKET, SO_ERROR);
        reactor->error = error > 0 ? -error : 0;
        flags |= REACTOR_ERROR;
    }
    if ((event->events & (uint32_t)EPOLLHUP) && !(flags & REACTOR_READABLE)) {
        flags |= REACTOR_HANGUP; /* not while there is something to read: data comes first */
    }
    if (flags == 0) {
        return false;
    }
    watch->fn(reactor, fd, flags, watch->arg);
    reactor->error = 0;
    reactor->counts.events++;
    return true;
}

/* The kernel refused what a callback asked for: the registration is gone, and its callback is told. */
static void refuse_watch(struct reactor *reactor, int fd, struct watch *watch, int error)
{
    log_write(reactor->log, LOG_ERROR, "cannot watch fd %d: %s", fd, errno_text(-error));
    reactor_event_fn fn = watch->fn;
    void *arg = watch->arg;
    forget_watch(reactor, fd, watch);
    reactor->error = error;
    fn(reactor, fd, REACTOR_ERROR, arg);
    reactor->error = 0;
    reactor->counts.events++;
}

static int take_queued(struct reactor *reactor)
{
    int fd = reactor->queue_head;
    struct watch *watch = find_watch(reactor, fd);
    reactor->queue_head = watch->next_queued;
    if (reactor->queue_head == END_OF_QUEUE) {
        reactor->queue_tail = END_OF_QUEUE;
    }
    watch->next_queued = NOT_QUEUED;
    return fd;
}

/* Apply the changes queued until now (R2). One that is refused may queue another one: that waits for the next call, so
 * a callback that insists cannot hold the loop. */
static int apply_queued(struct reactor *reactor)
{
    int calls = 0;
    int last = reactor->queue_tail;
    for (int fd = END_OF_QUEUE; fd != last;) {
        fd = take_queued(reactor);
        struct watch *watch = find_watch(reactor, fd);
        int rv = apply_watch(reactor, fd, watch);
        if (rv < 0) {
            refuse_watch(reactor, fd, watch, rv);
            calls++;
        }
    }
    return calls;
}

/* Timers. */

int64_t reactor_now_ms(const struct reactor *reactor)
{
    return (reactor->in_tick ? reactor->now_ns : sys_now_ns()) / NS_PER_MS;
}

/* The instant at which the next tick must begin though no fd is ready: 0 for never. */
static int64_t next_deadline(const struct reactor *reactor)
{
    if (reactor->tasks.next != &reactor->tasks || reactor->queue_head != END_OF_QUEUE) {
        return 1; /* long past: now */
    }
    const struct timer_entry *first = timer_heap_first(&reactor->timers);
    return first == NULL ? 0 : first->deadline_ns;
}

/* Keep the timerfd at the next deadline (R8). A failure leaves it as it was; the next call tries again. */
static void arm_timer_fd(struct reactor *reactor)
{
    int64_t deadline_ns = next_deadline(reactor);
    if (reactor->timer_fd < 0 || reactor->in_tick || reactor->armed_ns == deadline_ns) {
        return;
    }
    if (sys_timerfd_set(reactor->timer_fd, deadline_ns) == 0) {
        reactor->armed_ns = deadline_ns;
    }
}

static uint64_t set_timer(struct reactor *reactor, uint32_t delay_ms, bool repeat, reactor_timer_fn fn, void *arg)
{
    int64_t now_ns = reactor->in_tick ? reactor->now_ns : sys_now_ns();
    int64_t delay_ns = (int64_t)delay_ms * NS_PER_MS;
    timer_id id = 0;
    if (timer_heap_set(&reactor->timers, now_ns + delay_ns, repeat ? delay_ns : 0, (timer_fn)fn, arg, &id) < 0) {
        return 0;
    }
    arm_timer_fd(reactor);
    return id;
}

uint64_t reactor_set_timeout(struct reactor *reactor, uint32_t delay_ms, reactor_timer_fn fn, void *arg)
{
    return set_timer(reactor, delay_ms, false, fn, arg);
}

uint64_t reactor_set_interval(struct reactor *reactor, uint32_t interval_ms, reactor_timer_fn fn, void *arg)
{
    return set_timer(reactor, interval_ms == 0 ? 1 : interval_ms, true, fn, arg);
}

int reactor_cancel_timer(struct reactor *reactor, uint64_t timer)
{
    if (!timer_heap_cancel(&reactor->timers, timer)) {
        return -ENOENT;
    }
    arm_timer_fd(reactor);
    return 0;
}

int64_t reactor_timer_due_ms(const struct reactor *reactor, uint64_t timer)
{
    const struct timer_entry *entry = timer_heap_find(&reactor->timers, timer);
    return entry == NULL ? -ENOENT : entry->deadline_ns / NS_PER_MS;
}

/* The next expiry of an interval after now, on the grid of the one that was due (R5). */
static int64_t next_expiry(int64_t due_ns, int64_t interval_ns, int64_t now_ns)
{
    return due_ns + ((now_ns - due_ns) / interval_ns + 1) * interval_ns;
}

/* Call the timers that are due. One that is set or moved meanwhile has a sequence of at least limit and waits for the
 * next tick, even when it is due already; none that was due before can be behind it in the heap. Those that a spell has no
 * time for are still the first of the heap in the next tick. */
static int run_timers(struct reactor *reactor)
{
    int calls = 0;
    uint64_t limit = reactor->timers.next_sequence;
    for (;;) {
        const struct timer_entry *first = timer_heap_first(&reactor->timers);
        if (first == NULL || first->deadline_ns > reactor->now_ns || first->sequence >= limit) {
            return calls;
        }
        if (calls > 0 && sys_now_ns() - reactor->now_ns >= SPELL_NS) {
            return calls;
        }
        timer_id id = timer_heap_id(&reactor->timers, first);
        struct timer timer = *timer_heap_timer(&reactor->timers, first);
        if (timer.interval_ns > 0) {
            timer_heap_move(&reactor->timers, id, next_expiry(first->deadline_ns, timer.interval_ns, reactor->now_ns));
        } else {
            timer_heap_cancel(&reactor->timers, id);
        }
        ((reactor_timer_fn)timer.fn)(reactor, id, timer.arg);
        reactor->counts.timers++;
        calls++;
    }
}

/* Tasks. */

void reactor_schedule(struct reactor *reactor, struct reactor_task *task)
{
    if (task->next != NULL) {
        return;
    }
    struct reactor_task *head = &reactor->tasks;
    task->next = head;
    task->prev = head->prev;
    head->prev->next = task;
    head->prev = task;
    arm_timer_fd(reactor);
}

static void take_task(struct reactor *reactor, struct reactor_task *task)
{
    if (task == reactor->last_task) {
        reactor->last_task = task->prev == &reactor->tasks ? NULL : task->prev;
    }
    task->prev->next = task->next;
    task->next->prev = task->prev;
    task->next = NULL;
}

void reactor_unschedule(struct reactor *reactor, struct reactor_task *task)
{
    if (task->next != NULL) {
        take_task(reactor, task);
        arm_timer_fd(reactor);
    }
}

/* Run the tasks that are scheduled now. Those that they schedule wait for the next tick (R4), and so do those that the
 * spell has no time for, ahead of the others. A single task reads no clock. */
static int run_tasks(struct reactor *reactor)
{
    struct reactor_task *head = &reactor->tasks;
    if (head->next == head) {
        return 0;
    }
    int calls = 0;
    int64_t end_ns = head->next != head->prev ? sys_now_ns() + SPELL_NS : 0;
    reactor->last_task = head->prev;
    do {
        struct reactor_task *task = head->next;
        take_task(reactor, task);
        calls++;
        task->fn(reactor, task); /* which may free it */
    } while (reactor->last_task != NULL && sys_now_ns() < end_ns);
    reactor->last_task = NULL;
    reactor->counts.tasks += (uint64_t)calls;
    return calls;
}

static void run_deferred(struct reactor *reactor, void *arg)
{
    struct deferred *deferred = arg;
    reactor_task_fn fn = deferred->fn;
    void *fn_arg = deferred->arg;
    deferred->arg = reactor->unused;
    reactor->unused = deferred;
    fn(reactor, fn_arg);
}

static int add_deferred_slab(struct reactor *reactor)
{
    uint32_t count = reactor->deferred_count == 0 ? FIRST_TASKS : reactor->deferred_count;
    if (count > TASKS_MAX - reactor->deferred_count) {
        return -ENOMEM;
    }
    struct deferred_slab *slab = mem_alloc(sizeof *slab + count * sizeof slab->tasks[0]);
    if (slab == NULL) {
        return -ENOMEM;
    }
    slab->next = reactor->slabs;
    reactor->slabs = slab;
    reactor->deferred_count += count;
    for (uint32_t i = count; i-- > 0;) {
        slab->tasks[i] = (struct deferred){.task.fn = run_deferred, .arg = reactor->unused};
        reactor->unused = &slab->tasks[i];
    }
    return 0;
}

int reactor_defer(struct reactor *reactor, reactor_task_fn fn, void *arg)
{
    if (reactor->unused == NULL) {
        int rv = add_deferred_slab(reactor);
        if (rv < 0) {
            return rv;
        }
    }
    struct deferred *deferred = reactor->unused;
    reactor->unused = deferred->arg;
    deferred->fn = fn;
    deferred->arg = arg;
    reactor_schedule(reactor, &deferred->task);
    return 0;
}

static void post(struct reactor *reactor, struct reactor_call *call)
{
    call->next = atomic_load_explicit(&reactor->posts, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&reactor->posts, &call->next, call, memory_order_release,
                                                  memory_order_relaxed)) {
    }
    sys_eventfd_wake(reactor->wake_fd);
}

int reactor_post(struct reactor *reactor, reactor_task_fn fn, void *arg)
{
    struct reactor_call *call = mem_alloc(sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    *call = (struct reactor_call){.fn = fn, .arg = arg, .is_allocated = true};
    post(reactor, call);
    return 0;
}

void reactor_post_call(struct reactor *reactor, struct reactor_call *call)
{
    call->is_allocated = false;
    post(reactor, call);
}

/* Take what other threads posted, oldest first. */
static struct reactor_call *take_posts(struct reactor *reactor)
{
    struct reactor_call *newest = atomic_exchange_explicit(&reactor->posts, NULL, memory_order_acquire);
    struct reactor_call *oldest = NULL;
    while (newest != NULL) {
        struct reactor_call *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* What the last tick had no time for comes before what was posted since. */
static int run_posts(struct reactor *reactor)
{
    if (reactor->taken == NULL && atomic_load_explicit(&reactor->posts, memory_order_relaxed) == NULL) {
        return 0;
    }
    int calls = 0;
    if (reactor->taken == NULL) {
        reactor->taken = take_posts(reactor);
    }
    int64_t end_ns = reactor->taken->next != NULL ? sys_now_ns() + SPELL_NS : 0;
    for (; reactor->taken != NULL && (calls == 0 || sys_now_ns() < end_ns); calls++) {
        struct reactor_call *first = reactor->taken;
        struct reactor_call call = *first;
        reactor->taken = call.next;
        if (call.is_allocated) {
            mem_free(first);
        }
        call.fn(reactor, call.arg); /* which may post first again, if it is the caller's */
    }
    if (reactor->taken != NULL) {
        sys_eventfd_wake(reactor->wake_fd); /* the next tick does not sleep for them */
    }
    reactor->counts.tasks += (uint64_t)calls;
    return calls;
}

/* The loop. */

/* How long a wait may last: until the next timer, not at all while tasks wait, and never longer than limit_ns. */
static int64_t wait_limit(const struct reactor *reactor, int64_t limit_ns)
{
    int64_t deadline_ns = next_deadline(reactor);
    if (deadline_ns == 0 || limit_ns == 0) {
        return limit_ns;
    }
    int64_t left_ns = deadline_ns - sys_now_ns();
    if (left_ns <= 0) {
        return 0;
    }
    return limit_ns < 0 || left_ns < limit_ns ? left_ns : limit_ns;
}

/* Wait for events. Returns their number, or -errno. */
static int wait_for_events(struct reactor *reactor, int64_t limit_ns)
{
    if (limit_ns <= 0 || !reactor->lacks_ns_waits) {
        int ready = sys_epoll_wait(reactor->epoll_fd, reactor->events, BATCH, limit_ns);
        if (limit_ns <= 0 || (ready != -ENOSYS && ready != -EPERM)) {
            return ready;
        }
        reactor->lacks_ns_waits = true;
    }
    int64_t ms = (limit_ns + NS_PER_MS - 1) / NS_PER_MS; /* rounded up: a timer never fires early (R5) */
    return sys_epoll_wait_ms(reactor->epoll_fd, reactor->events, BATCH, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static struct watch *watch_of_event(const struct reactor *reactor, int i)
{
    return find_watch(reactor, (int)(uint32_t)reactor->events[i].data.u64);
}

/* With many connections what an event is about has left the CPU's caches: ask for it while others are delivered. */
static void fetch_ahead(const struct reactor *reactor, int i, int ready)
{
    if (i + WATCH_AHEAD < ready) {
        __builtin_prefetch(watch_of_event(reactor, i + WATCH_AHEAD));
    }
    if (i + ARG_AHEAD < ready) {
        const struct watch *watch = watch_of_event(reactor, i + ARG_AHEAD);
        if (watch != NULL && watch->arg != NULL) {
            __builtin_prefetch(watch->arg);
            __builtin_prefetch((const char *)watch->arg + CACHE_LINE);
        }
    }
}

/* One tick (R3). Returns the number of callbacks, or -errno of the wait. */
static int run_tick(struct reactor *reactor, int64_t limit_ns)
{
    int ready = wait_for_events(reactor, wait_limit(reactor, limit_ns));
    if (ready < 0 && ready != -EINTR) {
        return ready;
    }
    reactor->now_ns = sys_now_ns();
    reactor->in_tick = true;
    reactor->counts.ticks++;

    int calls = run_timers(reactor);
    for (int i = 0; i < ready; i++) {
        fetch_ahead(reactor, i, ready);
        calls += deliver(reactor, &reactor->events[i]);
    }
    calls += apply_queued(reactor);
    calls += run_tasks(reactor);
    calls += run_posts(reactor);
    calls += apply_queued(reactor); /* tasks close and open connections too */

    reactor->in_tick = false;
    arm_timer_fd(reactor);
    return calls;
}

int reactor_run_once(struct reactor *reactor, int timeout_ms)
{
    return run_tick(reactor, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * NS_PER_MS);
}

int reactor_run(struct reactor *reactor)
{
    while (!atomic_exchange(&reactor->stop, false)) {
        int rv = run_tick(reactor, -1);
        if (rv < 0) {
            return rv;
        }
    }
    return 0;
}

void reactor_stop(struct reactor *reactor)
{
    atomic_store(&reactor->stop, true);
    sys_eventfd_wake(reactor->wake_fd);
}

int reactor_fd(struct reactor *reactor)
{
    if (reactor->timer_fd < 0) {
        int fd = sys_timerfd_create();
        if (fd < 0) {
            return fd;
        }
        int rv = sys_epoll_add(reactor->epoll_fd, fd, EPOLLIN | (uint32_t)EPOLLET, (uint32_t)fd);
        if (rv < 0) {
            sys_close(fd);
            return rv;
        }
        reactor->timer_fd = fd;
        arm_timer_fd(reactor);
    }
    return reactor->epoll_fd;
}

struct reactor_counts reactor_counts(const struct reactor *reactor)
{
    return reactor->counts;
}

int reactor_create(struct reactor **reactor, const struct log *log)
{
    struct reactor *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return -ENOMEM;
    }
    r->log = log;
    r->timer_fd = -1;
    r->queue_head = r->queue_tail = END_OF_QUEUE;
    r->tasks.next = r->tasks.prev = &r->tasks;
    timer_heap_init(&r->timers);
    r->epoll_fd = sys_epoll_create();
    r->wake_fd = r->epoll_fd < 0 ? r->epoll_fd : sys_eventfd_create();
    int rv = r->wake_fd;
    if (rv >= 0) {
        rv = sys_epoll_add(r->epoll_fd, r->wake_fd, EPOLLIN | (uint32_t)EPOLLET, (uint32_t)r->wake_fd);
    }
    if (rv < 0) {
        reactor_destroy(r);
        return rv;
    }
    *reactor = r;
    return 0;
}

static void close_own(int *fd)
{
    if (*fd >= 0) {
        sys_close(*fd);
        *fd = -1;
    }
}

void reactor_abandon(struct reactor *reactor)
{
    close_own(&reactor->timer_fd);
    close_own(&reactor->wake_fd);
    close_own(&reactor->epoll_fd);
}

static void free_slabs(struct deferred_slab *slab)
{
    while (slab != NULL) {
        struct deferred_slab *next = slab->next;
        mem_free(slab);
        slab = next;
    }
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

void reactor_destroy(struct reactor *reactor)
{
    if (reactor == NULL) {
        return;
    }
    reactor_abandon(reactor);
    free_posts(reactor->taken);
    free_posts(take_posts(reactor));
    for (uint32_t i = 0; i < reactor->chunk_count; i++) {
        mem_free(reactor->chunks[i]);
    }
    mem_free(reactor->chunks);
    free_slabs(reactor->slabs);
    timer_heap_done(&reactor->timers);
    mem_free(reactor);
}
