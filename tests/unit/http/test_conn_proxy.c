/* http/conn_proxy.c: connections that begin with a header of the PROXY protocol, on a server and the fake kernel. */

#include "http/proxied.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#define HEADER "PROXY TCP4 192.0.2.7 198.51.100.2 56324 443\r\n"
#define LOCAL  "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

enum { LOCAL_LEN = 16 };

static struct fake_peer *peers[8];
static int listener_fd;

/* Responds with the addresses that the exchange knows. */
static void serve_addresses(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    char text[256], peer[64], proxy[64] = "-", destination[64] = "-";
    const struct proxied *proxied = exchange_proxied(exchange);
    peer_format(exchange->peer, peer, sizeof peer);
    if (proxied != NULL) {
        peer_format(&proxied->proxy, proxy, sizeof proxy);
        peer_format(&proxied->destination, destination, sizeof destination);
    }
    char *colon = strrchr(proxy, ':');
    if (colon != NULL) {
        *colon = '\0'; /* whose port is any */
    }
    int len = snprintf(text, sizeof text, "<%s %s %s %s>", peer, proxy, destination, exchange_scheme(exchange));
    response_send(exchange, 200, "text/plain", text, (size_t)len);
}

static const struct handler addresses = {.serve = serve_addresses};

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    char err[256];
    add_route(METHOD_GET, "/addresses", &addresses);
    scene_begin();
    assert_int_equal(server_listen(scene.server, "127.0.0.1:0?proxy", err, sizeof err), 1);
    listener_fd = fake_sys_listener_fd();
    return rv;
}

#define PROXY_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

static struct fake_peer *proxy_client(void)
{
    struct fake_peer *peer = fake_peer_connect(listener_fd);
    settle();
    return peer;
}

static void header_names_the_client(void **state)
{
    (void)state;
    struct fake_peer *peer = proxy_client();
    say(peer, HEADER GET("/addresses"));
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "<192.0.2.7:56324 127.0.0.1 198.51.100.2:443 http>"));
    say(peer, GET("/addresses")); /* once is enough */
    assert_string_equal(statuses(peer), "200 200");
    assert_true(stats().connections == 1 && stats().lost == 0);
    say(peer, HEADER GET("/addresses")); /* and twice is no request */
    assert_string_equal(statuses(peer), "200 200 400");
}

/* In two pieces at each place, and byte by byte; the request may come with the header's end. */
static void header_may_come_in_pieces(void **state)
{
    (void)state;
    static const char bytes[] = HEADER GET_CLOSE("/addresses");
    for (size_t cut = 1; cut < sizeof HEADER + 3; cut++) {
        struct fake_peer *peer = proxy_client();
        fake_peer_send(peer, bytes, cut);
        settle();
        fake_peer_send(peer, bytes + cut, sizeof bytes - 1 - cut);
        settle();
        assert_string_equal(statuses(peer), "200");
        assert_true(output_has(peer, "<192.0.2.7:56324 "));
        fake_peer_shutdown(peer);
        settle();
    }
    fake_sys_set_recv_max(1);
    struct fake_peer *peer = proxy_client();
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        fake_peer_send(peer, bytes + i, 1);
        settle();
    }
    assert_string_equal(statuses(peer), "200");
}

/* The kernel gives less than it has shown. */
static void header_may_be_read_in_pieces(void **state)
{
    (void)state;
    fake_sys_set_recv_max(7);
    struct fake_peer *peer = proxy_client();
    say(peer, HEADER GET("/addresses"));
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "<192.0.2.7:56324 "));
}

static void header_without_a_client_leaves_the_proxy(void **state)
{
    (void)state;
    struct fake_peer *peer = proxy_client();
    fake_peer_send(peer, LOCAL, LOCAL_LEN);
    say(peer, GET("/addresses"));
    assert_true(output_has(peer, "<127.0.0.1:") && output_has(peer, " - - http>"));
    peer = proxy_client();
    say(peer, "PROXY UNKNOWN\r\n" GET("/addresses"));
    assert_true(output_has(peer, "<127.0.0.1:") && output_has(peer, " - - http>"));
    peer = proxy_client();
    fake_peer_send(peer, LOCAL, LOCAL_LEN); /* a health check */
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer) && output_len(peer) == 0);
    assert_true(stats().lost == 0);
}

