#ifndef EVSERVE_HTTP_ADDRESS_TABLE_H
#define EVSERVE_HTTP_ADDRESS_TABLE_H

/* How many connections each address has: a hash table that is touched when a connection opens and when it closes, and
 * only while max_connections_per_address is set. It grows with the number of addresses that are connected at once,
 * which max_connections bounds, and never shrinks. */

#include <stddef.h>
#include <stdint.h>

struct conn;

/* One address, while it has connections. Valid until the table changes. */
struct address_entry {
    uint64_t key;      /* address_key() */
    struct conn *ring; /* its connections, newest first, linked in a ring (conn->address_next) */
    uint32_t count;    /* of them; 0 in a free place */
};

/* Zeroed at first. */
struct address_table {
    struct address_entry *entries; /* NULL before the first address */
    size_t capacity;               /* a power of two, or 0 */
    size_t used;                   /* addresses in it */
};

enum { ADDRESS_TABLE_FIRST = 64 /* places of a table that is used for the first time */ };

/* What counts as one address: the whole of an IPv4 address (conn.c makes one of what comes mapped into IPv6); the /64
 * of an IPv6 address, since that is what one subscriber has. address is in network order, 4 bytes or 16. Returns 0 for
 * other families, which are not counted, and for IPv6 addresses of ::/64, the loopback's among them, 1. */
uint64_t address_key(int family, const uint8_t address[16]);

/* The entry of a key, which is not 0; NULL when the address has no connection. */
struct address_entry *address_table_find(const struct address_table *table, uint64_t key);

/* The same, with a place made for an address that is new, whose count the caller raises at once; NULL without
 * memory. */
struct address_entry *address_table_add(struct address_table *table, uint64_t key);

/* The address has no connection any more. */
void address_table_remove(struct address_table *table, struct address_entry *entry);

/* Free it all; the table is as zeroed. */
void address_table_done(struct address_table *table);

#endif
