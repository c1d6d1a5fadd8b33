/* What the parent of --supervise keeps, with real sockets: which of them can still wait for clients. */

#include "core/program/kept_sockets.h"

#include "core/mem.h"
#include "core/program/upgraded.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct kept_sockets kept;

static int listen_on(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un name = {.sun_family = AF_UNIX}; /* the kernel chooses an abstract one */
    const struct sockaddr *address = family == AF_UNIX ? (struct sockaddr *)&name : (struct sockaddr *)&ip;
    socklen_t len = family == AF_UNIX ? sizeof name.sun_family : sizeof ip;
    assert_int_equal(bind(fd, address, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void keep(int fd, const char *text)
{
    char address[EVSERVE_ADDRESS_MAX] = "";
    snprintf(address, sizeof address, "%s", text);
    kept_sockets_add(&kept, fd, address);
}

static void those_that_the_server_has_shut_down_are_dropped(void **state)
{
    (void)state;
    for (int n = 0; n < 2; n++) {
        int family = n == 0 ? AF_INET : AF_UNIX, waits = listen_on(family), shut = listen_on(family);
        keep(shut, "shut");
        keep(waits, "waits");
        int servers = dup(shut);
        assert_int_equal(shutdown(servers, SHUT_RDWR), 0);
        close(servers);
        kept_sockets_drop_shut(&kept);
        assert_int_equal(kept.count, 1);
        assert_string_equal(kept.sockets[0].address, "waits");
        assert_false(is_open(shut));
        assert_true(is_open(waits));
        kept_sockets_drop(&kept);
        assert_int_equal(kept.count, 0);
        assert_false(is_open(waits));
    }
}

static void one_past_the_limit_is_closed(void **state)
{
    (void)state;
    int source = listen_on(AF_INET);
    for (int i = 0; i < KEPT_SOCKETS_MAX; i++) {
        keep(fcntl(source, F_DUPFD_CLOEXEC, 0), "a");
    }
    assert_int_equal(kept.count, KEPT_SOCKETS_MAX);
    int more = dup(source);
    keep(more, "b");
    assert_int_equal(kept.count, KEPT_SOCKETS_MAX);
    assert_false(is_open(more));
    struct upgraded upgraded = {.fd = -1};
    kept_sockets_give(&kept, &upgraded);
    assert_int_equal(upgraded.count, KEPT_SOCKETS_MAX);
    assert_int_equal(upgraded.sockets[KEPT_SOCKETS_MAX - 1].fd, kept.sockets[KEPT_SOCKETS_MAX - 1].fd);
    mem_free(upgraded.sockets);
    kept_sockets_drop(&kept);
    close(source);
}

static void an_address_without_an_end_gets_one(void **state)
{
    (void)state;
    char address[EVSERVE_ADDRESS_MAX];
    memset(address, 'x', sizeof address);
    kept_sockets_add(&kept, listen_on(AF_INET), address);
    assert_int_equal(strlen(kept.sockets[0].address), EVSERVE_ADDRESS_MAX - 1);
    kept_sockets_drop(&kept);
}

static void nothing_kept_gives_nothing(void **state)
{
    (void)state;
    struct upgraded upgraded = {.fd = -1};
    kept_sockets_give(&kept, &upgraded);
    assert_int_equal(upgraded.count, 0);
    assert_null(upgraded.sockets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(those_that_the_server_has_shut_down_are_dropped),
        cmocka_unit_test(one_past_the_limit_is_closed),
        cmocka_unit_test(an_address_without_an_end_gets_one),
        cmocka_unit_test(nothing_kept_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
