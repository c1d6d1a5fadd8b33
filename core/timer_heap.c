/* An implicit binary heap in an array, with a back-index from each slot to its entry. Deadline and sequence live in the
 * 24-byte entry, so sifting compares neighbours in memory and never touches a slot except to write its new place. */

#include "core/timer_heap.h"

#include "core/mem.h"

#include <errno.h>

enum { FIRST_SLOTS = 64, NO_SLOT = TIMER_HEAP_MAX };

_Static_assert(sizeof(struct timer_entry) <= 24, "a heap entry is at most 24 bytes");

void timer_heap_init(struct timer_heap *heap)
{
    *heap = (struct timer_heap){.first_free = NO_SLOT};
}

void timer_heap_done(struct timer_heap *heap)
{
    mem_free(heap->entries);
    mem_free(heap->slots);
    timer_heap_init(heap);
}

static bool entry_is_before(const struct timer_entry *a, const struct timer_entry *b)
{
    return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->sequence < b->sequence;
}

static void place(struct timer_heap *heap, uint32_t index, struct timer_entry entry)
{
    heap->entries[index] = entry;
    heap->slots[entry.slot].heap_index = index;
}

/* Move entry up from the hole at index to where it belongs. */
static void sift_up(struct timer_heap *heap, uint32_t index, struct timer_entry entry)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (!entry_is_before(&entry, &heap->entries[parent])) {
            break;
        }
        place(heap, index, heap->entries[parent]);
        index = parent;
    }
    place(heap, index, entry);
}

/* Move entry down from the hole at index to where it belongs. */
static void sift_down(struct timer_heap *heap, uint32_t index, struct timer_entry entry)
{
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && entry_is_before(&heap->entries[child + 1], &heap->entries[child])) {
            child++;
        }
        if (!entry_is_before(&heap->entries[child], &entry)) {
            break;
        }
        place(heap, index, heap->entries[child]);
        index = child;
    }
    place(heap, index, entry);
}

/* Put entry where the heap wants it, starting from a hole anywhere. */
static void sift(struct timer_heap *heap, uint32_t index, struct timer_entry entry)
{
    if (index > 0 && entry_is_before(&entry, &heap->entries[(index - 1) / 2])) {
        sift_up(heap, index, entry);
    } else {
        sift_down(heap, index, entry);
    }
}

static int grow_heap(struct timer_heap *heap)
{
    if (heap->capacity >= TIMER_HEAP_MAX) {
        return -ENOSPC;
    }
    uint32_t capacity = heap->capacity == 0 ? FIRST_SLOTS : heap->capacity * 2;

    /* Each array may stay larger than capacity says when the other one fails: nothing has changed. */
    struct timer_entry *entries = mem_resize(heap->entries, capacity * sizeof *entries);
    if (entries == NULL) {
        return -ENOMEM;
    }
    heap->entries = entries;
    struct timer *slots = mem_resize(heap->slots, capacity * sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    heap->slots = slots;

    for (uint32_t slot = heap->capacity; slot < capacity; slot++) {
        slots[slot] = (struct timer){.heap_index = slot + 1 < capacity ? slot + 1 : NO_SLOT};
    }
    heap->first_free = heap->capacity;
    heap->capacity = capacity;
    return 0;
}

int timer_heap_set(struct timer_heap *heap, int64_t deadline_ns, int64_t interval_ns, timer_fn fn, void *arg,
                   timer_id *id)
{
    if (heap->first_free == NO_SLOT) {
        int rv = grow_heap(heap);
        if (rv < 0) {
            return rv;
        }
    }
    uint32_t slot = heap->first_free;
    struct timer *timer = &heap->slots[slot];
    heap->first_free = timer->heap_index;
    timer->fn = fn;
    timer->arg = arg;
    timer->interval_ns = interval_ns;
    timer->generation++;

    struct timer_entry entry = {.deadline_ns = deadline_ns, .sequence = heap->next_sequence++, .slot = slot};
    sift_up(heap, heap->count++, entry);
    *id = timer_heap_id(heap, &entry);
    return 0;
}

/* The slot that id names, or NULL when id is dead. */
static struct timer *find_timer(const struct timer_heap *heap, timer_id id)
{
    uint32_t slot = (uint32_t)id;
    uint32_t generation = (uint32_t)(id >> 32);
    if (slot >= heap->capacity || generation % 2 == 0 || heap->slots[slot].generation != generation) {
        return NULL;
    }
    return &heap->slots[slot];
}

const struct timer_entry *timer_heap_find(const struct timer_heap *heap, timer_id id)
{
    const struct timer *timer = find_timer(heap, id);
    return timer == NULL ? NULL : &heap->entries[timer->heap_index];
}

bool timer_heap_move(struct timer_heap *heap, timer_id id, int64_t deadline_ns)
{
    struct timer *timer = find_timer(heap, id);
    if (timer == NULL) {
        return false;
    }
    struct timer_entry entry = {.deadline_ns = deadline_ns, .sequence = heap->next_sequence++, .slot = (uint32_t)id};
    sift(heap, timer->heap_index, entry);
    return true;
}

bool timer_heap_cancel(struct timer_heap *heap, timer_id id)
{
    struct timer *timer = find_timer(heap, id);
    if (timer == NULL) {
        return false;
    }
    uint32_t hole = timer->heap_index;
    heap->count--;
    if (hole != heap->count) {
        sift(heap, hole, heap->entries[heap->count]);
    }
    if (++timer->generation != 0) { /* a slot that has had every generation is given up: no dead id may revive */
        timer->heap_index = heap->first_free;
        heap->first_free = (uint32_t)id;
    }
    return true;
}

timer_id timer_heap_id(const struct timer_heap *heap, const struct timer_entry *entry)
{
    return (uint64_t)heap->slots[entry->slot].generation << 32 | entry->slot;
}

const struct timer *timer_heap_timer(const struct timer_heap *heap, const struct timer_entry *entry)
{
    return &heap->slots[entry->slot];
}

bool timer_heap_is_valid(const struct timer_heap *heap)
{
    for (uint32_t i = 0; i < heap->count; i++) {
        const struct timer *timer = &heap->slots[heap->entries[i].slot];
        if (timer->heap_index != i || timer->generation % 2 == 0) {
            return false;
        }
        if (i > 0 && entry_is_before(&heap->entries[i], &heap->entries[(i - 1) / 2])) {
            return false;
        }
    }
    return true;
}
