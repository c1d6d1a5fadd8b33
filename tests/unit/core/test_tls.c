/* TLS as a transport: handshakes, content both ways, ends and failures, with a client of OpenSSL. On the fake
 * kernel. */

#include "core/tls.h"

#include "core/sys.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "core/transport.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/tls_scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include <cmocka.h>

enum { VERSIONS = 2, INPUT_MAX = 1 << 20 };

static const int versions[VERSIONS] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct made made_ec, made_rsa, made_other, made_client;
static struct tls_context *context;
static struct tls_pool *pool;
static struct transport transport;
static struct fake_peer *peer;
static struct tls_client client;
static char input[INPUT_MAX]; /* content that the server has received */
static size_t input_len;
static ssize_t last; /* what the last read said */

static const char plain_text[] = "HTTP/1.1 400 Bad Request\r\n\r\nHTTPS, please\n";

static void new_context(const struct tls_settings *settings, struct tls_context *former)
{
    char err[512] = "";
    struct tls_context *made = NULL;
    if (tls_context_create(&made, settings, former, 0, NULL, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    tls_context_put(context);
    context = made;
}

static void add_certificate(const struct made *made, const struct made *client_ca, bool is_required)
{
    char err[512] = "";
    const struct tls_certificate certificate = {.cert_pem = made->cert_pem,
                                                .key_pem = made->key_pem,
                                                .client_ca_pem = client_ca == NULL ? NULL : client_ca->cert_pem,
                                                .is_client_optional = !is_required};
    if (tls_context_add(context, &certificate, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static void step(void)
{
    static char block[65536];
    for (int i = 0; i < 100; i++) {
        if (transport.state == NULL) {
            return;
        }
        if (transport.holds_output) {
            (void)transport_flush(&transport);
        }
        last = transport_recv(&transport, block, sizeof block);
        if (last > 0) {
            assert_true(input_len + (size_t)last <= INPUT_MAX);
            memcpy(input + input_len, block, (size_t)last);
            input_len += (size_t)last;
        }
        if (last <= 0 && !transport.holds_input) {
            return;
        }
    }
}

static void close_transport(void)
{
    if (transport.fd >= 0) {
        transport_shut(&transport, false);
        sys_close(transport.fd);
        transport.fd = -1;
    }
    tls_client_hang_up(&client);
}

/* A connection, before its first byte. */
static void connect_client(const char *server_name)
{
    close_transport();
    if (tls_context_default(context) == NULL) {
        assert_int_equal(tls_context_finish(context, NULL, 0), 0);
    }
    int listener = sys_socket(AF_INET);
    const struct sockaddr address = {.sa_family = AF_INET};
    assert_int_equal(sys_bind(listener, &address, sizeof address), 0);
    assert_int_equal(sys_listen(listener, 1), 0);
    peer = fake_peer_connect(listener);
    int fd = sys_accept(listener, NULL, NULL);
    sys_close(listener);
    struct tls_opening opening = {.context = context, .pool = pool};
    assert_int_equal(transport_open(&transport, &tls_transport_ops, &opening, fd, AF_INET), 0);
    assert_true(transport.is_opening);
    input_len = 0;
    tls_client_connect(&client, peer, server_name);
}

static void new_client(int version)
{
    close_transport();
    tls_client_done(&client);
    tls_client_init(&client, version, step);
}

static void shake_hands(int version, const char *server_name)
{
    new_client(version);
    connect_client(server_name);
    tls_client_run(&client);
    assert_false(transport.is_opening);
    assert_int_equal(last, -EAGAIN);
}

static struct tls_info info_now(void)
{
    struct tls_info info;
    assert_true(tls_get_info(&transport, &info));
    return info;
}

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    const struct tls_settings settings = {0};
    context = NULL;
    transport = (struct transport){.fd = -1};
    memset(&client, 0, sizeof client);
    new_context(&settings, NULL);
    add_certificate(&made_ec, NULL, false);
    pool = tls_pool_create(plain_text);
    assert_non_null(pool);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_transport();
    tls_client_done(&client);
    tls_context_put(context);
    tls_pool_destroy(pool);
    assert_int_equal(fake_sys_open_fds(), 0);
    fake_sys_reset();
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static void handshake_agrees_on_a_version_and_content_goes_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], "example.org");
        assert_string_equal(info_now().version, i == 0 ? "TLSv1.2" : "TLSv1.3");
        assert_string_equal(info_now().server_name, "example.org");
        assert_string_equal(info_now().client_subject, "");
        assert_false(info_now().is_resumed);
        tls_client_say(&client, "hello");
        assert_int_equal(input_len, 5);
        assert_memory_equal(input, "hello", 5);
        assert_int_equal(transport_send(&transport, "world", 5, false), 5);
        tls_client_run(&client);
        assert_string_equal(client.input, "world");
    }
}

static void bytes_may_come_in_any_pieces(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 5, 100, 1000};
    for (size_t i = 0; i < VERSIONS * sizeof pieces / sizeof *pieces; i++) {
        new_client(versions[i % VERSIONS]);
        client.piece = pieces[i / VERSIONS];
        connect_client("example.org");
        tls_client_run(&client);
        assert_false(transport.is_opening);
        tls_client_say(&client, "one, ");
        tls_client_say(&client, "two");
        assert_int_equal(input_len, 8);
        assert_memory_equal(input, "one, two", 8);
    }
}

