/* core/program/passed.c: the names of sockets that are passed on, there and back. */

#include "core/program/passed.h"
#include "core/program/systemd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_name_tells_the_address(void **state)
{
    (void)state;
    static const struct {
        const char *address, *name;
    } rows[] = {
        {"127.0.0.1:8080", "listen=127.0.0.1%3A8080"},
        {"[::1]:0", "listen=[%3A%3A1]%3A0"},
        {"unix:/run/a b%\n\xc3\xbc.sock", "listen=unix%3A/run/a%20b%25%0A%C3%BC.sock"},
        {"unix:@name", "listen=unix%3A@name"},
        {"fd:3", "listen=fd%3A3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[PASSED_NAME_MAX];
        struct passed_socket passed;
        passed_name(rows[i].address, name);
        assert_string_equal(name, rows[i].name);
        passed_read(&passed, 1, name);
        assert_string_equal(passed.address, rows[i].address);
        assert_int_equal(passed.fd, SYSTEMD_FIRST_FD);
    }
}

static void the_longest_address_fits(void **state)
{
    (void)state;
    char address[NET_TEXT_MAX], name[PASSED_NAME_MAX];
    struct passed_socket passed;
    memset(address, ' ', sizeof address);
    address[NET_TEXT_MAX - 1] = '\0';
    passed_name(address, name);
    passed_read(&passed, 1, name);
    assert_string_equal(passed.address, address);
    char long_name[PASSED_NAME_MAX + 16] = "listen=";
    memset(long_name + strlen("listen="), 'x', NET_TEXT_MAX); /* one byte too many */
    passed_read(&passed, 1, long_name);
    assert_int_equal(strlen(passed.address), NET_TEXT_MAX - 1);
}

static void other_names_tell_no_address(void **state)
{
    (void)state;
    static const char *const names[] = {NULL,        "",           "unknown",     "listen",      "listen=",
                                        "listen=%",  "listen=%3",  "listen=a%3g", "listen=a%00", "evserve.socket",
                                        "Listen=x1", "listen=%3a", "stored"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct passed_socket passed;
        passed_read(&passed, 1, names[i]);
        assert_string_equal(passed.address, "");
        assert_int_equal(passed.fd, SYSTEMD_FIRST_FD);
    }
}

static void each_socket_has_its_name(void **state)
{
    (void)state;
    struct passed_socket passed[5];
    passed_read(passed, 5, "listen=a:unknown::listen=b");
    static const char *const addresses[] = {"a", "", "", "b", ""};
    for (int i = 0; i < 5; i++) {
        assert_string_equal(passed[i].address, addresses[i]);
        assert_int_equal(passed[i].fd, SYSTEMD_FIRST_FD + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_tells_the_address),
        cmocka_unit_test(the_longest_address_fits),
        cmocka_unit_test(other_names_tell_no_address),
        cmocka_unit_test(each_socket_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
