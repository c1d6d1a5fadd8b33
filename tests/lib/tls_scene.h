#ifndef EVSERVE_TESTS_TLS_SCENE_H
#define EVSERVE_TESTS_TLS_SCENE_H

/* What the tests of TLS share: certificates made by OpenSSL, and a client of OpenSSL at the other end of a fake peer. */

#include "tests/lib/fake_sys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

enum key_kind { KEY_EC, KEY_RSA, KEY_KINDS };

enum { MADE_PEM_MAX = 8192 };

/* A certificate and its key. */
struct made {
    X509 *cert;
    EVP_PKEY *key; /* borrowed: there is one of each kind, since RSA keys take long to make */
    char cert_pem[MADE_PEM_MAX];
    char key_pem[MADE_PEM_MAX];
};

/* Make a certificate of the given kind for names, with commas between them ("IP:127.0.0.1" for an address; NULL for
 * none, only the common name "someone"), valid from 1990 to 2040, signed by issuer, or by itself with NULL. */
void made_create(struct made *made, enum key_kind kind, const char *names, const struct made *issuer);

/* The same, signed by itself, valid from one time to another: seconds since the epoch; and one that has expired. */
void made_create_valid(struct made *made, enum key_kind kind, const char *names, int64_t from_s, int64_t to_s);
void made_create_expired(struct made *made, enum key_kind kind, const char *names, const struct made *issuer);
void made_done(struct made *made);

/* Free the keys, after the last test. */
void made_keys_free(void);

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
