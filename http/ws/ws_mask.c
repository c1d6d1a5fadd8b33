/* Unmasking. The mask is repeated to the width of a word or a vector, so whole ones leave its phase as it is; what is
 * left over goes byte by byte, and turns the mask. */

#include "http/ws/ws_mask.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define WS_TARGET_AVX2 __attribute__((target("avx2")))

enum { WS_WIDE_LEAST = 64 }; /* bytes from which on vectors are worth a call */

/* Turn the mask by len bytes. */
static void ws_turn_mask(uint8_t mask[4], size_t len)
{
    uint8_t doubled[8];

    memcpy(doubled, mask, 4);
    memcpy(doubled + 4, mask, 4);
    memcpy(mask, doubled + (len & 3), 4);
}

static void ws_unmask_words(char *data, size_t len, uint8_t mask[4])
{
    uint64_t repeated;
    uint64_t word;

    memcpy(&repeated, mask, 4);
    memcpy((char *)&repeated + 4, mask, 4);
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&word, data, sizeof word);
        word ^= repeated;
        memcpy(data, &word, sizeof word);
    }
    if (len == 0) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        data[i] = (char)(data[i] ^ mask[i & 3]);
    }
    ws_turn_mask(mask, len);
}

#ifdef __x86_64__

static void ws_unmask_sse2(char *data, size_t len, uint8_t mask[4])
{
    int32_t word;

    memcpy(&word, mask, 4);
    const __m128i repeated = _mm_set1_epi32(word);
    for (; len >= 32; data += 32, len -= 32) {
        __m128i *at = (__m128i *)(void *)data;
        __m128i first = _mm_xor_si128(_mm_loadu_si128(at), repeated);
        __m128i second = _mm_xor_si128(_mm_loadu_si128(at + 1), repeated);
        _mm_storeu_si128(at, first);
        _mm_storeu_si128(at + 1, second);
    }
    ws_unmask_words(data, len, mask);
}

WS_TARGET_AVX2 static void ws_unmask_avx2(char *data, size_t len, uint8_t mask[4])
{
    int32_t word;

    memcpy(&word, mask, 4);
    const __m256i repeated = _mm256_set1_epi32(word);
    for (; len >= 64; data += 64, len -= 64) {
        __m256i *at = (__m256i *)(void *)data;
        __m256i first = _mm256_xor_si256(_mm256_loadu_si256(at), repeated);
        __m256i second = _mm256_xor_si256(_mm256_loadu_si256(at + 1), repeated);
        _mm256_storeu_si256(at, first);
        _mm256_storeu_si256(at + 1, second);
    }
    _mm256_zeroupper(); /* gcc leaves it out before the call of a function that it sees, which is slow */
    ws_unmask_words(data, len, mask);
}

#endif

void ws_unmask(char *data, size_t len, uint8_t mask[4])
{
#ifdef __x86_64__
    if (len >= WS_WIDE_LEAST) {
        if (__builtin_cpu_supports("avx2")) {
            ws_unmask_avx2(data, len, mask);
        } else {
            ws_unmask_sse2(data, len, mask);
        }
        return;
    }
#endif
    ws_unmask_words(data, len, mask);
}

ws_unmask_fn *ws_unmask_variant(unsigned n, const char **name)
{
    static const struct {
        const char *name; /* for people */
        ws_unmask_fn *fn;
    } variants[] = {
        {"words", ws_unmask_words},
#ifdef __x86_64__
        {"sse2", ws_unmask_sse2},
        {"avx2", ws_unmask_avx2},
#endif
    };
    unsigned count = sizeof variants / sizeof variants[0];

#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2")) {
        count--;
    }
#endif
    if (n >= count) {
        return NULL;
    }
    *name = variants[n].name;
    return variants[n].fn;
}
