/* A hash table with chains, a doubly linked list in the order of use, and a min-heap of deadlines in which each entry
 * knows its place. An entry that leaves is only unlinked; its memory is freed later, outside of the lock. */

#include "core/store_shard.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

enum {
    SLOT_BYTES = 128,    /* of the size for each slot: about an entry of a short key and a short value */
    SLOTS_LEAST = 64,    /* of a shard */
    EXPIRED_AT_ONCE = 2, /* entries dropped with each new one even while there is room: more than come in */
    ENTRY_EXTRA = 32,    /* bytes that an entry costs beside its own: a deadline, and what the allocator needs */
};

uint64_t store_entry_cost(size_t key_len, size_t value_len)
{
    return sizeof(struct store_entry) + ENTRY_EXTRA + (uint64_t)key_len + value_len;
}

static uint64_t own_cost(const struct store_entry *entry)
{
    return store_entry_cost(entry->key_len, entry->value_len);
}

/* Making and freeing. */

struct shard_tables {
    struct store_entry **slots;
    uint32_t slot_count;
    struct store_deadline *deadlines;
    uint64_t budget;
};

static int make_tables(struct shard_tables *tables, uint64_t size)
{
    uint32_t slot_count = SLOTS_LEAST;
    while (slot_count < UINT32_MAX / 2 && slot_count < size / SLOT_BYTES) {
        slot_count *= 2;
    }
    uint64_t slot_bytes = (uint64_t)slot_count * sizeof tables->slots[0];
    uint64_t budget = size > slot_bytes ? size - slot_bytes : 0;
    uint64_t most = budget / store_entry_cost(0, 0) + 1;
    if (most > UINT32_MAX || slot_bytes > SIZE_MAX / 2 || most > SIZE_MAX / 2 / sizeof tables->deadlines[0]) {
        return -ENOMEM;
    }
    *tables = (struct shard_tables){
        .slots = mem_zalloc((size_t)slot_bytes),
        .slot_count = slot_count,
        .deadlines = mem_alloc((size_t)most * sizeof tables->deadlines[0]), /* untouched until it is needed */
        .budget = budget,
    };
    if (tables->slots == NULL || tables->deadlines == NULL) {
        mem_free(tables->slots);
        mem_free(tables->deadlines);
        return -ENOMEM;
    }
    return 0;
}

int store_shard_init(struct store_shard *shard, uint64_t size)
{
    struct shard_tables tables;
    *shard = (struct store_shard){.slots = NULL};
    if (make_tables(&tables, size) < 0) {
        return -ENOMEM;
    }
    shard->slots = tables.slots;
    shard->slot_count = tables.slot_count;
    shard->deadlines = tables.deadlines;
    shard->budget = tables.budget;
    return 0;
}

void store_shard_done(struct store_shard *shard)
{
    if (shard->slots != NULL) {
        store_shard_clear(shard);
        store_entries_free(store_shard_take_dropped(shard));
    }
    mem_free(shard->slots);
    mem_free(shard->deadlines);
}

struct store_entry *store_entry_make(uint32_t hash, const char *key, size_t key_len, const char *value,
                                     size_t value_len)
{
    struct store_entry *made = mem_alloc(sizeof *made + key_len + value_len);
    if (made != NULL) {
        *made = (struct store_entry){.hash = hash, .key_len = (uint16_t)key_len, .value_len = (uint32_t)value_len};
        atomic_init(&made->refs, 1);
        memcpy(made->bytes, key, key_len);
        if (value_len > 0) {
            memcpy(made->bytes + key_len, value, value_len);
        }
    }
    return made;
}

void store_entry_put(struct store_entry *entry)
{
    if (entry != NULL && atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(entry);
    }
}

struct store_entry *store_shard_take_dropped(struct store_shard *shard)
{
    struct store_entry *dropped = shard->dropped;
    shard->dropped = NULL;
    return dropped;
}

void store_entries_free(struct store_entry *dropped)
{
    while (dropped != NULL) {
        struct store_entry *next = dropped->newer;
        store_entry_put(dropped);
        dropped = next;
    }
}

