/* HTTPS: a whole server with a listener for TLS, and clients of OpenSSL. On the fake kernel. */

#include "core/tls_context.h"
#include "core/tls_info.h"
#include "http/conn_opening.h"
#include "http/conn_pool.h"
#include "http/h1/h1_steps.h"
#include "http/outcome.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/tls_scene.h"

enum { HEADER_TIMEOUT_MS = 10000, PIPELINED = 20000, LEAST_ROOM = 100 };

static struct made made;
static struct tls_context *context;
static struct tls_client tls_client;
static int tls_listener;

static size_t most_bytes; /* of memory of ours, when a handler is called */
static int calls;         /* of it */

/* Responds with what is known of the connection. */
static void serve_tls_info(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    calls++;
    most_bytes = fake_mem_live_bytes() > most_bytes ? fake_mem_live_bytes() : most_bytes;
    struct tls_info info;
    char text[256] = "plain";
    if (exchange_tls(exchange, &info)) {
        snprintf(text, sizeof text, "%s %s", info.version, info.server_name);
    }
    response_send(exchange, 200, "text/plain", text, strlen(text));
}

static const struct handler tls_info_handler = {.serve = serve_tls_info};

static void let_server_go_on(void)
{
    settle();
}

static void begin(int version)
{
    char err[256] = "";
    const struct tls_settings settings = {0};
    const struct tls_certificate certificate = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    add_usual_routes();
    add_route(METHOD_GET, "/tls", &tls_info_handler);
    set_limit("header_timeout", HEADER_TIMEOUT_MS);
    scene_start();
    assert_int_equal(server_listen_tls(scene.server, "127.0.0.1:0", false, err, sizeof err), -EINVAL);
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, &scene.log, err, sizeof err), 0);
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_int_equal(server_set_tls(scene.server, context), 0);
    tls_context_put(context);
    assert_int_equal(server_listen_tls(scene.server, "127.0.0.1:0", false, err, sizeof err), 1);
    tls_listener = fake_sys_listener_fd();
    tls_client_init(&tls_client, version, let_server_go_on);
}

static struct fake_peer *connect_tls(void)
{
    struct fake_peer *peer = fake_peer_connect(tls_listener);
    settle();
    return peer;
}

static void open_tls(void)
{
    tls_client_hang_up(&tls_client);
    tls_client_connect(&tls_client, connect_tls(), "example.org");
    tls_client_run(&tls_client);
}

static int tear_down_tls(void **state)
{
    tls_client_done(&tls_client);
    return scene_tear_down(state);
}

#define TLS_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, tear_down_tls)

static bool has_content(const char *text)
{
    return strstr(tls_client.input, text) != NULL;
}

static void requests_are_served_with_bytes_in_any_pieces(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    tree_add_filled(&scene.tree, "small", 's', 100);
    begin(TLS1_3_VERSION);
    static const size_t pieces[] = {0, 1, 7, 100};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        tls_client.piece = pieces[i];
        open_tls();
        tls_client_say(&tls_client, GET("/hello") GET("/tls"));
        assert_true(has_content("hello\n"));
        assert_true(has_content("TLSv1.3 example.org"));
        tls_client_say(&tls_client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
        assert_true(has_content("12345"));
        tls_client.input_len = 0;
        tls_client_say(&tls_client, GET("/large"));
        assert_in_range(tls_client.input_len, 300000, 301000);
        tls_client.input_len = 0;
        tls_client_say(&tls_client, GET_CLOSE("/small"));
        assert_in_range(tls_client.input_len, 100, 1000);
        assert_true(tls_client.has_close_notify);
        assert_true(is_closed(tls_client.peer));
    }
    struct fake_peer *plain = client();
    say(plain, GET("/tls"));
    assert_true(output_has(plain, "plain"));
    assert_int_equal(stats().lost, 0);
}

static void small_responses_take_one_send(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1300);
    begin(TLS1_3_VERSION);
    open_tls();
    tls_client_say(&tls_client, GET("/small"));
    fake_sys_clear_trace();
    tls_client_say(&tls_client, GET("/small"));
    tls_client_say(&tls_client, GET("/hello"));
    assert_int_equal(fake_sys_count(FAKE_SEND), 2);
    assert_int_equal(fake_sys_count(FAKE_RECV), 2);
}

