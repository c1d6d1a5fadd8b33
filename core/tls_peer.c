/* Happy path: the client's certificate is read once, when somebody asks.
 *
 * Failure modes: a subject that is too long is cut. Without memory nothing is kept, and the next one who asks has it
 * read again: half a subject could be somebody else's. */

#include "core/tls_peer.h"

#include "core/mem.h"
#include "core/tls_info.h"
#include "core/tls_openssl.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { SUBJECT_MAX = 512, PEER_ALPN_MAX = 256, FINGERPRINT_DIGITS = 64 };

struct tls_peer {
    char subject[SUBJECT_MAX];                /* RFC 4514; "" without a certificate */
    char fingerprint[FINGERPRINT_DIGITS + 1]; /* "" likewise */
    char alpn[PEER_ALPN_MAX];                 /* with a NUL, which OpenSSL's has not */
};

static bool read_subject(struct tls_peer *peer, const X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL || X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                                          XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) {
        BIO_free(bio);
        return false;
    }
    int len = BIO_read(bio, peer->subject, SUBJECT_MAX - 1);
    peer->subject[len < 0 ? 0 : len] = '\0';
    BIO_free(bio);
    return true;
}

static bool read_fingerprint(struct tls_peer *peer, const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1) {
        return false;
    }
    for (unsigned int i = 0; i < len && 2 * i < FINGERPRINT_DIGITS; i++) {
        snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
    }
    return true;
}

struct tls_peer *tls_peer_create(const struct ssl_st *ssl)
{
    struct tls_peer *peer = mem_zalloc(sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    bool is_verified = certificate != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
    if (is_verified && (!read_subject(peer, certificate) || !read_fingerprint(peer, certificate))) {
        mem_free(peer);
        return NULL;
    }
    const unsigned char *alpn;
    unsigned int len;
    SSL_get0_alpn_selected(ssl, &alpn, &len);
    if (len < PEER_ALPN_MAX) {
        memcpy(peer->alpn, len == 0 ? (const void *)"" : alpn, len);
    }
    return peer;
}

void tls_peer_destroy(struct tls_peer *peer)
{
    mem_free(peer);
}

void tls_peer_info(const struct tls_peer *peer, const struct ssl_st *ssl, struct tls_info *info)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    *info = (struct tls_info){
        .version = SSL_get_version(ssl),
        .cipher = SSL_get_cipher_name(ssl),
        .server_name = name == NULL ? "" : name,
        .alpn = peer == NULL ? "" : peer->alpn,
        .client_subject = peer == NULL ? "" : peer->subject,
        .client_fingerprint = peer == NULL ? "" : peer->fingerprint,
        .is_resumed = SSL_session_reused(ssl) == 1,
    };
}

#endif