static void handshake_costs_one_send_a_flight_and_small_parts_one_record(void **state)
{
    (void)state;
    new_client(TLS1_3_VERSION);
    connect_client(NULL);
    fake_sys_clear_trace();
    tls_client_run(&client);
    assert_int_equal(fake_sys_count(FAKE_SEND), 2); /* the server's flight, and its tickets */
    fake_sys_clear_trace();
    const struct iovec parts[] = {{.iov_base = (char[]){'a', 'b'}, .iov_len = 2},
                                  {.iov_base = (char[]){'c'}, .iov_len = 1},
                                  {.iov_base = (char[]){'d', 'e', 'f'}, .iov_len = 3}};
    assert_int_equal(transport_sendv(&transport, parts, 3), 6);
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
    size_t wire;
    fake_peer_output(peer, &wire);
    assert_in_range(wire, 6 + 5 + 16, 6 + 5 + 16 + 1); /* one header, one tag, one type */
    tls_client_run(&client);
    assert_string_equal(client.input, "abcdef");
    fake_sys_clear_trace();
    tls_client_say(&client, "a request");
    assert_int_equal(fake_sys_count(FAKE_RECV),
                     1 + 4); /* one with the bytes, then only those that look whether there is more */
}

static void large_content_is_sent_some_records_at_a_time(void **state)
{
    (void)state;
    static char content[150000];
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (char)('a' + i % 23);
    }
    shake_hands(TLS1_3_VERSION, NULL);
    fake_sys_clear_trace();
    size_t sent = 0;
    while (sent < sizeof content) {
        ssize_t rv = transport_send(&transport, content + sent, sizeof content - sent, false);
        assert_true(rv > 0);
        sent += (size_t)rv;
    }
    assert_int_equal(fake_sys_count(FAKE_SEND), 3);
    tls_client_run(&client);
    assert_int_equal(client.input_len, sizeof content);
    assert_memory_equal(client.input, content, sizeof content);
}

/* The same with a client that takes few bytes at a time. */
static void full_socket_takes_nothing_twice(void **state)
{
    (void)state;
    static char content[100000];
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (char)('A' + i % 29);
    }
    static const int64_t rooms[] = {1, 7, 1000, 16384, 16406, 30000};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        shake_hands(versions[i % VERSIONS], NULL);
        size_t sent = 0;
        int64_t room = rooms[i];
        fake_peer_set_room(peer, room);
        for (int turn = 0; sent < sizeof content; turn++) {
            const struct iovec parts[] = {{.iov_base = content + sent, .iov_len = (sizeof content - sent) / 2},
                                          {.iov_base = content + sent + (sizeof content - sent) / 2,
                                           .iov_len = sizeof content - sent - (sizeof content - sent) / 2}};
            ssize_t rv = transport_sendv(&transport, parts, 2);
            assert_true(rv > 0 || (rv == -EAGAIN && transport.is_full));
            sent += rv > 0 ? (size_t)rv : 0;
            if (transport.is_full) {
                assert_true(transport.holds_output);
                unsigned interest = transport_interest(&transport, REACTOR_WRITABLE | REACTOR_READABLE, true, false);
                assert_int_equal(interest & (REACTOR_WRITABLE | REACTOR_READABLE), REACTOR_WRITABLE);
                fake_peer_add_room(peer, room < 1000 && turn > 100 ? 5000 : room);
            }
        }
        assert_false(transport.holds_output);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        tls_client_run(&client);
        assert_int_equal(client.input_len, sizeof content);
        assert_memory_equal(client.input, content, sizeof content);
    }
}

static void more_than_the_buffer_holds_is_announced(void **state)
{
    (void)state;
    char data[10];
    shake_hands(TLS1_3_VERSION, NULL);
    client.step = NULL;
    assert_int_equal(SSL_write(client.ssl, "0123456789abcdefghij", 20), 20);
    char wire[200];
    int len = BIO_read(SSL_get_wbio(client.ssl), wire, sizeof wire);
    fake_peer_send(peer, wire, (size_t)len);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 10);
    assert_true(transport.holds_input); /* no event tells of the rest */
    assert_int_equal(transport_recv(&transport, data, sizeof data), 10);
    assert_memory_equal(data, "abcdefghij", 10);
    assert_false(transport.holds_input);
    client.step = step;
}

