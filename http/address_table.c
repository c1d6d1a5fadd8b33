/* Open addressing with linear probing. A removal moves what follows back into the gap, so that there are no marks of
 * the removed, which would pile up over the days.
 *
 * Failure mode: without memory to grow nothing is added, and the table stays as it was. */

#include "http/address_table.h"

#include "core/mem.h"

#include <string.h>
#include <sys/socket.h>

#define IPV4_KEY 0x0000ffff00000000ULL /* above an IPv4 address; no /64 of IPv6 in use begins like this */

static uint64_t read_bytes(const uint8_t *bytes, int count)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

uint64_t address_key(int family, const uint8_t address[16])
{
    if (family == AF_INET) {
        return IPV4_KEY | read_bytes(address, 4);
    }
    if (family != AF_INET6) {
        return 0;
    }
    uint64_t prefix = read_bytes(address, 8);
    return prefix == 0 ? 1 : prefix;
}

/* Where the search for a key begins: its upper bits multiplied, since the lower ones of a /64 are often zeros. */
static size_t home_of(const struct address_table *table, uint64_t key)
{
    return (size_t)(((key ^ key >> 32) * 0x9e3779b97f4a7c15ULL) >> 32) & (table->capacity - 1);
}

/* The place of a key, or the free one where it would be. There is a free one always. */
static struct address_entry *place_of(const struct address_table *table, uint64_t key)
{
    size_t i = home_of(table, key);
    while (table->entries[i].count > 0 && table->entries[i].key != key) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->entries[i];
}

struct address_entry *address_table_find(const struct address_table *table, uint64_t key)
{
    struct address_entry *entry = table->used == 0 ? NULL : place_of(table, key);
    return entry == NULL || entry->count == 0 ? NULL : entry;
}

static struct address_table grown(const struct address_table *table)
{
    struct address_table next = {.capacity = table->capacity == 0 ? ADDRESS_TABLE_FIRST : table->capacity * 2,
                                 .used = table->used};
    next.entries = mem_zalloc(next.capacity * sizeof *next.entries);
    for (size_t i = 0; i < table->capacity && next.entries != NULL; i++) {
        if (table->entries[i].count > 0) {
            *place_of(&next, table->entries[i].key) = table->entries[i];
        }
    }
    return next;
}

struct address_entry *address_table_add(struct address_table *table, uint64_t key)
{
    struct address_entry *entry = address_table_find(table, key);
    if (entry != NULL) {
        return entry;
    }
    if ((table->used + 1) * 4 > table->capacity * 3) {
        struct address_table next = grown(table);
        if (next.entries == NULL) {
            return NULL;
        }
        mem_free(table->entries);
        *table = next;
    }
    entry = place_of(table, key);
    entry->key = key;
    entry->ring = NULL;
    table->used++;
    return entry;
}

void address_table_remove(struct address_table *table, struct address_entry *entry)
{
    size_t mask = table->capacity - 1;
    size_t gap = (size_t)(entry - table->entries);
    table->used--;
    table->entries[gap].count = 0;
    for (size_t i = (gap + 1) & mask; table->entries[i].count > 0; i = (i + 1) & mask) {
        size_t home = home_of(table, table->entries[i].key);
        if (((i - home) & mask) >= ((i - gap) & mask)) { /* its search passes the gap */
            table->entries[gap] = table->entries[i];
            table->entries[i].count = 0;
            gap = i;
        }
    }
}

void address_table_done(struct address_table *table)
{
    mem_free(table->entries);
    *table = (struct address_table){0};
}
