/* http/metrics_hosts.c: names, limits, and what of a Host counts. */

#include "http/metrics_hosts.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct metrics_hosts *hosts;
static char err[512];

static int set_up(void **state)
{
    (void)state;
    hosts = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    metrics_hosts_destroy(hosts);
    return fake_mem_live() == 0 ? 0 : -1;
}

static unsigned find(const char *authority)
{
    return metrics_hosts_find(hosts, authority, strlen(authority));
}

static void host_is_found_without_its_port_and_in_any_case(void **state)
{
    (void)state;
    static const char *const names[] = {"Example.org", "192.0.2.1", "[2001:DB8::1]", "a_b"};
    static const struct {
        const char *authority;
        unsigned number;
    } cases[] = {
        {"example.org", 1},
        {"EXAMPLE.ORG:8080", 1},
        {"example.org.", 1},
        {"example.org.:80", 1},
        {"www.example.org", 0},
        {"example.or", 0},
        {"example.org..", 0},
        {"192.0.2.1", 2},
        {"192.0.2.1:80", 2},
        {"[2001:db8::1]", 3},
        {"[2001:db8::1]:8443", 3},
        {"[2001:db8::2]", 0},
        {"[2001:db8::1", 0},
        {"A_B", 4},
        {"", 0},
        {":80", 0},
        {".", 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(metrics_hosts_add(&hosts, names[i], err, sizeof err), 0);
        assert_int_equal(find(names[i]), HOST_OTHER); /* before it has a number */
    }
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        metrics_hosts_set_number(hosts, i, i + 1);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (find(cases[i].authority) != cases[i].number) {
            fail_msg("%s: %u", cases[i].authority, find(cases[i].authority));
        }
    }
    assert_string_equal(metrics_hosts_name(hosts, 2), "[2001:db8::1]");
    assert_null(metrics_hosts_name(hosts, 4));
    assert_null(metrics_hosts_name(NULL, 0));
}

static void name_counts_once(void **state)
{
    (void)state;
    assert_int_equal(metrics_hosts_add_list(&hosts, " a, b,A,,b. ", err, sizeof err), 0);
    assert_string_equal(metrics_hosts_name(hosts, 0), "a");
    assert_string_equal(metrics_hosts_name(hosts, 1), "b");
    assert_null(metrics_hosts_name(hosts, 2));
    assert_int_equal(metrics_hosts_add_list(&hosts, "", err, sizeof err), 0);
}

static void what_is_no_name_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"",    ".",   ".a",       "a:80", "http://a", "a/b",
                                        "a b", "*.a", "[::1]:80", "[]",   "::1",      "\xc3\xa4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char wanted[64];
        assert_int_equal(metrics_hosts_add(&hosts, names[i], err, sizeof err), -EINVAL);
        snprintf(wanted, sizeof wanted, "\"%s\" is no host name", names[i]);
        assert_non_null(strstr(err, wanted));
    }
    assert_int_equal(metrics_hosts_add_list(&hosts, "a, b:80", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "\"b:80\" is no host name"));
}

static void names_and_their_number_have_a_limit(void **state)
{
    (void)state;
    char name[METRICS_HOST_MAX + 2];
    memset(name, 'a', sizeof name);
    name[METRICS_HOST_MAX] = '\0';
    assert_int_equal(metrics_hosts_add_list(&hosts, name, err, sizeof err), 0);
    assert_string_equal(metrics_hosts_name(hosts, 0), name);
    name[METRICS_HOST_MAX] = 'a';
    name[METRICS_HOST_MAX + 1] = '\0';
    assert_int_equal(metrics_hosts_add(&hosts, name, err, sizeof err), -EINVAL);
    assert_int_equal(metrics_hosts_add_list(&hosts, name, err, sizeof err), -EINVAL);
    for (int i = 1; i <= METRICS_HOSTS_MAX; i++) {
        snprintf(name, sizeof name, "h%d", i);
        assert_int_equal(metrics_hosts_add(&hosts, name, err, sizeof err), i < METRICS_HOSTS_MAX ? 0 : -ENOSPC);
    }
    assert_string_equal(err, "\"h64\" is one too many: metrics tell at most 64 hosts apart");
    assert_int_equal(metrics_hosts_add(&hosts, "h1", err, sizeof err), 0); /* it is there already */
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    fake_mem_fail_after(1, false);
    assert_int_equal(metrics_hosts_add(&hosts, "a", err, sizeof err), -ENOMEM);
    fake_mem_fail_after(2, false);
    assert_int_equal(metrics_hosts_add(&hosts, "a", err, sizeof err), -ENOMEM);
    assert_null(metrics_hosts_name(hosts, 0));
    assert_int_equal(find("a"), HOST_OTHER);
    assert_int_equal(metrics_hosts_add(&hosts, "a", err, sizeof err), 0);
}

#define HOSTS_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTS_TEST(host_is_found_without_its_port_and_in_any_case),
        HOSTS_TEST(name_counts_once),
        HOSTS_TEST(what_is_no_name_is_refused),
        HOSTS_TEST(names_and_their_number_have_a_limit),
        HOSTS_TEST(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