static void close_notify_is_the_end_and_is_answered(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], NULL);
        SSL_shutdown(client.ssl);
        tls_client_run(&client);
        assert_int_equal(last, 0);
        assert_true(transport.is_at_end);
        assert_int_equal(transport_end(&transport), 0);
        assert_true(fake_peer_saw_end(peer));
        tls_client_run(&client);
        assert_true(client.has_close_notify);
    }
}

/* The last write has the close_notify behind it, in the same call, and nothing follows. */
static void last_write_says_the_end(void **state)
{
    (void)state;
    static const int64_t rooms[] = {FAKE_NO_LIMIT, 0, 1, 10, 29}; /* the shortest record has 30 bytes */
    for (size_t i = 0; i < VERSIONS * sizeof rooms / sizeof *rooms; i++) {
        shake_hands(versions[i % VERSIONS], NULL);
        fake_sys_clear_trace();
        fake_peer_set_room(peer, rooms[i / VERSIONS]);
        transport.is_ending = true;
        ssize_t sent = transport_send(&transport, "the last", 8, false);
        if (i >= VERSIONS) {
            assert_int_equal(sent, -EAGAIN);
            assert_true(transport.is_full && transport.holds_output);
            fake_peer_set_room(peer, FAKE_NO_LIMIT);
            assert_int_equal(transport_flush(&transport), 0);
            sent = transport_send(&transport, "the last", 8, false);
        }
        assert_int_equal(sent, 8);
        assert_false(transport.is_full);
        assert_int_equal(fake_sys_count(FAKE_SEND), i < VERSIONS ? 1 : 2);
        assert_int_equal(transport_send(&transport, "one more", 8, false), -EPIPE);
        assert_int_equal(transport_end(&transport), 0);
        assert_int_equal(fake_sys_count(FAKE_SEND), i < VERSIONS ? 1 : 2);
        tls_client_run(&client);
        assert_string_equal(client.input, "the last");
        assert_true(client.has_close_notify);
    }
}

static void connection_that_ends_without_it_is_cut_short(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], NULL);
        assert_int_equal(SSL_write(client.ssl, "half a req", 10), 10);
        client.step = step;
        tls_client_run(&client);
        assert_int_equal(input_len, 10);
        fake_peer_shutdown(peer);
        step();
        assert_int_equal(last, -ECONNABORTED);
        assert_false(transport.is_at_end);
        transport_shut(&transport, false);
        tls_client_run(&client);
        assert_false(client.has_close_notify); /* so is ours */
    }
}

static void after_our_end_bytes_are_dropped_unread(void **state)
{
    (void)state;
    char data[100];
    shake_hands(TLS1_3_VERSION, NULL);
    assert_int_equal(transport_end(&transport), 0);
    fake_peer_send(peer, "not TLS at all", 14);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 14);
    assert_int_equal(transport_recv(&transport, data, sizeof data), -EAGAIN);
    fake_peer_shutdown(peer);
    assert_int_equal(transport_recv(&transport, data, sizeof data), 0);
    assert_int_equal(transport_send(&transport, "x", 1, false), -EPIPE);
}

static void session_is_resumed_also_after_a_reload(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], "example.org");
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        for (int reload = 0; reload < 2; reload++) {
            if (reload == 1) {
                new_context(&settings, context);
                add_certificate(&made_ec, NULL, false);
            }
            connect_client("example.org");
            SSL_set_session(client.ssl, session);
            tls_client_run(&client);
            assert_false(transport.is_opening);
            assert_true(info_now().is_resumed);
            assert_int_equal(SSL_session_reused(client.ssl), 1);
            assert_string_equal(info_now().server_name, "example.org");
        }
        new_context(&settings, NULL); /* other keys */
        add_certificate(&made_ec, NULL, false);
        connect_client("example.org");
        SSL_set_session(client.ssl, session);
        tls_client_run(&client);
        assert_false(transport.is_opening);
        assert_false(info_now().is_resumed);
        SSL_SESSION_free(session);
    }
}

static void ticket_keys_are_replaced_and_the_old_ones_serve_once_more(void **state)
{
    (void)state;
    const int64_t hour_ms = 3600 * 1000;
    shake_hands(TLS1_2_VERSION, "example.org");
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    for (int i = 0; i < 3; i++) {
        fake_sys_advance_ms(i == 0 ? 0 : 7 * hour_ms);
        connect_client("example.org");
        SSL_set_session(client.ssl, session);
        tls_client_run(&client);
        assert_false(transport.is_opening);
        assert_true(info_now().is_resumed == (i < 2));
    }
    SSL_SESSION_free(session);
}

