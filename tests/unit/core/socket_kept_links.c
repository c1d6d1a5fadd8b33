/* core/kept_links.c over real sockets: what is kept is found again, and closed in time, by its peer or to make room. */

#include "core/outbound.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEERS_MAX = 40 };

struct kept_scene {
    struct reactor *reactor;
    struct outbound outbound;
    int listener;
    uint16_t port;
    int peers[PEERS_MAX]; /* the other sides, in the order of the links */
    int peer_count;
    int opened;
};

static struct kept_scene scene;

static void on_open(void *arg, int error)
{
    (void)arg;
    assert_int_equal(error, 0);
    scene.opened++;
}

static const struct link_user user = {.on_open = on_open};

static int set_up(void **state)
{
    (void)state;
    scene = (struct kept_scene){.listener = -1};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(scene.listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(scene.listener, 64) < 0 ||
        getsockname(scene.listener, (struct sockaddr *)&address, &len) < 0 ||
        reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    scene.port = ntohs(address.sin_port);
    outbound_init(&scene.outbound, scene.reactor, NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    outbound_done(&scene.outbound);
    reactor_destroy(scene.reactor);
    close(scene.listener);
    for (int i = 0; i < scene.peer_count; i++) {
        close(scene.peers[i]);
    }
    return fake_mem_live() == 0 ? 0 : -1;
}

static void turn(int times)
{
    for (int i = 0; i < times; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
    }
}

static struct link *connect_link(void)
{
    char err[256];
    struct link *link;
    int opened = scene.opened;
    struct link_target target = {.host = "127.0.0.1", .port = scene.port};
    assert_int_equal(outbound_connect(&scene.outbound, &link, &target, &user, NULL, err, sizeof err), 0);
    for (int i = 0; i < 100 && scene.opened == opened; i++) {
        assert_true(reactor_run_once(scene.reactor, 100) >= 0);
    }
    assert_true(scene.peer_count < PEERS_MAX);
    scene.peers[scene.peer_count] = accept(scene.listener, NULL, NULL);
    assert_true(scene.peers[scene.peer_count++] >= 0);
    return link;
}

static int keep(const char *name, struct link *link, unsigned reused, uint32_t idle_ms, unsigned size)
{
    return kept_links_put(&scene.outbound.kept, name, strlen(name), link, reused, idle_ms, size);
}

static struct link *take(const char *name, unsigned *reused)
{
    return kept_links_take(&scene.outbound.kept, name, strlen(name), reused);
}

/* Whether the n-th peer sees that its link was closed. */
static bool is_closed(int n)
{
    char byte;
    return recv(scene.peers[n], &byte, 1, MSG_DONTWAIT) == 0;
}

static void kept_link_is_taken_by_its_name(void **state)
{
    (void)state;
    unsigned reused = 0;
    struct link *a = connect_link(), *b = connect_link();
    assert_int_equal(keep("a", a, 0, 1000, 30), 0);
    assert_int_equal(keep("b", b, 5, 0, 30), 0);
    turn(3);
    assert_null(take("c", &reused));
    assert_ptr_equal(take("a", &reused), a);
    assert_int_equal(reused, 1);
    assert_null(take("a", &reused));
    assert_ptr_equal(take("b", &reused), b);
    assert_int_equal(reused, 6);
    link_close(a);
    link_close(b);
}

static void last_one_kept_is_taken_first(void **state)
{
    (void)state;
    unsigned reused;
    struct link *links[3];
    for (int i = 0; i < 3; i++) {
        links[i] = connect_link();
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(keep("a", links[i], 0, 0, 3), 0);
    }
    assert_ptr_equal(take("a", &reused), links[2]);
    assert_int_equal(keep("a", links[2], 0, 0, 2), 0); /* as many as there may be, and one more */
    assert_true(is_closed(0));
    assert_false(is_closed(1));
    assert_ptr_equal(take("a", &reused), links[2]);
    assert_ptr_equal(take("a", &reused), links[1]);
    assert_null(take("a", &reused));
    link_close(links[1]);
    link_close(links[2]);
}

static void links_are_closed_in_their_time(void **state)
{
    (void)state;
    unsigned reused;
    assert_int_equal(keep("a", connect_link(), 0, 60, 30), 0);
    assert_int_equal(keep("a", connect_link(), 0, 20, 30), 0);
    assert_int_equal(keep("a", connect_link(), 0, 0, 30), 0);
    int64_t start = reactor_now_ms(scene.reactor);
    while (scene.outbound.kept.count == 3) {
        turn(1);
    }
    assert_true(reactor_now_ms(scene.reactor) - start >= 20);
    assert_true(is_closed(1));
    while (scene.outbound.kept.count == 2) {
        turn(1);
    }
    assert_true(reactor_now_ms(scene.reactor) - start >= 60);
    assert_true(is_closed(0));
    assert_int_equal(scene.outbound.kept.timer, 0);
    struct link *left = take("a", &reused);
    assert_non_null(left);
    link_close(left);
}

static void link_that_its_peer_closes_or_sends_on_is_closed(void **state)
{
    (void)state;
    unsigned reused;
    assert_int_equal(keep("a", connect_link(), 0, 0, 30), 0);
    assert_int_equal(keep("a", connect_link(), 0, 0, 30), 0);
    assert_int_equal(shutdown(scene.peers[0], SHUT_WR), 0);
    assert_int_equal(send(scene.peers[1], "x", 1, 0), 1);
    turn(3);
    assert_int_equal(scene.outbound.kept.count, 0);
    assert_null(take("a", &reused));
}

static void link_with_something_unread_is_not_kept(void **state)
{
    (void)state;
    struct link *link = connect_link();
    assert_int_equal(send(scene.peers[0], "x", 1, 0), 1);
    turn(3);
    assert_int_equal(keep("a", link, 0, 0, 30), -EBADMSG);
    assert_int_equal(scene.outbound.links.count, 0);
}

static void name_has_a_limit(void **state)
{
    (void)state;
    static const char name[KEPT_NAME_MAX + 1];
    unsigned reused;
    struct link *link = connect_link();
    assert_int_equal(kept_links_put(&scene.outbound.kept, name, KEPT_NAME_MAX, link, 0, 0, 1), 0);
    assert_ptr_equal(kept_links_take(&scene.outbound.kept, name, KEPT_NAME_MAX, &reused), link);
    assert_int_equal(kept_links_put(&scene.outbound.kept, name, KEPT_NAME_MAX + 1, link, 0, 0, 1), -ENAMETOOLONG);
}

static void kept_link_makes_room_for_another(void **state)
{
    (void)state;
    char err[256];
    struct link *refused;
    struct link_target target = {.host = "127.0.0.1", .port = scene.port};
    scene.outbound.links.max = 2;
    assert_int_equal(keep("a", connect_link(), 0, 0, 30), 0);
    struct link *second = connect_link(), *third = connect_link();
    assert_true(is_closed(0));
    assert_int_equal(outbound_connect(&scene.outbound, &refused, &target, &user, NULL, err, sizeof err), -ENOBUFS);
    link_close(second);
    link_close(third);
}

static void kept_links_have_a_limit_in_all(void **state)
{
    (void)state;
    enum { SOME = 20 };
    char name[16];
    scene.outbound.kept.count = KEPT_LINKS_MAX - SOME; /* as if there were others */
    for (int i = 0; i <= SOME; i++) {
        assert_false(scene.peer_count > 0 && is_closed(0));
        snprintf(name, sizeof name, "name %d", i);
        assert_int_equal(keep(name, connect_link(), 0, 0, 1), 0);
    }
    assert_true(is_closed(0));
    assert_false(is_closed(1));
    scene.outbound.kept.count -= KEPT_LINKS_MAX - SOME;
}

static void without_memory_it_is_closed(void **state)
{
    (void)state;
    int rv = -ENOMEM;
    uint64_t n = 0;
    for (; rv < 0; n++) {
        struct link *link = connect_link();
        fake_mem_fail_after(n + 1, false);
        rv = keep("a", link, 0, 1000, 1);
        fake_mem_fail_after(0, false);
        assert_int_equal(scene.outbound.links.count, rv == 0 ? 1 : 0);
    }
    assert_int_equal(rv, 0);
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kept_link_is_taken_by_its_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(last_one_kept_is_taken_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_are_closed_in_their_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_that_its_peer_closes_or_sends_on_is_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(link_with_something_unread_is_not_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(name_has_a_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kept_link_makes_room_for_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kept_links_have_a_limit_in_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_it_is_closed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
