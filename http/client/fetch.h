#ifndef EVSERVE_HTTP_FETCH_H
#define EVSERVE_HTTP_FETCH_H

/* The HTTP client: one request to another server, and its response. Nothing here blocks the loop. evs_fetch() and
 * app.fetch() are made of it.
 *
 *     struct fetch_request request = {.url = "http://127.0.0.1:8080/x", .url_len = 23};
 *     kind = fetch_start(&fetch, outbound, &request, on_event, arg, err, sizeof err);
 *     on_event(fetch, FETCH_DONE, arg):   response = fetch_response(fetch); ...; fetch_close(fetch);
 *     on_event(fetch, FETCH_FAILED, arg): log(fetch_failure(fetch)); fetch_close(fetch);
 *
 * It speaks HTTP/1.1 over TCP, TLS and unix sockets, keeps connections for the next request to the same server, follows
 * redirects, and reads gzip where zlib is there. All functions belong to the reactor's thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fetch;
struct outbound;

enum {
    FETCH_REDIRECTS = 10,     /* followed unless the request says otherwise, */
    FETCH_REDIRECTS_MAX = 50, /* and at most */
    FETCH_TIMEOUT_MS = 30000, /* fetch_request.timeout_ms and connect_timeout_ms that are 0 */
    FETCH_CONNECT_TIMEOUT_MS = 10000,
    FETCH_TIMEOUT_MAX_MS = 86400000,   /* and at most: a day */
    FETCH_URL_MAX = 16384,             /* bytes of a URL */
    FETCH_REQUEST_FIELDS_MAX = 1000,   /* of a request */
    FETCH_REQUEST_HEAD_MAX = 1 << 20,  /* bytes of a request's head */
    FETCH_RESPONSE_HEAD_MAX = 1 << 16, /* bytes of a response's head, and of interim ones before it: more fails */
    FETCH_RESPONSE_FIELDS_MAX = 1000,  /* of a response */
    FETCH_BODY_MAX = 16 << 20,         /* bytes of a body that is collected, unless the request says otherwise */
    FETCH_QUEUE_MAX = 1 << 16,         /* bytes of a streamed request body that wait: then fetch_write() says -EAGAIN */
    FETCH_FAILURE_MAX = 512,           /* bytes of a text that says why a fetch failed, with its NUL */
};

/* Why a fetch failed. fetch_kind_name() has the names that scripts see. */
enum fetch_kind {
    FETCH_SUCCESS,      /* it did not */
    FETCH_BAD_REQUEST,  /* "request": the URL, the method, a field or an option is wrong; nothing was sent */
    FETCH_NOT_RESOLVED, /* "resolve": the name has no address */
    FETCH_DENIED,       /* "denied": the policy or the sandbox does not allow this address */
    FETCH_BUSY,         /* "busy": as many connections are open as may be */
    FETCH_NOT_REACHED,  /* "connect": refused, unreachable, ... */
    FETCH_TLS_FAILED,   /* "tls": certificate or handshake */
    FETCH_TIMED_OUT,    /* "timeout" */
    FETCH_CUT,          /* "closed": the server closed the connection, or it broke, before the response was complete */
    FETCH_MALFORMED,    /* "protocol": what came is no HTTP response that has only one meaning */
    FETCH_TOO_LARGE,    /* "too large": head or body beyond its limit */
    FETCH_REDIRECTED,   /* "redirects": too many, or one that cannot be followed */
    FETCH_NO_MEMORY,    /* "memory" */
};

/* "resolve" and so on; "" for FETCH_SUCCESS. Static. */
const char *fetch_kind_name(enum fetch_kind kind);

/* A header field. Neither text needs a NUL in a request; both have one in a response. */
struct fetch_field {
    const char *name;
    const char *value;
    size_t name_len;
    size_t value_len;
};

/* What is asked. Zeroed, then filled in. fetch_start() copies what it points to. */
struct fetch_request {
    const char *method; /* a token, as it is sent; NULL: GET. CONNECT is none of them */
    size_t method_len;

    /* "http://host:port/path?query", "https://...", or "http+unix:/run/x.sock:/path?query". Bytes that a URL cannot
     * have (spaces, those from 0x80 on) are sent as %XX; a fragment is not sent; a user name is refused. */
    const char *url;
    size_t url_len;

    /* The connection goes to this unix socket in place of the URL's host ('@' first: an abstract one). NULL: it does
     * not. */
    const char *unix_path;
    size_t unix_path_len;

    /* Host, User-Agent, Accept and Accept-Encoding are added unless they are here. Fields of the connection
     * (Connection, Content-Length, Transfer-Encoding, TE, Trailer, Upgrade, Expect, Keep-Alive, Proxy-Connection) are
     * refused. With an Accept-Encoding of the caller's, the body is handed over as it came. */
    const struct fetch_field *fields;
    size_t field_count;

    const void *body; /* NULL: none. A method that usually has one (POST, PUT, PATCH) is then sent with length 0 */
    size_t body_len;

    /* The body comes by fetch_write(), after fetch_start(). It is body_length bytes, or, with -1, as many as come, in
     * chunks. */
    bool streams_body;
    int64_t body_length;