static void certificate_is_chosen_by_name_and_by_kind_of_key(void **state)
{
    (void)state;
    add_certificate(&made_rsa, NULL, false);   /* the same names */
    add_certificate(&made_other, NULL, false); /* "other.example", "*.wild.example" */
    static const struct {
        const char *asked, *shown;
    } rows[] = {
        {"example.org", "example.org"},      {"EXAMPLE.ORG", "example.org"},
        {"other.example", "other.example"},  {"a.wild.example", "other.example"},
        {"a.b.wild.example", "example.org"}, {"wild.example", "example.org"},
        {"unknown.example", "example.org"},  {NULL, "example.org"},
    };
    for (size_t i = 0; i < VERSIONS * sizeof rows / sizeof *rows; i++) {
        shake_hands(versions[i % VERSIONS], rows[i / VERSIONS].asked);
        assert_string_equal(tls_client_saw(&client), rows[i / VERSIONS].shown);
    }
    for (int i = 0; i < 2; i++) {
        new_client(TLS1_2_VERSION);
        SSL_CTX_set_cipher_list(client.ctx, i == 0 ? "ECDHE-RSA-AES128-GCM-SHA256" : "ECDHE-ECDSA-AES128-GCM-SHA256");
        connect_client("example.org");
        tls_client_run(&client);
        assert_false(transport.is_opening);
        assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(client.ssl))),
                         i == 0 ? EVP_PKEY_RSA : EVP_PKEY_EC);
    }
}

/* The kind of key that a client of TLS 1.2 is shown if it takes only this one; -1: none. */
static int shown_to_a_client_of(const char *kind, const char *server_name)
{
    char ciphers[64];
    snprintf(ciphers, sizeof ciphers, "ECDHE-%s-AES128-GCM-SHA256", kind);
    new_client(TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client.ctx, ciphers);
    connect_client(server_name);
    tls_client_run(&client);
    X509 *shown = SSL_get0_peer_certificate(client.ssl);
    return transport.is_opening || shown == NULL ? -1 : EVP_PKEY_get_base_id(X509_get0_pubkey(shown));
}

/* Certificates of two authorities need not have the same names. */
static void kinds_of_keys_are_side_by_side_for_each_name_that_both_have(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    struct made rsa;
    made_create(&rsa, KEY_RSA, "www.rsa.example,example.org,only.rsa", NULL);
    new_context(&settings, NULL);
    add_certificate(&made_ec, NULL, false); /* "example.org", "www.example.org" */
    add_certificate(&rsa, NULL, false);
    static const struct {
        const char *kind, *name;
        int shown;
    } rows[] = {
        {"ECDSA", "example.org", EVP_PKEY_EC},
        {"RSA", "example.org", EVP_PKEY_RSA},
        {"ECDSA", "www.rsa.example", -1},
        {"RSA", "www.rsa.example", EVP_PKEY_RSA},
        {"RSA", "www.example.org", -1},
        {"ECDSA", "www.example.org", EVP_PKEY_EC},
        {"RSA", "only.rsa", EVP_PKEY_RSA},
        {"RSA", "unknown.example", EVP_PKEY_RSA}, /* the default has both */
        {"ECDSA", "unknown.example", EVP_PKEY_EC},
        {"ECDSA", NULL, EVP_PKEY_EC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (shown_to_a_client_of(rows[i].kind, rows[i].name) != rows[i].shown) {
            fail_msg("row %zu", i);
        }
    }
    close_transport();
    made_done(&rsa);
}

/* Nobody passes by choosing the kind of key whose certificate asks for nothing. */
static void client_certificate_is_asked_for_whatever_the_kind_of_key(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    for (int i = 0; i < 2; i++) {
        new_context(&settings, NULL);
        add_certificate(&made_ec, i == 0 ? &made_rsa : NULL, true);
        add_certificate(&made_rsa, i == 0 ? NULL : &made_rsa, true);
        for (int n = 0; n < 2; n++) {
            (void)shown_to_a_client_of(n == 0 ? "RSA" : "ECDSA", "example.org");
            assert_int_equal(last, -EPROTO);
        }
    }
}

static void protocol_is_agreed_on_or_the_handshake_fails(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        new_client(versions[i]);
        SSL_CTX_set_alpn_protos(client.ctx, (const unsigned char *)"\x02h2\x08http/1.1", 12);
        connect_client(NULL);
        tls_client_run(&client);
        assert_string_equal(info_now().alpn, "http/1.1");
        new_client(versions[i]);
        SSL_CTX_set_alpn_protos(client.ctx, (const unsigned char *)"\x08http/1.0", 9); /* curl -0 */
        connect_client(NULL);
        tls_client_run(&client);
        assert_string_equal(info_now().alpn, "http/1.0");
        new_client(versions[i]);
        SSL_CTX_set_alpn_protos(client.ctx, (const unsigned char *)"\x02h2", 3);
        connect_client(NULL);
        tls_client_run(&client);
        assert_int_equal(last, -EPROTO);
        assert_non_null(strstr(transport_failure(&transport), "no application protocol (ALPN) in common"));
        shake_hands(versions[i], NULL);
        assert_string_equal(info_now().alpn, "");
    }
}

