#ifndef EVSERVE_HTTP_BIG_H
#define EVSERVE_HTTP_BIG_H

/* Whole numbers of up to BIG_WORDS words, without sign: what http/number.c needs of them and no more. The caller sees
 * to it that they fit; a bug there is an assertion. */

#include <stdint.h>

enum { BIG_WORDS = 128 }; /* 10^1130, the divisor of 800 digits 330 places behind the point, has 3,754 bits; and room */

struct big {
    uint32_t words[BIG_WORDS]; /* the lowest first */
    int count;                 /* in use; the last of them is not 0 */
};

void big_set(struct big *big, uint64_t value);
void big_add(struct big *big, uint32_t value);
void big_multiply(struct big *big, uint32_t factor);

/* Multiply with 10^power. */
void big_scale(struct big *big, int power);

/* Multiply with 2^bits. */
void big_shift(struct big *big, int bits);

/* Subtract what is not larger. */
void big_subtract(struct big *big, const struct big *other);

/* Below, equal or above 0 as a is to b; as the sum of a and b is to c. */
int big_compare(const struct big *a, const struct big *b);
int big_compare_sum(const struct big *a, const struct big *b, const struct big *c);

/* Bits of the number, 0 for 0; bits that are 0 at the top of its last word. */
int big_bits(const struct big *big);
int big_lead(const struct big *big);

/* The next 32 bits of the quotient: big times 2^32 divided by divisor; big becomes what is left. big must be below the
 * divisor, and big_lead(divisor) be 0. */
uint32_t big_divide_word(struct big *big, const struct big *divisor);

#endif
