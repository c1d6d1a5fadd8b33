/* The table is made of shards, each with a lock of its own, and a shard of sets of SET_ENTRIES entries. A key has two
 * sets, which its hash names, and may be in either. So a look reads 256 bytes at most, and nothing is ever moved. Both
 * sets of a key may be full before the table is: rarely up to two thirds, and for one key in twenty-five at the end.
 *
 * An entry is free when its key is 0, and as good as free when it would make no difference: a rate without debt, a
 * number that is 0.
 *
 * Failure modes: without a free place a rate takes that of the one with the least debt; if all of both sets have
 * entered, whoever comes is let through uncounted. */

#include "core/limiter.h"

#include "core/keyed_hash.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SET_ENTRIES = 8,          /* two lines of the cache */
    LIMITER_SHARDS = 16,      /* of a table that is not small */
    LIMITER_SMALL = 1024,     /* entries of a table that has one shard */
    LIMITER_SHARD_BYTES = 128 /* so that two shards do not share a line of the cache */
};

#define HELD_BIT 1U /* of a key: the entry is of limiter_enter() */

struct limiter_place {
    uint64_t key;  /* 0: free */
    int64_t value; /* the time when there is no debt any more, in ns; or with HELD_BIT how many have entered */
};

struct limiter_set {
    struct limiter_place places[SET_ENTRIES];
};

union limiter_shard {
    struct {
        pthread_mutex_t lock;     /* of all this */
        struct limiter_set *sets; /* set_count of them */
        uint64_t forgotten;       /* limiter_counts */
        uint64_t uncounted;
    };
    char room[LIMITER_SHARD_BYTES];
};

_Static_assert(sizeof(union limiter_shard) == LIMITER_SHARD_BYTES, "a shard has room");

struct limiter {
    struct hash_key hash_key;
    pthread_mutex_t size_lock; /* of changes of set_count, which also have all other locks */
    uint32_t set_count;        /* of each shard */
    unsigned shard_count;      /* a power of two, fixed */
    atomic_ullong lost;        /* forgotten and uncounted, until limiter_tell_lost() takes them */
    atomic_llong may_tell_ns;  /* when that may be next */
    union limiter_shard shards[];
};

/* Making. */

static uint32_t sets_for(unsigned shard_count, size_t entries)
{
    assert(entries >= LIMITER_LEAST && entries <= LIMITER_MOST);
    size_t per_set = (size_t)shard_count * SET_ENTRIES;
    return (uint32_t)((entries + per_set - 1) / per_set);
}

static void free_limiter(struct limiter *limiter, unsigned shard_count)
{
    for (unsigned i = 0; i < shard_count; i++) {
        pthread_mutex_destroy(&limiter->shards[i].lock);
        mem_free(limiter->shards[i].sets);
    }
    pthread_mutex_destroy(&limiter->size_lock);
    mem_free(limiter);
}

