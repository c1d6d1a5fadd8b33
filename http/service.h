#ifndef EVSERVE_HTTP_SERVICE_H
#define EVSERVE_HTTP_SERVICE_H

/* What requests and their handlers may know of the server that they came to. One for each server, embedded in it; the
 * reactor's thread uses it. Listeners, connections and pools are not here: they are the server's own
 * (server_internal.h). */

#include "core/slabs.h"
#include "core/tally.h"
#include "http/exchange_dues.h"
#include "http/handler.h"
#include "http/http_date.h"
#include "http/request_id_pool.h"

#include <stdbool.h>
#include <stdint.h>

struct access_log;
struct compressor;
struct evs_host;
struct exchange;
struct log;
struct metrics_board;
struct metrics_counts;
struct outcome;
struct reactor;
struct site;
struct tls_context;
struct topics;
struct ws_codecs;

/* What a connection is doing. */
enum conn_phase {
    PHASE_IDLE,      /* it waits for a request: the first one, or the next */
    PHASE_HANDSHAKE, /* of TLS */
    PHASE_READING,   /* a head or a body */
    PHASE_HANDLING,  /* a handler is at work, or a stream or a WebSocket has nothing to send */
    PHASE_SENDING,   /* bytes of a response wait for the client */
    PHASE_LINGERING, /* all is sent: it waits for the client's end */
    CONN_PHASES
};

/* What a deadline was about that has passed. */
enum timeout_kind {
    TIMEOUT_IDLE,    /* the next request */
    TIMEOUT_HEAD,    /* the rest of a head, or of a handshake of TLS */
    TIMEOUT_BODY,    /* the rest of a body */
    TIMEOUT_HANDLER, /* a handler, or more of a stream */
    TIMEOUT_WRITE,   /* a client that reads */
    TIMEOUT_LINGER,  /* the client's end */
    TIMEOUT_KINDS
};

/* Totals since the server started, except connections, which is the current value. */
struct server_stats {
    uint64_t accepted;                   /* connections accepted */
    uint64_t connections;                /* connections open now */
    uint64_t requests;                   /* responses begun */
    uint64_t by_class[6];                /* of them by class of status; [2] counts 2xx */
    uint64_t bytes_sent;                 /* to clients, heads and framing included */
    uint64_t bytes_received;             /* from clients */
    uint64_t timeouts;                   /* connections closed by a deadline */
    uint64_t timeouts_by[TIMEOUT_KINDS]; /* the same by kind */
    uint64_t lost;                       /* connections that ended in an error */
    uint64_t websockets;                 /* open now */
    uint64_t tunnels;                    /* open now: WebSockets and the like that go to upstreams */
    uint64_t ws_received, ws_sent;       /* messages of WebSockets */
    uint64_t limited;                    /* requests refused by app.limit */
    uint64_t stalls;                     /* turns of the event loop that took longer than stall_warning */
};

/* What a host wants to hear of all requests, whichever handler responds. Each may be NULL. */
struct server_hooks {
    /* A request has a valid head: called before it is routed. Returns whether the host responds itself, at once or
     * later; if not, the fields that it added are in the response that another handler sends. */
    bool (*before)(struct exchange *exchange, void *arg);

    /* Respond to what neither a route nor a file fits, at once or later; the body is dropped. */
    void (*not_found)(struct exchange *exchange, void *arg);

    /* The server is about to send an error page of its own: the host may respond first, in full before it returns. Not
     * called for an error in itself. */
    void (*on_error)(struct exchange *exchange, int status, void *arg);

    /* A request is over (http/outcome.h). Called in the middle of the connection's turn: it must not respond. */
    void (*finished)(void *arg, const struct outcome *outcome);
    void *arg; /* handed to all of them */

    /* What the log calls before and not_found: "evserve_config.before". Of those that are set; static texts. */
    const char *before_name, *not_found_name;
};

enum { SERVICE_LISTENERS_MAX = 16 }; /* addresses of one server */

/* Listeners whose requests are all redirected to HTTPS (http/https_redirect.h). */
struct https_redirect {
    const struct tls_context *context;     /* borrowed: its names are the hosts to redirect to; NULL without TLS */
    uint32_t listeners;                    /* the set of them: bit n is listener n */
    uint16_t port;                         /* of the first TLS listener that has a port, else 0 */
    uint16_t ports[SERVICE_LISTENERS_MAX]; /* for each of them: the port it was told to redirect to, or 0 */
};

