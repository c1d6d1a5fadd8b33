/* Timers and watches of a host on the fake kernel: when their functions are called, and what cancelling means. Threads:
 * tests/embed/test_watches.c. */

#include "core/log.h"
#include "core/mailbox.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "evserve.h"
#include "http/host/evs_calls.h"
#include "http/host/evs_host.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One thread of a server, without the server. */
struct scene {
    struct reactor *reactor;
    struct mailbox mailbox;
    struct evs_host host;
    struct evs_door door;
    evserve *server; /* the door, as the public functions take it */
    struct log log;
    char book[256]; /* what was called */
    int64_t id;     /* for what acts upon it */
    int fd;
};

static struct scene scene; /* there is one test at a time */

static void note_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    strncat(scene.book, line, sizeof scene.book - strlen(scene.book) - 1);
}

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    scene = (struct scene){.log = {.sink = note_line, .level = LOG_DEBUG}};
    if (reactor_create(&scene.reactor, &scene.log) < 0) {
        return -1;
    }
    mailbox_init(&scene.mailbox, scene.reactor);
    evs_host_init(&scene.host, 0, &scene.mailbox, scene.reactor, &scene.log);
    scene.door = (struct evs_door){.thread_count = 1, .hosts = &scene.host};
    scene.server = (evserve *)(void *)&scene.door;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    evs_host_end(&scene.host);
    evs_calls_end(&scene.host);
    mailbox_close(&scene.mailbox);
    mailbox_done(&scene.mailbox);
    evs_host_done(&scene.host);
    reactor_destroy(scene.reactor);
    fake_sys_reset();
    return fake_mem_live() == 0 ? 0 : -1;
}

/* One turn, as a server has it. */
static void turn(int timeout_ms)
{
    mailbox_enter(&scene.mailbox);
    assert_true(reactor_run_once(scene.reactor, timeout_ms) >= 0);
    mailbox_leave(&scene.mailbox);
}

/* Turns until ms have passed. */
static void turns(int64_t ms)
{
    int64_t end_ns = sys_now_ns() + ms * 1000000;
    while (sys_now_ns() < end_ns) {
        turn((int)((end_ns - sys_now_ns()) / 1000000));
    }
    turn(0);
}

static void note(void *arg)
{
    strncat(scene.book, arg, sizeof scene.book - strlen(scene.book) - 1);
}

static void note_events(int fd, unsigned events, int error, void *arg)
{
    char text[32];
    assert_int_equal(fd, scene.fd);
    snprintf(text, sizeof text, "%s%s%s%s%s%d ", (const char *)arg, events & EVS_READABLE ? "R" : "",
             events & EVS_WRITABLE ? "W" : "", events & EVS_ERROR ? "E" : "", events & EVS_HANGUP ? "H" : "", error);
    note(text);
}

static void assert_book(const char *text)
{
    assert_string_equal(scene.book, text);
    scene.book[0] = '\0';
}

static void longest_timer_is_not_due_at_once(void **state)
{
    (void)state;
    fake_sys_advance_ns(1); /* the call's time is rounded up to milliseconds, the reactor's down */
    assert_true(evserve_after(scene.server, 0, UINT32_MAX, note, "a") > 0);
    assert_true(evserve_every(scene.server, 0, UINT32_MAX, note, "b") > 0);
    turn(0);
    turn(0);
    fake_sys_advance_ms(1000);
    turn(0);
    assert_book("");
}

static void timer_set_before_the_loop_runs_counts_from_the_call(void **state)
{
    (void)state;
    assert_true(evserve_after(scene.server, 0, 100, note, "a") > 0);
    assert_true(evserve_after(scene.server, 0, 30, note, "b") > 0);
    assert_true(evserve_after(scene.server, 0, 0, note, "c") > 0);
    fake_sys_advance_ms(50);
    turn(0);           /* takes them up */
    turn(0);           /* and calls those that are due */
    assert_book("bc"); /* set in a tick, they wait for the next one */
    turns(49);
    assert_book("");
    turns(2);
    assert_book("a");
    turns(1000);
    assert_book("");
}

