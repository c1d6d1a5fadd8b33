#ifndef EVSERVE_CORE_TLS_INFO_H
#define EVSERVE_CORE_TLS_INFO_H

/* What client and server agreed on in a TLS handshake. */

#include <stdbool.h>

/* Texts are valid as long as the connection; "" where there is none. */
struct tls_info {
    const char *version;            /* "TLSv1.3" */
    const char *cipher;             /* "TLS_AES_128_GCM_SHA256" */
    const char *server_name;        /* that the client asked for */
    const char *alpn;               /* "http/1.1" */
    const char *client_subject;     /* RFC 4514 text of the client's verified certificate */
    const char *client_fingerprint; /* its SHA-256, lower-case hexadecimal */
    bool is_resumed;                /* keys of an earlier connection were used */
};

#endif
