#ifndef EVSERVE_HTTP_SERVER_INTERNAL_H
#define EVSERVE_HTTP_SERVER_INTERNAL_H

/* The inside of struct server, for conn.c, exchange.c and response.c. */

#include "core/net.h"
#include "core/sys.h"
#include "http/address_table.h"
#include "http/conn.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/server.h"
#include "http/service.h"
#include "http/site.h"

enum {
    READ_BLOCK_BYTES = 65536, /* the shared read buffer: the most that one read takes (R6) */
    OUT_BLOCK_BYTES = 65536,  /* the shared output block */
    CONN_SLAB_LEN = 64,       /* connections allocated together */
    /* How long server_drain() answers requests that have arrived before it leaves the others to tasks (R6). */
    DRAIN_SPELL_NS = 10000000,
};

/* What the number of connections is bounded by. */
enum server_cap { SERVER_CAP_TOTAL, SERVER_CAP_ADDRESS, SERVER_CAP_FDS, SERVER_CAPS };

/* Memory of connections, kept until the server ends. */
struct conn_slab {
    struct conn_slab *next;           /* allocated before */
    struct conn conns[CONN_SLAB_LEN]; /* in use, or in free_conns */
};

/* What a listener hands to its callbacks. */
struct accepter {
    struct server *server; /* whose listener it is */
    int8_t listener;       /* its index */
};

struct server {
    struct service service;                              /* what requests and handlers see of it */
    parse_head_fn parse_head;                            /* the fastest for this CPU */
    struct net_listener listeners[SERVER_LISTENERS_MAX]; /* in the order of opening */
    struct accepter accepters[SERVER_LISTENERS_MAX];     /* one for each of them */
    unsigned listener_count;                             /* of listeners */

    char *read_block;                /* lent to the connection that is being advanced */
    bool is_read_block_lent;         /* it is, to one at a time */
    char *spare_out;                 /* output block for the next connection that has something to say, or NULL */
    size_t spare_out_capacity;       /* bytes of it */
    struct exchange *free_exchanges; /* in no use, of the site as it is now */
    struct conn *free_conns;         /* in no use */
    struct conn_slab *slabs;         /* all memory of connections */
    struct conn *conns;              /* open connections, newest first, but for what server_room.c moved */
    struct conn *last_conn;          /* the other end of conns */
    struct address_table addresses;  /* who has how many, while max_connections_per_address is set */

    int *adopted;              /* sockets of server_adopt() that have no connection yet */
    unsigned adopted_count;    /* of adopted */
    unsigned adopted_capacity; /* of adopted */

    uint64_t drain_timer;                        /* that cuts what is left; 0 while none is set */
    int64_t drain_spell_ns;                      /* when server_drain() begins to leave connections to tasks */
    int64_t say_full_ms[SERVER_CAPS];            /* when the log may say so again */
    unsigned cut;                                /* connections that the drain's deadline cut */
    void (*on_drained)(void *arg, unsigned cut); /* of server_drain(); NULL when nobody wants to know */
    void *on_drained_arg;                        /* handed to on_drained */
};

/* The server stops, and has answered what has arrived for so long that others must have their turns: connections go on in
 * tasks, of which a tick does not run too many. */
static inline bool server_drains_long(const struct server *server)
{
    return server->service.is_draining && sys_now_ns() >= server->drain_spell_ns;
}

/* The limits in force: those of the request at hand. What limits.def calls SERVER is the same in all of them. */
static inline const struct limits *conn_limits(const struct conn *conn)
{
    return conn->exchange != NULL ? conn->exchange->limits : &conn->server->service.site->limits;
}

/* An exchange from the pool, or a new one, which pins the site; NULL without memory. */
struct exchange *server_take_exchange(struct server *server);

/* Give it back, with all it holds released. */
void server_put_exchange(struct server *server, struct exchange *exchange);

/* Take an output block back, dropping what is queued: it is the next one to be lent, or freed. */
void server_put_out(struct server *server, struct write_buffer *out);

/* The connection's memory: taken when it opens, given back when it is closed and no task knows it. Taking links it into
 * the list of open connections, and closes an idle one when memory is short; server_forget_conn() unlinks it. */
struct conn *server_take_conn(struct server *server);
void server_forget_conn(struct server *server, struct conn *conn);
void server_put_conn(struct server *server, struct conn *conn);

/* The list alone. */
void server_link_conn(struct server *server, struct conn *conn);
void server_unlink_conn(struct server *server, struct conn *conn);

/* server_room.c: who may come in when the server is full. */

/* Whether one more connection of this address (address_key()) may be opened; closes idle ones for it. */
bool server_make_room(struct server *server, uint64_t address);

/* Close the connection that has waited longest for a request. Returns whether there was one. Not while a connection is
 * being advanced. */
bool server_close_idle(struct server *server);

/* Fds are short for a newcomer: the same, and the log says so once in a while. */
bool server_starve(struct server *server);

/* Fds are short for a file that a request asks for: close the connection that has waited longest for a request and has
 * sent nothing since. Reads nothing, so it may be called while a connection is being advanced. arg is the server. Returns
 * whether one was closed. */
bool server_make_file_room(void *arg);

/* Count a connection of this address, and no more. Returns 0 or -ENOMEM. */
int server_count_address(struct conn *conn, uint64_t address);
void server_uncount_address(struct conn *conn);

/* Answer 503 to a newcomer and close it, as well as it goes without a connection's memory. newcomer, which knows its
 * address, may be NULL. */
void server_turn_away(struct server *server, int fd, const struct conn *newcomer);

#endif
