/* core/link.c with TLS, over real sockets, with core/tls.c as the server: handshakes, TLS that begins later, failures,
 * and links that are kept. */

#include "core/link.h"

#include "core/kept_links.h"
#include "core/reactor.h"
#include "core/tls.h"
#include "core/tls_client.h"
#include "core/tls_clients.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/made.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>

#include <cmocka.h>

static struct made authority, site;

static struct scene {
    struct reactor *reactor;
    struct links links;
    struct link *link;
    int listener;
    uint16_t port;
    struct tls_context *context;
    struct tls_pool *pool;
    struct transport server; /* fd -1: nobody is connected */
    bool is_plain;           /* the server waits with TLS until the test begins it */
    char seen[256];          /* content that the server has received, with a NUL */
    int opened, error, calls;
    const char *to_send; /* on_open sends it */
    bool wants;          /* and wants to read */
} scene;

static struct tls_client_settings settings;
static struct link_tls tls;

static void on_open(void *arg, int error)
{
    assert_ptr_equal(arg, &scene);
    scene.opened++;
    scene.error = error;
    if (error == 0 && scene.to_send != NULL) {
        ssize_t len = (ssize_t)strlen(scene.to_send);
        assert_int_equal(link_send(scene.link, scene.to_send, (size_t)len), len);
    }
    if (error == 0 && scene.wants) {
        assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    }
}

static void on_ready(void *arg, unsigned events)
{
    assert_ptr_equal(arg, &scene);
    assert_int_equal(events, REACTOR_READABLE);
    scene.calls++;
}

static const struct link_user user = {.on_open = on_open, .on_ready = on_ready};

static void server_hangs_up(void)
{
    if (scene.server.fd >= 0) {
        transport_end(&scene.server);
        transport_shut(&scene.server, true);
        close(scene.server.fd);
        scene.server.fd = -1;
    }
}

/* Without memory the server hangs up. */
static void begin_server_tls(void)
{
    struct tls_opening opening = {.context = scene.context, .pool = scene.pool};
    if (transport_open(&scene.server, &tls_transport_ops, &opening, scene.server.fd, AF_INET) < 0) {
        transport_shut(&scene.server, true);
        close(scene.server.fd);
        scene.server = (struct transport){.fd = -1};
    }
}