static void with_client_certificate(const struct made *made)
{
    SSL_CTX_use_certificate(client.ctx, made->cert);
    SSL_CTX_use_PrivateKey(client.ctx, made->key);
}

static void client_certificates_are_checked(void **state)
{
    (void)state;
    const struct tls_settings settings = {0};
    for (int i = 0; i < VERSIONS; i++) {
        new_context(&settings, NULL);
        add_certificate(&made_ec, &made_rsa, true); /* made_client is signed by made_rsa */
        new_client(versions[i]);
        connect_client(NULL);
        tls_client_run(&client);
        assert_int_equal(last, -EPROTO);
        assert_non_null(strstr(transport_failure(&transport), "the client sent no certificate, and one is required"));

        new_client(versions[i]);
        with_client_certificate(&made_client);
        connect_client(NULL);
        tls_client_run(&client);
        assert_int_equal(last, -EAGAIN);
        assert_string_equal(info_now().client_subject, "CN=a client");
        assert_int_equal(strlen(info_now().client_fingerprint), 64);

        new_client(versions[i]);
        with_client_certificate(&made_other);
        connect_client(NULL);
        tls_client_run(&client);
        assert_int_equal(last, -EPROTO);
        assert_non_null(strstr(transport_failure(&transport), "the client's certificate was not accepted: "));

        new_context(&settings, NULL);
        add_certificate(&made_ec, &made_rsa, false); /* not required */
        shake_hands(versions[i], NULL);
        assert_string_equal(info_now().client_subject, "");
    }
}

/* A session of one host must not open another one that asks for a certificate. */
/* Each resumed session of TLS 1.3 brings a ticket with a life of its own. */
static void session_does_not_outlive_the_client_certificate(void **state)
{
    (void)state;
    static const int64_t end_s = INT64_C(2208988800); /* of made_client */
    const struct tls_settings settings = {0};
    new_context(&settings, NULL);
    add_certificate(&made_ec, &made_rsa, true);
    for (int i = 0; i < VERSIONS; i++) {
        fake_sys_set_wall_time_s(end_s - 3600);
        new_client(versions[i]);
        with_client_certificate(&made_client);
        connect_client("example.org");
        tls_client_run(&client);
        for (int resumed = 0; resumed < 3; resumed++) {
            SSL_SESSION *session = SSL_get1_session(client.ssl);
            fake_sys_set_wall_time_s(end_s - 1 + resumed / 2 * 2);
            connect_client("example.org");
            SSL_set_session(client.ssl, session);
            tls_client_run(&client);
            assert_int_equal(last, -EAGAIN);
            assert_string_equal(info_now().client_subject, "CN=a client");
            assert_int_equal(info_now().is_resumed,
                             resumed < 2); /* then the handshake is a whole one, which checks it */
            SSL_SESSION_free(session);
        }
    }
}

static void session_does_not_lead_past_a_client_certificate(void **state)
{
    (void)state;
    add_certificate(&made_other, &made_rsa, true);
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], "example.org");
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        connect_client("other.example");
        SSL_set_session(client.ssl, session);
        tls_client_run(&client);
        assert_int_equal(last, -EPROTO);
        SSL_SESSION_free(session);
    }
}

static void plain_http_gets_a_text(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE /x HTTP/1.1\r\n\r\n",
                                           "CONNECT a:1 HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"};
    new_client(TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        connect_client(NULL);
        fake_peer_send_text(peer, requests[i]);
        step();
        assert_int_equal(last, -EPROTO);
        assert_non_null(strstr(transport_failure(&transport), "plain HTTP"));
        assert_string_equal(fake_peer_output(peer, NULL), plain_text);
        assert_int_equal(transport_end(&transport), 0);
    }
}

static void garbage_ends_the_handshake(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
    } rows[] = {
        {"\0\0\0\0\0\0\0\0\0\0\0\0", 12},
        {"\x16\x03\x01\xff\xff", 5},
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
        {"\x15\x03\x01\x00\x02\x02\x30", 7}, /* an alert */
        {"\x17\x03\x03\x00\x01\x41", 6},     /* content before the handshake */
    };
    new_client(TLS1_3_VERSION);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        connect_client(NULL);
        fake_peer_send(peer, rows[i].data, rows[i].len);
        step();
        assert_int_equal(last, -EPROTO);
        assert_true(strlen(transport_failure(&transport)) > 5);
        step();
        assert_int_equal(last, -EPROTO); /* it stays so */
    }
}

