/* Memory of connections comes in slabs and is kept until the server ends.
 *
 * Failure mode: without memory for a slab there is no connection; the server then makes room or turns the client
 * away. */

#include "http/conn_pool.h"

#include "core/mem.h"
#include "core/sys.h"
#include "http/conn_protocol.h"
#include "http/service.h"

#include <errno.h>

struct conn_slab {
    struct conn_slab *next;           /* allocated before */
    struct conn conns[CONN_SLAB_LEN]; /* in use, or in free_conns */
};

int conn_pool_init(struct conn_pool *pool, struct service *service)
{
    pool->service = service;
    pool->failed_handshakes = (struct conn_lines){.service = service, .what = "more TLS handshakes have failed"};
    pool->mistaken = (struct conn_lines){.service = service,
                                         .what = "more clients have sent TLS to listeners for plain HTTP"};
    pool->bad_headers = (struct conn_lines){.service = service, .what = "more PROXY headers were rejected"};
    pool->read_block = mem_alloc(READ_BLOCK_BYTES + READ_SLACK);
    pool->spare_out_capacity = OUT_BLOCK_BYTES;
    pool->spare_out = mem_alloc(OUT_BLOCK_BYTES);
    return pool->read_block == NULL || pool->spare_out == NULL ? -ENOMEM : 0;
}

void conn_pool_done(struct conn_pool *pool)
{
    name_table_done(&pool->ends);
    conn_lines_done(&pool->failed_handshakes);
    conn_lines_done(&pool->mistaken);
    conn_lines_done(&pool->bad_headers);
    name_table_done(&pool->proxied);
    while (pool->slabs != NULL) {
        struct conn_slab *next = pool->slabs->next;
        mem_free(pool->slabs);
        pool->slabs = next;
    }
    mem_free(pool->spare_traffic);
    mem_free(pool->spare_out);
    mem_free(pool->read_block);
}

static int add_slab(struct conn_pool *pool)
{
    struct conn_slab *slab = mem_alloc(sizeof *slab);
    if (slab == NULL) {
        return -ENOMEM;
    }
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (int i = CONN_SLAB_LEN - 1; i >= 0; i--) {
        slab->conns[i].transport.fd = -1; /* not open, for conn_pool_each() */
        slab->conns[i].next = pool->free_conns;
        pool->free_conns = &slab->conns[i];
    }
    return 0;
}

static void link_conn(struct conn_pool *pool, struct conn *conn)
{
    conn->next = pool->conns;
    conn->prev = NULL;
    if (pool->conns != NULL) {
        pool->conns->prev = conn;
    } else {
        pool->last_conn = conn;
    }
    pool->conns = conn;
}

static void unlink_conn(struct conn_pool *pool, struct conn *conn)
{
    if (conn->prev == NULL) {
        pool->conns = conn->next;
    } else {
        conn->prev->next = conn->next;
    }
    if (conn->next == NULL) {
        pool->last_conn = conn->prev;
    } else {
        conn->next->prev = conn->prev;
    }
}

struct conn *conn_pool_take(struct conn_pool *pool)
{
    if (pool->free_conns == NULL && add_slab(pool) < 0) {
        return NULL;
    }
    struct conn *conn = pool->free_conns;
    pool->free_conns = conn->next;
    *conn = (struct conn){.pool = pool, .transport = {.fd = -1}};
    link_conn(pool, conn);
    return conn;
}

void conn_pool_forget(struct conn_pool *pool, struct conn *conn)
{
    unlink_conn(pool, conn);
    pool->on_closed(pool->arg, conn);
}

void conn_pool_put(struct conn_pool *pool, struct conn *conn)
{
    conn->next = pool->free_conns;
    pool->free_conns = conn;
}

void conn_pool_each(const struct conn_pool *pool, void (*fn)(void *arg, const struct conn *conn), void *arg)
{
    for (const struct conn_slab *slab = pool->slabs; slab != NULL; slab = slab->next) {
        for (size_t i = 0; i < CONN_SLAB_LEN; i++) {
            if (slab->conns[i].transport.fd >= 0) {
                fn(arg, &slab->conns[i]);
            }
        }
    }
}

bool conn_pool_drains_long(const struct conn_pool *pool)
{
    return pool->service->is_draining && sys_now_ns() >= pool->drain_spell_ns;
}

void conn_pool_renew(struct conn_pool *pool, struct conn *conn)
{
    unlink_conn(pool, conn);
    link_conn(pool, conn);
}

void conn_pool_lend_out(struct conn_pool *pool, struct write_buffer *out)
{
    if (out->block == NULL && pool->spare_out != NULL) {
        write_buffer_attach(out, pool->spare_out, pool->spare_out_capacity);
        pool->spare_out = NULL;
    }
}

void conn_pool_put_out(struct conn_pool *pool, struct write_buffer *out)
{
    write_buffer_consume(out, SIZE_MAX);
    if (pool->spare_out == NULL) {
        pool->spare_out = write_buffer_detach(out, &pool->spare_out_capacity);
    } else {
        write_buffer_done(out);
    }
}
