#ifndef EVSERVE_CORE_STORE_SHARD_H
#define EVSERVE_CORE_STORE_SHARD_H

/* A part of a store (store.h): entries by key, in the order of their use, and in that of their deadlines. It has no
 * lock and no clock: one thread at a time, which passes the time. Its tables are made at the start in the size that
 * they may need, so nothing but store_shard_resize() allocates. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_entry {
    struct store_entry *next;  /* in its slot */
    struct store_entry *newer; /* used after it; of one that was dropped, the next of these */
    struct store_entry *older; /* used before it */
    int64_t expires_ms;        /* deadline; 0: none */
    double number;             /* the value, if it is one */
    atomic_uint refs;          /* the shard's, and those of readers; the last one frees it */
    uint32_t hash;             /* of the key */
    uint32_t place;            /* among the deadlines, if it has one */
    uint32_t value_len;        /* bytes */
    uint16_t key_len;          /* bytes */
    bool is_number;            /* value_len is 0 */
    char bytes[];              /* the key, then the value */
};

struct store_deadline {
    int64_t at_ms;
    struct store_entry *entry;
};

struct store_shard {
    struct store_entry **slots;       /* by hash */
    uint32_t slot_count;              /* a power of two */
    struct store_deadline *deadlines; /* min-heap; room for as many as there can be entries */
    uint32_t deadline_count;          /* in use */
    struct store_entry *newest;       /* of the order of use; NULL when empty */
    struct store_entry *oldest;       /* likewise */
    struct store_entry *dropped;      /* no longer in the shard, to be freed once nobody waits for that */
    uint64_t budget;                  /* bytes of all entries together */
    uint64_t used;                    /* of them */
    uint64_t count;                   /* of entries */
    uint64_t evicted;                 /* entries dropped for room before their deadline, since the start */
};

/* Make an empty shard that takes size bytes in all. Returns 0 or -ENOMEM. */
int store_shard_init(struct store_shard *shard, uint64_t size);

/* Free it with its entries. */
void store_shard_done(struct store_shard *shard);

/* Bytes that an entry counts for. */
uint64_t store_entry_cost(size_t key_len, size_t value_len);

/* An entry that is in no shard. NULL without memory. */
struct store_entry *store_entry_make(uint32_t hash, const char *key, size_t key_len, const char *value,
                                     size_t value_len);

/* Give a reference back. Any thread. NULL is allowed. */
void store_entry_put(struct store_entry *entry);

/* The entry of a key, or NULL. One whose deadline has passed is dropped. */
struct store_entry *store_shard_find(struct store_shard *shard, uint32_t hash, const char *key, size_t key_len,
                                     int64_t now_ms);

/* Note that an entry is used now. */
void store_shard_touch(struct store_shard *shard, struct store_entry *entry);

/* Take an entry in, whose key no other one has, and which costs no more than the budget. Others make room: first
 * those whose deadline has passed, then those that were not used for the longest time. */
void store_shard_add(struct store_shard *shard, struct store_entry *entry, int64_t now_ms);

/* Give an entry a deadline, or none: 0. */
void store_shard_set_deadline(struct store_shard *shard, struct store_entry *entry, int64_t expires_ms);

/* Take an entry out: it is one of shard->dropped now. */
void store_shard_drop(struct store_shard *shard, struct store_entry *entry);

/* Drop up to most entries whose deadline has passed. Returns how many. */
unsigned store_shard_expire(struct store_shard *shard, int64_t now_ms, unsigned most);

/* Drop all entries. */
void store_shard_clear(struct store_shard *shard);

/* Take the list of what was dropped, for store_entries_free(), which may be called without the shard's lock. */
struct store_entry *store_shard_take_dropped(struct store_shard *shard);
void store_entries_free(struct store_entry *dropped);

/* Change the size; what no longer fits is dropped. Returns 0, or -ENOMEM with nothing changed. */
int store_shard_resize(struct store_shard *shard, uint64_t size, int64_t now_ms);

/* Whether tables, orders and sums agree, for tests. */
bool store_shard_is_valid(const struct store_shard *shard);

#endif
