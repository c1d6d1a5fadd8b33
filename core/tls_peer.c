/* Happy path: the client's certificate is read once, when somebody asks.
 *
 * Failure mode: a subject that is too long is cut. */

#include "core/tls_peer.h"

#include "core/mem.h"
#include "core/tls_info.h"
#include "core/tls_openssl.h"

#include <stdio.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

enum { SUBJECT_MAX = 512, PEER_ALPN_MAX = 256, FINGERPRINT_DIGITS = 64 };

struct tls_peer {
    char subject[SUBJECT_MAX];                /* RFC 4514; "" without a certificate */
    char fingerprint[FINGERPRINT_DIGITS + 1]; /* "" likewise */
    char alpn[PEER_ALPN_MAX];                 /* with a NUL, which OpenSSL's has not */
};

static void read_subject(struct tls_peer *peer, const X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL) {
        return;
    }
    X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
                       XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    int len = BIO_read(bio, peer->subject, SUBJECT_MAX - 1);
    peer->subject[len < 0 ? 0 : len] = '\0';
    BIO_free(bio);
}

static void read_fingerprint(struct tls_peer *peer, const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1) {
        return;
    }
    for (unsigned int i = 0; i < len && 2 * i < FINGERPRINT_DIGITS; i++) {
        snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
    }
}

struct tls_peer *tls_peer_create(const struct ssl_st *ssl)
{
    struct tls_peer *peer = mem_zalloc(sizeof *peer);
    if (peer == NULL) {
        return NULL;
    }
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate != NULL && SSL_get_verify_result(ssl) == X509_V_OK) {
        read_subject(peer, certificate);
        read_fingerprint(peer, certificate);
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

bool tls_peer_info(const struct tls_peer *peer, const struct ssl_st *ssl, struct tls_info *info)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    *info = (struct tls_info){
        .version = SSL_get_version(ssl),
        .cipher = SSL_get_cipher_name(ssl),
        .server_name = name == NULL ? "" : name,
        .alpn = peer->alpn,
        .client_subject = peer->subject,
        .client_fingerprint = peer->fingerprint,
        .is_resumed = SSL_session_reused(ssl) == 1,
    };
    return true;
}

#endif
