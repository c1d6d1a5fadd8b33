#ifndef EVSERVE_TESTS_TLS_SCENE_H
#define EVSERVE_TESTS_TLS_SCENE_H

/* What the tests of TLS share: certificates made by OpenSSL, and a client of OpenSSL at the other end of
 * a fake peer. */

#include "tests/lib/fake_sys.h"
#include "tests/lib/made.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

/* A client. */
struct tls_client {
    SSL_CTX *ctx;
    SSL *ssl;
    struct fake_peer *peer; /* the other end of the server's socket */
    size_t piece;           /* bytes of a segment that it sends; 0: all that it has in one */
    void (*step)(void);     /* called after each segment, so that the server reads */
    char input[4 << 20];    /* content that it has received, NUL-terminated */
    size_t input_len;
    bool has_close_notify; /* the server has said that it ends */
    bool has_failed;       /* the session is over */
};

/* Set the client up; after that, the test may set ctx and ssl as it needs, before tls_client_run(). It trusts whatever
 * it is shown. */
void tls_client_init(struct tls_client *client, int version, void (*step)(void));
void tls_client_connect(struct tls_client *client, struct fake_peer *peer, const char *server_name);
void tls_client_done(struct tls_client *client);
void tls_client_hang_up(struct tls_client *client); /* forget the session; ctx stays, for another connection */

/* Move bytes between client and server until nothing moves any more. */
void tls_client_run(struct tls_client *client);

/* Encrypt content, send it, and run. */
void tls_client_say(struct tls_client *client, const char *content);

/* The common name or first name of the server's certificate, as the client has seen it. */
const char *tls_client_saw(const struct tls_client *client);

#endif
