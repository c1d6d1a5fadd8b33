#ifndef EVSERVE_HTTP_SERVER_INTERNAL_H
#define EVSERVE_HTTP_SERVER_INTERNAL_H

/* The inside of struct server, for server.c, server_drain.c and server_room.c alone. */

#include "core/net.h"
#include "core/tls.h"
#include "http/address_table.h"
#include "http/conn.h"
#include "http/conn_pool.h"
#include "http/conn_proxy.h"
#include "http/h1/h1_protocol.h"
#include "http/service.h"

#include <stdatomic.h>

enum {
    SERVER_LISTENERS_MAX = SERVICE_LISTENERS_MAX,
    /* How long a step of a stop works on connections before it leaves the others to tasks (R6). */
    DRAIN_SPELL_NS = 10000000,
};

/* What the number of connections is bounded by. */
enum server_cap { SERVER_CAP_TOTAL, SERVER_CAP_ADDRESS, SERVER_CAP_FDS, SERVER_CAPS };

/* What a listener hands to its callbacks, and its connections begin with. */
struct accepter {
    struct server *server;           /* whose listener it is */
    const struct protocol *protocol; /* what its connections speak */
    const struct transport_ops *ops; /* what carries their bytes; NULL: the socket itself */
    void *ops_arg;                   /* handed to the ops */
    const struct conn_proxy *proxy;  /* what comes before that, with "?proxy"; else NULL */
    int8_t listener;                 /* its index, or LISTENER_NONE for server_adopt() */
};

struct server {
    struct service service;                              /* what requests and handlers see of it */
    struct conn_pool pool;                               /* its connections */
    struct h1_server *h1;                                /* what it keeps for HTTP/1; owned */
    struct net_listener listeners[SERVER_LISTENERS_MAX]; /* in the order of opening */
    struct accepter accepters[SERVER_LISTENERS_MAX];     /* one for each of them */
    atomic_uint listener_count;                          /* of listeners: grows while other threads read addresses */
    atomic_uint gone_listeners;        /* the set of those that were closed while the server ran; likewise */
    char *asked[SERVER_LISTENERS_MAX]; /* what server_listen() got for each; owned, NULL after server_join() */
    struct net_handed_list *handed;    /* borrowed: server_set_handed(); may be NULL */
    struct conn_proxy proxies[2];      /* for listeners with "?proxy": plain, and TLS */
    struct tls_opening tls;            /* what connections of TLS listeners begin with; NULLs before server_set_tls() */
    struct address_table addresses;    /* who has how many connections, while max_connections_per_address is set */

    int *adopted;              /* sockets of server_adopt() that have no connection yet */
    unsigned adopted_count;    /* of adopted */
    unsigned adopted_capacity; /* of adopted */

    uint64_t drain_timer;                        /* that cuts what is left; 0 while none is set */
    uint64_t grace_timer;                        /* that ends idle connections; 0 while none is set */
    uint64_t ending_timer;                       /* that ends idle connections of closed listeners; likewise */
    int64_t say_full_ms[SERVER_CAPS];            /* when the log may say so again */
    unsigned cut;                                /* connections that the drain's deadline cut */
    void (*on_drained)(void *arg, unsigned cut); /* of server_drain(); may be NULL */
    void *on_drained_arg;                        /* handed to on_drained */
};

#endif
