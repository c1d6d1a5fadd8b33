/* Happy path: an entry is found by the connection's address. Failure mode: without memory there is none. */

#include "http/conn_ends.h"

#include "core/mem.h"
#include "core/name_table.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

struct conn_end {
    struct named_entry entry; /* in the pool's ends: its name are the bytes of conn */
    struct conn *conn;
    void (*fn)(void *arg);
    void *arg;
};

int conn_ends_add(struct conn *conn, void (*fn)(void *arg), void *arg)
{
    assert(!conn->has_end);
    struct conn_end *end = mem_alloc(sizeof *end);
    if (end == NULL) {
        return -ENOMEM;
    }
    *end = (struct conn_end){.conn = conn, .fn = fn, .arg = arg};
    end->entry.hash = conn_pool_hash(conn);
    end->entry.name = (const char *)&end->conn;
    end->entry.len = sizeof end->conn;
    if (name_table_add(&conn->pool->ends, &end->entry) < 0) {
        mem_free(end);
        return -ENOMEM;
    }
    conn->has_end = true;
    return 0;
}

void conn_ends_call(struct conn *conn)
{
    struct name_table *ends = &conn->pool->ends;
    struct named_entry *entry = name_table_find(ends, conn_pool_hash(conn), (const char *)&conn, sizeof conn);
    struct conn_end *end = (struct conn_end *)(void *)entry;
    name_table_remove(ends, entry);
    conn->has_end = false;
    end->fn(end->arg);
    mem_free(end);
}
