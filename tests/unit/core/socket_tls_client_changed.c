/* TLS to another server, with somebody on the way who changes what the server sends, cuts it off, or puts bytes in
 * front of it: nothing that the server has not sent is ever taken for content, and a failure has its words. */

#include "core/tls.h"
#include "core/tls_client.h"
#include "core/tls_clients.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/made.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

#include <cmocka.h>

enum { PLACES = 120, TURNS = 16 };

static struct made authority, site;
static struct tls_context *served;
static struct tls_pool *served_pool;
static struct tls_clients *clients;
static struct tls_client_settings settings;

/* What is done to the byte at a place of the server's stream. */
enum deed { NOTHING, CHANGE, CUT, INSERT };

static struct way {
    enum deed deed;
    size_t place;
    unsigned char mask;
    size_t passed; /* bytes of the stream so far */
    bool is_cut;
} way;

struct talk {
    struct transport server, client;
    int server_end, client_end; /* of whoever is on the way */
    char came[64];              /* content for the client */
    size_t came_len;
    int error; /* of the client, or 0 */
};

/* Pass bytes of the server on, as the way wants it. */
static void pass_to_client(const struct talk *talk)
{
    char data[16384], passed[sizeof data + 1];
    size_t used = 0;
    ssize_t len = recv(talk->server_end, data, sizeof data, MSG_DONTWAIT);
    for (ssize_t i = 0; i < len; i++, way.passed++) {
        bool is_there = way.passed == way.place;
        if (is_there && way.deed == CHANGE) {
            data[i] = (char)(data[i] ^ way.mask);
        } else if (is_there && way.deed == INSERT) {
            passed[used++] = (char)way.mask;
        }
        way.is_cut = way.is_cut || (is_there && way.deed == CUT);
        if (!way.is_cut) {
            passed[used++] = data[i];
        }
    }
    if (used > 0) {
        assert_int_equal(send(talk->client_end, passed, used, MSG_DONTWAIT | MSG_NOSIGNAL), used);
    }
    if (way.is_cut) {
        shutdown(talk->client_end, SHUT_WR);
    }
}

static void pass_to_server(const struct talk *talk)
{
    char data[16384];
    ssize_t len = recv(talk->client_end, data, sizeof data, MSG_DONTWAIT);
    if (len > 0) {
        assert_int_equal(send(talk->server_end, data, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL), len);
    }
}

static void turn_client(struct talk *talk)
{
    if (talk->error < 0) {
        return;
    }
    if (talk->client.is_opening) {
        talk->error = tls_client_shake_hands(&talk->client);
        if (talk->error == 0) {
            assert_int_equal(transport_send(&talk->client, "hello", 5, false), 5);
        }
    } else {
        size_t room = sizeof talk->came - talk->came_len;
        ssize_t got = transport_recv(&talk->client, talk->came + talk->came_len, room);
        talk->came_len += got > 0 ? (size_t)got : 0;
        talk->error = got < 0 ? (int)got : got == 0 ? -EPIPE : 0;
    }
    talk->error = talk->error == -EAGAIN ? 0 : talk->error;
    (void)transport_interest(&talk->client, REACTOR_READABLE, true, true);
    assert_int_equal(ERR_peek_error(), 0);
}

static void turn_server(struct talk *talk)
{
    char block[256];
    ssize_t got = transport_recv(&talk->server, block, sizeof block);
    if (got == 5) {
        (void)transport_send(&talk->server, "world", 5, false);
    }
    (void)transport_interest(&talk->server, REACTOR_READABLE, true, true);
}

static void open_talk(struct talk *talk)
{
    char err[512];
    int fds[2];
    *talk = (struct talk){.error = 0};
    struct tls_client_context *context;
    assert_int_equal(tls_clients_get(clients, &settings, &context, err, sizeof err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    talk->server_end = fds[1];
    struct tls_opening opening = {.context = served, .pool = served_pool};
    assert_int_equal(transport_open(&talk->server, &tls_transport_ops, &opening, fds[0], AF_UNIX), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    talk->client_end = fds[1];
    const struct tls_client_opening call = {.context = context,
                                            .pool = tls_clients_pool(clients),
                                            .server_name = "site.example",
                                            .peer = NULL};
    assert_int_equal(transport_open(&talk->client, &tls_client_ops, (void *)(uintptr_t)&call, fds[0], AF_UNIX), 0);
}

/* One connection with something done to it. Returns the bytes that the server has sent. */
static size_t play(enum deed deed, size_t place, unsigned char mask)
{
    struct talk talk;
    way = (struct way){.deed = deed, .place = place, .mask = mask};
    open_talk(&talk);
    for (int i = 0; i < TURNS; i++) {
        pass_to_server(&talk);
        turn_server(&talk);
        pass_to_client(&talk);
        turn_client(&talk);
    }
    assert_true(talk.came_len <= 5 && memcmp(talk.came, "world", talk.came_len) == 0);
    if (deed == NOTHING) {
        assert_int_equal(talk.came_len, 5);
    }
    if (talk.error == -EPROTO || talk.error == -ECONNABORTED) {
        assert_true(strlen(transport_failure(&talk.client)) > 0);
        char byte;
        assert_int_equal(transport_recv(&talk.client, &byte, 1), talk.error); /* a failure stays */
        assert_int_equal(transport_send(&talk.client, "x", 1, false), talk.error);
    }
    if (deed == CUT) {
        assert_true(talk.error < 0);
    }
    transport_shut(&talk.server, false);
    transport_shut(&talk.client, false);
    close(talk.server.fd);
    close(talk.client.fd);
    close(talk.server_end);
    close(talk.client_end);
    return way.passed;
}

static void play_places(enum deed deed)
{
    size_t len = play(NOTHING, 0, 0);
    for (size_t i = 0; i < PLACES; i++) {
        (void)play(deed, i * len / PLACES, (unsigned char)(1U << (i % 8)));
    }
}

static void changed_bytes_are_never_content(void **state)
{
    (void)state;
    play_places(CHANGE);
}

static void cut_streams_are_failures(void **state)
{
    (void)state;
    play_places(CUT);
}

static void inserted_bytes_are_never_content(void **state)
{
    (void)state;
    play_places(INSERT);
}

static int set_up(void **state)
{
    (void)state;
    char err[512];
    const struct tls_settings none = {0};
    const struct tls_certificate certificate = {.cert_pem = site.cert_pem, .key_pem = site.key_pem};
    settings = (struct tls_client_settings){.ca_pem = authority.cert_pem};
    served_pool = NULL;
    if (tls_context_create(&served, &none, NULL, 0, NULL, err, sizeof err) < 0 ||
        tls_context_add(served, &certificate, err, sizeof err) < 0 || tls_context_finish(served, err, sizeof err) < 0 ||
        tls_clients_create(&clients, NULL, err, sizeof err) < 0) {
        return -1;
    }
    served_pool = tls_pool_create(NULL);
    return served_pool == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_clients_destroy(clients);
    tls_pool_destroy(served_pool);
    tls_context_put(served);
    return fake_mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    made_create(&authority, KEY_EC, "An authority", NULL);
    made_create(&site, KEY_EC, "site.example", &authority);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changed_bytes_are_never_content, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_streams_are_failures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(inserted_bytes_are_never_content, set_up, tear_down),
    };
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    made_done(&authority);
    made_done(&site);
    made_keys_free();
    return rv;
}
