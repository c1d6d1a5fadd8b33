/* The dispatch loop over epoll(7). The contracts R1 to R8 are in core/README.md.
 *
 * Happy path: run_tick() waits, then calls expired timers, ready fds, queued registrations, tasks and posts, in this
 * order. An ordinary tick has one or a few ready fds and nothing else, so run_tick() and deliver() look whether there
 * is more to do and leave it to functions of its own. Each fd has a watch (watches.h). The kernel carries the watch's
 * fd and generation with each event; an event whose generation is not the watch's is dropped.
 *
 * Failure modes: a wait that fails ends the run with -errno; a registration that the kernel refuses after the callback
 * that asked for it returned is reported to its callback as REACTOR_ERROR; running out of memory is reported to the
 * caller of the function that needed it, and changes nothing. */

#include "core/reactor.h"

#include "core/epoll_events.h"
#include "core/epoll_wait_for.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tasks.h"
#include "core/tick_clock.h"
#include "core/timer_heap.h"
#include "core/timers.h"
#include "core/units.h"
#include "core/watches.h"

#include <errno.h>
#include <stdatomic.h>

enum {
    BATCH = 512,      /* events fetched by one wait (R6): bounds a tick, and lets timers in between */
    OWN_WAKE_FD = -1, /* in place of the fd, in the kernel's data about wake_fd: no fd is negative */
    OWN_TIMER_FD = -2,
};

/* What most ticks have no work for: kept out of the code that each tick runs. */
#define SELDOM __attribute__((noinline))

struct reactor {
    const struct log *log;            /* borrowed; may be NULL */
    int epoll_fd;                     /* what the loop sleeps on */
    int wake_fd;                      /* eventfd of reactor_stop() and reactor_post() */
    int timer_fd;                     /* timerfd of reactor_fd(), -1 until that is asked for */
    int error;                        /* of the event being delivered, -errno or 0 */
    int64_t now_ns;                   /* clock of this tick */
    int64_t waits_ns;                 /* when the wait for it began, 0 without a look at the clock */
    struct tick_clock clock;          /* of those who want to know how long ticks take */
    int64_t armed_ns;                 /* what timer_fd is set to, 0 when disarmed */
    bool in_tick;                     /* changes are queued, the clock stands still */
    bool lacks_ns_waits;              /* the kernel, or a filter of system calls, does not know epoll_pwait2(2) */
    atomic_bool stop;                 /* asked for and not yet honoured */
    struct watches watches;           /* the fds */
    struct timer_heap timers;         /* what is due when */
    struct tasks tasks;               /* what runs at the end of a tick */
    struct posts posts;               /* what other threads want to be run */
    struct reactor_counts counts;     /* except tasks, which the tasks and the posts count */
    struct epoll_event events[BATCH]; /* of this tick */
};

/* Watches. */

int reactor_register(struct reactor *reactor, int fd, unsigned flags, reactor_event_fn fn, void *arg)
{
    struct watch *watch = fd < 0 ? NULL : watches_make(&reactor->watches, fd);
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
        watches_queue(&reactor->watches, fd, watch);
        return 0;
    }
    int rv = watches_apply(&reactor->watches, fd, watch, epoll_events(watch->flags));
    if (rv < 0) {
        *watch = before;
    }
    return rv;
}

int reactor_deregister(struct reactor *reactor, int fd)
{
    struct watch *watch = watches_find(&reactor->watches, fd);
    if (watch == NULL || watch->fn == NULL) {
        return -ENOENT;
    }
    watches_forget(&reactor->watches, fd, watch);
    return 0;
}

bool reactor_is_registered(const struct reactor *reactor, int fd, reactor_event_fn fn, const void *arg)
{
    const struct watch *watch = watches_find(&reactor->watches, fd);
    return watch != NULL && watch->fn != NULL && (fn == NULL || (watch->fn == fn && watch->arg == arg));
}

void reactor_close(struct reactor *reactor, int fd)
{
    struct watch *watch = watches_find(&reactor->watches, fd);
    if (watch != NULL) {
        watches_drop(watch);
    }
    sys_close(fd);
}

int reactor_error(const struct reactor *reactor)
{
    return reactor->error;
}