/* So many requests, in one segment. The server's block does not end where a record ends. */
static void send_pipeline(int count)
{
    enum { RECORD_BYTES = 5000 };
    static const char request[] = GET("/tls");
    static char requests[PIPELINED * (sizeof request - 1)], wire[2 * sizeof requests];
    int requests_len = 0;
    for (int i = 0; i < count; i++) {
        memcpy(requests + requests_len, request, sizeof request - 1);
        requests_len += (int)sizeof request - 1;
    }
    calls = 0;
    most_bytes = 0;
    tls_client.input_len = 0;
    assert_int_equal(SSL_set_max_send_fragment(tls_client.ssl, RECORD_BYTES), 1);
    assert_int_equal(SSL_write(tls_client.ssl, requests, requests_len), requests_len);
    int len = BIO_read(SSL_get_wbio(tls_client.ssl), wire, sizeof wire);
    assert_in_range(len, requests_len, sizeof wire - 1);
    fake_peer_send(tls_client.peer, wire, (size_t)len);
}

static int count_pipeline(void)
{
    int count = 0;
    tls_client_run(&tls_client);
    const char *at = tls_client.input, *end = at + tls_client.input_len;
    while ((at = memmem(at, (size_t)(end - at), "TLSv1.3 ", 8)) != NULL) { /* the sanitizer makes strstr() slow */
        at++;
        count++;
    }
    return count;
}

/* What OpenSSL holds is not forgotten, and not read before its time. */
static void pipelined_requests_beyond_a_read_are_all_served(void **state)
{
    (void)state;
    enum { ROOM = 200000 };
    begin(TLS1_3_VERSION);
    open_tls();
    size_t before = fake_mem_live_bytes();
    send_pipeline(PIPELINED);
    settle();
    assert_int_equal(calls, PIPELINED);
    assert_in_range(most_bytes, before, before + ROOM);
    assert_int_equal(count_pipeline(), PIPELINED);
}

/* Each tick serves one budget of it, or two where an event and a task come together; a request of somebody else is
 * answered in the tick that it comes in. */
static void client_that_pipelines_leaves_the_others_their_turns(void **state)
{
    (void)state;
    enum { TURNS = 2 };
    begin(TLS1_3_VERSION);
    struct fake_peer *other = client();
    open_tls();
    send_pipeline(PIPELINED);
    int ticks = 0;
    for (int before = 0; calls < PIPELINED; before = calls) {
        size_t len = output_len(other);
        fake_peer_send_text(other, GET("/hello"));
        run_once();
        assert_in_range(calls - before, 0, TURNS * PIPELINE_BUDGET);
        assert_true(output_len(other) > len);
        assert_true(++ticks < 2 * PIPELINED / PIPELINE_BUDGET);
    }
    assert_true(ticks >= PIPELINED / (TURNS * PIPELINE_BUDGET));
    assert_int_equal(count_pipeline(), PIPELINED);
}

/* A host with a loop of its own looks at the reactor's fd alone: that says so as long as there is something to do. */
static void run_while_told(int fd)
{
    for (int rounds = 0; fake_sys_is_readable(fd); rounds++) {
        assert_true(rounds < 100000);
        assert_true(reactor_run_once(scene.reactor, 0) >= 0);
    }
}

/* A read fills the server's block, and what is left lies in OpenSSL while the socket is empty: no event tells of it. */
static void host_is_told_of_what_openssl_holds(void **state)
{
    (void)state;
    enum { IN_A_BLOCK = READ_BLOCK_BYTES / (sizeof GET("/tls") - 1) };
    static const int counts[] = {IN_A_BLOCK + 1, IN_A_BLOCK + 40, IN_A_BLOCK + 500, 2 * IN_A_BLOCK + 40, PIPELINED};
    begin(TLS1_3_VERSION);
    int fd = reactor_fd(scene.reactor);
    assert_true(fd >= 0);
    open_tls();
    settle();
    for (size_t i = 0; i < 2 * sizeof counts / sizeof *counts; i++) {
        int count = counts[i / 2];
        bool is_slow = i % 2 == 1;
        assert_false(fake_sys_is_readable(fd));
        send_pipeline(count);
        if (is_slow) {
            fake_peer_set_room(tls_client.peer, 0);
            run_while_told(fd);
            assert_true(calls < count); /* beyond the high mark nothing is read */
            fake_peer_set_room(tls_client.peer, FAKE_NO_LIMIT);
        }
        run_while_told(fd);
        assert_int_equal(calls, count);
        assert_int_equal(count_pipeline(), count);
    }
}

/* The session holds a part of a body, and a response for which there is no room: it reads on when there is room, and
 * does not try in vain before. */
