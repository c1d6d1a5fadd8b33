#ifndef EVSERVE_HTTP_EXCHANGE_H
#define EVSERVE_HTTP_EXCHANGE_H

/* One request and its response (an exchange, RFC 9110 section 3.4), as handlers see it, and the interface through which
 * the connection calls a handler: struct handler is all that http/ knows of C hosts and of Lua.
 *
 * An exchange lives from the first byte of a request until the last byte of its response is sent or the connection is
 * lost. A handler may use it from serve() until it has completed the response or on_gone() was called, whichever comes
 * first. Everything here belongs to the reactor's thread. */

#include "core/write_buffer.h"
#include "http/body_filter.h"
#include "http/evs_state.h"
#include "http/exchange_dues.h"
#include "http/forwarded.h"
#include "http/framing.h"
#include "http/handler.h"
#include "http/limits.h"
#include "http/message.h"
#include "http/request_id_pool.h"
#include "http/router.h"
#include "http/slow_times.h"
#include "http/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct service;
struct takeover;
struct vhost;

enum response_state {
    RESPONSE_NONE,      /* nothing of the response exists, but fields perhaps */
    RESPONSE_STREAMING, /* the head is written, response_write() may follow */
    RESPONSE_COMPLETE,  /* all is written or stands in body; it remains to be sent */
    RESPONSE_ABORTED,   /* cannot be completed: the connection must be cut so that the client can tell */
};

/* Where the id of a request is (http/request_id.h). */
enum request_id_kind {
    REQUEST_ID_NONE,  /* nobody has asked for it yet */
    REQUEST_ID_OWN,   /* in own_id */
    REQUEST_ID_GIVEN, /* in the head, at given_id: of a trusted proxy */
};

/* Whether a rule holds the request (http/rules/rules.h). */
enum exchange_hold {
    HOLD_NONE,  /* no rule does */
    HOLD_WAITS, /* one does: exchange->handler stands for it */
    HOLD_OVER,  /* dispatch_go_on() was called, or there was no file that comes before the route: the framing calls
                 * dispatch_resume() in this tick */
};

enum { LISTENER_NONE = -1 }; /* in place of the index of a listener: of server_adopt() */

/* Another server that a request was passed on to (http/proxy/), for the access log. */
struct upstream_note {
    const char *address; /* "127.0.0.1:3000" or "unix:/run/app.sock"; valid as long as the site */
    uint32_t ms;         /* from the attempt to connect until its response was complete, or had failed */
    int status;          /* of its response; 0: there was none */
};

/* Handlers read what is marked with (h) and go through functions for the rest. A framing (http/framing.h) makes it, as
 * a part of what it needs for a request itself: nothing here knows bytes of the wire. */
struct exchange {
    const struct framing *framing; /* what carries it: how to reach the client */
    struct service *service;       /* (h) of the server that it came to */
    struct site *site;             /* (h) what is served to this request; pinned */
    const struct vhost *vhost;     /* (h) which host of the site; the default one until its name is known */
    const struct peer *peer;       /* (h) who is connected: the client, or the proxy nearest to here */
    int8_t listener;               /* (h) index of the listener that accepted the connection, or LISTENER_NONE */

    /* The request. What follows is zeroed for each, from here to is_stalled: exchange_start(). */
    char *head_data;               /* (h) bytes of the head, which slices count from; NULL before it is complete.
                                    * READ_SLACK bytes of http/conn_pool.h can be read behind it */
    uint32_t path_len;             /* (h) of path */
    const struct handler *handler; /* what responds; NULL before routing */
    const char *body;              /* (h) the whole body with BODY_WHOLE; NULL when it is empty */
    size_t body_len;               /* (h) */
    int refusal;             /* (h) the status that a handler for refusals responds with (http/refusal.h), else 0 */
    int body_status;         /* (h) BODY_STREAM: the HTTP status for a body that cannot be had, else 0 */
    const char *body_reason; /* (h) and why, static text, or NULL */
    struct body_filter *body_filter; /* what the body goes through before the handler has it; NULL: nothing */

