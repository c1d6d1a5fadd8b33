/* The plain socket: what its flags say after reads and writes, and what the reactor is asked to watch. On the fake
 * kernel. */

#include "core/transport.h"

#include "core/net.h"
#include "core/sys.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum {
    EDGES = REACTOR_READABLE | REACTOR_END | REACTOR_EDGE,
    LEVEL = REACTOR_READABLE | REACTOR_END,
};

static struct fake_peer *peer;
static struct transport transport;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    int listener = sys_socket(AF_INET);
    const struct sockaddr address = {.sa_family = AF_INET};
    assert_int_equal(sys_bind(listener, &address, sizeof address), 0);
    assert_int_equal(sys_listen(listener, 1), 0);
    peer = fake_peer_connect(listener);
    int fd = sys_accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    sys_close(listener);
    transport_open(&transport, NULL, NULL, fd, AF_INET);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sys_close(transport.fd);
    assert_int_equal(fake_sys_open_fds(), 0);
    fake_sys_reset();
    return 0;
}

static void a_short_read_has_emptied_the_socket(void **state)
{
    (void)state;
    char data[8];
    fake_peer_send(peer, "hello", 5);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 5);
    assert_false(transport.may_have_more);
    assert_false(transport.is_at_end);
    assert_int_equal(transport_recv(&transport, data, sizeof data), -EAGAIN);
    assert_false(transport.may_have_more);
}

static void a_full_read_may_have_left_more(void **state)
{
    (void)state;
    char data[5];
    fake_peer_send(peer, "hello, world", 12);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 5);
    assert_true(transport.may_have_more);
}

static void a_short_read_after_more_may_have_left_more(void **state)
{
    (void)state;
    char data[8];
    transport_note(&transport, REACTOR_READABLE | REACTOR_MORE);
    fake_peer_send(peer, "hello", 5);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 5);
    assert_true(transport.may_have_more);
}

static void the_end_is_seen_by_a_read_and_announced_by_an_event(void **state)
{
    (void)state;
    char data[8];
    fake_peer_shutdown(peer);
    transport_note(&transport, REACTOR_END);
    assert_true(transport.is_half_closed);
    assert_false(transport.is_at_end);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 0);
    assert_true(transport.is_at_end);
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, true), 0); /* nothing to watch for */
}

static void a_write_that_is_not_taken_in_full_means_full(void **state)
{
    (void)state;
    fake_peer_set_room(peer, 3);
    assert_int_equal(transport_send(&transport, "hello", 5, false), 3);
    assert_true(transport.is_full);
    assert_int_equal(transport_send(&transport, "lo", 2, false), -EAGAIN);
    assert_true(transport.is_full);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    const struct iovec parts[] = {{.iov_base = (char[]){'l'}, .iov_len = 1}, {.iov_base = (char[]){'o'}, .iov_len = 1}};
    assert_int_equal(transport_sendv(&transport, parts, 2), 2);
    assert_false(transport.is_full);
}

static void an_idle_tcp_socket_is_watched_by_edges(void **state)
{
    (void)state;
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, true), EDGES);
    assert_true(transport_rests(&transport, EDGES));
    assert_false(transport_rests(&transport, LEVEL));
}

static void what_an_edge_does_not_tell_is_watched_by_level_until_it_is_idle(void **state)
{
    (void)state;
    transport.may_have_more = true;
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, false), LEVEL);
    assert_false(transport_rests(&transport, EDGES));
    transport.may_have_more = false;
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, false), LEVEL);
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE | REACTOR_WRITABLE, true, false),
                     LEVEL | REACTOR_WRITABLE);
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, true), EDGES);
}

static void readable_stays_registered_until_input_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(transport_interest(&transport, 0, true, false), EDGES);
    assert_int_equal(transport_interest(&transport, 0, false, false), REACTOR_END);
    transport_note(&transport, REACTOR_END);
    assert_int_equal(transport_interest(&transport, 0, false, false), 0);
}

static void a_unix_socket_is_watched_by_level(void **state)
{
    (void)state;
    int fd = transport.fd;
    transport_open(&transport, NULL, NULL, fd, AF_UNIX);
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, true), LEVEL);
}

static void a_close_shuts_both_sides_unless_ours_is_over(void **state)
{
    (void)state;
    transport_shut(&transport, true);
    assert_false(fake_peer_saw_end(peer));
    transport_shut(&transport, false);
    assert_true(fake_peer_saw_end(peer));
}

static void a_reset_is_no_orderly_end(void **state)
{
    (void)state;
    transport_reset(&transport);
    bool had_end = fake_peer_saw_end(peer);
    transport_shut(&transport, false); /* which would be an orderly end */
    assert_int_equal(fake_peer_saw_end(peer), had_end);
    assert_true(transport.is_reset);
}

static void a_plain_socket_comes_to_accept_with_its_first_bytes(void **state)
{
    (void)state;
    assert_int_equal(transport_listen_flags(NULL), NET_DEFER);
}

/* Another transport is asked in place of the kernel. */

static char asked[64];

static ssize_t ask_recv(struct transport *other, void *data, size_t len)
{
    (void)other;
    (void)data;
    strcat(asked, "recv ");
    return (ssize_t)len;
}

static ssize_t ask_send(struct transport *other, const void *data, size_t len, bool more)
{
    (void)other;
    (void)data;
    (void)more;
    strcat(asked, "send ");
    return (ssize_t)len;
}

static unsigned ask_interest(struct transport *other, unsigned wanted, bool keeps_reading, bool is_idle)
{
    (void)other;
    (void)keeps_reading;
    (void)is_idle;
    strcat(asked, "interest ");
    return wanted;
}

static void another_transport_takes_the_place_of_the_socket(void **state)
{
    (void)state;
    static const struct transport_ops ops = {.recv = ask_recv, .send = ask_send, .interest = ask_interest};
    char data[4] = "abc";
    int fd = transport.fd;
    transport_open(&transport, &ops, NULL, fd, AF_INET);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 4);
    assert_int_equal(transport_send(&transport, data, 3, false), 3);
    assert_int_equal(transport_interest(&transport, REACTOR_WRITABLE, true, true), REACTOR_WRITABLE);
    assert_false(transport_can_sendfile(&transport));
    assert_false(transport_rests(&transport, EDGES));
    assert_string_equal(asked, "recv send interest ");
    assert_int_equal(fake_sys_count(FAKE_RECV), 0);
    assert_int_equal(fake_sys_count(FAKE_SEND), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_short_read_has_emptied_the_socket),
        TEST(a_full_read_may_have_left_more),
        TEST(a_short_read_after_more_may_have_left_more),
        TEST(the_end_is_seen_by_a_read_and_announced_by_an_event),
        TEST(a_write_that_is_not_taken_in_full_means_full),
        TEST(an_idle_tcp_socket_is_watched_by_edges),
        TEST(what_an_edge_does_not_tell_is_watched_by_level_until_it_is_idle),
        TEST(readable_stays_registered_until_input_is_ignored),
        TEST(a_unix_socket_is_watched_by_level),
        TEST(a_close_shuts_both_sides_unless_ours_is_over),
        TEST(a_reset_is_no_orderly_end),
        TEST(a_plain_socket_comes_to_accept_with_its_first_bytes),
        TEST(another_transport_takes_the_place_of_the_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
