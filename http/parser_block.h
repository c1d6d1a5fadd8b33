/* How the SIMD variants of the head parser find the end of an element. A template like parser_head.h, without a header
 * guard; the variant has defined TARGET and INLINE, and defines find_ends_32(), which is declared here.
 *
 * The bytes are looked at 64 at a time. A struct block keeps in one word where among them an element of its class must
 * end; most elements are shorter than a vector, and to find the ends of the next ones takes a shift and a count of zeros.
 *
 * Nothing may be read behind the end of the bytes, or before their begin. So the last block is looked at as two vectors
 * that overlap, or as one that begins before it; the bits for bytes behind the end are set, and stop every search. */

struct block {
    uint32_t at;   /* offset of its first byte */
    uint32_t end;  /* at + 64; 0 before the first block */
    uint64_t ends; /* bit i: byte i is not of the class, or not there */
};

/* The low four bits of a byte choose an entry of a table, the high four a bit in it. */
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

/* The bytes that are not CLASS_PATH: '?' besides. */
INLINE __m128i path_ends_16(__m128i bytes)
{
    return _mm_or_si128(query_ends_16(bytes), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('?')));
}

/* The ends among 16 bytes, a bit each. wanted is a constant, so of the branches one is left. */
INLINE uint64_t find_ends_16(const char *bytes, enum char_class wanted)
{
    __m128i vector = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    __m128i ends = wanted == CLASS_TOKEN   ? token_ends_16(vector)
                   : wanted == CLASS_VALUE ? value_ends_16(vector)
                   : wanted == CLASS_PATH  ? path_ends_16(vector)
                                           : query_ends_16(vector);

    return (uint32_t)_mm_movemask_epi8(ends);
}

/* The same for 32. */
INLINE uint64_t find_ends_32(const char *bytes, enum char_class wanted);

/* The ends in data[at, end), fewer than 64 bytes and the last there are. */
INLINE uint64_t find_last_ends(const char *data, uint32_t at, uint32_t end, enum char_class wanted)
{
    uint32_t there = end - at;
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
    for (uint32_t i = 0; i < there; i++) {
        behind |= (uint64_t)!char_is(data[at + i], wanted) << i;
    }
    return behind;
}

INLINE void load_block(struct block *block, const char *data, uint32_t at, uint32_t end, enum char_class wanted)
{
    block->at = at;
    block->end = at + 64;
    if (end - at < 64) {
        block->ends = find_last_ends(data, at, end, wanted);
    } else {
        block->ends = find_ends_32(data + at, wanted) | find_ends_32(data + at + 32, wanted) << 32;
    }
}

INLINE uint32_t find_end(struct block *block, const char *data, uint32_t pos, uint32_t end, enum char_class wanted)
{
    for (;;) {
        if (pos >= block->end) {
            if (pos == end) {
                return end;
            }
            load_block(block, data, pos, end, wanted);
        }
        uint64_t ends = block->ends >> (pos - block->at);
        if (ends != 0) {
            return pos + (uint32_t)__builtin_ctzll(ends);
        }
        pos = block->end;
    }
}
