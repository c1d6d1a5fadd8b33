/* Micro-benchmarks of core/: prints figures beside the goals of the design. README.md says what each one means.
 *
 * Everything runs on the real kernel; only core/mem.h is replaced (below), to count allocations. */

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/timer_heap.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ROUNDS = 7,             /* of a measurement; the best one counts, the others were disturbed */
    BATCH_FDS = 256,        /* fds ready at once */
    TICKS = 2000,           /* ticks of a round */
    INSERTS = 20000,        /* timers inserted in a round */
    ECHO_MS = 1000,         /* of one echo measurement */
    JITTER_EXPIRIES = 2000, /* of a timer of one millisecond */
    NS_PER_MS = 1000000,
};

/* The counting allocator. */

static atomic_ulong allocations;

void *mem_alloc(size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return malloc(size);
}

void *mem_zalloc(size_t size)
{
    void *block = mem_alloc(size);
    return block == NULL ? NULL : memset(block, 0, size);
}

void *mem_resize(void *block, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return realloc(block, size);
}

char *mem_copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void mem_free(void *block)
{
    free(block);
}

/* Helpers. */

static int must(int rv, const char *what)
{
    if (rv < 0) {
        fprintf(stderr, "bench_core: %s: %s\n", what, strerror(-rv));
        exit(1);
    }
    return rv;
}

static void print_figure(const char *name, double value, const char *unit, const char *goal)
{
    printf("%-52s %12.1f %-14s %s\n", name, value, unit, goal);
    fflush(stdout);
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static struct reactor *new_reactor(void)
{
    struct reactor *reactor = NULL;
    must(reactor_create(&reactor, NULL), "reactor_create");
    return reactor;
}

/* Dispatch. */

/* Notes the time of the first and of the last callback of a tick. */
struct batch {
    int called;                /* in this tick */
    int expected;              /* fds that are ready */
    int64_t first_ns, last_ns; /* times of these callbacks */
};

static void on_batch(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    (void)events;
    struct batch *batch = arg;
    if (batch->called == 0) {
        batch->first_ns = sys_now_ns();
    }
    if (++batch->called == batch->expected) {
        batch->last_ns = sys_now_ns();
    }
}

/* A reactor with count fds that are always ready. */
static struct reactor *reactor_with_ready_fds(int *fds, struct batch *batch)
{
    struct reactor *reactor = new_reactor();
    for (int i = 0; i < batch->expected; i++) {
        fds[i] = must(sys_eventfd_create(), "eventfd");
        must(sys_eventfd_wake(fds[i]), "eventfd");
        must(reactor_register(reactor, fds[i], REACTOR_READABLE, on_batch, batch), "register");
    }
    return reactor;
}

static void close_ready_fds(struct reactor *reactor, const int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        reactor_close(reactor, fds[i]);
    }
    reactor_destroy(reactor);
}

/* From one callback to the next within a batch: what the loop adds to each event. */
static void bench_dispatch_in_a_batch(void)
{
    int fds[BATCH_FDS];
    struct batch batch = {.expected = BATCH_FDS};
    struct reactor *reactor = reactor_with_ready_fds(fds, &batch);
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t sum = 0;
        for (int i = 0; i < TICKS; i++) {
            batch.called = 0;
            must(reactor_run_once(reactor, 0), "run");
            sum += batch.last_ns - batch.first_ns;
        }
        best = smaller(best, (double)sum / TICKS / (BATCH_FDS - 1));
    }
    print_figure("dispatch, an event of a batch of 256", best, "ns/event", "goal < 50");
    close_ready_fds(reactor, fds, BATCH_FDS);
}

static double raw_wait_ns(int fd)
{
    int epoll = must(sys_epoll_create(), "epoll");
    must(sys_epoll_add(epoll, fd, EPOLLIN, 1), "epoll");
    struct epoll_event events[512];
    int64_t start = sys_now_ns();
    for (int i = 0; i < TICKS; i++) {
        must(sys_epoll_wait(epoll, events, 512, 0), "epoll");
    }
    double ns = (double)(sys_now_ns() - start) / TICKS;
    sys_close(epoll);
    return ns;
}

static void on_lone(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    (void)events;
    ++*(uint64_t *)arg;
}

