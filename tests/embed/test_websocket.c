/* WebSockets of a host: evs_websocket() and what belongs to it. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <arpa/inet.h>

#define HELLO(path)                                                                                                    \
    "GET " path " HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static char heard[4096];            /* what the callbacks heard */
static struct evs_ws_callbacks ask; /* what serve() gives to evs_websocket() */
static int accepted;                /* what that returned */
static pthread_mutex_t heard_lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&heard_lock);
    size_t len = strlen(heard);
    vsnprintf(heard + len, sizeof heard - len, format, args);
    pthread_mutex_unlock(&heard_lock);
    va_end(args);
}

static bool has_heard(const char *text)
{
    pthread_mutex_lock(&heard_lock);
    bool has = strstr(heard, text) != NULL;
    pthread_mutex_unlock(&heard_lock);
    return has;
}

static void wait_for(const char *text)
{
    for (int i = 0; i < 1000 && !has_heard(text); i++) {
        usleep(5000);
    }
    assert_true(has_heard(text));
}

static void on_open(evs_ws *ws, void *arg)
{
    char protocol[32], peer[64];
    assert_ptr_equal(evs_ws_arg(ws), arg);
    assert_ptr_equal(evs_ws_server(ws), host.server);
    assert_int_equal(evs_ws_thread(ws), 0);
    assert_memory_equal(evs_ws_peer(ws, peer, sizeof peer), "127.0.0.1:", 10);
    note("open %s %s; ", (const char *)arg, evs_ws_protocol(ws, protocol, sizeof protocol));
}

static void on_message(evs_ws *ws, int kind, const void *data, size_t len, void *arg)
{
    (void)arg;
    note("%s %.*s; ", kind == EVS_WS_TEXT ? "text" : "binary", (int)len, (const char *)data);
    if (len == 4 && memcmp(data, "ping", 4) == 0) {
        assert_int_equal(evs_ws_ping(ws, "hi", 2), 1);
    } else if (len == 5 && memcmp(data, "close", 5) == 0) {
        assert_int_equal(evs_ws_close(ws, 4000, "asked"), 0);
        assert_int_equal(evs_ws_close(ws, 4000, "asked"), -EPIPE);
        assert_int_equal(evs_ws_send(ws, EVS_WS_TEXT, "x", 1), -EPIPE);
    } else {
        assert_int_equal(evs_ws_send(ws, 3, "x", 1), -EINVAL);
        assert_int_equal(evs_ws_send(ws, EVS_WS_TEXT, "\xff", 1), -EILSEQ);
        assert_int_equal(evs_ws_close(ws, -1, NULL), -EINVAL);
        assert_int_equal(evs_ws_close(ws, 1005, NULL), -EINVAL);
        assert_int_equal(evs_ws_send(ws, kind, data, len), 1);
        assert_int_equal(evs_ws_queued(ws), len + 2);
    }
}

static void on_pong(evs_ws *ws, const void *data, size_t len, void *arg)
{
    (void)ws;
    (void)arg;
    note("pong %.*s; ", (int)len, (const char *)data);
}

static void on_close(evs_ws *ws, int code, const char *reason, void *arg)
{
    (void)ws;
    note("close %s %d %s; ", (const char *)arg, code, reason);
}

static void serve(evs_request *request, void *arg)
{
    (void)arg;
    accepted = evs_websocket(request, &ask);
}

static void serve_late(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "done", 4);
    accepted = evs_websocket(request, &ask);
}

static void on_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER) {
        accepted = evs_websocket(request, &ask);
    }
}

static void serve_later(evs_request *request, void *arg)
{
    evs_on(request, on_event, arg);
    assert_int_equal(evs_after(request, 1), 0);
}

static const struct evs_route routes[] = {{.route = "GET /later", .serve = serve_later},
                                          {.route = "GET /ws", .serve = serve},
                                          {.route = "GET /late", .serve = serve_late},
                                          {.route = NULL}};

