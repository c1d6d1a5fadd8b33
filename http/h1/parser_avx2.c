/* The head parser for CPUs with AVX2: 64 bytes are two vectors of 32. The comparisons are those of parser_block.h. */

#ifdef __x86_64__

#include <assert.h>
#include <immintrin.h>

#include "http/h1/parser_inner.h"

#define VARIANT parse_head_avx2
#define TARGET  __attribute__((target("avx2,bmi,bmi2")))
#define INLINE  __attribute__((always_inline, target("avx2,bmi,bmi2"))) static inline

#include "http/h1/parser_block.h"

INLINE __m256i token_ends_32(__m256i bytes)
{
    __m256i low = _mm256_shuffle_epi8(_mm256_setr_epi8(TOKEN_TABLE, TOKEN_TABLE), bytes);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
    __m256i is_token = _mm256_and_si256(low, _mm256_shuffle_epi8(_mm256_setr_epi8(HIGH_BITS, HIGH_BITS), high));

    return _mm256_cmpeq_epi8(is_token, _mm256_setzero_si256());
}

INLINE __m256i value_ends_32(__m256i bytes)
{
    __m256i is_low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
    __m256i is_tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
    __m256i is_del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));

    return _mm256_or_si256(_mm256_andnot_si256(is_tab, is_low), is_del);
}

INLINE uint64_t find_ends_32(const char *bytes, enum char_class wanted)
{
    __m256i vector = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i ends = wanted == CLASS_TOKEN ? token_ends_32(vector) : value_ends_32(vector);

    return (uint32_t)_mm256_movemask_epi8(ends);
}

#include "http/h1/parser_head.h"

#endif
