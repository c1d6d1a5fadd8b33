/* Happy path: an entry with its texts behind it is one allocation, found by the connection's address in a hash table of
 * lists, which grows with the number of connections that are there at once and never shrinks.
 *
 * Failure modes: without memory for a larger table the lists are longer; without memory for an entry, or for the first
 * table, there is no entry. */

#include "http/conn_proxied.h"

#include "core/mem.h"
#include "core/proxy_header.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { PROXIED_FIRST = 64 /* places of a table that is used for the first time */ };

struct proxied_entry {
    struct proxied_entry *next; /* in the same place */
    const struct conn *conn;    /* whose */
    struct proxied proxied;
    char texts[]; /* that it points to */
};

/* The place of a connection in a table with places. */
static struct proxied_entry **place_of_conn(const struct proxied_table *table, const struct conn *conn)
{
    uint64_t hash = (uint64_t)(uintptr_t)conn * UINT64_C(0x9e3779b97f4a7c15);
    return &table->places[(size_t)(hash >> 32) & (table->capacity - 1)];
}

static void put_proxied_entry(struct proxied_table *table, struct proxied_entry *entry)
{
    struct proxied_entry **place = place_of_conn(table, entry->conn);
    entry->next = *place;
    *place = entry;
}

/* Make the table as large as it should be for one more. Returns 0, or -ENOMEM if there is none at all. */
static int grow_proxied(struct proxied_table *table)
{
    if (table->used < table->capacity) {
        return 0;
    }
    struct proxied_table grown = {.capacity = table->capacity == 0 ? PROXIED_FIRST : table->capacity * 2,
                                  .used = table->used};
    grown.places = mem_zalloc(grown.capacity * sizeof(struct proxied_entry *));
    if (grown.places == NULL) {
        return table->capacity == 0 ? -ENOMEM : 0;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        for (struct proxied_entry *entry = table->places[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            put_proxied_entry(&grown, entry);
        }
    }
    mem_free(table->places);
    *table = grown;
    return 0;
}

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

int conn_proxied_note(struct conn *conn, const struct proxy_header *header)
{
    struct proxied_table *table = &conn->pool->proxied;
    struct proxied_entry *entry = grow_proxied(table) < 0 ? NULL : make_proxied(conn, header);
    if (entry == NULL) {
        return -ENOMEM;
    }
    put_proxied_entry(table, entry);
    table->used++;
    conn->is_proxied = true;
    peer_init(&conn->peer, (const struct sockaddr *)&header->source);
    return 0;
}

const struct proxied *conn_proxied_find(const struct conn *conn)
{
    if (!conn->is_proxied) {
        return NULL;
    }
    const struct proxied_entry *entry = *place_of_conn(&conn->pool->proxied, conn);
    while (entry->conn != conn) {
        entry = entry->next;
    }
    return &entry->proxied;
}

void conn_proxied_drop(struct conn *conn)
{
    struct proxied_table *table = &conn->pool->proxied;
    struct proxied_entry **link = place_of_conn(table, conn);
    while ((*link)->conn != conn) {
        link = &(*link)->next;
    }
    struct proxied_entry *entry = *link;
    *link = entry->next;
    mem_free(entry);
    table->used--;
    conn->is_proxied = false;
}
