/* core/sandbox.c: what is asked of the kernel, in which order, and what a kernel that lacks a part leaves. */

#include "core/sandbox.h"

#include "core/destinations.h"
#include "core/log.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { READ = 1 << 2 | 1 << 3, READ_FILE = 1 << 2 };

static char lines[1024];

static void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof lines - used, "%d %s\n", level, line);
}

static const struct log log_to_lines = {.sink = keep_line, .level = LOG_DEBUG};

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    lines[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    int open_fds = fake_sys_open_fds();
    fake_sys_reset();
    return open_fds;
}

/* The argument of the last call of op. */
static int64_t last_argument(enum fake_op op)
{
    size_t count;
    const struct fake_call *trace = fake_sys_trace(&count);
    while (count > 0 && trace[count - 1].op != op) {
        count--;
    }
    assert_true(count > 0);
    return trace[count - 1].arg;
}

static void parts_are_entered_in_the_order_in_which_they_allow_each_other(void **state)
{
    (void)state;
    struct sandbox sandbox;
    sandbox_open(&sandbox, NULL);
    fake_sys_clear_trace();
    assert_int_equal(sandbox_enter(&sandbox, true, &log_to_lines, NULL, 0), 0);
    sandbox_close(&sandbox);
    static const enum fake_op expected[] = {FAKE_NO_NEW_PRIVS, FAKE_LANDLOCK_ENTER, FAKE_PROCESS_ID,
                                            FAKE_RESTRICT_CALLS, FAKE_CLOSE};
    size_t count;
    const struct fake_call *trace = fake_sys_trace(&count);
    assert_int_equal(count, sizeof expected / sizeof expected[0]);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(trace[i].op, expected[i]);
    }
    assert_string_equal(lines, "");
}

