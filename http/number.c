/* Doubles as decimal text and back.
 *
 * Happy path: most numbers have few digits. A whole number is written digit by digit, and a number such as 12.75 is a
 * whole number divided by a power of ten, both of them exact in a double, so one division gives the nearest double
 * (Clinger, "How to read floating point numbers accurately", 1990).
 *
 * All others take the slow and exact way, in whole numbers of any length: digits are made as by Steele and White, "How
 * to print floating-point numbers accurately" (1990), and read with one long division. */

#include "http/number.h"

#include "http/big.h"
#include "http/char_class.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    EXACT_POWER_MAX = 22, /* 10^22 is the largest power of ten that is exact in a double */
    EXACT_DIGITS = 15,    /* numbers of so many digits are told apart by doubles */
    SHORTEST_MAX = 17,    /* digits that tell any two doubles apart */
    PLAIN_MAX = 16,       /* digits in front of the point that are written without an exponent: all of them are exact */
    PLAIN_ZEROS_MAX = 6,  /* and zeros behind it, one of them in front of it */
    READ_DIGITS_MAX = 800, /* that can decide between two doubles; 767 are enough */
    POINT_MAX = 310,       /* digits in front of the point of any finite double, and some */
    POINT_MIN = -330,      /* zeros behind it that any double but 0 has at most, and some */
    FRACTION_BITS = 52,    /* of a double */
    EXPONENT_MIN = -1074,  /* of the last bit of the smallest doubles */
};

static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const double exact_whole_max = 9007199254740992.0; /* 2^53 */

/* A decimal number: 0.d1d2d3... times 10 to the power of point. */
struct decimal {
    char digits[SHORTEST_MAX + 1]; /* the first is not 0 */
    int count;                     /* of digits */
    int point;                     /* where the decimal point stands, counted from before the first digit */
};

/* Writing. */

static void take_whole(struct decimal *decimal, uint64_t value)
{
    char reversed[20];
    int count = 0;
    int zeros = 0;
    for (; value > 0; value /= 10) {
        reversed[count++] = (char)('0' + value % 10);
    }
    while (zeros < count && reversed[zeros] == '0') {
        zeros++;
    }
    decimal->point = count;
    decimal->count = 0;
    while (count > zeros) {
        decimal->digits[decimal->count++] = reversed[--count];
    }
}

/* The digits of a positive number that has few of them. Whether it has. */
static bool take_short(struct decimal *decimal, double number)
{
    for (int power = 0; power <= EXACT_POWER_MAX; power++) {
        double scaled = number * exact_powers[power] + 0.5;
        if (!(scaled < exact_powers[EXACT_DIGITS])) {
            return false;
        }
        double whole = (double)(uint64_t)scaled;
        if (whole > 0 && whole / exact_powers[power] == number) {
            take_whole(decimal, (uint64_t)whole);
            decimal->point -= power;
            return true;
        }
    }
    return false;
}

/* The shortest digits that are nearer to a positive number than to any other, made one at a time. The number is r/s of
 * what the digits so far leave; less and more are how far the numbers may be that still read back as it, in parts of
 * s. */
