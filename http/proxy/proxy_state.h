#ifndef EVSERVE_HTTP_PROXY_STATE_H
#define EVSERVE_HTTP_PROXY_STATE_H

/* A proxy as the files of http/proxy/ share it:
 *
 *   proxy.c            making one from its options
 *   passage.c          an exchange on its way through, with the other passage*.c: sending, receiving, the end
 *   proxied_head.c     the request for the upstream, as bytes
 *   proxied_fields.c   the fields of its response, for the client
 *   proxied_location.c where redirects and cookies lead
 *   proxy_metrics.c    what the metrics say of upstreams
 *   upstream.c         which upstream is next, and which has failed
 *   proxied_upgrade.c  upstreams that agree to another protocol
 *   tunnel.c           connections that go over to another protocol */

#include "core/link_hello.h"
#include "core/link_target.h"
#include "core/tls_client_context.h"
#include "http/client/fetch_url.h"
#include "http/handler.h"
#include "http/limits.h"
#include "http/proxy/proxy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbound;
struct own_metric;
struct passage;

/* A server that requests are passed to. */
struct upstream {
    struct fetch_url url;                /* of it */
    struct link_target target;           /* where that leads; its texts are those of url and of the proxy */
    struct link_tls tls;                 /* of target */
    struct tls_client_settings settings; /* of tls */
    char *address;                       /* owned, for the access log: "127.0.0.1:3000", "unix:/run/app.sock" */
    char *kept_name;                     /* owned: for core/kept_links.h */
    size_t kept_name_len;
    const char *base; /* path that goes before those of requests: within url; base_len may be 0 */
    size_t base_len;
    int64_t down_until_ms; /* reactor time; in the past: it is up */
    unsigned fails;        /* in a row */
};

struct proxy {
    struct handler handler;
    struct handler_row row;        /* its prefix, and its upstreams with commas between them */
    char *upstream_names;          /* owned: of row */
    struct outbound *outbound;     /* borrowed */
    char *texts;                   /* owned: one block for the texts of its options */
    const char *host;              /* of the options; NULL: the client's */
    bool sends_upstream_host;      /* that of the upstream's URL instead */
    struct proxy_field *fields;    /* owned: field_count of them; texts within texts */
    size_t field_count, set_bytes; /* of fields, and of the lines of those that are set */
    size_t prefix_len;             /* to be stripped from paths; 0: nothing is */
    const char *prefix;
    uint32_t connect_timeout_ms, timeout_ms, fail_timeout_ms, tunnel_timeout_ms;
    unsigned max_fails, tries, keepalive;
    size_t upstream_count;
    struct own_metric *seconds, *failures; /* of its upstreams; NULL before the first */
    bool lacks_metrics;                    /* they cannot be had */
    unsigned next;                         /* upstream for the next request */
    struct passage *spare;                 /* memory for the next exchanges */
    unsigned spare_count, busy_count;      /* of them, and of passages in use */
    char *block;   /* owned: PROXY_BLOCK bytes, what is received goes there first; NULL: not needed yet */
    char *scratch; /* owned: scratch_len bytes, where heads are written; may be NULL */
    size_t scratch_len;
    struct limits trailer_limits; /* of trailers behind chunked content */
    struct upstream upstreams[];  /* upstream_count of them */
};

enum {
    PROXY_BLOCK = 65536,   /* bytes received at a time */
    PROXY_SPARE_MAX = 256, /* passages that are kept for the next exchanges */
};

#endif