/* Deadlines. */

static void put_deadline(struct store_shard *shard, uint32_t place, struct store_deadline deadline)
{
    shard->deadlines[place] = deadline;
    deadline.entry->place = place;
}

static void raise_deadline(struct store_shard *shard, uint32_t place, struct store_deadline deadline)
{
    while (place > 0 && deadline.at_ms < shard->deadlines[(place - 1) / 2].at_ms) {
        put_deadline(shard, place, shard->deadlines[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_deadline(shard, place, deadline);
}

static void lower_deadline(struct store_shard *shard, uint32_t place, struct store_deadline deadline)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)place + 1;
        if (child >= shard->deadline_count) {
            break;
        }
        if (child + 1 < shard->deadline_count && shard->deadlines[child + 1].at_ms < shard->deadlines[child].at_ms) {
            child++;
        }
        if (deadline.at_ms <= shard->deadlines[child].at_ms) {
            break;
        }
        put_deadline(shard, place, shard->deadlines[child]);
        place = (uint32_t)child;
    }
    put_deadline(shard, place, deadline);
}

static void sift_deadline(struct store_shard *shard, uint32_t place, struct store_deadline deadline)
{
    if (place > 0 && deadline.at_ms < shard->deadlines[(place - 1) / 2].at_ms) {
        raise_deadline(shard, place, deadline);
    } else {
        lower_deadline(shard, place, deadline);
    }
}

void store_shard_set_deadline(struct store_shard *shard, struct store_entry *entry, int64_t expires_ms)
{
    bool had_one = entry->expires_ms != 0;
    uint32_t place = entry->place;
    entry->expires_ms = expires_ms;
    if (expires_ms != 0) {
        struct store_deadline deadline = {expires_ms, entry};
        sift_deadline(shard, had_one ? place : shard->deadline_count++, deadline);
    } else if (had_one) {
        struct store_deadline last = shard->deadlines[--shard->deadline_count];
        if (last.entry != entry) {
            sift_deadline(shard, place, last);
        }
    }
}

/* The order of use. */

static void unlink_use(struct store_shard *shard, struct store_entry *entry)
{
    *(entry->newer == NULL ? &shard->newest : &entry->newer->older) = entry->older;
    *(entry->older == NULL ? &shard->oldest : &entry->older->newer) = entry->newer;
}

static void link_newest(struct store_shard *shard, struct store_entry *entry)
{
    entry->newer = NULL;
    entry->older = shard->newest;
    *(shard->newest == NULL ? &shard->oldest : &shard->newest->newer) = entry;
    shard->newest = entry;
}

void store_shard_touch(struct store_shard *shard, struct store_entry *entry)
{
    if (shard->newest != entry) {
        unlink_use(shard, entry);
        link_newest(shard, entry);
    }
}

/* Entries. */

static struct store_entry **slot_of(const struct store_shard *shard, uint32_t hash)
{
    return &shard->slots[hash & (shard->slot_count - 1)];
}

void store_shard_drop(struct store_shard *shard, struct store_entry *entry)
{
    struct store_entry **link = slot_of(shard, entry->hash);
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    store_shard_set_deadline(shard, entry, 0);
    unlink_use(shard, entry);
    shard->used -= own_cost(entry);
    shard->count--;
    entry->newer = shard->dropped;
    shard->dropped = entry;
}

static bool has_expired(const struct store_entry *entry, int64_t now_ms)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now_ms;
}

struct store_entry *store_shard_find(struct store_shard *shard, uint32_t hash, const char *key, size_t key_len,
                                     int64_t now_ms)
{
    struct store_entry *entry = *slot_of(shard, hash);
    while (entry != NULL &&
           (entry->hash != hash || entry->key_len != key_len || memcmp(entry->bytes, key, key_len) != 0)) {
        entry = entry->next;
    }
    if (entry != NULL && has_expired(entry, now_ms)) {
        store_shard_drop(shard, entry);
        return NULL;
    }
    return entry;
}

