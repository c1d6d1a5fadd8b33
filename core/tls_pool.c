/* Happy path: a block is lent, its bytes go out in one system call, and it comes back.
 *
 * Failure mode: a slow client keeps its bytes in memory of its own. */

#include "core/tls_pool.h"

#include "core/mem.h"
#include "core/tls_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef EVSERVE_HAS_TLS

struct tls_pool *tls_pool_create(const char *plain_reply)
{
    struct tls_pool *pool = mem_zalloc(sizeof *pool);
    if (pool == NULL) {
        return NULL;
    }
    pool->plain_reply = plain_reply;
    pool->plain = mem_alloc(TLS_RECORD_BYTES);
    pool->spare_out = mem_alloc(TLS_OUT_BYTES);
    pool->spare_capacity = TLS_OUT_BYTES;
    pool->method = tls_socket_method();
    if (pool->plain == NULL || pool->spare_out == NULL || pool->method == NULL) {
        tls_pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void tls_pool_destroy(struct tls_pool *pool)
{
    if (pool != NULL) {
        tls_socket_method_free(pool->method);
        mem_free(pool->plain);
        mem_free(pool->spare_out);
        mem_free(pool);
    }
}

int tls_pool_lend(struct tls_pool *pool, struct write_buffer *out)
{
    if (out->block != NULL) {
        return 0;
    }
    char *block = pool->spare_out != NULL ? pool->spare_out : mem_alloc(TLS_OUT_BYTES);
    if (block == NULL) {
        return -ENOMEM;
    }
    write_buffer_attach(out, block, pool->spare_out != NULL ? pool->spare_capacity : TLS_OUT_BYTES);
    pool->spare_out = NULL;
    return 0;
}

static void settle_block(struct tls_pool *pool, struct write_buffer *out)
{
    if (pool->spare_out == NULL && out->capacity >= TLS_OUT_BYTES) {
        pool->spare_out = write_buffer_detach(out, &pool->spare_capacity);
    } else {
        write_buffer_done(out);
    }
    write_buffer_init(out);
}

void tls_pool_settle(struct tls_pool *pool, struct write_buffer *out)
{
    size_t len = write_buffer_len(out);
    bool is_own = pool->spare_out != NULL || out->capacity < TLS_OUT_BYTES;
    if (out->block == NULL || (len > 0 && is_own)) {
        return;
    }
    struct write_buffer own;
    write_buffer_init(&own);
    if (len > 0 && write_buffer_append(&own, write_buffer_data(out), len, len) < 0) {
        return;
    }
    write_buffer_consume(out, SIZE_MAX);
    settle_block(pool, out);
    *out = own;
}

#else

struct tls_pool *tls_pool_create(const char *plain_reply)
{
    (void)plain_reply;
    return NULL;
}

void tls_pool_destroy(struct tls_pool *pool)
{
    (void)pool;
}

#endif
