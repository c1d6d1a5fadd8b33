/* The opening handshake as requests and responses. */

#include "http/service.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

/* What a request without its empty line gets; valid until the next call. */
static const char *ask(const char *request)
{
    static struct fake_peer *peer;
    size_t len;
    peer = client();
    say(peer, request);
    say(peer, "\r\n");
    const char *output = fake_peer_output(peer, &len);
    return output;
}

static void a_handshake_is_answered_with_101(void **state)
{
    (void)state;
    const char *response = ask(WS_HELLO);
    assert_memory_equal(response, "HTTP/1.1 101 Switching Protocols\r\n", 34);
    assert_non_null(strstr(response, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(response, "\r\nConnection: Upgrade\r\n"));
    assert_non_null(strstr(response, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_null(strstr(response, "Sec-WebSocket-Protocol"));
    assert_null(strstr(response, "Content-Length"));
    assert_int_equal(heard.accepted, 0);
    assert_null(heard.agreed.protocol);
    assert_string_equal(heard.text, "open; ");
}

static void each_refusal_says_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *text;
    } cases[] = {
#define START   "GET /ws HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECT "Connection: keep-alive, upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        {START, 426, "connect with ws://"},
        {START CONNECT VERSION KEY, 426, "a proxy"},
        {START "Upgrade: h2c\r\n" CONNECT VERSION KEY, 426, "connect with ws://"},
        {"HEAD /ws HTTP/1.1\r\nHost: a\r\n" UPGRADE CONNECT VERSION KEY, 426, ""},
        {"POST /ws HTTP/1.1\r\nHost: a\r\n" UPGRADE CONNECT VERSION KEY, 426, "connect with ws://"},
        {"GET /ws HTTP/1.0\r\nHost: a\r\n" UPGRADE CONNECT VERSION KEY, 426, "connect with ws://"},
        {START UPGRADE VERSION KEY, 400, "The field Connection does not list Upgrade"},
        {START UPGRADE CONNECT KEY, 426, "Sec-WebSocket-Version must be 13"},
        {START UPGRADE CONNECT "Sec-WebSocket-Version: 8\r\n" KEY, 426, "Sec-WebSocket-Version must be 13"},
        {START UPGRADE CONNECT VERSION VERSION KEY, 426, "Sec-WebSocket-Version must be 13"},
        {START UPGRADE CONNECT VERSION, 400, "Sec-WebSocket-Key must be 16 bytes"},
        {START UPGRADE CONNECT VERSION KEY KEY, 400, "Sec-WebSocket-Key must be 16 bytes"},
        {START UPGRADE CONNECT VERSION "Sec-WebSocket-Key: abc\r\n", 400, "Sec-WebSocket-Key must be 16 bytes"},
        {START UPGRADE CONNECT VERSION KEY "Content-Length: 2\r\n", 400, "has no body"},
        {START UPGRADE CONNECT VERSION KEY "Origin: http://b\r\n", 403, "Origin"},
        {START UPGRADE CONNECT VERSION KEY "Origin: null\r\n", 403, "Origin"},
        {START UPGRADE CONNECT VERSION KEY "Origin: http://a\r\n", 101, ""},
        {START "UPGRADE: WebSocket\r\n" CONNECT VERSION KEY, 101, ""},
        {START "Upgrade: h2c\r\n" UPGRADE "Connection: close\r\n" CONNECT VERSION KEY, 101, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *response = ask(cases[i].request);
        int status = (int)strtol(response + 9, NULL, 10);
        if (status != cases[i].status || strstr(response, cases[i].text) == NULL) {
            fail_msg("%s\n%s", cases[i].request, response);
        }
        assert_int_equal(heard.accepted, status == 101 ? 0 : status);
        bool says_how = strstr(response, "\r\nUpgrade: websocket\r\n") != NULL;
        assert_int_equal(says_how, status == 101 || status == 426);
        bool says_version = strstr(response, "\r\nSec-WebSocket-Version: 13\r\n") != NULL;
        assert_int_equal(says_version, status == 426);
    }
}

static void listed_origins_may_connect(void **state)
{
    (void)state;
    ws_scene_policy.origins = "https://example.org, http://b:81";
    assert_int_equal(strtol(ask(WS_HELLO "Origin: http://b:81\r\n") + 9, NULL, 10), 101);
    assert_int_equal(strtol(ask(WS_HELLO "Origin: http://a\r\n") + 9, NULL, 10), 403);
    assert_int_equal(strtol(ask(WS_HELLO) + 9, NULL, 10), 101);
    ws_scene_policy.origins = "*";
    assert_int_equal(strtol(ask(WS_HELLO "Origin: null\r\n") + 9, NULL, 10), 101);
}

/* From here on clients are believed as proxies are. */
static void trust_clients(void)
{
    (void)ws_client();
    assert_ptr_equal(ws_client_address(heard.ws), ws_peer(heard.ws));
    assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", NULL, 0), 0);
    service_note_first(ws_service(heard.ws));
}

static void a_proxy_tells_the_client_and_the_own_origin(void **state)
{
    (void)state;
    static const char told[] = WS_HELLO "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
                                        "X-Forwarded-Host: example.org\r\n";
    char request[1024], text[64];
    trust_clients();
    snprintf(request, sizeof request, "%sOrigin: https://example.org\r\n", told);
    assert_int_equal(strtol(ask(request) + 9, NULL, 10), 101);
    peer_format(ws_client_address(heard.ws), text, sizeof text);
    assert_string_equal(text, "192.0.2.7");
    assert_int_equal(ws_peer(heard.ws)->address[0], 127);
    snprintf(request, sizeof request, "%sOrigin: http://example.org\r\n", told);
    assert_int_equal(strtol(ask(request) + 9, NULL, 10), 403);
    snprintf(request, sizeof request, "%sOrigin: https://a\r\n", told);
    assert_int_equal(strtol(ask(request) + 9, NULL, 10), 403);
    assert_non_null(strstr(scene.log_text, "Origin https://a, Host example.org"));
}

static void without_memory_for_the_client_there_is_none(void **state)
{
    (void)state;
    static const char request[] = WS_HELLO "X-Forwarded-For: 192.0.2.7\r\n";
    int refused = 0;
    trust_clients();
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        say(peer, request);
        say(peer, "\r\n");
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        refused += output_has(peer, "HTTP/1.1 500") ? 1 : 0;
        assert_true(has_failed || output_has(peer, "HTTP/1.1 101"));
    }
    assert_in_range(refused, 1, 100);
    assert_int_equal(ws_client_address(heard.ws)->address[0], 192);
}

static void a_subprotocol_is_agreed_on(void **state)
{
    (void)state;
    ws_scene_policy.protocols = "v2.chat, v1.chat";
    const char *response = ask(WS_HELLO
                               "Sec-WebSocket-Protocol: v0.chat\r\nSec-WebSocket-Protocol: v1.chat, v2.chat\r\n");
    assert_non_null(strstr(response, "\r\nSec-WebSocket-Protocol: v2.chat\r\n"));
    assert_int_equal(heard.agreed.protocol_len, 7);
    response = ask(WS_HELLO "Sec-WebSocket-Protocol: v0.chat\r\n");
    assert_memory_equal(response, "HTTP/1.1 101 ", 13);
    assert_null(strstr(response, "Sec-WebSocket-Protocol"));
    assert_null(heard.agreed.protocol);
}

static void a_client_may_leave_before_the_101_is_sent(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 20);
    say(peer, WS_HELLO "\r\n");
    assert_string_equal(heard.text, "");
    fake_peer_reset(peer, 0);
    settle();
    assert_string_equal(heard.text, "never 1006 ; ");
    assert_int_equal(stats().websockets, 0);
}

/* The first frames came in the same read as the request. */
static void frames_may_come_right_behind_the_request(void **state)
{
    (void)state;
    char bytes[512], *end = bytes + sprintf(bytes, "%s\r\n", WS_HELLO);
    end = ws_put_frame(end, WS_OP_TEXT, true, "early", 5);
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 20);
    fake_peer_send(peer, bytes, (size_t)(end - bytes));
    settle();
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(heard.text, "open; text early; ");
    assert_true(output_has(peer, "\r\n\r\n\x81\x05"
                                 "early"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(a_handshake_is_answered_with_101),
        WS_TEST(each_refusal_says_what_is_missing),
        WS_TEST(listed_origins_may_connect),
        WS_TEST(a_proxy_tells_the_client_and_the_own_origin),
        WS_TEST(without_memory_for_the_client_there_is_none),
        WS_TEST(a_subprotocol_is_agreed_on),
        WS_TEST(a_client_may_leave_before_the_101_is_sent),
        WS_TEST(frames_may_come_right_behind_the_request),
    };
    return cmocka_run_group_tests_name("ws_accept", tests, NULL, NULL);
}