/* A whole tick with one event, less the bare system call: clock, timers, dispatch, queues. */
static void bench_dispatch_of_one_event(void)
{
    struct reactor *reactor = new_reactor();
    uint64_t calls = 0;
    int fd = must(sys_eventfd_create(), "eventfd");
    must(sys_eventfd_wake(fd), "eventfd");
    must(reactor_register(reactor, fd, REACTOR_READABLE, on_lone, &calls), "register");
    double best = 1e9;
    double best_wait = 1e9;
    double clock = 1e9;
    for (int round = 0; round < 20 * ROUNDS; round++) {
        int64_t start = sys_now_ns();
        for (int i = 0; i < TICKS; i++) {
            must(reactor_run_once(reactor, 0), "run");
        }
        best = smaller(best, (double)(sys_now_ns() - start) / (TICKS));
        best_wait = smaller(best_wait, raw_wait_ns(fd));
        start = sys_now_ns();
        for (int i = 0; i < TICKS; i++) {
            sys_now_ns();
        }
        clock = smaller(clock, (double)(sys_now_ns() - start) / (TICKS));
    }
    print_figure("  a tick with one event, less epoll_wait itself", best - best_wait, "ns/tick", "clock included");
    print_figure("  reading the clock", clock, "ns", "once a tick");
    print_figure("  epoll_wait with one event ready", best_wait, "ns", "for comparison");
    reactor_close(reactor, fd);
    reactor_destroy(reactor);
}

/* Timers. */

static void on_never(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    (void)arg;
}

/* Insert and cancel INSERTS timers among count others: with deadlines anywhere among theirs, or each before all that
 * are there, which is the longest way through the heap. */
static void bench_timers_among(int count, bool worst)
{
    struct reactor *reactor = new_reactor();
    uint64_t seed = 88172645463325252;
    uint64_t *ids = malloc(INSERTS * sizeof *ids);
    uint32_t *delays = malloc(INSERTS * sizeof *delays);
    double best_insert = 1e9;
    double best_cancel = 1e9;
    for (int i = 0; i < count; i++) {
        reactor_set_timeout(reactor, 1000000 + (uint32_t)(next_random(&seed) % 1000000), on_never, NULL);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < INSERTS; i++) {
            delays[i] = worst ? 900000 - (uint32_t)(i * 10) : 1000000 + (uint32_t)(next_random(&seed) % 1000000);
        }
        int64_t start = sys_now_ns();
        for (int i = 0; i < INSERTS; i++) {
            ids[i] = reactor_set_timeout(reactor, delays[i], on_never, NULL);
        }
        int64_t middle = sys_now_ns();
        for (int i = INSERTS - 1; i >= 0; i--) {
            reactor_cancel_timer(reactor, ids[i]);
        }
        best_insert = smaller(best_insert, (double)(middle - start) / INSERTS);
        best_cancel = smaller(best_cancel, (double)(sys_now_ns() - middle) / INSERTS);
    }
    char name[64];
    snprintf(name, sizeof name, "timer insert among %d, %s", count, worst ? "worst case" : "random deadlines");
    print_figure(name, best_insert, "ns", count <= 100000 ? "goal < 1000" : "");
    print_figure("  and cancel", best_cancel, "ns", "");
    free(ids);
    free(delays);
    reactor_destroy(reactor);
}

static void bench_timers(void)
{
    static const int counts[] = {10000, 100000, 1000000};
    for (int i = 0; i < 3; i++) {
        bench_timers_among(counts[i], false);
        bench_timers_among(counts[i], true);
    }
    print_figure("memory of a heap entry", sizeof(struct timer_entry), "bytes", "goal <= 24");
    print_figure("  and of its slot (callback, argument, interval)", sizeof(struct timer), "bytes", "");
}

/* How late the callbacks of a one-millisecond interval are. */
struct jitter {
    int64_t start_ns;                 /* when it was set */
    int64_t due_ns;                   /* when the next callback is due */
    int count;                        /* callbacks so far */
    int64_t late_ns[JITTER_EXPIRIES]; /* by how much each one came late */
};

