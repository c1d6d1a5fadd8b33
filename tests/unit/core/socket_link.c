/* core/link.c over real sockets: connecting, its failures, reading and writing, the end of the other side. */

#include "core/link.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    struct reactor *reactor;
    struct links links;
    struct link *link;
    int listener, peer; /* the other side; -1: there is none */
    uint16_t port;
    int opened, error;   /* calls of on_open, and its last error */
    int calls;           /* of on_ready */
    unsigned events;     /* of its last call */
    bool closes_on_open; /* on_open closes the link */
};

static struct scene scene; /* there is one test at a time */

static void on_open(void *arg, int error)
{
    assert_ptr_equal(arg, &scene);
    scene.opened++;
    scene.error = error;
    if (scene.closes_on_open) {
        link_close(scene.link);
        scene.link = NULL;
    }
}

static void on_ready(void *arg, unsigned events)
{
    assert_ptr_equal(arg, &scene);
    scene.calls++;
    scene.events = events;
}

static const struct link_user user = {.on_open = on_open, .on_ready = on_ready};

static int set_up(void **state)
{
    (void)state;
    scene = (struct scene){.peer = -1};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(scene.listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(scene.listener, 8) < 0 ||
        getsockname(scene.listener, (struct sockaddr *)&address, &len) < 0 ||
        reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    scene.port = ntohs(address.sin_port);
    scene.links.reactor = scene.reactor;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    link_close(scene.link);
    reactor_destroy(scene.reactor);
    close(scene.listener);
    if (scene.peer >= 0) {
        close(scene.peer);
    }
    return scene.links.count == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static int open_stream(const char *host, uint16_t port, const char *path, char err[256])
{
    struct link_target target = {.host = host, .port = port, .path = path};
    return link_open(&scene.link, &scene.links, &target, &user, &scene, err, 256);
}

/* Turn until *count is at least wanted. */
static void run_until(const int *count, int wanted)
{
    for (int i = 0; i < 100 && *count < wanted; i++) {
        assert_true(reactor_run_once(scene.reactor, 100) >= 0);
    }
    assert_int_equal(*count, wanted);
}

/* A few turns, in which nothing of the link's happens. */
static void run_in_vain(void)
{
    int opened = scene.opened, calls = scene.calls;
    uint64_t events = reactor_counts(scene.reactor).events;
    for (int i = 0; i < 5; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
    }
    assert_int_equal(scene.opened, opened);
    assert_int_equal(scene.calls, calls);
    assert_true(reactor_counts(scene.reactor).events - events <= 1);
}

static void connect_stream(void)
{
    char err[256];
    assert_int_equal(open_stream("127.0.0.1", scene.port, NULL, err), 0);
    assert_int_equal(scene.opened, 0);
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, 0);
    assert_int_equal(link_stage(scene.link), LINK_OPEN);
    scene.peer = accept(scene.listener, NULL, NULL);
    assert_true(scene.peer >= 0);
}

static void request_and_response_go_to_and_fro(void **state)
{
    (void)state;
    char buf[64];
    connect_stream();
    run_in_vain(); /* it is writable all the time, which nobody asked */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(link_send(scene.link, "PING\r\n", 6), 6);
        assert_int_equal(recv(scene.peer, buf, sizeof buf, 0), 6);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), -EAGAIN);
        assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
        assert_int_equal(send(scene.peer, "+PONG\r\n", 7, 0), 7);
        run_until(&scene.calls, i + 1);
        assert_int_equal(scene.events, REACTOR_READABLE);
        assert_int_equal(link_recv(scene.link, buf, sizeof buf), 7);
        run_in_vain();
    }
    assert_false(link_is_stale(scene.link));
    socklen_t len;
    assert_int_equal(link_peer(scene.link, &len)->sa_family, AF_INET);
    assert_int_equal(len, sizeof(struct sockaddr_in));
}

static void nothing_is_told_that_is_not_wanted(void **state)
{
    (void)state;
    char buf[64];
    connect_stream();
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    assert_int_equal(link_want(scene.link, 0), 0);
    assert_int_equal(send(scene.peer, "x", 1, 0), 1);
    run_in_vain();
    assert_true(link_is_stale(scene.link));
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0); /* the event has been, and is told now */
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, sizeof buf), 1);
    assert_int_equal(link_want(scene.link, REACTOR_WRITABLE), 0);
    run_until(&scene.calls, 2);
    assert_int_equal(scene.events, REACTOR_WRITABLE);
    run_in_vain();
}

