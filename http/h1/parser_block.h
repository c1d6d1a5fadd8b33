/* How the SIMD variants of the head parser find the end of an element: the template that parser_head.h wants, for a
 * variant that has defined TARGET and INLINE and defines find_ends_32(), which is declared here. No header guard.
 *
 * The bytes are looked at 64 at a time. A struct block keeps two words that say where among them a name and where a
 * value must end. Most elements are shorter than a vector; so one look at the bytes serves several of them, and to
 * find the next end takes a shift and a count of zeros.
 *
 * Nothing may be read behind the end of the bytes, or before their begin. So the last of them are looked at as two
 * vectors that overlap, or as one that begins before them; the bits for bytes behind the end are set, and stop every
 * search. */

/* Where in up to 64 bytes elements must end. */
struct ends {
    uint64_t name;  /* bit i: byte i is not CLASS_TOKEN, or not there */
    uint64_t value; /* bit i: byte i is not CLASS_VALUE, or not there */
};

struct block {
    size_t at;        /* offset of its first byte */
    struct ends ends; /* in its bytes */
};

/* No block yet; the first one will begin at pos. */
INLINE struct block no_block(size_t pos)
{
    return (struct block){.at = pos - 64};
}

/* tchar of RFC 9110 section 5.6.2: the low four bits of a byte choose an entry, the high four a bit in it. */
#define TOKEN_TABLE                                                                                                    \
    (char)0xe8, (char)0xfc, (char)0xf8, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xfc, (char)0xf8,        \
        (char)0xf8, (char)0xf4, 0x54, (char)0xd0, 0x54, (char)0xf4, 0x70
#define HIGH_BITS 1, 2, 4, 8, 16, 32, 64, (char)128, 0, 0, 0, 0, 0, 0, 0, 0

/* The bytes that are not CLASS_TOKEN. A byte beyond ASCII selects 0 from both tables. */
INLINE __m128i token_ends_16(__m128i bytes)
{
    __m128i low = _mm_shuffle_epi8(_mm_setr_epi8(TOKEN_TABLE), bytes);
    __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
    __m128i is_token = _mm_and_si128(low, _mm_shuffle_epi8(_mm_setr_epi8(HIGH_BITS), high));

    return _mm_cmpeq_epi8(is_token, _mm_setzero_si128());
}

/* The bytes that are not CLASS_VALUE: control characters other than HTAB. */
INLINE __m128i value_ends_16(__m128i bytes)
{
    __m128i is_low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    __m128i is_tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    __m128i is_del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));

    return _mm_or_si128(_mm_andnot_si128(is_tab, is_low), is_del);
}

/* The bytes that are not CLASS_QUERY: all but visible ASCII, and '#'. As signed numbers, bytes beyond ASCII are low. */
INLINE __m128i query_ends_16(__m128i bytes)
{
    __m128i is_low = _mm_cmpgt_epi8(_mm_set1_epi8('!'), bytes);
    __m128i is_del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    __m128i is_hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));

    return _mm_or_si128(_mm_or_si128(is_low, is_del), is_hash);
}

/* The bytes that are not CLASS_PATH: '?' besides, which differs from DEL in one bit. */
INLINE __m128i path_ends_16(__m128i bytes)
{
    __m128i is_low = _mm_cmpgt_epi8(_mm_set1_epi8('!'), bytes);
    __m128i is_hash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('#'));
    __m128i is_mark = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x40)), _mm_set1_epi8(0x7f));

    return _mm_or_si128(_mm_or_si128(is_low, is_hash), is_mark);
}

/* The bytes that a path with a normal form of its own may not have: '%', '\\' and, behind a slash, '.'. */
INLINE __m128i path_odds_16(__m128i bytes, __m128i bytes_before)
{
    __m128i is_escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('%'));
    __m128i is_backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i is_dot = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('.'));
    __m128i is_slash_before = _mm_cmpeq_epi8(bytes_before, _mm_set1_epi8('/'));

    return _mm_or_si128(_mm_or_si128(is_escape, is_backslash), _mm_and_si128(is_dot, is_slash_before));
}

