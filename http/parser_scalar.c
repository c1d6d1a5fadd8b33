/* The head parser one byte at a time: for CPUs without SIMD, and the reference that the other variants are tested
 * against. */

#include <assert.h>

#include "http/parser_inner.h"

#define VARIANT parse_head_scalar
#define TARGET
#define INLINE  __attribute__((always_inline)) static inline

struct block {
    char unused; /* nothing to remember */
};

INLINE uint32_t find_end(struct block *block, const char *data, uint32_t pos, uint32_t end, enum char_class wanted)
{
    (void)block;
    while (pos < end && char_is(data[pos], wanted)) {
        pos++;
    }
    return pos;
}

#include "http/parser_head.h"
