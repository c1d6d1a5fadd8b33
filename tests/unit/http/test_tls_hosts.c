/* Requests for another host than that of the handshake, where hosts ask their clients for different certificates. A
 * whole server on the fake kernel, and clients of OpenSSL. */

#include "core/tls_context.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/tls_scene.h"

enum host { OPEN, CLOSED, TWIN, OPTIONAL, OTHER, HOSTS };

static const struct {
    const char *names;
    bool asks, is_optional, asks_other; /* for certificates signed by the one authority, or by the other one */
} hosts[HOSTS] = {
    [OPEN] = {.names = "open.example,*.open.example,IP:127.0.0.1"},
    [CLOSED] = {.names = "closed.example,*.closed.example,IP:::1", .asks = true},
    [TWIN] = {.names = "twin.example", .asks = true},
    [OPTIONAL] = {.names = "optional.example", .asks = true, .is_optional = true},
    [OTHER] = {.names = "other.example", .asks = true, .asks_other = true},
};

static struct made authority, other_authority, alice, made[HOSTS];
static struct tls_client tls_client;
static int tls_listener;

static void let_server_go_on(void)
{
    settle();
}

static void add_host(struct tls_context *context, enum host host)
{
    char err[256] = "";
    const char *ca = hosts[host].asks_other ? other_authority.cert_pem : authority.cert_pem;
    const struct tls_certificate certificate = {.cert_pem = made[host].cert_pem,
                                                .key_pem = made[host].key_pem,
                                                .client_ca_pem = hosts[host].asks ? ca : NULL,
                                                .is_client_optional = hosts[host].is_optional};
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
}

/* first is the default. */
static void begin(enum host first)
{
    char err[256] = "";
    struct tls_context *context;
    const struct tls_settings settings = {0};
    scene_begin();
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, &scene.log, err, sizeof err), 0);
    add_host(context, first);
    for (enum host host = 0; host < HOSTS; host++) {
        if (host != first) {
            add_host(context, host);
        }
    }
    assert_int_equal(tls_context_finish(context, err, sizeof err), 0);
    assert_int_equal(server_set_tls(scene.server, context), 0);
    tls_context_put(context);
    assert_int_equal(server_listen_tls(scene.server, "127.0.0.1:0", false, err, sizeof err), 1);
    tls_listener = fake_sys_listener_fd();
    tls_client_init(&tls_client, TLS1_3_VERSION, let_server_go_on);
    SSL_CTX_use_certificate(tls_client.ctx, alice.cert);
    SSL_CTX_use_PrivateKey(tls_client.ctx, alice.key);
}

static int tear_down(void **state)
{
    tls_client_done(&tls_client);
    return scene_tear_down(state);
}

#define HOSTS_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, tear_down)

/* One request on a connection of its own. Returns the status. */
static int ask(const char *server_name, const char *request)
{
    tls_client_hang_up(&tls_client);
    struct fake_peer *peer = fake_peer_connect(tls_listener);
    settle();
    tls_client_connect(&tls_client, peer, server_name);
    tls_client_run(&tls_client);
    tls_client_say(&tls_client, request);
    int status = 0;
    assert_int_equal(sscanf(tls_client.input, "HTTP/1.1 %d ", &status), 1);
    return status;
}

static int ask_for(const char *server_name, const char *host)
{
    char request[256];
    snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    return ask(server_name, request);
}

static void host_whose_clients_are_asked_for_more_needs_its_own_connection(void **state)
{
    (void)state;
    static const struct {
        const char *server_name, *host;
        int status;
    } rows[] = {
        {"open.example", "open.example", 200},
        {"open.example", "closed.example", 421},
        {"open.example", "closed.example:8443", 421},
        {"open.example", "CLOSED.Example.", 421},
        {"open.example", "a.closed.example", 421},
        {"open.example", "closed.example.org", 200}, /* unknown: the default's, which asks for nothing */
        {"open.example", "[::1]", 421},
        {"open.example", "[::1]:8443", 421},
        {"open.example", "[::2]", 200},
        {"open.example", "127.0.0.1:8443", 200},
        {"open.example", "", 200},
        {"a.open.example", "open.example", 200},
        {"unknown.example", "closed.example", 421},
        {NULL, "closed.example", 421},
        {NULL, "127.0.0.1", 200},
        {"closed.example", "closed.example", 200},
        {"closed.example", "open.example", 200}, /* which asks for less */
        {"closed.example", "unknown.example", 200},
        {"closed.example", "twin.example", 200}, /* which asks for the same */
        {"closed.example", "optional.example", 421},
        {"closed.example", "other.example", 421},
        {"optional.example", "optional.example", 200},
        {"optional.example", "closed.example", 421},
        {"twin.example", "closed.example", 200},
    };
    begin(OPEN);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status = ask_for(rows[i].server_name, rows[i].host);
        if (status != rows[i].status) {
            fail_msg("Host %s on a connection for %s: %d", rows[i].host, rows[i].server_name, status);
        }
    }
}

