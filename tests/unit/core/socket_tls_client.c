/* TLS to another server, over a pair of real sockets: core/tls_client.c with core/tls.c at the other end, contexts,
 * which certificates are accepted, the words for failures, and sessions that are resumed. */

#include "core/tls_client.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/tls.h"
#include "core/tls_clients.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/made.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cmocka.h>

static struct made authority, site, foreign, expired, nameless, mine;

static struct tls_context *served; /* the server's */
static struct tls_pool *served_pool;
static struct tls_clients *clients;
static struct transport server, client;
static int handshake;    /* what the last step of the client's said */
static bool was_resumed; /* as the server sees it */
static char seen[4096];  /* content that the server has received, */
static size_t seen_len;
static char came[4096]; /* and the client */
static size_t came_len;

/* The server. */

static void serve(const struct made *made, const struct made *client_ca, const struct tls_settings *settings)
{
    char err[512] = "";
    static const struct tls_settings usual = {0};
    tls_context_put(served);
    served = NULL;
    if (tls_context_create(&served, settings == NULL ? &usual : settings, NULL, 0, NULL, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    const struct tls_certificate certificate = {.cert_pem = made->cert_pem,
                                                .key_pem = made->key_pem,
                                                .client_ca_pem = client_ca == NULL ? NULL : client_ca->cert_pem};
    if (tls_context_add(served, &certificate, err, sizeof err) < 0 || tls_context_finish(served, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static void hang_up(void)
{
    struct transport *both[] = {&server, &client};
    for (size_t i = 0; i < 2; i++) {
        if (both[i]->fd >= 0) {
            transport_shut(both[i], false);
            close(both[i]->fd);
            both[i]->fd = -1;
        }
    }
}

static void read_into(struct transport *transport, char *content, size_t *len)
{
    char block[2048];
    ssize_t got = transport_recv(transport, block, sizeof block);
    if (got > 0) {
        assert_true(*len + (size_t)got < 4096);
        memcpy(content + *len, block, (size_t)got);
        *len += (size_t)got;
    }
    (void)transport_interest(transport, REACTOR_READABLE, true, true);
}

/* Both sides have their turns, until nothing more can come. */
static void run(void)
{
    for (int i = 0; i < 8; i++) {
        if (client.is_opening) {
            handshake = tls_client_shake_hands(&client);
            (void)transport_interest(&client, REACTOR_READABLE, true, true);
        } else if (handshake == 0) {
            read_into(&client, came, &came_len);
        }
        read_into(&server, seen, &seen_len);
    }
}

static struct tls_client_context *context_for(const struct tls_client_settings *settings)
{
    char err[512] = "";
    struct tls_client_context *context = NULL;
    if (tls_clients_get(clients, settings, &context, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return context;
}

/* A connection before its first turn. Returns what transport_open() says. */
static int dial(const struct tls_client_settings *settings, const char *name)
{
    int fds[2];
    hang_up();
    seen_len = came_len = 0;
    handshake = -EAGAIN;
    struct tls_client_context *context = context_for(settings);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    struct tls_opening opening = {.context = served, .pool = served_pool};
    assert_int_equal(transport_open(&server, &tls_transport_ops, &opening, fds[0], AF_UNIX), 0);
    const struct tls_client_opening call = {.context = context,
                                            .pool = tls_clients_pool(clients),
                                            .server_name = name,
                                            .peer = "here"};
    return transport_open(&client, &tls_client_ops, (void *)(uintptr_t)&call, fds[1], AF_UNIX);
}

static void call_server(const struct tls_client_settings *settings, const char *name)
{
    assert_int_equal(dial(settings, name), 0);
    run();
    struct tls_info info;
    was_resumed = tls_get_info(&server, &info) && info.is_resumed;
}

static const struct tls_client_settings *trusting(void)
{
    static struct tls_client_settings settings;
    settings = (struct tls_client_settings){.ca_pem = authority.cert_pem};
    return &settings;
}

static void assert_refused(const struct tls_client_settings *settings, const char *name, const char *reason)
{
    call_server(settings, name);
    assert_int_equal(handshake, -EPROTO);
    assert_string_equal(transport_failure(&client), reason);
    assert_string_equal(transport_failure(&client), reason);
    assert_int_equal(ERR_peek_error(), 0);
}

static int set_up(void **state)
{
    (void)state;
    char err[512];
    server = client = (struct transport){.fd = -1};
    serve(&site, NULL, NULL);
    served_pool = tls_pool_create(NULL);
    assert_non_null(served_pool);
    assert_int_equal(tls_clients_create(&clients, NULL, err, sizeof err), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    hang_up();
    tls_clients_destroy(clients);
    tls_context_put(served);
    served = NULL;
    tls_pool_destroy(served_pool);
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

/* Handshakes. */

static void content_goes_both_ways_behind_a_handshake(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.2", "1.3"};
    for (size_t i = 0; i < 2; i++) {
        const struct tls_settings only = {.min_version = versions[i]};
        serve(&site, NULL, &only);
        call_server(trusting(), "site.example");
        assert_int_equal(handshake, 0);
        struct tls_info info;
        assert_true(tls_client_get_info(&client, &info));
        assert_string_equal(info.version, "TLSv1.3");
        assert_string_equal(info.client_subject, "CN=site.example");
        assert_int_equal(strlen(info.client_fingerprint), 64);
        assert_string_equal(info.alpn, "");
        assert_int_equal(transport_send(&client, "hello", 5, false), 5);
        run();
        assert_int_equal(seen_len, 5);
        assert_int_equal(transport_send(&server, "world", 5, false), 5);
        run();
        assert_int_equal(came_len, 5);
        assert_memory_equal(came, "world", 5);
    }
}

static void last_words_go_out_with_the_first_content(void **state)
{
    (void)state;
    assert_int_equal(dial(trusting(), "site.example"), 0);
    read_into(&server, seen, &seen_len);
    assert_int_equal(tls_client_shake_hands(&client), 0);
    assert_int_equal(transport_send(&client, "hello", 5, false), 5);
    read_into(&server, seen, &seen_len); /* one read has it all */
    assert_int_equal(seen_len, 5);
    assert_false(server.is_opening);
}

static void end_of_the_server_is_its_close_notify(void **state)
{
    (void)state;
    char block[16];
    call_server(trusting(), "site.example");
    assert_int_equal(transport_end(&server), 0);
    assert_int_equal(transport_recv(&client, block, sizeof block), 0);
    call_server(trusting(), "site.example");
    assert_int_equal(shutdown(server.fd, SHUT_WR), 0);
    assert_int_equal(transport_recv(&client, block, sizeof block), -ECONNABORTED);
    call_server(trusting(), "site.example");
    assert_int_equal(transport_end(&client), 0);
    assert_int_equal(transport_recv(&server, block, sizeof block), 0);
}

static void protocol_is_agreed_on_where_it_is_offered(void **state)
{
    (void)state;
    const struct tls_settings offer = {.alpn = "two,one"};
    struct tls_client_settings settings = *trusting();
    struct tls_info info;
    settings.alpn = "one,three";
    serve(&site, NULL, &offer);
    call_server(&settings, "site.example");
    assert_true(tls_client_get_info(&client, &info));
    assert_string_equal(info.alpn, "one");
    settings.alpn = "three";
    assert_refused(&settings, "site.example",
                   "site.example: client and server have no application protocol (ALPN) in common (tlsv1 alert no "
                   "application protocol)");
    settings.alpn = ",";
    char err[512];
    struct tls_client_context *context;
    assert_int_equal(tls_clients_get(clients, &settings, &context, err, sizeof err), -EINVAL);
    assert_string_equal(err, "TLS alpn \",\": names of protocols with commas between them");
}

/* Certificates. */

static void certificate_must_be_for_the_name_or_address(void **state)
{
    (void)state;
    static const char *const good[] = {"site.example", "SITE.example.", "a.wild.example", "192.0.2.1", "2001:db8::1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct tls_info info;
        call_server(trusting(), good[i]);
        assert_int_equal(handshake, 0);
        assert_true(tls_client_get_info(&client, &info));
        assert_memory_equal(info.server_name, good[i], strlen(info.server_name));
        assert_true(strlen(info.server_name) >= strlen(good[i]) - 1);
    }
    assert_refused(trusting(), "other.example",
                   "the server's certificate is not for other.example, but for *.wild.example, 192.0.2.1, 2001:db8::1 "
                   "and 1 more");
    assert_refused(trusting(), "a.b.wild.example",
                   "the server's certificate is not for a.b.wild.example, but for *.wild.example, 192.0.2.1, "
                   "2001:db8::1 and 1 more");
    assert_refused(trusting(), "192.0.2.2",
                   "the server's certificate is not for 192.0.2.2, but for *.wild.example, 192.0.2.1, 2001:db8::1 and "
                   "1 more");
    serve(&nameless, NULL, NULL);
    assert_refused(trusting(), "someone",
                   "the certificate of someone has no subjectAltName, and its common name does not count (openssl req "
                   "-addext subjectAltName=DNS:someone)");
}

static void certificate_must_be_of_an_authority_that_is_trusted(void **state)
{
    (void)state;
    static const struct tls_client_settings system = {0};
    struct tls_client_settings settings = *trusting();
    serve(&foreign, NULL, NULL);
    assert_refused(&settings, "site.example",
                   "the certificate of site.example is signed by itself, and not trusted here (ca can name its file)");
    settings.ca_pem = foreign.cert_pem; /* the server's own will do */
    call_server(&settings, "site.example");
    assert_int_equal(handshake, 0);
    serve(&site, NULL, NULL);
    assert_refused(
        &settings, "site.example",
        "the certificate of site.example is signed by an authority that is not trusted here (ca can name its "
        "file): CN=An authority");
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0) {
        assert_refused(
            &system, "site.example",
            "the certificate of site.example is signed by an authority that is not trusted here (ca can name "
            "its file): CN=An authority");
    }
}

static void certificate_must_be_valid_now(void **state)
{
    (void)state;
    struct tls_client_settings settings = {.ca_pem = authority.cert_pem};
    serve(&expired, NULL, NULL);
    assert_refused(&settings, "site.example", "the certificate of site.example has expired (1990-01-02 00:00 UTC)");
    struct made early;
    made_create_valid(&early, KEY_EC, "site.example", 4102444800, 4133980800);
    settings.ca_pem = early.cert_pem;
    serve(&early, NULL, NULL);
    assert_refused(
        &settings, "site.example",
        "the certificate of site.example is not valid before 2100-01-01 00:00 UTC: is the clock here right?");
    made_done(&early);
}

static void certificate_is_not_looked_at_only_where_the_settings_say_so(void **state)
{
    (void)state;
    static const struct tls_client_settings unverified = {.is_unverified = true};
    struct tls_info info;
    serve(&expired, NULL, NULL);
    call_server(&unverified, "other.example");
    assert_int_equal(handshake, 0);
    assert_true(tls_client_get_info(&client, &info));
    assert_string_equal(info.client_subject, "");
    assert_true(tls_get_info(&server, &info));
    assert_string_equal(info.server_name, "other.example");
    call_server(&unverified, NULL);
    assert_int_equal(handshake, 0);
    assert_int_equal(dial(trusting(), NULL), -EINVAL);
    assert_int_equal(dial(trusting(), ""), -EINVAL);
    assert_int_equal(dial(trusting(), "not a name"), -EINVAL);
    assert_non_null(tls_client_name_fault(".example"));
    char name[TLS_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    name[TLS_NAME_MAX] = '\0';
    assert_null(tls_client_name_fault(name));
    name[TLS_NAME_MAX] = 'a';
    name[TLS_NAME_MAX + 1] = '\0';
    assert_non_null(tls_client_name_fault(name));
}

static void certificate_of_ours_is_shown_to_a_server_that_asks(void **state)
{
    (void)state;
    struct tls_client_settings settings = *trusting();
    struct tls_info info;
    serve(&site, &authority, NULL);
    call_server(&settings, "site.example"); /* in TLS 1.3, the server says so after our last words */
    assert_int_equal(handshake, 0);
    char byte;
    assert_int_equal(transport_recv(&client, &byte, 1), -EPROTO);
    assert_string_equal(
        transport_failure(&client),
        "site.example: the server asks for a client certificate (client_cert) (tlsv13 alert certificate "
        "required)");
    settings.cert_pem = mine.cert_pem;
    settings.key_pem = mine.key_pem;
    call_server(&settings, "site.example");
    assert_true(tls_get_info(&server, &info));
    assert_string_equal(info.client_subject, "CN=me");
    char err[512];
    struct tls_client_context *context;
    settings.key_pem = "nonsense";
    assert_int_equal(tls_clients_get(clients, &settings, &context, err, sizeof err), -EINVAL);
    assert_string_equal(err,
                        "no private key in the PEM text: PEM text with \"-----BEGIN PRIVATE KEY-----\" is expected");
}

/* Other failures. */

static void server_without_tls_is_told_as_such(void **state)
{
    (void)state;
    static const char *const greetings[] = {"220 mail.example ESMTP\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n",
                                            "-ERR unknown command\r\n"};
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        assert_int_equal(dial(trusting(), "site.example"), 0);
        assert_true(write(server.fd, greetings[i], strlen(greetings[i])) > 0);
        assert_int_equal(tls_client_shake_hands(&client), -EPROTO);
        assert_non_null(strstr(transport_failure(&client), "what the server sent is not TLS: is this the right port?"));
    }
    assert_int_equal(dial(trusting(), "site.example"), 0);
    assert_int_equal(shutdown(server.fd, SHUT_WR), 0);
    assert_int_equal(tls_client_shake_hands(&client), -ECONNABORTED);
    assert_string_equal(transport_failure(&client),
                        "site.example: the server closed the connection (unexpected eof while "
                        "reading)");
}

static void versions_must_meet(void **state)
{
    (void)state;
    struct tls_client_settings settings = *trusting();
    char err[512];
    struct tls_client_context *context;
    settings.min_version = "1.1";
    assert_int_equal(tls_clients_get(clients, &settings, &context, err, sizeof err), -EINVAL);
    assert_string_equal(err, "TLS min_version \"1.1\": 1.2 and 1.3 are possible");
}

/* Sessions. */

static void session_is_resumed_once_each(void **state)
{
    (void)state;
    call_server(trusting(), "site.example");
    assert_false(was_resumed);
    for (int i = 0; i < 3; i++) {
        call_server(trusting(), "site.example");
        assert_int_equal(handshake, 0);
        assert_true(was_resumed);
        struct tls_info info;
        assert_true(tls_client_get_info(&client, &info) && info.is_resumed);
        assert_string_equal(info.client_subject, "CN=site.example");
    }
    call_server(trusting(), "a.wild.example"); /* which is another name */
    assert_false(was_resumed);
}

static void session_serves_only_where_the_same_is_checked(void **state)
{
    (void)state;
    static const struct tls_client_settings unverified = {.is_unverified = true};
    serve(&foreign, NULL, NULL);
    call_server(&unverified, "site.example");
    call_server(&unverified, "site.example");
    assert_true(was_resumed);
    assert_refused(trusting(), "site.example",
                   "the certificate of site.example is signed by itself, and not trusted here (ca can name its file)");
}

static void session_is_forgotten_with_what_was_read(void **state)
{
    (void)state;
    call_server(trusting(), "site.example");
    tls_clients_forget(clients);
    call_server(trusting(), "site.example");
    assert_int_equal(handshake, 0);
    assert_false(was_resumed);
}

static void server_that_does_not_know_a_session_makes_another(void **state)
{
    (void)state;
    call_server(trusting(), "site.example");
    serve(&site, NULL, NULL);
    call_server(trusting(), "site.example");
    assert_int_equal(handshake, 0);
    assert_false(was_resumed);
    call_server(trusting(), "site.example");
    assert_true(was_resumed);
}

/* Contexts. */

static void contexts_are_shared_by_their_settings_and_bounded(void **state)
{
    (void)state;
    struct tls_client_settings settings = *trusting();
    struct tls_client_context *first = context_for(&settings);
    char protocols[TLS_CLIENTS_MAX][8];
    assert_ptr_equal(context_for(&settings), first);
    tls_client_context_ref(first);
    for (int i = 0; i < TLS_CLIENTS_MAX - 1; i++) {
        snprintf(protocols[i], sizeof protocols[i], "p%d", i);
        settings.alpn = protocols[i];
        assert_ptr_not_equal(context_for(&settings), first);
    }
    settings.alpn = NULL;
    assert_ptr_equal(context_for(&settings), first); /* there is room for so many */
    settings.alpn = "one more";
    (void)context_for(&settings);
    settings.alpn = "and one";
    (void)context_for(&settings);
    settings.alpn = NULL;
    assert_ptr_equal(context_for(&settings), first); /* what was used least goes first */
    tls_client_context_put(first);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void files_are_named_where_they_cannot_be_read(void **state)
{
    (void)state;
    char folder[] = "/tmp/tls-client-XXXXXX", path[64], err[512];
    struct tls_client_context *context;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/ca.pem", folder);
    const struct tls_client_settings settings = {.ca_file = path};
    assert_int_equal(tls_clients_get(clients, &settings, &context, err, sizeof err), -ENOENT);
    assert_non_null(strstr(err, "cannot read the certificate of an authority"));
    assert_non_null(strstr(err, path));
    write_file(path, authority.cert_pem);
    call_server(&settings, "site.example");
    assert_int_equal(handshake, 0);
    assert_false(tls_client_context_has_changed(context_for(&settings)));
    write_file(path, foreign.cert_pem);
    assert_true(tls_client_context_has_changed(context_for(&settings)));
    unlink(path);
    rmdir(folder);
}

static void missing_authorities_are_told_with_what_to_install(void **state)
{
    (void)state;
    static const struct tls_client_settings system = {0};
    char folder[] = "/tmp/tls-client-XXXXXX", path[64], err[512];
    struct tls_client_context *context;
    unsetenv("SSL_CERT_DIR");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/all.pem", folder);
    assert_int_equal(setenv("SSL_CERT_FILE", path, 1), 0);
    assert_int_equal(tls_clients_get(clients, &system, &context, err, sizeof err), -ENOENT);
    assert_non_null(strstr(err, path));
    write_file(path, authority.cert_pem);
    call_server(&system, "site.example");
    assert_int_equal(handshake, 0);
    unsetenv("SSL_CERT_FILE");
    setenv("SSL_CERT_DIR", folder, 1);
    tls_clients_forget(clients);
    if (access(X509_get_default_cert_file(), R_OK) != 0) {
        assert_int_equal(tls_clients_get(clients, &system, &context, err, sizeof err), -ENOENT);
        assert_non_null(strstr(err, "apt install ca-certificates"));
    }
    unsetenv("SSL_CERT_DIR");
    unlink(path);
    rmdir(folder);
}

/* Without memory. */

static void failing_memory_ends_in_order(void **state)
{
    (void)state;
    bool is_whole = false;
    for (uint64_t n = 1; !is_whole; n++) {
        struct tls_clients *few = NULL;
        struct tls_client_context *context = NULL;
        char err[512], block[16];
        int fds[2];
        assert_true(n < 1000);
        hang_up();
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        struct tls_opening opening = {.context = served, .pool = served_pool};
        assert_int_equal(transport_open(&server, &tls_transport_ops, &opening, fds[0], AF_UNIX), 0);
        fake_mem_fail_after(n, false);
        int rv = tls_clients_create(&few, NULL, err, sizeof err);
        rv = rv < 0 ? rv : tls_clients_get(few, trusting(), &context, err, sizeof err);
        fake_mem_fail_after(rv < 0 ? 0 : n, false);
        struct tls_client_opening call = {.context = context, .server_name = "site.example", .peer = "here"};
        client = (struct transport){.fd = fds[1]};
        if (rv == 0) {
            call.pool = tls_clients_pool(few);
            rv = transport_open(&client, &tls_client_ops, &call, fds[1], AF_UNIX);
        }
        for (int i = 0; rv == 0 && i < 8; i++) {
            int said = client.is_opening ? tls_client_shake_hands(&client) : 0;
            (void)transport_interest(&client, REACTOR_READABLE, true, true);
            (void)transport_recv(&server, block, sizeof block);
            (void)transport_interest(&server, REACTOR_READABLE, true, true);
            rv = said == -EAGAIN ? 0 : said;
        }
        fake_mem_fail_after(0, false);
        is_whole = rv == 0 && n > 60;
        assert_int_equal(ERR_peek_error(), 0);
        hang_up();
        tls_clients_destroy(few);
    }
}

int main(void)
{
    made_create(&authority, KEY_EC, "An authority", NULL);
    made_create(&site, KEY_EC, "site.example,*.wild.example,IP:192.0.2.1,IP:2001:db8::1", &authority);
    made_create(&foreign, KEY_EC, "site.example", NULL);
    made_create_expired(&expired, KEY_EC, "site.example", &authority);
    made_create(&nameless, KEY_EC, NULL, &authority);
    made_create(&mine, KEY_EC, "me", &authority);
#define TLS_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TLS_TEST(content_goes_both_ways_behind_a_handshake),
        TLS_TEST(last_words_go_out_with_the_first_content),
        TLS_TEST(end_of_the_server_is_its_close_notify),
        TLS_TEST(protocol_is_agreed_on_where_it_is_offered),
        TLS_TEST(certificate_must_be_for_the_name_or_address),
        TLS_TEST(certificate_must_be_of_an_authority_that_is_trusted),
        TLS_TEST(certificate_must_be_valid_now),
        TLS_TEST(certificate_is_not_looked_at_only_where_the_settings_say_so),
        TLS_TEST(certificate_of_ours_is_shown_to_a_server_that_asks),
        TLS_TEST(server_without_tls_is_told_as_such),
        TLS_TEST(versions_must_meet),
        TLS_TEST(session_is_resumed_once_each),
        TLS_TEST(session_serves_only_where_the_same_is_checked),
        TLS_TEST(session_is_forgotten_with_what_was_read),
        TLS_TEST(server_that_does_not_know_a_session_makes_another),
        TLS_TEST(contexts_are_shared_by_their_settings_and_bounded),
        TLS_TEST(files_are_named_where_they_cannot_be_read),
        TLS_TEST(missing_authorities_are_told_with_what_to_install),
        TLS_TEST(failing_memory_ends_in_order),
    };
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    made_done(&authority);
    made_done(&site);
    made_done(&foreign);
    made_done(&expired);
    made_done(&nameless);
    made_done(&mine);
    made_keys_free();
    return rv;
}