static void on_jitter(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct jitter *jitter = arg;
    int64_t now_ns = sys_now_ns();
    jitter->late_ns[jitter->count++] = now_ns - jitter->due_ns;
    /* Expiries lie on a grid of whole milliseconds; those that a late callback missed are skipped (R5). */
    jitter->due_ns = jitter->start_ns + ((now_ns - jitter->start_ns) / NS_PER_MS + 1) * NS_PER_MS;
    if (jitter->count == JITTER_EXPIRIES) {
        reactor_cancel_timer(reactor, timer);
        reactor_stop(reactor);
    }
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The lateness that so many of a thousand callbacks did not exceed, in microseconds. */
static double percentile_us(const struct jitter *jitter, int of_thousand)
{
    int index = JITTER_EXPIRIES * of_thousand / 1000;
    int64_t late_ns = jitter->late_ns[index < JITTER_EXPIRIES ? index : JITTER_EXPIRIES - 1];
    return (double)late_ns / 1000;
}

static void bench_jitter(void)
{
    static struct jitter jitter;
    struct reactor *reactor = new_reactor();
    jitter.start_ns = sys_now_ns();
    jitter.due_ns = jitter.start_ns + NS_PER_MS;
    reactor_set_interval(reactor, 1, on_jitter, &jitter);
    must(reactor_run(reactor), "run");
    qsort(jitter.late_ns, JITTER_EXPIRIES, sizeof jitter.late_ns[0], compare_ns);
    print_figure("timer jitter of 1 ms intervals, median", percentile_us(&jitter, 500), "us", "");
    print_figure("  99 %", percentile_us(&jitter, 990), "us", "goal < 1000");
    print_figure("  99.9 %", percentile_us(&jitter, 999), "us", "");
    print_figure("  worst", percentile_us(&jitter, 1000), "us", "goal < 1000, idle");
    reactor_destroy(reactor);
}

/* Echo. */

enum { MESSAGE = 64 }; /* bytes of a round trip */

/* What one thread does: answers, or asks and counts. */
struct party {
    struct reactor *reactor;
    uint64_t round_trips; /* counted by the side that asks */
    char data[MESSAGE];
};

static void on_question(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)events;
    struct party *party = arg;
    ssize_t len = sys_recv(fd, party->data, sizeof party->data);
    if (len > 0) {
        sys_send(fd, party->data, (size_t)len, false);
    }
}

static void on_answer(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)events;
    struct party *party = arg;
    if (sys_recv(fd, party->data, sizeof party->data) == MESSAGE) {
        party->round_trips++;
        sys_send(fd, party->data, MESSAGE, false);
    }
}

static void on_time_up(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    (void)arg;
    reactor_stop(reactor);
}

static void make_connection(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = must(sys_socket(AF_INET), "socket");
    must(sys_bind(listener, (struct sockaddr *)&in, len), "bind");
    must(sys_listen(listener, 1), "listen");
    must(sys_socket_name(listener, (struct sockaddr *)&in, &len), "getsockname");
    fds[0] = must(sys_socket(AF_INET), "socket");
    int rv = sys_connect(fds[0], (struct sockaddr *)&in, len);
    must(rv == -EINPROGRESS ? 0 : rv, "connect");
    do {
        fds[1] = sys_accept(listener, NULL, NULL);
    } while (fds[1] == -EAGAIN);
    must(fds[1], "accept");
    sys_close(listener);
    for (int i = 0; i < 2; i++) {
        must(sys_set_option(fds[i], IPPROTO_TCP, TCP_NODELAY, 1), "TCP_NODELAY");
    }
}

static void *run_party(void *arg)
{
    const struct party *party = arg;
    must(reactor_run(party->reactor), "run");
    return NULL;
}

/* The floor: the same system calls from a bare loop over epoll, both sides in one thread. Round trips a second. */
static double bare_echo(int count)
{
    int fds[256][2];
    int epoll = must(sys_epoll_create(), "epoll");
    char data[MESSAGE] = "";
    for (int i = 0; i < count; i++) {
        make_connection(fds[i]);
        for (int side = 0; side < 2; side++) {
            must(sys_epoll_add(epoll, fds[i][side], EPOLLIN, (uint64_t)side << 32 | (uint32_t)fds[i][side]), "epoll");
        }
        must((int)sys_send(fds[i][1], data, MESSAGE, false), "send");
    }
    uint64_t round_trips = 0;
    int64_t start = sys_now_ns();
    int64_t now = start;
    for (; now - start < (int64_t)ECHO_MS * NS_PER_MS; now = sys_now_ns()) {
        struct epoll_event events[512];
        int ready = must(sys_epoll_wait(epoll, events, 512, -1), "epoll");
        for (int i = 0; i < ready; i++) {
            int fd = (int)(uint32_t)events[i].data.u64;
            if (sys_recv(fd, data, MESSAGE) == MESSAGE) {
                round_trips += events[i].data.u64 >> 32;
                sys_send(fd, data, MESSAGE, false);
            }
        }
    }
    for (int i = 0; i < count; i++) {
        sys_close(fds[i][0]);
        sys_close(fds[i][1]);
    }
    sys_close(epoll);
    return (double)round_trips * 1e9 / (double)(now - start);
}