int limiter_create(struct limiter **limiter, size_t entries)
{
    unsigned count = entries < LIMITER_SMALL ? 1 : LIMITER_SHARDS;
    struct limiter *made = mem_zalloc(sizeof *made + count * sizeof made->shards[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    if (sys_random(&made->hash_key, sizeof made->hash_key) < 0) {
        made->hash_key.words[0] = (uint64_t)sys_now_ns();
    }
    made->shard_count = count;
    made->set_count = sets_for(count, entries);
    pthread_mutex_init(&made->size_lock, NULL);
    for (unsigned i = 0; i < count; i++) {
        made->shards[i].sets = mem_zalloc(made->set_count * sizeof made->shards[i].sets[0]);
        if (made->shards[i].sets == NULL) {
            free_limiter(made, i);
            return -ENOMEM;
        }
        thread_init_lock(&made->shards[i].lock);
    }
    *limiter = made;
    return 0;
}

void limiter_destroy(struct limiter *limiter)
{
    if (limiter != NULL) {
        free_limiter(limiter, limiter->shard_count);
    }
}

/* Places. */

uint64_t limiter_key(const struct limiter *limiter, uint64_t limit, const char *text, size_t len)
{
    struct hash_key key = limiter->hash_key;
    key.words[1] ^= limit;
    return keyed_hash(&key, text, len) | HELD_BIT << 1; /* never 0, with HELD_BIT or without */
}

static union limiter_shard *enter_shard(struct limiter *limiter, uint64_t key)
{
    union limiter_shard *shard = &limiter->shards[key >> 60 & (limiter->shard_count - 1)];
    thread_lock(&shard->lock);
    return shard;
}

static void leave_shard(union limiter_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

/* The two sets of a key, which may be the same one. */
struct set_pair {
    struct limiter_set *both[2];
};

static uint32_t number_of_set(uint64_t bits, uint32_t set_count)
{
    return (uint32_t)((bits & UINT32_MAX) * set_count >> 32);
}

static struct set_pair sets_of(struct limiter_set *sets, uint32_t set_count, uint64_t key)
{
    return (struct set_pair){{&sets[number_of_set(key >> 28, set_count)], &sets[number_of_set(key, set_count)]}};
}

static struct limiter_place *find_own_place(struct set_pair pair, uint64_t key)
{
    for (unsigned i = 0; i < 2 * SET_ENTRIES; i++) {
        struct limiter_place *place = &pair.both[i / SET_ENTRIES]->places[i % SET_ENTRIES];
        if (place->key == key) {
            return place;
        }
    }
    return NULL;
}

/* Until when an entry makes a difference: INT64_MIN if it makes none. */
static int64_t debt_end(const struct limiter_place *place, int64_t now_ns)
{
    if (place->key == 0) {
        return INT64_MIN;
    }
    if ((place->key & HELD_BIT) != 0) {
        return place->value == 0 ? INT64_MIN : INT64_MAX;
    }
    return place->value <= now_ns ? INT64_MIN : place->value;
}

/* How many free places a set has. */
static unsigned count_free(const struct limiter_set *set, int64_t now_ns)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SET_ENTRIES; i++) {
        count += debt_end(&set->places[i], now_ns) == INT64_MIN;
    }
    return count;
}

/* The place in a set that is free, or else whose debt ends first. */
static struct limiter_place *cheapest_place(struct limiter_set *set, int64_t now_ns)
{
    struct limiter_place *best = &set->places[0];
    for (unsigned i = 1; i < SET_ENTRIES; i++) {
        if (debt_end(&set->places[i], now_ns) < debt_end(best, now_ns)) {
            best = &set->places[i];
        }
    }
    return best;
}

/* A place for a key that has none, in the set with more free ones, with value 0. NULL: all are held. *forgotten is
 * raised if another key had it. */
static struct limiter_place *make_place(struct set_pair pair, uint64_t key, int64_t now_ns, uint64_t *forgotten)
{
    unsigned second = count_free(pair.both[1], now_ns) > count_free(pair.both[0], now_ns);
    struct limiter_place *place = cheapest_place(pair.both[second], now_ns);
    struct limiter_place *other = cheapest_place(pair.both[!second], now_ns);
    if (debt_end(other, now_ns) < debt_end(place, now_ns)) {
        place = other;
    }
    int64_t end_ns = debt_end(place, now_ns);
    if (end_ns == INT64_MAX) {
        return NULL;
    }
    *forgotten += end_ns != INT64_MIN;
    *place = (struct limiter_place){.key = key};
    return place;
}

static struct set_pair shard_sets(const struct limiter *limiter, union limiter_shard *shard, uint64_t key)
{
    return sets_of(shard->sets, limiter->set_count, key);
}

/* make_place(), and what is to be noted of it. */
static struct limiter_place *take_own_place(struct limiter *limiter, union limiter_shard *shard, struct set_pair pair,
                                            uint64_t key, int64_t now_ns)
{
    uint64_t forgotten = shard->forgotten;
    struct limiter_place *place = make_place(pair, key, now_ns, &shard->forgotten);
    shard->uncounted += place == NULL;
    if (place == NULL || shard->forgotten != forgotten) {
        atomic_fetch_add_explicit(&limiter->lost, 1, memory_order_relaxed);
    }
    return place;
}

uint64_t limiter_tell_lost(struct limiter *limiter, int64_t now_ns)
{
    long long may_tell_ns = atomic_load_explicit(&limiter->may_tell_ns, memory_order_relaxed);
    if (atomic_load_explicit(&limiter->lost, memory_order_relaxed) == 0 || now_ns < may_tell_ns ||
        !atomic_compare_exchange_strong(&limiter->may_tell_ns, &may_tell_ns,
                                        now_ns + (long long)LIMITER_TELL_S * 1000000000)) {
        return 0;
    }
    return atomic_exchange(&limiter->lost, 0);
}

/* Rates. */

int64_t limiter_take(struct limiter *limiter, uint64_t key, const struct limiter_rate *rate, int64_t now_ns)
{
    key &= ~(uint64_t)HELD_BIT;
    union limiter_shard *shard = enter_shard(limiter, key);
    struct set_pair pair = shard_sets(limiter, shard, key);
    struct limiter_place *place = find_own_place(pair, key);
    int64_t free_ns = place == NULL || place->value < now_ns ? now_ns : place->value;
    int64_t wait_ns = free_ns - now_ns - rate->interval_ns * (rate->burst - 1);
    if (wait_ns <= 0) {
        place = place == NULL ? take_own_place(limiter, shard, pair, key, now_ns) : place;
        if (place != NULL) {
            place->value = free_ns + rate->interval_ns;
        }
    }
    leave_shard(shard);
    return wait_ns <= 0 ? 0 : wait_ns;
}

void limiter_give_back(struct limiter *limiter, uint64_t key, const struct limiter_rate *rate)
{
    key &= ~(uint64_t)HELD_BIT;
    union limiter_shard *shard = enter_shard(limiter, key);
    struct limiter_place *place = find_own_place(shard_sets(limiter, shard, key), key);
    if (place != NULL) {
        place->value -= rate->interval_ns;
    }
    leave_shard(shard);
}

/* Numbers. */

enum limiter_entry limiter_enter(struct limiter *limiter, uint64_t key, uint64_t most, int64_t now_ns)
{
    key |= HELD_BIT;
    enum limiter_entry verdict = LIMITER_COUNTED;
    union limiter_shard *shard = enter_shard(limiter, key);
    struct set_pair pair = shard_sets(limiter, shard, key);
    struct limiter_place *place = find_own_place(pair, key);
    place = place == NULL ? take_own_place(limiter, shard, pair, key, now_ns) : place;
    if (place == NULL) {
        verdict = LIMITER_UNCOUNTED;
    } else if ((uint64_t)place->value >= most) {
        verdict = LIMITER_REFUSED;
    } else {
        place->value++;
    }
    leave_shard(shard);
    return verdict;
}

void limiter_leave(struct limiter *limiter, uint64_t key)
{
    key |= HELD_BIT;
    union limiter_shard *shard = enter_shard(limiter, key);
    struct limiter_place *place = find_own_place(shard_sets(limiter, shard, key), key);
    assert(place != NULL && place->value > 0); /* it is never forgotten */
    if (place != NULL) {
        place->value--;
    }
    leave_shard(shard);
}

/* Sizes. */

/* Put the entries of a shard that are held, or those that are not, into other sets. Returns 0 or -ENOSPC. */
static int copy_sets(const struct limiter *limiter, const union limiter_shard *shard, bool is_held,
                     struct limiter_set *sets, uint32_t set_count)
{
    uint64_t forgotten = 0;
    for (uint32_t i = 0; i < limiter->set_count * SET_ENTRIES; i++) {
        const struct limiter_place *from = &shard->sets[i / SET_ENTRIES].places[i % SET_ENTRIES];
        if (debt_end(from, INT64_MIN) == INT64_MIN || ((from->key & HELD_BIT) != 0) != is_held) {
            continue;
        }
        struct limiter_place *to = make_place(sets_of(sets, set_count, from->key), from->key, INT64_MIN, &forgotten);
        if (to != NULL) {
            to->value = from->value;
        } else if (is_held) {
            return -ENOSPC;
        }
    }
    return 0;
}

/* Make the sets of all shards in another size. Returns 0, -ENOMEM or -ENOSPC; made has what is to be freed then. All
 * shards are locked. */
static int remake_sets(const struct limiter *limiter, uint32_t set_count, struct limiter_set *made[LIMITER_SHARDS])
{
    int rv = 0;
    for (unsigned i = 0; i < limiter->shard_count && rv == 0; i++) {
        made[i] = mem_zalloc(set_count * sizeof *made[i]);
        rv = made[i] == NULL ? -ENOMEM : 0;
        for (int pass = 0; pass < 2 && rv == 0; pass++) { /* what is held comes first */
            rv = copy_sets(limiter, &limiter->shards[i], pass == 0, made[i], set_count);
        }
    }
    return rv;
}

int limiter_resize(struct limiter *limiter, size_t entries)
{
    uint32_t set_count = sets_for(limiter->shard_count, entries);
    struct limiter_set *made[LIMITER_SHARDS] = {0};
    pthread_mutex_lock(&limiter->size_lock);
    for (unsigned i = 0; i < limiter->shard_count; i++) {
        thread_lock(&limiter->shards[i].lock);
    }
    int rv = set_count == limiter->set_count ? 0 : remake_sets(limiter, set_count, made);
    for (unsigned i = 0; i < limiter->shard_count && rv == 0 && made[i] != NULL; i++) {
        struct limiter_set *former = limiter->shards[i].sets;
        limiter->shards[i].sets = made[i];
        made[i] = former;
    }
    limiter->set_count = rv == 0 ? set_count : limiter->set_count;
    for (unsigned i = limiter->shard_count; i-- > 0;) {
        pthread_mutex_unlock(&limiter->shards[i].lock);
    }
    pthread_mutex_unlock(&limiter->size_lock);
    for (unsigned i = 0; i < limiter->shard_count; i++) {
        mem_free(made[i]);
    }
    return rv;
}

void limiter_get_counts(struct limiter *limiter, struct limiter_counts *counts)
{
    *counts = (struct limiter_counts){0};
    for (unsigned i = 0; i < limiter->shard_count; i++) {
        union limiter_shard *shard = &limiter->shards[i];
        thread_lock(&shard->lock);
        counts->entries += (size_t)limiter->set_count * SET_ENTRIES;
        counts->forgotten += shard->forgotten;
        counts->uncounted += shard->uncounted;
        leave_shard(shard);
    }
}
