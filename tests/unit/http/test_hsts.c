/* http/hsts.c: from the text of a setting to a field line. */

#include "http/hsts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void times_become_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"0s", "max-age=0"},
        {"1s", "max-age=1"},
        {"2m", "max-age=120"},
        {"3h", "max-age=10800"},
        {"365d", "max-age=31536000"},
        {"3650d", "max-age=315360000"},
        {"315360000s", "max-age=315360000"},
        {"365d; includeSubDomains", "max-age=31536000; includeSubDomains"},
        {"365d;INCLUDESUBDOMAINS", "max-age=31536000; includeSubDomains"},
        {"365d ;  includeSubDomains ;preload ", "max-age=31536000; includeSubDomains; preload"},
        {"3650d; preload; includeSubDomains", "max-age=315360000; includeSubDomains; preload"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct hsts hsts = {0};
        char err[256] = "";
        char line[HSTS_LINE_MAX];
        if (hsts_parse(&hsts, rows[i].text, err, sizeof err) != 0) {
            fail_msg("%s: %s", rows[i].text, err);
        }
        snprintf(line, sizeof line, "Strict-Transport-Security: %s\r\n", rows[i].value);
        assert_int_equal(hsts.len, strlen(line));
        assert_memory_equal(hsts.line, line, hsts.len);
    }
}

static void off_is_no_line(void **state)
{
    (void)state;
    struct hsts hsts = {0};
    assert_int_equal(hsts_parse(&hsts, "1d", NULL, 0), 0);
    assert_int_equal(hsts_parse(&hsts, "off", NULL, 0), 0);
    assert_int_equal(hsts.len, 0);
}

static void mistakes_are_named_and_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"", "a time such as"},
        {"0", "a time such as"},
        {"30", "a time such as"},
        {"d", "a time such as"},
        {"1y", "a time such as"},
        {"-1d", "a time such as"},
        {"1.5d", "a time such as"},
        {"3651d", "at most 3650d"},
        {"315360001s", "at most 3650d"},
        {"99999999999999999999d", "at most 3650d"},
        {"max-age=1", "a time such as"},
        {"OFF", "a time such as"},
        {"1d includeSubDomains", "behind the time"},
        {"1d;", "behind the time"},
        {"1d; ", "behind the time"},
        {"1d;; includeSubDomains", "behind the time"},
        {"1d; subdomains", "behind the time"},
        {"1d; includeSubDomains; includeSubDomains", "behind the time"},
        {"1d; includeSubDomains x", "behind the time"},
        {"1d\r\nX: y", "a time such as"},
        {"1d; x\r\nX: y", "behind the time"},
        {"365d; preload", "only with includeSubDomains"},
        {"364d; includeSubDomains; preload", "at least 365d"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct hsts hsts = {.len = 3, .line = "abc"};
        char err[256] = "";
        int rv = hsts_parse(&hsts, rows[i].text, err, sizeof err);
        if (rv != -EINVAL || strstr(err, rows[i].reason) == NULL || strncmp(err, "hsts: \"", 7) != 0) {
            fail_msg("%s: %d %s", rows[i].text, rv, err);
        }
        assert_int_equal(hsts.len, 3);
        assert_memory_equal(hsts.line, "abc", 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_become_seconds),
        cmocka_unit_test(off_is_no_line),
        cmocka_unit_test(mistakes_are_named_and_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
