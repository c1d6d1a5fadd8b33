#ifndef EVSERVE_HTTP_PROXY_H
#define EVSERVE_HTTP_PROXY_H

/* A reverse proxy: requests below a prefix go to other servers (upstreams), and their responses to the clients, both as
 * they come. A client that reads slowly slows its upstream down, and the other way round; nothing is stored.
 *
 *     struct proxy_options options = {.prefix = "/api", .upstreams = &url, .upstream_count = 1};
 *     proxy_create(&proxy, &options, outbound, err, sizeof err);
 *     router_add(router, METHODS_ALL, "/api/ *rest", proxy_handler(proxy), ...);
 *
 * What an upstream gets: the method and the target of the request (RFC 9110 section 7.6), its fields except those about
 * the connection, and X-Forwarded-For, -Proto and -Host, which say who asks. What clients get: status, fields and
 * content, in the framing that fits them. A proxy belongs to one site, and so to its reactor's thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct handler;
struct limits;
struct outbound;
struct proxy;

enum {
    PROXY_UPSTREAMS_MAX = 32,         /* of one proxy */
    PROXY_FIELDS_MAX = 64,            /* proxy_options.field_count, */
    PROXY_FIELDS_BYTES_MAX = 8192,    /* and their names and values together */
    PROXY_CONNECT_TIMEOUT_MS = 5000,  /* the values for options that are 0: of connect_timeout_ms, */
    PROXY_TIMEOUT_MS = 60000,         /* timeout_ms, */
    PROXY_TUNNEL_TIMEOUT_MS = 600000, /* tunnel_timeout_ms, */
    PROXY_FAIL_TIMEOUT_MS = 10000,    /* fail_timeout_ms, */
    PROXY_KEEPALIVE = 64,             /* and keepalive */
    PROXY_TIMEOUT_MAX_MS = 86400000,  /* of all four times: a day */
    PROXY_HOPS_MAX = 10,              /* how often Via may name evserve: what comes then is a 508 */
    PROXY_RESPONSE_HEAD_MAX = 1 << 16 /* bytes of an upstream's head: a longer one is a 502 */
};

/* A field that is sent to the upstreams in place of the client's. */
struct proxy_field {
    const char *name;
    const char *value; /* NULL: the client's is removed */
};

/* Zeroed, then filled in. Texts are copied. */
struct proxy_options {
    const char *prefix;           /* "/api" or "/": of the paths that go through it */
    const char *const *upstreams; /* URLs: "http://127.0.0.1:3000", "https://...", "http+unix:/run/x.sock", each perhaps
                                   * with a path, which goes before that of the request */
    size_t upstream_count;
    const char *host;                 /* the value of Host for upstreams; NULL: the client's; "upstream": of its URL */
    const struct proxy_field *fields; /* field_count of them */
    size_t field_count;
    uint32_t connect_timeout_ms; /* for the name, the connection and TLS of an upstream */
    uint32_t timeout_ms;         /* for the head of a response, and for each wait for more of it */
    uint32_t fail_timeout_ms;    /* how long an upstream that has failed gets no requests, if there is another one */
    uint32_t tunnel_timeout_ms;  /* how long a WebSocket, or what else was asked for by Upgrade, may be silent */
    unsigned max_fails;          /* how often in a row it may fail before that; 0: 1 */
    unsigned tries;              /* upstreams that one request is sent to at most; 0: all */
    unsigned keepalive;          /* idle connections that are kept to each upstream */
    bool never_keeps;            /* none are */
    bool strips_prefix;          /* upstreams see the path without the prefix */

    /* TLS, as in struct fetch_request. */
    bool trusts_anybody;
    const char *ca_file, *cert_file, *key_file, *server_name;
    int base_fd; /* where relative names of these files start: sys_base() */
};

/* Make one. outbound is borrowed, and outlives it. Returns 0, -ENOMEM, or -EINVAL with a text in err that names the
 * option or quotes the URL. */
int proxy_create(struct proxy **proxy, const struct proxy_options *options, struct outbound *outbound, char *err,
                 size_t errlen);

/* Free it. No exchange may be at it any more. NULL is allowed. */
void proxy_destroy(struct proxy *proxy);

/* What serves its routes; lives as long as the proxy. Whoever registers it may set its name and limits before. */
struct handler *proxy_handler(struct proxy *proxy);

/* Call fn with each file that TLS with the upstreams reads, as it was named, until it returns another value than 0,
 * which is returned. handler is a route's: 0 if it is no proxy's. */
int proxy_each_file(const struct handler *handler, int (*fn)(void *arg, const char *file), void *arg);

#endif
