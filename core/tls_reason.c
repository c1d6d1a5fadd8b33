/* A table: what users meet, in plain words. */

#include "core/tls_reason.h"

#include "core/tls_openssl.h"

#include <stddef.h>

#ifdef EVSERVE_HAS_TLS

const char *tls_reason(unsigned long error)
{
    const char *text = ERR_reason_error_string(error);
    return text == NULL ? "unknown error" : text;
}

const char *tls_reason_plain(unsigned long error)
{
    static const struct {
        int reason;
        const char *text;
    } words[] = {
        {SSL_R_UNSUPPORTED_PROTOCOL, "the client only offers versions of TLS that are switched off here"},
        {SSL_R_VERSION_TOO_LOW, "the client only offers versions of TLS that are switched off here"},
        {SSL_R_WRONG_VERSION_NUMBER, "what the client sent is not TLS"},
        {SSL_R_HTTP_REQUEST, "the client sent plain HTTP to a port for HTTPS"},
        {SSL_R_HTTPS_PROXY_REQUEST, "the client sent plain HTTP to a port for HTTPS"},
        {SSL_R_NO_SHARED_CIPHER, "client and server have no cipher in common that suits the certificate"},
        {SSL_R_NO_SUITABLE_KEY_SHARE, "client and server have no key exchange group in common"},
        {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "the client accepts no signature that the certificate's key can make"},
        {SSL_R_NO_APPLICATION_PROTOCOL, "client and server have no application protocol (ALPN) in common"},
        {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client sent no certificate, and one is required"},
        {SSL_R_CERTIFICATE_VERIFY_FAILED, "the client's certificate was not accepted"},
        {SSL_R_UNEXPECTED_EOF_WHILE_READING, "the client closed the connection"},
        {SSL_R_UNEXPECTED_MESSAGE, "the client does not keep to the order of a handshake"},
        {SSL_R_LENGTH_MISMATCH, "what the client sent is not the beginning of a handshake"},
        {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the client accepts nothing of what the server offers"},
        {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the client does not accept the server's certificate"},
        {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the client does not accept the server's certificate"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the client says that the server's certificate has expired"},
        {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the client does not accept the server's certificate"},
        {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the client does not want this version of TLS"},
        {SSL_R_TLSV1_ALERT_USER_CANCELLED, "the client gave up"},
        {SSL_R_EE_KEY_TOO_SMALL,
         "its key is too short for the security level of OpenSSL here: RSA needs 2048 bits by default"},
        {SSL_R_CA_KEY_TOO_SMALL,
         "the key of an authority in its chain is too short for the security level of OpenSSL here: RSA needs 2048 "
         "bits by default"},
        {SSL_R_CA_MD_TOO_WEAK, "it, or an authority in its chain, is signed with a hash that is too weak, as SHA-1 is"},
    };
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i].reason == ERR_GET_REASON(error)) {
            return words[i].text;
        }
    }
    return NULL;
}

#endif
