/* core/visible.c: which text is shown as it is, and what becomes of the rest. */

#include "core/visible.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *shown(const char *text, size_t len, enum visible_manner manner)
{
    static char out[4096];
    size_t taken;
    size_t out_len = visible_copy(out, sizeof out, text, len, manner, &taken);
    assert_int_equal(out_len, strlen(out));
    assert_int_equal(taken, len);
    return out;
}

static void text_that_shows_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "GET /index.html\tHTTP/1.1 ~ \\x1b \"quoted\"",
        "Gr\xc3\xb6\xc3\x9f\x65",                       /* Latin */
        "\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85",             /* Arabic: its letters need no marks */
        "\xe6\x97\xa5\xe6\x9c\xac",                     /* Japanese */
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80", /* an emoji of two, joined */
        "\xc2\xa0\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\xd8\x9b\xd8\x9d\xef\xbb\xbe", /* beside the hidden ones */
        "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf", /* beside the surrogates; the last code */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(visible_span(texts[i], strlen(texts[i]), VISIBLE_LINE), strlen(texts[i]));
        assert_string_equal(shown(texts[i], strlen(texts[i]), VISIBLE_LINE), texts[i]);
    }
}

static void what_moves_ends_turns_or_hides_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"\x1b[2J\x07\r\x7f", "\\x1b[2J\\x07\\x0d\\x7f"},
        {"a\nb", "a\\nb"},
        {"\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f", "\\u0080\\u0085\\u009b\\u009f"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
        {"\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u200e\\u200f\\u061c"},
        {"\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae", "\\u202a\\u202b\\u202c\\u202d\\u202e"},
        {"\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "\\u2066\\u2067\\u2068\\u2069"},
        {"\xef\xbb\xbf", "\\ufeff"},
        {"\x9b"
         "31m\x80\xbf\xff\xfe\xf8",
         "\\x9b31m\\x80\\xbf\\xff\\xfe\\xf8"},
        {"\xc3", "\\xc3"}, /* cut short */
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xc3"
         "a",
         "\\xc3"
         "a"},                                        /* not what should follow */
        {"\xc0\x8a\xc1\xbf", "\\xc0\\x8a\\xc1\\xbf"}, /* a newline in two bytes: too long a form */
        {"\xe0\x80\x8a\xe0\x9f\xbf", "\\xe0\\x80\\x8a\\xe0\\x9f\\xbf"},
        {"\xf0\x80\x80\x8a", "\\xf0\\x80\\x80\\x8a"},
        {"\xed\xa0\x80\xed\xbf\xbf", "\\xed\\xa0\\x80\\xed\\xbf\\xbf"}, /* surrogates */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},                   /* above U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(shown(cases[i].text, strlen(cases[i].text), VISIBLE_LINE), cases[i].expected);
    }
    assert_string_equal(shown("a\0b", 3, VISIBLE_LINE), "a\\x00b");
}

static void every_byte_of_ascii_alone(void **state)
{
    (void)state;
    for (int c = 0; c < 128; c++) {
        char text[1] = {(char)c};
        bool is_plain = c == '\t' || (c >= ' ' && c < 0x7f);
        assert_int_equal(visible_span(text, 1, VISIBLE_LINE), is_plain);
    }
}

static void manners_differ_in_newlines_and_quotes(void **state)
{
    (void)state;
    assert_string_equal(shown("a\n\"\\", 4, VISIBLE_LINE), "a\\n\"\\");
    assert_string_equal(shown("a\n\"\\", 4, VISIBLE_LINES), "a\n\"\\");
    assert_string_equal(shown("a\n\"\\", 4, VISIBLE_QUOTED), "a\\n\\\"\\\\");
}

static void a_copy_is_cut_between_characters_and_escapes(void **state)
{
    (void)state;
    static const char text[] = "a\xe2\x82\xac\x1b\xf0\x9f\x98\x80\xe2\x80\xa8z";
    static const char whole[] = "a\xe2\x82\xac\\x1b\xf0\x9f\x98\x80\\u2028z";
    static const size_t ends[] = {0, 1, 4, 8, 12, 18, 19}; /* where it may end */
    for (size_t size = 1; size <= sizeof whole; size++) {
        char out[sizeof whole];
        size_t taken, expected = 0;
        memset(out, 'x', sizeof out);
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            expected = ends[i] < size ? ends[i] : expected;
        }
        assert_int_equal(visible_copy(out, size, text, sizeof text - 1, VISIBLE_LINE, &taken), expected);
        assert_memory_equal(out, whole, expected);
        assert_int_equal(out[expected], '\0');
        assert_true((taken == sizeof text - 1) == (expected == sizeof whole - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_shows_stays_as_it_is),
        cmocka_unit_test(what_moves_ends_turns_or_hides_is_escaped),
        cmocka_unit_test(every_byte_of_ascii_alone),
        cmocka_unit_test(manners_differ_in_newlines_and_quotes),
        cmocka_unit_test(a_copy_is_cut_between_characters_and_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
