/* The server around its connections, on the fake kernel: listeners and the shutdown. */

#include "core/net.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int drained_calls;
static unsigned drained_cut;

static void on_drained(void *arg, unsigned cut)
{
    assert_ptr_equal(arg, &scene);
    drained_calls++;
    drained_cut = cut;
}

static void drain(uint32_t ms)
{
    int before = drained_calls;
    server_drain(scene.server, ms, on_drained, &scene);
    assert_int_equal(drained_calls, before); /* never before it returns */
    settle();
}

static void assert_drained(unsigned cut)
{
    assert_int_equal(drained_calls, 1);
    assert_int_equal(drained_cut, cut);
    assert_int_equal(stats().connections, 0);
}

static int set_up(void **state)
{
    drained_calls = 0;
    drained_cut = 0;
    return scene_set_up(state);
}

#define SERVER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

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
    drain(1000);
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

/* Shutdown. */

static void server_without_connections_is_drained_in_the_next_tick(void **state)
{
    (void)state;
    scene_begin();
    drain(1000);
    assert_drained(0);
    pass_ms(5000);
    assert_int_equal(drained_calls, 1);
}

static void idle_connections_are_closed_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *silent = client();
    struct fake_peer *used = client();
    struct fake_peer *after_empty_line = client();
    say(used, GET("/hello"));
    say(after_empty_line, GET("/hello") "\r\n");
    drain(1000);
    assert_true(is_closed(silent) && is_closed(used) && is_closed(after_empty_line));
    assert_drained(0);
    assert_int_equal(stats().lost, 0);
}

static void listeners_are_closed_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    assert_int_equal(fcntl(scene.listener_fd, F_GETFD), -1);
    assert_false(is_closed(peer));
}

static void request_in_flight_is_finished_and_told_to_be_the_last(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    pass_ms(999);
    assert_int_equal(drained_calls, 0);
    reply_held(0, "finished\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void answer_that_is_being_sent_is_sent_to_its_end(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/large"));
    drain(10000);
    for (int i = 0; i < 100; i++) {
        fake_peer_add_room(peer, 5000);
        pass_ms(10);
    }
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 300000);
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void body_that_is_being_uploaded_is_read_to_its_end(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    drain(1000);
    assert_false(is_closed(peer));
    pass_ms(500);
    say(peer, "67890");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void unwanted_body_that_is_being_discarded_does_no_harm(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    reply_held(0, "answered\n");
    fake_peer_set_room(peer, 0);
    drain(1000);
    say(peer, "67890 and more");
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_drained(0);
}

static void head_that_is_half_there_may_be_completed(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\n");
    drain(1000);
    assert_false(is_closed(peer));
    say(peer, "Host: a\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_drained(0);
}

/* No event has told of it when the drain begins. */
static void request_that_was_sent_before_the_drain_is_answered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello"));
    drain(1000);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_drained(0);
}

static void empty_line_sent_before_the_drain_is_no_request(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_peer_send_text(peer, "\r\n");
    drain(1000);
    assert_string_equal(statuses(peer), "200");
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void request_behind_an_answer_that_is_being_sent_is_not_answered_by_a_reset(void **state)
{
    (void)state;
    static char text[2000];
    static const struct handler much = {.serve = serve_text, .ctx = text};
    memset(text, 't', sizeof text - 1);
    add_route(METHOD_GET, "/much", &much);
    set_limit("write_high_mark", 1024);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/much")); /* above the high mark: the next one is not read */
    say(peer, GET("/hello"));
    assert_true(fake_peer_unread(peer) > 0);
    drain(1000);
    assert_false(is_closed(peer));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_false(fake_peer_saw_reset(peer));
    assert_drained(0);
}

static void connections_that_wait_in_the_accept_queue_are_served(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct fake_peer *peers[COUNT];
    scene_begin();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = fake_peer_connect(scene.listener_fd);
        fake_peer_send_text(peers[i], GET("/hello"));
    }
    drain(1000);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(statuses(peers[i]), "200");
        assert_true(is_closed(peers[i]));
        assert_false(fake_peer_saw_reset(peers[i]));
    }
    assert_drained(0);
}

