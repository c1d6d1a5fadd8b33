/* Happy path: the function of http/access_combined_inner.h reads like the line. It is compiled for CPUs with AVX2,
 * which check and copy 32 bytes at a time, and for all others.
 *
 * Failure modes: none. Whatever is not usual is left to access_line_write(), which would write the same line: the tests
 * hold the two against each other. */

#include "http/access_combined.h"

#include "http/access_escape.h"
#include "http/digits.h"
#include "http/exchange.h"
#include "http/service.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { COMBINED_REST = 256 }; /* bytes of a line that do not come from the head, at most */

/* Whether a token of eight bytes or more is a name in lower case, whatever its own case: other bytes that differ from
 * the name's in the bit 0x20 alone are control characters, which no token holds. */
static inline bool is_combined_name(const char *token, const char *lower, size_t len)
{
    const uint64_t cases = word_of(0x20);
    return (word_at(token) | cases) == word_at(lower) &&
           (word_at(token + len - sizeof(uint64_t)) | cases) == word_at(lower + len - sizeof(uint64_t));
}

static inline bool is_referer(const char *token)
{
    const uint32_t cases = 0x20202020;
    return (half_word_at(token) | cases) == half_word_at("refe") &&
           (half_word_at(token + 3) | cases) == half_word_at("erer");
}

/* The status of a response, and the bytes of its head, with one look. */
static inline uint64_t response_look(const struct exchange *exchange)
{
    _Static_assert(offsetof(struct exchange, status) - offsetof(struct exchange, head_bytes) == sizeof(uint32_t) &&
                       sizeof exchange->status == sizeof(uint32_t),
                   "they lie side by side");
    return word_at((const char *)exchange + offsetof(struct exchange, head_bytes));
}

/* What follows the request line differs from that of the line before: write it anew, and then the line. */
__attribute__((noinline, cold)) static bool end_anew(struct access_buffer *buffer, struct exchange *exchange,
                                                     uint64_t bytes)
{
    struct access_memo *memo = &buffer->memo;
    uint64_t body_bytes = bytes - exchange->head_bytes;
    assert(bytes >= exchange->head_bytes);
    if (body_bytes >= 100000000) {
        return false;
    }
    char *at = put(memo->combined_end, "\" ", 2);
    at = put_three_digits(at, (unsigned)exchange->status);
    *at++ = ' ';
    at = put_medium(at, (unsigned)body_bytes);
    at = put(at, " \"-\" \"-\"\n", 9);
    memo->end_len = (uint8_t)(at - memo->combined_end);
    memo->end_bytes = bytes;
    memo->end_look = response_look(exchange);
    return buffer->write_usual(buffer, exchange, bytes);
}

/* Another client, or another second. */
__attribute__((noinline, cold)) static bool begin_anew(struct access_buffer *buffer, struct exchange *exchange,
                                                       uint64_t bytes)
{
    access_memo_renew_begin(&buffer->memo, exchange_client(exchange), exchange->service->date_s);
    return buffer->write_usual(buffer, exchange, bytes);
}

/* Fields whose name is as long as that of one that a line depends on: "Referer", "User-Agent", "Authorization". */
static const uint32_t suspect_lens = UINT32_C(1) << 7 | 1 << 10 | 1 << 13;

enum { SUSPECTS = 4 }; /* fields that are looked at together */

/* Which of count fields, SUSPECTS at most, are suspects: which bit of the set is a field's depends on the variant. */
static inline unsigned find_suspects(const struct field *fields, unsigned count)
{
    unsigned suspects = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t len = fields[i].name.len;
        suspects |= (unsigned)(len < 32 && (suspect_lens >> len & 1) != 0) << i;
    }
    return suspects;
}

#define VARIANT access_combined_plain
#define FIELDS  fields_plain
#define TARGET
#define COPY_BLOCK(at, bytes) memcpy(at, bytes, 32)
#define COPY(at, text, len)   access_copy_usual(at, text, len)
#define FIND(fields, count)   find_suspects(fields, count)
#define PLACES                "\0\1\2\3"
#include "http/access_combined_inner.h"

#ifdef __x86_64__

__attribute__((always_inline, target("avx2,bmi,bmi2"))) static inline void copy_32(char *copy, const char *bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)copy, _mm256_loadu_si256((const __m256i *)(const void *)bytes));
}

