#ifndef EVSERVE_HTTP_PROXIED_H
#define EVSERVE_HTTP_PROXIED_H

/* What a proxy has said of a connection in the header of the PROXY protocol (core/proxy_header.h), beside the address
 * of the client, which is that of the connection from then on. */

#include "http/peer.h"

#include <stdbool.h>
#include <stddef.h>

/* Texts end with NUL and are "" where the proxy says nothing; all are valid as long as the connection. */
struct proxied {
    struct peer proxy;       /* who has sent the header */
    struct peer destination; /* what the client has connected with */
    const char *unique_id;   /* bytes that may be any, NUL too */
    size_t unique_id_len;
    const char *authority;   /* the host that the client asked for: SNI */
    const char *alpn;        /* "http/1.1" */
    bool is_tls;             /* the client speaks TLS with the proxy */
    const char *tls_version; /* these three only with is_tls: "TLSv1.3" */
    const char *tls_cipher;
    const char *tls_client; /* the common name of a certificate that the proxy has verified */
};

#endif
