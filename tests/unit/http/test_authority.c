/* http/authority.c: hosts with ports. */

#include "http/authority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void authorities_are_valid_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int host_len; /* -1: it is not valid */
    } rows[] = {
        {"a", 1},
        {"example.org", 11},
        {"example.org:8080", 11},
        {"example.org:", 11},
        {"example.org.", 12},
        {"127.0.0.1:80", 9},
        {"[::1]", 5},
        {"[::1]:80", 5},
        {"%41b", 4},
        {"a_b~!$&'()*+,;=", 15},
        {"", -1},
        {":80", -1},
        {"a:b", -1},
        {"a:80:90", -1},
        {"user@a", -1},
        {"a/b", -1},
        {"a b", -1},
        {"[::1", -1},
        {"[::1]a", -1},
        {"[a]", -1},
        {"[v1.a]", -1},
        {"%4", -1},
        {"%zz", -1},
        {"a\"", -1},
        {"::1", -1},
        {"\xc3\xa4", -1},
        {"[]", -1},
        {"a[::1]", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = strlen(rows[i].text);
        assert_int_equal(authority_is_valid(rows[i].text, len), rows[i].host_len >= 0);
        if (rows[i].host_len >= 0) {
            assert_int_equal(authority_host_len(rows[i].text, len), rows[i].host_len);
        }
    }
    assert_int_equal(authority_host_len("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities_are_valid_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
