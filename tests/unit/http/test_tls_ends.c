/* How connections of HTTPS end: what the last bytes cost, and what each side may do to the other with its end. A whole
 * server on the fake kernel, and clients of OpenSSL. */

#include "core/tls_context.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/tls_scene.h"

enum { VERSIONS = 2, LARGE_BYTES = 300000 };

static const int versions[VERSIONS] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct made made;
static struct tls_client tls_client;
static int tls_listener;

static void let_server_go_on(void)
{
    settle();
}

static char borrowed_text[40000];

/* Responds with memory that is sent from where it is. */
static void serve_borrowed(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send_borrowed(exchange, 200, "text/plain", borrowed_text, sizeof borrowed_text, NULL, NULL);
}

static const struct handler borrowed_handler = {.serve = serve_borrowed};

/* Writes a part of its response, and waits for the body, though the client may have shut its side. */
static void serve_half(struct exchange *exchange, void *ctx)
{
    const char *data;
    size_t len;
    exchange->outlives_end = true;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    for (int i = 0; ctx != NULL && i < 20; i++) { /* more than two turns send */
        (void)response_write(exchange, borrowed_text, sizeof borrowed_text);
    }
    (void)response_write(exchange, "half", 4);
    while (exchange_read_body(exchange, &data, &len) == BODY_DATA) {
        (void)response_write(exchange, data, len);
    }
}

static const struct handler half_handler = {.serve = serve_half, .body_mode = BODY_STREAM};
static const struct handler large_half_handler = {.serve = serve_half, .body_mode = BODY_STREAM, .ctx = borrowed_text};

/* Its clients may say their end and still read. */
static const struct handler hold_half_handler = {.serve = serve_held, .half_close = true};

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    char err[256] = "";
    struct tls_context *context;
    const struct tls_settings settings = {0};
    const struct tls_certificate certificate = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    memset(borrowed_text, 'b', sizeof borrowed_text);
    tree_add_filled(&scene.tree, "large", 'l', LARGE_BYTES);
    tree_add_filled(&scene.tree, "small", 's', 1300);
    add_usual_routes();
    add_route(METHOD_GET, "/borrowed", &borrowed_handler);
    add_route(METHOD_GET, "/hold-half", &hold_half_handler);
    add_route(METHOD_POST, "/half", &half_handler);
    add_route(METHOD_POST, "/half-large", &large_half_handler);
    set_limit("write_high_mark", 1000000);
    set_limit("write_cap", 4000000);
    scene_start();
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, &scene.log, err, sizeof err), 0);
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_int_equal(server_set_tls(scene.server, context), 0);
    tls_context_put(context);
    assert_int_equal(server_listen_tls(scene.server, "127.0.0.1:0", false, err, sizeof err), 1);
    tls_listener = fake_sys_listener_fd();
    return rv;
}

static int tear_down(void **state)
{
    tls_client_done(&tls_client);
    return scene_tear_down(state);
}

#define ENDS_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* A client that has shaken hands. */
static void open_tls(int version)
{
    tls_client_done(&tls_client);
    tls_client_init(&tls_client, version, let_server_go_on);
    struct fake_peer *peer = fake_peer_connect(tls_listener);
    settle();
    tls_client_connect(&tls_client, peer, "example.org");
    tls_client_run(&tls_client);
    fake_sys_clear_trace();
}

static uint64_t sends(void)
{
    return fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV);
}

static bool has_content(const char *text)
{
    return strstr(tls_client.input, text) != NULL;
}

/* What the last response costs. */