static void tls_item_makes_the_scheme_https(void **state)
{
    (void)state;
    static const char header[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
                                 "\x20\0\x05\x01\0\0\0\0";
    struct fake_peer *peer = proxy_client();
    fake_peer_send(peer, header, sizeof header - 1);
    say(peer, GET("/addresses"));
    assert_true(output_has(peer, "<192.0.2.1:56324 127.0.0.1 198.51.100.2:443 https>"));
}

/* Closed without a word, with a line in the log. */
static void other_bytes_are_no_header(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *line;
    } rows[] = {
        {GET("/hello"), "rejected: there is none: something else came instead (let the proxy send it"},
        {"\x16\x03\x01", "rejected: there is none: TLS came instead (let"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "rejected: its line does not end with CRLF\n"},
        {"PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n" GET("/hello"), "rejected: it has an address"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scene.log_text[0] = '\0';
        struct fake_peer *peer = proxy_client();
        say(peer, rows[i].sent);
        assert_true(is_closed(peer) && output_len(peer) == 0);
        assert_non_null(strstr(scene.log_text, "PROXY header from 127.0.0.1:"));
        assert_non_null(strstr(scene.log_text, rows[i].line));
    }
    scene.log_text[0] = '\0';
    struct fake_peer *peer = proxy_client();
    fake_peer_send(peer, HEADER, 10);
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_non_null(strstr(scene.log_text, "rejected: the connection ended inside of it"));
    assert_int_equal(stats().lost, 5);
    scene.log_text[0] = '\0';
    peer = proxy_client(); /* who says nothing at all, like a check whether the port is open, is no line */
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_string_equal(scene.log_text, "");
}

static void flood_of_other_bytes_is_counted(void **state)
{
    (void)state;
    scene.log_text[0] = '\0';
    for (int i = 0; i < 20; i++) {
        say(proxy_client(), GET("/hello"));
    }
    int lines = 0;
    for (const char *at = scene.log_text; (at = strstr(at, "PROXY header from")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 5);
    pass_ms(11000);
    assert_non_null(strstr(scene.log_text, "15 more PROXY headers were rejected"));
}

static void header_that_never_ends_has_ten_seconds(void **state)
{
    (void)state;
    struct fake_peer *silent = proxy_client(), *slow = proxy_client();
    say(slow, "PROXY ");
    for (int i = 0; i < 9; i++) {
        pass_ms(1000);
        say(slow, i == 0 ? "UNKNOWN " : "x");
    }
    assert_false(is_closed(silent) || is_closed(slow));
    pass_ms(2000);
    assert_true(is_closed(silent) && is_closed(slow));
    assert_true(output_len(silent) == 0 && output_len(slow) == 0);
    assert_non_null(strstr(scene.log_text, "rejected: it was not whole in time"));
    assert_int_equal(stats().timeouts, 2);
    struct fake_peer *late = proxy_client();
    pass_ms(5000);
    say(late, HEADER); /* from then on it is a connection that waits for a request */
    pass_ms(8000);
    say(late, GET("/hello"));
    assert_string_equal(statuses(late), "200");
}

static void only_trusted_proxies_may_name_clients(void **state)
{
    (void)state;
    char err[256];
    assert_int_equal(site_set_trusted_proxies(scene.site, "10.0.0.0/8", err, sizeof err), 0);
    struct fake_peer *peer = proxy_client();
    say(peer, HEADER GET("/addresses"));
    assert_true(is_closed(peer) && output_len(peer) == 0);
    assert_non_null(strstr(scene.log_text, "rejected: its sender is none of trusted_proxies"));
    assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", err, sizeof err), 0);
    peer = proxy_client();
    say(peer, HEADER GET("/addresses"));
    assert_true(output_has(peer, "<192.0.2.7:56324 "));
}

/* The clients of the headers are counted, not the proxy. */
static void caps_are_those_of_the_client(void **state)
{
    (void)state;
    scene.site->limits.max_connections_per_address = 2;
    for (int i = 0; i < 2; i++) {
        peers[i] = proxy_client();
        say(peers[i], HEADER GET("/hold"));
    }
    struct fake_peer *third = proxy_client(), *other = proxy_client();
    say(third, HEADER GET("/hello"));
    assert_string_equal(statuses(third), "503");
    say(other, "PROXY TCP4 192.0.2.8 198.51.100.2 1 443\r\n" GET("/hello"));
    assert_string_equal(statuses(other), "200");
    fake_peer_shutdown(third);
    settle();
    assert_true(is_closed(third));
    assert_false(fake_peer_saw_reset(third));
    reply_held(0, "done"); /* now it is idle, and makes room */
    struct fake_peer *fourth = proxy_client();
    say(fourth, HEADER GET("/hello"));
    assert_string_equal(statuses(fourth), "200");
    assert_true(is_closed(peers[0]));
    reply_held(1, "done");
}

/* A newcomer without room reads the response behind its header. */
static void turned_away_newcomers_read_503(void **state)
{
    (void)state;
    scene.site->limits.max_connections = 1;
    struct fake_peer *busy = proxy_client();
    say(busy, HEADER GET("/hold"));
    struct fake_peer *newcomer = fake_peer_connect(listener_fd);
    fake_peer_send_text(newcomer, HEADER GET("/hello"));
    settle();
    assert_string_equal(statuses(newcomer), "503");
    reply_held(0, "done");
    struct fake_peer *silent = proxy_client(); /* who has sent nothing yet makes room */
    assert_true(is_closed(busy));
    struct fake_peer *next = proxy_client();
    assert_true(is_closed(silent));
    say(next, HEADER GET("/hello"));
    assert_string_equal(statuses(next), "200");
}

static void stop_lets_headers_come(void **state)
{
    (void)state;
    struct fake_peer *peer = proxy_client(), *silent = proxy_client();
    say(peer, "PROXY TC");
    server_drain(scene.server, 60000, NULL, NULL);
    settle();
    say(peer, "P4 192.0.2.7 198.51.100.2 56324 443\r\n" GET("/addresses"));
    assert_true(output_has(peer, "<192.0.2.7:56324 "));
    assert_true(output_has(peer, "Connection: close"));
    pass_ms(3000);
    assert_true(is_closed(silent));
}

static void each_allocation_and_call_may_fail(void **state)
{
    (void)state;
    for (int n = 0; n < 12; n++) {
        struct fake_peer *peer = fake_peer_connect(listener_fd);
        fake_peer_send_text(peer, HEADER GET_CLOSE("/addresses"));
        fake_mem_fail_after((uint64_t)n + 1, false);
        settle();
        fake_mem_fail_after(0, false);
        settle();
        assert_true(output_has(peer, "<192.0.2.7:56324 ") || is_closed(peer) || output_has(peer, " 503 "));
        fake_peer_shutdown(peer);
        settle();
        assert_true(is_closed(peer));
    }
    assert_int_equal(stats().connections, 0);
}

static void each_system_call_may_fail(void **state)
{
    (void)state;
    static const int errors[] = {-EINTR, -ECONNRESET};
    for (int n = 0; n < 3; n++) {
        for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
            struct fake_peer *peer = fake_peer_connect(listener_fd);
            fake_peer_send_text(peer, HEADER);
            fake_sys_fail_op(FAKE_RECV, n, 1, errors[i]);
            settle();
            fake_peer_send_text(peer, GET_CLOSE("/addresses"));
            settle();
            assert_true(output_has(peer, "<192.0.2.7:56324 ") || (errors[i] == -ECONNRESET && is_closed(peer)));
            fake_peer_shutdown(peer);
            settle();
            assert_true(is_closed(peer));
        }
    }
    assert_int_equal(stats().connections, 0);
}

static void header_on_another_listener_is_explained(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, HEADER GET("/hello"));
    assert_string_equal(statuses(peer), "400");
    assert_non_null(strstr(scene.log_text, "rejected: the address does not expect one (add ?proxy to it)"));
    peer = client();
    fake_peer_send(peer, LOCAL, LOCAL_LEN);
    settle();
    assert_string_equal(statuses(peer), "400");
    scene.log_text[0] = '\0';
    peer = proxy_client();
    say(peer, HEADER HEADER);
    assert_string_equal(statuses(peer), "400");
    assert_non_null(strstr(scene.log_text, "rejected: it is the second one of the connection"));
}

