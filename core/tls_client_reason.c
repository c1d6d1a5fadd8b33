/* A table for what servers do, and a sentence for each way in which a certificate may be wrong.
 *
 * Failure modes: without memory the names of a certificate are left out. */

#include "core/tls_client_reason.h"

#include "core/tls_leaf.h"
#include "core/tls_names.h"
#include "core/tls_openssl.h"
#include "core/tls_reason.h"

#include <stdbool.h>
#include <stdio.h>

#ifdef EVSERVE_HAS_TLS

enum { DN_TEXT_MAX = 200 };

/* The text of a distinguished name, as in RFC 4514. */
static const char *dn_text(const X509_NAME *name, char text[DN_TEXT_MAX])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int len = -1;
    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        len = BIO_read(bio, text, DN_TEXT_MAX - 1);
    }
    BIO_free(bio);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static void tell_other_names(const X509 *leaf, const char *server, bool is_address, char text[TLS_CLIENT_REASON_MAX])
{
    if (X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1) < 0) {
        snprintf(text, TLS_CLIENT_REASON_MAX,
                 "the certificate of %s has no subjectAltName, and its common name does not count (openssl req -addext "
                 "subjectAltName=%s:%s)",
                 server, is_address ? "IP" : "DNS", server);
        return;
    }
    char list[TLS_NAMES_TOLD_BYTES];
    struct tls_names names = {0};
    (void)tls_leaf_names(leaf, &names);
    tls_leaf_tell_names(&names, list);
    tls_names_done(&names);
    snprintf(text, TLS_CLIENT_REASON_MAX, "the server's certificate is not for %.253s, but for %.200s", server, list);
}

/* depth 0 is the server's certificate, the others are those of authorities. */
static void tell_time(const X509 *certificate, int depth, const char *server, bool has_expired,
                      char text[TLS_CLIENT_REASON_MAX])
{
    char when[TLS_TIME_TEXT_MAX], authority[DN_TEXT_MAX];
    const char *time = tls_leaf_time(has_expired ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate),
                                     when);
    const char *of = depth == 0 ? "" : " an authority that has signed for ";
    int used = has_expired ? snprintf(text, TLS_CLIENT_REASON_MAX, "the certificate of%s%s has expired (%s)",
                                      depth == 0 ? " " : of, server, time)
                           : snprintf(text, TLS_CLIENT_REASON_MAX,
                                      "the certificate of%s%s is not valid before %s: is the clock here right?",
                                      depth == 0 ? " " : of, server, time);
    if (depth > 0 && used > 0 && used < TLS_CLIENT_REASON_MAX) {
        snprintf(text + used, TLS_CLIENT_REASON_MAX - (size_t)used, ": %s",
                 dn_text(X509_get_subject_name(certificate), authority));
    }
}

void tls_client_reason_verify(struct x509_store_ctx_st *verify, const char *server, char text[TLS_CLIENT_REASON_MAX])
{
    char issuer[DN_TEXT_MAX];
    int error = X509_STORE_CTX_get_error(verify), depth = X509_STORE_CTX_get_error_depth(verify);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(verify);
    switch (certificate == NULL ? X509_V_ERR_UNSPECIFIED : error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        tell_time(certificate, depth, server, error == X509_V_ERR_CERT_HAS_EXPIRED, text);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        tell_other_names(certificate, server, error == X509_V_ERR_IP_ADDRESS_MISMATCH, text);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(text, TLS_CLIENT_REASON_MAX,
                 "the certificate of %s is signed by itself, and not trusted here (ca can name its file)", server);
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        snprintf(text, TLS_CLIENT_REASON_MAX,
                 "the certificate of %s is signed by an authority that is not trusted here (ca can name its file): %s",
                 server, dn_text(X509_get_issuer_name(certificate), issuer));
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        snprintf(text, TLS_CLIENT_REASON_MAX,
                 depth == 0 ? "the certificate of %s is not for servers (its key usage says what it is for)"
                            : "the certificate of %s is signed by one that is not for authorities",
                 server);
        break;
    default:
        snprintf(text, TLS_CLIENT_REASON_MAX, "the certificate of %s was not accepted: %s", server,
                 X509_verify_cert_error_string(error));
    }
}

void tls_client_reason(unsigned long error, const char *server, char text[TLS_CLIENT_REASON_MAX])
{
    static const struct {
        int reason;
        const char *text;
    } words[] = {
        {SSL_R_WRONG_VERSION_NUMBER, "what the server sent is not TLS: is this the right port?"},
        {SSL_R_PACKET_LENGTH_TOO_LONG, "what the server sent is not TLS: is this the right port?"},
        {SSL_R_HTTP_REQUEST, "what the server sent is not TLS: is this the right port?"},
        {SSL_R_UNSUPPORTED_PROTOCOL, "the server has no version of TLS that is switched on here"},
        {SSL_R_VERSION_TOO_LOW, "the server has no version of TLS that is switched on here"},
        {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the server has no version of TLS that is switched on here"},
        {SSL_R_UNEXPECTED_EOF_WHILE_READING, "the server closed the connection"},
        {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
         "the server accepts nothing of what was offered, or asks for a client certificate (client_cert)"},
        {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the server asks for a client certificate (client_cert)"},
        {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the server does not accept the client certificate"},
        {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the server does not accept the client certificate, or asks for one"},
        {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, "the server does not accept the client certificate"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the server does not accept the client certificate"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the server says that the client certificate has expired"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "the server says that the client certificate was revoked"},
        {SSL_R_TLSV1_UNRECOGNIZED_NAME, "the server has no certificate for this name"},
        {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL, "client and server have no application protocol (ALPN) in common"},
        {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "the server has failed in the handshake"},
        {SSL_R_DH_KEY_TOO_SMALL, "the server's key exchange is too weak for the security level of OpenSSL here"},
    };
    const char *plain = NULL, *reason = tls_reason(error);
    for (size_t i = 0; ERR_GET_LIB(error) == ERR_LIB_SSL && i < sizeof words / sizeof *words; i++) {
        plain = words[i].reason == ERR_GET_REASON(error) ? words[i].text : plain;
    }
    snprintf(text, TLS_CLIENT_REASON_MAX, "%s%s%s%s%s", server == NULL ? "" : server, server == NULL ? "" : ": ",
             plain == NULL ? "TLS failed" : plain, plain == NULL ? ": " : " (", reason);
    if (plain != NULL) {
        size_t len = 0;
        while (text[len] != '\0') {
            len++;
        }
        snprintf(text + len, TLS_CLIENT_REASON_MAX - len, ")");
    }
}

#endif
