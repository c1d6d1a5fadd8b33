/* core/mailbox.c on one thread: what is accepted is called, in order, whatever fails. Threads: tests/embed. */

#include "core/mailbox.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct reactor *reactor;
    struct mailbox mailbox;
    char calls[64]; /* what was called, a character each */
};

static struct scene scene; /* there is one test at a time */

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    scene = (struct scene){0};
    if (reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    mailbox_init(&scene.mailbox, scene.reactor);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    mailbox_close(&scene.mailbox);
    mailbox_done(&scene.mailbox);
    reactor_destroy(scene.reactor);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static void note(void *arg)
{
    strncat(scene.calls, arg, 1);
}

static void post_again(void *arg)
{
    note(arg);
    assert_int_equal(mailbox_post(&scene.mailbox, note, "z"), 0);
}

static void run_once(void)
{
    assert_true(reactor_run_once(scene.reactor, 0) >= 0);
}

static void posts_are_called_in_order_in_one_tick(void **state)
{
    (void)state;
    assert_int_equal(mailbox_post(&scene.mailbox, note, "a"), 0);
    assert_int_equal(mailbox_post(&scene.mailbox, note, "b"), 0);
    assert_int_equal(mailbox_post(&scene.mailbox, note, "c"), 0);
    assert_string_equal(scene.calls, "");
    run_once();
    assert_string_equal(scene.calls, "abc");
    assert_int_equal(mailbox_post(&scene.mailbox, note, "d"), 0);
    run_once();
    assert_string_equal(scene.calls, "abcd");
}

static void post_of_a_post_waits_a_tick(void **state)
{
    (void)state;
    assert_int_equal(mailbox_post(&scene.mailbox, post_again, "a"), 0);
    run_once();
    assert_string_equal(scene.calls, "a");
    run_once();
    assert_string_equal(scene.calls, "az");
}

static void close_calls_what_waits_and_accepts_no_more(void **state)
{
    (void)state;
    assert_int_equal(mailbox_post(&scene.mailbox, note, "a"), 0);
    mailbox_close(&scene.mailbox);
    assert_string_equal(scene.calls, "a");
    assert_int_equal(mailbox_post(&scene.mailbox, note, "b"), -ESHUTDOWN);
    mailbox_close(&scene.mailbox);
    run_once(); /* the wake-up finds nothing */
    assert_string_equal(scene.calls, "a");
}

static void without_memory_nothing_is_accepted_and_nothing_lost(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        scene.calls[0] = '\0';
        fake_mem_fail_after(n, false);
        int rv = mailbox_post(&scene.mailbox, note, "a");
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        assert_int_equal(mailbox_post(&scene.mailbox, note, "b"), 0);
        run_once();
        assert_string_equal(scene.calls, has_failed ? "b" : "ab");
        if (!has_failed) {
            return;
        }
    }
}

static void call_that_is_nobodys_is_made_at_once(void **state)
{
    (void)state;
    struct mailbox_call call = {.mailbox = &scene.mailbox, .fn = note, .arg = "a", .rv = 1};
    mailbox_call_all(&call, 1);
    assert_int_equal(call.rv, 0);
    assert_string_equal(scene.calls, "a");
    assert_int_equal(scene.mailbox.owner, 0);
}

static void call_of_ones_own_is_made_at_once(void **state)
{
    (void)state;
    struct mailbox_call call = {.mailbox = &scene.mailbox, .fn = note, .arg = "a", .rv = 1};
    mailbox_enter(&scene.mailbox);
    mailbox_call_all(&call, 1);
    assert_int_equal(call.rv, 0);
    assert_string_equal(scene.calls, "a");
    assert_int_not_equal(scene.mailbox.owner, 0);
    mailbox_leave(&scene.mailbox);
}

static void call_to_a_closed_mailbox_is_not_made(void **state)
{
    (void)state;
    struct mailbox_call call = {.mailbox = &scene.mailbox, .fn = note, .arg = "a"};
    mailbox_close(&scene.mailbox);
    mailbox_call_all(&call, 1);
    assert_int_equal(call.rv, -ESHUTDOWN);
    assert_string_equal(scene.calls, "");
}

static void mailbox_is_not_entered_twice(void **state)
{
    (void)state;
    assert_false(mailbox_is_entered(&scene.mailbox));
    assert_int_equal(mailbox_enter(&scene.mailbox), 0);
    assert_true(mailbox_is_mine(&scene.mailbox));
    assert_int_equal(mailbox_enter(&scene.mailbox), -EBUSY);
    mailbox_leave(&scene.mailbox);
    assert_false(mailbox_is_entered(&scene.mailbox));
    assert_false(mailbox_is_mine(&scene.mailbox));
}

/* A call that enters the mailbox of which it is one, as a script does whose start polls its server. */
static void enter_too(void *arg)
{
    note(arg);
    assert_int_equal(mailbox_enter(&scene.mailbox), -EBUSY);
}

static void mailbox_is_not_entered_in_a_call_of_its_own(void **state)
{
    (void)state;
    struct mailbox_call call = {.mailbox = &scene.mailbox, .fn = enter_too, .arg = "a", .rv = 1};
    mailbox_call_all(&call, 1);
    assert_int_equal(call.rv, 0);
    assert_string_equal(scene.calls, "a");
}

/* Another thread has it, and a callback of a second reactor would have to wait for that. */
static void callback_of_another_reactor_does_not_wait(void **state)
{
    (void)state;
    struct mailbox second;
    mailbox_init(&second, scene.reactor);
    assert_int_equal(mailbox_enter(&second), 0);
    atomic_store(&scene.mailbox.owner, (pthread_t)1);
    assert_int_equal(mailbox_enter(&scene.mailbox), -EBUSY);
    atomic_store(&scene.mailbox.owner, 0);
    mailbox_leave(&second);
    mailbox_close(&second);
    mailbox_done(&second);
}

static void refused_mailbox_keeps_what_was_posted_for_the_close(void **state)
{
    (void)state;
    assert_int_equal(mailbox_post(&scene.mailbox, note, "a"), 0);
    mailbox_refuse(&scene.mailbox);
    assert_int_equal(mailbox_post(&scene.mailbox, note, "b"), -ESHUTDOWN);
    assert_string_equal(scene.calls, "");
    mailbox_close(&scene.mailbox);
    assert_string_equal(scene.calls, "a");
}

static void call_needs_no_memory(void **state)
{
    (void)state;
    struct mailbox_call call = {.mailbox = &scene.mailbox, .fn = note, .arg = "a", .rv = 1};
    fake_mem_fail_after(1, true);
    mailbox_call_all(&call, 1);
    fake_mem_fail_after(0, false);
    assert_int_equal(call.rv, 0);
    assert_string_equal(scene.calls, "a");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(posts_are_called_in_order_in_one_tick),
        TEST(post_of_a_post_waits_a_tick),
        TEST(close_calls_what_waits_and_accepts_no_more),
        TEST(without_memory_nothing_is_accepted_and_nothing_lost),
        TEST(call_that_is_nobodys_is_made_at_once),
        TEST(call_of_ones_own_is_made_at_once),
        TEST(call_to_a_closed_mailbox_is_not_made),
        TEST(mailbox_is_not_entered_twice),
        TEST(mailbox_is_not_entered_in_a_call_of_its_own),
        TEST(callback_of_another_reactor_does_not_wait),
        TEST(refused_mailbox_keeps_what_was_posted_for_the_close),
        TEST(call_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