static void take_shortest(struct decimal *decimal, double number)
{
    int exponent;
    uint64_t fraction = (uint64_t)ldexp(frexp(number, &exponent), FRACTION_BITS + 1);
    decimal->point = (exponent - 1) * 30103 / 100000 - 1; /* the power of ten below that of two: right, or too small */
    exponent -= FRACTION_BITS + 1;
    if (exponent < EXPONENT_MIN) {
        fraction >>= EXPONENT_MIN - exponent;
        exponent = EXPONENT_MIN;
    }
    bool is_even = fraction % 2 == 0;
    bool is_edge = fraction == (uint64_t)1 << FRACTION_BITS && exponent > EXPONENT_MIN; /* the next below is nearer */
    struct big r, s, less, more;
    big_set(&r, fraction);
    big_set(&s, 1);
    big_set(&less, 1);
    big_set(&more, 1);
    big_shift(&r, (exponent > 0 ? exponent : 0) + 1 + is_edge);
    big_shift(&s, (exponent < 0 ? -exponent : 0) + 1 + is_edge);
    big_shift(&less, exponent > 0 ? exponent : 0);
    big_shift(&more, (exponent > 0 ? exponent : 0) + is_edge);

    if (decimal->point >= 0) {
        big_scale(&s, decimal->point);
    } else {
        big_scale(&r, -decimal->point);
        big_scale(&less, -decimal->point);
        big_scale(&more, -decimal->point);
    }
    for (;; decimal->point++) {
        int over = big_compare_sum(&r, &more, &s);
        if (over < 0 || (over == 0 && !is_even)) {
            break;
        }
        big_multiply(&s, 10);
    }
    big_multiply(&r, 10);
    big_multiply(&less, 10);
    big_multiply(&more, 10);
    decimal->count = 0;
    for (;;) {
        int digit = 0;
        while (big_compare(&r, &s) >= 0) {
            big_subtract(&r, &s);
            digit++;
        }
        int low = big_compare(&r, &less);
        int high = big_compare_sum(&r, &more, &s);
        bool is_low = low < 0 || (low == 0 && is_even);
        bool is_high = high > 0 || (high == 0 && is_even);
        if (is_low || is_high) {
            bool is_up = is_high && (!is_low || big_compare_sum(&r, &r, &s) >= 0);
            decimal->digits[decimal->count++] = (char)('0' + digit + is_up);
            return;
        }
        decimal->digits[decimal->count++] = (char)('0' + digit);
        big_multiply(&r, 10);
        big_multiply(&less, 10);
        big_multiply(&more, 10);
    }
}

static size_t put_zeros(char *text, int count)
{
    memset(text, '0', (size_t)count);
    return (size_t)count;
}

/* Digits with the point among them, before them or behind. */
static size_t put_plain(char *text, const struct decimal *decimal)
{
    size_t len = 0;
    int whole = decimal->point < 0 ? 0 : decimal->point < decimal->count ? decimal->point : decimal->count;
    memcpy(text, decimal->digits, (size_t)whole);
    len += (size_t)whole;
    if (decimal->point > whole) {
        len += put_zeros(text + len, decimal->point - whole);
    }
    if (decimal->point <= 0) {
        text[len++] = '0';
    }
    if (whole < decimal->count) {
        text[len++] = '.';
        len += decimal->point < 0 ? put_zeros(text + len, -decimal->point) : 0;
        memcpy(text + len, decimal->digits + whole, (size_t)(decimal->count - whole));
        len += (size_t)(decimal->count - whole);
    }
    return len;
}

/* d.ddde+dd */
static size_t put_scientific(char *text, const struct decimal *decimal)
{
    size_t len = 0;
    int exponent = decimal->point - 1;
    text[len++] = decimal->digits[0];
    if (decimal->count > 1) {
        text[len++] = '.';
        memcpy(text + len, decimal->digits + 1, (size_t)decimal->count - 1);
        len += (size_t)decimal->count - 1;
    }
    text[len++] = 'e';
    text[len++] = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    for (int unit = exponent >= 100 ? 100 : exponent >= 10 ? 10 : 1; unit > 0; unit /= 10) {
        text[len++] = (char)('0' + exponent / unit % 10);
    }
    return len;
}

static size_t put_word(char *text, const char *word)
{
    size_t len = 0;
    for (; word[len] != '\0'; len++) {
        text[len] = word[len];
    }
    return len;
}

size_t number_format(char text[NUMBER_TEXT_MAX], double number)
{
    size_t sign = 0;
    struct decimal decimal;
    if (isnan(number)) {
        return put_word(text, "nan");
    }
    if (number < 0) {
        text[sign++] = '-';
        number = -number;
    }
    if (isinf(number)) {
        return sign + put_word(text + sign, "inf");
    }
    if (number == 0) {
        text[0] = '0'; /* that of -0, too */
        return 1;
    }
    if (number <= exact_whole_max && number == (double)(uint64_t)number) {
        take_whole(&decimal, (uint64_t)number);
    } else if (!take_short(&decimal, number)) {
        take_shortest(&decimal, number);
    }
    bool is_plain = decimal.point <= PLAIN_MAX && decimal.point > -PLAIN_ZEROS_MAX;
    return sign + (is_plain ? put_plain(text + sign, &decimal) : put_scientific(text + sign, &decimal));
}

/* Reading. */

/* A number as it was written, taken apart. */
struct written {
    const char *first; /* digit that is not 0; NULL when there is none */
    const char *last;  /* behind the last digit */
    int64_t count;     /* digits from first to last */
    int64_t power;     /* of ten, that the whole number of those digits is to be multiplied with */
};

