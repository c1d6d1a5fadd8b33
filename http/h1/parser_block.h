/* How the variants with vectors find the ends of elements: what parser_whole.h wants, for a variant that has defined
 *
 *   INLINE          what its functions begin with: always inlined, with the variant's instructions
 *   WIDTH, vector   bytes of a vector, and its type
 *   V(op), VI(op)   an intrinsic for vectors: V(cmpeq_epi8), and those for all bits: VI(and)
 *   REPEAT(table)   a vector's worth of a table of 16 bytes, as initialisers
 *   EACH(c)         the same for one byte
 *
 * No header guard.
 *
 * Field lines are looked at 32 bytes at a time, from the begin of a line on. A struct block keeps two words that say
 * where among them a name and where a value must end: to find the ends takes two shifts and counts of zeros. */

/* Vectors that the functions below compare with. */
struct patterns {
    char line_low[WIDTH], line_high[WIDTH], host_low[WIDTH], host_high[WIDTH]; /* of classify() */
    char low_bits[WIDTH], carry[WIDTH], carry_less[WIDTH], minus_one[WIDTH], control[WIDTH], tab[WIDTH];
    char exclamation[WIDTH], hash[WIDTH], del[WIDTH], bit_6[WIDTH], percent[WIDTH], backslash[WIDTH], dot[WIDTH],
        slash[WIDTH];
    char zero_digit[WIDTH], nine[WIDTH];
};

/* They stay in memory, from where each takes part in an instruction without one more to fetch it. Left to itself, the
 * compiler would make each of them anew, with three. */
INLINE const struct patterns *get_patterns(void)
{
    static const struct patterns patterns __attribute__((aligned(WIDTH))) = {
        /* Bits 0 to 4 of a byte's class are for the characters of a token, by their high four bits; bits 5 to 7 are for
         * what ends a value; any other byte, such as the colon, has none. */
        .line_low = {REPEAT(0x3a, 0x3f, 0x3e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3e, (char)0x9e, 0x3d, 0x25, 0x34, 0x25,
                            0x3d, 0x6c)},
        .line_high = {REPEAT(0x20, (char)0xa0, 1, 2, 4, 8, 6, 0x50, 0, 0, 0, 0, 0, 0, 0, 0)},
        /* CLASS_HOST, likewise */
        .host_low = {REPEAT(0x1a, 0x1f, 0x1e, 0x1e, 0x1f, 0x1e, 0x1f, 0x1f, 0x1f, 0x1f, 0x1d, 0x07, 0x05, 0x07, 0x15,
                            0x0c)},
        .host_high = {REPEAT(0, 0, 1, 2, 4, 8, 4, 0x10, 0, 0, 0, 0, 0, 0, 0, 0)},
        .low_bits = {EACH(0x0f)},
        .carry = {EACH(0x60)},
        .carry_less = {EACH(0x61)},
        .minus_one = {EACH(-1)},
        .control = {EACH(0x1f)},
        .tab = {EACH('\t')},
        .exclamation = {EACH('!')},
        .hash = {EACH('#')},
        .del = {EACH(0x7f)},
        .bit_6 = {EACH(0x40)},
        .percent = {EACH('%')},
        .backslash = {EACH('\\')},
        .dot = {EACH('.')},
        .slash = {EACH('/')},
        .zero_digit = {EACH('0')},
        .nine = {EACH(9)},
    };
    const struct patterns *hidden = &patterns;

    __asm__ volatile("" : "+r"(hidden));
    return hidden;
}

INLINE vector load_vector(const char *bytes)
{
    return VI(loadu)((const vector *)(const void *)bytes);
}

INLINE uint64_t mask_of(vector bytes)
{
    return (uint32_t)V(movemask_epi8)(bytes);
}

INLINE vector is_byte(vector bytes, const char *pattern)
{
    return V(cmpeq_epi8)(bytes, load_vector(pattern));
}

/* The class of each byte, as bits: the low four bits of a byte choose an entry of one table, the high four one of
 * another, and what both have is its class. A byte beyond ASCII has none. */