static void target_in_absolute_form_counts_as_host(void **state)
{
    (void)state;
    begin(OPEN);
    assert_int_equal(ask("open.example", "GET https://closed.example/hello HTTP/1.1\r\nHost: open.example\r\n\r\n"),
                     421);
    assert_int_equal(ask("open.example", "GET https://open.example/hello HTTP/1.1\r\nHost: closed.example\r\n\r\n"),
                     200);
    assert_int_equal(ask("open.example", "OPTIONS * HTTP/1.1\r\nHost: closed.example\r\n\r\n"), 421);
    assert_int_equal(ask("open.example", "GET /hello HTTP/1.0\r\n\r\n"), 200);
}

/* A name that no certificate is for gets the default's handshake, so it must not get more than that without it. */
static void unknown_names_are_those_of_the_default_certificate(void **state)
{
    (void)state;
    begin(CLOSED);
    assert_int_equal(ask_for("open.example", "open.example"), 200);
    assert_int_equal(ask_for("open.example", "unknown.example"), 421);
    assert_int_equal(ask_for("open.example", ""), 421);
    assert_int_equal(ask("open.example", "GET /hello HTTP/1.0\r\n\r\n"), 421);
    assert_int_equal(ask_for("unknown.example", "unknown.example"), 200);
    assert_int_equal(ask_for(NULL, "unknown.example"), 200);
    assert_int_equal(ask_for("closed.example", "unknown.example"), 200);
}

static void misdirected_request_says_why_and_ends_its_connection_in_order(void **state)
{
    (void)state;
    begin(OPEN);
    assert_int_equal(ask("open.example", "POST /echo HTTP/1.1\r\nHost: closed.example\r\nContent-Length: 4\r\n\r\n1234"
                                         "GET /hello HTTP/1.1\r\nHost: open.example\r\n\r\n"),
                     421);
    assert_non_null(strstr(tls_client.input, "HTTP/1.1 421 Misdirected Request\r\n"));
    assert_non_null(strstr(tls_client.input, "Connection: close\r\n"));
    assert_non_null(strstr(tls_client.input, "connect with its server name\n"));
    assert_null(strstr(tls_client.input, "hello\n"));
    assert_true(tls_client.has_close_notify);
    fake_peer_shutdown(tls_client.peer);
    settle();
    assert_true(is_closed(tls_client.peer));
    assert_int_equal(stats().lost, 0);

    assert_int_equal(ask_for("open.example", "open.example"), 200);
    tls_client_say(&tls_client, "HEAD /hello HTTP/1.1\r\nHost: closed.example\r\n\r\n"); /* the second request, too */
    assert_non_null(strstr(tls_client.input, "HTTP/1.1 421 Misdirected Request\r\n"));
    assert_null(strstr(tls_client.input, "connect with its server name\n"));
}

/* Plain listeners have no handshake that could be for another host. */
static void plain_requests_are_not_asked(void **state)
{
    (void)state;
    begin(CLOSED);
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\nHost: closed.example\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
}

static int make_certificates(void **state)
{
    (void)state;
    made_create(&authority, KEY_RSA, "authority", NULL);
    made_create(&other_authority, KEY_RSA, "other authority", NULL);
    made_create(&alice, KEY_EC, "alice", &authority);
    for (enum host host = 0; host < HOSTS; host++) {
        made_create(&made[host], KEY_EC, hosts[host].names, NULL);
    }
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    made_done(&authority);
    made_done(&other_authority);
    made_done(&alice);
    for (enum host host = 0; host < HOSTS; host++) {
        made_done(&made[host]);
    }
    made_keys_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTS_TEST(host_whose_clients_are_asked_for_more_needs_its_own_connection),
        HOSTS_TEST(target_in_absolute_form_counts_as_host),
        HOSTS_TEST(unknown_names_are_those_of_the_default_certificate),
        HOSTS_TEST(misdirected_request_says_why_and_ends_its_connection_in_order),
        HOSTS_TEST(plain_requests_are_not_asked),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
