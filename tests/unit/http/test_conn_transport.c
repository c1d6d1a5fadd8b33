/* Connections over a transport that is no plain socket: like TLS, it reads more from the socket than it hands on, so
 * what it holds has to be asked for without an event. A real server on the fake kernel. */

#include "core/sys.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

enum { HELD_BYTES = 1 << 17, BODY_BYTES = 3000, LINGER_MS = 2000 };

/* Of the only connection. */
static char kept[HELD_BYTES];        /* read from the socket */
static size_t kept_start, kept_len;  /* of them: handed on, read */
static size_t portion;               /* bytes that a call hands on */
static int reads_a_tick, most_reads; /* calls that handed something on in one turn of the loop, and the most of them */

static ssize_t portioned_recv(struct transport *transport, void *data, size_t len)
{
    ssize_t got = kept_len < HELD_BYTES ? sys_recv(transport->fd, kept + kept_len, HELD_BYTES - kept_len) : -EAGAIN;
    bool is_ended = got == 0;
    kept_len += got > 0 ? (size_t)got : 0;
    size_t there = kept_len - kept_start;
    len = len < there ? len : there;
    len = len < portion ? len : portion;
    memcpy(data, kept + kept_start, len);
    kept_start += len;
    transport->holds_input = kept_start < kept_len;
    transport->may_have_more = transport->holds_input;
    transport->is_at_end = is_ended && there == 0;
    reads_a_tick += len > 0;
    most_reads = reads_a_tick > most_reads ? reads_a_tick : most_reads;
    return len > 0 ? (ssize_t)len : is_ended && there == 0 ? 0 : -EAGAIN;
}

static ssize_t portioned_send(struct transport *transport, const void *data, size_t len, bool more)
{
    ssize_t sent = sys_send(transport->fd, data, len, more);
    transport->is_full = sent == -EAGAIN || (sent >= 0 && (size_t)sent < len);
    return sent;
}

static ssize_t portioned_sendv(struct transport *transport, const struct iovec *parts, size_t count)
{
    (void)count;
    ssize_t sent = portioned_send(transport, parts[0].iov_base, parts[0].iov_len, false);
    transport->is_full = transport->is_full || count > 1; /* the caller comes again */
    return sent;
}

static unsigned portioned_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle)
{
    (void)keeps_reading;
    (void)is_idle;
    return transport->is_at_end ? wanted & ~(unsigned)REACTOR_READABLE : wanted;
}

static int portioned_unsent_bytes(const struct transport *transport)
{
    return sys_unsent_bytes(transport->fd);
}

static void portioned_close(struct transport *transport)
{
    (void)transport;
}

static const struct transport_ops portioned = {
    .recv = portioned_recv,
    .send = portioned_send,
    .sendv = portioned_sendv,
    .interest = portioned_interest,
    .unsent_bytes = portioned_unsent_bytes,
    .close = portioned_close,
};

static const struct handler echo_stream = {.serve = serve_held, .body_mode = BODY_STREAM};

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    kept_start = kept_len = 0;
    portion = 7;
    most_reads = reads_a_tick = 0;
    add_route(METHOD_POST, "/stream", &echo_stream);
    add_usual_routes();
    scene_start();
    scene.server->accepters[0].ops = &portioned;
    return rv;
}

#define TRANSPORT_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

static void requests_that_the_transport_holds_are_read_without_an_event(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
    assert_null(scene.server->pool.conns->work);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200 200");
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
}

/* Others have their turn between two of them (R6). */
static void each_turn_reads_once(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello"));
    for (int tick = 0; tick < 30; tick++) {
        reads_a_tick = 0;
        run_once();
    }
    assert_string_equal(statuses(peer), "200");
    assert_in_range(most_reads, 1, 2); /* in the tick's I/O, and in its tasks */
}

/* What a handler does not ask for stays in the transport, and comes when it does. */
static void a_body_is_read_when_the_handler_wants_it(void **state)
{
    (void)state;
    char request[BODY_BYTES + 200];
    const char *data;
    size_t len, taken = 0;
    portion = 500;
    int head = snprintf(request, sizeof request, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
                        BODY_BYTES);
    memset(request + head, 'b', BODY_BYTES);
    request[head + BODY_BYTES] = '\0';
    struct fake_peer *peer = client();
    say(peer, request);
    assert_int_equal(held_count, 1);
    assert_int_equal(settle(), 0); /* no loop while nobody asks */
    assert_true(kept_start < kept_len);
    for (int i = 0; i < 100 && taken < BODY_BYTES; i++) {
        while (exchange_read_body(held[0].exchange, &data, &len) == BODY_DATA) {
            taken += len;
        }
        settle();
    }
    assert_int_equal(taken, BODY_BYTES);
    reply_held(0, "got it\n");
    assert_string_equal(statuses(peer), "200");
}

static void a_lingering_close_drops_what_the_transport_holds(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, "BAD\r\n\r\n and more and more and more");
    fake_peer_shutdown(peer);
    settle();
    assert_string_equal(statuses(peer), "400");
    assert_true(is_closed(peer)); /* its end was found behind what it had sent */
    assert_int_equal(kept_start, kept_len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRANSPORT_TEST(requests_that_the_transport_holds_are_read_without_an_event),
        TRANSPORT_TEST(each_turn_reads_once),
        TRANSPORT_TEST(a_body_is_read_when_the_handler_wants_it),
        TRANSPORT_TEST(a_lingering_close_drops_what_the_transport_holds),
    };
    return cmocka_run_group_tests_name("conn_transport", tests, NULL, NULL);
}