    /* When its first byte was looked at, if outcome_begin() is due. Of another one that is measured: the tick that it
     * began in, 0 while that lasts. */
    int64_t began_ns;
    uint64_t sent_bytes; /* what the kernel took since then, or else since the request before it */
    void (*on_drain)(struct exchange *exchange); /* the queue fell below the high mark after response_write() gave 0 */
    void (*on_data)(struct exchange *exchange);  /* after exchange_read_body() gave BODY_WAIT: call it again */
    void (*on_gone)(struct exchange *exchange);  /* the client is lost; do not use the exchange after the call */
    void (*on_stopping)(
        struct exchange *exchange);  /* the server stops, or its site was replaced: end soon. The handler clears it */
    void *user;                      /* the handler's own, NULL at serve() */
    const struct takeover *takeover; /* response_switch(): what comes after the response, or NULL */
    uint64_t content_left;           /* of a response whose length was announced: what is missing */
    uint32_t head_bytes;             /* of the response: of its head, and of an interim response before it */
    int status;                      /* of the response, 0 before there is one */
    uint32_t queued_before;          /* bytes of earlier responses that were queued when sent_bytes was 0 */
    uint32_t kept_fields;     /* bytes at the start of fields that are in every response: response_keep_fields() */
    union exchange_dues dues; /* beside the response */
    uint16_t series;          /* of metrics, to which it belongs: http/metrics_counts.h */
    enum response_state response_state;
    bool has_body;           /* (h) the head announces one */
    bool is_body_read;       /* it has been read to its end, or there is none */
    bool wants_body;         /* BODY_STREAM: the handler waits for on_data() */
    bool is_served;          /* serve() was called */
    bool outlives_end;       /* a client that shuts its side has not left: it still gets a response that comes late */
    bool is_unlogged;        /* its route wants no line in the access log */
    bool is_proxied;         /* another server was asked, last the one of upstream */
    bool is_clocked;         /* its times are taken, and its line is due if it was slow: http/slow_log.h */
    bool is_followed;        /* further bytes of the connection wait behind it */
    bool is_timed;           /* the turn's clock is looked at when the exchange is over */
    bool ends_turn;          /* before the connection's next request others have their turn */
    bool head_only;          /* HEAD: content is counted, not sent */
    bool wants_close;        /* the connection ends after the response: the handler, or a limit, says so */
    uint8_t id_kind;         /* enum request_id_kind: where its id is */
    uint8_t told;            /* FORWARDED_... bits: what of forwarded is valid; ask exchange_client() and so on */
    uint8_t hold;            /* enum exchange_hold */
    uint8_t held_at;         /* enum rule_order of the rule that holds it, or did so last */
    bool has_content_length; /* streaming with a length announced: content_left says what is missing */
    bool has_user;           /* it came with a name and a password: http/rules/basic_auth.h */
    bool is_uncoded;         /* (h) its response is not compressed: http/compress.h */
    uint8_t tag_coding;      /* enum encoding: of the entity tags that the client has */
    bool is_stalled;         /* response_write() gave 0; on_drain() is due when the queue has gone down */

    /* These are set when they are needed. */
    const char *refusal_why;        /* (h) why, for the log: static text, or NULL */
    struct head head;               /* (h) parsed head */
    char *path;                     /* (h) decoded, normalised path, NUL-terminated; max_request_line + 1 bytes */
    struct route_match match;       /* (h) params are slices of path */
    const struct limits *limits;    /* (h) in force: the site's before routing, then exchange_set_limits() */
    uint64_t rate_bytes;            /* with PACED_OWN: bytes of the response a second; 0: no limit */
    struct write_buffer body_block; /* collects a body that is not in one piece elsewhere */
    int64_t turn_end_ns;        /* when this turn of the connection should end, 0 while nothing in it has been timed */
    struct write_buffer fields; /* field lines that the handler added, each with CRLF */
    struct forwarded forwarded; /* what trusted proxies have told of the request, as told says */
    struct slice given_id;      /* X-Request-Id in the head, with a NUL behind it */
    char own_id[REQUEST_ID_DIGITS + 1]; /* hexadecimal digits */
    struct slow_times slow;             /* while is_clocked */
    struct upstream_note upstream;      /* while is_proxied */
    struct source source;               /* content that is sent from where it is, behind what is queued */

