/* core/program/user.c: root is given up, or it is said why not. */

#include "core/program/user.h"

#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int tear_down(void **state)
{
    (void)state;
    fake_sys_reset();
    return 0;
}

static void user_is_set_with_the_main_group_and_looked_at(void **state)
{
    (void)state;
    char err[128] = "";
    const int64_t both = FAKE_USER | (int64_t)FAKE_GROUP << 32;
    assert_int_equal(user_become("www-data", err, sizeof err), 0);
    assert_string_equal(err, "");
    size_t count;
    const struct fake_call *trace = fake_sys_trace(&count);
    assert_int_equal(count, 4);
    assert_int_equal(trace[1].op, FAKE_USER_ID); /* which is another one */
    assert_int_equal(trace[2].op, FAKE_SET_USER);
    assert_int_equal(trace[2].arg, both);
    assert_int_equal(trace[3].op, FAKE_IS_USER_FOR_GOOD);
    assert_int_equal(trace[3].arg, both);
}

static void root_is_no_user_to_become(void **state)
{
    (void)state;
    char err[128];
    assert_int_equal(user_become("root", err, sizeof err), -EINVAL);
    assert_string_equal(err, "user root: this is root");
    assert_int_equal(fake_sys_count(FAKE_SET_USER), 0);
}

static void each_failure_names_the_user(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int error, rv;
        const char *text;
    } rows[] = {
        {FAKE_FIND_USER, -ENOENT, -ENOENT, "user x: no such user"},
        {FAKE_FIND_USER, -EINVAL, -EINVAL, "user x: Invalid argument"},
        {FAKE_SET_USER, -EPERM, -EPERM, "user x: only root can become another user: Operation not permitted"},
        {FAKE_IS_USER_FOR_GOOD, -EPERM, -EPERM, "user x: root was not given up"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char err[128];
        fake_sys_fail_op(rows[i].op, 0, 1, rows[i].error);
        assert_int_equal(user_become("x", err, sizeof err), rows[i].rv);
        assert_string_equal(err, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(user_is_set_with_the_main_group_and_looked_at, tear_down),
        cmocka_unit_test_teardown(root_is_no_user_to_become, tear_down),
        cmocka_unit_test_teardown(each_failure_names_the_user, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