unsigned store_shard_expire(struct store_shard *shard, int64_t now_ms, unsigned most)
{
    unsigned count = 0;
    while (count < most && shard->deadline_count > 0 && shard->deadlines[0].at_ms <= now_ms) {
        store_shard_drop(shard, shard->deadlines[0].entry);
        count++;
    }
    return count;
}

/* Drop entries until cost more bytes fit. */
static void make_entry_room(struct store_shard *shard, uint64_t cost, int64_t now_ms)
{
    while (shard->used + cost > shard->budget && shard->oldest != NULL) {
        if (store_shard_expire(shard, now_ms, 1) == 0) {
            store_shard_drop(shard, shard->oldest);
            shard->evicted++;
        }
    }
}

void store_shard_add(struct store_shard *shard, struct store_entry *entry, int64_t now_ms)
{
    int64_t expires_ms = entry->expires_ms;
    store_shard_expire(shard, now_ms, EXPIRED_AT_ONCE);
    make_entry_room(shard, own_cost(entry), now_ms);
    struct store_entry **slot = slot_of(shard, entry->hash);
    entry->next = *slot;
    *slot = entry;
    link_newest(shard, entry);
    shard->used += own_cost(entry);
    shard->count++;
    entry->expires_ms = 0;
    if (expires_ms != 0) {
        store_shard_set_deadline(shard, entry, expires_ms);
    }
}

void store_shard_clear(struct store_shard *shard)
{
    memset(shard->slots, 0, shard->slot_count * sizeof shard->slots[0]);
    shard->deadline_count = 0;
    shard->used = 0;
    shard->count = 0;
    if (shard->newest != NULL) { /* the order of use becomes the list of what was dropped */
        shard->newest->newer = shard->dropped;
        shard->dropped = shard->oldest;
        shard->newest = shard->oldest = NULL;
    }
}

int store_shard_resize(struct store_shard *shard, uint64_t size, int64_t now_ms)
{
    struct shard_tables tables;
    if (make_tables(&tables, size) < 0) {
        return -ENOMEM;
    }
    shard->budget = tables.budget;
    make_entry_room(shard, 0, now_ms); /* from here on the entries fit the new tables */
    mem_free(shard->slots);
    shard->slots = tables.slots;
    shard->slot_count = tables.slot_count;
    for (struct store_entry *entry = shard->oldest; entry != NULL; entry = entry->newer) {
        struct store_entry **slot = slot_of(shard, entry->hash);
        entry->next = *slot;
        *slot = entry;
    }
    memcpy(tables.deadlines, shard->deadlines, shard->deadline_count * sizeof tables.deadlines[0]);
    mem_free(shard->deadlines);
    shard->deadlines = tables.deadlines;
    return 0;
}

/* For tests. */

static bool are_deadlines_valid(const struct store_shard *shard)
{
    bool is_valid = true;
    for (uint32_t i = 0; i < shard->deadline_count; i++) {
        const struct store_deadline *deadline = &shard->deadlines[i];
        is_valid = is_valid && deadline->entry->place == i && deadline->entry->expires_ms == deadline->at_ms &&
                   (i == 0 || shard->deadlines[(i - 1) / 2].at_ms <= deadline->at_ms);
    }
    return is_valid;
}

bool store_shard_is_valid(const struct store_shard *shard)
{
    uint64_t count = 0, used = 0, in_slots = 0, deadlines = 0;
    const struct store_entry *newer = NULL;
    for (const struct store_entry *entry = shard->newest; entry != NULL; newer = entry, entry = entry->older) {
        count++;
        used += own_cost(entry);
        deadlines += entry->expires_ms != 0;
        if (entry->newer != newer) {
            return false;
        }
    }
    for (uint32_t i = 0; i < shard->slot_count; i++) {
        for (const struct store_entry *entry = shard->slots[i]; entry != NULL; entry = entry->next) {
            in_slots++;
            if (slot_of(shard, entry->hash) != &shard->slots[i]) {
                return false;
            }
        }
    }
    return newer == shard->oldest && count == shard->count && used == shard->used && used <= shard->budget &&
           in_slots == count && deadlines == shard->deadline_count && are_deadlines_valid(shard);
}