static void interval_is_called_again_and_again_until_it_is_cancelled(void **state)
{
    (void)state;
    int64_t id = evserve_every(scene.server, 0, 10, note, ".");
    assert_true(id > 0);
    turn(0);
    turns(100);
    assert_book("..........");
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    assert_int_equal(evserve_cancel(scene.server, id), -ENOENT);
    turns(100);
    assert_book("");
}

static void cancel_own(void *arg)
{
    note(arg);
    note(evserve_cancel(scene.server, scene.id) == 0 ? "+" : "-");
}

static void function_may_cancel_its_own_timer(void **state)
{
    (void)state;
    scene.id = evserve_every(scene.server, 0, 10, cancel_own, "every");
    turns(100);
    assert_book("every+");
    scene.id = evserve_after(scene.server, 0, 10, cancel_own, "after");
    turns(100);
    assert_book("after-"); /* it is over when it is called */
}

static void set_and_cancel(void *arg)
{
    int64_t id = evserve_after(scene.server, 0, 0, note, arg);
    assert_true(id > 0);
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    assert_true(evserve_after(scene.server, 0, 5, note, "b") > 0);
    assert_int_equal(evserve_cancel(scene.server, scene.id), 0);
}

static void callback_sets_and_cancels_without_a_letter(void **state)
{
    (void)state;
    assert_true(evserve_after(scene.server, 0, 10, set_and_cancel, "a") > 0);
    scene.id = evserve_after(scene.server, 0, 10, note, "c"); /* due in the same tick */
    turns(100);
    assert_book("b");
}

static void timer_cancelled_before_it_was_taken_up_is_never_called(void **state)
{
    (void)state;
    int64_t id = evserve_after(scene.server, 0, 0, note, "a");
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    turns(10);
    assert_book("");
}

/* A turn in which the letter of a timer has not come yet, and the timer is cancelled all the same. */
static void timer_cancelled_by_its_thread_before_its_letter_came(void **state)
{
    (void)state;
    int64_t id = evserve_after(scene.server, 0, 0, note, "a");
    mailbox_enter(&scene.mailbox);
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    mailbox_leave(&scene.mailbox);
    turns(10);
    assert_book("");
}

static void ids_are_never_used_again(void **state)
{
    (void)state;
    int64_t first = evserve_after(scene.server, 0, 0, note, "a");
    turns(1);
    int64_t second = evserve_after(scene.server, 0, 0, note, "b");
    assert_int_not_equal(first, second);
    assert_int_equal(evserve_cancel(scene.server, first), -ENOENT);
    turns(1);
    assert_book("ab");
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(evserve_after(scene.server, 1, 0, note, "a"), -EINVAL);
    assert_int_equal(evserve_after(scene.server, 0, 0, NULL, "a"), -EINVAL);
    assert_int_equal(evserve_every(scene.server, 0, 0, note, "a"), -EINVAL);
    assert_int_equal(evserve_every(scene.server, 1, 1, note, "a"), -EINVAL);
    assert_int_equal(evserve_watch(scene.server, 1, 0, EVS_READABLE, note_events, "a"), -EINVAL);
    assert_int_equal(evserve_watch(scene.server, 0, 0, EVS_READABLE, NULL, "a"), -EINVAL);
    assert_int_equal(evserve_watch(scene.server, 0, 0, EVS_ERROR, note_events, "a"), -EINVAL);
    assert_int_equal(evserve_watch(scene.server, 0, -1, EVS_READABLE, note_events, "a"), -EBADF);
    assert_int_equal(evserve_cancel(scene.server, 0), -ENOENT);
    assert_int_equal(evserve_cancel(scene.server, -EINVAL), -ENOENT); /* what a failed call returned */
    assert_int_equal(evserve_cancel(scene.server, INT64_MAX), -ENOENT);
    int64_t timer = evserve_after(scene.server, 0, 0, note, "a");
    assert_int_equal(evserve_rewatch(scene.server, timer, EVS_READABLE), -EINVAL);
    assert_int_equal(evserve_rewatch(scene.server, timer + 1, EVS_READABLE), -ENOENT);
    turns(1);
    assert_book("a");
}

