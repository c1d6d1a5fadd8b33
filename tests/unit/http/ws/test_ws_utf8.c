/* http/ws/ws_utf8.c: every sequence of up to four bytes that can tell anything, against the table of RFC 3629 section
 * 4, at each place of a text and over splits, flush against a page that must not be touched. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/ws/ws_utf8.h"
#include "tests/lib/guard_page.h"

static struct guarded guarded;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&guarded);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&guarded);
    return 0;
}

/* A line of the table: ranges of the bytes of a sequence. */
struct line {
    size_t len;
    unsigned char least[4], most[4];
};

static const struct line lines[] = {
    {1, {0x00}, {0x7f}},
    {2, {0xc2, 0x80}, {0xdf, 0xbf}},
    {3, {0xe0, 0xa0, 0x80}, {0xe0, 0xbf, 0xbf}},
    {3, {0xe1, 0x80, 0x80}, {0xec, 0xbf, 0xbf}},
    {3, {0xed, 0x80, 0x80}, {0xed, 0x9f, 0xbf}},
    {3, {0xee, 0x80, 0x80}, {0xef, 0xbf, 0xbf}},
    {4, {0xf0, 0x90, 0x80, 0x80}, {0xf0, 0xbf, 0xbf, 0xbf}},
    {4, {0xf1, 0x80, 0x80, 0x80}, {0xf3, 0xbf, 0xbf, 0xbf}},
    {4, {0xf4, 0x80, 0x80, 0x80}, {0xf4, 0x8f, 0xbf, 0xbf}},
};

/* How many bytes at most a text goes on with, of these: a sequence that has not ended counts. *is_whole: it may end
 * there. */
static size_t valid_span(const unsigned char *bytes, size_t len, bool *is_whole)
{
    size_t at = 0;

    *is_whole = true;
    while (at < len) {
        size_t best = 0;
        bool is_end = false;
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            size_t n = 0;
            while (n < lines[i].len && at + n < len && bytes[at + n] >= lines[i].least[n] &&
                   bytes[at + n] <= lines[i].most[n]) {
                n++;
            }
            best = n > best ? n : best;
            is_end |= n == lines[i].len;
        }
        at += best;
        if (!is_end) {
            *is_whole = false;
            return at;
        }
    }
    return at;
}

/* The text in two pieces, the first one of cut bytes. Returns whether it may be one, and in *is_whole whether it may
 * end. */
static bool check(const unsigned char *bytes, size_t len, size_t cut, bool *is_whole)
{
    struct ws_utf8 utf8 = {0};
    const char *at = guarded_at_end(&guarded, (const char *)bytes, len);
    bool is_valid = ws_utf8_check(&utf8, at, cut) && ws_utf8_check(&utf8, at + cut, len - cut);

    *is_whole = ws_utf8_is_whole(&utf8);
    return is_valid;
}

static void assert_as_in_the_table(const unsigned char *bytes, size_t len)
{
    bool expected_whole;
    bool expected = valid_span(bytes, len, &expected_whole) == len;

    for (size_t cut = 0; cut <= len; cut++) {
        bool is_whole;
        bool is_valid = check(bytes, len, cut, &is_whole);
        assert_int_equal(is_valid, expected);
        if (expected) {
            assert_int_equal(is_whole, expected_whole);
        }
    }
}

/* The bytes at which the table changes, and those beside them. */
static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                      0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                      0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff};
enum { EDGES = sizeof edges };

static void sequences_are_those_of_the_table(void **state)
{
    (void)state;

    for (unsigned first = 0; first <= 0xff; first++) {
        for (unsigned second = 0; second <= 0xff; second++) {
            unsigned char bytes[4] = {(unsigned char)first, (unsigned char)second, 'a', 'b'};
            assert_as_in_the_table(bytes, 1);
            assert_as_in_the_table(bytes, 2);
            bytes[2] = bytes[3] = 0x80;
            assert_as_in_the_table(bytes, 4);
        }
    }
    for (size_t n = 0; n < (size_t)EDGES * EDGES * EDGES; n++) {
        unsigned char bytes[5] = {edges[n % EDGES], edges[n / EDGES % EDGES], edges[n / EDGES / EDGES], 0xbf, 'z'};
        for (size_t len = 3; len <= 5; len++) {
            assert_as_in_the_table(bytes, len);
        }
    }
}

/* A sequence, good or bad, at each place of a text of ASCII that is longer than two vectors. */
static void place_in_the_text_does_not_matter(void **state)
{
    static const char *const sequences[] = {"\xc2\xb5", "\xe2\x82\xac", "\xf0\x9f\x8e\x89",
                                            "\xff",     "\x80",         "\xed\xa0\x80",
                                            "\xe2\x82", "\xf4\x90",     "\xc2\xb5\xe2\x82\xac\xf0\x9f\x8e\x89\xc2\xb5"};
    enum { TEXT = 100 };
    (void)state;

    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        size_t len = strlen(sequences[i]);
        for (size_t at = 0; at + len <= TEXT; at++) {
            unsigned char bytes[TEXT];
            memset(bytes, 'x', sizeof bytes);
            memcpy(bytes + at, sequences[i], len);
            assert_as_in_the_table(bytes, TEXT);
        }
    }
}

static void characters_arrive_byte_by_byte(void **state)
{
    static const char text[] = "a\xc2\xb5\xe2\x82\xac\xf0\x9f\x8e\x89z";
    struct ws_utf8 utf8 = {0};
    (void)state;

    for (size_t i = 0; i < sizeof text - 1; i++) {
        bool expected_whole;
        assert_true(ws_utf8_check(&utf8, text + i, 1));
        valid_span((const unsigned char *)text, i + 1, &expected_whole);
        assert_int_equal(ws_utf8_is_whole(&utf8), expected_whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_are_those_of_the_table),
        cmocka_unit_test(place_in_the_text_does_not_matter),
        cmocka_unit_test(characters_arrive_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
