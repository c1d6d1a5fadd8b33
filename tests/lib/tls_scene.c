#include "tests/lib/tls_scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <openssl/err.h>

#include <cmocka.h>

enum { CLIENT_STEPS_MAX = 200000 };

/* Clients. */

void tls_client_init(struct tls_client *client, int version, void (*step)(void))
{
    memset(client, 0, sizeof *client);
    client->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client->ctx);
    SSL_CTX_set_min_proto_version(client->ctx, version);
    SSL_CTX_set_max_proto_version(client->ctx, version);
    client->step = step;
}

void tls_client_connect(struct tls_client *client, struct fake_peer *peer, const char *server_name)
{
    client->peer = peer;
    client->ssl = SSL_new(client->ctx);
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client->ssl);
    client->input_len = 0;
    client->has_close_notify = client->has_failed = false;
    if (server_name != NULL) {
        SSL_set_tlsext_host_name(client->ssl, (char *)(uintptr_t)server_name);
    }
}

void tls_client_hang_up(struct tls_client *client)
{
    if (client->ssl != NULL) {
        SSL_set_shutdown(client->ssl,
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session is not for resuming */
    }
    SSL_free(client->ssl);
    client->ssl = NULL;
}

void tls_client_done(struct tls_client *client)
{
    tls_client_hang_up(client);
    SSL_CTX_free(client->ctx);
    client->ctx = NULL;
}

static bool take_output(struct tls_client *client)
{
    size_t len;
    const char *data = fake_peer_output(client->peer, &len);
    if (len > 0) {
        BIO_write(SSL_get_rbio(client->ssl), data, (int)len);
        fake_peer_forget_output(client->peer);
    }
    return len > 0;
}

static bool give_input(struct tls_client *client)
{
    static char data[1 << 20];
    int len = BIO_read(SSL_get_wbio(client->ssl), data, (int)sizeof data);
    for (int at = 0; at < len;) {
        int piece = client->piece == 0 || (int)client->piece > len - at ? len - at : (int)client->piece;
        fake_peer_send(client->peer, data + at, (size_t)piece);
        client->step();
        at += piece;
    }
    return len > 0;
}

static void read_content(struct tls_client *client)
{
    int got;
    do {
        int room = (int)(sizeof client->input - 1 - client->input_len);
        got = room == 0 ? 0 : SSL_read(client->ssl, client->input + client->input_len, room);
        client->input_len += got > 0 ? (size_t)got : 0;
        client->input[client->input_len] = '\0';
        if (got <= 0 && !client->has_failed) {
            int error = SSL_get_error(client->ssl, got);
            client->has_close_notify = client->has_close_notify || error == SSL_ERROR_ZERO_RETURN;
            client->has_failed = error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
        }
    } while (got > 0);
    ERR_clear_error();
}

void tls_client_run(struct tls_client *client)
{
    for (int i = 0, quiet = 0; quiet < 3; i++) {
        assert_true(i < CLIENT_STEPS_MAX);
        if (!client->has_failed) {
            read_content(client);
        }
        bool has_moved = give_input(client);
        if (!has_moved) {
            client->step();
        }
        has_moved = take_output(client) || has_moved;
        quiet = has_moved ? 0 : quiet + 1;
    }
}

void tls_client_say(struct tls_client *client, const char *content)
{
    assert_int_equal(SSL_write(client->ssl, content, (int)strlen(content)), (int)strlen(content));
    tls_client_run(client);
}

const char *tls_client_saw(const struct tls_client *client)
{
    static char name[256];
    X509 *cert = SSL_get0_peer_certificate(client->ssl);
    name[0] = '\0';
    if (cert != NULL) {
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, (int)sizeof name);
    }
    return name;
}