static void watch_is_called_as_long_as_there_is_something_to_read(void **state)
{
    (void)state;
    struct fake_peer *peer = fake_peer_create(-1);
    scene.fd = fake_peer_fd(peer);
    int64_t id = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a");
    assert_true(id > 0);
    turn(0);
    assert_book("");
    fake_peer_send_text(peer, "x");
    turn(0);
    turn(0);
    assert_book("aR0 aR0 ");
    assert_int_equal(evserve_rewatch(scene.server, id, EVS_READABLE | EVS_WRITABLE), 0);
    turn(0); /* takes that up */
    turn(0);
    assert_book("aR0 aRW0 ");
    assert_int_equal(evserve_rewatch(scene.server, id, 0), 0);
    turn(0);
    scene.book[0] = '\0';
    turn(0);
    assert_book("");
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    assert_int_equal(evserve_rewatch(scene.server, id, EVS_READABLE), -ENOENT);
    sys_close(scene.fd); /* before the thread has heard of it */
    turn(0);
    assert_book("");
}

static void cancel_watch(int fd, unsigned events, int error, void *arg)
{
    note_events(fd, events, error, arg);
    assert_int_equal(evserve_cancel(scene.server, scene.id), 0);
    sys_close(fd);
}

static void watch_cancelled_in_its_function_may_be_closed_there(void **state)
{
    (void)state;
    struct fake_peer *peer = fake_peer_create(-1);
    scene.fd = fake_peer_fd(peer);
    scene.id = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, cancel_watch, "a");
    turn(0);
    fake_peer_send_text(peer, "x");
    turn(0);
    turn(0);
    assert_book("aR0 ");
}

static void own_fd(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    (void)events;
    note(arg);
}

static void watch_of_an_fd_that_was_closed_too_early_spares_the_next_owner(void **state)
{
    (void)state;
    scene.fd = fake_peer_fd(fake_peer_create(-1));
    int64_t id = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a");
    turn(0);
    sys_close(scene.fd);
    struct fake_peer *peer = fake_peer_create(-1);
    assert_int_equal(fake_peer_fd(peer), scene.fd); /* its number has come back, as a connection of the server */
    assert_int_equal(reactor_register(scene.reactor, scene.fd, REACTOR_READABLE, own_fd, "own "), 0);
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    turn(0);
    fake_peer_send_text(peer, "x");
    turn(0);
    assert_book("own ");
    reactor_close(scene.reactor, scene.fd);
}

static void fd_that_the_server_watches_is_refused(void **state)
{
    (void)state;
    scene.fd = fake_peer_fd(fake_peer_create(-1));
    assert_int_equal(reactor_register(scene.reactor, scene.fd, REACTOR_READABLE, own_fd, "own "), 0);
    char text[32];
    snprintf(text, sizeof text, "aE%d ", -EEXIST);
    int64_t id = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a");
    assert_true(id > 0);
    turn(0);
    assert_book(text);
    assert_int_equal(evserve_cancel(scene.server, id), 0);
    turn(0);
    assert_true(reactor_is_registered(scene.reactor, scene.fd, own_fd, "own "));
    mailbox_enter(&scene.mailbox); /* on the server's thread the function returns it */
    assert_int_equal(evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a"), -EEXIST);
    mailbox_leave(&scene.mailbox);
    reactor_close(scene.reactor, scene.fd);
}

static void fd_that_the_kernel_refuses_is_told_to_the_function(void **state)
{
    (void)state;
    char text[64];
    scene.fd = fake_peer_fd(fake_peer_create(-1));
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -EPERM); /* as for a regular file */
    assert_true(evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a") > 0);
    turn(0);
    snprintf(text, sizeof text, "cannot watch fd %d: %saE%d ", scene.fd, errno_text(EPERM), -EPERM);
    assert_book(text);
}

static void error_of_a_socket_is_told(void **state)
{
    (void)state;
    struct fake_peer *peer = fake_peer_create(-1);
    scene.fd = fake_peer_fd(peer);
    scene.id = evserve_watch(scene.server, 0, scene.fd, 0, cancel_watch, "a");
    turn(0);
    fake_peer_reset(peer, -ECONNRESET);
    turn(0);
    assert_non_null(strstr(scene.book, "E"));
    char text[32];
    snprintf(text, sizeof text, "%d ", -ECONNRESET);
    assert_non_null(strstr(scene.book, text));
}

static void after_the_end_nothing_is_called_and_nothing_accepted(void **state)
{
    (void)state;
    struct fake_peer *peer = fake_peer_create(-1);
    scene.fd = fake_peer_fd(peer);
    assert_true(evserve_every(scene.server, 0, 10, note, "a") > 0);
    int64_t id = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "b");
    turn(0);
    assert_true(evserve_after(scene.server, 0, 0, note, "c") > 0); /* its letter has not come yet */
    evs_host_end(&scene.host);
    evs_calls_end(&scene.host);
    mailbox_close(&scene.mailbox);
    assert_int_equal(evserve_cancel(scene.server, id), -ENOENT);
    assert_int_equal(evserve_after(scene.server, 0, 0, note, "d"), -ESHUTDOWN);
    fake_peer_send_text(peer, "x");
    turn(0);
    fake_sys_advance_ms(100);
    turn(0);
    assert_book("");
    assert_int_equal(fake_mem_live() > 0, true); /* the table */
}

