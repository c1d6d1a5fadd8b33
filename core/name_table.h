#ifndef EVSERVE_CORE_NAME_TABLE_H
#define EVSERVE_CORE_NAME_TABLE_H

/* A table of things that have names, by their hash. An entry is a member of what it stands for; the table allocates
 * nothing but its slots. It locks nothing. */

#include <stddef.h>
#include <stdint.h>

struct named_entry {
    struct named_entry *next; /* in the same slot */
    uint64_t hash;            /* of the name */
    const char *name;         /* the owner's; not NUL-terminated */
    size_t len;               /* of name */
};

struct name_table {
    struct named_entry **slots; /* slot_count of them, a power of two; NULL while the table is empty */
    size_t slot_count;          /* of slots */
    size_t count;               /* entries */
};

/* Free the slots. The entries are their owners' and must be gone. A table of zeros is empty. */
void name_table_done(struct name_table *table);

/* The entry of a name, or NULL. */
struct named_entry *name_table_find(const struct name_table *table, uint64_t hash, const char *name, size_t len);

/* Add an entry, whose hash, name and len are set; there is none of this name yet. Returns 0 or -ENOMEM: only the first
 * entry of an empty table needs memory, more slots are made when there is memory. */
int name_table_add(struct name_table *table, struct named_entry *entry);

/* Take an entry out. */
void name_table_remove(struct name_table *table, struct named_entry *entry);

#endif