static void serve_once(void)
{
    if (scene.server.fd < 0) {
        int fd = accept4(scene.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        assert_int_equal(transport_open(&scene.server, NULL, NULL, fd, AF_INET), 0);
        if (!scene.is_plain) {
            begin_server_tls();
        }
    }
    char block[128];
    if (scene.server.fd < 0) {
        return;
    }
    ssize_t got = transport_recv(&scene.server, block, sizeof block - 1);
    if (got > 0) {
        block[got] = '\0';
        strncat(scene.seen, block, sizeof scene.seen - strlen(scene.seen) - 1);
    }
    (void)transport_interest(&scene.server, REACTOR_READABLE, true, true);
}

/* Turns of both sides, until *count is wanted. */
static void run_until(const int *count, int wanted)
{
    for (int i = 0; i < 400 && *count < wanted; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
        serve_once();
    }
    assert_int_equal(*count, wanted);
}

static void run_on(void)
{
    for (int i = 0; i < 6; i++) {
        assert_true(reactor_run_once(scene.reactor, 1) >= 0);
        serve_once();
    }
}

static int set_up(void **state)
{
    (void)state;
    char err[512];
    scene = (struct scene){.server.fd = -1};
    settings = (struct tls_client_settings){.ca_pem = authority.cert_pem};
    tls = (struct link_tls){.settings = &settings, .server_name = "site.example"};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    scene.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(scene.listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(scene.listener, 8) < 0 ||
        getsockname(scene.listener, (struct sockaddr *)&address, &len) < 0 ||
        reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    scene.port = ntohs(address.sin_port);
    scene.links.reactor = scene.reactor;
    const struct tls_settings server = {0};
    const struct tls_certificate certificate = {.cert_pem = site.cert_pem, .key_pem = site.key_pem};
    if (tls_context_create(&scene.context, &server, NULL, 0, NULL, err, sizeof err) < 0 ||
        tls_context_add(scene.context, &certificate, err, sizeof err) < 0 ||
        tls_context_finish(scene.context, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    scene.pool = tls_pool_create(NULL);
    return scene.pool == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    link_close(scene.link);
    server_hangs_up();
    tls_clients_destroy(scene.links.tls);
    tls_context_put(scene.context);
    tls_pool_destroy(scene.pool);
    reactor_destroy(scene.reactor);
    close(scene.listener);
    return scene.links.count == 0 && fake_mem_live() == 0 && ERR_peek_error() == 0 ? 0 : -1;
}

static int begin_link(char err[512])
{
    const struct link_target target = {.host = "127.0.0.1", .port = scene.port, .tls = scene.is_plain ? NULL : &tls};
    return link_open(&scene.link, &scene.links, &target, &user, &scene, err, 512);
}

static void open_link(void)
{
    char err[512];
    if (begin_link(err) < 0) {
        fail_msg("%s", err);
    }
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, 0);
    assert_int_equal(link_stage(scene.link), LINK_OPEN);
}

static void link_opens_when_the_handshake_is_over(void **state)
{
    (void)state;
    char block[16];
    struct tls_info info;
    scene.to_send = "hello";
    scene.wants = true;
    open_link();
    assert_true(tls_client_get_info(link_transport(scene.link), &info));
    assert_string_equal(info.client_subject, "CN=site.example");
    run_on();
    assert_string_equal(scene.seen, "hello");
    assert_int_equal(scene.calls <= 1, 1); /* for tickets, of which there is nothing to read */
    assert_int_equal(link_recv(scene.link, block, sizeof block), -EAGAIN);
    scene.calls = 0;
    assert_int_equal(link_want(scene.link, REACTOR_READABLE), 0);
    assert_int_equal(transport_send(&scene.server, "world", 5, false), 5);
    run_until(&scene.calls, 1);
    assert_int_equal(link_recv(scene.link, block, sizeof block), 5);
    assert_memory_equal(block, "world", 5);
}

static void last_words_go_out_without_content(void **state)
{
    (void)state;
    open_link();
    run_on();
    assert_false(scene.server.is_opening);
}

static void link_that_is_kept_outlives_the_tickets(void **state)
{
    (void)state;
    unsigned reused;
    struct kept_links kept = {.reactor = scene.reactor};
    scene.to_send = "hello";
    open_link();
    assert_int_equal(kept_links_put(&kept, "name", 4, scene.link, 0, 1000, 2), 0);
    scene.link = NULL;
    run_on();
    assert_string_equal(scene.seen, "hello");
    assert_int_equal(kept.count, 1);
    struct link *link = kept_links_take(&kept, "name", 4, &reused);
    assert_non_null(link);
    assert_int_equal(kept_links_put(&kept, "name", 4, link, reused, 1000, 2), 0);
    server_hangs_up();
    for (int i = 0; i < 50 && kept.count > 0; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
    }
    assert_int_equal(kept.count, 0);
    kept_links_done(&kept);
}

static void second_link_resumes_the_session(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tls_info info;
        scene.opened = 0;
        scene.seen[0] = '\0';
        open_link();
        assert_true(tls_client_get_info(link_transport(scene.link), &info));
        assert_int_equal(info.is_resumed, i == 1);
        run_on();
        char byte;
        assert_int_equal(link_recv(scene.link, &byte, 1), -EAGAIN); /* the tickets */
        link_close(scene.link);
        scene.link = NULL;
        server_hangs_up();
    }
}

static void certificate_of_somebody_else_fails_in_the_handshake(void **state)
{
    (void)state;
    char err[512];
    tls.server_name = "other.example";
    assert_int_equal(begin_link(err), 0);
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, -EPROTO);
    assert_int_equal(link_stage(scene.link), LINK_SHAKING_HANDS);
    assert_string_equal(link_failure(scene.link),
                        "the server's certificate is not for other.example, but for 127.0.0.1, site.example");
    link_close(scene.link);
    scene.link = NULL;
    server_hangs_up();
    tls.server_name = NULL; /* the address then */
    scene.opened = 0;
    open_link();
}

static void server_that_leaves_in_the_handshake_is_told(void **state)
{
    (void)state;
    char err[512];
    assert_int_equal(begin_link(err), 0);
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
        fd = accept4(scene.listener, NULL, NULL, SOCK_CLOEXEC);
    }
    assert_true(fd >= 0);
    close(fd); /* which resets the connection if hello was there */
    for (int i = 0; i < 100 && scene.opened == 0; i++) {
        assert_true(reactor_run_once(scene.reactor, 2) >= 0);
    }
    assert_int_equal(scene.opened, 1);
    assert_true(scene.error == -ECONNRESET || scene.error == -ECONNABORTED || scene.error == -EPIPE);
    assert_int_equal(link_stage(scene.link), LINK_SHAKING_HANDS);
    assert_true(strlen(link_failure(scene.link)) > 0);
}

