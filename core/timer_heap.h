#ifndef EVSERVE_CORE_TIMER_HEAP_H
#define EVSERVE_CORE_TIMER_HEAP_H

/* Min-heap of deadlines. It has no clock and calls nothing: it orders timers by deadline and, among equals, by the
 * order of setting. Each timer is a slot (owner's data, place in the heap); an id names a slot and the generation of
 * its use, so the id of a timer that fired or was cancelled is dead for good. Set, move and cancel are O(log n), the
 * next deadline O(1). Memory grows by doubling up to TIMER_HEAP_MAX and is kept, so a steady number of timers does not
 * allocate. One thread only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIMER_HEAP_MAX = 1 << 24 }; /* timers at once; one more is -ENOSPC */

typedef uint64_t timer_id; /* generation << 32 | slot; 0 names no timer */

struct reactor;

typedef void (*timer_fn)(struct reactor *reactor, timer_id id, void *arg);

struct timer_entry {
    int64_t deadline_ns; /* when it is due */
    uint64_t sequence;   /* order of setting, for equal deadlines */
    uint32_t slot;       /* whose deadline this is */
};

/* What the owner keeps with a timer. */
struct timer {
    timer_fn fn;         /* to be called */
    void *arg;           /* handed to fn */
    int64_t interval_ns; /* 0 for a timer that fires once */
    uint32_t heap_index; /* its entry in the heap; next free slot while it is free */
    uint32_t generation; /* odd while in use, even while free */
};

struct timer_heap {
    struct timer_entry *entries; /* the heap, count of them in use */
    struct timer *slots;         /* capacity of them */
    uint32_t count;              /* timers set */
    uint32_t capacity;           /* of entries and slots */
    uint32_t first_free;         /* head of the list of free slots; TIMER_HEAP_MAX when there is none */
    uint64_t next_sequence;      /* of the next timer that is set or moved */
};

/* An empty heap, which has no memory yet; free it, with timers set or not. */
void timer_heap_init(struct timer_heap *heap);
void timer_heap_done(struct timer_heap *heap);

/* Set a timer. Returns 0 with *id, or -ENOMEM or -ENOSPC with the heap unchanged. */
int timer_heap_set(struct timer_heap *heap, int64_t deadline_ns, int64_t interval_ns, timer_fn fn, void *arg,
                   timer_id *id);

/* Give a timer a new deadline; it becomes the youngest among equals. false when id is dead. */
bool timer_heap_move(struct timer_heap *heap, timer_id id, int64_t deadline_ns);

/* Cancel a timer. false when id is dead: it fired or was cancelled before. */
bool timer_heap_cancel(struct timer_heap *heap, timer_id id);

/* The entry due next, or NULL when no timer is set. Valid until the heap changes. */
static inline const struct timer_entry *timer_heap_first(const struct timer_heap *heap)
{
    return heap->count == 0 ? NULL : heap->entries;
}

/* The entry of a timer, or NULL when id is dead. Valid until the heap changes. */
const struct timer_entry *timer_heap_find(const struct timer_heap *heap, timer_id id);

/* The id and the data of an entry. The pointer is valid until the next timer_heap_set(). */
timer_id timer_heap_id(const struct timer_heap *heap, const struct timer_entry *entry);
const struct timer *timer_heap_timer(const struct timer_heap *heap, const struct timer_entry *entry);

/* The heap property and the back-indexes, for tests: true when all hold. */
bool timer_heap_is_valid(const struct timer_heap *heap);

#endif
