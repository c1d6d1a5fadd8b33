/* Happy path: whole blocks are mixed as they come; md5_end() adds the bit 1 and the length behind the rest. */

#include "core/md5.h"

#include <string.h>

enum { MD5_LENGTH_BYTES = 8, MD5_STEPS = 64 };

static uint32_t rotate_word(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static uint32_t load_little(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* The integer part of 2^32 times the sine of each step, as RFC 1321 defines it. */
static const uint32_t md5_sines[MD5_STEPS] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static void md5_mix(uint32_t hash[4], const uint8_t block[MD5_BLOCK])
{
    static const uint8_t turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    static const uint8_t factors[4] = {1, 5, 3, 7}, offsets[4] = {0, 1, 5, 0};
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
    for (unsigned i = 0; i < MD5_STEPS; i++) {
        unsigned round = i / 16;
        uint32_t choice = round == 0   ? (b & c) | (~b & d)
                          : round == 1 ? (d & b) | (~d & c)
                          : round == 2 ? b ^ c ^ d
                                       : c ^ (b | ~d);
        unsigned word = (i * factors[round] + offsets[round]) % 16;
        uint32_t sum = a + choice + md5_sines[i] + load_little(block + (size_t)word * 4);
        a = d;
        d = c;
        c = b;
        b += rotate_word(sum, turns[round][i % 4]);
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
}

void md5_begin(struct md5 *md5)
{
    *md5 = (struct md5){.words = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void md5_add(struct md5 *md5, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        size_t used = (size_t)(md5->len % MD5_BLOCK);
        size_t part = MD5_BLOCK - used < len ? MD5_BLOCK - used : len;
        memcpy(md5->block + used, at, part);
        md5->len += part;
        at += part;
        len -= part;
        if (md5->len % MD5_BLOCK == 0) {
            md5_mix(md5->words, md5->block);
        }
    }
}

void md5_end(struct md5 *md5, uint8_t hash[MD5_BYTES])
{
    static const uint8_t filling[MD5_BLOCK] = {0x80};
    uint64_t bits = md5->len * 8;
    size_t used = (size_t)(md5->len % MD5_BLOCK), room = MD5_BLOCK - MD5_LENGTH_BYTES;
    uint8_t length[MD5_LENGTH_BYTES];
    for (size_t i = 0; i < MD5_LENGTH_BYTES; i++) {
        length[i] = (uint8_t)(bits >> (8 * i));
    }
    md5_add(md5, filling, used < room ? room - used : MD5_BLOCK + room - used);
    md5_add(md5, length, sizeof length);
    for (size_t i = 0; i < MD5_BYTES; i++) {
        hash[i] = (uint8_t)(md5->words[i / 4] >> (8 * (i % 4)));
    }
}