static void settings_that_cannot_be_are_told_at_once(void **state)
{
    (void)state;
    char err[512];
    settings.min_version = "2";
    assert_int_equal(begin_link(err), -EINVAL);
    assert_string_equal(err, "TLS min_version \"2\": 1.2 and 1.3 are possible");
    settings.min_version = NULL;
    tls.server_name = "not a name";
    assert_int_equal(begin_link(err), -EINVAL);
    assert_string_equal(err,
                        "\"not a name\" cannot be the name of a server with TLS, which is in ASCII, without blanks "
                        "(names in other scripts begin with \"xn--\")");
    assert_int_equal(scene.links.count, 0);
}

static void tls_begins_on_an_open_link(void **state)
{
    (void)state;
    char err[512];
    scene.is_plain = true;
    open_link();
    run_on();
    begin_server_tls();
    tls.server_name = NULL;
    assert_int_equal(link_start_tls(scene.link, &tls, err, sizeof err), -EINVAL);
    assert_string_equal(err, "TLS needs the name that the server's certificate must have (server_name)");
    tls.server_name = "site.example";
    scene.opened = 0;
    scene.to_send = "secret";
    assert_int_equal(link_start_tls(scene.link, &tls, err, sizeof err), 0);
    assert_int_equal(scene.opened, 0);
    run_until(&scene.opened, 1);
    assert_int_equal(scene.error, 0);
    run_on();
    assert_string_equal(scene.seen, "secret");
    assert_int_equal(link_start_tls(scene.link, &tls, err, sizeof err), -EALREADY);
}

static void more_than_the_consent_keeps_tls_from_beginning(void **state)
{
    (void)state;
    char err[512];
    scene.is_plain = true;
    open_link();
    run_on();
    assert_int_equal(transport_send(&scene.server, "+OK\r\n", 5, false), 5);
    run_on();
    assert_int_equal(link_start_tls(scene.link, &tls, err, sizeof err), -EPROTO);
    assert_string_equal(err, "the server has sent more in plain text than its consent to TLS");
}

static void failing_memory_ends_in_order(void **state)
{
    (void)state;
    bool is_whole = false;
    for (uint64_t n = 1; !is_whole; n++) {
        char err[512];
        assert_true(n < 1000);
        scene.opened = 0;
        scene.error = -1;
        fake_mem_fail_after(n, false);
        int rv = begin_link(err);
        for (int i = 0; rv == 0 && i < 400 && scene.opened == 0; i++) {
            assert_true(reactor_run_once(scene.reactor, 1) >= 0);
            serve_once();
        }
        fake_mem_fail_after(0, false);
        is_whole = rv == 0 && scene.error == 0 && n > 60;
        link_close(scene.link);
        scene.link = NULL;
        server_hangs_up();
        tls_clients_destroy(scene.links.tls);
        scene.links.tls = NULL;
        while (scene.server.fd < 0) { /* whoever has connected, and was not accepted yet */
            int fd = accept4(scene.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                break;
            }
            close(fd);
        }
    }
}

int main(void)
{
    made_create(&authority, KEY_EC, "An authority", NULL);
    made_create(&site, KEY_EC, "site.example,IP:127.0.0.1", &authority);
#define LINK_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        LINK_TEST(link_opens_when_the_handshake_is_over),
        LINK_TEST(last_words_go_out_without_content),
        LINK_TEST(link_that_is_kept_outlives_the_tickets),
        LINK_TEST(second_link_resumes_the_session),
        LINK_TEST(certificate_of_somebody_else_fails_in_the_handshake),
        LINK_TEST(server_that_leaves_in_the_handshake_is_told),
        LINK_TEST(settings_that_cannot_be_are_told_at_once),
        LINK_TEST(tls_begins_on_an_open_link),
        LINK_TEST(more_than_the_consent_keeps_tls_from_beginning),
        LINK_TEST(failing_memory_ends_in_order),
    };
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    made_done(&authority);
    made_done(&site);
    made_keys_free();
    return rv;
}