static void close_notify_goes_out_with_the_last_records(void **state)
{
    (void)state;
    static const struct {
        const char *request, *response;
        uint64_t sends;
        size_t content;
    } rows[] = {
        {GET_CLOSE("/hello"), "200 OK", 1, 6},
        {"GET /hello HTTP/1.0\r\n\r\n", "200 OK", 1, 6},
        {GET_CLOSE("/small"), "200 OK", 1, 1300},
        {"HEAD /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK", 1, 0},
        {GET_CLOSE("/none"), "404 Not Found", 1, 1},
        {GET("/hello") GET("/hello") GET_CLOSE("/small"), "200 OK", 1, 1300},
        {"GET /hello HTTP/1.1\r\n\r\n", "400 Bad Request", 1, 1},
        {"nonsense\r\n\r\n", "400 Bad Request", 1, 1},
        {"POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400 Bad Request", 1, 1},
        {GET_CLOSE("/borrowed"), "200 OK", 1, sizeof borrowed_text},
    };
    for (size_t i = 0; i < VERSIONS * sizeof rows / sizeof *rows; i++) {
        size_t row = i / VERSIONS;
        open_tls(versions[i % VERSIONS]);
        tls_client_say(&tls_client, rows[row].request);
        assert_true(has_content(rows[row].response));
        assert_true(tls_client.input_len >= rows[row].content);
        assert_true(tls_client.has_close_notify);
        assert_int_equal(sends(), rows[row].sends);
    }
    assert_int_equal(stats().lost, 0);
}

static void large_response_takes_no_send_more_for_it(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        open_tls(versions[i]);
        tls_client_say(&tls_client, GET("/large"));
        uint64_t before = sends();
        fake_sys_clear_trace();
        tls_client.input_len = 0;
        tls_client_say(&tls_client, GET_CLOSE("/large"));
        assert_in_range(tls_client.input_len, LARGE_BYTES, LARGE_BYTES + 500);
        assert_true(tls_client.has_close_notify);
        assert_int_equal(sends(), before);
    }
}

static void drained_connection_ends_with_its_response(void **state)
{
    (void)state;
    open_tls(TLS1_3_VERSION);
    tls_client_say(&tls_client, GET("/hold"));
    server_drain(scene.server, 10000, NULL, NULL);
    settle();
    fake_sys_clear_trace();
    reply_held(0, "the last one");
    tls_client_run(&tls_client);
    assert_true(has_content("the last one"));
    assert_true(has_content("Connection: close\r\n"));
    assert_true(tls_client.has_close_notify);
    assert_int_equal(sends(), 1);
}

/* The close_notify waits behind the records: a client that comes back for them gets it, another one does not. */
static void close_notify_stays_behind_a_response_that_is_not_taken(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * VERSIONS; i++) {
        bool comes_back = i < VERSIONS;
        open_tls(versions[i % VERSIONS]);
        fake_peer_set_room(tls_client.peer, 700);
        tls_client_say(&tls_client, GET_CLOSE("/small"));
        assert_int_equal(tls_client.input_len, 0); /* half a record cannot be read */
        assert_false(is_closed(tls_client.peer));
        if (comes_back) {
            fake_peer_set_room(tls_client.peer, FAKE_NO_LIMIT);
        } else {
            pass_ms(60000);
        }
        tls_client_run(&tls_client);
        assert_true(is_closed(tls_client.peer));
        assert_true(tls_client.has_close_notify == comes_back);
        assert_true((tls_client.input_len > 1300) == comes_back);
    }
}

/* Room for the response, and for a part of what follows it: the connection ends once there is room for all of it. */
static void close_notify_that_the_socket_does_not_take_waits_for_room(void **state)
{
    (void)state;
    for (int version = 0; version < VERSIONS; version++) {
        open_tls(versions[version]);
        client();
        tls_client.step = NULL;
        assert_int_equal(SSL_write(tls_client.ssl, GET_CLOSE("/hello"), sizeof GET_CLOSE("/hello") - 1),
                         sizeof GET_CLOSE("/hello") - 1);
        char wire[1000];
        size_t response_len;
        int len = BIO_read(SSL_get_wbio(tls_client.ssl), wire, sizeof wire);
        fake_peer_send(tls_client.peer, wire, (size_t)len);
        settle();
        fake_peer_output(tls_client.peer, &response_len);

        for (int64_t lacking = 1; lacking < 23; lacking++) { /* bytes of the close_notify: at least 5 + 2 */
            open_tls(versions[version]);
            fake_peer_set_room(tls_client.peer, (int64_t)response_len - lacking);
            tls_client_say(&tls_client, GET_CLOSE("/hello"));
            assert_true(has_content("hello\n"));
            assert_false(is_closed(tls_client.peer));
            fake_peer_set_room(tls_client.peer, FAKE_NO_LIMIT);
            tls_client_run(&tls_client);
            assert_true(is_closed(tls_client.peer));
            assert_true(tls_client.has_close_notify);
        }
    }
}

