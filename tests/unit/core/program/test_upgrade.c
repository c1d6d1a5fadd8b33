/* What becomes of a new program that was started: seen from the old one, with children of the test in its place. */

#include "core/program/upgrade.h"

#include "core/sys.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct upgrade upgrade;
static char err[EVSERVE_ERROR_MAX];

static int64_t now_ms(void)
{
    return sys_now_ns() / 1000000;
}

/* A child that says something and then either ends or lives on, with the pipe or without. */
static void start_child(const char *says, bool ends, bool keeps_pipe)
{
    int ends_of_pipe[2];
    static char *argv[] = {(char *)"/bin/true", NULL};
    upgrade_init(&upgrade, argv);
    assert_int_equal(pipe2(ends_of_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)!write(ends_of_pipe[1], says, strlen(says));
        if (ends) {
            _exit(3);
        }
        if (!keeps_pipe) {
            close(ends_of_pipe[1]);
        }
        alarm(60); /* should the test fail */
        for (;;) {
            pause();
        }
    }
    close(ends_of_pipe[1]);
    upgrade.child = child;
    upgrade.fd = ends_of_pipe[0];
    upgrade.until_ms = now_ms() + UPGRADE_DEADLINE_MS;
}

/* The next verdict, by the real clock. */
static pid_t look(void)
{
    pid_t rv = 0;
    for (int i = 0; i < 1000 && rv == 0; i++) {
        usleep(5000);
        rv = upgrade_look(&upgrade, err, sizeof err);
    }
    return rv;
}

static void expect_gone(pid_t child)
{
    assert_false(upgrade_is_under_way(&upgrade));
    assert_int_equal(kill(child, 0), -1); /* and reaped */
    assert_int_equal(errno, ESRCH);
}

static void one_that_says_that_it_serves_is_not_touched(void **state)
{
    (void)state;
    start_child(UPGRADE_READY, false, true);
    pid_t child = upgrade.child;
    assert_int_equal(look(), child);
    assert_false(upgrade_is_under_way(&upgrade));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void one_that_ends_is_noticed_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *says, *error;
    } rows[] = {{"", "ended with status 3 before it served"}, {"no such file", "could not start: no such file"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start_child(rows[i].says, true, true);
        pid_t child = upgrade.child;
        assert_int_equal(look(), -ECHILD);
        assert_non_null(strstr(err, rows[i].error));
        expect_gone(child);
    }
}

static void one_that_can_say_nothing_any_more_has_a_moment_to_end(void **state)
{
    (void)state;
    start_child("", false, false);
    pid_t child = upgrade.child;
    for (int i = 0; i < 1000 && upgrade.fd >= 0; i++) {
        usleep(1000);
        assert_int_equal(upgrade_look(&upgrade, err, sizeof err), 0);
    }
    assert_int_equal(upgrade.until_ms, now_ms() + UPGRADE_END_MS);
    fake_sys_advance_ms(UPGRADE_END_MS - 1);
    assert_int_equal(upgrade_look(&upgrade, err, sizeof err), 0);
    fake_sys_advance_ms(1);
    assert_int_equal(upgrade_look(&upgrade, err, sizeof err), -ECHILD);
    assert_non_null(strstr(err, "has closed the pipe on which to say that it serves, and did not end"));
    expect_gone(child);
}

static void one_that_is_silent_is_ended_at_the_deadline(void **state)
{
    (void)state;
    start_child("", false, true);
    pid_t child = upgrade.child;
    fake_sys_advance_ms(UPGRADE_DEADLINE_MS - 1);
    assert_int_equal(upgrade_look(&upgrade, err, sizeof err), 0);
    assert_int_equal(kill(child, 0), 0);
    fake_sys_advance_ms(1);
    assert_int_equal(upgrade_look(&upgrade, err, sizeof err), -ETIMEDOUT);
    assert_non_null(strstr(err, "did not serve within 60 s, so it was ended"));
    expect_gone(child);
}

static void one_that_is_cancelled_is_gone(void **state)
{
    (void)state;
    start_child("", false, true);
    pid_t child = upgrade.child;
    upgrade_cancel(&upgrade);
    expect_gone(child);
    upgrade_cancel(&upgrade); /* nothing is left to do */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_says_that_it_serves_is_not_touched),
        cmocka_unit_test(one_that_ends_is_noticed_at_once),
        cmocka_unit_test(one_that_can_say_nothing_any_more_has_a_moment_to_end),
        cmocka_unit_test(one_that_is_silent_is_ended_at_the_deadline),
        cmocka_unit_test(one_that_is_cancelled_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