INLINE vector classify(vector bytes, const char *by_low, const char *by_high, const struct patterns *patterns)
{
    vector high = VI(and)(V(srli_epi16)(bytes, 4), load_vector(patterns->low_bits));

    return VI(and)(V(shuffle_epi8)(load_vector(by_low), bytes), V(shuffle_epi8)(load_vector(by_high), high));
}

INLINE void clear_head(struct head *head)
{
    const size_t len = offsetof(struct head, field_capacity);

    for (size_t i = 0; i + WIDTH <= len; i += WIDTH) {
        VI(storeu)((vector *)(void *)((char *)head + i), VI(setzero)());
    }
    VI(storeu)((vector *)(void *)((char *)head + len - WIDTH), VI(setzero)());
}

/* Where among 32 bytes elements must end. */
struct block {
    size_t at;      /* offset of the first byte */
    size_t last;    /* the last offset that a block may have */
    uint64_t name;  /* bit i: byte i is not CLASS_TOKEN */
    uint64_t value; /* bit i: byte i is not CLASS_VALUE */
};

/* The first block will begin at pos, and none will reach beyond end. */
INLINE struct block begin_block(size_t pos, size_t end)
{
    return (struct block){.at = pos - 64, .last = end - 32};
}

INLINE void load_block(struct block *block, const char *data, size_t at)
{
    const struct patterns *patterns = get_patterns();

    block->at = at;
    block->name = block->value = 0;
    for (size_t i = 0; i < 32; i += WIDTH) {
        vector classes = classify(load_vector(data + at + i), patterns->line_low, patterns->line_high, patterns);
        /* Bits 5 to 7 carry into the highest; and so does 0, if it has become 0xff before. */
        vector less = V(add_epi8)(classes, load_vector(patterns->minus_one));
        block->value |= mask_of(V(adds_epu8)(classes, load_vector(patterns->carry))) << i;
        block->name |= mask_of(V(adds_epu8)(less, load_vector(patterns->carry_less))) << i;
    }
}

/* A block serves the lines that begin in its first part; most lines are longer than that, and each has a block of its
 * own then. A name that is longer than a block is left to parser_step(). */
INLINE bool find_name_end(struct block *block, const char *data, size_t pos, size_t end, size_t *len)
{
    uint64_t ends = 0;

    (void)end;
    if (pos - block->at <= 20) {
        ends = block->name >> (pos - block->at);
    }
    if (__builtin_expect(ends == 0, 1)) {
        if (__builtin_expect(pos <= block->last, 1)) {
            load_block(block, data, pos);
            ends = block->name;
        } else {
            load_block(block, data, block->last);
            ends = block->name >> (pos - block->last);
        }
        if (ends == 0) {
            return false;
        }
    }
    *len = (size_t)__builtin_ctzll(ends);
    return true;
}

/* The bytes at data that are not CLASS_VALUE, for values that are longer than a block. */
INLINE uint64_t find_value_ends(const char *data)
{
    const struct patterns *patterns = get_patterns();
    uint64_t ends = 0;

    for (size_t i = 0; i < 32; i += WIDTH) {
        vector bytes = load_vector(data + i);
        vector is_low = V(cmpeq_epi8)(V(min_epu8)(bytes, load_vector(patterns->control)), bytes);
        vector is_end = VI(or)(VI(andnot)(is_byte(bytes, patterns->tab), is_low), is_byte(bytes, patterns->del));
        ends |= mask_of(is_end) << i;
    }
    return ends;
}

/* A value that does not end in the block at hand. No byte from the begin of its name to the end of the block ends a
 * value; so what is looked at may overlap them. */
INLINE bool find_far_value_end(const struct block *block, const char *data, size_t pos, size_t *len)
{
    size_t at = block->at + 32;

    for (; at <= block->last; at += 32) {
        uint64_t ends = find_value_ends(data + at);
        if (ends != 0) {
            *len = at + (size_t)__builtin_ctzll(ends) - pos;
            return true;
        }
    }
    at = block->last > pos ? block->last : pos;
    uint64_t ends = find_value_ends(data + block->last) >> (at - block->last);
    if (ends == 0) {
        return false;
    }
    *len = at + (size_t)__builtin_ctzll(ends) - pos;
    return true;
}