/* What a client may do with its own end. */

/* Encrypt without sending. Returns the bytes, which tls_client would have sent. */
static size_t encrypt(const char *content, char *wire, size_t size)
{
    if (content != NULL) {
        assert_int_equal(SSL_write(tls_client.ssl, content, (int)strlen(content)), (int)strlen(content));
    }
    int len = BIO_read(SSL_get_wbio(tls_client.ssl), wire, (int)size);
    return len < 0 ? 0 : (size_t)len;
}

#define POST_HEAD    "POST /echo HTTP/1.1\r\nHost: a\r\n"
#define BY_LENGTH    "Content-Length: 10\r\n\r\n"
#define IN_CHUNKS    "Transfer-Encoding: chunked\r\n\r\n"
#define HALF_REQUEST "GET /hello HTT"

static const char *const unfinished[] = {
    HALF_REQUEST,
    POST_HEAD BY_LENGTH,
    POST_HEAD BY_LENGTH "12345",
    POST_HEAD IN_CHUNKS,
    POST_HEAD IN_CHUNKS "5\r\n12345\r\n",
    POST_HEAD IN_CHUNKS "5\r\n12345\r\n0\r\n", /* the empty line of the trailer is missing */
    "POST /hold-whole HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345",
};

/* With close_notify, with it and FIN, and with FIN alone: what is not complete is not served. */
static void request_that_ends_too_early_is_not_served(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * VERSIONS * sizeof unfinished / sizeof *unfinished; i++) {
        size_t way = i / VERSIONS % 3;
        const char *request = unfinished[i / VERSIONS / 3];
        const int before = held_count;
        open_tls(versions[i % VERSIONS]);
        tls_client_say(&tls_client, request);
        if (way < 2) {
            SSL_shutdown(tls_client.ssl);
            tls_client_run(&tls_client);
        }
        if (way > 0) {
            fake_peer_shutdown(tls_client.peer);
            settle();
        }
        assert_true(is_closed(tls_client.peer));
        assert_int_equal(tls_client.input_len, 0);
        assert_int_equal(held_count, before);
    }
}

/* A client may say its end with its request, and still reads the response to it. */
static void half_closed_client_reads_its_response(void **state)
{
    (void)state;
    static const char *const requests[] = {GET("/hello"), GET("/small"), GET("/large"), GET("/hello") GET("/large")};
    for (size_t i = 0; i < VERSIONS * sizeof requests / sizeof *requests; i++) {
        char wire[1000];
        const char *request = requests[i / VERSIONS];
        open_tls(versions[i % VERSIONS]);
        size_t len = encrypt(request, wire, sizeof wire);
        SSL_shutdown(tls_client.ssl);
        len += encrypt(NULL, wire + len, sizeof wire - len);
        fake_peer_send(tls_client.peer, wire, len);
        settle();
        tls_client_run(&tls_client);
        assert_true(has_content("200 OK"));
        assert_true(tls_client.input_len > (strstr(request, "large") != NULL ? LARGE_BYTES : 6));
        assert_true(tls_client.has_close_notify);
        assert_true(is_closed(tls_client.peer));
    }
    assert_int_equal(stats().lost, 0);
}

/* Say the client's end, and nothing of TCP's. */
static void say_end(void)
{
    SSL_shutdown(tls_client.ssl);
    tls_client_run(&tls_client);
}

