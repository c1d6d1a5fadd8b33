/* Happy path: a ctx with one certificate, perhaps with a second one of another kind of key, and with the authorities
 * that clients' certificates are checked against.
 *
 * Failure mode: OpenSSL refuses a certificate, for example since its key is too short for the security level of the
 * system. */

#include "core/tls_host.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/tls_openssl.h"
#include "core/tls_reason.h"

#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { HOST_CERTIFICATES_MAX = 4 }; /* kinds of keys: ECDSA, RSA, Ed25519, Ed448 */

struct tls_host {
    SSL_CTX *ctx;                        /* owned */
    char *names;                         /* owned */
    char *whats[HOST_CERTIFICATES_MAX];  /* the files of its certificates, owned */
    X509 *leaves[HOST_CERTIFICATES_MAX]; /* and these, one reference each */
    int count;                           /* of whats and leaves */
};

static bool has_kind(const struct tls_host *host, int kind)
{
    for (int i = 0; i < host->count; i++) {
        if (EVP_PKEY_get_base_id(X509_get0_pubkey(host->leaves[i])) == kind) {
            return true;
        }
    }
    return false;
}

int tls_host_add(struct tls_host *host, const struct tls_identity *identity, const char *what, char *err, size_t errlen)
{
    X509 *leaf = tls_identity_leaf(identity);
    int kind = EVP_PKEY_get_base_id(identity->key);
    if (host->count == HOST_CERTIFICATES_MAX || has_kind(host, kind)) {
        return error_text(err, errlen, -EEXIST,
                          "the certificate %s is for the same names as %s, and has the same kind of key (%s)", what,
                          host->whats[0], OBJ_nid2sn(kind));
    }
    STACK_OF(X509) *chain = sk_X509_dup(identity->chain);
    (void)sk_X509_shift(chain);
    ERR_clear_error();
    bool is_used = SSL_CTX_use_cert_and_key(host->ctx, leaf, identity->key, chain, 0) == 1;
    sk_X509_free(chain);
    char *copy = is_used ? mem_copy_text(what) : NULL;
    if (!is_used) {
        unsigned long error = ERR_peek_last_error();
        const char *plain = tls_reason_plain(error);
        error_text(err, errlen, 0, "the certificate %s cannot be used: %s", what,
                   plain == NULL ? tls_reason(error) : plain);
        ERR_clear_error();
        return -EINVAL;
    }
    if (copy == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    X509_up_ref(leaf);
    host->leaves[host->count] = leaf;
    host->whats[host->count++] = copy;
    return 0;
}

/* Have clients' certificates checked against these authorities. */
static int trust(SSL_CTX *ctx, const STACK_OF(X509) * authorities, bool is_required)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    bool is_whole = store != NULL && names != NULL;
    for (int i = 0; i < sk_X509_num(authorities) && is_whole; i++) {
        X509 *authority = sk_X509_value(authorities, i);
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(authority));
        is_whole = name != NULL && sk_X509_NAME_push(names, name) > 0 && X509_STORE_add_cert(store, authority) == 1;
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

/* Sessions are resumed only where the same is asked of the client: what they are bound to is made of the names and
 * of the authorities, so it stays the same over a reload that changes neither. */
static int bind_sessions(SSL_CTX *ctx, const char *names, const STACK_OF(X509) * authorities, bool is_required)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    bool is_whole = sum != NULL && EVP_DigestInit_ex(sum, EVP_sha256(), NULL) == 1 &&
                    EVP_DigestUpdate(sum, names, strlen(names) + 1) == 1 &&
                    EVP_DigestUpdate(sum, is_required ? "1" : "0", 1) == 1;
    for (int i = 0; authorities != NULL && i < sk_X509_num(authorities) && is_whole; i++) {
        is_whole = X509_digest(sk_X509_value(authorities, i), EVP_sha256(), digest, &len) == 1 &&
                   EVP_DigestUpdate(sum, digest, len) == 1;
    }
    is_whole = is_whole && EVP_DigestFinal_ex(sum, digest, &len) == 1 &&
               SSL_CTX_set_session_id_context(ctx, digest, len) == 1;
    EVP_MD_CTX_free(sum);
    return is_whole ? 0 : -ENOMEM;
}

int tls_host_ask(struct tls_host *host, const struct tls_certificate *certificate, int base_fd, char *err,
                 size_t errlen)
{
    const struct tls_pem pem = {.what = "certificate of an authority",
                                .file = certificate->client_ca_file,
                                .text = certificate->client_ca_pem,
                                .base_fd = base_fd};
    int rv = 0;
    if (pem.file == NULL && pem.text == NULL) {
        return 0;
    }
    STACK_OF(X509) *authorities = tls_pem_certificates(&pem, &rv, err, errlen);
    if (authorities == NULL) {
        return rv;
    }
    rv = trust(host->ctx, authorities, !certificate->is_client_optional);
    rv = rv < 0 ? rv : bind_sessions(host->ctx, host->names, authorities, !certificate->is_client_optional);
    sk_X509_pop_free(authorities, X509_free);
    return rv < 0 ? error_text(err, errlen, rv, "out of memory") : 0;
}

int tls_host_create(struct tls_host **host, struct ssl_ctx_st *ctx, const char *names, char *err, size_t errlen)
{
    struct tls_host *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        SSL_CTX_free(ctx);
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    made->ctx = ctx;
    made->names = mem_copy_text(names);
    if (made->names == NULL || bind_sessions(ctx, names, NULL, false) < 0) {
        tls_host_destroy(made);
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    *host = made;
    return 0;
}

void tls_host_destroy(struct tls_host *host)
{
    if (host == NULL) {
        return;
    }
    for (int i = 0; i < host->count; i++) {
        X509_free(host->leaves[i]);
        mem_free(host->whats[i]);
    }
    SSL_CTX_free(host->ctx);
    mem_free(host->names);
    mem_free(host);
}

struct ssl_ctx_st *tls_host_ctx(const struct tls_host *host)
{
    return host->ctx;
}

const char *tls_host_names(const struct tls_host *host)
{
    return host->names;
}

void tls_host_warn(const struct tls_host *host, const struct log *log)
{
    for (int i = 0; i < host->count; i++) {
        tls_certificate_warn(host->leaves[i], host->whats[i], log);
    }
}

#endif