static void held_input_waits_for_room_for_what_was_said(void **state)
{
    (void)state;
    enum { BODY_BYTES = READ_BLOCK_BYTES + 5000, RECORD_BYTES = 5000 };
    static char text[2 * BODY_BYTES], wire[2 * sizeof text];
    begin(TLS1_3_VERSION);
    open_tls();
    tls_client_say(&tls_client, GET("/hello"));
    fake_peer_set_room(tls_client.peer, 0);
    int head_len = snprintf(text, sizeof text,
                            GET("/hello") "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY_BYTES);
    memset(text + head_len, 'b', BODY_BYTES);
    assert_int_equal(SSL_set_max_send_fragment(tls_client.ssl, RECORD_BYTES), 1);
    assert_int_equal(SSL_write(tls_client.ssl, text, head_len + BODY_BYTES), head_len + BODY_BYTES);
    int len = BIO_read(SSL_get_wbio(tls_client.ssl), wire, sizeof wire);
    fake_peer_send(tls_client.peer, wire, (size_t)len);
    assert_in_range(settle(), 1, 100);
    fake_peer_set_room(tls_client.peer, FAKE_NO_LIMIT);
    tls_client_run(&tls_client);
    assert_true(has_content("bbbbbbbbbb"));
    assert_in_range(tls_client.input_len, BODY_BYTES, BODY_BYTES + 1000);
}

static void client_that_takes_nothing_is_cut_without_close_notify(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 500000);
    begin(TLS1_2_VERSION);
    set_limit("write_timeout", 5000);
    open_tls();
    fake_peer_set_room(tls_client.peer, 50000);
    tls_client_say(&tls_client, GET("/large"));
    pass_ms(20000);
    tls_client_run(&tls_client);
    assert_true(is_closed(tls_client.peer));
    assert_true(tls_client.input_len < 50000);
    assert_false(tls_client.has_close_notify);
}

static void slow_client_gets_all(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 200000);
    begin(TLS1_3_VERSION);
    open_tls();
    fake_peer_set_window(tls_client.peer, 3000);
    tls_client_say(&tls_client, GET("/large"));
    for (int i = 0; i < 100 && tls_client.input_len < 200000; i++) {
        tls_client_run(&tls_client);
    }
    assert_in_range(tls_client.input_len, 200000, 201000);
    assert_false(tls_client.has_failed);
}

/* The last record may fill the socket: without its close_notify the client would take the whole for a part. */
/* The last response to a client that takes so many bytes of it. Returns whether the server is through with it. */
static bool ask_for_last(int room)
{
    open_tls();
    tls_client_say(&tls_client, GET("/hello")); /* tickets come with it */
    fake_peer_set_room(tls_client.peer, room);
    tls_client_say(&tls_client, GET_CLOSE("/hello"));
    return is_closed(tls_client.peer);
}

static void close_notify_waits_for_room(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    begin(TLS1_2_VERSION);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        SSL_CTX_set_max_proto_version(tls_client.ctx, versions[i]);
        SSL_CTX_set_min_proto_version(tls_client.ctx, versions[i]);
        for (int room = LEAST_ROOM; !ask_for_last(room); room++) {
            fake_peer_set_room(tls_client.peer, FAKE_NO_LIMIT);
            tls_client_run(&tls_client);
            assert_non_null(strstr(strstr(tls_client.input, "hello\n") + 1, "hello\n"));
            assert_true(tls_client.has_close_notify);
            assert_true(is_closed(tls_client.peer));
            assert_true(room < 1000);
        }
    }
    assert_int_equal(stats().lost, 0);
}

static void close_notify_does_not_wait_for_ever(void **state)
{
    (void)state;
    begin(TLS1_2_VERSION);
    int room = LEAST_ROOM;
    set_limit("write_timeout", 5000);
    while (!ask_for_last(room)) {
        room++;
        tls_client_hang_up(&tls_client);
        fake_peer_reset(tls_client.peer, 0);
        settle();
    }
    uint64_t before = stats().timeouts;
    assert_false(ask_for_last(room - 1)); /* no room for its last byte */
    pass_ms(4000);
    assert_false(is_closed(tls_client.peer));
    pass_ms(8000);
    assert_true(is_closed(tls_client.peer));
    assert_int_equal(stats().timeouts, before + 1);
    tls_client_run(&tls_client);
    assert_false(tls_client.has_close_notify);
    assert_non_null(strstr(strstr(tls_client.input, "hello\n") + 1, "hello\n"));
}

/* How many connections are in a handshake, and how many are idle. */
static void expect_handshakes(uint64_t handshakes, uint64_t idle)
{
    uint64_t counts[CONN_PHASES];
    server_count_phases(scene.server, counts);
    assert_int_equal(counts[PHASE_HANDSHAKE], handshakes);
    assert_int_equal(counts[PHASE_IDLE], idle);
    assert_int_equal(counts[PHASE_READING], 0);
}

