#ifndef EVSERVE_CORE_TLS_CLIENT_REASON_H
#define EVSERVE_CORE_TLS_CLIENT_REASON_H

/* Why a handshake with a server has failed, in plain words. */

#include <stddef.h>

struct x509_store_ctx_st; /* OpenSSL's X509_STORE_CTX */

enum { TLS_CLIENT_REASON_MAX = 512 }; /* bytes of a text, with its NUL; the rest is cut */

/* The certificate that verify is about is not accepted. server: whose it should be. */
void tls_client_reason_verify(struct x509_store_ctx_st *verify, const char *server, char text[TLS_CLIENT_REASON_MAX]);

/* OpenSSL has given up for another reason: error, of its queue. server may be NULL. */
void tls_client_reason(unsigned long error, const char *server, char text[TLS_CLIENT_REASON_MAX]);

#endif
