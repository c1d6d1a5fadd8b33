/* core/link.c on the fake kernel: what it costs, slow and failing servers, failures of each call. Real sockets:
 * socket_link.c. */

#include "core/link.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

struct scene {
    struct reactor *reactor;
    struct links links;
    struct link *link;
    struct fake_server *server;
    int opened, error, calls; /* of on_open, its last error; of on_ready */
};

static struct scene scene; /* there is one test at a time */

static void on_open(void *arg, int error)
{
    (void)arg;
    scene.opened++;
    scene.error = error;
}

static void on_ready(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    scene.calls++;
}

static const struct link_user user = {.on_open = on_open, .on_ready = on_ready};

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(6379)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    scene = (struct scene){.server = fake_server_create((struct sockaddr *)&address, sizeof address)};
    if (reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    scene.links.reactor = scene.reactor;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fake_sys_fail(0, 0);
    link_close(scene.link);
    reactor_destroy(scene.reactor);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 && scene.links.count == 0 ? 0 : -1;
}

static int begin(void)
{
    char err[LINK_FAILURE_MAX];
    struct link_target target = {.host = "127.0.0.1", .port = 6379};
    return link_open(&scene.link, &scene.links, &target, &user, NULL, err, sizeof err);
}

static void turn(void)
{
    assert_true(reactor_run_once(scene.reactor, 0) >= 0);
}

static struct fake_peer *connect_link(void)
{
    assert_int_equal(begin(), 0);
    turn();
    assert_int_equal(scene.opened, 1);
    assert_int_equal(scene.error, 0);
    return fake_server_next(scene.server);
}

static void round_trip_costs_a_send_and_a_receive(void **state)
{
    (void)state;
    char buf[64];
    struct fake_peer *peer = connect_link();
    fake_sys_clear_trace();
    uint64_t before = fake_sys_total();
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(link_send(scene.link, "GET x\r\n", 7), 7);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), -EAGAIN);
        assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
        turn();
        assert_int_equal(scene.calls, i - 1);
        fake_peer_send_text(peer, "$1\r\nv\r\n");
        turn();
        assert_int_equal(scene.calls, i);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), 7);
    }
    assert_int_equal(fake_sys_count(FAKE_SEND), 10);
    assert_int_equal(fake_sys_count(FAKE_RECV), 10);
    assert_int_equal(count_epoll_changes(), 0);
    assert_int_equal(fake_sys_total() - before, 10 + 10 + fake_sys_count(FAKE_EPOLL_WAIT));
}

/* The same, where events tell states and not changes. */
static void round_trip_over_a_unix_socket_costs_as_much(void **state)
{
    (void)state;
    char buf[64], err[LINK_FAILURE_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/x.sock"};
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof "/run/x.sock");
    struct fake_server *server = fake_server_create((struct sockaddr *)&address, len);
    struct link_target target = {.path = "/run/x.sock"};
    assert_int_equal(link_open(&scene.link, &scene.links, &target, &user, NULL, err, sizeof err), 0);
    turn();
    assert_int_equal(scene.opened, 1);
    struct fake_peer *peer = fake_server_next(server);
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    turn();
    fake_sys_clear_trace();
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(link_send(scene.link, "GET x\r\n", 7), 7);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), -EAGAIN);
        assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
        fake_peer_send_text(peer, "$1\r\nv\r\n");
        turn();
        assert_int_equal(scene.calls, i);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), 7);
    }
    assert_int_equal(fake_sys_count(FAKE_SEND), 10);
    assert_int_equal(fake_sys_count(FAKE_RECV), 10);
    assert_int_equal(count_epoll_changes(), 0);
    fake_peer_send_text(peer, "abcdef"); /* what a read leaves behind is told again */
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    turn();
    assert_int_equal(link_recv(scene.link, buf, 3), 3);
    assert_int_equal(link_recv(scene.link, buf, 64), 3);
}

static void an_end_is_told_behind_what_was_sent_and_leaves_the_other_way_open(void **state)
{
    (void)state;
    char buf[64];
    size_t len;
    struct fake_peer *peer = connect_link();
    assert_int_equal(link_send(scene.link, "last", 4), 4);
    assert_int_equal(link_end(scene.link), 0);
    assert_true(fake_peer_saw_end(peer));
    assert_string_equal(fake_peer_output(peer, &len), "last");
    fake_peer_send_text(peer, "bye");
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    turn();
    assert_int_equal(scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, sizeof buf), 3);
    fake_sys_fail_op(FAKE_SHUTDOWN_WRITE, 0, 1, -ENOTCONN);
    assert_int_equal(link_end(scene.link), -ENOTCONN);
}

static void server_that_hangs_is_waited_for(void **state)
{
    (void)state;
    fake_server_set(scene.server, FAKE_SERVER_HANGS, 0);
    assert_int_equal(begin(), 0);
    turn();
    assert_int_equal(scene.opened, 0);
    assert_int_equal(link_stage(scene.link), LINK_CONNECTING);
    fake_server_set(scene.server, FAKE_SERVER_FAILS, -ETIMEDOUT);
    turn();
    assert_int_equal(scene.opened, 1);
    assert_int_equal(scene.error, -ETIMEDOUT);
    assert_string_equal(link_failure(scene.link), "Connection timed out");
}

static void closing_while_it_connects_leaves_nothing(void **state)
{
    (void)state;
    fake_server_set(scene.server, FAKE_SERVER_HANGS, 0);
    assert_int_equal(begin(), 0);
    turn();
    link_close(scene.link);
    scene.link = NULL;
    turn();
    assert_int_equal(scene.opened, 0);
}

static void full_socket_is_waited_for(void **state)
{
    (void)state;
    struct fake_peer *peer = connect_link();
    fake_peer_set_room(peer, 3);
    assert_int_equal(link_send(scene.link, "abcdef", 6), 3);
    assert_int_equal(link_send(scene.link, "def", 3), -EAGAIN);
    assert_int_equal(link_want(scene.link, REACTOR_WRITABLE), 0);
    turn();
    assert_int_equal(scene.calls, 0);
    fake_peer_add_room(peer, 10);
    turn();
    assert_int_equal(scene.calls, 1);
    assert_int_equal(link_send(scene.link, "def", 3), 3);
    size_t len;
    assert_string_equal(fake_peer_output(peer, &len), "abcdef");
    fake_sys_clear_trace();
    turn();
    turn();
    assert_int_equal(scene.calls, 1);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT), 2);
}

static void each_call_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        scene.opened = 0;
        fake_sys_fail(n, -ENOBUFS);
        int rv = begin();
        for (int i = 0; rv == 0 && scene.opened == 0 && i < 5; i++) {
            (void)reactor_run_once(scene.reactor, 0);
        }
        bool has_failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        assert_true(rv < 0 || scene.opened == 1);
        assert_true(!has_failed || rv == -ENOBUFS || scene.error == -ENOBUFS || scene.error == 0);
        link_close(rv == 0 ? scene.link : NULL);
        scene.link = NULL;
        assert_int_equal(scene.links.count, 0);
        if (!has_failed) {
            break;
        }
        turn();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip_costs_a_send_and_a_receive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(round_trip_over_a_unix_socket_costs_as_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_is_told_behind_what_was_sent_and_leaves_the_other_way_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(server_that_hangs_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_while_it_connects_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_socket_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_call_may_fail, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
