/* A client of OpenSSL between two blocks of memory: what it says is cut into segments of the fake peer. */

#include "tests/wire/wire_tls.h"

#ifdef EVSERVE_HAS_TLS
#include "core/tls_context.h"
#include "http/server.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/tls_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

enum { FLIGHTS_MAX = 10, CONTENT_MAX = 1 << 20, WIRE_MAX = 2 << 20 };

static struct made made;
static struct tls_context *context;
static SSL_CTX *client_ctx;
static SSL_SESSION *sessions[2]; /* to be resumed, of TLS 1.2 and 1.3; NULL before the first handshake */
static SSL *ssl;                 /* of the client */
static struct fake_peer *peer;
static char content[CONTENT_MAX + 1];
static size_t content_len;
static bool has_closed; /* the server has said close_notify */

static int keep_session(SSL *of, SSL_SESSION *given)
{
    SSL_SESSION **kept = &sessions[SSL_version(of) == TLS1_3_VERSION];
    SSL_SESSION_free(*kept);
    *kept = given;
    return 1;
}

bool wire_tls_begin(void)
{
    const struct tls_settings settings = {0};
    char err[256] = "";
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* an assertion of the scene's is one here, too */
    made_create(&made, KEY_EC, "example.org", NULL);
    const struct tls_certificate certificate = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    client_ctx = SSL_CTX_new(TLS_client_method());
    if (client_ctx == NULL || tls_context_create(&context, &settings, NULL, 0, NULL, err, sizeof err) < 0 ||
        tls_context_add(context, &certificate, err, sizeof err) < 0 ||
        tls_context_finish(context, err, sizeof err) < 0) {
        fprintf(stderr, "%s\n", err);
        return false;
    }
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(client_ctx, keep_session);
    return true;
}

void wire_tls_done(void)
{
    SSL_SESSION_free(sessions[0]);
    SSL_SESSION_free(sessions[1]);
    SSL_CTX_free(client_ctx);
    tls_context_put(context);
    made_done(&made);
    made_keys_free();
}

int wire_tls_listen(struct server *server, char *err, size_t errlen)
{
    int rv = server_set_tls(server, context);
    rv = rv < 0 ? rv : server_listen_tls(server, "127.0.0.1:0", false, err, errlen);
    return rv < 0 ? rv : fake_sys_listener_fd();
}

void wire_tls_send(size_t segment)
{
    static char wire[WIRE_MAX];
    int len = BIO_read(SSL_get_wbio(ssl), wire, WIRE_MAX);
    if (len > 0) {
        fake_peer_send_in_pieces(peer, wire, (size_t)len, segment == 0 ? (size_t)len : segment);
    }
}

/* What has come from the server, into the session. Returns whether there was something. */
static bool take_made(void)
{
    size_t len;
    const char *wire = fake_peer_output(peer, &len);
    if (len > 0) {
        BIO_write(SSL_get_rbio(ssl), wire, (int)len);
        fake_peer_forget_output(peer);
    }
    return len > 0;
}

/* Decrypt what is there. */
static void read_content(void)
{
    int got;
    do {
        got = SSL_read(ssl, content + content_len, (int)(CONTENT_MAX - content_len));
        content_len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    has_closed = has_closed || SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
}

bool wire_tls_connect(struct fake_peer *to, bool is_1_3, bool (*settle)(void *arg), void *arg)
{
    peer = to;
    ssl = SSL_new(client_ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl);
    SSL_set_max_proto_version(ssl, is_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (sessions[is_1_3] != NULL) {
        SSL_set_session(ssl, sessions[is_1_3]);
    }
    content_len = 0;
    has_closed = false;
    for (int i = 0; i < FLIGHTS_MAX; i++) {
        int rv = SSL_do_handshake(ssl);
        wire_tls_send(0);
        if (!settle(arg)) {
            return false;
        }
        if (!take_made() && rv == 1) {
            break;
        }
    }
    read_content(); /* tickets */
    return SSL_is_init_finished(ssl) != 0;
}

void wire_tls_write(const char *data, size_t len)
{
    SSL_write(ssl, data, (int)len);
}

void wire_tls_end(void)
{
    SSL_shutdown(ssl);
    wire_tls_send(0);
}

const char *wire_tls_output(size_t *len, bool *has_close_notify)
{
    take_made();
    read_content();
    content[content_len] = '\0';
    *len = content_len;
    *has_close_notify = has_closed;
    return content;
}

void wire_tls_disconnect(void)
{
    if (ssl != NULL) {
        SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session is not for resuming */
        SSL_free(ssl);
        ssl = NULL;
    }
}

#else

bool wire_tls_begin(void)
{
    return false;
}

void wire_tls_done(void)
{
}

int wire_tls_listen(struct server *server, char *err, size_t errlen)
{
    (void)server;
    (void)err;
    (void)errlen;
    return -1;
}

bool wire_tls_connect(struct fake_peer *peer, bool is_1_3, bool (*settle)(void *arg), void *arg)
{
    (void)peer;
    (void)is_1_3;
    (void)settle;
    (void)arg;
    return false;
}

void wire_tls_write(const char *data, size_t len)
{
    (void)data;
    (void)len;
}

void wire_tls_send(size_t segment)
{
    (void)segment;
}

void wire_tls_end(void)
{
}

const char *wire_tls_output(size_t *len, bool *has_close_notify)
{
    (void)len;
    (void)has_close_notify;
    return "";
}

void wire_tls_disconnect(void)
{
}

#endif