/* Its request waits, and TCP stays open: a close_notify is the end of the client's side as a FIN is. */
static void client_that_says_its_end_while_its_request_waits_has_left(void **state)
{
    (void)state;
    enum { AT_ONCE, LATER, IN_ITS_STREAM, BEHIND_KEY_UPDATES, WITH_REQUESTS, AFTER_ITS_BODY, WAYS };
    for (int i = 0; i < WAYS * VERSIONS; i++) {
        const int before = held_count, way = i / VERSIONS;
        open_tls(versions[i % VERSIONS]);
        if (way == AT_ONCE) { /* in one segment with the request */
            char wire[1000];
            size_t len = encrypt(GET("/hold"), wire, sizeof wire);
            SSL_shutdown(tls_client.ssl);
            len += encrypt(NULL, wire + len, sizeof wire - len);
            fake_peer_send(tls_client.peer, wire, len);
            settle();
        } else {
            tls_client_say(&tls_client, way == WITH_REQUESTS    ? GET("/hold") GET("/hello")
                                        : way == AFTER_ITS_BODY ? "POST /hold-whole HTTP/1.1\r\nHost: a\r\n" BY_LENGTH
                                                                  "1234567890"
                                                                : GET("/hold"));
            assert_int_equal(held_count, before + 1);
        }
        if (way == IN_ITS_STREAM) {
            struct exchange *exchange = held[before].exchange;
            response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
            assert_true(response_write(exchange, "half", 4) >= 0);
            settle();
            tls_client_run(&tls_client);
        } else if (way == BEHIND_KEY_UPDATES && versions[i % VERSIONS] == TLS1_3_VERSION) {
            for (int n = 0; n < 100; n++) {
                assert_int_equal(SSL_key_update(tls_client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
                SSL_do_handshake(tls_client.ssl);
                tls_client_run(&tls_client);
            }
        }
        if (way != AT_ONCE) {
            assert_false(is_closed(tls_client.peer));
            assert_int_equal(held[before].gones, 0);
            say_end();
        }
        assert_int_equal(held[before].gones, 1);
        assert_true(is_closed(tls_client.peer));
        assert_false(has_content("HTTP/1.1 503"));
    }
}

/* Until it is answered, what else a client sends stays where it is. */
static void requests_behind_one_that_waits_are_answered_after_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * VERSIONS; i++) {
        const int before = held_count;
        open_tls(versions[i % VERSIONS]);
        tls_client_say(&tls_client, GET("/hold"));
        tls_client_say(&tls_client, GET("/small"));
        tls_client_say(&tls_client, GET("/hello"));
        if (i >= VERSIONS) {
            tls_client_say(&tls_client, GET("/small"));
            assert_true(tls_client.input_len == 0);
        }
        assert_int_equal(held_count, before + 1);
        reply_held(before, "answered\n");
        tls_client_run(&tls_client);
        assert_true(has_content("answered\n"));
        assert_true(has_content("hello\n"));
        assert_true(tls_client.input_len > (i < VERSIONS ? 1300 : 2600));
        assert_false(is_closed(tls_client.peer));
        say_end();
        assert_true(is_closed(tls_client.peer));
    }
}

/* Its route says that it still reads: whether its end is a close_notify, a FIN, or both. */
static void client_of_a_half_closed_route_reads_on_after_its_end(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * VERSIONS; i++) {
        const int before = held_count;
        open_tls(versions[i % VERSIONS]);
        tls_client_say(&tls_client, GET("/hold-half"));
        if (i < 2 * VERSIONS) {
            say_end();
        }
        if (i >= VERSIONS) {
            fake_peer_shutdown(tls_client.peer);
            settle();
        }
        assert_int_equal(held[before].gones, 0);
        assert_false(is_closed(tls_client.peer));
        reply_held(before, "answered\n");
        tls_client_run(&tls_client);
        assert_true(has_content("answered\n"));
        assert_true(is_closed(tls_client.peer));
        assert_true(tls_client.has_close_notify == (i < 2 * VERSIONS));
    }
}

