/* Failures under the reactor: one play that uses all of it is run again and again, and each time another allocation or
 * another system call fails. A failure that goes away must not change the outcome: the one who asked is told, asks once
 * more, and all comes to its end. A failure that stays may leave things undone, but must not crash, hang or leak. */

#include "core/reactor.h"
#include "core/sys.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    TIMERS = 70,     /* more than the first size of the heap */
    TASKS = 70,      /* more than the first size of the queue */
    FAR_FD = 5000,   /* beyond the first size of the table of watches */
    TICKS_MAX = 400, /* a play is over long before */
    TRIES = 2,       /* a failure that goes away is met once */
};

struct play {
    const char *fault;     /* what fails, for messages */
    unsigned fault_number; /* which one of them */
    bool must_end_well;    /* the failure goes away */
    struct reactor *reactor;
    struct fake_peer *reader, *writer, *victim, *far; /* connections */
    int reader_fd, writer_fd, victim_fd;              /* near ends; -1 when closed */
    char got[64];                                     /* what reader received */
    size_t got_len;                                   /* bytes of it */
    size_t to_write;                                  /* bytes that writer still has to send */
    bool far_registered, far_called, victim_called;
    int timers_fired, tasks_run, posts_run, interval_calls;
    uint64_t interval; /* its timer */
};

/* A cmocka assertion that says under which failure it broke. */
#define check(play, condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail_msg("%s, when %s %u fails", #condition, (play)->fault, (play)->fault_number);                         \
        }                                                                                                              \
    } while (0)

/* Evaluate call until it succeeds (is_ok, in terms of rv), as often as a failure that goes away may ask for. */
#define try_again(play, call, is_ok)                                                                                   \
    do {                                                                                                               \
        for (int tries = 0;; tries++) {                                                                                \
            int64_t rv = (int64_t)(call);                                                                              \
            if (is_ok) {                                                                                               \
                break;                                                                                                 \
            }                                                                                                          \
            if (tries == TRIES) {                                                                                      \
                check(play, !(play)->must_end_well);                                                                   \
                break;                                                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

static void on_reader(struct reactor *reactor, int fd, unsigned events, void *arg);
static void on_far(struct reactor *reactor, int fd, unsigned events, void *arg);

static void watch(struct play *play, int fd, unsigned flags, reactor_event_fn fn)
{
    try_again(play, reactor_register(play->reactor, fd, flags, fn, play), rv == 0);
}

static void close_reader(struct play *play)
{
    reactor_deregister(play->reactor, play->reader_fd);
    sys_close(play->reader_fd);
    play->reader_fd = -1;
    watch(play, FAR_FD, REACTOR_READABLE, on_far);
}

static void on_reader(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct play *play = arg;
    (void)reactor;
    check(play, fd == play->reader_fd);
    if (events & REACTOR_ERROR) { /* the registration was refused */
        watch(play, fd, REACTOR_READABLE | REACTOR_EDGE, on_reader);
        return;
    }
    for (;;) {
        ssize_t got = sys_recv(fd, play->got + play->got_len, sizeof play->got - play->got_len);
        if (got > 0) {
            play->got_len += (size_t)got;
        } else if (got == 0) {
            close_reader(play);
            return;
        } else if (got == -EAGAIN || !play->must_end_well) {
            return;
        }
    }
}

static void on_far(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct play *play = arg;
    if (events & REACTOR_READABLE) {
        play->far_called = true;
        reactor_deregister(reactor, fd);
    } else if (events & REACTOR_ERROR) {
        watch(play, fd, REACTOR_READABLE, on_far);
    }
}

static void on_victim(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct play *play = arg;
    if (events & REACTOR_HANGUP) { /* the peer is gone; a refused registration comes without it */
        play->victim_called = true;
        reactor_close(reactor, fd);
        play->victim_fd = -1;
    } else {
        watch(play, fd, 0, on_victim);
    }
}

/* Write all there is, ask for WRITABLE when the socket is full, stop asking when all is written. */
static void on_writer(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    struct play *play = arg;
    (void)reactor;
    (void)events;
    while (play->to_write > 0) {
        ssize_t sent = sys_send(fd, "0123456789", play->to_write < 10 ? play->to_write : 10, false);
        if (sent == -EAGAIN) {
            watch(play, fd, REACTOR_READABLE | REACTOR_WRITABLE, on_writer);
            return;
        }
        if (sent < 0 && !play->must_end_well) {
            break;
        }
        play->to_write -= sent > 0 ? (size_t)sent : 0;
    }
    watch(play, fd, REACTOR_READABLE, on_writer);
}

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    ((struct play *)arg)->timers_fired++;
}

static void on_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    ((struct play *)arg)->tasks_run++;
}

static void on_post(struct reactor *reactor, void *arg)
{
    (void)reactor;
    ((struct play *)arg)->posts_run++;
}

static void on_interval(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct play *play = arg;
    play->interval_calls++;
    if (play->interval_calls == 3) {
        check(play, reactor_cancel_timer(reactor, timer) == 0);
        play->interval = 0;
    }
    try_again(play, reactor_defer(reactor, on_task, play), rv == 0);
    try_again(play, reactor_post(reactor, on_post, play), rv == 0);
    try_again(play, reactor_set_timeout(reactor, 1, on_timer, play), rv != 0);
}

static int connect_peer(struct fake_peer **peer, int fd)
{
    *peer = fake_peer_create(fd);
    return fake_peer_fd(*peer);
}

static void raise_curtain(struct play *play)
{
    play->reader_fd = connect_peer(&play->reader, -1);
    play->writer_fd = connect_peer(&play->writer, -1);
    play->victim_fd = connect_peer(&play->victim, -1);
    connect_peer(&play->far, FAR_FD);
    fake_peer_send_in_pieces(play->reader, "all of this must arrive", 23, 5);
    fake_peer_shutdown(play->reader);
    fake_peer_set_window(play->writer, 7);
    fake_peer_send_text(play->far, "x");
    fake_peer_reset(play->victim, 0);
    play->to_write = 100;

    try_again(play, reactor_fd(play->reactor), rv >= 0);
    watch(play, play->reader_fd, REACTOR_READABLE | REACTOR_EDGE, on_reader);
    watch(play, play->writer_fd, REACTOR_READABLE | REACTOR_WRITABLE, on_writer);
    watch(play, play->victim_fd, 0, on_victim);
    for (int i = 0; i < TIMERS; i++) {
        try_again(play, reactor_set_timeout(play->reactor, (uint32_t)(TIMERS - i), on_timer, play), rv != 0);
    }
    for (int i = 0; i < TASKS; i++) {
        try_again(play, reactor_defer(play->reactor, on_task, play), rv == 0);
    }
    try_again(play, play->interval = reactor_set_interval(play->reactor, 10, on_interval, play), rv != 0);
}

static bool is_over(const struct play *play)
{
    return play->reader_fd < 0 && play->victim_fd < 0 && play->far_called && play->to_write == 0 &&
           play->timers_fired == TIMERS + 3 && play->tasks_run == TASKS + 3 && play->posts_run == 3;
}

static void check_end(struct play *play)
{
    check(play, play->got_len == 23 && memcmp(play->got, "all of this must arrive", 23) == 0);
    check(play, play->victim_called);
    check(play, play->interval_calls == 3);
    size_t written;
    fake_peer_output(play->writer, &written);
    check(play, written == 100);
    /* All is quiet now: nothing left to do, nothing that wakes the loop. A failed call here is one more chance. */
    int rv = 0;
    for (int i = 0; i < 4 && rv != -EDEADLK; i++) {
        rv = reactor_run_once(play->reactor, -1);
    }
    check(play, rv == -EDEADLK);
}

/* Let the play run from its beginning to its end. */
static void perform(struct play *play)
{
    size_t blocks = fake_mem_live();
    for (int tries = 0; reactor_create(&play->reactor, NULL) < 0; tries++) {
        check(play, fake_mem_live() == blocks);
        check(play, fake_sys_open_fds() == 0);
        if (tries == TRIES) {
            check(play, !play->must_end_well);
            return;
        }
    }
    raise_curtain(play);
    int ticks = 0;
    while (!is_over(play) && ticks++ < TICKS_MAX) {
        reactor_run_once(play->reactor, 5);
    }
    if (play->must_end_well) {
        check(play, is_over(play));
        check_end(play);
    }
    reactor_destroy(play->reactor);
    check(play, fake_mem_live() == blocks);
    if (play->reader_fd >= 0) {
        sys_close(play->reader_fd);
    }
    if (play->victim_fd >= 0) {
        sys_close(play->victim_fd);
    }
    sys_close(play->writer_fd);
    sys_close(FAR_FD);
    check(play, fake_sys_open_fds() == 0);
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fake_sys_reset();
    return 0;
}

static void play_ends_well_without_failures(void **state)
{
    (void)state;
    perform(&(struct play){.fault = "nothing", .must_end_well = true});
}

static void every_allocation_may_fail_once(void **state)
{
    (void)state;
    unsigned n = 1;
    for (;; n++) {
        struct play play = {.fault = "allocation", .fault_number = n, .must_end_well = true};
        fake_mem_fail_after(n, false);
        perform(&play);
        bool failed = fake_mem_failed();
        tear_down(NULL);
        if (!failed) {
            break;
        }
    }
    assert_true(n > 10); /* the reactor, two chunks and their list, timers, tasks, posts */
}

static void every_allocation_may_be_the_last_that_works(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        struct play play = {.fault = "each allocation from", .fault_number = n};
        fake_mem_fail_after(n, true);
        perform(&play);
        bool failed = fake_mem_failed();
        tear_down(NULL);
        if (!failed) {
            break;
        }
    }
}

