/* Happy path: whole blocks of the message, then one or two that hold its rest, the bit 1 behind it and its length. */

#include "core/sha1.h"

#include <string.h>

enum { SHA1_BLOCK = 64, SHA1_LENGTH_BYTES = 8 };

static uint32_t rotate_left(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static uint32_t load_big(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void mix_block(uint32_t hash[5], const uint8_t block[SHA1_BLOCK])
{
    static const uint32_t constants[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t words[80];
    for (unsigned i = 0; i < 16; i++) {
        words[i] = load_big(block + (size_t)i * 4);
    }
    for (unsigned i = 16; i < 80; i++) {
        words[i] = rotate_left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (unsigned i = 0; i < 80; i++) {
        uint32_t choice = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        uint32_t next = rotate_left(a, 5) + choice + e + constants[i / 20] + words[i];
        e = d;
        d = c;
        c = rotate_left(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

void sha1(const void *data, size_t len, uint8_t out[SHA1_BYTES])
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = data;
    size_t left = len;
    for (; left >= SHA1_BLOCK; at += SHA1_BLOCK, left -= SHA1_BLOCK) {
        mix_block(hash, at);
    }
    uint8_t end[2 * SHA1_BLOCK] = {0};
    if (left > 0) {
        memcpy(end, at, left);
    }
    end[left] = 0x80;
    size_t end_len = left + 1 + SHA1_LENGTH_BYTES <= SHA1_BLOCK ? SHA1_BLOCK : 2 * SHA1_BLOCK;
    uint64_t bits = (uint64_t)len * 8;
    for (size_t i = 0; i < SHA1_LENGTH_BYTES; i++) {
        end[end_len - 1 - i] = (uint8_t)(bits >> (8 * i));
    }
    for (size_t i = 0; i < end_len; i += SHA1_BLOCK) {
        mix_block(hash, end + i);
    }
    for (size_t i = 0; i < SHA1_BYTES; i++) {
        out[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
    }
}
