/* The head parser one byte at a time: for CPUs without SIMD, and the reference that the other variants are tested
 * against. */

#include <assert.h>

#include "http/h1/parser_inner.h"

#define VARIANT parse_head_scalar
#define TARGET
#define INLINE __attribute__((always_inline)) static inline

struct block {
    char unused; /* there is nothing to remember */
};

INLINE struct block no_block(size_t pos)
{
    (void)pos;
    return (struct block){0};
}

INLINE size_t find_target_end(const char *data, size_t pos, size_t end, enum char_class wanted)
{
    while (pos < end && char_is(data[pos], wanted)) {
        pos++;
    }
    return pos;
}

INLINE size_t find_end(struct block *block, const char *data, size_t pos, size_t end, enum char_class wanted)
{
    (void)block;
    return find_target_end(data, pos, end, wanted);
}

#include "http/h1/parser_head.h"
