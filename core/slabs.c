/* Happy path: the first slab that has room gives an object that was given back, or else the next one that was never
 * used, so a slab that is only partly used does not touch its other pages. In front of each object is the slab that it
 * belongs to.
 *
 * Failure mode: no memory for a slab, for the caller. */

#include "core/slabs.h"

#include "core/mem.h"

#include <stdint.h>
#include <string.h>

/* AddressSanitizer shall find a use of an object that is in no use. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define HIDE_OBJECT(data, size) ASAN_POISON_MEMORY_REGION(data, size)
#define SHOW_OBJECT(data, size) ASAN_UNPOISON_MEMORY_REGION(data, size)
#else
#define HIDE_OBJECT(data, size) ((void)(data))
#define SHOW_OBJECT(data, size) ((void)(data))
#endif

/* What lies in front of an object. */
union slab_place {
    struct slab *slab;      /* it belongs to; while it is in use */
    union slab_place *next; /* in the list of those given back; else */
    uint64_t alignment;
};

struct slab {
    struct slabs *slabs;      /* whose it is */
    struct slab *next, *prev; /* in the list of those with room, if it has any */
    union slab_place *spare;  /* given back */
    size_t step;              /* places that an object takes with its own */
    unsigned used;            /* objects in use */
    unsigned begun;           /* objects that have ever been in use: the first ones */
    union slab_place places[];
};

static void link_slab(struct slab *slab)
{
    struct slabs *slabs = slab->slabs;
    slab->prev = NULL;
    slab->next = slabs->first;
    if (slab->next != NULL) {
        slab->next->prev = slab;
    }
    slabs->first = slab;
}

static void unlink_slab(struct slab *slab)
{
    *(slab->prev == NULL ? &slab->slabs->first : &slab->prev->next) = slab->next;
    if (slab->next != NULL) {
        slab->next->prev = slab->prev;
    }
}

static struct slab *make_slab(struct slabs *slabs, size_t size)
{
    size_t words = 1 + (size + sizeof(union slab_place) - 1) / sizeof(union slab_place);
    struct slab *slab = mem_alloc(sizeof *slab + SLAB_OBJECTS * words * sizeof(union slab_place));
    if (slab != NULL) {
        *slab = (struct slab){.slabs = slabs, .step = words};
        HIDE_OBJECT(slab->places, SLAB_OBJECTS * words * sizeof(union slab_place));
        link_slab(slab);
    }
    return slab;
}

void *slabs_take(struct slabs *slabs, size_t size)
{
    struct slab *slab = slabs->first != NULL ? slabs->first : make_slab(slabs, size);
    if (slab == NULL) {
        return NULL;
    }
    union slab_place *place = slab->spare;
    if (place != NULL) {
        slab->spare = place->next;
    } else {
        place = slab->places + slab->begun * slab->step;
        slab->begun++;
    }
    slab->used++;
    if (slab->used == SLAB_OBJECTS) {
        unlink_slab(slab);
    }
    SHOW_OBJECT(place, slab->step * sizeof *place);
    place->slab = slab;
    return memset(place + 1, 0, size);
}

void slabs_put(void *object)
{
    if (object == NULL) {
        return;
    }
    union slab_place *place = (union slab_place *)object - 1;
    struct slab *slab = place->slab;
    if (slab->used == SLAB_OBJECTS) {
        link_slab(slab);
    }
    slab->used--;
    if (slab->used == 0) {
        unlink_slab(slab);
        SHOW_OBJECT(slab->places, SLAB_OBJECTS * slab->step * sizeof *place);
        mem_free(slab);
        return;
    }
    place->next = slab->spare;
    slab->spare = place;
    HIDE_OBJECT(object, (slab->step - 1) * sizeof *place);
}
