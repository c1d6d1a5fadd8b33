/* The server around its connections, on the fake kernel: its listeners. */

#include "core/net.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* Listeners. */

static void listeners_have_names_and_ports(void **state)
{
    (void)state;
    char err[256] = "";
    scene_begin();
    assert_int_equal(server_listen(scene.server, "[::1]:0", err, sizeof err), 1);
    int port = server_port(scene.server, 0), other = server_port(scene.server, 1);
    char text[64];
    snprintf(text, sizeof text, "127.0.0.1:%d", port);
    assert_string_equal(server_address(scene.server, 0), text);
    snprintf(text, sizeof text, "[::1]:%d", other);
    assert_string_equal(server_address(scene.server, 1), text);
    assert_true(port > 0 && other > 0 && port != other);
    assert_null(server_address(scene.server, 2));
    assert_int_equal(server_port(scene.server, 2), -1);
}

static void clients_come_with_their_first_bytes(void **state)
{
    (void)state;
    char err[256] = "";
    scene_begin();
    assert_int_equal(fake_sys_option(scene.listener_fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), NET_SILENT_S);
    assert_int_equal(server_listen_shared(scene.server, "[::1]:0", err, sizeof err), 1);
    assert_int_equal(fake_sys_option(fake_sys_listener_fd(), IPPROTO_TCP, TCP_DEFER_ACCEPT), NET_SILENT_S);
}

/* A socket that nobody accepted. */

static void adopted_socket_is_served_like_an_accepted_one(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = fake_peer_create(-1);
    assert_int_equal(server_adopt(scene.server, fake_peer_fd(peer)), 0);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(stats().accepted, 1);
    fake_peer_close(peer);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(stats().connections, 0);
}

static void socket_that_cannot_be_adopted_is_closed(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = fake_peer_create(-1);
    fake_sys_fail_op(FAKE_SET_NONBLOCKING, 0, 1, -EBADF);
    assert_int_equal(server_adopt(scene.server, fake_peer_fd(peer)), -EBADF);
    assert_true(is_closed(peer));
    server_drain(scene.server, 1000, NULL, NULL);
    settle();
    peer = fake_peer_create(-1);
    assert_int_equal(server_adopt(scene.server, fake_peer_fd(peer)), -ESHUTDOWN);
    assert_true(is_closed(peer));
}

static void one_listener_too_many_is_refused_by_name(void **state)
{
    (void)state;
    char err[256] = "";
    scene_begin();
    for (int i = 1; i < SERVER_LISTENERS_MAX; i++) {
        assert_int_equal(server_listen(scene.server, "127.0.0.1:0", err, sizeof err), i);
    }
    int fds = fake_sys_open_fds();
    assert_int_equal(server_listen(scene.server, "127.0.0.1:4711", err, sizeof err), -ENOSPC);
    assert_non_null(strstr(err, "127.0.0.1:4711"));
    assert_non_null(strstr(err, "16"));
    assert_int_equal(fake_sys_open_fds(), fds);
}

static void address_that_cannot_be_had_leaves_nothing_behind(void **state)
{
    (void)state;
    char err[256] = "", address[64];
    scene_begin();
    snprintf(address, sizeof address, "%s", server_address(scene.server, 0));
    int fds = fake_sys_open_fds();
    assert_int_equal(server_listen(scene.server, address, err, sizeof err), -EADDRINUSE);
    assert_non_null(strstr(err, address));
    assert_int_equal(server_listen(scene.server, "nonsense", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "nonsense"));
    assert_int_equal(fake_sys_open_fds(), fds);
    assert_null(server_address(scene.server, 1));
}

static void clients_of_all_listeners_are_served(void **state)
{
    (void)state;
    char err[256] = "";
    scene_begin();
    server_listen(scene.server, "[::1]:0", err, sizeof err);
    int other_fd = fake_sys_listener_fd();
    struct fake_peer *peer = client();
    struct fake_peer *other = fake_peer_connect(other_fd);
    fake_peer_send_text(other, GET("/hello"));
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
    assert_string_equal(statuses(other), "200");
}

static void date_moves_with_the_second(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_sys_set_wall_time_s(784111777);
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    fake_peer_forget_output(peer);
    fake_sys_advance_ms(999);
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    fake_peer_forget_output(peer);
    fake_sys_advance_ms(1);
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"));
    fake_peer_forget_output(peer);
    fake_sys_set_wall_time_s(784111777 + 86400); /* somebody set the clock */
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "\r\nDate: Mon, 07 Nov 1994 08:49:37 GMT\r\n"));
}

/* The same for an answer made beforehand. */
static void date_of_a_cached_file_moves_with_the_second(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "small", "small\n");
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/small"));
    fake_peer_forget_output(peer);
    pass_ms(1000);
    say(peer, GET("/small"));
    assert_true(output_has(peer, "\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"));
    assert_int_equal(count_in_output(peer, "Date:"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(listeners_have_names_and_ports),
        SCENE_TEST(clients_come_with_their_first_bytes),
        SCENE_TEST(adopted_socket_is_served_like_an_accepted_one),
        SCENE_TEST(socket_that_cannot_be_adopted_is_closed),
        SCENE_TEST(one_listener_too_many_is_refused_by_name),
        SCENE_TEST(address_that_cannot_be_had_leaves_nothing_behind),
        SCENE_TEST(clients_of_all_listeners_are_served),
        SCENE_TEST(date_moves_with_the_second),
        SCENE_TEST(date_of_a_cached_file_moves_with_the_second),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
