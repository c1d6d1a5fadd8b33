/* Requests for another protocol through a proxy, on the fake kernel. */

#include "core/outbound.h"
#include "http/proxy/proxy.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#include <arpa/inet.h>

#define ASK                                                                                                            \
    "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\n"  \
    "\r\n"
#define SWITCH(protocol)                                                                                               \
    "HTTP/1.1 101 Yes\r\n" protocol "Connection: Upgrade\r\nSec-WebSocket-Accept: y\r\nKeep-Alive: timeout=5\r\n\r\n"

static struct outbound outbound;
static struct fake_server *upstreams;
static struct proxy *proxy;

static int set_up(void **state)
{
    static const char *const urls[] = {"http://127.0.0.1:3000"};
    char err[256];
    int rv = scene_set_up(state);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(3000)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    outbound_init(&outbound, scene.reactor, NULL, NULL);
    upstreams = fake_server_create((struct sockaddr *)&address, sizeof address);
    const struct proxy_options options = {.prefix = "/", .upstreams = urls, .upstream_count = 1};
    if (proxy_create(&proxy, &options, &outbound, err, sizeof err) < 0 ||
        router_add(scene.site->default_host.router, METHODS_ALL, "/*rest", proxy_handler(proxy), "test", err,
                   sizeof err) < 0) {
        return -1;
    }
    scene_start();
    return rv;
}

static int tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    proxy_destroy(proxy);
    proxy = NULL;
    outbound_done(&outbound);
    return scene_tear_down(state);
}

#define UPGRADE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static struct fake_peer *ask(const char *text, struct fake_peer **upstream)
{
    struct fake_peer *peer = client();
    say(peer, text);
    *upstream = fake_server_next(upstreams);
    assert_non_null(*upstream);
    settle();
    return peer;
}

static void a_protocol_that_both_sides_want_is_spoken(void **state)
{
    (void)state;
    static const char text[] = SWITCH("Upgrade: websocket\r\n") "early ";
    for (size_t split = 1; split < sizeof text; split++) {
        size_t len;
        struct fake_peer *upstream, *peer = ask(ASK, &upstream);
        const char *got = fake_peer_output(upstream, &len);
        assert_non_null(strstr(got, "\r\nConnection: Upgrade\r\n"));
        assert_non_null(strstr(got, "\r\nUpgrade: WebSocket\r\n"));
        assert_non_null(strstr(got, "\r\nSec-WebSocket-Key: k\r\n"));
        fake_peer_forget_output(upstream);
        fake_peer_send_split(upstream, text, sizeof text - 1, split);
        settle();
        assert_true(output_has(peer, "HTTP/1.1 101 Switching Protocols\r\n"));
        assert_true(output_has(peer, "\r\nSec-WebSocket-Accept: y\r\n"));
        assert_false(output_has(peer, "Keep-Alive"));
        assert_int_equal(count_in_output(peer, "Upgrade: websocket\r\n"), 1);
        assert_int_equal(count_in_output(peer, "Connection: "), 1);
        assert_true(output_has(peer, "\r\n\r\nearly "));
        say(peer, "up");
        assert_string_equal(fake_peer_output(upstream, &len), "up");
        fake_peer_reset(peer, 0);
        settle();
        assert_true(fake_peer_saw_close(upstream));
    }
}

static void another_protocol_than_was_asked_for_is_502(void **state)
{
    (void)state;
    static const char *const responses[] = {
        SWITCH("Upgrade: other\r\n"),
        SWITCH("Upgrade: websocket/13\r\n"),
        SWITCH("Upgrade: websocket, other\r\n"),
        SWITCH("Upgrade: websocket\r\nUpgrade: websocket\r\n"),
        SWITCH("Upgrade:\r\n"),
        SWITCH(""),
    };
    for (size_t i = 0; i < sizeof responses / sizeof responses[0]; i++) {
        struct fake_peer *upstream, *peer = ask(ASK, &upstream);
        say(upstream, responses[i]);
        assert_string_equal(statuses(peer), "502");
        assert_true(fake_peer_saw_close(upstream));
    }
}

static void a_request_that_is_refused_stays_one_of_http(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = ask(ASK, &upstream);
    say(upstream, "HTTP/1.1 426 No\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno");
    assert_string_equal(statuses(peer), "426");
    say(peer, GET("/y"));
    say(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_string_equal(statuses(peer), "426 200");
}

/* A switch whose every allocation may fail: a tunnel, or a response that says so, or a cut; and nothing is lost. */
static bool try_switch(void)
{
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(peer, ASK "early up");
    settle();
    struct fake_peer *upstream = fake_server_next(upstreams);
    if (upstream != NULL) {
        say(upstream, SWITCH("Upgrade: websocket\r\n") "early down");
    }
    bool has_both = upstream != NULL && output_has(peer, "early down") && output_has(upstream, "early up");
    fake_peer_reset(peer, 0);
    settle();
    return has_both;
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(try_switch());
    bool has_both = false;
    for (uint64_t n = 1; !has_both; n++) {
        fake_mem_fail_after(n, false);
        has_both = try_switch();
        fake_mem_fail_after(0, false);
        while (fake_server_next(upstreams) != NULL) {
        }
        assert_in_range(n, 1, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UPGRADE_TEST(a_protocol_that_both_sides_want_is_spoken),
        UPGRADE_TEST(another_protocol_than_was_asked_for_is_502),
        UPGRADE_TEST(a_request_that_is_refused_stays_one_of_http),
        UPGRADE_TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("proxied_upgrade", tests, NULL, NULL);
}
