/* Happy path: a call hashes the key, locks the part that the hash names, does its work there and unlocks it. An entry
 * is never changed in place, except a number: a new value is a new entry, made before the lock is taken. What was
 * dropped is freed after it was given back.
 *
 * Failure modes: without memory nothing has changed. A value longer than a part is refused. */

#include "core/store.h"

#include "core/keyed_hash.h"
#include "core/mem.h"
#include "core/store_shard.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/write_buffer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum {
    STRETCH_SLOTS = 256,   /* looked at by store_keys() at once */
    STRETCH_EXPIRED = 256, /* entries dropped at once by those who want to have them gone */
    PART_BYTES = 256,      /* so that two parts do not share a line of the cache */
};

union store_part {
    struct {
        pthread_mutex_t lock; /* of the shard */
        struct store_shard shard;
    };
    char room[PART_BYTES];
};

struct store {
    struct hash_key key;
    pthread_mutex_t lock; /* of size */
    uint64_t size;
    unsigned part_count; /* a power of two */
    union store_part parts[];
};

_Static_assert(sizeof(union store_part) == PART_BYTES, "a part has room");

/* Making. */

/* Free it with the parts made so far. */
static void free_store(struct store *store, unsigned part_count)
{
    for (unsigned i = 0; i < part_count; i++) {
        store_shard_done(&store->parts[i].shard);
        pthread_mutex_destroy(&store->parts[i].lock);
    }
    pthread_mutex_destroy(&store->lock);
    mem_free(store);
}