static void silent_client_that_leaves_is_no_failure(void **state)
{
    (void)state;
    new_client(TLS1_3_VERSION);
    connect_client(NULL);
    fake_peer_shutdown(peer);
    step();
    assert_int_equal(last, -ECONNABORTED);
    connect_client(NULL);
    fake_peer_send(peer, "\x16\x03", 2);
    fake_peer_shutdown(peer);
    step();
    step();
    assert_int_equal(last, -EPROTO);
    assert_non_null(strstr(transport_failure(&transport), "the client closed the connection"));
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    new_client(TLS1_1_VERSION);
    SSL_CTX_set_security_level(client.ctx, 0);
    connect_client(NULL);
    tls_client_run(&client);
    assert_int_equal(last, -EPROTO);
    assert_non_null(strstr(transport_failure(&transport), "versions of TLS that are switched off"));
    const struct tls_settings settings = {.min_version = "1.3"};
    new_context(&settings, NULL);
    add_certificate(&made_ec, NULL, false);
    new_client(TLS1_2_VERSION);
    connect_client(NULL);
    tls_client_run(&client);
    assert_int_equal(last, -EPROTO);
    shake_hands(TLS1_3_VERSION, NULL);
}

static void renegotiation_is_refused(void **state)
{
    (void)state;
    shake_hands(TLS1_2_VERSION, NULL);
    assert_int_equal(SSL_renegotiate(client.ssl), 1);
    SSL_do_handshake(client.ssl);
    tls_client_run(&client);
    assert_true(client.has_failed || last == -EPROTO);
}

static void key_updates_of_a_client_that_reads_nothing_do_not_pile_up(void **state)
{
    (void)state;
    shake_hands(TLS1_3_VERSION, NULL);
    fake_peer_set_room(peer, 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        SSL_do_handshake(client.ssl);
        char wire[200];
        int len = BIO_read(SSL_get_wbio(client.ssl), wire, sizeof wire);
        fake_peer_send(peer, wire, (size_t)len);
        step();
    }
    assert_true(transport.holds_output);
    assert_in_range(transport_unsent_bytes(&transport), 1, 200); /* one response, not two hundred */
    assert_int_equal(transport_interest(&transport, REACTOR_READABLE, true, true) & REACTOR_READABLE, 0);
}

/* What the client's session has to send, all at once. */
static void send_client_bytes(void)
{
    char *wire;
    long len = BIO_get_mem_data(SSL_get_wbio(client.ssl), &wire);
    fake_peer_send(peer, wire, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(client.ssl));
}

/* R6: such a read gives way after about 16 KiB, and the rest is read in other turns. */
static void records_without_content_do_not_hold_the_loop(void **state)
{
    (void)state;
    enum { UPDATES = 3000 };
    char block[64];
    shake_hands(TLS1_3_VERSION, NULL);
    for (int i = 0; i < UPDATES; i++) {
        assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(client.ssl), 1);
    }
    assert_int_equal(SSL_write(client.ssl, "hello", 5), 5);
    send_client_bytes();
    fake_sys_clear_trace();
    assert_int_equal(transport_recv(&transport, block, sizeof block), -EAGAIN);
    assert_int_equal(fake_sys_count(FAKE_RECV), 1);
    assert_true(transport.may_have_more);
    unsigned interest = transport_interest(&transport, REACTOR_READABLE, true, false);
    assert_int_equal(interest & (REACTOR_READABLE | REACTOR_EDGE), REACTOR_READABLE);
    ssize_t got = -EAGAIN;
    int turns = 0;
    for (; got == -EAGAIN && turns < 100; turns++) {
        got = transport_recv(&transport, block, sizeof block);
    }
    assert_in_range(turns, 25, 40); /* 2 KiB each: the client goes on as it has begun */
    assert_int_equal(got, 5);
    assert_memory_equal(block, "hello", 5);
}

static void records_of_one_byte_do_not_hold_the_loop(void **state)
{
    (void)state;
    enum { RECORDS = 3000 };
    static char block[65536];
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], NULL);
        for (int n = 0; n < RECORDS; n++) {
            assert_int_equal(SSL_write(client.ssl, "x", 1), 1);
        }
        send_client_bytes();
        fake_sys_clear_trace();
        ssize_t got = transport_recv(&transport, block, sizeof block);
        assert_in_range(got, 1, RECORDS / 2);
        assert_in_range(fake_sys_count(FAKE_RECV), 1, 3); /* a little of each was content */
        assert_true(transport.may_have_more);
        size_t all = 0;
        for (int turns = 0; got > 0 && turns < 100; turns++) {
            all += (size_t)got;
            got = transport_recv(&transport, block, sizeof block);
        }
        assert_int_equal(got, -EAGAIN);
        assert_int_equal(all, RECORDS);
    }
}

/* And records with content are all read at once. */
static void records_that_are_full_fill_the_buffer_in_one_read(void **state)
{
    (void)state;
    static char content[65536], block[65536];
    for (int i = 0; i < VERSIONS; i++) {
        shake_hands(versions[i], NULL);
        assert_int_equal(SSL_write(client.ssl, content, sizeof content), (int)sizeof content);
        send_client_bytes();
        assert_int_equal(transport_recv(&transport, block, sizeof block), (int)sizeof block);
    }
}

