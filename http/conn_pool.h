#ifndef EVSERVE_HTTP_CONN_POOL_H
#define EVSERVE_HTTP_CONN_POOL_H

/* The connections of one server: their memory, their list, and the two blocks that each of them borrows for the length
 * of a turn. The server embeds it; connections reach their server through it alone. */

#include "core/name_table.h"
#include "core/write_buffer.h"
#include "http/conn_lines.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct conn_slab;
struct service;

enum {
    READ_BLOCK_BYTES = 65536, /* the shared read buffer: the most that one read takes (R6) */
    READ_SLACK = 32,          /* bytes behind whatever a head lies in: they may be read, and mean nothing */
    OUT_BLOCK_BYTES = 65536,  /* the shared output block */
    CONN_SLAB_LEN = 64,       /* connections allocated together */
};

struct conn_pool {
    struct service *service;             /* of the server */
    struct conn *conns;                  /* open connections, newest first, except for what server_room.c moved */
    struct conn *last_conn;              /* the other end of conns */
    struct conn *free_conns;             /* in no use */
    struct conn_slab *slabs;             /* all memory of connections */
    char *read_block;                    /* lent to the connection that is being advanced */
    bool is_read_block_lent;             /* it is, to one at a time */
    char *spare_out;                     /* output block for the next connection that has something to say, or NULL */
    size_t spare_out_capacity;           /* bytes of it */
    void *spare_traffic;                 /* likewise, for what a WebSocket notes of it (http/ws/ws_traffic.c) */
    uint64_t handshakes_tick;            /* the reactor's tick in which handshakes have taken */
    int64_t handshakes_ns;               /* so long */
    struct conn_lines failed_handshakes; /* lines about TLS handshakes that fail */
    struct conn_lines mistaken;          /* about TLS that is sent to plain listeners */
    struct conn_lines bad_headers;       /* about connections without a valid PROXY header */
    struct name_table proxied;           /* what proxies have said of connections (http/conn_proxied.c) */
    struct name_table ends;              /* what is due when connections are closed (http/conn_ends.c) */
    int64_t drain_spell_ns;              /* when the drain begins to leave connections to tasks */
    void (*on_closed)(void *arg, struct conn *conn); /* a connection left the list; its memory is still there */
    void *arg;                                       /* handed to on_closed */
};

/* Get the two blocks. service is borrowed; on_closed and arg are set by the caller. Returns 0 or -ENOMEM; either way
 * conn_pool_done() is due. */
int conn_pool_init(struct conn_pool *pool, struct service *service);

/* Free all memory. Every connection is closed. */
void conn_pool_done(struct conn_pool *pool);

/* The memory of a connection, which is linked into the list of open ones: zeroed, except for pool and the fd, which is
 * -1. NULL without memory. */
struct conn *conn_pool_take(struct conn_pool *pool);

/* The connection is closed: take it off the list. Give its memory back when no task knows it any more. */
void conn_pool_forget(struct conn_pool *pool, struct conn *conn);
void conn_pool_put(struct conn_pool *pool, struct conn *conn);

/* Call fn with each open connection, in the order of memory, which is faster than that of the list. fn must not open or
 * close any. */
void conn_pool_each(const struct conn_pool *pool, void (*fn)(void *arg, const struct conn *conn), void *arg);

/* Whether the server stops, and has answered what has arrived for so long that others must have their turns:
 * connections go on in tasks, of which a tick does not run too many. */
bool conn_pool_drains_long(const struct conn_pool *pool);

/* The hash of a connection's address, for the tables of what is kept beside connections. */
static inline uint64_t conn_pool_hash(const struct conn *conn)
{
    return (uint64_t)(uintptr_t)conn * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

/* Move an open connection to the new end of the list. */
void conn_pool_renew(struct conn_pool *pool, struct conn *conn);

/* Lend the output block, if it is there, to a queue without a block; take a block back, dropping what is queued: it is
 * the next one to be lent, or freed. */
void conn_pool_lend_out(struct conn_pool *pool, struct write_buffer *out);
void conn_pool_put_out(struct conn_pool *pool, struct write_buffer *out);

#endif
