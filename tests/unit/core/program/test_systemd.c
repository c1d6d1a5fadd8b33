/* core/program/systemd.c: what the variables mean, and where news go. */

#include "core/program/systemd.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

enum { PID = 700 };

static int tear_down(void **state)
{
    (void)state;
    fake_sys_reset();
    return 0;
}

static void passed_sockets_are_those_of_this_process(void **state)
{
    (void)state;
    static const struct {
        const char *pid, *fds;
        int count;
    } rows[] = {
        {"700", "1", 1},  {"700", "1024", 1024}, {"700", "1025", 1024}, {"700", "0", 0},
        {"700", "-1", 0}, {"700", NULL, 0},      {NULL, "1", 0},        {"701", "1", 0},
        {"700", "x", 0},  {"", "1", 0},          {NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(systemd_passed_fds(rows[i].pid, rows[i].fds, PID), rows[i].count);
    }
}

static void sign_of_life_is_due_twice_as_often_as_the_watchdog_wants(void **state)
{
    (void)state;
    static const struct {
        const char *pid, *usec;
        int64_t ms;
    } rows[] = {
        {"700", "30000000", 15000}, {NULL, "30000000", 15000}, {"701", "30000000", 0}, {"700", NULL, 0},
        {"700", "2000", 1},         {"700", "1999", 0},        {"700", "-5000", 0},    {"700", "x", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(systemd_watchdog_ms(rows[i].pid, rows[i].usec, PID), rows[i].ms);
    }
}

/* Connect, send, close. */
static void notify_once(const char *notify_socket, const char *news)
{
    struct systemd_notifier notifier;
    systemd_notifier_open(&notifier, notify_socket);
    systemd_notify(&notifier, news);
    systemd_notifier_close(&notifier);
    systemd_notifier_close(&notifier); /* closed already */
}

static void news_go_to_the_path_or_the_abstract_name(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address;
    notify_once("/run/systemd/notify", "READY=1");
    assert_string_equal(fake_sys_datagram(&address, &len), "READY=1");
    assert_int_equal(un->sun_family, AF_UNIX);
    assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 19);
    assert_memory_equal(un->sun_path, "/run/systemd/notify", 19);
    notify_once("@name", "STOPPING=1");
    assert_string_equal(fake_sys_datagram(&address, &len), "STOPPING=1");
    assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 5);
    assert_memory_equal(un->sun_path, "\0name", 5);
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void all_news_go_through_one_connection(void **state)
{
    (void)state;
    struct systemd_notifier notifier;
    systemd_notifier_open(&notifier, "/run/systemd/notify");
    systemd_notify(&notifier, "READY=1");
    systemd_notify(&notifier, "STOPPING=1");
    assert_int_equal(fake_sys_count(FAKE_CONNECT_DATAGRAM), 1);
    assert_int_equal(fake_sys_count(FAKE_SEND), 2);
    systemd_notifier_close(&notifier);
}

static void reload_is_announced_with_its_time_in_microseconds(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len;
    struct systemd_notifier notifier;
    systemd_notifier_open(&notifier, "/run/systemd/notify");
    fake_sys_spend_ns(234567891999); /* the clock starts at 1,000 s */
    systemd_notify_reloading(&notifier);
    assert_string_equal(fake_sys_datagram(&address, &len), "RELOADING=1\nMONOTONIC_USEC=1234567891");
    systemd_notifier_close(&notifier);
}

static void status_is_one_line_and_has_an_end(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len;
    struct systemd_notifier notifier;
    char failure[SYSTEMD_STATUS_MAX];
    memset(failure, 'x', sizeof failure);
    failure[sizeof failure - 1] = '\0';
    systemd_notifier_open(&notifier, "/run/systemd/notify");
    systemd_notify_serving(&notifier, "127.0.0.1:80", NULL);
    assert_string_equal(fake_sys_datagram(&address, &len), "READY=1\nSTATUS=listening on 127.0.0.1:80");
    systemd_notify_serving(&notifier, "unix:s", "a.lua:1: no\nMAINPID=1\n");
    assert_string_equal(fake_sys_datagram(&address, &len),
                        "READY=1\nSTATUS=listening on unix:s; not reloaded: a.lua:1: no MAINPID=1 ");
    systemd_notify_serving(&notifier, "unix:s", failure);
    assert_int_equal(strlen(fake_sys_datagram(&address, &len)), SYSTEMD_STATUS_MAX - 1);
    systemd_notifier_close(&notifier);
}

static void who_does_not_want_to_know_is_told_nothing(void **state)
{
    (void)state;
    char longest[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0'; /* one byte too long */
    const char *const sockets[] = {NULL, "", "/", "@", "relative", "vsock:2:1", longest};
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        notify_once(sockets[i], "READY=1");
    }
    assert_int_equal(fake_sys_total(), 0);
    longest[sizeof longest - 2] = '\0';
    notify_once(longest, "READY=1");
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
}

static void news_that_cannot_be_sent_are_lost(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len;
    fake_sys_fail_op(FAKE_CONNECT_DATAGRAM, 0, 2, -ECONNREFUSED);
    notify_once("/run/systemd/notify", "READY=1");
    fake_sys_fail_op(FAKE_SEND, 0, 1, -ENOBUFS);
    notify_once("/run/systemd/notify", "READY=1");
    assert_null(fake_sys_datagram(&address, &len));
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void socket_that_was_made_anew_gets_the_news(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    socklen_t len;
    fake_sys_fail_op(FAKE_SEND, 0, 1, -ECONNREFUSED);
    notify_once("/run/systemd/notify", "READY=1");
    assert_string_equal(fake_sys_datagram(&address, &len), "READY=1");
    assert_int_equal(fake_sys_count(FAKE_CONNECT_DATAGRAM), 2);
    assert_int_equal(fake_sys_open_fds(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(passed_sockets_are_those_of_this_process, tear_down),
        cmocka_unit_test_teardown(sign_of_life_is_due_twice_as_often_as_the_watchdog_wants, tear_down),
        cmocka_unit_test_teardown(news_go_to_the_path_or_the_abstract_name, tear_down),
        cmocka_unit_test_teardown(all_news_go_through_one_connection, tear_down),
        cmocka_unit_test_teardown(reload_is_announced_with_its_time_in_microseconds, tear_down),
        cmocka_unit_test_teardown(status_is_one_line_and_has_an_end, tear_down),
        cmocka_unit_test_teardown(who_does_not_want_to_know_is_told_nothing, tear_down),
        cmocka_unit_test_teardown(news_that_cannot_be_sent_are_lost, tear_down),
        cmocka_unit_test_teardown(socket_that_was_made_anew_gets_the_news, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