INLINE bool find_value_end(const struct block *block, const char *data, size_t pos, size_t end, size_t *len)
{
    uint64_t ends = block->value >> (pos - block->at); /* by less than 64: SPACES_MAX */

    (void)end;
    if (__builtin_expect(ends == 0, 0)) {
        return find_far_value_end(block, data, pos, len);
    }
    *len = (size_t)__builtin_ctzll(ends);
    return true;
}

/* A host without escapes or brackets, with a port or without one: others are left to parser_take_field(). */
INLINE bool is_plain_authority(const char *data, struct slice host)
{
    const struct patterns *patterns = get_patterns();
    const char *value = data + host.offset;
    size_t len = host.len;

    if (len - 1 >= WIDTH || host.offset + len < WIDTH) {
        return false;
    }
    vector bytes = load_vector(value + len - WIDTH);
    vector classes = classify(bytes, patterns->host_low, patterns->host_high, patterns);
    uint64_t others = mask_of(V(cmpeq_epi8)(classes, VI(setzero)())) >>
                      (WIDTH - len); /* bit i: byte i is not CLASS_HOST */
    if (others == 0) {
        return true;
    }
    size_t colon = (size_t)__builtin_ctzll(others);
    vector digits = V(sub_epi8)(bytes, load_vector(patterns->zero_digit));
    vector is_digit = V(cmpeq_epi8)(V(min_epu8)(digits, load_vector(patterns->nine)), digits);
    uint64_t host_and_port = mask_of(is_digit) >> (WIDTH - len) | (((uint64_t)2 << colon) - 1);
    return colon > 0 && value[colon] == ':' && host_and_port == ((uint64_t)1 << len) - 1;
}

/* A byte that is not CLASS_PATH is, as a signed number, below '!', or it is '#', '?' or DEL; the last two differ in one
 * bit. */
INLINE size_t find_path_end(const char *data, size_t pos, size_t end, bool *is_plain)
{
    for (; end - pos >= WIDTH; pos += WIDTH) {
        const struct patterns *patterns = get_patterns();
        vector bytes = load_vector(data + pos);
        vector is_low = V(cmpgt_epi8)(load_vector(patterns->exclamation), bytes);
        vector is_mark = is_byte(VI(or)(bytes, load_vector(patterns->bit_6)), patterns->del);
        uint64_t ends = mask_of(VI(or)(VI(or)(is_low, is_byte(bytes, patterns->hash)), is_mark));
        vector is_dot = VI(and)(is_byte(bytes, patterns->dot), is_byte(load_vector(data + pos - 1), patterns->slash));
        vector is_coded = VI(or)(is_byte(bytes, patterns->percent), is_byte(bytes, patterns->backslash));
        uint64_t odds = mask_of(VI(or)(is_coded, is_dot));
        *is_plain &= (odds & (ends ^ (ends - 1))) == 0; /* up to the end, which is not odd itself */
        if (ends != 0) {
            return pos + (size_t)__builtin_ctzll(ends);
        }
    }
    return find_rest_of_path(data, pos, end, is_plain);
}

INLINE size_t find_query_end(const char *data, size_t pos, size_t end)
{
    for (; end - pos >= WIDTH; pos += WIDTH) {
        const struct patterns *patterns = get_patterns();
        vector bytes = load_vector(data + pos);
        vector is_low = V(cmpgt_epi8)(load_vector(patterns->exclamation), bytes);
        uint64_t ends = mask_of(VI(or)(VI(or)(is_low, is_byte(bytes, patterns->hash)), is_byte(bytes, patterns->del)));
        if (ends != 0) {
            return pos + (size_t)__builtin_ctzll(ends);
        }
    }
    return find_rest_of_query(data, pos, end);
}
