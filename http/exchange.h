#ifndef EVSERVE_HTTP_EXCHANGE_H
#define EVSERVE_HTTP_EXCHANGE_H

/* One request and its answer (an exchange, RFC 9110 section 3.4), as handlers see it, and the interface through which
 * the connection calls a handler: struct handler is all that http/ knows of C hosts and of Lua.
 *
 * An exchange lives from the first byte of a request until the last byte of its answer is sent or the connection is
 * lost. A handler may use it from serve() until it has completed the answer or on_gone() was called, whichever comes
 * first. Everything here belongs to the reactor's thread. */

#include "core/write_buffer.h"
#include "http/evs_state.h"
#include "http/h1/chunked.h"
#include "http/h1/parser.h"
#include "http/router.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct conn;
struct exchange;
struct limits;
struct peer;
struct service;

enum body_mode {
    BODY_UNWANTED, /* serve() is called when the head is there; a body is drained or the connection closed */
    BODY_WHOLE,    /* serve() is called when the body is there, all of it, at most max_body bytes */
    BODY_STREAM,   /* serve() is called when the head is there; the handler takes the body with exchange_read_body() */
};

/* Who answers a route. Owned by whoever registers it; must outlive the server. */
struct handler {
    /* Answer the exchange with the functions of http/response.h, during the call or later. */
    void (*serve)(struct exchange *exchange, void *ctx);
    void *ctx;                   /* handed to serve */
    enum body_mode body_mode;    /* what serve needs to find */
    const char *name;            /* of the route, for tables of routes; NULL without one */
    const struct limits *limits; /* of its exchanges, where limits.def says ROUTE; NULL: the site's */
    bool half_close;             /* its clients may shut their side and still read: that is no leaving */
};

/* Memory that is sent from where it is. */
struct borrowed {
    const char *data;           /* first byte still to be sent */
    size_t len;                 /* bytes still to be sent */
    void (*release)(void *arg); /* called once, when the bytes are needed no more; NULL when nobody cares */
    void *arg;                  /* handed to release */
};

struct cached_file;

/* What of an answer is not in the output buffer but sent after it, from where it is: one range of memory or of a file. */
enum body_kind { BODY_NONE, BODY_BORROWED, BODY_FILE };

/* How an answer goes on behind the range that stands in response_body, for content that is not in one piece. */
struct continuation {
    /* The range is sent: queue bytes (response_queue()) and set the range behind them (response_set_file()). Without a
     * new range the content ends behind what was queued. Returns 0 or -errno, which cuts the connection. NULL for an
     * answer that has no further range. */
    int (*next)(struct exchange *exchange, void *arg);
    void (*release)(void *arg); /* called once, when the answer is over or lost */
    void *arg;                  /* handed to both */
};

/* What is sent behind the output buffer, and what comes after it. */
struct response_body {
    enum body_kind kind;      /* which member of the union holds */
    struct continuation then; /* until the answer is over */
    union {
        struct borrowed borrowed; /* of BODY_BORROWED */
        struct {
            struct cached_file *file; /* one reference is ours */
            int64_t offset;           /* next byte to send */
            uint64_t len;             /* bytes still to send */
            int64_t doubted_ms;       /* when the file was first seen in the middle of a change, else 0 */
            bool is_checked;          /* in this turn it was seen to be what the head announced */
        } file;                       /* of BODY_FILE */
    };
};

enum response_state {
    RESPONSE_NONE,      /* nothing of the answer exists, but fields perhaps */
    RESPONSE_STREAMING, /* the head is written, response_write() may follow */
    RESPONSE_COMPLETE,  /* all is written or stands in body; it remains to be sent */
    RESPONSE_ABORTED,   /* cannot be completed: the connection must be cut so that the client can tell */
};

enum { LISTENER_NONE = -1 }; /* in place of the index of a listener: of server_adopt() */

struct input {
    char *data;     /* capacity bytes, or NULL */
    uint32_t start; /* first byte that is not consumed */
    uint32_t end;   /* one past the last that was read */
    uint32_t capacity;
};