static void handshake_is_a_phase_of_its_own(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    connect_tls();
    expect_handshakes(1, 0);
    open_tls();
    expect_handshakes(1, 1);
}

static void handshake_has_the_time_of_a_head(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    struct fake_peer *silent = connect_tls();
    struct fake_peer *slow = connect_tls();
    for (int i = 0; i < HEADER_TIMEOUT_MS / 1000 + 1; i++) {
        assert_false(is_closed(silent));
        assert_false(is_closed(slow));
        fake_peer_send(slow, i == 0 ? "\x16" : i == 1 ? "\x03" : "\x01", 1); /* its bytes buy no time */
        pass_ms(i == 0 ? 900 : 1000);
    }
    pass_ms(1000);
    assert_true(is_closed(silent));
    assert_true(is_closed(slow));
    assert_int_equal(stats().timeouts, 2);
    open_tls();
    pass_ms(HEADER_TIMEOUT_MS + 2000); /* after the handshake the connection is idle, as any other */
    tls_client_say(&tls_client, GET("/hello"));
    assert_true(has_content("hello\n"));
}

/* Each read takes a millisecond. A crowd connects, and later goes on with its handshakes; somebody asks for something
 * else in each tick. */
static void crowd_of_handshakes_takes_little_of_each_tick(void **state)
{
    (void)state;
    enum { CROWD = 40, READ_NS = 1000000, READS = HANDSHAKES_NS / READ_NS };
    begin(TLS1_3_VERSION);
    struct fake_peer *crowd[CROWD], *other = client();
    say(other, GET("/hello"));
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = fake_peer_connect(tls_listener);
    }
    fake_sys_set_cost_ns(FAKE_RECV, READ_NS);
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < CROWD; i++) {
            fake_peer_send(crowd[i], step == 0 ? "\x16" : "\x03", 1);
        }
        for (int tick = 0; tick < CROWD / READS; tick++) {
            uint64_t reads = fake_sys_count(FAKE_RECV);
            fake_peer_forget_output(other);
            fake_peer_send_text(other, GET("/hello"));
            run_once();
            assert_true(output_has(other, "hello\n"));
            assert_int_equal(fake_sys_count(FAKE_RECV) - reads, READS + 1);
        }
        for (int i = 0; i < CROWD; i++) {
            assert_int_equal(fake_peer_unread(crowd[i]), 0);
        }
        settle();
    }
}

static void idle_connections_end_with_close_notify(void **state)
{
    (void)state;
    set_limit("idle_timeout", 2000);
    begin(TLS1_3_VERSION);
    open_tls();
    tls_client_say(&tls_client, GET("/hello"));
    pass_ms(4000);
    tls_client_run(&tls_client);
    assert_true(tls_client.has_close_notify);
    assert_true(is_closed(tls_client.peer));

    open_tls();
    server_drain(scene.server, 10000, NULL, NULL);
    pass_ms(1000);
    tls_client_run(&tls_client);
    assert_true(tls_client.has_close_notify);
}

static void stop_gives_a_handshake_and_its_request_a_moment(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    tls_client_hang_up(&tls_client);
    tls_client_connect(&tls_client, connect_tls(), "example.org");
    server_drain(scene.server, 10000, NULL, NULL);
    settle();
    tls_client_run(&tls_client);
    pass_ms(500);
    tls_client_say(&tls_client, GET("/hello"));
    assert_true(has_content("hello\n"));
    assert_true(has_content("Connection: close\r\n"));
    assert_true(tls_client.has_close_notify);
}

static void client_that_leaves_an_idle_connection_is_not_lost(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    for (int i = 0; i < 3; i++) {
        open_tls();
        tls_client_say(&tls_client, GET("/hello"));
        if (i == 1) {
            SSL_shutdown(tls_client.ssl);
            tls_client_run(&tls_client);
            assert_true(tls_client.has_close_notify); /* ours for theirs */
        } else if (i == 2) {
            fake_peer_shutdown(tls_client.peer);
            settle();
        }
        assert_true(is_closed(tls_client.peer) == (i > 0));
    }
    struct fake_peer *silent = connect_tls();
    fake_peer_close(silent);
    settle();
    assert_true(is_closed(silent));
    silent = connect_tls();
    fake_peer_reset(silent, 0);
    settle();
    assert_true(is_closed(silent));
    assert_int_equal(stats().lost, 0);
    assert_null(strstr(scene.log_text, "failed"));
    struct fake_peer *rude = connect_tls();
    fake_peer_send(rude, "\x16\x03", 2);
    settle();
    fake_peer_reset(rude, 0);
    settle();
    assert_true(is_closed(rude));
    assert_int_equal(stats().lost, 1);
    assert_non_null(strstr(scene.log_text, "failed: the client closed the connection"));
}