INLINE __m128i load_16_bytes(const char *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* The ends among 16 bytes, a bit each. wanted is a constant: of the branches, the compiler leaves one. */
INLINE uint64_t find_ends_16(const char *bytes, enum char_class wanted)
{
    __m128i vector = load_16_bytes(bytes);
    __m128i ends = wanted == CLASS_TOKEN   ? token_ends_16(vector)
                   : wanted == CLASS_VALUE ? value_ends_16(vector)
                                           : query_ends_16(vector);

    return (uint32_t)_mm_movemask_epi8(ends);
}

/* The same for 32; wanted is CLASS_TOKEN or CLASS_VALUE. */
INLINE uint64_t find_ends_32(const char *bytes, enum char_class wanted);

/* The same for data[at, end), the last bytes there are: fewer than 64, maybe none. */
INLINE uint64_t find_ends_of_rest(const char *data, size_t at, size_t end, enum char_class wanted)
{
    size_t there = end - at;
    uint64_t behind = UINT64_MAX << there;

    if (there >= 32) {
        return find_ends_32(data + at, wanted) | find_ends_32(data + end - 32, wanted) << (there - 32) | behind;
    }
    if (there >= 16) {
        return find_ends_16(data + at, wanted) | find_ends_16(data + end - 16, wanted) << (there - 16) | behind;
    }
    if (end >= 16) {
        return find_ends_16(data + end - 16, wanted) >> (16 - there) | behind;
    }
    for (size_t i = 0; i < there; i++) {
        behind |= (uint64_t)!char_is(data[at + i], wanted) << i;
    }
    return behind;
}

/* Not inlined, since it comes once a message and is needed in several places. */
TARGET __attribute__((noinline)) static struct ends find_last_ends(const char *data, size_t at, size_t end)
{
    return (struct ends){
        .name = find_ends_of_rest(data, at, end, CLASS_TOKEN),
        .value = find_ends_of_rest(data, at, end, CLASS_VALUE),
    };
}

/* Go on to the bytes that follow. Their place does not depend on what was found so far: so the CPU need not wait for
 * that before it begins with them. */
INLINE void load_block(struct block *block, const char *data, size_t end)
{
    const char *bytes = data + (block->at += 64);

    if (end - block->at < 64) {
        block->ends = find_last_ends(data, block->at, end);
    } else {
        block->ends.name = find_ends_32(bytes, CLASS_TOKEN) | find_ends_32(bytes + 32, CLASS_TOKEN) << 32;
        block->ends.value = find_ends_32(bytes, CLASS_VALUE) | find_ends_32(bytes + 32, CLASS_VALUE) << 32;
    }
}

/* The expectations keep the compiler from preparing the vectors' constants where most calls come by without need. */
INLINE size_t find_end(struct block *block, const char *data, size_t pos, size_t end, enum char_class wanted)
{
    for (;;) {
        size_t i = pos - block->at;
        if (__builtin_expect(i >= 64, 0)) {
            load_block(block, data, end);
            continue;
        }
        uint64_t ends = (wanted == CLASS_TOKEN ? block->ends.name : block->ends.value) >> i;
        if (__builtin_expect(ends != 0, 1)) {
            return pos + (size_t)__builtin_ctzll(ends);
        }
        pos = block->at + 64;
    }
}

/* A target comes once a message, so nothing is kept. */
INLINE size_t find_path_end(const char *data, size_t pos, size_t end, bool *is_plain)
{
    for (; end - pos >= 16; pos += 16) {
        __m128i bytes = load_16_bytes(data + pos);
        uint32_t ends = (uint32_t)_mm_movemask_epi8(path_ends_16(bytes));
        uint32_t odds = (uint32_t)_mm_movemask_epi8(path_odds_16(bytes, load_16_bytes(data + pos - 1)));
        *is_plain &= (odds & (ends ^ (ends - 1))) == 0; /* up to the end; an end itself is not odd */
        if (ends != 0) {
            return pos + (size_t)__builtin_ctz(ends);
        }
    }
    return find_rest_of_path(data, pos, end, is_plain);
}

INLINE size_t find_query_end(const char *data, size_t pos, size_t end)
{
    for (; end - pos >= 16; pos += 16) {
        uint64_t ends = find_ends_16(data + pos, CLASS_QUERY);
        if (ends != 0) {
            return pos + (size_t)__builtin_ctzll(ends);
        }
    }
    while (pos < end && char_is(data[pos], CLASS_QUERY)) {
        pos++;
    }
    return pos;
}
