/* http/number.c: doubles as text and back, against the C library, which a test may use. */

#include "http/number.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/guard_page.h"

enum { RANDOM_NUMBERS = 10000 };

static struct guarded in;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&in);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&in);
    return 0;
}

static const char *format(double number)
{
    static char text[NUMBER_TEXT_MAX + 1];
    size_t len = number_format(text, number);
    assert_in_range(len, 1, NUMBER_TEXT_MAX);
    text[len] = '\0';
    return text;
}

/* Compare bits: 0 is not -0. */
static void assert_same(double is, double ought, const char *text)
{
    if (memcmp(&is, &ought, sizeof is) != 0) {
        fail_msg("%.60s is read as %a, not as %a", text, is, ought);
    }
}

/* The text lies against a page that must not be touched: nothing behind it is read. */
static double parse(const char *text)
{
    size_t len = strlen(text);
    return number_parse(guarded_at_end(&in, text, len), len);
}

static void check_read(const char *text)
{
    assert_same(parse(text), strtod(text, NULL), text);
}

static void whole_numbers_are_digits(void **state)
{
    (void)state;
    assert_string_equal(format(0), "0");
    assert_string_equal(format(-0.0), "0");
    assert_string_equal(format(7), "7");
    assert_string_equal(format(-1200), "-1200");
    assert_string_equal(format(1764448000000000), "1764448000000000");
    assert_string_equal(format(9007199254740991), "9007199254740991");
    assert_string_equal(format(-9007199254740992), "-9007199254740992");
    assert_string_equal(format(9999999999999998), "9999999999999998");
    assert_string_equal(format(10000000000000000), "1e+16");
    assert_string_equal(format(12345678901234567890.0), "1.2345678901234567e+19");
}

static void fractions_have_as_few_digits_as_bring_them_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"0.1",      "0.30000000000000004",
                                        "12.75",    "-3.14",
                                        "0.000001", "1e-7",
                                        "1.5e-7",   "1.7976931348623157e+308",
                                        "5e-324",   "123456789.25",
                                        "1e+300",   "1e+22",
                                        "2.5e-300", "0.00001",
                                        "1e+23",    "2.2250738585072014e-308",
                                        "9.5e-10",  "12345678901234.568",
                                        "4.35",     "1.25e+21"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_string_equal(format(strtod(texts[i], NULL)), texts[i]);
    }
    assert_string_equal(format(NAN), "nan");
    assert_string_equal(format(HUGE_VAL), "inf");
    assert_string_equal(format(-HUGE_VAL), "-inf");
}

/* The next double above a positive one (steps 1), or below (-1). */
static double next_to(double number, int steps)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    bits += (uint64_t)steps;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t seed = 88172645463325252U;

static uint64_t random_bits(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Digits of a text, without the zeros at their ends. */
static int count_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0') {
            zeros++;
        } else if (*text >= '1' && *text <= '9') {
            count += count > 0 ? zeros + 1 : 1;
            zeros = 0;
        }
    }
    return count;
}

static void check_round_trip(double number)
{
    char fewest[64];
    const char *text = format(number);
    assert_same(strtod(text, NULL), number, text);
    assert_same(parse(text), number, text);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(fewest, sizeof fewest, "%.*e", digits - 1, number);
        if (strtod(fewest, NULL) == number) {
            break;
        }
    }
    if (count_digits(text) > count_digits(fewest)) {
        fail_msg("%s has more digits than %s", text, fewest);
    }
}

static void any_double_comes_back_from_the_fewest_digits(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOM_NUMBERS; i++) {
        uint64_t bits = random_bits();
        double number;
        memcpy(&number, &bits, sizeof number);
        if (isfinite(number) && number != 0) {
            check_round_trip(number);
            check_round_trip((double)(int64_t)(bits >> 11) / 1000);
            check_round_trip((double)(bits >> 40) / 128);
        }
    }
    for (int exponent = -1074; exponent <= 1023;
         exponent++) { /* where the next number below is nearer than that above */
        check_round_trip(ldexp(1, exponent));
        check_round_trip(next_to(ldexp(1, exponent), 1));
        if (exponent > -1074) {
            check_round_trip(next_to(ldexp(1, exponent), -1));
        }
    }
}

static void texts_are_read_as_the_nearest_double(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0e5",
        "1e22",
        "1e23",
        "-1E-22",
        "9007199254740993",       /* half way: to even */
        "9007199254740993.00001", /* and beyond */
        "9007199254740995",
        "1e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308", /* infinite */
        "1e309",
        "1e999999999999999999999",
        "1e-999999999999999999999",
        "0e999999999999999999999",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324", /* just below the half of the smallest: 0 */
        "2.4703282292062328e-324",
        "2.2250738585072011e-308", /* the largest of the denormal ones */
        "2.2250738585072012e-308",
        "0.000000000000000000000000000000000000000000000000000000000000001e63",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692"
        "887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842"
        "914819860834936475292719074168444365510704342711559699508093042880",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        check_read(texts[i]);
    }
    for (int i = 0; i < RANDOM_NUMBERS; i++) {
        char text[128];
        snprintf(text, sizeof text, "%llu%llu.%llue%d", (unsigned long long)(random_bits() >> (random_bits() % 63)),
                 (unsigned long long)random_bits(), (unsigned long long)(random_bits() >> (random_bits() % 63)),
                 (int)(random_bits() % 700) - 360);
        check_read(text);
        snprintf(text, sizeof text, "%llu.%llue-%d", (unsigned long long)(random_bits() % 1000),
                 (unsigned long long)(random_bits() % 1000000), (int)(random_bits() % 30));
        check_read(text);
    }
}

/* More digits than can decide, and where only the last one does. */
static void long_texts_are_read_to_their_last_digit(void **state)
{
    (void)state;
    static const char half[] = /* exactly between 1 and the next double */
        "1.00000000000000011102230246251565404236316680908203125";
    char text[4096];
    for (size_t zeros = 0; zeros <= 3000; zeros += 500) {
        size_t len = sizeof half - 1;
        memcpy(text, half, len);
        memset(text + len, '0', zeros);
        memcpy(text + len + zeros, "0", 2);
        check_read(text);
        assert_same(parse(text), 1, text);
        text[len + zeros] = '1';
        check_read(text);
        assert_same(parse(text), next_to(1, 1), text);
    }
    memset(text, '9', 4000); /* a fraction of zeros except at its end, scaled up again */
    memcpy(text, "0.", 2);
    memset(text + 2, '0', 3900);
    memcpy(text + 4000, "e3901", 6);
    check_read(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_digits),
        cmocka_unit_test(fractions_have_as_few_digits_as_bring_them_back),
        cmocka_unit_test(any_double_comes_back_from_the_fewest_digits),
        cmocka_unit_test(texts_are_read_as_the_nearest_double),
        cmocka_unit_test(long_texts_are_read_to_their_last_digit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
