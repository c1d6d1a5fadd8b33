#ifndef EVSERVE_CORE_LIMITER_H
#define EVSERVE_CORE_LIMITER_H

/* How often, and how many at a time, for keys that clients choose: addresses, names, tokens. One table of a fixed size
 * serves all limits and all threads of a server, and outlives reloads.
 *
 * A rate is kept by the generic cell rate algorithm: for each key the table has one time, that at which the key will
 * have no debt any more. Each call adds the interval of the rate to it, and is refused while the debt is too large.
 *
 * A full table forgets the rate of the key that has the least debt, which is the one that would be free soonest, so
 * whoever floods it with new keys makes it forget those, and not who is being held back. Entries of
 * limiter_enter() are never forgotten. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limiter;

enum {
    LIMITER_LEAST = 8,               /* entries of the smallest table */
    LIMITER_MOST = 1 << 24,          /* and of the largest one: 256 MiB */
    LIMITER_SPAN_MAX_S = 31 * 86400, /* how long a whole burst may take to be free again */
    LIMITER_BURST_MAX = 1000000,     /* calls at a time */
    LIMITER_TELL_S = 10,             /* at least, between two answers of limiter_tell_lost() */
};

/* So many calls at a time, then one more in each interval. */
struct limiter_rate {
    int64_t interval_ns; /* at least 1 */
    uint32_t burst;      /* at least 1; burst * interval_ns is LIMITER_SPAN_MAX_S at most */
};

/* What limiter_enter() says. */
enum limiter_entry {
    LIMITER_REFUSED,   /* there are as many as may be */
    LIMITER_COUNTED,   /* limiter_leave() is due */
    LIMITER_UNCOUNTED, /* it may go on, but the table has no room for its key: limiter_leave() is not due */
};

/* A table of at least so many entries, LIMITER_LEAST to LIMITER_MOST, 16 bytes each. Returns 0 or -ENOMEM. */
int limiter_create(struct limiter **limiter, size_t entries);

/* Free it. NULL is allowed. */
void limiter_destroy(struct limiter *limiter);

/* Give it another size; what does not fit is forgotten. Returns 0; or -ENOMEM, or -ENOSPC: what has entered does not
 * fit, with nothing changed. Any thread. */
int limiter_resize(struct limiter *limiter, size_t entries);

/* The key of a text: nobody outside can tell which texts have places close to each other. limit tells limits apart.
 * Any thread, like all that follow. */
uint64_t limiter_key(const struct limiter *limiter, uint64_t limit, const char *text, size_t len);

/* Take one call from a rate. Returns 0; or the nanoseconds after which it would be allowed, with nothing taken. now_ns
 * is of a clock that only goes forward, and that all callers share. */
int64_t limiter_take(struct limiter *limiter, uint64_t key, const struct limiter_rate *rate, int64_t now_ns);

/* Give back what limiter_take() took: something else has refused the call. */
void limiter_give_back(struct limiter *limiter, uint64_t key, const struct limiter_rate *rate);

/* Be one of at most so many at a time; and stop being one. */
enum limiter_entry limiter_enter(struct limiter *limiter, uint64_t key, uint64_t most, int64_t now_ns);
void limiter_leave(struct limiter *limiter, uint64_t key);

/* How many counts were lost for want of room since the last time that this said so; 0: none, or it said so less than
 * LIMITER_TELL_S ago. For one line of the log of all threads. */
uint64_t limiter_tell_lost(struct limiter *limiter, int64_t now_ns);

/* How it is now, and totals since it was made. */
struct limiter_counts {
    size_t entries;     /* it has room for */
    uint64_t forgotten; /* rates of keys that were in debt */
    uint64_t uncounted; /* LIMITER_UNCOUNTED */
};

void limiter_get_counts(struct limiter *limiter, struct limiter_counts *counts);

#endif
