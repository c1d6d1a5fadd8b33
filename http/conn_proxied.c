/* Happy path: an entry with its texts behind it is one allocation, found by the connection's address.
 * Failure mode: without memory there is none. */

#include "http/conn_proxied.h"

#include "core/mem.h"
#include "core/name_table.h"
#include "core/proxy_header.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"

#include <errno.h>
#include <string.h>

struct proxied_entry {
    struct named_entry entry; /* in the pool's proxied: its name are the bytes of conn */
    const struct conn *conn;  /* whose */
    struct proxied proxied;
    char texts[]; /* that it points to */
};

/* Copy a text with a NUL behind it to *at, which moves on. */
static const char *copy_proxied_text(char **at, struct proxy_text text)
{
    char *copy = *at;
    if (text.len > 0) {
        memcpy(copy, text.text, text.len);
    }
    copy[text.len] = '\0';
    *at += text.len + 1;
    return copy;
}

static struct proxied_entry *make_proxied(const struct conn *conn, const struct proxy_header *header)
{
    size_t len = header->unique_id.len + header->authority.len + header->alpn.len + header->tls_version.len +
                 header->tls_cipher.len + header->tls_client.len + 6;
    struct proxied_entry *entry = mem_zalloc(sizeof *entry + len);
    if (entry == NULL) {
        return NULL;
    }
    char *at = entry->texts;
    struct proxied *proxied = &entry->proxied;
    entry->conn = conn;
    entry->entry.hash = conn_pool_hash(conn);
    entry->entry.name = (const char *)&entry->conn;
    entry->entry.len = sizeof entry->conn;
    proxied->proxy = conn->peer;
    peer_init(&proxied->destination, (const struct sockaddr *)&header->destination);
    proxied->unique_id = copy_proxied_text(&at, header->unique_id);
    proxied->unique_id_len = header->unique_id.len;
    proxied->authority = copy_proxied_text(&at, header->authority);
    proxied->alpn = copy_proxied_text(&at, header->alpn);
    proxied->is_tls = header->is_tls;
    proxied->tls_version = copy_proxied_text(&at, header->tls_version);
    proxied->tls_cipher = copy_proxied_text(&at, header->tls_cipher);
    proxied->tls_client = copy_proxied_text(&at, header->tls_client);
    return entry;
}

static struct proxied_entry *find_proxied_entry(const struct conn *conn)
{
    return (struct proxied_entry *)(void *)name_table_find(&conn->pool->proxied, conn_pool_hash(conn),
                                                           (const char *)&conn, sizeof conn);
}

int conn_proxied_note(struct conn *conn, const struct proxy_header *header)
{
    struct proxied_entry *entry = make_proxied(conn, header);
    if (entry == NULL || name_table_add(&conn->pool->proxied, &entry->entry) < 0) {
        mem_free(entry);
        return -ENOMEM;
    }
    conn->is_proxied = true;
    peer_init(&conn->peer, (const struct sockaddr *)&header->source);
    return 0;
}

const struct proxied *conn_proxied_find(const struct conn *conn)
{
    return conn->is_proxied ? &find_proxied_entry(conn)->proxied : NULL;
}

void conn_proxied_drop(struct conn *conn)
{
    struct proxied_entry *entry = find_proxied_entry(conn);
    name_table_remove(&conn->pool->proxied, &entry->entry);
    mem_free(entry);
    conn->is_proxied = false;
}