/* The exponent, behind its "e". One that is absurd stays absurd, without overflow. */
static int64_t read_exponent(const char *text, const char *end)
{
    static const int64_t absurd = (int64_t)1 << 40; /* more than any text has digits */
    bool is_negative = text < end && *text == '-';
    int64_t value = 0;
    for (text += text < end && !char_is_digit(*text); text < end; text++) {
        value = value < absurd ? value * 10 + (*text - '0') : value;
    }
    return is_negative ? -value : value;
}

static struct written take_apart(const char *text, const char *end)
{
    struct written written = {0};
    bool is_behind = false; /* the point */
    for (; text < end && *text != 'e' && *text != 'E'; text++) {
        if (*text == '.') {
            is_behind = true;
            continue;
        }
        if (written.first == NULL && *text != '0') {
            written.first = text;
        }
        written.count += written.first != NULL;
        written.power -= is_behind;
    }
    written.last = text;
    written.power += text < end ? read_exponent(text + 1, end) : 0;
    return written;
}

/* The nearest double to q times 2^exponent; q is at least 2^62. is_more: the true number is a little larger. */
static double round_to_double(uint64_t q, int exponent, bool is_more)
{
    int drop = q >> 63 ? 64 - FRACTION_BITS - 1 : 63 - FRACTION_BITS - 1;
    if (exponent + drop < EXPONENT_MIN) {
        drop = EXPONENT_MIN - exponent;
    }
    if (drop > 64) {
        return 0;
    }
    uint64_t kept = drop == 64 ? 0 : q >> drop;
    uint64_t half = (uint64_t)1 << (drop - 1);
    uint64_t rest = drop == 64 ? q : q & (((uint64_t)1 << drop) - 1);
    bool is_up = rest > half || (rest == half && (is_more || kept % 2 == 1));
    return ldexp((double)(kept + is_up), exponent + drop);
}

/* The exact way: the digits as one whole number, divided by a power of ten until 64 bits are known. */
static double read_exactly(const struct written *written)
{
    struct big value, divisor;
    int64_t taken = 0;
    bool is_more = false; /* a digit that is not 0 lies behind those that were taken */
    big_set(&value, 0);
    big_set(&divisor, 1);
    for (const char *at = written->first; at < written->last; at++) {
        if (char_is_digit(*at) && taken < READ_DIGITS_MAX) {
            big_multiply(&value, 10);
            big_add(&value, (uint32_t)(*at - '0'));
            taken++;
        } else {
            is_more = is_more || (*at >= '1' && *at <= '9');
        }
    }
    int64_t power = written->power + written->count - taken;
    big_scale(power >= 0 ? &value : &divisor, (int)(power >= 0 ? power : -power));

    /* Bring the value below the divisor, by less than two bits. */
    int exponent = big_bits(&value) - big_bits(&divisor) + 1;
    big_shift(exponent >= 0 ? &divisor : &value, exponent >= 0 ? exponent : -exponent);
    int lead = big_lead(&divisor);
    big_shift(&divisor, lead);
    big_shift(&value, lead);
    uint64_t high = big_divide_word(&value, &divisor);
    uint64_t q = high << 32 | big_divide_word(&value, &divisor);
    return round_to_double(q, exponent - 64, is_more || big_bits(&value) > 0);
}

double number_parse(const char *text, size_t len)
{
    bool is_negative = len > 0 && *text == '-';
    struct written written = take_apart(text + is_negative, text + len);
    double value = 0;
    if (written.first != NULL) {
        int64_t point = written.count + written.power;
        uint64_t whole = 0;
        if (written.count <= 19) { /* below 2^64 */
            for (const char *at = written.first; at < written.last; at++) {
                whole = char_is_digit(*at) ? whole * 10 + (uint64_t)(*at - '0') : whole;
            }
        }
        bool is_exact = written.count <= 19 && whole <= (uint64_t)1 << (FRACTION_BITS + 1);
        if (is_exact && written.power >= 0 && written.power <= EXACT_POWER_MAX) {
            value = (double)whole * exact_powers[written.power];
        } else if (is_exact && written.power < 0 && written.power >= -EXACT_POWER_MAX) {
            value = (double)whole / exact_powers[-written.power];
        } else if (point > POINT_MAX) {
            value = HUGE_VAL;
        } else if (point >= POINT_MIN) {
            value = read_exactly(&written);
        }
    }
    return is_negative ? -value : value;
}
