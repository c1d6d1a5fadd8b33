/* TLS to another server while OpenSSL finds no memory: whatever allocation fails, nothing leaks, OpenSSL's queue of
 * errors is empty, and no server is taken for another one.
 *
 *   socket_tls_client_faults [N]   N allocations, one after the other (default: 15) */

#include "core/tls.h"
#include "core/tls_client.h"
#include "core/tls_clients.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/made.h"
#include "tests/lib/tls_faults.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <cmocka.h>

static size_t samples = 15;

static struct made authority, site, mine;
static struct tls_context *served;
static struct tls_pool *served_pool;
static struct transport server, client;

static void serve_turn(void)
{
    char block[512];
    ssize_t got = transport_recv(&server, block, sizeof block);
    if (got > 0) {
        (void)transport_send(&server, block, (size_t)got, false);
    }
    (void)transport_interest(&server, REACTOR_READABLE, true, true);
}

/* The client's part of a turn. Returns 0, or -errno. */
static int client_turn(bool *has_echo)
{
    char block[512];
    if (client.is_opening) {
        int rv = tls_client_shake_hands(&client);
        if (rv == 0 && transport_send(&client, "hello", 5, false) != 5) {
            return -EIO;
        }
        (void)transport_interest(&client, REACTOR_READABLE, true, true);
        return rv == -EAGAIN ? 0 : rv;
    }
    ssize_t got = transport_recv(&client, block, sizeof block);
    *has_echo = *has_echo || got == 5;
    (void)transport_interest(&client, REACTOR_READABLE, true, true);
    return got < 0 && got != -EAGAIN ? (int)got : 0;
}

/* One connection by settings and name. Returns whether content went both ways. */
static bool call_once(struct tls_clients *clients, const struct tls_client_settings *settings, const char *name)
{
    char err[512];
    int fds[2];
    bool has_echo = false;
    struct tls_client_context *context = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    struct tls_opening opening = {.context = served, .pool = served_pool};
    assert_int_equal(transport_open(&server, &tls_transport_ops, &opening, fds[0], AF_UNIX), 0);
    tls_faults_enter();
    client = (struct transport){.fd = fds[1]};
    int rv = tls_clients_get(clients, settings, &context, err, sizeof err);
    if (rv == 0) {
        const struct tls_client_opening call = {.context = context,
                                                .pool = tls_clients_pool(clients),
                                                .server_name = name,
                                                .peer = "here"};
        rv = transport_open(&client, &tls_client_ops, (void *)(uintptr_t)&call, fds[1], AF_UNIX);
    }
    for (int i = 0; rv == 0 && i < 8 && !has_echo; i++) {
        rv = client_turn(&has_echo);
        assert_int_equal(ERR_peek_error(), 0);
        tls_faults_leave();
        serve_turn();
        tls_faults_enter();
    }
    if (rv == -EPROTO) {
        assert_true(strlen(transport_failure(&client)) > 0);
    }
    transport_shut(&client, false);
    close(client.fd);
    assert_int_equal(ERR_peek_error(), 0);
    tls_faults_leave();
    transport_shut(&server, false);
    close(server.fd);
    return has_echo;
}

/* All that a reactor does: two connections, of which the second may resume, and one to a server that is not the one it
 * should be. Returns whether the first two went well. */
static bool live_once(void)
{
    char err[512];
    struct tls_clients *clients = NULL;
    struct tls_client_settings settings = {.ca_pem = authority.cert_pem,
                                           .cert_pem = mine.cert_pem,
                                           .key_pem = mine.key_pem,
                                           .alpn = "http/1.1"};
    tls_faults_enter();
    int rv = tls_clients_create(&clients, NULL, err, sizeof err);
    tls_faults_leave();
    if (rv < 0) {
        return false;
    }
    bool is_well = call_once(clients, &settings, "site.example");
    is_well = call_once(clients, &settings, "site.example") && is_well;
    assert_false(call_once(clients, &settings, "other.example"));
    tls_faults_enter();
    tls_clients_destroy(clients);
    tls_faults_leave();
    return is_well;
}

static void any_allocation_of_openssl_may_fail(void **state)
{
    (void)state;
    size_t count, shown = 0;
    uint64_t live = fake_mem_live(); /* the server's */
    assert_true(live_once());        /* what OpenSSL makes once, and keeps */
    tls_faults_record();
    assert_true(live_once());
    uint64_t *places = tls_faults_end_record(&count);
    assert_in_range(count, 50, 5000);
    assert_true(samples > 0);
    for (size_t i = 0; i < count; i += count / samples + 1) {
        tls_faults_mark();
        tls_faults_fail_after(places[i], false);
        (void)live_once();
        shown += tls_faults_failed();
        tls_faults_fail_after(0, false);
        OPENSSL_thread_stop(); /* which keeps the memory of its texts of errors */
        assert_int_equal(fake_mem_live(), live);
        if (tls_faults_left() != 0) {
            tls_faults_print_left();
            fail_msg("%zu blocks are left after %s", tls_faults_left(), tls_faults_place());
        }
        assert_true(live_once());
    }
    assert_true(shown > 0);
    free(places);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        samples = (size_t)strtoul(argv[1], NULL, 10);
    }
    tls_faults_install();
    made_create(&authority, KEY_EC, "An authority", NULL);
    made_create(&site, KEY_EC, "site.example", &authority);
    made_create(&mine, KEY_EC, "me", &authority);
    char err[512];
    const struct tls_settings settings = {0};
    const struct tls_certificate certificate = {.cert_pem = site.cert_pem,
                                                .key_pem = site.key_pem,
                                                .client_ca_pem = authority.cert_pem};
    if (tls_context_create(&served, &settings, NULL, 0, NULL, err, sizeof err) < 0 ||
        tls_context_add(served, &certificate, err, sizeof err) < 0 || tls_context_finish(served, err, sizeof err) < 0) {
        return 1;
    }
    served_pool = tls_pool_create(NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_allocation_of_openssl_may_fail)};
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    tls_pool_destroy(served_pool);
    tls_context_put(served);
    made_done(&authority);
    made_done(&site);
    made_done(&mine);
    made_keys_free();
    return rv;
}