static void fail_each_system_call_in_turn(int error)
{
    unsigned n = 1;
    for (;; n++) {
        struct play play = {.fault = "system call", .fault_number = n, .must_end_well = true};
        fake_sys_fail(n, error);
        perform(&play);
        bool failed = fake_sys_failed();
        tear_down(NULL);
        if (!failed) {
            break;
        }
    }
    assert_true(n > 50);
}

static void every_system_call_may_fail_once(void **state)
{
    (void)state;
    fail_each_system_call_in_turn(-ENOMEM);
    fail_each_system_call_in_turn(-EINTR);
}

static void every_kind_of_system_call_may_fail_for_good(void **state)
{
    (void)state;
    for (int op = 0; op < FAKE_OP_COUNT; op++) {
        if (op == FAKE_CLOSE || op == FAKE_NOW_NS || op == FAKE_WALL_TIME_S) {
            continue;
        }
        for (int skip = 0; skip < 8; skip++) { /* from the first one, or after some that worked */
            struct play play = {.fault = fake_op_name((enum fake_op)op), .fault_number = (unsigned)skip};
            fake_sys_fail_op((enum fake_op)op, skip, FAKE_FOREVER, -ENOMEM);
            perform(&play);
            tear_down(NULL);
        }
    }
}

#define TEST(fn) cmocka_unit_test_teardown(fn, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(play_ends_well_without_failures),
        TEST(every_allocation_may_fail_once),
        TEST(every_allocation_may_be_the_last_that_works),
        TEST(every_system_call_may_fail_once),
        TEST(every_kind_of_system_call_may_fail_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
