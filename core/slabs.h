#ifndef EVSERVE_CORE_SLABS_H
#define EVSERVE_CORE_SLABS_H

/* Objects of one size that lie close together, however much other memory is allocated between them: for what is walked
 * through by the thousand, where each page that it lies in costs time. A slab is freed with the last object in it. One
 * thread. */

#include <stddef.h>

struct slab;

enum { SLAB_OBJECTS = 32 }; /* that are allocated together */

/* Zero to begin with; it must not move while there are objects. */
struct slabs {
    struct slab *first; /* of the slabs that have room */
};

/* A zeroed object of size bytes, which is always the same for these slabs. It is aligned for pointers and uint64_t. NULL
 * without memory. */
void *slabs_take(struct slabs *slabs, size_t size);

/* Give an object of some slabs back; NULL is allowed. */
void slabs_put(void *object);

#endif