static void request_that_was_cut_short_is_not_served(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    open_tls();
    tls_client_say(&tls_client, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n123");
    fake_peer_shutdown(tls_client.peer);
    tls_client_run(&tls_client);
    assert_int_equal(tls_client.input_len, 0);
    assert_true(is_closed(tls_client.peer));
    assert_non_null(strstr(scene.log_text, "closed without close_notify while reading the request body"));
}

static void failed_handshakes_are_logged_with_their_reason_but_do_not_flood(void **state)
{
    (void)state;
    begin(TLS1_3_VERSION);
    struct fake_peer *http = connect_tls();
    fake_peer_send_text(http, GET("/hello"));
    settle();
    assert_true(output_has(http, "HTTP/1.1 400 Bad Request\r\n"));
    assert_true(output_has(http, "https://"));
    assert_true(fake_peer_saw_end(http));
    fake_peer_shutdown(http);
    settle();
    assert_true(is_closed(http));
    assert_non_null(strstr(scene.log_text, "TLS handshake with 127.0.0.1:"));
    assert_non_null(strstr(scene.log_text, "failed: the client sent plain HTTP to a port for HTTPS"));
    for (int i = 0; i < 50; i++) {
        struct fake_peer *peer = connect_tls();
        fake_peer_send(peer, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
        fake_peer_shutdown(peer);
        settle();
        settle();
        assert_true(is_closed(peer));
    }
    int lines = 0;
    for (const char *at = scene.log_text; (at = strstr(at, "TLS handshake with")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 5);
    pass_ms(11000);
    struct fake_peer *peer = connect_tls();
    fake_peer_send(peer, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    settle();
    assert_non_null(strstr(scene.log_text, "46 more TLS handshakes have failed"));
    assert_int_equal(stats().lost, 52);
}

static enum outcome_end told_end; /* of the last response that was reported */

static void keep_end(void *arg, const struct outcome *outcome)
{
    (void)arg;
    told_end = outcome->end;
}

static void newcomer_that_is_turned_away_gets_no_text_in_plain(void **state)
{
    (void)state;
    const struct server_hooks hooks = {.finished = keep_end};
    set_limit("max_connections", 1);
    begin(TLS1_3_VERSION);
    service_set_hooks(server_service(scene.server), &hooks);
    told_end = OUTCOME_COMPLETE;
    struct fake_peer *busy = client();
    say(busy, GET("/hold"));
    struct fake_peer *other = connect_tls();
    settle();
    assert_true(is_closed(other));
    assert_int_equal(output_len(other), 0);
    assert_int_equal(told_end, OUTCOME_GONE);
    reply_held(0, "done");
}

static int make_certificate(void **state)
{
    (void)state;
    made_create(&made, KEY_EC, "example.org", NULL);
    return 0;
}

static int free_certificate(void **state)
{
    (void)state;
    made_done(&made);
    made_keys_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(requests_are_served_with_bytes_in_any_pieces),
        TLS_TEST(small_responses_take_one_send),
        TLS_TEST(pipelined_requests_beyond_a_read_are_all_served),
        TLS_TEST(client_that_pipelines_leaves_the_others_their_turns),
        TLS_TEST(host_is_told_of_what_openssl_holds),
        TLS_TEST(held_input_waits_for_room_for_what_was_said),
        TLS_TEST(client_that_takes_nothing_is_cut_without_close_notify),
        TLS_TEST(slow_client_gets_all),
        TLS_TEST(close_notify_waits_for_room),
        TLS_TEST(close_notify_does_not_wait_for_ever),
        TLS_TEST(crowd_of_handshakes_takes_little_of_each_tick),
        TLS_TEST(handshake_is_a_phase_of_its_own),
        TLS_TEST(handshake_has_the_time_of_a_head),
        TLS_TEST(idle_connections_end_with_close_notify),
        TLS_TEST(stop_gives_a_handshake_and_its_request_a_moment),
        TLS_TEST(client_that_leaves_an_idle_connection_is_not_lost),
        TLS_TEST(request_that_was_cut_short_is_not_served),
        TLS_TEST(failed_handshakes_are_logged_with_their_reason_but_do_not_flood),
        TLS_TEST(newcomer_that_is_turned_away_gets_no_text_in_plain),
    };
    return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
