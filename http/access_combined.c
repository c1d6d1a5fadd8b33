/* Happy path: the function of http/access_combined_inner.h reads like the line. It is compiled for CPUs with AVX2,
 * which check and copy 32 bytes at a time, and for all others.
 *
 * Failure modes: none. Whatever is not usual is left to access_line_write(), which would write the same line: the tests
 * hold the two against each other. */

#include "http/access_combined.h"

#include "core/ascii.h"
#include "http/access_escape.h"
#include "http/digits.h"
#include "http/exchange.h"
#include "http/service.h"

#include <stdbool.h>
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

/* The fields that a line shows: the first of each name, or NULL. */
struct combined_fields {
    const struct slice *referer, *user_agent;
};

/* Find them. Returns whether the line can be written without more: there is no user. */
__attribute__((always_inline)) static inline bool find_combined_fields(struct combined_fields *found,
                                                                       const struct exchange *exchange)
{
    const uint64_t lens = 1 << 7 | 1 << 10 | 1 << 13; /* bit 7 is that of a name of 71 bytes, too: no harm */
    const struct field *first = exchange->head.fields, *field = first + exchange->head.field_count;
    *found = (struct combined_fields){0};
    while (field != first) { /* from the last one on, so that the first one of a name is what remains */
        field--;
        if (__builtin_expect(lens >> (field->name.len & 63) & 1, 0)) {
            const char *name = exchange_text(exchange, field->name);
            if (field->name.len == 10) {
                found->user_agent = is_combined_name(name, "user-agent", 10) ? &field->value : found->user_agent;
            } else if (field->name.len == 7) {
                found->referer = ascii_equals(name, "referer", 7) ? &field->value : found->referer;
            } else if (field->name.len == 13 && is_combined_name(name, "authorization", 13)) {
                return false;
            }
        }
    }
    return true;
}

/* The bytes of the body that was sent, and the status. */
static inline uint64_t combined_end_key(const struct exchange *exchange, size_t queued)
{
    uint64_t sent = exchange->sent_bytes + queued, others = (uint64_t)exchange->queued_before + exchange->head_bytes;
    return (sent < others ? 0 : sent - others) << 16 | (uint64_t)exchange->status;
}

/* What follows the request line differs from that of the line before: write it anew, and then the line. */
__attribute__((noinline, cold)) static bool end_anew(struct access_buffer *buffer, struct exchange *exchange,
                                                     size_t queued)
{
    struct access_memo *memo = &buffer->memo;
    uint64_t key = combined_end_key(exchange, queued);
    if (key >> 16 >= 100000000) {
        return false;
    }
    char *at = put(memo->combined_end, "\" ", 2);
    at = put_three_digits(at, (unsigned)exchange->status);
    *at++ = ' ';
    at = put_medium(at, (unsigned)(key >> 16));
    at = put(at, " \"-\" \"-\"\n", 9);
    memo->end_len = (uint8_t)(at - memo->combined_end);
    memo->end_key = key;
    return buffer->write_usual(buffer, exchange, queued);
}

/* Another client, or another second. */
__attribute__((noinline, cold)) static bool begin_anew(struct access_buffer *buffer, struct exchange *exchange,
                                                       size_t queued)
{
    access_memo_renew_begin(&buffer->memo, exchange->peer, exchange->service->date_s);
    return buffer->write_usual(buffer, exchange, queued);
}

#define VARIANT access_combined_plain
#define TARGET
#define COPY_BLOCK(at, bytes) memcpy(at, bytes, 32)
#define COPY(at, text, len)   access_copy_usual(at, text, len)
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

#define VARIANT               access_combined_avx2
#define TARGET                __attribute__((target("avx2,bmi,bmi2")))
#define COPY_BLOCK(at, bytes) copy_32(at, bytes)
#define COPY(at, text, len)   (copy_usual_by_32(at, text, len) == 0)
#include "http/access_combined_inner.h"

#endif

bool access_combined_never(struct access_buffer *buffer, struct exchange *exchange, size_t queued)
{
    (void)buffer;
    (void)exchange;
    (void)queued;
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
