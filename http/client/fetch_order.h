#ifndef EVSERVE_HTTP_FETCH_ORDER_H
#define EVSERVE_HTTP_FETCH_ORDER_H

/* A request to another server as it is kept until it is sent, and as redirects change it (RFC 9110 section 15.4). No
 * I/O. */

#include "http/client/fetch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FETCH_INLINE_BODY_MAX = 16384 }; /* bytes */

struct fetch_url;
struct write_buffer;

/* A checked copy. The texts lie in one block, and end in NUL. */
struct fetch_order {
    char *block; /* owns the texts, the fields and the body */
    const char *method;
    struct fetch_field *fields; /* field_count of them */
    size_t field_count;
    const char *body; /* body_len bytes; NULL: none */
    size_t body_len;
    const char *unix_path;   /* of the request; NULL: none */
    const char *ca_file;     /* the same for TLS */
    const char *cert_file;   /* ... */
    const char *key_file;    /* ... */
    const char *server_name; /* ... */
    int base_fd;             /* ... */
    int64_t body_length;     /* of a streamed body; -1: chunks */
    bool trusts_anybody;     /* no certificate is looked at */
    bool streams_body;       /* it comes by fetch_write() */
    bool closes;             /* no kept connection */
    bool asks_for_gzip;      /* an Accept-Encoding of ours goes with it */
};

/* Check and copy a request, except its URL. can_gunzip: gzip can be read. Returns FETCH_SUCCESS; or FETCH_BAD_REQUEST
 * or FETCH_NO_MEMORY with a text in err, and nothing is kept. */
enum fetch_kind fetch_order_init(struct fetch_order *order, const struct fetch_request *request, bool can_gunzip,
                                 char *err, size_t errlen);

/* Free it. A zeroed one is allowed. */
void fetch_order_done(struct fetch_order *order);

/* Whether the body is too long to be copied behind the head: it is sent from where it is. */
static inline bool fetch_order_is_split(const struct fetch_order *order)
{
    return order->body_len > FETCH_INLINE_BODY_MAX;
}

/* Append the head of the request to out, and a body that is not split or streamed. Returns 0 or -ENOMEM. */
int fetch_order_write(const struct fetch_order *order, const struct fetch_url *url, struct write_buffer *out);

/* Whether the method may be sent again if nobody knows what became of it (RFC 9110 section 9.2.2), and the body is
 * there for it. */
bool fetch_order_is_repeatable(const struct fetch_order *order);

/* Whether a response of this status may be a redirect. */
bool fetch_status_redirects(int status);

/* Change the order to what follows a redirect of this status. leaves_origin: it leads to another origin, so what says
 * who the client is goes: credentials, cookies, Host and the client's certificate; and the server's is looked at.
 * Returns false if a streamed body would have to be sent again. */
bool fetch_order_redirect(struct fetch_order *order, int status, bool leaves_origin);

#endif