/* access_copy_usual() by blocks of 32 bytes, of which a short text is the begin of one: READ_SLACK. Returns 0 if there
 * is nothing to escape. */
__attribute__((always_inline, target("avx2,bmi,bmi2"))) static inline unsigned copy_usual_by_32(char *copy,
                                                                                                const char *text,
                                                                                                size_t len)
{
    /* At the place of its low four bits each byte that is to be escaped, and what can be nowhere else: a lookup gives
     * such a byte itself. Those beyond ASCII have bit 7 set. */
    const __m256i odd = _mm256_setr_epi8(0, 1, '"', 3, 4, 5, 6, 7, 8, '\t', '\n', 11, '\\', '\r', 14, 0x7f, 0, 1, '"',
                                         3, 4, 5, 6, 7, 8, '\t', '\n', 11, '\\', '\r', 14, 0x7f);
    if (__builtin_expect(len <= 32, 1)) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)text);
        _mm256_storeu_si256((__m256i *)(void *)copy, bytes);
        __m256i special = _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(odd, bytes), bytes), bytes);
        return _bzhi_u32((unsigned)_mm256_movemask_epi8(special), (unsigned)len);
    }
    size_t last = len - 32, at = 0;
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + last));
    _mm256_storeu_si256((__m256i *)(void *)(copy + last), bytes);
    __m256i special = _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(odd, bytes), bytes), bytes);
    do {
        bytes = _mm256_loadu_si256((const __m256i *)(const void *)(text + at));
        _mm256_storeu_si256((__m256i *)(void *)(copy + at), bytes);
        bytes = _mm256_or_si256(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(odd, bytes), bytes), bytes);
        special = _mm256_or_si256(special, bytes);
        at += 32;
    } while (at < last);
    return (unsigned)_mm256_movemask_epi8(special);
}

/* Fields 0 to 3 have the bits 1, 5, 2 and 6: a name's length, as the amount of a shift, takes its bit of suspect_lens
 * to the highest place of its word. Two fields are in a vector, and two more in the one that begins four bytes
 * earlier, so that their lengths come to other places of it. Behind the last field of a head lies the path, for which
 * there are 64 bytes at least: so much may be read. */
__attribute__((always_inline, target("avx2,bmi,bmi2"))) static inline unsigned find_suspects_at_once(
    const struct field *fields, unsigned count)
{
    enum { L7 = 1 << 24, L10 = 1 << 21, L13 = 1 << 18, ALL = L7 | L10 | L13 };
    static const uint8_t sets[SUSPECTS + 1] = {0, 0x02, 0x22, 0x26, 0x66};
    static const uint32_t all_lens[8] __attribute__((aligned(32))) = {ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL};
    const char *bytes = (const char *)fields;
    __m256i lens = _mm256_load_si256((const __m256i *)(const void *)all_lens);
    __m256i two = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
    __m256i more = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 2 * sizeof *fields - sizeof(uint32_t)));
    __m256i both = _mm256_blend_epi32(_mm256_sllv_epi32(lens, two), _mm256_sllv_epi32(lens, more), 0x44);
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(both)) & sets[count];
}

#define VARIANT               access_combined_avx2
#define FIELDS                fields_avx2
#define TARGET                __attribute__((target("avx2,bmi,bmi2")))
#define COPY_BLOCK(at, bytes) copy_32(at, bytes)
#define COPY(at, text, len)   (copy_usual_by_32(at, text, len) == 0)
#define FIND(fields, count)   find_suspects_at_once(fields, count)
#define PLACES                "\0\0\2\0\0\1\3"
#include "http/access_combined_inner.h"

#endif

bool access_combined_never(struct access_buffer *buffer, struct exchange *exchange, uint64_t bytes)
{
    (void)buffer;
    (void)exchange;
    (void)bytes;
    return false;
}

access_combined_fn access_combined_variant(unsigned n)
{
#ifdef __x86_64__
    if (n == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")) {
        return access_combined_avx2;
    }
#endif
    return n == 0 ? access_combined_plain : NULL;
}

access_combined_fn access_combined_best(void)
{
    access_combined_fn best = access_combined_variant(1);
    return best != NULL ? best : access_combined_plain;
}
