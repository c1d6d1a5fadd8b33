/* http/host_name.c: names as operators write them, and hosts as requests name them. */

#include "http/host_name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_251                                                                                                       \
    LABEL_63 "." LABEL_63 "." LABEL_63 "."                                                                             \
             "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void names_have_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *form;
    } rows[] = {
        {"example.org", "example.org"},
        {"Example.ORG.", "example.org"},
        {"localhost", "localhost"},
        {"a_b.example-x.org", "a_b.example-x.org"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example"},
        {"192.0.2.1", "192.0.2.1"},
        {"::1", "[::1]"},
        {"[2001:DB8:0:0::1]", "[2001:db8::1]"},
        {"[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"},
        {"*.Example.org", "*.example.org"},
        {"*.org", "*.org"},
        {LABEL_63 ".org", LABEL_63 ".org"},
        {NAME_251 ".c", NAME_251 ".c"},
        {NAME_251 ".c.", NAME_251 ".c"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct host_name name;
        char err[512] = "";
        if (host_name_parse(&name, rows[i].text, err, sizeof err) < 0) {
            fail_msg("%s", err);
        }
        assert_string_equal(name.text, rows[i].form);
        assert_int_equal(name.len, strlen(rows[i].form));
    }
}

static void what_is_no_name_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"", "it is empty"},
        {".", "write \"example.org\""},
        {"https://example.org", "not a URL"},
        {"example.org/", "not a URL"},
        {"example.org:8080", "without a port"},
        {"[::1]:80", "without a port"},
        {"[::1", "without a port"},
        {"[]", "is expected"},
        {"[", "is expected"},
        {"::g", "without a port"},
        {"b\303\274cher.example", "xn--"},
        {"*", "default host"},
        {"_", "default host"},
        {".example.org", "\"*.example.org\" for a name and those below it"},
        {"*.", "only in front"},
        {"*.*.org", "only in front"},
        {"www.*", "only in front"},
        {"w*.example.org", "only in front"},
        {"a b", "is expected"},
        {"a%20b", "is expected"},
        {"a..b", "nothing between two dots"},
        {"a..", "nothing between two dots"},
        {"*..org", "nothing between two dots"},
        {"a" LABEL_63 ".org", "longer than 63"},
        {NAME_251 ".cc", "longer than 253"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct host_name name;
        char err[512] = "";
        assert_int_equal(host_name_parse(&name, rows[i].text, err, sizeof err), -EINVAL);
        if (strstr(err, rows[i].reason) == NULL || strstr(err, rows[i].text) == NULL) {
            fail_msg("%s: %s", rows[i].text, err);
        }
    }
}

/* Every form of a host in RFC 9112 and RFC 3986 that the parser lets pass. */
static void hosts_of_requests_have_the_same_form(void **state)
{
    (void)state;
    static const struct {
        const char *authority, *form;
    } rows[] = {
        {"", ""},
        {"example.org", "example.org"},
        {"EXAMPLE.org:8443", "example.org"},
        {"example.org:", "example.org"},
        {"example.org.", "example.org"},
        {"example.org.:80", "example.org"},
        {"192.0.2.1:80", "192.0.2.1"},
        {"[::1]", "[::1]"},
        {"[::1]:80", "[::1]"},
        {"[0:0:0:0:0:0:0:1]", "[::1]"},
        {"[2001:DB8::1]:", "[2001:db8::1]"},
        {"[::g]", ""},
        {"a%2Db", "a%2db"},
        {NAME_251 ".c.:65535", NAME_251 ".c"},
        {NAME_251 ".cc", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct host_name name;
        char *exact = strdup(rows[i].authority); /* a byte behind it would be found */
        assert_non_null(exact);
        host_name_of_authority(&name, exact, strlen(exact));
        free(exact);
        assert_string_equal(name.text, rows[i].form);
        assert_int_equal(name.len, strlen(rows[i].form));
    }
}

static void addresses_are_no_names_of_dns(void **state)
{
    (void)state;
    assert_true(host_name_is_dns("example.org") && host_name_is_dns("*.example.org") && host_name_is_dns("1.2.3"));
    assert_false(host_name_is_dns("192.0.2.1") || host_name_is_dns("::1") || host_name_is_dns("[::1]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_form),
        cmocka_unit_test(what_is_no_name_is_refused_with_a_reason),
        cmocka_unit_test(addresses_are_no_names_of_dns),
        cmocka_unit_test(hosts_of_requests_have_the_same_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
