#ifndef EVSERVE_CORE_SPARE_BLOCKS_H
#define EVSERVE_CORE_SPARE_BLOCKS_H

/* Blocks of memory of one size, for what comes and goes often. Some that are in no use are kept for the next users:
 * the C library takes much longer to give and to take blocks of this size. One thread. */

#include <stddef.h>

enum {
    SPARE_BLOCK_BYTES = 2048, /* of a block */
    SPARE_BLOCKS_MAX = 32,    /* that are kept */
};

struct spare_block;

/* Zero to begin with. */
struct spare_blocks {
    struct spare_block *first; /* of those in no use */
    unsigned count;            /* of them */
};

/* A block, uninitialised: the caller's until spare_block_put(). NULL without memory. */
void *spare_block_take(struct spare_blocks *blocks);

/* Give one back. */
void spare_block_put(struct spare_blocks *blocks, void *block);

/* Free those in no use. */
void spare_blocks_done(struct spare_blocks *blocks);

#endif