/* What comes behind a close_notify is not looked at, be it a request or garbage. */
static void nothing_is_served_behind_a_close_notify(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * VERSIONS; i++) {
        char request[1000], end[100];
        open_tls(versions[i % VERSIONS]);
        size_t len = encrypt(GET("/hello"), request, sizeof request);
        SSL_shutdown(tls_client.ssl);
        size_t end_len = encrypt(NULL, end, sizeof end);
        fake_peer_send(tls_client.peer, end, end_len); /* out of order, which breaks the second record */
        fake_peer_send(tls_client.peer, i < VERSIONS ? request : "garbage, much longer than a head",
                       i < VERSIONS ? len : 32);
        settle();
        fake_peer_shutdown(tls_client.peer);
        settle();
        tls_client_run(&tls_client);
        assert_int_equal(tls_client.input_len, 0);
        assert_true(is_closed(tls_client.peer));
    }
}

/* A stream of HTTP/1.0 ends with its connection: were it cut in order, the client would take it for whole. */
static void stream_without_length_that_is_cut_gets_no_close_notify(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        open_tls(versions[i]);
        tls_client_say(&tls_client, "GET /hold HTTP/1.0\r\n\r\n");
        struct exchange *exchange = held[held_count - 1].exchange;
        response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
        assert_true(response_write(exchange, "half", 4) >= 0);
        settle();
        tls_client_run(&tls_client);
        assert_true(has_content("half"));
        response_abort(exchange);
        settle();
        tls_client_run(&tls_client);
        assert_true(is_closed(tls_client.peer));
        assert_false(tls_client.has_close_notify);
    }
}

/* The same, and for framed ones, where the client ends its request too early, in order. */
static void stream_that_a_request_cut_short_cuts_gets_no_close_notify(void **state)
{
    (void)state;
    static const char *const requests[] = {"POST /half HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345",
                                           "POST /half-large HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345",
                                           "POST /half-large HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"};
    for (int i = 0; i < 6 * VERSIONS; i++) {
        char wire[1000];
        open_tls(versions[i % VERSIONS]);
        size_t len = encrypt(requests[i / VERSIONS / 2], wire, sizeof wire);
        if (i / VERSIONS % 2 == 0) { /* its end comes after the response has begun, or with the request */
            fake_peer_send(tls_client.peer, wire, len);
            settle();
            len = 0;
        }
        SSL_shutdown(tls_client.ssl);
        len += encrypt(NULL, wire + len, sizeof wire - len);
        fake_peer_send(tls_client.peer, wire, len);
        fake_peer_shutdown(tls_client.peer);
        settle();
        tls_client_run(&tls_client);
        assert_true(is_closed(tls_client.peer));
        assert_false(tls_client.has_close_notify);
    }
}

/* What a client may do with records. */

static void request_in_records_of_one_byte_is_served(void **state)
{
    (void)state;
    static const char request[] = GET("/small") POST_HEAD BY_LENGTH "1234567890";
    for (int i = 0; i < 2 * VERSIONS; i++) {
        open_tls(versions[i % VERSIONS]);
        for (size_t at = 0; at < sizeof request - 1; at++) {
            assert_int_equal(SSL_write(tls_client.ssl, request + at, 1), 1);
            if (i >= VERSIONS) {
                tls_client_run(&tls_client); /* each in a segment of its own */
            }
        }
        tls_client_run(&tls_client);
        assert_true(has_content("1234567890"));
        assert_true(tls_client.input_len > 1300);
    }
}

