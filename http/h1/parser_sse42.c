/* The head parser for CPUs with SSE4.2: 64 bytes are four vectors of 16. */

#ifdef __x86_64__

#include <assert.h>
#include <immintrin.h>

#include "http/h1/parser_inner.h"

#define VARIANT parse_head_sse42
#define TARGET  __attribute__((target("sse4.2")))
#define INLINE  __attribute__((always_inline, target("sse4.2"))) static inline

#include "http/h1/parser_block.h"

INLINE uint64_t find_ends_32(const char *bytes, enum char_class wanted)
{
    return find_ends_16(bytes, wanted) | find_ends_16(bytes + 16, wanted) << 16;
}

#include "http/h1/parser_head.h"

#endif