static void handshake_that_the_socket_does_not_take_goes_on_later(void **state)
{
    (void)state;
    for (int i = 0; i < VERSIONS; i++) {
        new_client(versions[i]);
        connect_client(NULL);
        fake_peer_set_room(peer, 10);
        tls_client_run(&client);
        assert_true(transport.is_opening);
        assert_true(transport.holds_output);
        assert_true((transport_interest(&transport, REACTOR_READABLE, true, true) & REACTOR_WRITABLE) != 0);
        assert_int_equal(transport_send(&transport, "x", 1, false), -EAGAIN);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        assert_int_equal(transport_flush(&transport), 0);
        assert_false(transport.holds_output);
        assert_false(
            (transport_interest(&transport, REACTOR_READABLE | REACTOR_WRITABLE, true, true) & REACTOR_WRITABLE) != 0);
        tls_client_run(&client);
        assert_false(transport.is_opening);
    }
}

/* The client's request comes together with its last words of the handshake. Returns the server's sends so far. */
static uint64_t send_request_at_once(int version)
{
    char wire[16384];
    new_client(version);
    connect_client(NULL);
    fake_sys_clear_trace();
    while (SSL_do_handshake(client.ssl) != 1) {
        int len = BIO_read(SSL_get_wbio(client.ssl), wire, sizeof wire);
        fake_peer_send(peer, wire, (size_t)len);
        step();
        size_t out_len;
        const char *out = fake_peer_output(peer, &out_len);
        assert_int_equal(BIO_write(SSL_get_rbio(client.ssl), out, (int)out_len), (int)out_len);
        fake_peer_forget_output(peer);
    }
    assert_int_equal(SSL_write(client.ssl, "a request", 9), 9);
    fake_peer_send(peer, wire, (size_t)BIO_read(SSL_get_wbio(client.ssl), wire, sizeof wire));
    assert_int_equal(transport_recv(&transport, input, INPUT_MAX), 9);
    assert_memory_equal(input, "a request", 9);
    return fake_sys_count(FAKE_SEND);
}

/* What the server says at the end of the handshake of TLS 1.3, its tickets, shares a call with the first response. */
static void tickets_go_out_with_the_first_response(void **state)
{
    (void)state;
    static const int64_t rooms[] = {FAKE_NO_LIMIT, 0, 1, 300, 1000};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        assert_int_equal(send_request_at_once(TLS1_3_VERSION), 1);
        fake_peer_set_room(peer, rooms[i]);
        transport.is_ending = true;
        ssize_t sent = transport_send(&transport, "a response", 10, false);
        if (i > 0 && sent < 0) {
            assert_int_equal(sent, -EAGAIN);
            assert_true(transport.is_full && transport.holds_output);
            fake_peer_set_room(peer, FAKE_NO_LIMIT);
            sent = transport_send(&transport, "a response", 10, false);
        }
        assert_int_equal(sent, 10);
        assert_in_range(fake_sys_count(FAKE_SEND), 2, i == 0 ? 2 : 3);
        tls_client_run(&client);
        assert_string_equal(client.input, "a response");
        assert_true(client.has_close_notify && SSL_SESSION_is_resumable(SSL_get_session(client.ssl)));
    }
}

static void tickets_do_not_wait_for_a_late_response(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        assert_int_equal(send_request_at_once(TLS1_3_VERSION), 1);
        if (way == 0) {
            unsigned interest = transport_interest(&transport, REACTOR_READABLE, true, false);
            assert_int_equal(interest & (REACTOR_READABLE | REACTOR_WRITABLE), REACTOR_READABLE);
        } else if (way == 1) {
            assert_int_equal(transport_recv(&transport, input, INPUT_MAX), -EAGAIN);
        } else {
            assert_int_equal(transport_end(&transport), 0);
        }
        assert_int_equal(fake_sys_count(FAKE_SEND), 2);
        assert_int_equal(transport_unsent_bytes(&transport), 0);
        client.step = step;
        tls_client_run(&client);
        assert_true(SSL_SESSION_is_resumable(SSL_get_session(client.ssl)));
        assert_true(client.has_close_notify == (way == 2));
    }
    assert_int_equal(send_request_at_once(TLS1_3_VERSION), 1);
    fake_peer_set_room(peer, 10);
    unsigned interest = transport_interest(&transport, REACTOR_READABLE, true, false);
    assert_int_equal(interest & (REACTOR_READABLE | REACTOR_WRITABLE), REACTOR_WRITABLE);
    fake_sys_fail(1, -ECONNRESET);
    assert_int_equal(transport_flush(&transport), -ECONNRESET);
    fake_sys_fail(0, 0);
    assert_int_equal(transport_send(&transport, "x", 1, false), -ECONNRESET);
}