int store_create(struct store **store, uint64_t size)
{
    unsigned count = 1;
    while (count < STORE_PARTS_MAX && size / count / 2 >= STORE_PART_LEAST) {
        count *= 2;
    }
    struct store *made = mem_zalloc(sizeof *made + count * sizeof made->parts[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    if (sys_random(&made->key, sizeof made->key) < 0) {
        made->key.words[0] = (uint64_t)sys_now_ns();
    }
    made->size = size;
    made->part_count = count;
    pthread_mutex_init(&made->lock, NULL);
    for (unsigned i = 0; i < count; i++) {
        if (store_shard_init(&made->parts[i].shard, size / count) < 0) {
            free_store(made, i);
            return -ENOMEM;
        }
        thread_init_lock(&made->parts[i].lock);
    }
    *store = made;
    return 0;
}

void store_destroy(struct store *store)
{
    if (store != NULL) {
        free_store(store, store->part_count);
    }
}

uint64_t store_size(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    uint64_t size = store->size;
    pthread_mutex_unlock(&store->lock);
    return size;
}

/* A part that is locked. */

/* The time, as far as it matters there. */
static int64_t part_now_ms(const union store_part *part, int64_t ttl_ms)
{
    return part->shard.deadline_count > 0 || ttl_ms > 0 ? sys_coarse_ns() / 1000000 : 0;
}

static int64_t deadline_after(int64_t now_ms, int64_t ttl_ms)
{
    return ttl_ms == 0 ? 0 : ttl_ms < INT64_MAX - now_ms ? now_ms + ttl_ms : INT64_MAX;
}

/* Unlock it, and free what was dropped. */
static void leave_part(union store_part *part)
{
    struct store_entry *dropped = store_shard_take_dropped(&part->shard);
    pthread_mutex_unlock(&part->lock);
    store_entries_free(dropped);
}

static uint64_t hash_of(const struct store *store, struct store_key key)
{
    return keyed_hash(&store->key, key.text, key.len);
}

/* Lock the part of a key, whose hash is given, and find its entry. */
static union store_part *enter_part(struct store *store, uint64_t hash, struct store_key key, int64_t ttl_ms,
                                    struct store_entry **found, int64_t *now_ms)
{
    union store_part *part = &store->parts[hash >> 32 & (store->part_count - 1)];
    thread_lock(&part->lock);
    *now_ms = part_now_ms(part, ttl_ms);
    *found = store_shard_find(&part->shard, (uint32_t)hash, key.text, key.len, *now_ms);
    return part;
}

int store_resize(struct store *store, uint64_t size)
{
    int rv = 0;
    pthread_mutex_lock(&store->lock);
    for (unsigned i = 0; i < store->part_count && rv == 0; i++) {
        union store_part *part = &store->parts[i];
        pthread_mutex_lock(&part->lock);
        rv = store_shard_resize(&part->shard, size / store->part_count, part_now_ms(part, 0));
        leave_part(part);
    }
    store->size = rv == 0 ? size : store->size;
    pthread_mutex_unlock(&store->lock);
    return rv;
}

static uint64_t most_of(const union store_part *part, size_t key_len)
{
    uint64_t least = store_entry_cost(key_len, 0);
    uint64_t most = part->shard.budget > least ? part->shard.budget - least : 0;
    return most < STORE_VALUE_MAX ? most : STORE_VALUE_MAX;
}

uint64_t store_value_most(struct store *store, size_t key_len)
{
    union store_part *part = &store->parts[0];
    pthread_mutex_lock(&part->lock);
    uint64_t most = most_of(part, key_len);
    pthread_mutex_unlock(&part->lock);
    return most;
}

/* Values. */

static struct store_entry *new_entry(uint64_t hash, struct store_key key, struct store_value value)
{
    struct store_entry *made = store_entry_make((uint32_t)hash, key.text, key.len, value.bytes,
                                                value.is_number ? 0 : value.len);
    if (made != NULL) {
        made->is_number = value.is_number;
        made->number = value.number;
    }
    return made;
}

int store_put(struct store *store, struct store_key key, struct store_value value, int64_t ttl_ms, enum store_when when)
{
    if (!value.is_number && value.len > STORE_VALUE_MAX) {
        return -EMSGSIZE;
    }
    uint64_t hash = hash_of(store, key);
    struct store_entry *made = new_entry(hash, key, value);
    if (made == NULL) {
        return -ENOMEM;
    }
    struct store_entry *old;
    int64_t now_ms;
    union store_part *part = enter_part(store, hash, key, ttl_ms, &old, &now_ms);
    int rv = made->value_len > most_of(part, key.len)  ? -EMSGSIZE
             : old != NULL && when == STORE_IF_ABSENT  ? -EEXIST
             : old == NULL && when == STORE_IF_PRESENT ? -ENOENT
                                                       : 0;
    if (rv == 0) {
        if (old != NULL) {
            store_shard_drop(&part->shard, old);
        }
        made->expires_ms = deadline_after(now_ms, ttl_ms);
        store_shard_add(&part->shard, made, now_ms);
    }
    leave_part(part);
    if (rv < 0) {
        store_entry_put(made);
    }
    return rv;
}

bool store_get(struct store *store, struct store_key key, struct store_found *found)
{
    struct store_entry *entry;
    int64_t now_ms;
    found->held = NULL;
    union store_part *part = enter_part(store, hash_of(store, key), key, 0, &entry, &now_ms);
    if (entry != NULL) {
        const char *bytes = entry->bytes + entry->key_len;
        store_shard_touch(&part->shard, entry);
        found->value = (struct store_value){entry->is_number, entry->number, bytes, entry->value_len};
        if (entry->value_len > STORE_ROOM) {
            atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
            found->held = entry;
        } else {
            memcpy(found->room, bytes, entry->value_len);
            found->value.bytes = found->room;
        }
    }
    leave_part(part);
    return entry != NULL;
}

void store_done(struct store_found *found)
{
    store_entry_put(found->held);
    found->held = NULL;
}

/* Add to the entry of a locked part. */
static int add_to_entry(union store_part *part, struct store_entry *entry, double number, double *sum)
{
    if (!entry->is_number) {
        return -EINVAL;
    }
    store_shard_touch(&part->shard, entry);
    *sum = entry->number += number;
    return 0;
}

int store_add(struct store *store, struct store_key key, double number, double initial, int64_t ttl_ms, double *sum)
{
    struct store_entry *entry;
    int64_t now_ms;
    uint64_t hash = hash_of(store, key);
    union store_part *part = enter_part(store, hash, key, 0, &entry, &now_ms);
    if (entry != NULL) {
        int rv = add_to_entry(part, entry, number, sum);
        leave_part(part);
        return rv;
    }
    leave_part(part);
    struct store_entry *made = new_entry(hash, key, (struct store_value){.is_number = true, .number = initial});
    if (made == NULL) {
        return -ENOMEM;
    }
    part = enter_part(store, hash, key, ttl_ms, &entry, &now_ms);
    bool is_new = entry == NULL && store_entry_cost(key.len, 0) <= part->shard.budget;
    if (is_new) {
        made->expires_ms = deadline_after(now_ms, ttl_ms);
        store_shard_add(&part->shard, made, now_ms);
        entry = made;
    }
    int rv = entry == NULL ? -EMSGSIZE : add_to_entry(part, entry, number, sum);
    leave_part(part);
    if (!is_new) {
        store_entry_put(made);
    }
    return rv;
}

bool store_delete(struct store *store, struct store_key key)
{
    struct store_entry *entry;
    int64_t now_ms;
    union store_part *part = enter_part(store, hash_of(store, key), key, 0, &entry, &now_ms);
    if (entry != NULL) {
        store_shard_drop(&part->shard, entry);
    }
    leave_part(part);
    return entry != NULL;
}

bool store_expire(struct store *store, struct store_key key, int64_t ttl_ms)
{
    struct store_entry *entry;
    int64_t now_ms;
    union store_part *part = enter_part(store, hash_of(store, key), key, ttl_ms, &entry, &now_ms);
    if (entry != NULL) {
        store_shard_set_deadline(&part->shard, entry, deadline_after(now_ms, ttl_ms));
    }
    leave_part(part);
    return entry != NULL;
}

bool store_ttl(struct store *store, struct store_key key, int64_t *ttl_ms)
{
    struct store_entry *entry;
    int64_t now_ms;
    union store_part *part = enter_part(store, hash_of(store, key), key, 0, &entry, &now_ms);
    if (entry != NULL) {
        *ttl_ms = entry->expires_ms == 0 ? 0 : entry->expires_ms - now_ms;
    }
    leave_part(part);
    return entry != NULL;
}

/* The whole store. */

void store_flush(struct store *store)
{
    for (unsigned i = 0; i < store->part_count; i++) {
        union store_part *part = &store->parts[i];
        pthread_mutex_lock(&part->lock);
        store_shard_clear(&part->shard);
        leave_part(part);
    }
}

static int append_key(const struct store_entry *entry, struct store_key prefix, struct write_buffer *out)
{
    if (entry->key_len < prefix.len || memcmp(entry->bytes, prefix.text, prefix.len) != 0) {
        return 0;
    }
    int rv = write_buffer_append(out, &entry->key_len, sizeof entry->key_len, INT32_MAX);
    return rv < 0 ? rv : write_buffer_append(out, entry->bytes, entry->key_len, INT32_MAX);
}

int store_keys(struct store *store, uint64_t *at, struct store_key prefix, struct write_buffer *out)
{
    uint64_t number = *at >> 32, slot = *at & UINT32_MAX;
    if (number >= store->part_count) {
        return -ENOENT;
    }
    union store_part *part = &store->parts[number];
    int rv = 0;
    pthread_mutex_lock(&part->lock);
    int64_t now_ms = part_now_ms(part, 0);
    for (unsigned i = 0; i < STRETCH_SLOTS && slot < part->shard.slot_count; i++, slot++) {
        const struct store_entry *entry = part->shard.slots[slot];
        for (; entry != NULL && rv == 0; entry = entry->next) {
            bool is_over = entry->expires_ms != 0 && entry->expires_ms <= now_ms;
            rv = is_over ? 0 : append_key(entry, prefix, out);
        }
    }
    *at = slot < part->shard.slot_count ? number << 32 | slot : (number + 1) << 32;
    leave_part(part);
    return rv < 0 ? -ENOMEM : 0;
}

/* Drop what is over, with pauses in which others may enter. */
static void expire_part(union store_part *part)
{
    unsigned count;
    do {
        pthread_mutex_lock(&part->lock);
        count = store_shard_expire(&part->shard, part_now_ms(part, 0), STRETCH_EXPIRED);
        leave_part(part);
    } while (count == STRETCH_EXPIRED);
}

void store_stats(struct store *store, struct store_stats *stats)
{
    *stats = (struct store_stats){.size = store_size(store)};
    for (unsigned i = 0; i < store->part_count; i++) {
        union store_part *part = &store->parts[i];
        expire_part(part);
        pthread_mutex_lock(&part->lock);
        stats->keys += part->shard.count;
        stats->bytes += part->shard.used + part->shard.slot_count * sizeof part->shard.slots[0];
        stats->evicted += part->shard.evicted;
        leave_part(part);
    }
}
