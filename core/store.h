#ifndef EVSERVE_CORE_STORE_H
#define EVSERVE_CORE_STORE_H

/* A table of values by key that threads share, bounded in bytes. Each call is atomic. It holds a lock for no longer
 * than it takes to find and link an entry: memory is allocated and copied before and after. When the table is full,
 * entries whose deadline has passed make room, then those that were not used for the longest time.
 *
 * A large store has several parts, each with a lock and a share of the size of its own, so that threads seldom wait for
 * each other. A key belongs to one part. Deadlines count by the coarse clock, which is up to 10 ms late.
 *
 * Any thread may call any function. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_entry;
struct write_buffer;

enum {
    STORE_SIZE_LEAST = 64 << 10, /* bytes of a store */
    STORE_SIZE_USUAL = 1 << 20,  /* unless somebody says otherwise */
    STORE_PART_LEAST = 8 << 20,  /* a store of twice that has two parts */
    STORE_PARTS_MAX = 16,        /* of a store */
    STORE_KEY_MAX = 8192,        /* bytes of a key */
    STORE_VALUE_MAX = 1 << 30,   /* bytes of a value; in most stores the size is the limit */
    STORE_ROOM = 256,            /* bytes of a value that store_get() copies */
};

#define STORE_SIZE_MAX (sizeof(size_t) > 4 ? UINT64_C(64) << 30 : UINT64_C(1) << 30) /* bytes of a store */

struct store_key {
    const char *text; /* not NUL-terminated */
    size_t len;       /* 1 to STORE_KEY_MAX */
};

/* A value: a number, or bytes of which the store knows nothing. */
struct store_value {
    bool is_number;
    double number;
    const char *bytes;
    size_t len;
};

/* Make an empty store of size bytes, from STORE_SIZE_LEAST to STORE_SIZE_MAX, everything counted. Returns 0 or
 * -ENOMEM. */
int store_create(struct store **store, uint64_t size);
void store_destroy(struct store *store); /* no thread uses it any more; NULL is allowed */

/* Give it another size. Entries that no longer fit are dropped. The number of parts stays. Returns 0, or -ENOMEM with
 * parts of it unchanged. */
int store_resize(struct store *store, uint64_t size);
uint64_t store_size(struct store *store);

/* The longest value that fits, with a key of key_len bytes. */
uint64_t store_value_most(struct store *store, size_t key_len);

enum store_when {
    STORE_ALWAYS,
    STORE_IF_ABSENT,
    STORE_IF_PRESENT,
};

/* Set the value of a key, copied, for ttl_ms milliseconds; 0: until it is evicted. Returns 0; -EEXIST or -ENOENT when
 * it is present, or absent, against when; -EMSGSIZE: longer than store_value_most(); -ENOMEM. */
int store_put(struct store *store, struct store_key key, struct store_value value, int64_t ttl_ms,
              enum store_when when);

/* What store_get() has found. */
struct store_found {
    struct store_value value;
    struct store_entry *held; /* whose bytes the value's are; NULL when they are in room */
    char room[STORE_ROOM];
};

/* Find a value, and keep it until store_done(), which must follow when held is not NULL. Whoever holds a value does not
 * keep others from changing it: they put another one in its place. Returns whether there is one. */
bool store_get(struct store *store, struct store_key key, struct store_found *found);
void store_done(struct store_found *found);

/* Add to a number. An absent key is set first to initial, for ttl_ms as in store_put(). Returns 0 with the *sum;
 * -EINVAL: the value is not a number; -EMSGSIZE or -ENOMEM. */
int store_add(struct store *store, struct store_key key, double number, double initial, int64_t ttl_ms, double *sum);

/* Remove a key; give it ttl_ms from now on, 0: no deadline. Return whether there is one. */
bool store_delete(struct store *store, struct store_key key);
bool store_expire(struct store *store, struct store_key key, int64_t ttl_ms);

/* Find how long a key lasts. Returns whether there is one; *ttl_ms is 0 if it has no deadline. */
bool store_ttl(struct store *store, struct store_key key, int64_t *ttl_ms);

/* Remove everything. Not atomic between parts. */
void store_flush(struct store *store);

/* Append the keys that begin with prefix to out, each with its length in front as uint16_t: those of a stretch of the
 * table, which begins at *at (0 at first) and then at what *at has become. A key that is there all the time comes once,
 * unless the size changes. Returns 0; -ENOENT: there are no further stretches; -ENOMEM. */
int store_keys(struct store *store, uint64_t *at, struct store_key prefix, struct write_buffer *out);

struct store_stats {
    uint64_t keys;  /* those whose deadline has passed are not counted */
    uint64_t bytes; /* what they take */
    uint64_t size;
    uint64_t evicted; /* since the start: keys that made room before their deadline */
};

void store_stats(struct store *store, struct store_stats *stats);

#endif
