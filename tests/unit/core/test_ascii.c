/* Letters and digits of ASCII: every byte, every length, against a table and plain arithmetic. */

#include "core/ascii.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char lower[] = "abcdefghijklmnopqrstuvwxyz";

static char lower_of(int byte)
{
    const char *found = byte == 0 ? NULL : memchr(upper, byte, sizeof upper - 1);
    return found == NULL ? (char)byte : lower[found - upper];
}

static void only_the_letters_of_ascii_have_a_case(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(ascii_lower((char)byte), lower_of(byte));
    }
}

/* Each pair of bytes at each place of texts up to 17 bytes long, which are as long as their blocks. */
static void texts_are_equal_when_their_lower_case_is(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 17; len++) {
        char *one = malloc(len), *other = malloc(len);
        assert_true(one != NULL && other != NULL);
        memset(one, 'Q', len);
        memset(other, 'q', len);
        assert_true(ascii_equals(one, other, len));
        for (size_t at = 0; at < len; at++) {
            for (int a = 0; a < 256; a++) {
                for (int b = 0; b < 256; b++) {
                    one[at] = (char)a;
                    other[at] = (char)b;
                    assert_int_equal(ascii_equals(one, other, len), lower_of(a) == lower_of(b));
                }
            }
            one[at] = 'Q';
            other[at] = 'q';
        }
        free(one);
        free(other);
    }
    assert_true(ascii_equals("a", "b", 0));
}

static void word_is_compared_in_its_whole_length(void **state)
{
    (void)state;
    assert_true(ascii_is("Content-Length", 14, "content-length"));
    assert_false(ascii_is("Content-Lengt", 13, "content-length"));
    assert_false(ascii_is("Content-Length2", 15, "content-length"));
    assert_true(ascii_is("", 0, ""));
}

static void order_is_that_of_the_lower_case(void **state)
{
    (void)state;
    assert_int_equal(ascii_compare("README", "readme"), 0);
    assert_true(ascii_compare("b", "A") > 0);
    assert_true(ascii_compare("Z", "_") > 0); /* as z is */
    assert_true(ascii_compare("ab", "abc") < 0);
    assert_true(ascii_compare("a", "\xc3\xa4") < 0);
    assert_int_equal(ascii_compare("", ""), 0);
}

static void numbers_are_digits_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool is_number;
        uint64_t number;
    } cases[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"007", 7, true, 7},
        {"65535", 65535, true, 65535},
        {"65536", 65535, false, 0},
        {"9", 8, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"+1", 9, false, 0},
        {"-1", 9, false, 0},
        {"1,5", 99, false, 0},
        {"0x1", 99, false, 0},
        {"\xd9\xa1", 99, false, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t number = 4711;
        bool is_number = ascii_parse_number(cases[i].text, strlen(cases[i].text), cases[i].max, &number);
        if (is_number != cases[i].is_number || number != (is_number ? cases[i].number : 4711)) {
            fail_msg("\"%s\"", cases[i].text);
        }
    }
}

/* Of each length up to several words; beyond it, nothing is written. */
static void copy_is_in_lower_case(void **state)
{
    static const char text[] = "Content-SECURITY-Policy_[@Z`a{\xc3\x84]";
    static const char expected[] = "content-security-policy_[@z`a{\xc3\x84]";
    char out[sizeof text];
    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        memset(out, '?', sizeof out);
        ascii_copy_lower(out, text, len);
        assert_memory_equal(out, expected, len);
        assert_int_equal(out[len], '?');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_letters_of_ascii_have_a_case),
        cmocka_unit_test(texts_are_equal_when_their_lower_case_is),
        cmocka_unit_test(word_is_compared_in_its_whole_length),
        cmocka_unit_test(order_is_that_of_the_lower_case),
        cmocka_unit_test(copy_is_in_lower_case),
        cmocka_unit_test(numbers_are_digits_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