/* Owned by the connection's code; handlers read what is marked with (h) and go through functions for the rest. */
struct exchange {
    struct conn *conn;          /* never NULL while a handler may use the exchange */
    struct service *service;    /* (h) of the server that it came to */
    struct site *site;          /* (h) what is served to this request; pinned */
    const struct peer *peer;    /* (h) the client */
    int8_t listener;            /* (h) index of the listener that accepted the connection; LISTENER_NONE: adopted */
    struct exchange *next_free; /* in the server's pool */

    /* The request. */
    struct input input;        /* bytes read and not consumed */
    struct parser parser;      /* of the head */
    struct chunk_parser chunk; /* of a chunked body */
    struct head head;          /* (h) parsed head; slices count from head_data */
    const char *head_data;     /* (h) bytes of the head: in input, or in head_copy once the input moves on */
    char *head_copy;           /* own copy of the head, NULL while it is not needed; head_copy_capacity bytes */
    uint32_t head_copy_capacity;
    char *path;                     /* (h) decoded, normalised path, NUL-terminated; max_request_line + 1 bytes */
    uint32_t path_len;              /* (h) */
    struct route_match match;       /* (h) params are slices of path */
    const struct handler *handler;  /* who answers; NULL before routing */
    const struct limits *limits;    /* (h) in force: the site's before routing, then perhaps the handler's own */
    const char *body;               /* (h) the whole body with BODY_WHOLE; NULL when it is empty */
    size_t body_len;                /* (h) */
    struct write_buffer body_block; /* collects a body that does not lie in input in one piece */
    uint64_t body_taken;            /* content bytes that came so far, unless they came in one piece */
    int64_t body_since_ms;          /* when the wait for the body would have begun without a pause, 0 while it pauses */
    int64_t body_waited_ms;         /* how long it was waited for before the last pause */
    uint64_t body_left;             /* of a Content-Length body still to be read */
    uint32_t piece_len;             /* BODY_STREAM: content at the start of input that the handler has not taken */
    int body_status;                /* (h) BODY_STREAM: the HTTP status for a body that cannot be had, else 0 */
    const char *body_reason;        /* (h) and why, static text, or NULL */
    bool has_body;                  /* (h) the head announces one */
    bool body_done;                 /* it has been read to its end */
    bool wants_body;                /* BODY_STREAM: the handler waits for on_data() */
    bool awaits_continue;           /* the client may be waiting for 100 before it sends the body */
    bool is_served;                 /* serve() was called */
    bool outlives_end;   /* a client that shuts its side has not left: it still gets an answer that comes late */
    bool is_watched;     /* outcome_end() is due when its response is sent, or its connection lost */
    bool is_timed;       /* the turn's clock is looked at when the exchange is over */
    int64_t begun_ns;    /* when its first byte was looked at, if it is watched then */
    int64_t turn_end_ns; /* when this turn should end, 0 while nothing in it has been timed */

    /* The answer. */
    struct write_buffer out;            /* head and copied content, on the way out */
    struct response_body response_body; /* what follows out */
    struct write_buffer fields;         /* field lines that the handler added, each with CRLF */
    uint32_t kept_fields;               /* bytes at their start that are in every response: response_keep_fields() */
    enum response_state response_state;
    int status;              /* of the answer, 0 before there is one */
    uint64_t bytes_out;      /* what the kernel took since outcome_begin() */
    bool keep_alive;         /* the connection goes on after this answer */
    bool head_only;          /* HEAD: content is counted, not sent */
    bool chunked;            /* the answer is sent in chunks */
    bool ends_with_close;    /* the answer's end is that of the connection: what cuts it must be no orderly end */
    bool has_content_length; /* streaming with a length announced: content_left says what is missing */
    uint64_t content_left;
    bool is_stalled; /* response_write() gave 0; on_drain() is due when the queue has gone down */