    /* The handler's. */
    struct evs_state evs;                           /* of a handler that a host wrote in C */
    struct evs_parsed *parsed;                      /* names and values that it asked for; NULL without any */
    void (*drop_parsed)(struct exchange *exchange); /* frees them */
    char *texts;                                    /* NUL-terminated copies for it, kept with the pooled exchange */
    uint32_t texts_capacity;                        /* of texts */
    /* The response is on its way or lost: called once, with the exchange already over; or the connection, if it went
     * over to another protocol. */
    void (*on_end)(void *end_arg);
    void *end_arg;
    void (*on_over)(struct exchange *exchange); /* of a watched exchange: it is over, called once; or NULL */
};

/* For framings: prepare an exchange of zeros once, with room for fields and path as site's limits say (exchange_room()
 * bytes behind the framing's own struct, suitably aligned); start each request; and give up what it holds, before it is
 * pooled or freed. */
size_t exchange_room(const struct limits *limits);
void exchange_init(struct exchange *exchange, const struct framing *framing, struct service *service, char *room);
void exchange_start(struct exchange *exchange);
void exchange_clear(struct exchange *exchange);
void exchange_done(struct exchange *exchange);

/* From now on the exchange has other limits. They must outlive it. */
static inline void exchange_set_limits(struct exchange *exchange, const struct limits *limits)
{
    exchange->limits = limits;
    if (exchange->dues.is_paced != PACED_OWN) {
        exchange->dues.is_paced = limits->rate_limit_bytes != 0 ? PACED_BY_LIMITS : PACED_NOT;
    }
}

/* Text of a slice of the head. Not NUL-terminated; valid as long as the exchange. */
static inline const char *exchange_text(const struct exchange *exchange, struct slice slice)
{
    return exchange->head_data + slice.offset;
}

/* The route that responds, or NULL: match.route alone may be that of an earlier request. */
static inline const struct route *exchange_route(const struct exchange *exchange)
{
    const struct route *route = exchange->handler == NULL ? NULL : exchange->match.route;
    return route != NULL && route->handler == exchange->handler ? route : NULL;
}

/* The same text ended with NUL in place, for those who are the last to look at what follows it: a byte of syntax, which
 * nobody needs once the head is parsed. */
static inline const char *exchange_end_text(const struct exchange *exchange, struct slice slice)
{
    exchange->head_data[slice.offset + slice.len] = '\0';
    return exchange->head_data + slice.offset;
}

/* The client, as far as it is known: the one that trusted proxies name, or else exchange->peer. Its port is 0 unless a
 * proxy told it. Valid as long as the exchange. Limits, rules and logs are about this address; how many connections an
 * address may have is about exchange->peer. */
static inline const struct peer *exchange_client(const struct exchange *exchange)
{
    return (exchange->told & FORWARDED_CLIENT) != 0 ? &exchange->forwarded.client : exchange->peer;
}

/* Whether the client has sent the request over TLS, to us or to a trusted proxy that says so; and as the scheme "https"
 * or "http", static text. */
bool exchange_is_secure(const struct exchange *exchange);
const char *exchange_scheme(const struct exchange *exchange);

/* The host with its port that the client asked for, as it was sent: what a trusted proxy says, or else that of the
 * target or of the field Host. Valid syntax (RFC 9110 section 7.2), not NUL-terminated, valid as long as the exchange;
 * *len is 0 for a request that names none. */
const char *exchange_host(const struct exchange *exchange, size_t *len);

/* Reactor time at which the client is cut if it has taken nothing of its response until then; INT64_MAX while it takes
 * what it can. Among clients with the same write_timeout the earliest is the one that has taken nothing for longest. */
static inline int64_t exchange_write_deadline_ms(const struct exchange *exchange)
{
    return exchange->framing->write_deadline_ms(exchange);
}

/* Whether the connection is one over TLS: of the client, or of the proxy nearest to here (else exchange_scheme() is to
 * be asked); then what was agreed on. */
static inline bool exchange_tls(const struct exchange *exchange, struct tls_info *info)
{
    return exchange->framing->tls(exchange, info);
}

/* What the proxy in front has said of the connection in the header of the PROXY protocol; NULL: nothing. Valid as long
 * as the exchange. */
static inline const struct proxied *exchange_proxied(const struct exchange *exchange)
{
    return exchange->framing->proxied(exchange);
}

