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

/* Room for the response, and for a part of what follows it: the client reads all of it, and the connection ends. */
static void close_notify_that_the_socket_does_not_take_is_not_waited_for(void **state)
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
            assert_true(is_closed(tls_client.peer));
            assert_false(tls_client.has_close_notify);
        }
    }
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
        ENDS_TEST(close_notify_that_the_socket_does_not_take_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
