/* Chains in slots, which are doubled when there are more entries than slots.
 *
 * Failure mode: without memory for more slots, chains grow longer. */

#include "core/name_table.h"

#include "core/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { NAME_SLOTS_FIRST = 8 };

void name_table_done(struct name_table *table)
{
    mem_free(table->slots);
    *table = (struct name_table){0};
}

static struct named_entry **slot_of_hash(const struct name_table *table, uint64_t hash)
{
    return &table->slots[(size_t)hash & (table->slot_count - 1)];
}

struct named_entry *name_table_find(const struct name_table *table, uint64_t hash, const char *name, size_t len)
{
    struct named_entry *entry = table->slots == NULL ? NULL : *slot_of_hash(table, hash);
    while (entry != NULL && (entry->hash != hash || entry->len != len || memcmp(entry->name, name, len) != 0)) {
        entry = entry->next;
    }
    return entry;
}

/* Returns whether there are more slots now. */
static bool grow_slots(struct name_table *table)
{
    size_t count = table->slot_count == 0 ? (size_t)NAME_SLOTS_FIRST : table->slot_count * 2;
    struct named_entry **slots = mem_zalloc(count * sizeof(struct named_entry *));
    if (slots == NULL) {
        return false;
    }
    const struct name_table old = *table;
    table->slots = slots;
    table->slot_count = count;
    for (size_t i = 0; i < old.slot_count; i++) {
        for (struct named_entry *entry = old.slots[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            struct named_entry **slot = slot_of_hash(table, entry->hash);
            entry->next = *slot;
            *slot = entry;
        }
    }
    mem_free(old.slots);
    return true;
}

int name_table_add(struct name_table *table, struct named_entry *entry)
{
    if (table->count >= table->slot_count && !grow_slots(table) && table->slots == NULL) {
        return -ENOMEM;
    }
    struct named_entry **slot = slot_of_hash(table, entry->hash);
    entry->next = *slot;
    *slot = entry;
    table->count++;
    return 0;
}

void name_table_remove(struct name_table *table, struct named_entry *entry)
{
    struct named_entry **place = slot_of_hash(table, entry->hash);
    while (*place != entry) {
        place = &(*place)->next;
    }
    *place = entry->next;
    table->count--;
}