static void start(void)
{
    heard[0] = '\0';
    ask = (struct evs_ws_callbacks){.size = sizeof ask,
                                    .arg = "room",
                                    .on_open = on_open,
                                    .on_message = on_message,
                                    .on_pong = on_pong,
                                    .on_close = on_close,
                                    .protocols = "chat.v2 , chat.v1"};
    host.config.routes = routes;
    host_start();
    host_serve();
}

/* Send a frame with a mask of zeros. */
static void send_frame(int fd, unsigned opcode, const char *text)
{
    char frame[128] = {(char)(0x80 | opcode), (char)(0x80 | strlen(text))};
    memcpy(frame + 6, text, strlen(text));
    assert_int_equal(send(fd, frame, 6 + strlen(text), MSG_NOSIGNAL), 6 + strlen(text));
}

static int open_socket(const char *hello, const char *expected)
{
    char buf[2048];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, hello));
    client_read_until(fd, buf, sizeof buf, "\r\n\r\n");
    assert_non_null(strstr(buf, expected));
    return fd;
}

/* Exactly these bytes come next. */
static void expect_bytes(int fd, const char *bytes, size_t len)
{
    char buf[256];
    assert_int_equal(recv(fd, buf, len, MSG_WAITALL), len);
    assert_memory_equal(buf, bytes, len);
}

static void a_host_talks_with_a_client(void **state)
{
    (void)state;
    start();
    int fd = open_socket(HELLO("/ws") "Sec-WebSocket-Protocol: chat.v1, chat.v0\r\n\r\n", "Protocol: chat.v1\r\n");
    send_frame(fd, 1, "hello");
    expect_bytes(fd, "\x81\x05hello", 7);
    send_frame(fd, 2, "\xff");
    expect_bytes(fd, "\x82\x01\xff", 3);
    send_frame(fd, 1, "ping");
    expect_bytes(fd, "\x89\x02hi", 4);
    send_frame(fd, 10, "hi");
    wait_for("pong hi; ");
    struct evs_stats stats = {.size = sizeof stats};
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.websockets, 1);
    assert_int_equal(stats.websocket_received, 3);
    assert_int_equal(stats.websocket_sent, 2);
    send_frame(fd, 1, "close");
    expect_bytes(fd,
                 "\x88\x07\x0f\xa0"
                 "asked",
                 9);
    send_frame(fd, 8, "\x0f\xa1ok");
    char rest[16];
    assert_int_equal(client_read_all(fd, rest, sizeof rest), 0);
    close(fd);
    wait_for("close room 4001 ok; ");
    assert_true(has_heard("open room chat.v1; text hello; binary \xff; text ping; pong hi; text close; close room"));
    fd = open_socket(HELLO("/later") "\r\n", " 101 ");
    send_frame(fd, 1, "hello");
    expect_bytes(fd, "\x81\x05hello", 7);
    close(fd);
    assert_int_equal(host_stop(1000), 0);
}

static void requests_that_are_no_handshake_get_a_response(void **state)
{
    (void)state;
    start();
    assert_non_null(strstr(client_get(host.port, "/ws"), " 426 "));
    assert_int_equal(accepted, 426);
    ask.origins = "https://example.org";
    close(open_socket(HELLO("/ws") "Origin: http://a\r\n\r\n", " 403 "));
    assert_int_equal(accepted, 403);
    ask.origins = NULL;
    close(open_socket(HELLO("/ws") "Origin: http://a\r\n\r\n", " 101 "));
    wait_for("close room 1006 ; ");
    close(open_socket(HELLO("/late") "\r\n", " 200 "));
    assert_int_equal(accepted, -EALREADY);
    ask.size--;
    close(open_socket(HELLO("/ws") "\r\n", " 500 "));
    assert_int_equal(accepted, -EINVAL);
    assert_true(host_has_logged("evs_ws_callbacks.size is not sizeof(struct evs_ws_callbacks)"));
    ask.size++;
    ask.max_message = (UINT64_C(1) << 30) + 1;
    close(open_socket(HELLO("/ws") "\r\n", " 500 "));
    assert_true(host_has_logged("evs_ws_callbacks.max_message must be 1 byte to 1 GiB"));
    ask.max_message = UINT64_C(1) << 30;
    ask.pong_timeout_ms = EVSERVE_ZERO;
    close(open_socket(HELLO("/ws") "\r\n", " 500 "));
    ask.pong_timeout_ms = 0;
    ask.ping_ms = 86400001;
    close(open_socket(HELLO("/ws") "\r\n", " 500 "));
    assert_true(host_has_logged("a time in struct evs_ws_callbacks"));
    ask.ping_ms = EVSERVE_ZERO;
    close(open_socket(HELLO("/ws") "\r\n", " 101 "));
    assert_int_equal(host_stop(1000), 0);
}

