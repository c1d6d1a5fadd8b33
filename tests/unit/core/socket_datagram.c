/* core/datagram.c on the real kernel: datagrams go to one peer and come back, over IPv4 and unix sockets. */

#include "core/datagram.h"

#include "core/sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A socket bound to address, which gets what the kernel has made of it. */
static int bind_peer(struct sockaddr_storage *address, socklen_t *len)
{
    int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, *len), 0);
    *len = sizeof *address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, len), 0);
    return fd;
}

static void assert_round_trip(struct sockaddr_storage *address, socklen_t len)
{
    char text[16];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    int peer = bind_peer(address, &len);
    int fd = datagram_open((struct sockaddr *)address, len);
    assert_true(fd > 2);
    assert_int_equal(sys_recv(fd, text, sizeof text), -EAGAIN);
    assert_int_equal(sys_send(fd, "there", 5, false), 5);
    assert_int_equal(recvfrom(peer, text, sizeof text, 0, (struct sockaddr *)&from, &from_len), 5);
    assert_int_equal(sendto(peer, "back", 4, 0, (struct sockaddr *)&from, from_len), 4);
    assert_int_equal(sendto(peer, "", 0, 0, (struct sockaddr *)&from, from_len), 0);
    assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
    assert_int_equal(sys_recv(fd, text, 2), 2); /* the rest is lost */
    assert_int_equal(sys_recv(fd, text, sizeof text), 0);
    assert_int_equal(sys_recv(fd, text, sizeof text), -EAGAIN);
    sys_close(fd);
    close(peer);
}

static void datagrams_go_there_and_back(void **state)
{
    (void)state;
    struct sockaddr_storage address = {0};
    *(struct sockaddr_in *)&address = (struct sockaddr_in){.sin_family = AF_INET,
                                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_round_trip(&address, sizeof(struct sockaddr_in));
    memset(&address, 0, sizeof address);
    struct sockaddr_un *name = (struct sockaddr_un *)&address;
    name->sun_family = AF_UNIX;
    int len = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "evserve-datagram-%d", (int)getpid());
    assert_round_trip(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len));
}

static void an_address_that_leads_nowhere_is_an_error_and_leaves_no_fd(void **state)
{
    (void)state;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/nowhere/evserve.sock"};
    int next = dup(0);
    close(next);
    assert_int_equal(datagram_open((struct sockaddr *)&name, sizeof name), -ENOENT);
    struct sockaddr odd = {.sa_family = AF_UNSPEC};
    assert_int_equal(datagram_open(&odd, sizeof odd), -EAFNOSUPPORT);
    assert_int_equal(dup(0), next);
    close(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_go_there_and_back),
        cmocka_unit_test(an_address_that_leads_nowhere_is_an_error_and_leaves_no_fd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
