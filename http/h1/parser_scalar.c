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

INLINE size_t find_query_end(const char *data, size_t pos, size_t end)
{
    while (pos < end && char_is(data[pos], CLASS_QUERY)) {
        pos++;
    }
    return pos;
}

INLINE size_t find_path_end(const char *data, size_t pos, size_t end, bool *is_plain)
{
    return find_rest_of_path(data, pos, end, is_plain);
}

INLINE size_t find_end(struct block *block, const char *data, size_t pos, size_t end, enum char_class wanted)
{
    (void)block;
    while (pos < end && char_is(data[pos], wanted)) {
        pos++;
    }
    return pos;
}

#include "http/h1/parser_head.h"