static void more_than_was_read_is_told_again(void **state)
{
    (void)state;
    char buf[64];
    connect_stream();
    assert_int_equal(send(scene.peer, "abcdef", 6, 0), 6);
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, 3), 3);
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    run_until(&scene.calls, 2);
    assert_int_equal(link_recv(scene.link, buf, 64), 3);
    run_in_vain();
}

static void peers_end_is_read(void **state)
{
    (void)state;
    char buf[64];
    connect_stream();
    close(scene.peer);
    scene.peer = -1;
    run_in_vain();
    assert_true(link_is_stale(scene.link));
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, sizeof buf), 0);
}

static void reset_is_told_by_the_next_call(void **state)
{
    (void)state;
    char buf[64];
    connect_stream();
    struct linger linger = {.l_onoff = 1};
    setsockopt(scene.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    close(scene.peer);
    scene.peer = -1;
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, sizeof buf), -ECONNRESET);
    assert_int_equal(link_send(scene.link, "x", 1), -ECONNRESET);
    run_in_vain();
}

static void refusal_is_told_by_on_open(void **state)
{
    (void)state;
    char err[256];
    close(scene.listener);
    scene.listener = -1;
    assert_int_equal(open_stream("127.0.0.1", scene.port, NULL, err), 0);
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, -ECONNREFUSED);
    assert_int_equal(link_stage(scene.link), LINK_CONNECTING);
    assert_string_equal(link_failure(scene.link), "Connection refused");
    run_in_vain();
}

static void unix_sockets_by_path_and_by_name(void **state)
{
    (void)state;
    char err[256], name[32], buf[8];
    assert_int_equal(open_stream(NULL, 0, "/nowhere/at/all.sock", err), 0);
    assert_int_equal(scene.opened, 0);
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, -ENOENT);
    link_close(scene.link);
    scene.link = NULL;

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(name, sizeof name, "@evserve-test-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
                     0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(open_stream(NULL, 0, name, err), 0);
    run_until(&scene.opened, 2);
    assert_int_equal(scene.error, 0);
    scene.peer = accept(listener, NULL, NULL);
    close(listener);
    assert_int_equal(send(scene.peer, "hello", 5, 0), 5);
    run_in_vain(); /* watched by level, but not while nobody reads */
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, buf, sizeof buf), 5);
    assert_int_equal(memcmp(buf, "hello", 5), 0);
}

static void bad_targets_are_refused(void **state)
{
    (void)state;
    char err[256], path[200];
    memset(path, 'x', sizeof path);
    path[107] = '\0';
    assert_int_equal(open_stream(NULL, 0, path, err), 0); /* as long as one may be */
    link_close(scene.link);
    scene.link = NULL;
    path[107] = 'x';
    path[108] = '\0';
    assert_int_equal(open_stream(NULL, 0, path, err), -EINVAL);
    assert_string_equal(err, "the path of a unix socket has 1 to 107 bytes");
    assert_int_equal(open_stream(NULL, 0, "", err), -EINVAL);
    assert_int_equal(open_stream(NULL, 0, "@", err), -EINVAL);
}

static void streams_have_a_limit(void **state)
{
    (void)state;
    char err[256];
    struct link *other;
    struct link_target target = {.host = "127.0.0.1", .port = scene.port};
    scene.links.max = 1;
    assert_int_equal(open_stream("127.0.0.1", scene.port, NULL, err), 0);
    assert_int_equal(link_open(&other, &scene.links, &target, &user, &scene, err, sizeof err), -ENOBUFS);
    assert_string_equal(err, "1 connections to other servers are open, as many as may be");
}

static void user_may_close_it_in_on_open(void **state)
{
    (void)state;
    char err[256];
    scene.closes_on_open = true;
    assert_int_equal(open_stream("127.0.0.1", scene.port, NULL, err), 0);
    run_until(&scene.opened, 1);
    assert_null(scene.link);
    assert_int_equal(open_stream(NULL, 0, "/nowhere/at/all.sock", err), 0);
    run_until(&scene.opened, 2);
}

static void lack_of_memory_begins_nothing(void **state)
{
    (void)state;
    char err[256];
    for (uint64_t n = 0;; n++) {
        fake_mem_fail_after(n, true);
        int rv = open_stream("127.0.0.1", scene.port, NULL, err);
        fake_mem_fail_after(0, false);
        if (rv == 0) {
            break;
        }
        assert_int_equal(rv, -ENOMEM);
        assert_int_equal(scene.links.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_and_response_go_to_and_fro, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_told_that_is_not_wanted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_was_read_is_told_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(peers_end_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reset_is_told_by_the_next_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusal_is_told_by_on_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unix_sockets_by_path_and_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_targets_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_have_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(user_may_close_it_in_on_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lack_of_memory_begins_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