static void all_that_the_version_can_deny_is_denied(void **state)
{
    (void)state;
    static const struct {
        int version;
        int64_t files, net, scopes;
    } rows[] = {
        {1, 0x1fff, 0, 0}, {2, 0x3fff, 0, 0}, {3, 0x7fff, 0, 0},  {4, 0x7fff, 3, 0},
        {5, 0xffff, 3, 0}, {6, 0xffff, 3, 3}, {99, 0xffff, 3, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sandbox sandbox;
        fake_sys_fail_op(FAKE_LANDLOCK_VERSION, 0, 1, rows[i].version);
        sandbox_open(&sandbox, NULL);
        assert_int_equal(last_argument(FAKE_LANDLOCK_CREATE), rows[i].files | rows[i].net << 32 | rows[i].scopes << 40);
        assert_int_equal(sandbox_allow(&sandbox, "/", SANDBOX_WRITE), 0);
        assert_int_equal(last_argument(FAKE_LANDLOCK_ALLOW) & ~rows[i].files, 0); /* the kernel takes no others */
        sandbox_close(&sandbox);
    }
}

static void connections_that_are_needed_are_left(void **state)
{
    (void)state;
    static const struct {
        struct destination_needs needs;
        int version;
        int64_t net, scopes, ports; /* how many rules for ports */
        bool is_told;               /* that nobody looks at ports */
    } rows[] = {
        {{.port_count = 0}, 7, 3, 3, 0, false},
        {{.tcp = true, .port_count = 2, .ports = {80, 443}}, 7, 3, 3, 2, false},
        {{.tcp = true, .names = true, .port_count = 2, .ports = {80, 443}}, 7, 3, 3, 3, false}, /* that of DNS, too */
        {{.tcp = true, .every_port = true, .port_count = 1, .ports = {80}}, 7, 1, 3, 0, false},
        {{.unix_files = true}, 7, 3, 3, 0, false},
        {{.unix_abstract = true}, 7, 3, 2, 0, false},
        {{.tcp = true, .port_count = 1, .ports = {80}}, 4, 3, 0, 1, false},
        {{.tcp = true, .port_count = 1, .ports = {80}}, 3, 0, 0, 0, true},
        {{.tcp = true, .every_port = true}, 3, 0, 0, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sandbox sandbox;
        char err[256];
        lines[0] = '\0';
        fake_sys_clear_trace();
        fake_sys_fail_op(FAKE_LANDLOCK_VERSION, 0, 1, rows[i].version);
        sandbox_open(&sandbox, &rows[i].needs);
        int64_t rights = last_argument(FAKE_LANDLOCK_CREATE);
        assert_int_equal(rights >> 32 & 0xff, rows[i].net);
        assert_int_equal(rights >> 40, rows[i].scopes);
        assert_int_equal(fake_sys_count(FAKE_LANDLOCK_PORT), rows[i].ports);
        assert_int_equal(sandbox_enter(&sandbox, false, &log_to_lines, err, sizeof err), 0);
        assert_int_equal(strstr(lines, "landlock's rules for ports") != NULL, rows[i].is_told);
        assert_int_equal(sandbox_enter(&sandbox, true, NULL, err, sizeof err), rows[i].is_told ? -ENOSYS : 0);
        sandbox_close(&sandbox);
    }
}

static void each_access_is_what_it_says(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum sandbox_access access;
        int64_t rights;
    } rows[] = {
        {"/", SANDBOX_READ, READ},
        {"/dev/null", SANDBOX_READ, READ_FILE},
        {"/", SANDBOX_WRITE, READ | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14},
        {"/dev/null", SANDBOX_WRITE, READ_FILE | 1 << 1 | 1 << 14},
        {"/", SANDBOX_REMOVE, 1 << 5},
    };
    struct sandbox sandbox;
    sandbox_open(&sandbox, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(sandbox_allow(&sandbox, rows[i].path, rows[i].access), 0);
        assert_int_equal(last_argument(FAKE_LANDLOCK_ALLOW), rows[i].rights);
    }
    sandbox_close(&sandbox);
}

static void paths_that_cannot_be_allowed_are_errors(void **state)
{
    (void)state;
    struct sandbox sandbox;
    sandbox_open(&sandbox, NULL);
    assert_int_equal(sandbox_allow(&sandbox, "/nothing/there", SANDBOX_READ), -ENOENT);
    fake_sys_fail_op(FAKE_STAT, 0, 1, -EIO);
    assert_int_equal(sandbox_allow(&sandbox, "/", SANDBOX_READ), -EIO);
    fake_sys_fail_op(FAKE_LANDLOCK_ALLOW, 0, 1, -ENOMEM);
    assert_int_equal(sandbox_allow(&sandbox, "/", SANDBOX_READ), -ENOMEM);
    assert_int_equal(fake_sys_open_fds(), 1);
    sandbox_close(&sandbox);
    sandbox_close(&sandbox); /* closed already */
}

static const struct {
    enum fake_op op;
    int error;
    const char *line, *refusal;
} missing[] = {
    {FAKE_NO_NEW_PRIVS, -EINVAL, "2 sandbox without no_new_privs (Invalid argument): programs could give rights\n",
     "a sandbox is required, but no_new_privs is not available: Invalid argument"},
    {FAKE_LANDLOCK_VERSION, -ENOSYS, "2 sandbox without landlock (this kernel has none): files outside can be opened\n",
     "a sandbox is required, but landlock is not available: this kernel has none"},
    {FAKE_LANDLOCK_VERSION, -EOPNOTSUPP,
     "2 sandbox without landlock (it was not switched on when this kernel was booted, see lsm=): files outside can be opened\n",
     "a sandbox is required, but landlock is not available: it was not switched on when this kernel was booted, "
     "see lsm="},
    {FAKE_LANDLOCK_CREATE, -ENOSPC,
     "2 sandbox without landlock (No space left on device): files outside can be opened\n",
     "a sandbox is required, but landlock is not available: No space left on device"},
    {FAKE_LANDLOCK_ENTER, -E2BIG, "2 sandbox without landlock (Argument list too long): files outside can be opened\n",
     "a sandbox is required, but landlock is not available: Argument list too long"},
    {FAKE_RESTRICT_CALLS, -ENOSYS,
     "2 sandbox without a seccomp filter (evserve was built without libseccomp): every system call can be made\n",
     "a sandbox is required, but a seccomp filter is not available: evserve was built without libseccomp"},
    {FAKE_RESTRICT_CALLS, -EINVAL,
     "2 sandbox without a seccomp filter (Invalid argument): every system call can be made\n",
     "a sandbox is required, but a seccomp filter is not available: Invalid argument"},
};

static void what_is_missing_is_a_warning_and_the_rest_is_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        struct sandbox sandbox;
        lines[0] = '\0';
        fake_sys_clear_trace();
        fake_sys_fail_op(missing[i].op, 0, 1, missing[i].error);
        sandbox_open(&sandbox, NULL);
        assert_int_equal(sandbox_allow(&sandbox, "/", SANDBOX_READ), 0);
        assert_int_equal(sandbox_enter(&sandbox, false, &log_to_lines, NULL, 0), 0);
        assert_string_equal(lines, missing[i].line);
        assert_int_equal(fake_sys_count(FAKE_NO_NEW_PRIVS), 1);
        assert_int_equal(fake_sys_count(FAKE_RESTRICT_CALLS), 1);
        sandbox_close(&sandbox);
    }
}

static void what_is_missing_is_a_failure_when_it_is_required(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        struct sandbox sandbox;
        char err[128];
        fake_sys_fail_op(missing[i].op, 0, 1, missing[i].error);
        sandbox_open(&sandbox, NULL);
        assert_int_equal(sandbox_enter(&sandbox, true, &log_to_lines, err, sizeof err), missing[i].error);
        assert_string_equal(err, missing[i].refusal);
        assert_string_equal(lines, "");
        sandbox_close(&sandbox);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(parts_are_entered_in_the_order_in_which_they_allow_each_other),
        TEST(all_that_the_version_can_deny_is_denied),
        TEST(connections_that_are_needed_are_left),
        TEST(each_access_is_what_it_says),
        TEST(paths_that_cannot_be_allowed_are_errors),
        TEST(what_is_missing_is_a_warning_and_the_rest_is_done),
        TEST(what_is_missing_is_a_failure_when_it_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