/* The first field called name (any case), or NULL; *len gets the length of its value, which is not NUL-terminated. */
const char *exchange_field(const struct exchange *exchange, const char *name, size_t *len);

/* The value of a field the parser knows: one step, no search. NULL when absent. */
const char *exchange_known_field(const struct exchange *exchange, enum known_field field, size_t *len);

/* Whether the response should end soon: the server stops, or serves another site to new requests. */
bool exchange_should_end(const struct exchange *exchange);

/* What exchange_read_body() says; or an HTTP status, negated. */
enum { BODY_WAIT, BODY_DATA, BODY_END };

enum { BODY_PIECE_MAX = 65536 }; /* bytes of one piece */

enum { TURN_NS = 1000000 }; /* after which a connection's turn serves no further request (R6) */

/* Take the next piece of the body (BODY_STREAM only). Nothing is read from the socket but what the handler asks for
 * here, so a client that sends faster than the handler takes is held up by TCP; what lies in between is at most one
 * read of 64 KiB.
 *
 * Returns BODY_DATA with a piece, framing taken off: *len is 1 to BODY_PIECE_MAX bytes, valid until the next call or
 * until the handler returns. BODY_WAIT: nothing is there; on_data() will be called when there is something to call
 * this for. The body's deadlines run meanwhile, and only then; a client that expects 100 gets it now. BODY_END: there
 * is no more, or there was none. After BODY_END and after a status, each further call says the same.
 *
 * -413: a chunked body is longer than max_body (one that announces such a length never reaches the handler); -400 or
 * -431: its framing is broken; -408: it came too slowly. exchange->body_reason may tell more. The handler still
 * answers, with this status or another; the connection closes after it. A client that goes away is on_gone().
 *
 * What is not taken when the response is complete is drained or the connection closed, as with BODY_UNWANTED. */
static inline int exchange_read_body(struct exchange *exchange, const char **data, size_t *len)
{
    return exchange->body_filter != NULL ? exchange->body_filter->read(exchange, data, len)
                                         : exchange->framing->read_body(exchange, data, len);
}

/* Give back the last len bytes of the piece that exchange_read_body() gave just now: the next call gives them again. */
static inline void exchange_unread_body(struct exchange *exchange, size_t len)
{
    if (exchange->body_filter != NULL) {
        exchange->body_filter->unread(exchange, len);
    } else {
        exchange->framing->unread_body(exchange, len);
    }
}

/* Take all of the body (BODY_STREAM only), instead of piece by piece: with BODY_END exchange->body has it, as with
 * BODY_WHOLE. Returns as exchange_read_body(), but never BODY_DATA, and -503 when memory is short; after BODY_WAIT call
 * it again in on_data(). */
int exchange_collect_body(struct exchange *exchange);

/* The handler has what it needs of a body that was collected: free it before the response is sent. */
void exchange_forget_body(struct exchange *exchange);

/* The two looks at the clock for exchange_time_turn(), out of the way of those who need none: when the exchange begins,
 * and when an exchange that is_timed is over. */
__attribute__((cold)) void exchange_start_clock(struct exchange *exchange);
__attribute__((cold)) void exchange_stop_clock(struct exchange *exchange);

/* What comes now may take long. If further requests of this connection wait already, the clock is read when the
 * exchange is over, and others have their turn before the next request once TURN_NS have passed since the first such
 * call of the turn (R6). The connection calls it before each handler; the code that serves files does so only for what
 * it does not have ready. */
static inline void exchange_time_turn(struct exchange *exchange)
{
    if (exchange->is_followed) {
        exchange_start_clock(exchange);
    }
}

/* The response took long: before the next request of this connection, others have their turn. */
static inline void exchange_end_turn(struct exchange *exchange)
{
    exchange->ends_turn = true;
}

/* Go on with the exchange before the tick ends: something has changed that the connection has to act on. Never runs the
 * connection during the call. */
static inline void exchange_resume(struct exchange *exchange)
{
    exchange->framing->resume(exchange);
}

/* All bytes of the response that wait for the client, copied and borrowed, its framing and responses before it
 * included. */
static inline size_t exchange_queued(const struct exchange *exchange)
{
    return exchange->framing->queued(exchange);
}

#endif