struct service {
    struct reactor *reactor;          /* borrowed: clock and timers */
    struct site *site;                /* borrowed: what new requests get */
    const struct log *log;            /* borrowed, may be NULL */
    struct server_hooks hooks;        /* of the host; all NULL without any */
    struct handler static_handler;    /* serves the site's mounts: a copy */
    struct handler files_first;       /* the same, where files come before a route: its turn is next */
    struct handler before_handler;    /* of exchanges that hooks.before takes; it is never called */
    struct handler not_found_handler; /* calls hooks.not_found; serve is NULL without one */
    struct access_log *access;        /* borrowed: a line for each response; NULL: none are written */
    struct metrics_counts *counts;    /* borrowed: of its exchanges; NULL: nothing asks for metrics */
    struct metrics_board *board;      /* borrowed: the numbers of all reactors; NULL: there is no host */
    struct https_redirect redirect;   /* who is redirected, and where to */
    union exchange_dues dues;         /* of exchanges that begin now */
    uint32_t decoding;                /* request bodies that are being decoded: http/decoded_body.h */
    uint32_t ending_listeners;        /* the set of those whose connections get no further response but the next one */
    bool has_first;                   /* something comes before routes: service_note_first() */
    bool times_access;                /* the access log shows how long requests take */
    bool times_requests;              /* the site has a log_slow: service_note_first() */
    bool is_asking;                   /* hooks.on_error is being called: its errors are plain */
    bool is_stopping;                 /* a stop has begun: health says so, and responses say Connection: close */
    bool is_replaced;                 /* another program goes on, so health is well in spite of it */
    bool is_draining;                 /* the server stops: no connection outlives its response */
    bool has_drain_deadline;          /* and cuts what is left then; it may be given one later */
    bool ends_idle;                   /* and no connection waits for a request any more */
    int64_t date_s;                   /* second that date shows */
    char date[HTTP_DATE_LEN];         /* Date value */
    void *owner;                      /* the host's handle */
    unsigned owner_index;             /* which of its servers this is */
    struct evs_host *host;            /* borrowed: the tickets of its requests; NULL without a host */
    struct topics *topics;            /* borrowed: subscribers of this thread; NULL without a host */
    struct request_id_pool ids;       /* randomness for the ids of its requests */
    struct compressor *compressor;    /* owned: what compressed responses share; NULL before the first */
    struct ws_codecs *ws_codecs;      /* what compressed WebSockets share; NULL while there are none */
    struct slabs websockets;          /* memory of struct ws */
    struct slabs ws_subscriptions;    /* memory of their subscriptions */
    struct server_stats stats;        /* since the server was made */

    /* Of server_report_full(), with its argument; NULL without a host. */
    void (*on_full)(void *arg, bool ends);
    void *on_full_arg;

    /* Close something that has an fd and is only kept; returns whether there was any. NULL: there is nothing. */
    bool (*free_fd)(void *arg);
    void *free_fd_arg; /* handed to it */
};

/* Start with the reactor, the site and the log (which may be NULL), all three borrowed, and the handler of static
 * files. */
void service_init(struct service *service, struct reactor *reactor, struct site *site, const struct log *log,
                  const struct handler *static_handler);

/* A stop has begun: responses say Connection: close. */
static inline void service_note_stop(struct service *service)
{
    service->is_stopping = true;
    service->ending_listeners = UINT32_MAX;
}

/* Whether the next response on a connection of this listener, or LISTENER_NONE, is the last one. */
static inline bool service_ends(const struct service *service, int listener)
{
    return service->ending_listeners != 0 &&
           (service->is_stopping || (listener >= 0 && (service->ending_listeners >> listener & 1) != 0));
}

/* Set the hooks. Before the first request. */
void service_set_hooks(struct service *service, const struct server_hooks *hooks);

/* Set the access log, and whether it shows how long requests take; and the counts, which another thread may read. From
 * then on exchanges that begin have them. */
void service_set_access(struct service *service, struct access_log *access, bool is_timed);
void service_set_counts(struct service *service, struct metrics_counts *counts);

/* A site, hooks or redirect were set: note whether something comes before a route: hooks.before, challenges, a
 * redirect, trusted proxies, which name the id and the client, or fields to take out. A request to a server that has
 * none of them pays for one branch. And whether slow requests are logged. */
void service_note_first(struct service *service);

/* The Date value for now, HTTP_DATE_LEN bytes, valid until the next call. */
const char *service_date(struct service *service);

/* Read the totals. Any thread, while the service exists. */
void service_get_stats(const struct service *service, struct server_stats *stats);

/* Add to one of service->stats. One thread writes them, any thread may read. */
static inline void stat_add(uint64_t *number, uint64_t n)
{
    tally_add(number, n);
}

#endif