/* count connections; both sides in one reactor, or each in a thread of its own. */
static void bench_echo(int count, bool threads, const char *goal)
{
    struct party answers = {.reactor = new_reactor()};
    struct party asks = {.reactor = threads ? new_reactor() : answers.reactor};
    int fds[256][2];
    for (int i = 0; i < count; i++) {
        make_connection(fds[i]);
        must(reactor_register(answers.reactor, fds[i][0], REACTOR_READABLE, on_question, &answers), "register");
        must(reactor_register(asks.reactor, fds[i][1], REACTOR_READABLE, on_answer, &asks), "register");
        must((int)sys_send(fds[i][1], asks.data, MESSAGE, false), "send");
    }
    pthread_t thread;
    if (threads && pthread_create(&thread, NULL, run_party, &answers) != 0) {
        must(-EAGAIN, "thread");
    }
    reactor_set_timeout(asks.reactor, ECHO_MS / 5, on_time_up, NULL); /* warm up */
    must(reactor_run(asks.reactor), "run");

    uint64_t round_trips = asks.round_trips;
    uint64_t ticks = reactor_counts(asks.reactor).ticks;
    unsigned long before = atomic_load(&allocations);
    int64_t start = sys_now_ns();
    reactor_set_timeout(asks.reactor, ECHO_MS, on_time_up, NULL);
    must(reactor_run(asks.reactor), "run");
    double seconds = (double)(sys_now_ns() - start) / 1e9;
    unsigned long allocated = atomic_load(&allocations) - before;
    round_trips = asks.round_trips - round_trips;
    ticks = reactor_counts(asks.reactor).ticks - ticks;

    if (threads) {
        reactor_stop(answers.reactor);
        pthread_join(thread, NULL);
    }
    char name[64];
    snprintf(name, sizeof name, "echo, %d TCP connection%s, %s", count, count == 1 ? "" : "s",
             threads ? "two threads" : "one thread");
    print_figure(name, (double)round_trips / seconds, "round trips/s", goal);
    if (!threads) {
        double floor = bare_echo(count);
        print_figure("  the same on bare epoll", floor, "round trips/s", "");
        print_figure("  the reactor's share of that", (double)round_trips / seconds / floor * 100, "%", "");
    }
    print_figure("  round trips for each wait", (double)round_trips / (double)ticks, "", "");
    print_figure("  allocations meanwhile", (double)allocated, "", "goal 0");
    for (int i = 0; i < count; i++) {
        reactor_close(answers.reactor, fds[i][0]);
        reactor_close(asks.reactor, fds[i][1]);
    }
    reactor_destroy(answers.reactor);
    if (threads) {
        reactor_destroy(asks.reactor);
    }
}

/* Allocations. */

struct churn {
    uint64_t timer; /* set anew each tick */
    int fd;         /* registered for this and that */
    unsigned flags; /* of the registration */
};

static void on_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    (void)arg;
}

static void on_churn(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)events;
    struct churn *churn = arg;
    churn->flags ^= REACTOR_WRITABLE;
    must(reactor_register(reactor, fd, churn->flags, on_churn, churn), "register");
    reactor_cancel_timer(reactor, churn->timer);
    churn->timer = reactor_set_timeout(reactor, 1000, on_never, NULL);
    must(reactor_defer(reactor, on_task, NULL), "defer");
}

/* What a busy server does with its reactor all the time: change registrations, set and cancel timers, defer tasks. */
static void bench_allocations(void)
{
    struct reactor *reactor = new_reactor();
    static struct churn churns[100];
    for (int i = 0; i < 100; i++) {
        struct churn *churn = &churns[i];
        churn->flags = REACTOR_READABLE;
        churn->fd = must(sys_eventfd_create(), "eventfd");
        must(sys_eventfd_wake(churn->fd), "eventfd");
        must(reactor_register(reactor, churn->fd, churn->flags, on_churn, churn), "register");
    }
    for (int i = 0; i < 100; i++) {
        must(reactor_run_once(reactor, 0), "run");
    }
    unsigned long before = atomic_load(&allocations);
    int64_t start = sys_now_ns();
    for (int i = 0; i < 10 * TICKS; i++) {
        must(reactor_run_once(reactor, 0), "run");
    }
    double ns = (double)(sys_now_ns() - start) / (10.0 * TICKS * 100);
    print_figure("allocations in 2,000,000 events with changes", (double)(atomic_load(&allocations) - before), "",
                 "goal 0");
    print_figure("  each with epoll_ctl, a timer moved and a task", ns, "ns/event", "");
    for (int i = 0; i < 100; i++) {
        reactor_close(reactor, churns[i].fd);
    }
    reactor_destroy(reactor);
}

int main(void)
{
    bench_dispatch_in_a_batch();
    bench_dispatch_of_one_event();
    bench_timers();
    bench_jitter();
    bench_echo(1, false, "");
    bench_echo(1, true, "");
    bench_echo(64, false, "");
    bench_echo(64, true, "goal > 100000");
    bench_allocations();
    return 0;
}
