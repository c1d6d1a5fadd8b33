#ifndef EVSERVE_TESTS_MADE_H
#define EVSERVE_TESTS_MADE_H

/* Certificates for tests, made by OpenSSL. */

#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

enum key_kind { KEY_EC, KEY_RSA, KEY_RSA_PSS, KEY_ED25519, KEY_ED448, KEY_KINDS };

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

#endif