    /* The handler. */
    void (*on_drain)(struct exchange *exchange); /* the queue fell below the high mark after response_write() gave 0 */
    void (*on_data)(struct exchange *exchange);  /* after exchange_read_body() gave BODY_WAIT: call it again */
    void (*on_gone)(struct exchange *exchange);  /* the connection is lost; do not use the exchange after the call */
    void (*on_stopping)(struct exchange *exchange); /* the server stops, or its site was replaced: end soon */
    void *user;                                     /* the handler's own, NULL at serve() */
    struct evs_state evs;                           /* of a handler that a host wrote in C */
    struct evs_parsed *parsed;                      /* names and values that it asked for; NULL without any */
    void (*drop_parsed)(struct exchange *exchange); /* frees them; set when they are */
    char *texts;                                    /* NUL-terminated copies for it, kept with the pooled exchange */
    uint32_t texts_capacity;                        /* of texts */
    void (*on_end)(void *end_arg); /* the answer is on its way or lost: called once, with the exchange already over */
    void *end_arg;
    void (*on_over)(struct exchange *exchange); /* of a watched exchange: it is over, called once; or NULL */

    struct field field_block[]; /* max_fields of them: head.fields */
};

/* Text of a slice of the head. Not NUL-terminated; valid as long as the exchange. */
static inline const char *exchange_text(const struct exchange *exchange, struct slice slice)
{
    return exchange->head_data + slice.offset;
}

/* The route that answers, or NULL: match.route alone may be that of an earlier request. */
static inline const struct route *exchange_route(const struct exchange *exchange)
{
    const struct route *route = exchange->handler == NULL ? NULL : exchange->match.route;
    return route != NULL && route->handler == exchange->handler ? route : NULL;
}

/* The same text ended with NUL in place, for those who are the last to look at what follows it: a byte of syntax, which
 * nobody needs once the head is parsed. */
const char *exchange_end_text(struct exchange *exchange, struct slice slice);

/* Reactor time at which the client is cut if it has taken nothing of its answer until then; INT64_MAX while it takes what it
 * can. Among clients with the same write_timeout the earliest is the one that has taken nothing for longest. */
int64_t exchange_write_deadline_ms(const struct exchange *exchange);

/* The first field called name (any case), or NULL; *len gets the length of its value, which is not NUL-terminated. */
const char *exchange_field(const struct exchange *exchange, const char *name, size_t *len);

/* The value of a field the parser knows: one step, no search. NULL when absent. */
const char *exchange_known_field(const struct exchange *exchange, enum known_field field, size_t *len);

/* Whether the answer should end soon: the server stops, or serves another site to new requests. */
bool exchange_should_end(const struct exchange *exchange);

/* What exchange_read_body() says; or an HTTP status, negated. */
enum { BODY_WAIT, BODY_DATA, BODY_END };

enum { BODY_PIECE_MAX = 65536 }; /* bytes of one piece */

enum { TURN_NS = 1000000 }; /* after which a connection's turn answers no further request (R6) */

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
 * What is not taken when the answer is complete is drained or the connection closed, as with BODY_UNWANTED. */
int exchange_read_body(struct exchange *exchange, const char **data, size_t *len);

/* Give back the last len bytes of the piece that exchange_read_body() gave just now: the next call gives them again. */
void exchange_unread_body(struct exchange *exchange, size_t len);

/* Take all of the body (BODY_STREAM only), instead of piece by piece: with BODY_END exchange->body has it, as with
 * BODY_WHOLE. Returns as exchange_read_body(), but never BODY_DATA, and -503 when memory is short; after BODY_WAIT call it
 * again in on_data(). */
int exchange_collect_body(struct exchange *exchange);

/* The handler has what it needs of a body that was collected: free it before the answer is sent. */
void exchange_forget_body(struct exchange *exchange);

/* The two looks at the clock for exchange_time_turn(), out of the way of those who need none: when the exchange begins, and
 * when an exchange that is_timed is over. */
__attribute__((cold)) void exchange_start_clock(struct exchange *exchange);
__attribute__((cold)) void exchange_stop_clock(struct exchange *exchange);

/* What comes now may take long. If further requests of this connection wait already, the clock is read when the exchange
 * is over, and others have their turn before the next request once TURN_NS have passed since the first such call of the
 * turn (R6). The connection calls it before each handler; the code that serves files does so only for what it does not
 * have ready. */
static inline void exchange_time_turn(struct exchange *exchange)
{
    if (exchange->input.end != exchange->input.start) {
        exchange_start_clock(exchange);
    }
}

/* The response took long: before the next request of this connection, others have their turn. */
void exchange_end_turn(struct exchange *exchange);

#endif
