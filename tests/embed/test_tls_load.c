/* Certificates that are replaced while several threads serve clients: by reloads, and by changes of the files, for
 * which the server looks every LOOK_MS here rather than once a minute. Clients resume their sessions, and some leave in
 * the middle of the handshake. Under ThreadSanitizer, too. */

#include "http/host/tls_keeper.h"
#include "tests/lib/host.h"
#include "tests/lib/made.h"

#include <stdatomic.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

struct reactor;
typedef void (*timer_fn)(struct reactor *reactor, uint64_t timer, void *arg);

enum { REACTORS = 3, CLIENTS = 3, ROUNDS = 12, LOOK_MS = 5, CERTIFICATES = 2, LEAVES = 7 };

static struct made made[CERTIFICATES];
static atomic_int served, resumed, failed, is_over;

uint64_t __real_reactor_set_interval(struct reactor *reactor, uint32_t ms, timer_fn fn, void *arg);
uint64_t __wrap_reactor_set_interval(struct reactor *reactor, uint32_t ms, timer_fn fn, void *arg);

uint64_t __wrap_reactor_set_interval(struct reactor *reactor, uint32_t ms, timer_fn fn, void *arg)
{
    return __real_reactor_set_interval(reactor, ms == TLS_LOOK_MS ? LOOK_MS : ms, fn, arg);
}

static void serve(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", evs_scheme(request), 5);
}

/* By renaming, as certbot does it with links. */
static void replace_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", host.folder, name);
    assert_int_equal(rename(host_write("new", text), path), 0);
}

/* Both at once, so that a look finds a pair that fits: the key is in the file of the certificate. */
static void use_certificate(const struct made *one)
{
    char text[2 * MADE_PEM_MAX];
    snprintf(text, sizeof text, "%s%s", one->cert_pem, one->key_pem);
    replace_file("pair.pem", text);
}

static bool is_one_of_ours(const SSL *ssl)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    return cert != NULL && (X509_cmp(cert, made[0].cert) == 0 || X509_cmp(cert, made[1].cert) == 0);
}

/* One connection. Returns whether all was as it has to be; session is used, and replaced. */
static bool visit(SSL_CTX *ctx, SSL_SESSION **session, bool leaves, X509 **seen)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    char answer[1024];
    int got = 0, len = 0, fd = client_connect(host.port);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t) "a.example");
    if (*session != NULL) {
        SSL_set_session(ssl, *session);
    }
    if (leaves) {
        assert_true(client_send(fd, "\x16\x03\x01"));
    }
    bool is_good = leaves || (SSL_connect(ssl) == 1 && is_one_of_ours(ssl) &&
                              SSL_write(ssl, request, (int)sizeof request - 1) == (int)sizeof request - 1);
    while (is_good && !leaves && (got = SSL_read(ssl, answer + len, (int)sizeof answer - 1 - len)) > 0) {
        len += got;
    }
    answer[len] = '\0';
    if (!leaves) {
        is_good = is_good && SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN &&
                  strstr(answer, "\r\n\r\nhttps") != NULL;
        atomic_fetch_add(&resumed, SSL_session_reused(ssl));
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(ssl);
        if (seen != NULL) {
            *seen = SSL_get1_peer_certificate(ssl);
        }
        SSL_shutdown(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    close(fd);
    return is_good;
}

static SSL_CTX *make_client(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    return ctx;
}

static void *visit_on_and_on(void *arg)
{
    SSL_CTX *ctx = make_client(*(int *)arg);
    SSL_SESSION *session = NULL;
    for (int i = 1; !atomic_load(&is_over); i++) {
        bool is_good = visit(ctx, &session, i % LEAVES == 0, NULL);
        atomic_fetch_add(is_good ? &served : &failed, 1);
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    OPENSSL_thread_stop();
    return NULL;
}

static void wait_for_more(const atomic_int *number, int count)
{
    int before = atomic_load(number);
    while (atomic_load(number) < before + count) {
        usleep(1000);
    }
}

/* Whether new connections see this certificate, on all threads sooner or later. */
static void wait_for_certificate(SSL_CTX *ctx, const struct made *wanted)
{
    for (int in_a_row = 0, tries = 0; in_a_row < 4 * REACTORS; tries++) {
        SSL_SESSION *session = NULL;
        X509 *seen = NULL;
        assert_true(tries < 10000);
        assert_true(visit(ctx, &session, false, &seen));
        in_a_row = X509_cmp(seen, wanted->cert) == 0 ? in_a_row + 1 : 0;
        X509_free(seen);
        SSL_SESSION_free(session);
    }
}

static void certificates_are_replaced_under_load(void **state)
{
    (void)state;
    static int versions[CLIENTS] = {TLS1_2_VERSION, TLS1_3_VERSION, TLS1_3_VERSION};
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve}, {.route = NULL}};
    char path[128];
    snprintf(path, sizeof path, "%s/pair.pem", host.folder);
    const struct evs_certificate certificates[] = {{.cert_file = path}, {.cert_file = NULL}};
    use_certificate(&made[0]);
    host.config.listen = "127.0.0.1:0?tls";
    host.config.certificates = certificates;
    host.config.routes = routes;
    host.config.reactors = REACTORS;
    host.config.log_level = EVSERVE_LOG_ERROR;
    host_serve();
    SSL_CTX *ctx = make_client(TLS1_3_VERSION);
    pthread_t clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&clients[i], NULL, visit_on_and_on, &versions[i]), 0);
    }
    for (int round = 1; round <= ROUNDS; round++) {
        use_certificate(&made[round % CERTIFICATES]);
        if (round % 3 == 0) { /* a broken pair in between, which changes nothing */
            replace_file("pair.pem", made[round % CERTIFICATES].cert_pem);
            use_certificate(&made[round % CERTIFICATES]);
        }
        if (round % 2 == 0 && evserve_reload(host.server, host.err, sizeof host.err) < 0) {
            fail_msg("%s", host.err);
        }
        wait_for_certificate(ctx, &made[round % CERTIFICATES]);
        wait_for_more(&served, CLIENTS);
    }
    atomic_store(&is_over, 1);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
    }
    SSL_CTX_free(ctx);
    host_stop(1000);
    assert_int_equal(atomic_load(&failed), 0);
    assert_true(atomic_load(&resumed) > 0);
    print_message("%d connections, %d of them resumed\n", atomic_load(&served), atomic_load(&resumed));
}

static int make_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < CERTIFICATES; i++) {
        made_create(&made[i], KEY_EC, "a.example", NULL);
    }
    return 0;
}

static int free_pairs(void **state)
{
    (void)state;
    for (int i = 0; i < CERTIFICATES; i++) {
        made_done(&made[i]);
    }
    made_keys_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(certificates_are_replaced_under_load),
    };
    return cmocka_run_group_tests_name("tls_load", tests, make_pairs, free_pairs);
}
