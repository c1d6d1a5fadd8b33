/* Names of servers: which one of several a client's name finds. */

#include "core/tls_names.h"

#include "core/mem.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tls_names names;

static int add(const char *name, void *value)
{
    return tls_names_add(&names, name, strlen(name), value);
}

static const char *find(const char *name)
{
    return tls_names_find(&names, name, strlen(name));
}

static int tear_down(void **state)
{
    (void)state;
    tls_names_done(&names);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void name_comes_before_wildcard_and_wildcard_is_one_label(void **state)
{
    (void)state;
    static char one[] = "one", wild[] = "wild", special[] = "special", address[] = "address";
    assert_int_equal(add("Example.org", one), 0);
    assert_int_equal(add("*.example.org", wild), 0);
    assert_int_equal(add("a.example.org.", special), 0);
    assert_int_equal(add("192.0.2.1", address), 0);
    static const struct {
        const char *asked, *found;
    } rows[] = {
        {"example.org", one},
        {"EXAMPLE.ORG.", one},
        {"a.example.org", special},
        {"b.example.org", wild},
        {"bb.Example.org", wild},
        {"a.b.example.org", NULL},
        {".example.org", NULL},
        {"*.example.org", NULL},
        {"org", NULL},
        {"", NULL},
        {".", NULL},
        {"xexample.org", NULL},
        {"192.0.2.1", address},
        {"x.192.0.2.1", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (find(rows[i].asked) != rows[i].found) {
            fail_msg("%s", rows[i].asked);
        }
    }
    assert_null(tls_names_find(&names, "example.org\0x", 13));
}

static void names_are_listed_in_order_and_by_value(void **state)
{
    (void)state;
    static char one[] = "one", other[] = "other";
    assert_int_equal(add("example.org", one), 0);
    assert_int_equal(add("*.example.org", one), 0);
    assert_int_equal(add("B.example.org", other), 0);
    assert_string_equal(tls_names_at(&names, 0), "*.example.org");
    assert_string_equal(tls_names_at(&names, 1), "b.example.org");
    assert_string_equal(tls_names_at(&names, 2), "example.org");
    assert_null(tls_names_at(&names, 3));
    char *joined = tls_names_join(&names, one);
    assert_string_equal(joined, "*.example.org example.org");
    mem_free(joined);
    joined = tls_names_join(&names, &joined);
    assert_string_equal(joined, "");
    mem_free(joined);
}

static void name_may_change_its_value(void **state)
{
    (void)state;
    static char one[] = "one", other[] = "other";
    assert_int_equal(tls_names_set(&names, "*.Example.org", 13, one), 0);
    assert_int_equal(tls_names_set(&names, "*.example.org", 13, other), 0);
    assert_int_equal(names.count, 1);
    assert_ptr_equal(tls_names_get(&names, "*.example.ORG", 13), other);
    assert_null(tls_names_get(&names, "a.example.org", 13)); /* not by way of the wildcard */
    assert_null(tls_names_get(&names, "", 0));
    assert_int_equal(tls_names_set(&names, "", 0, one), -EINVAL);
}

static void first_one_keeps_a_name(void **state)
{
    (void)state;
    char one[] = "one", other[] = "other", text[300];
    assert_int_equal(add("example.org", one), 0);
    assert_int_equal(add("EXAMPLE.org", one), 0);
    assert_int_equal(add("example.org", other), -EEXIST);
    assert_ptr_equal(find("example.org"), one);
    assert_int_equal(names.count, 1);
    memset(text, 'a', sizeof text);
    assert_int_equal(tls_names_add(&names, text, 256, one), -EINVAL);
    assert_int_equal(tls_names_add(&names, text, 255, one), 0);
    assert_int_equal(add("", one), -EINVAL);
}

static void many_names_are_all_found(void **state)
{
    (void)state;
    char text[64];
    for (uintptr_t i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "host%u.example", (unsigned)(i * 7919 % 1000));
        assert_int_equal(add(text, (void *)(i * 7919 % 1000 + 1)), 0);
    }
    for (uintptr_t i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "host%u.example", (unsigned)i);
        assert_ptr_equal(find(text), (const char *)(i + 1));
    }
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    char value[] = "value";
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(add("example.org", value), -ENOMEM);
        assert_int_equal(names.count, 0);
        tls_names_done(&names);
    }
    assert_int_equal(add("example.org", value), 0);
    fake_mem_fail_after(1, false);
    assert_null(tls_names_join(&names, value));
}

#define NAMES_TEST(fn) cmocka_unit_test_teardown(fn, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMES_TEST(name_comes_before_wildcard_and_wildcard_is_one_label),
        NAMES_TEST(names_are_listed_in_order_and_by_value),
        NAMES_TEST(name_may_change_its_value),
        NAMES_TEST(first_one_keeps_a_name),
        NAMES_TEST(many_names_are_all_found),
        NAMES_TEST(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
