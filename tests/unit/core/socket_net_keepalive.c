/* Keep-alive of accepted connections, on the real kernel: they have it from their listener, without a call of ours. */

#include "core/net.h"
#include "core/reactor.h"
#include "core/sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct stage {
    struct reactor *reactor;
    struct net_listener listener;
    int accepted; /* the connection accepted last, -1 before */
    char folder[64];
    char err[256];
};

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)peer;
    (void)peer_len;
    ((struct stage *)arg)->accepted = fd;
}

static int set_up(void **state)
{
    static struct stage stage;
    stage = (struct stage){.accepted = -1, .listener = {.fd = -1}};
    *state = &stage;
    strcpy(stage.folder, "/tmp/evserve-keep-XXXXXX");
    return mkdtemp(stage.folder) == NULL ? -1 : reactor_create(&stage.reactor, NULL);
}

static int tear_down(void **state)
{
    struct stage *stage = *state;
    net_listener_close(&stage->listener);
    reactor_destroy(stage->reactor);
    return rmdir(stage->folder);
}

static void must_listen(struct stage *stage, const char *text)
{
    struct net_address address;
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    if (net_listener_open(&stage->listener, stage->reactor, &address, 0, on_accept, stage, NULL, stage->err,
                          sizeof stage->err) < 0) {
        fail_msg("%s", stage->err);
    }
}

/* What a connection that is accepted now has: on, idle, interval, count, user timeout. */
static void accept_one(struct stage *stage, int values[5])
{
    static const struct {
        int level, option;
    } options[] = {{SOL_SOCKET, SO_KEEPALIVE},
                   {IPPROTO_TCP, TCP_KEEPIDLE},
                   {IPPROTO_TCP, TCP_KEEPINTVL},
                   {IPPROTO_TCP, TCP_KEEPCNT},
                   {IPPROTO_TCP, TCP_USER_TIMEOUT}};
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    assert_int_equal(sys_socket_name(stage->listener.fd, (struct sockaddr *)&address, &len), 0);
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
    stage->accepted = -1;
    while (stage->accepted < 0) {
        assert_true(reactor_run_once(stage->reactor, 1000) >= 0);
    }
    for (int i = 0; i < 5; i++) {
        values[i] = sys_get_option(stage->accepted, options[i].level, options[i].option);
    }
    close(stage->accepted);
    close(fd);
}

static void assert_values(const int values[5], int on, int idle, int interval, int count, int user_timeout)
{
    assert_int_equal(values[0], on);
    assert_int_equal(values[1], idle);
    assert_int_equal(values[2], interval);
    assert_int_equal(values[3], count);
    assert_int_equal(values[4], user_timeout);
}

static void net_keepalive_of_a_listener_is_that_of_its_connections(void **state)
{
    struct stage *stage = *state;
    int values[5];
    must_listen(stage, "127.0.0.1:0");
    net_listener_set_keepalive(&stage->listener, 60000, 120000);
    accept_one(stage, values);
    assert_values(values, 1, 60, 15, 4, 120000);
    net_listener_set_keepalive(&stage->listener, 1001, 5000); /* another one, rounded up */
    accept_one(stage, values);
    assert_values(values, 1, 2, 1, 4, 5000);
    net_listener_set_keepalive(&stage->listener, UINT64_C(32400000), UINT64_C(86400000));
    accept_one(stage, values);
    assert_values(values, 1, 32400, 8100, 4, 86400000);
    net_listener_set_keepalive(&stage->listener, 0, 0); /* no more */
    accept_one(stage, values);
    assert_int_equal(values[0], 0);
    assert_int_equal(values[4], 0);
}

static void net_keepalive_of_an_inherited_socket_stays_unless_another_is_asked_for(void **state)
{
    struct stage *stage = *state;
    int values[5];
    char text[32];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(sys_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
    assert_int_equal(sys_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 7), 0);
    snprintf(text, sizeof text, "fd:%d", fd);
    must_listen(stage, text);
    net_listener_set_keepalive(&stage->listener, 0, 0);
    accept_one(stage, values);
    assert_int_equal(values[0], 1);
    assert_int_equal(values[1], 7);
    net_listener_set_keepalive(&stage->listener, 20000, 40000);
    accept_one(stage, values);
    assert_values(values, 1, 20, 5, 4, 40000);
    close(fd);
}

static void net_keepalive_passes_over_unix_sockets(void **state)
{
    struct stage *stage = *state;
    int values[5];
    char text[96];
    snprintf(text, sizeof text, "unix:%s/socket", stage->folder);
    must_listen(stage, text);
    net_listener_set_keepalive(&stage->listener, 60000, 120000);
    accept_one(stage, values);
    assert_int_equal(values[0], 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(net_keepalive_of_a_listener_is_that_of_its_connections),
        TEST(net_keepalive_of_an_inherited_socket_stays_unless_another_is_asked_for),
        TEST(net_keepalive_passes_over_unix_sockets),
    };
    return cmocka_run_group_tests_name("net_keepalive", tests, NULL, NULL);
}