/* WebSockets with other functions and limits beside each other: each has its own. */
static void each_websocket_has_what_it_was_given(void **state)
{
    (void)state;
    enum { COUNT = 40 };
    int fds[COUNT];
    char text[64];
    start();
    for (int i = 0; i < COUNT; i++) {
        ask.max_message = 4 + (uint64_t)(i % 20);
        ask.on_pong = i % 3 == 0 ? on_pong : NULL;
        fds[i] = open_socket(HELLO("/ws") "\r\n", " 101 ");
    }
    for (int i = 0; i < COUNT; i++) {
        memset(text, 'x', sizeof text);
        text[4 + i % 20] = '\0';
        send_frame(fds[i], 2, text);
        client_read_until(fds[i], text, sizeof text, "xxxx");
        memset(text, 'x', sizeof text);
        text[5 + i % 20] = '\0';
        send_frame(fds[i], 2, text);
        expect_bytes(fds[i], "\x88", 1);
        close(fds[i]);
    }
    wait_for("close room 1009 ");
    assert_int_equal(host_stop(1000), 0);
}

static void send_long(evs_ws *ws, int kind, const void *data, size_t len, void *arg)
{
    (void)data;
    (void)len;
    (void)arg;
    char text[300];
    memset(text, 'x', sizeof text);
    assert_int_equal(evs_ws_send(ws, kind, text, sizeof text), 1);
}

static void messages_are_compressed_where_the_host_asks_for_it(void **state)
{
    static const char offer[] = HELLO("/ws") "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    char head[2048];
    (void)state;
    start();
    ask.on_message = send_long;
    int fd = open_socket(offer, " 101 ");
    send_frame(fd, 1, "go");
    expect_bytes(fd, "\x81\x7e\x01\x2c", 4);
    close(fd);
    ask.compress = 1;
    fd = client_connect(host.port);
    assert_true(client_send(fd, offer));
    client_read_until(fd, head, sizeof head, "\r\n\r\n");
    if (strstr(head, "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n") != NULL) { /* else zlib is missing */
        send_frame(fd, 1, "go");
        expect_bytes(fd, "\xc1", 1);
    }
    close(fd);
    ask.compress_min = EVSERVE_ZERO;
    close(open_socket(offer, " 500 "));
    assert_int_equal(accepted, -EINVAL);
    assert_int_equal(host_stop(1000), 0);
}

static void a_stop_waits_for_clients(void **state)
{
    (void)state;
    start();
    int fd = open_socket(HELLO("/ws") "\r\n", " 101 ");
    int silent = open_socket(HELLO("/ws") "\r\n", " 101 ");
    evserve_stop(host.server, 300);
    expect_bytes(fd, "\x88\x12\x03\xe9the server stops", 20);
    send_frame(fd, 8, "\x03\xe9");
    wait_for("close room 1001 ; ");
    assert_int_equal(host_stop(300), 1); /* the silent one was cut */
    assert_true(has_heard("close room 1006 ; "));
    close(fd);
    close(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(a_host_talks_with_a_client),
        HOST_TEST(requests_that_are_no_handshake_get_a_response),
        HOST_TEST(each_websocket_has_what_it_was_given),
        HOST_TEST(messages_are_compressed_where_the_host_asks_for_it),
        HOST_TEST(a_stop_waits_for_clients),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
