#ifndef EVSERVE_CORE_TLS_REASON_H
#define EVSERVE_CORE_TLS_REASON_H

/* OpenSSL's errors as text. */

/* OpenSSL's own reason for an error: "no shared cipher". Static text. */
const char *tls_reason(unsigned long error);

/* What a failed handshake was about, or why a certificate cannot be used, in plain words; NULL where OpenSSL's reason
 * has to do. Static text. */
const char *tls_reason_plain(unsigned long error);

#endif