/* A client of TLS 1.3 uses a ticket once, so a resumed session brings another one. */
static void resumed_session_brings_another_ticket(void **state)
{
    (void)state;
    shake_hands(TLS1_3_VERSION, "example.org");
    for (int i = 0; i < 3; i++) {
        SSL_SESSION *session = SSL_get1_session(client.ssl);
        connect_client("example.org");
        SSL_set_session(client.ssl, session);
        tls_client_run(&client);
        assert_true(info_now().is_resumed);
        assert_ptr_not_equal(SSL_get_session(client.ssl), session);
        assert_true(SSL_SESSION_is_resumable(SSL_get_session(client.ssl)));
        SSL_SESSION_free(session);
    }
}

static void failing_memory_and_calls_end_in_order(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        close_transport();
        new_client(TLS1_3_VERSION);
        fake_mem_fail_after(n, true);
        struct tls_opening opening = {.context = context, .pool = pool};
        peer = fake_peer_create(-1);
        int rv = transport_open(&transport, &tls_transport_ops, &opening, fake_peer_fd(peer), AF_INET);
        tls_client_connect(&client, peer, NULL);
        if (rv == 0) {
            tls_client_run(&client);
        }
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (!has_failed) {
            assert_false(transport.is_opening);
            break;
        }
    }
    for (uint64_t n = 1; n < 20; n++) {
        new_client(TLS1_2_VERSION);
        connect_client(NULL);
        fake_sys_fail(n, -ECONNRESET);
        tls_client_run(&client);
        bool has_failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        assert_true(has_failed ? last < 0 : last == -EAGAIN);
    }
}

static void idle_connection_holds_no_block(void **state)
{
    (void)state;
    shake_hands(TLS1_3_VERSION, NULL);
    tls_client_say(&client, "hello");
    size_t live = fake_mem_live_bytes();
    close_transport();
    assert_in_range(live - fake_mem_live_bytes(), 1, 256); /* of ours; the rest is OpenSSL's */
}

static int make_certificates(void **state)
{
    (void)state;
    made_create(&made_ec, KEY_EC, "example.org,www.example.org", NULL);
    made_create(&made_rsa, KEY_RSA, "example.org,www.example.org", NULL);
    made_create(&made_other, KEY_EC, "other.example,*.wild.example", NULL);
    made_create(&made_client, KEY_EC, "a client", &made_rsa);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    made_done(&made_ec);
    made_done(&made_rsa);
    made_done(&made_other);
    made_done(&made_client);
    made_keys_free();
    return 0;
}

#define TLS_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(handshake_agrees_on_a_version_and_content_goes_both_ways),
        TLS_TEST(bytes_may_come_in_any_pieces),
        TLS_TEST(handshake_costs_one_send_a_flight_and_small_parts_one_record),
        TLS_TEST(large_content_is_sent_some_records_at_a_time),
        TLS_TEST(full_socket_takes_nothing_twice),
        TLS_TEST(more_than_the_buffer_holds_is_announced),
        TLS_TEST(close_notify_is_the_end_and_is_answered),
        TLS_TEST(last_write_says_the_end),
        TLS_TEST(connection_that_ends_without_it_is_cut_short),
        TLS_TEST(after_our_end_bytes_are_dropped_unread),
        TLS_TEST(session_is_resumed_also_after_a_reload),
        TLS_TEST(ticket_keys_are_replaced_and_the_old_ones_serve_once_more),
        TLS_TEST(certificate_is_chosen_by_name_and_by_kind_of_key),
        TLS_TEST(kinds_of_keys_are_side_by_side_for_each_name_that_both_have),
        TLS_TEST(client_certificate_is_asked_for_whatever_the_kind_of_key),
        TLS_TEST(protocol_is_agreed_on_or_the_handshake_fails),
        TLS_TEST(client_certificates_are_checked),
        TLS_TEST(session_does_not_outlive_the_client_certificate),
        TLS_TEST(session_does_not_lead_past_a_client_certificate),
        TLS_TEST(plain_http_gets_a_text),
        TLS_TEST(garbage_ends_the_handshake),
        TLS_TEST(silent_client_that_leaves_is_no_failure),
        TLS_TEST(old_versions_are_refused),
        TLS_TEST(renegotiation_is_refused),
        TLS_TEST(key_updates_of_a_client_that_reads_nothing_do_not_pile_up),
        TLS_TEST(records_without_content_do_not_hold_the_loop),
        TLS_TEST(records_of_one_byte_do_not_hold_the_loop),
        TLS_TEST(records_that_are_full_fill_the_buffer_in_one_read),
        TLS_TEST(handshake_that_the_socket_does_not_take_goes_on_later),
        TLS_TEST(tickets_go_out_with_the_first_response),
        TLS_TEST(tickets_do_not_wait_for_a_late_response),
        TLS_TEST(resumed_session_brings_another_ticket),
        TLS_TEST(failing_memory_and_calls_end_in_order),
        TLS_TEST(idle_connection_holds_no_block),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
