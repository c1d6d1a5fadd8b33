/* What the log says of handshakes that fail: one line, with the client's address and what was wrong, as the one who
 * looks after the server reads it. A whole server on the fake kernel, and clients of OpenSSL. */

#include "core/tls_context.h"
#include "http/conn_lines.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/tls_scene.h"

enum { HEADER_TIMEOUT_MS = 10000 };

static struct made authority, stranger, alice, mallory, expired, open_host, closed_host;
static struct tls_client tls_client;
static int tls_listener;

static void let_server_go_on(void)
{
    settle();
}

static void add(struct tls_context *context, const struct made *made, const struct made *client_ca)
{
    char err[256] = "";
    const struct tls_certificate certificate = {.cert_pem = made->cert_pem,
                                                .key_pem = made->key_pem,
                                                .client_ca_pem = client_ca == NULL ? NULL : client_ca->cert_pem};
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
}

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    char err[256] = "";
    struct tls_context *context;
    const struct tls_settings settings = {0};
    set_limit("header_timeout", HEADER_TIMEOUT_MS);
    scene_begin();
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, &scene.log, err, sizeof err), 0);
    add(context, &open_host, NULL);
    add(context, &closed_host, &authority);
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

#define OPENING_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* The lines about failures, without time and address: there must be one, or none. */
static const char *line_now(void)
{
    static char line[512];
    line[0] = '\0';
    const char *at = strstr(scene.log_text, "TLS handshake with 127.0.0.1:");
    if (at != NULL) {
        const char *failed = strstr(at, " failed: ");
        assert_non_null(failed);
        snprintf(line, sizeof line, "%.*s", (int)strcspn(failed + 9, "\n"), failed + 9);
        assert_null(strstr(failed, "TLS handshake with"));
    }
    return line;
}

static void begin_client(int version)
{
    tls_client_done(&tls_client);
    tls_client_init(&tls_client, version, let_server_go_on);
    scene.log_text[0] = '\0';
    pass_ms(11000); /* no quota is used up */
    scene.log_text[0] = '\0';
}

static void run_client(const char *server_name)
{
    struct fake_peer *peer = fake_peer_connect(tls_listener);
    settle();
    tls_client_connect(&tls_client, peer, server_name);
    tls_client_run(&tls_client);
    fake_peer_shutdown(peer);
    settle();
    settle();
    assert_true(is_closed(peer));
}

static void present(const struct made *made)
{
    SSL_CTX_use_certificate(tls_client.ctx, made->cert);
    SSL_CTX_use_PrivateKey(tls_client.ctx, made->key);
}

static void offer_old_version(void)
{
    SSL_CTX_set_security_level(tls_client.ctx, 0);
}

static void offer_odd_cipher(void)
{
    SSL_CTX_set_cipher_list(tls_client.ctx, "ECDHE-RSA-AES128-GCM-SHA256"); /* the server's key is ECDSA */
}

static void offer_odd_group(void)
{
    SSL_CTX_set1_groups_list(tls_client.ctx, (char[]){"P-521"});
}

static void offer_odd_protocol(void)
{
    SSL_CTX_set_alpn_protos(tls_client.ctx, (const unsigned char *)"\x02h2", 3);
}

static void present_expired(void)
{
    present(&expired);
}

static void present_mallory(void)
{
    present(&mallory);
}

static void trust_nobody(void)
{
    SSL_CTX_set_verify(tls_client.ctx, SSL_VERIFY_PEER, NULL);
}

static void each_failure_of_a_client_has_its_line(void **state)
{
    (void)state;
    static const struct {
        void (*prepare)(void);
        const char *server_name;
        int version;
        const char *line;
    } rows[] = {
        {offer_old_version, "open.example", TLS1_1_VERSION,
         "the client only offers versions of TLS that are switched off here (unsupported protocol)"},
        {offer_odd_cipher, "open.example", TLS1_2_VERSION,
         "client and server have no cipher in common that suits the certificate (no shared cipher)"},
        {offer_odd_group, "open.example", TLS1_3_VERSION,
         "client and server have no key exchange group in common (no suitable key share)"},
        {offer_odd_protocol, "open.example", TLS1_3_VERSION,
         "client and server have no application protocol (ALPN) in common (no application protocol)"},
        {offer_odd_protocol, "open.example", TLS1_2_VERSION,
         "client and server have no application protocol (ALPN) in common (no application protocol)"},
        {NULL, "closed.example", TLS1_2_VERSION,
         "the client sent no certificate, and one is required (peer did not return a certificate)"},
        {NULL, "closed.example", TLS1_3_VERSION,
         "the client sent no certificate, and one is required (peer did not return a certificate)"},
        {present_mallory, "closed.example", TLS1_3_VERSION,
         "the client's certificate was not accepted: unable to get local issuer certificate"},
        {present_expired, "closed.example", TLS1_3_VERSION,
         "the client's certificate was not accepted: certificate has expired"},
        {present_expired, "closed.example", TLS1_2_VERSION,
         "the client's certificate was not accepted: certificate has expired"},
        {trust_nobody, "open.example", TLS1_2_VERSION,
         "the client does not accept the server's certificate (tlsv1 alert unknown ca)"},
        {trust_nobody, "open.example", TLS1_3_VERSION,
         "the client does not accept the server's certificate (tlsv1 alert unknown ca)"},
        {NULL, "open.example", TLS1_3_VERSION, ""},
        {NULL, NULL, TLS1_2_VERSION, ""},
    };
    uint64_t lost = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin_client(rows[i].version);
        if (rows[i].prepare != NULL) {
            rows[i].prepare();
        }
        run_client(rows[i].server_name);
        if (strcmp(line_now(), rows[i].line) != 0) {
            fail_msg("row %zu: \"%s\"\n%s", i, line_now(), scene.log_text);
        }
        lost += rows[i].line[0] != '\0';
        assert_int_equal(stats().lost, lost);
    }
}

