#ifndef EVSERVE_CORE_TALLY_H
#define EVSERVE_CORE_TALLY_H

/* Totals that one thread adds to and any thread may read, with a relaxed load. */

#include <stdint.h>

/* Add to a total. Compilers make a load, an addition and a store of the portable form; on x86-64 one instruction does
 * all of it, and its store is as whole as theirs. */
static inline void tally_add(uint64_t *number, uint64_t n)
{
#ifdef __x86_64__
    __asm__("addq %1, %0" : "+m"(*number) : "er"(n) : "cc");
#else
    __atomic_store_n(number, *number + n, __ATOMIC_RELAXED);
#endif
}

#endif