/* An event that belongs to no watch: it is our own, or its registration is gone. */
SELDOM static void drop_event(struct reactor *reactor, int fd)
{
    if (fd == OWN_WAKE_FD || fd == OWN_TIMER_FD) { /* edge-triggered: they need no reading */
        if (fd == OWN_TIMER_FD) {
            reactor->armed_ns = 0; /* it has fired: the same deadline, too, must be set again (R8) */
        }
        return;
    }
    reactor->counts.stale_events++;
    struct watch *watch = watches_find(&reactor->watches, fd);
    if (watch != NULL && watch->fn == NULL) {
        watches_forget(&reactor->watches, fd, watch); /* once more, if the kernel refused it: else it comes forever */
    }
}

/* The flags that a callback gets for the kernel's events, 0 for none. */
SELDOM static unsigned flags_of_events(struct reactor *reactor, int fd, struct watch *watch, uint32_t events)
{
    unsigned flags = (events & (uint32_t)EPOLLIN ? REACTOR_READABLE : 0U) |
                     (events & (uint32_t)EPOLLOUT ? REACTOR_WRITABLE : 0U) |
                     (events & (uint32_t)EPOLLRDHUP ? REACTOR_END : 0U);
    if ((flags & ~(unsigned)(watch->flags | REACTOR_END)) && (watch->kernel_flags & REACTOR_EDGE)) {
        watch->kernel_flags = WATCH_FLAGS_UNKNOWN; /* an edge is reported once: have the kernel look again when asked */
    }
    flags &= watch->flags; /* an earlier callback of this batch may have changed what is wanted */
    if ((flags & REACTOR_READABLE) && (watch->flags & REACTOR_EDGE) && (events & MORE_EVENTS)) {
        flags |= REACTOR_MORE;
    }
    if (events & (uint32_t)EPOLLERR) {
        int error = sys_get_option(fd, SOL_SOCKET, SO_ERROR);
        reactor->error = error > 0 ? -error : 0;
        flags |= REACTOR_ERROR;
    }
    if ((events & (uint32_t)EPOLLHUP) && !(flags & REACTOR_READABLE)) {
        flags |= REACTOR_HANGUP; /* not while there is something to read: data comes first */
    }
    return flags;
}

/* Call a watch with one event, unless the event is stale (R1). Returns how many were called. */
static int deliver(struct reactor *reactor, const struct epoll_event *event)
{
    int fd = (int)(uint32_t)event->data.u64;
    struct watch *watch = watches_find(&reactor->watches, fd);
    if (watch == NULL || watch->fn == NULL || watch->generation != (uint32_t)(event->data.u64 >> 32)) {
        drop_event(reactor, fd);
        return 0;
    }
    bool is_plain = event->events == (uint32_t)EPOLLIN && (watch->flags & REACTOR_READABLE) != 0;
    unsigned flags = is_plain ? REACTOR_READABLE : flags_of_events(reactor, fd, watch, event->events);
    if (flags == 0) {
        return 0;
    }
    watch->fn(reactor, fd, flags, watch->arg);
    reactor->error = 0;
    return 1;
}

/* The kernel refused what a callback asked for: end the registration, and report that to its callback. */
static void refuse_watch(struct reactor *reactor, int fd, struct watch *watch, int error)
{
    log_write(reactor->log, LOG_ERROR, "cannot watch fd %d: %s", fd, errno_text(-error));
    reactor_event_fn fn = watch->fn;
    void *arg = watch->arg;
    watches_forget(&reactor->watches, fd, watch);
    reactor->error = error;
    fn(reactor, fd, REACTOR_ERROR, arg);
    reactor->error = 0;
    reactor->counts.events++;
}

/* Apply the changes queued until now (R2). One that is refused may queue another one: that waits for the next call, so
 * a callback that insists cannot hold the loop. Returns how many were refused. */