static void without_memory_nothing_is_set(void **state)
{
    (void)state;
    scene.fd = fake_peer_fd(fake_peer_create(-1));
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        int64_t timer = evserve_after(scene.server, 0, 0, note, "");
        int64_t watch = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "");
        turn(0);
        turn(0);
        bool is_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(timer > 0 || timer == -ENOMEM);
        assert_true(watch > 0 || watch == -ENOMEM);
        if (watch > 0) {
            assert_int_equal(evserve_cancel(scene.server, watch), 0);
        }
        turn(0);
        turn(0);
        if (!is_failed) {
            break;
        }
    }
}

static void cancel_without_memory_for_a_letter_holds_all_the_same(void **state)
{
    (void)state;
    struct fake_peer *peer = fake_peer_create(-1);
    scene.fd = fake_peer_fd(peer);
    int64_t watch = evserve_watch(scene.server, 0, scene.fd, EVS_READABLE, note_events, "a");
    int64_t timer = evserve_every(scene.server, 0, 10, note, "b");
    turn(0);
    fake_mem_fail_after(1, true);
    assert_int_equal(evserve_cancel(scene.server, watch), 0);
    assert_int_equal(evserve_cancel(scene.server, timer), 0);
    fake_peer_send_text(peer, "x");
    turns(100);
    assert_book("");
    assert_false(reactor_is_registered(scene.reactor, scene.fd, NULL, NULL));
}

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(longest_timer_is_not_due_at_once),
        SCENE_TEST(timer_set_before_the_loop_runs_counts_from_the_call),
        SCENE_TEST(interval_is_called_again_and_again_until_it_is_cancelled),
        SCENE_TEST(function_may_cancel_its_own_timer),
        SCENE_TEST(callback_sets_and_cancels_without_a_letter),
        SCENE_TEST(timer_cancelled_before_it_was_taken_up_is_never_called),
        SCENE_TEST(timer_cancelled_by_its_thread_before_its_letter_came),
        SCENE_TEST(ids_are_never_used_again),
        SCENE_TEST(mistakes_are_refused),
        SCENE_TEST(watch_is_called_as_long_as_there_is_something_to_read),
        SCENE_TEST(watch_cancelled_in_its_function_may_be_closed_there),
        SCENE_TEST(watch_of_an_fd_that_was_closed_too_early_spares_the_next_owner),
        SCENE_TEST(fd_that_the_server_watches_is_refused),
        SCENE_TEST(fd_that_the_kernel_refuses_is_told_to_the_function),
        SCENE_TEST(error_of_a_socket_is_told),
        SCENE_TEST(after_the_end_nothing_is_called_and_nothing_accepted),
        SCENE_TEST(without_memory_nothing_is_set),
        SCENE_TEST(cancel_without_memory_for_a_letter_holds_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