/* Clients that do not speak TLS at all, or stop. */
static void each_failure_of_the_bytes_has_its_line(void **state)
{
    (void)state;
    static const char hello_start[] = "\x16\x03\x01\x00\xc5\x01\x00\x00\xc1\x03\x03";
    static const struct {
        const char *data;
        size_t len;
        const char *line;
    } rows[] = {
        {GET("/"), sizeof GET("/") - 1, "the client sent plain HTTP to a port for HTTPS"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, "the client sent plain HTTP to a port for HTTPS"},
        {"", 0, ""}, /* a probe of the port: connect and close */
        {"\x16", 1, "the client closed the connection (unexpected eof while reading)"},
        {hello_start, sizeof hello_start - 1, "the client closed the connection (unexpected eof while reading)"},
        {"\0\0\0\0\0\0\0\0\0\0\0\0", 12, "what the client sent is not TLS (wrong version number)"},
        {"SSH-2.0-OpenSSH_9.2\r\n", 21, "what the client sent is not TLS (wrong version number)"},
        {"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00", 11, "what the client sent is not TLS (wrong version number)"},
        {"\x15\x03\x01\x00\x02\x02\x30", 7,
         "the client does not keep to the order of a handshake (unexpected message)"},
        {"\x17\x03\x03\x00\x01\x41", 6, "the client does not keep to the order of a handshake (unexpected message)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin_client(TLS1_3_VERSION);
        struct fake_peer *peer = fake_peer_connect(tls_listener);
        settle();
        fake_peer_send(peer, rows[i].data, rows[i].len);
        settle();
        fake_peer_shutdown(peer);
        settle();
        settle();
        assert_true(is_closed(peer));
        if (strcmp(line_now(), rows[i].line) != 0) {
            fail_msg("row %zu: \"%s\"", i, line_now());
        }
    }
    assert_int_equal(stats().lost, sizeof rows / sizeof *rows - 1);
}

static void handshake_that_takes_too_long_has_a_line_unless_it_has_not_begun(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        begin_client(TLS1_3_VERSION);
        struct fake_peer *peer = fake_peer_connect(tls_listener);
        settle();
        fake_peer_send(peer, "\x16\x03\x01", i == 0 ? 0 : 3);
        settle();
        pass_ms(HEADER_TIMEOUT_MS + 1000);
        assert_true(is_closed(peer));
        assert_string_equal(line_now(), i == 0 ? "" : "the client did not finish it before header_timeout");
    }
    assert_int_equal(stats().timeouts, 2);
    assert_int_equal(stats().lost, 0);
}

/* At the limit, and one past it. */
static void flood_of_failures_is_counted(void **state)
{
    (void)state;
    for (int past = 0; past < 2; past++) {
        begin_client(TLS1_3_VERSION);
        for (int i = 0; i < CONN_LINES_MAX + past; i++) {
            struct fake_peer *peer = fake_peer_connect(tls_listener);
            fake_peer_send(peer, "garbage", 7);
            fake_peer_shutdown(peer);
            settle();
            settle();
            assert_true(is_closed(peer));
        }
        int lines = 0;
        for (const char *at = scene.log_text; (at = strstr(at, "TLS handshake with ")) != NULL; at++) {
            lines++;
        }
        assert_int_equal(lines, CONN_LINES_MAX);
        pass_ms(CONN_LINES_SPAN_MS + 1000);
        assert_true((strstr(scene.log_text, "1 more TLS handshakes have failed\n") != NULL) == (past == 1));
    }
}

static int make_certificates(void **state)
{
    (void)state;
    made_create(&authority, KEY_RSA, "authority", NULL);
    made_create(&stranger, KEY_RSA, "stranger", NULL);
    made_create(&alice, KEY_EC, "alice", &authority);
    made_create(&mallory, KEY_EC, "mallory", &stranger);
    made_create(&open_host, KEY_EC, "open.example", NULL);
    made_create(&closed_host, KEY_EC, "closed.example", NULL);
    made_create_expired(&expired, KEY_EC, "expired", &authority);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    struct made *all[] = {&authority, &stranger, &alice, &mallory, &open_host, &closed_host, &expired};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        made_done(all[i]);
    }
    made_keys_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENING_TEST(each_failure_of_a_client_has_its_line),
        OPENING_TEST(each_failure_of_the_bytes_has_its_line),
        OPENING_TEST(handshake_that_takes_too_long_has_a_line_unless_it_has_not_begun),
        OPENING_TEST(flood_of_failures_is_counted),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
