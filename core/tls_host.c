/* Happy path: the set of certificates is settled first; then a ctx gets all of them, and the authorities that clients'
 * certificates are checked against.
 *
 * Failure mode: no memory. What OpenSSL refuses for other reasons was refused when it was read. */

#include "core/tls_host.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_certificate.h"
#include "core/tls_openssl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum {
    HOST_CERTIFICATES_MAX = 12, /* OpenSSL has fewer kinds of keys: RSA, RSA-PSS, ECDSA, Ed25519, Ed448, DSA, ... */
    HOST_RULES_BYTES = 32,
};

struct tls_host {
    SSL_CTX *ctx;                                           /* owned; NULL before tls_host_open() */
    struct tls_identity *identities[HOST_CERTIFICATES_MAX]; /* count of them, one reference each */
    int count;
    bool asks_clients;                     /* clients are asked for certificates */
    unsigned char rules[HOST_RULES_BYTES]; /* SHA-256 of how: of the authorities, and whether they may do without */
};

struct tls_host *tls_host_create(const struct tls_host *other, struct tls_identity *identity)
{
    struct tls_host *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    for (int i = 0; other != NULL && i < other->count; i++) {
        made->identities[made->count++] = tls_identity_ref(other->identities[i]);
    }
    assert(made->count < HOST_CERTIFICATES_MAX); /* no two of the same kind */
    made->identities[made->count++] = tls_identity_ref(identity);
    return made;
}

void tls_host_destroy(struct tls_host *host)
{
    if (host == NULL) {
        return;
    }
    for (int i = 0; i < host->count; i++) {
        tls_identity_put(host->identities[i]);
    }
    SSL_CTX_free(host->ctx);
    mem_free(host);
}

const struct tls_identity *tls_host_of_kind(const struct tls_host *host, const struct tls_identity *identity)
{
    for (int i = 0; i < host->count; i++) {
        if (tls_identity_kind(host->identities[i]) == tls_identity_kind(identity)) {
            return host->identities[i];
        }
    }
    return NULL;
}

bool tls_host_is_made_of(const struct tls_host *host, const struct tls_host *other, const struct tls_identity *identity)
{
    int count = other == NULL ? 0 : other->count;
    if (host->count != count + 1 || host->identities[count] != identity) {
        return false;
    }
    return count == 0 || memcmp(host->identities, other->identities, (size_t)count * sizeof other->identities[0]) == 0;
}

/* Returns false without memory. */
static bool add_authority(X509_STORE *store, STACK_OF(X509_NAME) * names, X509 *authority)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(authority));
    if (name == NULL || sk_X509_NAME_push(names, name) <= 0) {
        X509_NAME_free(name);
        return false;
    }
    return X509_STORE_add_cert(store, authority) == 1;
}

/* Have clients' certificates checked against these authorities. */
static int trust(SSL_CTX *ctx, const STACK_OF(X509) * authorities, bool is_required)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    bool is_whole = store != NULL && names != NULL;
    for (int i = 0; i < sk_X509_num(authorities) && is_whole; i++) {
        is_whole = add_authority(store, names, sk_X509_value(authorities, i));
    }
    is_whole = is_whole && SSL_CTX_set1_verify_cert_store(ctx, store) == 1;
    if (is_whole) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN); /* an authority may itself be signed by another */
        SSL_CTX_set_client_CA_list(ctx, names);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    } else {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
    }
    X509_STORE_free(store);
    return is_whole ? 0 : -ENOMEM;
}

/* What is asked of clients, as a digest. It stays the same over a reload that does not change it. */
static int digest_rules(unsigned char rules[HOST_RULES_BYTES], const STACK_OF(X509) * authorities, bool is_required)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    bool is_whole = sum != NULL && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1 &&
                    EVP_DigestUpdate(sum, is_required ? "1" : "0", 1) == 1;
    for (int i = 0; authorities != NULL && i < sk_X509_num(authorities) && is_whole; i++) {
        is_whole = X509_digest(sk_X509_value(authorities, i), EVP_sha256(), digest, &len) == 1 &&
                   EVP_DigestUpdate(sum, digest, len) == 1;
    }
    is_whole = is_whole && EVP_DigestFinal_ex(sum, digest, &len) == 1 && len == HOST_RULES_BYTES;
    EVP_MD_CTX_free(sum);
    if (is_whole) {
        memcpy(rules, digest, HOST_RULES_BYTES);
    }
    return is_whole ? 0 : -ENOMEM;
}

/* Sessions are resumed only where the same is asked of the client, under the same names. */
static int bind_sessions(const struct tls_host *host, const char *names)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    bool is_whole = sum != NULL && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1 &&
                    EVP_DigestUpdate(sum, names, strlen(names) + 1) == 1 &&
                    EVP_DigestUpdate(sum, host->rules, HOST_RULES_BYTES) == 1 &&
                    EVP_DigestFinal_ex(sum, digest, &len) == 1 &&
                    SSL_CTX_set_session_id_context(host->ctx, digest, len) == 1;
    EVP_MD_CTX_free(sum);
    return is_whole ? 0 : -ENOMEM;
}

/* The authorities of clients, and whether a client may come without a certificate. */
static const STACK_OF(X509) * authorities_of(const struct tls_host *host, bool *is_required)
{
    const STACK_OF(X509) *authorities = NULL;
    *is_required = false;
    for (int i = 0; i < host->count; i++) {
        const struct tls_identity *identity = host->identities[i];
        if (identity->authorities != NULL) {
            authorities = authorities == NULL ? identity->authorities : authorities;
            *is_required = *is_required || !identity->is_client_optional;
        }
    }
    return authorities;
}

int tls_host_open(struct tls_host *host, struct ssl_ctx_st *ctx, const char *names, char *err, size_t errlen)
{
    bool is_required;
    const STACK_OF(X509) *authorities = authorities_of(host, &is_required);
    host->ctx = ctx;
    host->asks_clients = authorities != NULL;
    for (int i = 0; i < host->count; i++) {
        int rv = tls_identity_use(host->identities[i], ctx, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    int rv = authorities == NULL ? 0 : trust(ctx, authorities, is_required);
    rv = rv < 0 ? rv : digest_rules(host->rules, authorities, is_required);
    rv = rv < 0 ? rv : bind_sessions(host, names);
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

struct ssl_ctx_st *tls_host_ctx(const struct tls_host *host)
{
    return host->ctx;
}

bool tls_host_asks_clients(const struct tls_host *host)
{
    return host->asks_clients;
}

bool tls_host_has_rules_of(const struct tls_host *host, const struct tls_host *other)
{
    return memcmp(host->rules, other->rules, HOST_RULES_BYTES) == 0;
}

#endif
