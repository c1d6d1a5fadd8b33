#ifndef EVSERVE_HTTP_FETCH_STATE_H
#define EVSERVE_HTTP_FETCH_STATE_H

/* A fetch as the files of http/client/ share it:
 *
 *   fetch.c          what owners call
 *   fetch_hop.c      one request and its response on one connection, and what follows: a retry, a redirect, the end
 *   fetch_redirect.c where a redirect leads to
 *   fetch_content.c  heads and content of responses, for the owner
 *   fetch_over.c     failures, and what the owner is told
 *
 * Below them, without I/O: fetch_order.c (the request), fetch_url.c, fetch_reply.c (the response from its bytes), and
 * its parts fetch_head.c and fetch_body.c. */

#include "core/deadline.h"
#include "core/reactor.h"
#include "core/write_buffer.h"
#include "http/client/fetch.h"
#include "http/client/fetch_order.h"
#include "http/client/fetch_reply.h"
#include "http/client/fetch_url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gunzip;
struct link;
struct outbound;

enum fetch_stage {
    FETCH_OPENS, /* the connection is not open yet */
    FETCH_WORKS, /* it is: the request is sent, the response read */
    FETCH_ENDED, /* the response is complete, or it failed */
};

/* Content that came, of which the first at bytes are used up. */
struct fetch_content {
    char *block; /* capacity bytes, or NULL */
    size_t at, len, capacity;
};

struct fetch {
    struct outbound *outbound; /* borrowed */
    fetch_event_fn on_event;
    void *arg;                    /* for on_event */
    struct fetch_order order;     /* the request */
    struct fetch_url url;         /* where it goes now */
    struct link *link;            /* NULL: there is none */
    struct reactor_task task;     /* continues when the connection will cause no event */
    struct deadline deadline;     /* of what is waited for */
    int64_t ends_ms;              /* of the whole, reactor time */
    struct write_buffer out;      /* of the request, to be sent */
    size_t body_sent;             /* of a split body */
    uint64_t body_written;        /* of a streamed one */
    struct fetch_response result; /* for the owner, once has_result */
    struct fetch_content content; /* for the owner: all of it, or what it has not taken yet */
    struct fetch_content taken;   /* what fetch_read() handed out last */
    struct fetch_content rest;    /* bytes that came and wait for the next turn, which decoding them takes */
    struct gunzip *gunzip;        /* of a response in gzip; else NULL */
    uint64_t content_total;       /* bytes of content so far */
    uint64_t max_body;            /* of content; UINT64_MAX: no limit */
    size_t max_head;
    uint32_t timeout_ms, connect_timeout_ms;
    uint64_t taken_turn;    /* of the reactor, when a kept link was taken; else 0 */
    unsigned reused;        /* how often link was used before */
    unsigned redirects;     /* that were followed */
    unsigned redirects_max; /* that may be */
    uint32_t decoded_turn;  /* bytes that its owner has taken from gunzip since others had their turn */
    uint8_t stage;          /* enum fetch_stage */
    uint8_t kind;           /* enum fetch_kind, of a failure */
    uint8_t due;            /* events that the owner is to be told: 1 << enum fetch_event */
    bool streams_response;
    bool is_fresh;            /* no kept connection this time: one has failed */
    bool is_redirect;         /* this response is one that is followed: its content is dropped */
    bool has_result;          /* result is set */
    bool has_written;         /* fetch_write_end() was called */
    bool wants_room;          /* fetch_write() said -EAGAIN */
    bool wants_content;       /* fetch_read() did */
    bool is_one_too_many;     /* OUTBOUND_HELD_MAX was in the way of its content */
    bool is_send_broken;      /* the server takes no more of the request; its response may be there all the same */
    bool *is_gone;            /* during a callback: set if the owner closes the fetch */
    struct fetch_reply reply; /* what has come in this hop */
    char failure[FETCH_FAILURE_MAX];
};

static inline bool fetch_is_over(const struct fetch *fetch)
{
    return fetch->stage == FETCH_ENDED;
}

#endif