    /* The body of the response is taken by fetch_read() as it comes; a slow reader slows the server down. Without it,
     * the body is collected. */
    bool streams_response;

    bool closes;       /* the connection is neither a kept one, nor kept for the next request */
    bool keeps_coding; /* the body is handed over as it came, and gzip is not asked for */
    int redirects;     /* followed at most; 0: FETCH_REDIRECTS; -1: none: a redirect is a response like others */

    /* From fetch_start() to the last byte of the response, redirects included; with streams_response to the end of the
     * head, and from then on for each wait for more of the body. */
    uint32_t timeout_ms;
    uint32_t connect_timeout_ms; /* for the name, the connection and TLS, each time */

    size_t max_head;   /* bytes of a response's head, at most FETCH_RESPONSE_HEAD_MAX; 0: that */
    uint64_t max_body; /* bytes of its body, decoded; 0: FETCH_BODY_MAX, or with streams_response no limit */

    /* TLS. Texts end in NUL; NULL: see there. */
    bool trusts_anybody;   /* the server's certificate is not looked at */
    const char *ca_file;   /* PEM; NULL: the certificates that the system trusts */
    const char *cert_file; /* PEM, with key_file: the client's own; NULL: none */
    const char *key_file;
    const char *server_name; /* whose certificate it must be, and SNI; NULL: the URL's host */
    int base_fd;             /* where relative paths of these files start: sys_base() */
};

/* What came. Everything is valid until fetch_close(). */
struct fetch_response {
    int status;                       /* 200 to 999 */
    int minor_version;                /* 0 or 1 of HTTP/1.x */
    const char *reason;               /* behind the status, possibly ""; with a NUL */
    const struct fetch_field *fields; /* field_count of them, in order, each as it was sent */
    size_t field_count;
    const char *url;    /* of this response, after redirects, without a fragment; with a NUL */
    unsigned redirects; /* that were followed */
    bool is_reused;     /* over a connection that was kept */
    bool is_decoded;    /* the body came as gzip: Content-Encoding and Content-Length are about that */
    const char *body;   /* body_len bytes, from FETCH_DONE on; then a NUL. NULL with streams_response */
    size_t body_len;
};

/* What an owner hears. FETCH_DONE or FETCH_FAILED comes once, as the last one; behind FETCH_DONE only FETCH_READABLE
 * may come, after an -EAGAIN of fetch_read(), which takes much content in gzip in several turns. */
enum fetch_event {
    FETCH_HEAD,     /* with streams_response: the head is there. (Redirects that are followed are not told.) */
    FETCH_READABLE, /* fetch_read(), which said -EAGAIN, has something now */
    FETCH_WRITABLE, /* fetch_write(), which said -EAGAIN, takes something now */
    FETCH_DONE,     /* the response is complete. With streams_response fetch_read() may still have some of it */
    FETCH_FAILED,   /* fetch_failure_kind() and fetch_failure() say why */
};

/* Called by the reactor alone: never inside a function of this file. It may call them all, fetch_close() included. */
typedef void (*fetch_event_fn)(struct fetch *fetch, enum fetch_event event, void *arg);

/* Begin. Returns FETCH_SUCCESS with *fetch, which the caller closes; or why not, with a text in err and nothing begun:
 * FETCH_BAD_REQUEST, FETCH_BUSY, FETCH_DENIED, FETCH_NO_MEMORY, or what is known of the server without waiting. */
enum fetch_kind fetch_start(struct fetch **fetch, struct outbound *outbound, const struct fetch_request *request,
                            fetch_event_fn on_event, void *arg, char *err, size_t errlen);

/* The end of it, at any time: what is under way is given up, and the owner is not called again. NULL is allowed. */
void fetch_close(struct fetch *fetch);

/* The response: with streams_response from FETCH_HEAD on, else from FETCH_DONE on. NULL before, and after a failure
 * without a head. */
const struct fetch_response *fetch_response(const struct fetch *fetch);

/* Why it failed, and in plain words with the URL's host: "cannot connect to 127.0.0.1:81: connection refused".
 * FETCH_SUCCESS and "" unless FETCH_FAILED came. */
enum fetch_kind fetch_failure_kind(const struct fetch *fetch);
const char *fetch_failure(const struct fetch *fetch);

/* With streams_response: take what there is of the body. Returns its length, with *data valid until the next call; 0 at
 * the end of the body; -EAGAIN if more is to come, after which FETCH_READABLE, FETCH_DONE or FETCH_FAILED comes; -EIO
 * when all is taken that came before it failed, or if it cannot be decoded: fetch_failure() says why, even if
 * FETCH_DONE has come. */
ssize_t fetch_read(struct fetch *fetch, const char **data);

/* With streams_body: append to the body. Returns 0 if all len bytes are copied; -EAGAIN if none are, since
 * FETCH_QUEUE_MAX bytes or more wait: FETCH_WRITABLE comes; -EPIPE if the server wants no more of it, or it failed: the
 * owner waits for the response; -EMSGSIZE if it would be more than body_length; -ENOMEM. */
int fetch_write(struct fetch *fetch, const void *data, size_t len);

/* The body is complete. Returns 0, or -EPIPE as above, or -EMSGSIZE if it is less than body_length. */
int fetch_write_end(struct fetch *fetch);

#endif