static void many_connections_have_their_own_headers(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct fake_peer *many[MANY];
    for (int i = 0; i < MANY; i++) {
        char header[64];
        snprintf(header, sizeof header, "PROXY TCP4 192.0.2.%d 198.51.100.2 %d 443\r\n", i % 250, 1000 + i);
        many[i] = proxy_client();
        say(many[i], header);
    }
    for (int i = 0; i < MANY; i += 3) {
        fake_peer_shutdown(many[i]);
    }
    settle();
    for (int i = 0; i < MANY; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "<192.0.2.%d:%d 127.0.0.1 ", i % 250, 1000 + i);
        if (i % 3 != 0) {
            say(many[i], GET("/addresses"));
            assert_true(output_has(many[i], expected));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(header_names_the_client),
        PROXY_TEST(header_may_come_in_pieces),
        PROXY_TEST(header_may_be_read_in_pieces),
        PROXY_TEST(header_without_a_client_leaves_the_proxy),
        PROXY_TEST(tls_item_makes_the_scheme_https),
        PROXY_TEST(other_bytes_are_no_header),
        PROXY_TEST(flood_of_other_bytes_is_counted),
        PROXY_TEST(header_that_never_ends_has_ten_seconds),
        PROXY_TEST(only_trusted_proxies_may_name_clients),
        PROXY_TEST(caps_are_those_of_the_client),
        PROXY_TEST(turned_away_newcomers_read_503),
        PROXY_TEST(stop_lets_headers_come),
        PROXY_TEST(each_allocation_and_call_may_fail),
        PROXY_TEST(each_system_call_may_fail),
        PROXY_TEST(header_on_another_listener_is_explained),
        PROXY_TEST(many_connections_have_their_own_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
