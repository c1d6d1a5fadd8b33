/* Whole numbers of any length, as the school teaches to reckon with them, in words of 32 bits for digits. Nothing here
 * fails. */

#include "http/big.h"

#include <assert.h>
#include <string.h>

enum { WORD_BITS = 32 };

static const uint32_t ten_to_nine = 1000000000;

static void push_word(struct big *big, uint32_t word)
{
    assert(big->count < BIG_WORDS);
    big->words[big->count++] = word;
}

/* Drop words at the top that are 0. */
static void trim_zeros(struct big *big)
{
    while (big->count > 0 && big->words[big->count - 1] == 0) {
        big->count--;
    }
}

void big_set(struct big *big, uint64_t value)
{
    big->count = 2;
    big->words[0] = (uint32_t)value;
    big->words[1] = (uint32_t)(value >> WORD_BITS);
    trim_zeros(big);
}

void big_add(struct big *big, uint32_t value)
{
    uint64_t carry = value;
    for (int i = 0; i < big->count && carry > 0; i++) {
        carry += big->words[i];
        big->words[i] = (uint32_t)carry;
        carry >>= WORD_BITS;
    }
    if (carry > 0) {
        push_word(big, (uint32_t)carry);
    }
}

void big_multiply(struct big *big, uint32_t factor)
{
    uint64_t carry = 0;
    for (int i = 0; i < big->count; i++) {
        carry += (uint64_t)big->words[i] * factor;
        big->words[i] = (uint32_t)carry;
        carry >>= WORD_BITS;
    }
    if (carry > 0) {
        push_word(big, (uint32_t)carry);
    }
}

void big_scale(struct big *big, int power)
{
    for (; power >= 9; power -= 9) {
        big_multiply(big, ten_to_nine);
    }
    for (; power > 0; power--) {
        big_multiply(big, 10);
    }
}

void big_shift(struct big *big, int bits)
{
    int words = bits / WORD_BITS;
    if (big->count == 0) {
        return;
    }
    assert(big->count + words <= BIG_WORDS);
    memmove(big->words + words, big->words, (size_t)big->count * sizeof big->words[0]);
    memset(big->words, 0, (size_t)words * sizeof big->words[0]);
    big->count += words;
    big_multiply(big, (uint32_t)1 << bits % WORD_BITS);
}

/* Subtract factor times what is below 2^32 times as large. Returns what would have to be borrowed from above. */
static uint64_t subtract_product(struct big *big, const struct big *other, uint32_t factor)
{
    uint64_t borrow = 0;
    for (int i = 0; i < big->count; i++) {
        uint64_t product = borrow + (i < other->count ? (uint64_t)other->words[i] * factor : 0);
        uint32_t low = (uint32_t)product;
        borrow = (product >> WORD_BITS) + (big->words[i] < low);
        big->words[i] -= low;
    }
    return borrow;
}

void big_subtract(struct big *big, const struct big *other)
{
    uint64_t borrow = subtract_product(big, other, 1);
    assert(borrow == 0);
    (void)borrow;
    trim_zeros(big);
}

int big_compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count) {
        return a->count < b->count ? -1 : 1;
    }
    for (int i = a->count - 1; i >= 0; i--) {
        if (a->words[i] != b->words[i]) {
            return a->words[i] < b->words[i] ? -1 : 1;
        }
    }
    return 0;
}

int big_compare_sum(const struct big *a, const struct big *b, const struct big *c)
{
    struct big sum;
    const struct big *longer = a->count >= b->count ? a : b;
    const struct big *shorter = longer == a ? b : a;
    uint64_t carry = 0;
    sum.count = longer->count;
    for (int i = 0; i < longer->count; i++) {
        carry += (uint64_t)longer->words[i] + (i < shorter->count ? shorter->words[i] : 0);
        sum.words[i] = (uint32_t)carry;
        carry >>= WORD_BITS;
    }
    if (carry > 0) {
        push_word(&sum, (uint32_t)carry);
    }
    return big_compare(&sum, c);
}

int big_lead(const struct big *big)
{
    int lead = 0;
    if (big->count > 0) {
        for (uint32_t top = big->words[big->count - 1]; top >> (WORD_BITS - 1) == 0; top <<= 1) {
            lead++;
        }
    }
    return lead;
}

int big_bits(const struct big *big)
{
    return big->count * WORD_BITS - big_lead(big);
}

/* Add; what is carried beyond the words of big is dropped, and returned. */
static uint32_t add_back(struct big *big, const struct big *other)
{
    uint64_t carry = 0;
    for (int i = 0; i < big->count; i++) {
        carry += (uint64_t)big->words[i] + (i < other->count ? other->words[i] : 0);
        big->words[i] = (uint32_t)carry;
        carry >>= WORD_BITS;
    }
    return (uint32_t)carry;
}

/* The two top words of what is divided, by the top word of the divisor, are too much by 2 at most when the latter has
 * no leading zeros (Knuth, The Art of Computer Programming 2, section 4.3.1, theorem B). */
uint32_t big_divide_word(struct big *big, const struct big *divisor)
{
    int top = divisor->count;
    assert(top > 0 && big_lead(divisor) == 0 && big_compare(big, divisor) < 0);
    big_shift(big, WORD_BITS);
    while (big->count < top + 1) {
        push_word(big, 0);
    }
    uint64_t two = (uint64_t)big->words[top] << WORD_BITS | big->words[top - 1];
    uint64_t guess = two / divisor->words[top - 1];
    uint32_t q = guess > UINT32_MAX ? UINT32_MAX : (uint32_t)guess;
    uint64_t borrow = subtract_product(big, divisor, q);
    while (borrow > 0) {
        q--;
        borrow -= add_back(big, divisor);
    }
    trim_zeros(big);
    return q;
}