SELDOM static int apply_queued(struct reactor *reactor)
{
    int calls = 0;
    int last = reactor->watches.queue_tail;
    for (int fd = WATCH_END_OF_QUEUE; fd != last;) {
        fd = watches_take_queued(&reactor->watches);
        struct watch *watch = watches_find(&reactor->watches, fd);
        if (watch->fn == NULL) {
            continue; /* registered and deregistered meanwhile */
        }
        int rv = watches_apply(&reactor->watches, fd, watch, epoll_events(watch->flags));
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

/* Whether the next tick has something to do that no fd and no timer announces. */
static bool has_work(const struct reactor *reactor)
{
    return tasks_are_waiting(&reactor->tasks) || watches_are_queued(&reactor->watches);
}

/* Set the timerfd to the instant at which the next tick must begin though no fd is ready: 0 for never. A failure leaves
 * it as it was; the next call tries again. */
SELDOM static void set_timer_fd(struct reactor *reactor)
{
    const struct timer_entry *first = timer_heap_first(&reactor->timers);
    int64_t deadline_ns = first == NULL ? 0 : first->deadline_ns;
    if (has_work(reactor)) {
        deadline_ns = 1; /* long past: now */
    }
    if (reactor->armed_ns != deadline_ns && sys_timerfd_set(reactor->timer_fd, deadline_ns) == 0) {
        reactor->armed_ns = deadline_ns;
    }
}

/* Keep the timerfd at the next deadline, if there is one, outside of a tick (R8). */
static void arm_timer_fd(struct reactor *reactor)
{
    if (reactor->timer_fd >= 0 && !reactor->in_tick) {
        set_timer_fd(reactor);
    }
}

static uint64_t set_timer(struct reactor *reactor, uint32_t delay_ms, bool repeat, reactor_timer_fn fn, void *arg)
{
    int64_t now_ns = reactor->in_tick ? reactor->now_ns : sys_now_ns();
    int64_t delay_ns = (int64_t)delay_ms * NS_PER_MS;
    timer_id id = 0;
    if (timer_heap_set(&reactor->timers, now_ns + delay_ns, repeat ? delay_ns : 0, fn, arg, &id) < 0) {
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

int64_t reactor_next_due_ms(const struct reactor *reactor)
{
    const struct timer_entry *first = timer_heap_first(&reactor->timers);
    return first == NULL ? -ENOENT : (first->deadline_ns + NS_PER_MS - 1) / NS_PER_MS;
}

/* Tasks. */

void reactor_schedule(struct reactor *reactor, struct reactor_task *task)
{
    tasks_add(&reactor->tasks, task);
    arm_timer_fd(reactor);
}

void reactor_unschedule(struct reactor *reactor, struct reactor_task *task)
{
    tasks_remove(&reactor->tasks, task);
    arm_timer_fd(reactor);
}

int reactor_defer(struct reactor *reactor, reactor_task_fn fn, void *arg)
{
    int rv = tasks_defer(&reactor->tasks, fn, arg);
    arm_timer_fd(reactor);
    return rv;
}

int reactor_post(struct reactor *reactor, reactor_task_fn fn, void *arg)
{
    int rv = posts_add_new(&reactor->posts, fn, arg);
    if (rv == 0) {
        sys_eventfd_wake(reactor->wake_fd);
    }
    return rv;
}

void reactor_post_call(struct reactor *reactor, struct reactor_call *call)
{
    call->is_allocated = false;
    posts_add(&reactor->posts, call);
    sys_eventfd_wake(reactor->wake_fd);
}

/* The loop. */

SELDOM static int run_posts(struct reactor *reactor)
{
    int calls = posts_run(&reactor->posts, reactor);
    if (posts_are_left(&reactor->posts)) {
        sys_eventfd_wake(reactor->wake_fd); /* the next tick does not sleep for them */
    }
    return calls;
}

/* How long a wait may last: until the next timer, not at all while tasks wait, and never longer than limit_ns. */
static int64_t wait_limit(struct reactor *reactor, int64_t limit_ns)
{
    reactor->waits_ns = 0;
    if (limit_ns == 0 || has_work(reactor)) {
        return 0;
    }
    const struct timer_entry *first = timer_heap_first(&reactor->timers);
    if (first == NULL) {
        reactor->waits_ns = stalls_are_watched(&reactor->clock.stalls) ? sys_now_ns() : 0;
        return limit_ns;
    }
    reactor->waits_ns = sys_now_ns();
    int64_t left_ns = first->deadline_ns - reactor->waits_ns;
    if (left_ns <= 0) {
        return 0;
    }
    return limit_ns < 0 || left_ns < limit_ns ? left_ns : limit_ns;
}

/* One tick (R3). Returns the number of callbacks, or -errno of the wait. */
static int run_tick(struct reactor *reactor, int64_t limit_ns)
{
    int64_t wait_ns = wait_limit(reactor, limit_ns);
    stalls_look(&reactor->clock.stalls, reactor->now_ns, reactor->waits_ns);
    int ready = epoll_wait_for(reactor->epoll_fd, reactor->events, BATCH, wait_ns, &reactor->lacks_ns_waits);
    if (ready < 0 && ready != -EINTR) {
        return ready;
    }
    int64_t now_ns = sys_now_ns();
    if (reactor->waits_ns == 0) { /* it did not wait */
        stalls_look(&reactor->clock.stalls, reactor->now_ns, now_ns);
    }
    reactor->now_ns = now_ns;
    reactor->in_tick = true;
    reactor->counts.ticks++;
    if (reactor->clock.is_on) {
        tick_clock_turn(&reactor->clock, reactor->waits_ns, reactor->now_ns);
    }

    int timers = 0;
    if (timers_are_due(&reactor->timers, reactor->now_ns)) {
        timers = timers_run(&reactor->timers, reactor, reactor->now_ns);
        reactor->counts.timers += (uint64_t)timers;
    }
    int calls = 0;
    for (int i = 0; i < ready; i++) {
        watches_fetch_ahead(&reactor->watches, reactor->events, i, ready);
        calls += deliver(reactor, &reactor->events[i]);
    }
    reactor->counts.events += (uint64_t)calls;
    calls += watches_are_queued(&reactor->watches) ? apply_queued(reactor) : 0;
    calls += tasks_are_waiting(&reactor->tasks) ? tasks_run(&reactor->tasks, reactor) : 0;
    calls += posts_are_waiting(&reactor->posts) ? run_posts(reactor) : 0;
    calls += watches_are_queued(&reactor->watches) ? apply_queued(reactor) : 0; /* tasks open connections, too */

    reactor->in_tick = false;
    arm_timer_fd(reactor);
    return timers + calls;
}

int reactor_run_once(struct reactor *reactor, int timeout_ms)
{
    stalls_enter(&reactor->clock.stalls);
    int rv = run_tick(reactor, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * NS_PER_MS);
    reactor->clock.left_ns = reactor->clock.is_on || stalls_are_watched(&reactor->clock.stalls) ? sys_now_ns() : 0;
    reactor->clock.is_asked = true;
    stalls_look(&reactor->clock.stalls, reactor->now_ns, reactor->clock.left_ns);
    return rv;
}

struct tick_clock *reactor_clock(struct reactor *reactor)
{
    return &reactor->clock;
}

int reactor_run(struct reactor *reactor)
{
    stalls_enter(&reactor->clock.stalls);
    while (!atomic_load(&reactor->stop) || !atomic_exchange(&reactor->stop, false)) {
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
        int rv = sys_epoll_add(reactor->epoll_fd, fd, EPOLLIN | (uint32_t)EPOLLET, (uint32_t)OWN_TIMER_FD);
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
    struct reactor_counts counts = reactor->counts;
    counts.tasks = reactor->tasks.run_count + reactor->posts.run_count;
    return counts;
}

int reactor_create(struct reactor **reactor, const struct log *log)
{
    struct reactor *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return -ENOMEM;
    }
    r->log = log;
    r->timer_fd = -1;
    stalls_init(&r->clock.stalls, log, &r->now_ns, &r->counts.ticks);
    timer_heap_init(&r->timers);
    tasks_init(&r->tasks);
    r->epoll_fd = sys_epoll_create();
    watches_init(&r->watches, r->epoll_fd);
    r->wake_fd = r->epoll_fd < 0 ? r->epoll_fd : sys_eventfd_create();
    int rv = r->wake_fd;
    if (rv >= 0) {
        rv = sys_epoll_add(r->epoll_fd, r->wake_fd, EPOLLIN | (uint32_t)EPOLLET, (uint32_t)OWN_WAKE_FD);
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

void reactor_destroy(struct reactor *reactor)
{
    if (reactor == NULL) {
        return;
    }
    reactor_abandon(reactor);
    posts_done(&reactor->posts);
    tasks_done(&reactor->tasks);
    watches_done(&reactor->watches);
    timer_heap_done(&reactor->timers);
    mem_free(reactor);
}
