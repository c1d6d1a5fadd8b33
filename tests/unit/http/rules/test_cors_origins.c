/* http/rules/cors_origins.c: which origins a list has. */

#include "http/rules/cors_origins.h"

#include "core/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void origins_are_compared_by_scheme_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *list, *origin;
        bool fits;
    } cases[] = {
        {"*", "https://any.example", true},
        {"*", "null", true},
        {"https://a.example", "https://a.example", true},
        {"https://A.Example", "https://a.example", true},
        {"https://a.example", "https://A.example", false}, /* browsers write lower case */
        {"https://a.example", "http://a.example", false},
        {"https://a.example", "https://a.example:8443", false},
        {"https://a.example", "https://a.example.evil", false},
        {"https://a.example", "https://evil-a.example", false},
        {"https://a.example", "https://b.a.example", false},
        {"https://a.example", "https://a.example/", false},
        {"https://a.example", "", false},
        {"https://a.example", "null", false},
        {"https://a.example, null", "null", true},
        {"http://a.example:8080", "http://a.example:8080", true},
        {"http://a.example:8080", "http://a.example", false},
        {"http://a.example:8080", "http://a.example:80801", false},
        {"https://*.a.example", "https://b.a.example", true},
        {"https://*.a.example", "https://c.b.a.example", true},
        {"https://*.a.example", "https://a.example", false},
        {"https://*.a.example", "https://.a.example", false},
        {"https://*.a.example", "https://ba.example", false},
        {"https://*.a.example", "https://evil.example/.a.example", false},
        {"https://*.a.example", "https://evil.example:1.a.example", false},
        {"https://*.a.example", "https://u@b.a.example", false},
        {"https://*.a.example", "https://b.a.example:8443", false},
        {"https://*.a.example:*", "https://b.a.example:8443", true},
        {"http://localhost:*", "http://localhost:5173", true},
        {"http://localhost:*", "http://localhost", true},
        {"http://localhost:*", "http://localhost:", false},
        {"http://localhost:*", "http://localhost:1x", false},
        {"http://localhost:*", "http://localhost:123456", false},
        {"http://localhost:*", "http://localhost:1:2", false},
        {"http://[::1]:3000, http://127.0.0.1:*", "http://[::1]:3000", true},
        {"http://[::1]:3000, http://127.0.0.1:*", "http://[::1]:3001", false},
        {"http://[::1]:3000, http://127.0.0.1:*", "http://127.0.0.1:1", true},
        {"capacitor://localhost", "capacitor://localhost", true},
        {" https://a.example ,https://b.example", "https://b.example", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char err[512] = "";
        int error = 0;
        struct cors_origins *origins = cors_origins_create(cases[i].list, &error, err, sizeof err);
        assert_string_equal(err, "");
        if (cors_origins_allow(origins, cases[i].origin, strlen(cases[i].origin)) != cases[i].fits) {
            fail_msg("%s in %s", cases[i].origin, cases[i].list);
        }
        mem_free(origins);
    }
}

static void what_browsers_never_send_is_a_mistake(void **state)
{
    (void)state;
    static const struct {
        const char *list, *text;
    } cases[] = {
        {"a.example", "\"a.example\" is no origin: write one such as \"https://app.example\""},
        {"https://a.example/", "\"https://a.example/\": an origin has no path: leave out what comes from the '/' on"},
        {"https://a.example:443", "\"https://a.example:443\": browsers leave out \":443\", and so must you"},
        {"http://a.example:80", "\"http://a.example:80\": browsers leave out \":80\", and so must you"},
        {"https://a.example:x", "\"https://a.example:x\": the port is a number, or \"*\" for any"},
        {"https://*", "\"https://*\": the host is a name in ASCII or an address; \"*\" stands for what is before the "
                      "first '.' alone, as in \"https://*.example.org\""},
        {"https://a*.example", "\"https://a*.example\": the host is a name in ASCII or an address; \"*\" stands for "
                               "what is before the first '.' alone, as in \"https://*.example.org\""},
        {"https://", "\"https://\": the host is a name in ASCII or an address; \"*\" stands for what is before the "
                     "first '.' alone, as in \"https://*.example.org\""},
        {"://a", "\"://a\" is no origin: write one such as \"https://app.example\""},
        {"https://a.example,", "an origin is missing in the list"},
        {"*, https://a.example", "\"*\" stands for all origins: it cannot be in a list with others"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char err[512] = "";
        int error = 0;
        assert_null(cors_origins_create(cases[i].list, &error, err, sizeof err));
        assert_int_equal(error, -EINVAL);
        assert_string_equal(err, cases[i].text);
    }
}

static void a_list_has_limits(void **state)
{
    (void)state;
    char list[CORS_ORIGINS_MAX * 16 + CORS_ORIGIN_TEXT_MAX + 16] = "", err[512] = "";
    int error = 0;
    for (int i = 0; i < CORS_ORIGINS_MAX; i++) {
        snprintf(list + strlen(list), 32, "%shttps://h%d", i == 0 ? "" : ",", i);
    }
    struct cors_origins *origins = cors_origins_create(list, &error, err, sizeof err);
    assert_true(cors_origins_allow(origins, "https://h99", 11));
    mem_free(origins);
    strcat(list, ",https://h");
    assert_null(cors_origins_create(list, &error, err, sizeof err));
    assert_int_equal(error, -ENOSPC);
    assert_string_equal(err, "\"https://h\" is one origin too many: at most 100");
    memset(list, 'h', CORS_ORIGIN_TEXT_MAX);
    memcpy(list, "https://", 8);
    list[CORS_ORIGIN_TEXT_MAX] = '\0';
    assert_null(cors_origins_create(list, &error, err, sizeof err));
    assert_non_null(strstr(err, "is too long"));
    list[CORS_ORIGIN_TEXT_MAX - 1] = '\0';
    mem_free(cors_origins_create(list, &error, err, sizeof err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_are_compared_by_scheme_host_and_port),
        cmocka_unit_test(what_browsers_never_send_is_a_mistake),
        cmocka_unit_test(a_list_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