static void fragments_may_be_as_short_as_the_client_wants(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        open_tls(versions[i]);
        tls_client_hang_up(&tls_client);
        assert_int_equal(SSL_CTX_set_tlsext_max_fragment_length(tls_client.ctx, TLSEXT_max_fragment_length_512), 1);
        struct fake_peer *peer = fake_peer_connect(tls_listener);
        settle();
        tls_client_connect(&tls_client, peer, "example.org");
        tls_client_run(&tls_client);
        tls_client_say(&tls_client, GET("/hello") GET_CLOSE("/large"));
        assert_in_range(tls_client.input_len, LARGE_BYTES, LARGE_BYTES + 500);
        assert_true(tls_client.has_close_notify);
    }
}

static void key_updates_and_requests_for_another_handshake_hold_nothing_up(void **state)
{
    (void)state;
    open_tls(TLS1_3_VERSION);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(SSL_key_update(tls_client.ssl,
                                        i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
                         1);
        SSL_do_handshake(tls_client.ssl);
    }
    tls_client_run(&tls_client);
    tls_client_say(&tls_client, GET("/hello"));
    assert_true(has_content("hello\n"));

    open_tls(TLS1_2_VERSION);
    assert_int_equal(SSL_renegotiate(tls_client.ssl), 1);
    SSL_do_handshake(tls_client.ssl);
    tls_client_run(&tls_client);
    assert_true(tls_client.has_failed); /* it is told no; whether it goes on without is its own affair */
    struct fake_peer *other = client();
    say(other, GET("/hello"));
    assert_true(output_has(other, "hello\n"));
}

/* A client sends its request before the handshake, though no ticket of ours allows it. */
static void early_data_is_skipped_and_never_served(void **state)
{
    (void)state;
    open_tls(TLS1_3_VERSION);
    SSL_SESSION *session = SSL_get1_session(tls_client.ssl);
    assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
    assert_int_equal(SSL_SESSION_set_max_early_data(session, 1000), 1);
    tls_client_hang_up(&tls_client);
    struct fake_peer *peer = fake_peer_connect(tls_listener);
    settle();
    tls_client_connect(&tls_client, peer, "example.org");
    assert_int_equal(SSL_set_session(tls_client.ssl, session), 1);
    size_t written = 0;
    assert_int_equal(SSL_write_early_data(tls_client.ssl, GET("/large"), sizeof GET("/large") - 1, &written), 1);
    SSL_do_handshake(tls_client.ssl);
    tls_client_run(&tls_client);
    SSL_do_handshake(tls_client.ssl);
    assert_int_equal(SSL_get_early_data_status(tls_client.ssl), SSL_EARLY_DATA_REJECTED);
    tls_client_say(&tls_client, GET("/hello"));
    assert_true(has_content("hello\n"));
    assert_true(tls_client.input_len < 1000);
    SSL_SESSION_free(session);
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
        ENDS_TEST(close_notify_goes_out_with_the_last_records),
        ENDS_TEST(large_response_takes_no_send_more_for_it),
        ENDS_TEST(drained_connection_ends_with_its_response),
        ENDS_TEST(close_notify_stays_behind_a_response_that_is_not_taken),
        ENDS_TEST(close_notify_that_the_socket_does_not_take_waits_for_room),
        ENDS_TEST(request_that_ends_too_early_is_not_served),
        ENDS_TEST(half_closed_client_reads_its_response),
        ENDS_TEST(client_that_says_its_end_while_its_request_waits_has_left),
        ENDS_TEST(requests_behind_one_that_waits_are_answered_after_it),
        ENDS_TEST(client_of_a_half_closed_route_reads_on_after_its_end),
        ENDS_TEST(nothing_is_served_behind_a_close_notify),
        ENDS_TEST(stream_without_length_that_is_cut_gets_no_close_notify),
        ENDS_TEST(stream_that_a_request_cut_short_cuts_gets_no_close_notify),
        ENDS_TEST(request_in_records_of_one_byte_is_served),
        ENDS_TEST(fragments_may_be_as_short_as_the_client_wants),
        ENDS_TEST(key_updates_and_requests_for_another_handshake_hold_nothing_up),
        ENDS_TEST(early_data_is_skipped_and_never_served),
    };
    return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
