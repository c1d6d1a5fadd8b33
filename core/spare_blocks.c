/* A list of the blocks in no use, which goes through them. Failure: no memory, for the caller. */

#include "core/spare_blocks.h"

#include "core/mem.h"

/* AddressSanitizer shall find a use of a block that is in no use. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define HIDE_SPARE(block) ASAN_POISON_MEMORY_REGION(block, SPARE_BLOCK_BYTES)
#define SHOW_SPARE(block) ASAN_UNPOISON_MEMORY_REGION(block, SPARE_BLOCK_BYTES)
#else
#define HIDE_SPARE(block) ((void)(block))
#define SHOW_SPARE(block) ((void)(block))
#endif

struct spare_block {
    struct spare_block *next;
};

void *spare_block_take(struct spare_blocks *blocks)
{
    struct spare_block *block = blocks->first;
    if (block == NULL) {
        return mem_alloc(SPARE_BLOCK_BYTES);
    }
    SHOW_SPARE(block);
    blocks->first = block->next;
    blocks->count--;
    return block;
}

void spare_block_put(struct spare_blocks *blocks, void *block)
{
    struct spare_block *spare = block;
    if (blocks->count == SPARE_BLOCKS_MAX) {
        mem_free(block);
        return;
    }
    spare->next = blocks->first;
    blocks->first = spare;
    blocks->count++;
    HIDE_SPARE(block);
}

void spare_blocks_done(struct spare_blocks *blocks)
{
    while (blocks->first != NULL) {
        mem_free(spare_block_take(blocks));
    }
}
