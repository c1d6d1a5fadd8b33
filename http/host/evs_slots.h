#ifndef EVSERVE_HTTP_HOST_EVS_SLOTS_H
#define EVSERVE_HTTP_HOST_EVS_SLOTS_H

/* Ids that may outlive what they name. An id consists of a generation and a slot; once it is put back it finds nothing,
 * also when its slot is used again. A slot that has had every generation is retired.
 *
 * A slot takes 16 bytes; there are as many as were ever in use at once. The owner locks. */

#include <stdint.h>

enum {
    EVS_SLOT_BITS = 24,       /* of an id, from the lowest on */
    EVS_GENERATION_BITS = 31, /* the next higher ones */
    EVS_SLOTS_MAX = 1 << EVS_SLOT_BITS,
};

struct evs_slot {
    void *item;          /* NULL while it is free */
    uint32_t generation; /* of its present or next use, from 1; 0 when all are used up */
    uint32_t next_free;  /* of a free one; EVS_SLOTS_MAX ends the list */
};

struct evs_slots {
    struct evs_slot *list; /* capacity of them */
    uint32_t capacity;
    uint32_t first_free; /* EVS_SLOTS_MAX when there is none */
};

/* Begin without slots or memory; free the memory, whatever is in the slots. */
void evs_slots_init(struct evs_slots *slots);
void evs_slots_done(struct evs_slots *slots);

/* Give item, which is not NULL, an id. Returns it, or 0 without memory or beyond EVS_SLOTS_MAX. */
uint64_t evs_slots_take(struct evs_slots *slots, void *item);

/* The item of an id, or NULL. */
void *evs_slots_find(const struct evs_slots *slots, uint64_t id);

/* Free an id, which must name an item: from here on it finds nothing. */
void evs_slots_put(struct evs_slots *slots, uint64_t id);

#endif
