#ifndef EVSERVE_CORE_PROXY_HEADER_H
#define EVSERVE_CORE_PROXY_HEADER_H

/* The header of the PROXY protocol, versions 1 and 2: what a proxy says first on a connection, about the client on
 * whose behalf it connects (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt). No state; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    PROXY_LINE_MAX = 107,      /* bytes of a header of version 1, with its CRLF */
    PROXY_HEADER_MAX = 4096,   /* of a header of version 2, with all that proxies add to it */
    PROXY_AUTHORITY_MAX = 255, /* of a host's name */
    PROXY_UNIQUE_ID_MAX = 128, /* of an id */
};

enum proxy_verdict {
    PROXY_MORE,  /* what came may be the begin of a header */
    PROXY_WHOLE, /* the header is there */
    PROXY_BAD,   /* what came is none */
};

/* A part of the bytes that were read; not NUL-terminated. text is NULL if the header does not have it. */
struct proxy_text {
    const char *text;
    size_t len;
};

struct proxy_header {
    size_t len;                          /* so many of the bytes belong to the header; those behind it are others' */
    const char *why;                     /* PROXY_BAD: what is wrong, of "it", the header; static text */
    bool is_missing;                     /* PROXY_BAD: something else came */
    bool has_addresses;                  /* false: the proxy speaks for itself (LOCAL), or does not know its client */
    struct sockaddr_storage source;      /* the client; of AF_UNIX the family alone */
    struct sockaddr_storage destination; /* what the client connected with */
    /* These come from version 2, and only if has_addresses. None of the texts has a control character, nor is empty. */
    struct proxy_text unique_id; /* opaque bytes, which may be any */
    struct proxy_text authority; /* the host that the client asked for, by SNI for example */
    struct proxy_text alpn;      /* the protocol agreed on: "http/1.1" */
    bool is_tls;                 /* the client speaks TLS with the proxy */
    struct proxy_text tls_version;
    struct proxy_text tls_cipher;
    struct proxy_text tls_client; /* the common name of the client's certificate, which the proxy has verified */
};

/* Read the header that data, the first len bytes of a connection, begins with. Call it again with all of them when more
 * have come. The texts point into data. */
enum proxy_verdict proxy_header_read(struct proxy_header *header, const char *data, size_t len);

#endif
