#ifndef EVSERVE_HTTP_DIGITS_H
#define EVSERVE_HTTP_DIGITS_H

/* Numbers of the access log as text, two digits at a time. Each writer takes a cursor into memory with room, and
 * returns the cursor behind what it wrote. No state; any thread. */

#include "http/head_text.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The last two digits of a number. */
static inline char *put_two_digits(char *at, unsigned number)
{
    static const char pairs[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243"
        "4445464748495051525354555657585960616263646566676869707172737475767778798081828384858687"
        "888990919293949596979899";
    memcpy(at, pairs + 2 * (size_t)(number % 100), 2);
    return at + 2;
}

/* The last three digits of a number. */
static inline char *put_three_digits(char *at, unsigned number)
{
    *at = (char)('0' + number / 100 % 10);
    return put_two_digits(at + 1, number);
}

/* A number below 10,000 without leading zeros. */
static inline char *put_small(char *at, unsigned number)
{
    unsigned high = number / 100, low = number % 100;
    if (high >= 10) {
        at = put_two_digits(at, high);
    } else if (high > 0) {
        *at++ = (char)('0' + high);
    }
    if (high == 0 && low < 10) {
        *at++ = (char)('0' + low);
        return at;
    }
    return put_two_digits(at, low);
}

/* A number below 100,000,000 without leading zeros. */
static inline char *put_medium(char *at, unsigned number)
{
    if (number < 10000) {
        return put_small(at, number);
    }
    at = put_small(at, number / 10000);
    return put_two_digits(put_two_digits(at, number / 100), number);
}

/* A number without leading zeros. */
static inline char *put_decimal(char *at, uint64_t number)
{
    return number < 100000000 ? put_medium(at, (unsigned)number) : put_number(at, number);
}

#endif
