#ifndef EVSERVE_HTTP_H1_H
#define EVSERVE_HTTP_H1_H

/* HTTP/1 (RFC 9112): how requests and responses lie on the wire of one connection. It carries an exchange from below
 * (struct framing) and sits on a connection from above (struct protocol). The files of http/h1/ share this header:
 *
 *   h1_turn.c      turns: steps until one says to wait, and what is given back at the end
 *   h1_steps.c     the steps of a request, from its first byte to the next request
 *   h1_head.c      heads and content on their way out
 *   h1_body.c      bodies on their way in
 *   h1_log.c       what is due when an exchange is over
 *   h1_io.c        bytes from and to the transport
 *   h1_handler.c   what becomes of a handler that is waited for
 *   h1_deadline.c  what is waited for, and how long
 *   h1_refs.c      pieces of a stream that are sent from where they are
 *   h1_pace.c      responses that are sent no faster than rate_limit
 *   h1_pool.c      what connections borrow for a request
 *   h1_protocol.c  the tables of functions */

#include "core/write_buffer.h"
#include "http/conn.h"
#include "http/conn_pool.h"
#include "http/exchange.h"
#include "http/h1/chunked.h"
#include "http/h1/parser.h"
#include "http/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* http/README.md has the diagram. READING_BODY is skipped without a body and for handlers that take it themselves
 * (BODY_STREAM, in PROCESSING), and comes after WRITING_RESPONSE to discard a body that nobody wanted. */
enum h1_state {
    H1_READING_HEADERS,
    H1_READING_BODY,
    H1_PROCESSING,
    H1_WRITING_RESPONSE,
    H1_CLOSING, /* what is queued is sent, then the connection ends */
};

/* How the end of the response's content is marked. */
enum h1_end { END_BY_LENGTH, END_BY_CHUNK, END_BY_CLOSE };

struct input {
    char *data;     /* capacity bytes, or NULL */
    uint32_t start; /* first byte that is not consumed */
    uint32_t end;   /* one past the last that was read */
    uint32_t capacity;
};

/* What one server keeps for HTTP/1. */
struct h1_server {
    struct protocol protocol;      /* first: a connection knows this one */
    struct service *service;       /* borrowed */
    const struct framing *framing; /* of its exchanges */
    parse_head_fn parse_head;      /* the fastest for this CPU */
    struct h1 *free;               /* in no use, of the site as it is now, started */
};

/* What a connection needs while it is not idle. */
struct h1 {
    struct conn *conn;         /* NULL in the pool */
    struct h1 *next_free;      /* in the pool */
    struct input input;        /* bytes read and not consumed */
    struct write_buffer out;   /* heads and copied content, on the way out; exchange.source follows it */
    struct parser parser;      /* of the head */
    struct chunk_parser chunk; /* of a chunked body */
    char *head_copy;           /* own copy of the head for when the input moves on; NULL while it is not needed */
    uint32_t head_copy_capacity;

    /* The request, zeroed for each: h1_start(). */
    uint64_t body_left;     /* of a Content-Length body still to be read */
    uint64_t body_taken;    /* content bytes that came so far, unless they came in one piece */
    int64_t body_since_ms;  /* when the wait for the body would have begun without a pause, 0 while it pauses */
    int64_t body_waited_ms; /* how long it was waited for before the last pause */
    uint32_t piece_len;     /* BODY_STREAM: content at the start of input that the handler has not taken */
    bool awaits_continue;   /* the client may be waiting for 100 before it sends the body */
    bool closes;            /* the connection does not go on after this response */
    uint8_t end;            /* enum h1_end */
    uint8_t pace;           /* enum h1_pace of h1_pace.c: how far a response is that is paced */

    /* Of such a response, once it has begun. */
    int64_t paid_ns;        /* when what was sent of it is paid for: it owes what is after now */
    uint64_t paid_bytes;    /* exchange.sent_bytes that are in paid_ns */
    int64_t paced_until_ms; /* while it is held back: until then */

    uint8_t state;         /* enum h1_state */
    uint8_t turn_requests; /* responded to in this turn */
    bool wants_write;      /* bytes are left that the socket did not take, or the turn did not send */
    bool is_secured;       /* the connection is one of https */
    bool ends_with_close;  /* some response's end is that of the connection: what cuts it must be no orderly end */
    struct exchange exchange;
};

static inline struct h1 *h1_of(const struct exchange *exchange)
{
    return (struct h1 *)(uintptr_t)((const char *)exchange - offsetof(struct h1, exchange));
}

static inline struct h1_server *h1_server_of(const struct conn *conn)
{
    return (struct h1_server *)(uintptr_t)conn->protocol;
}

static inline const struct limits *h1_limits(const struct h1 *h1)
{
    return h1->exchange.limits;
}

/* Input. Data is valid until the next read, or the end of the turn. */
static inline size_t input_len(const struct h1 *h1)
{
    return h1->input.end - h1->input.start;
}

static inline char *input_data(const struct h1 *h1)
{
    return h1->input.data + h1->input.start;
}

/* len is at most input_len(). */
static inline void input_consume(struct h1 *h1, size_t len)
{
    h1->input.start += (uint32_t)len;
}

/* Output: queued bytes; whether nothing at all waits to be sent; whether so much waits that no request should be
 * read. */
static inline size_t out_len(const struct h1 *h1)
{
    return write_buffer_len(&h1->out);
}

static inline bool out_is_empty(const struct h1 *h1)
{
    return out_len(h1) == 0 && h1->exchange.source.kind == SOURCE_NONE;
}

static inline bool out_is_high(const struct h1 *h1)
{
    return out_len(h1) > h1_limits(h1)->write_high_mark_bytes;
}

/* What the body goes through has more of it, and lets others have their turn first. */
static inline bool h1_has_more_body(const struct h1 *h1)
{
    return h1->exchange.body_filter != NULL && h1->exchange.body_filter->has_more;
}

/* The handler waits for content of the body, and has not ended its response meanwhile. */
static inline bool h1_wants_body(const struct h1 *h1)
{
    return h1->exchange.wants_body && h1->exchange.response_state < RESPONSE_COMPLETE;
}

#endif