static void pipelined_requests_behind_the_last_one_are_not_answered_by_a_reset(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold") GET("/hello") GET("/hello"));
    drain(1000);
    reply_held(0, "last\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_drained(0);
}

static void deadline_cuts_what_is_left_and_counts_it(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *held_peers[3];
    for (int i = 0; i < 3; i++) {
        held_peers[i] = client();
        say(held_peers[i], GET("/hold"));
    }
    struct fake_peer *half = client();
    say(half, "GET /hello HTTP/1.1\r\n");
    client(); /* idle */
    drain(1000);
    answer_held(1, "in time\n");
    pass_ms(999);
    assert_int_equal(drained_calls, 0);
    assert_false(is_closed(held_peers[0]));
    pass_ms(1);
    assert_true(is_closed(held_peers[0]) && is_closed(held_peers[2]) && is_closed(half));
    assert_int_equal(held[0].gones, 1);
    assert_int_equal(held[1].gones, 0);
    assert_string_equal(statuses(held_peers[1]), "200");
    assert_drained(3);
}

static void connection_that_has_its_answer_and_lingers_is_not_counted_as_cut(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n");
    assert_false(is_closed(peer));
    drain(500);
    pass_ms(500);
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void drain_of_no_time_cuts_in_the_next_tick(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(0);
    assert_true(is_closed(peer));
    assert_drained(1);
}

static void second_drain_sets_a_new_deadline(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(10000);
    pass_ms(100);
    assert_false(is_closed(peer));
    drain(0);
    assert_true(is_closed(peer));
    assert_drained(1);
    pass_ms(20000);
    assert_int_equal(drained_calls, 1);
}

/* Handlers may take as long as they like: somebody has to end it. */
static void server_may_be_destroyed_while_it_drains(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    server_destroy(scene.server);
    scene.server = NULL;
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 1);
    pass_ms(2000); /* no deadline is left behind */
    assert_int_equal(drained_calls, 0);
}

static void drain_that_gets_no_timer_cuts_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_mem_fail_after(1, true);
    while (reactor_set_timeout(scene.reactor, 1 << 30, NULL, NULL) != 0) {
    }
    server_drain(scene.server, 1000, on_drained, &scene);
    fake_mem_fail_after(0, false);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 1);
    assert_drained(1);
}

static void server_is_destroyed_with_everything_going_on(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    client();
    say(client(), GET("/hold"));
    say(client(), "GET /hel");
    say(client(), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    say(client(), "BAD\r\n\r\n");
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/large"));
    server_destroy(scene.server);
    scene.server = NULL;
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(listeners_have_names_and_ports),
        SERVER_TEST(clients_come_with_their_first_bytes),
        SERVER_TEST(adopted_socket_is_served_like_an_accepted_one),
        SERVER_TEST(socket_that_cannot_be_adopted_is_closed),
        SERVER_TEST(one_listener_too_many_is_refused_by_name),
        SERVER_TEST(address_that_cannot_be_had_leaves_nothing_behind),
        SERVER_TEST(clients_of_all_listeners_are_served),
        SERVER_TEST(date_moves_with_the_second),
        SERVER_TEST(date_of_a_cached_file_moves_with_the_second),
        SERVER_TEST(server_without_connections_is_drained_in_the_next_tick),
        SERVER_TEST(idle_connections_are_closed_at_once),
        SERVER_TEST(listeners_are_closed_at_once),
        SERVER_TEST(request_in_flight_is_finished_and_told_to_be_the_last),
        SERVER_TEST(answer_that_is_being_sent_is_sent_to_its_end),
        SERVER_TEST(body_that_is_being_uploaded_is_read_to_its_end),
        SERVER_TEST(unwanted_body_that_is_being_discarded_does_no_harm),
        SERVER_TEST(head_that_is_half_there_may_be_completed),
        SERVER_TEST(request_that_was_sent_before_the_drain_is_answered),
        SERVER_TEST(request_behind_an_answer_that_is_being_sent_is_not_answered_by_a_reset),
        SERVER_TEST(connections_that_wait_in_the_accept_queue_are_served),
        SERVER_TEST(pipelined_requests_behind_the_last_one_are_not_answered_by_a_reset),
        SERVER_TEST(deadline_cuts_what_is_left_and_counts_it),
        SERVER_TEST(connection_that_has_its_answer_and_lingers_is_not_counted_as_cut),
        SERVER_TEST(drain_of_no_time_cuts_in_the_next_tick),
        SERVER_TEST(second_drain_sets_a_new_deadline),
        SERVER_TEST(server_may_be_destroyed_while_it_drains),
        SERVER_TEST(empty_line_sent_before_the_drain_is_no_request),
        SERVER_TEST(drain_that_gets_no_timer_cuts_at_once),
        SERVER_TEST(server_is_destroyed_with_everything_going_on),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
