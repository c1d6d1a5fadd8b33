/* A table with a list of its free slots, and a generation in each slot.
 *
 * Failure mode: without memory there is no id, and the table stays as it was. */

#include "http/host/evs_slots.h"

#include "core/mem.h"

#include <assert.h>
#include <stddef.h>

enum { FIRST_IDS = 16 };

void evs_slots_init(struct evs_slots *slots)
{
    *slots = (struct evs_slots){.first_free = EVS_SLOTS_MAX};
}

void evs_slots_done(struct evs_slots *slots)
{
    mem_free(slots->list);
    evs_slots_init(slots);
}

static int grow(struct evs_slots *slots)
{
    uint32_t capacity = slots->capacity == 0 ? FIRST_IDS : slots->capacity * 2;
    struct evs_slot *list = capacity > EVS_SLOTS_MAX ? NULL : mem_resize(slots->list, capacity * sizeof *list);
    if (list == NULL) {
        return -1;
    }
    for (uint32_t i = capacity; i-- > slots->capacity;) { /* the lowest one is the first to be used */
        list[i] = (struct evs_slot){.generation = 1, .next_free = slots->first_free};
        slots->first_free = i;
    }
    slots->list = list;
    slots->capacity = capacity;
    return 0;
}

uint64_t evs_slots_take(struct evs_slots *slots, void *item)
{
    if (slots->first_free == EVS_SLOTS_MAX && grow(slots) < 0) {
        return 0;
    }
    uint32_t index = slots->first_free;
    struct evs_slot *slot = &slots->list[index];
    slots->first_free = slot->next_free;
    slot->item = item;
    return (uint64_t)slot->generation << EVS_SLOT_BITS | index;
}

static struct evs_slot *find_slot(const struct evs_slots *slots, uint64_t id)
{
    uint32_t index = (uint32_t)(id & (EVS_SLOTS_MAX - 1));
    uint64_t generation = id >> EVS_SLOT_BITS;
    struct evs_slot *slot = index < slots->capacity ? &slots->list[index] : NULL;
    return slot != NULL && slot->item != NULL && slot->generation == generation ? slot : NULL;
}

void *evs_slots_find(const struct evs_slots *slots, uint64_t id)
{
    const struct evs_slot *slot = find_slot(slots, id);
    return slot == NULL ? NULL : slot->item;
}

void evs_slots_put(struct evs_slots *slots, uint64_t id)
{
    struct evs_slot *slot = find_slot(slots, id);
    assert(slot != NULL);
    slot->item = NULL;
    slot->generation = (slot->generation + 1) & ((1U << EVS_GENERATION_BITS) - 1);
    if (slot->generation != 0) {
        slot->next_free = slots->first_free;
        slots->first_free = (uint32_t)(slot - slots->list);
    }
}
