/* http/field_line.c: what a field line is, wherever its bytes are split. Each row is read whole, byte by byte and in
 * two at every boundary, flush against a page that must not be touched; and once more without the bytes that came
 * before. */

#include "http/field_line.h"
#include "tests/lib/guard_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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

/* What a text of lines comes to: "[name=value]" for each line, and how it ended. */
struct reading {
    struct field_line line;
    struct field field;
    enum field_line_verdict verdict;
    size_t lines;
    char told[1024];
};

static void tell_end(struct reading *reading, const char *data)
{
    static const char *const states[] = {"BEGIN", "NAME", "SPACE", "VALUE", "LF", "END_LF"};
    char *at = strchr(reading->told, '\0');
    if (reading->verdict == FIELD_LINE_EMPTY) {
        sprintf(at, ".%u", (unsigned)reading->line.pos);
    } else if (reading->verdict == FIELD_LINE_WRONG) {
        sprintf(at, "wrong %02x at %u in %s", (unsigned char)data[reading->line.pos], (unsigned)reading->line.pos,
                states[reading->line.state]);
    }
}

/* The first len bytes of text are there. */
static void arrive(struct reading *reading, const char *text, size_t len)
{
    const char *data = guarded_at_end(&guarded, text, len);
    if (reading->verdict == FIELD_LINE_EMPTY || reading->verdict == FIELD_LINE_WRONG) {
        return;
    }
    while ((reading->verdict = field_line_scan(&reading->line, data, len, &reading->field)) == FIELD_LINE_WHOLE) {
        const struct field *field = &reading->field;
        assert_int_equal(reading->line.state, FIELD_LINE_BEGIN);
        sprintf(strchr(reading->told, '\0'), "[%.*s=%.*s]", (int)field->name.len, text + field->name.offset,
                (int)field->value.len, text + field->value.offset);
        reading->lines++;
    }
    assert_true(reading->verdict != FIELD_LINE_INCOMPLETE || reading->line.pos == len);
    tell_end(reading, data);
}

/* The same in pieces that are each handed in alone, so only verdict, state and number of lines can be compared. */
static void arrive_alone(struct reading *reading, const char *text, size_t len)
{
    const char *data = guarded_at_start(&guarded, text, len);
    reading->line.pos = 0;
    if (reading->verdict == FIELD_LINE_EMPTY || reading->verdict == FIELD_LINE_WRONG) {
        return;
    }
    while ((reading->verdict = field_line_scan(&reading->line, data, len, NULL)) == FIELD_LINE_WHOLE) {
        reading->lines++;
    }
}

static void check_text(const char *text, size_t len, const char *wanted)
{
    static struct reading whole, other;
    memset(&whole, 0, sizeof whole);
    arrive(&whole, text, len);
    assert_string_equal(whole.told, wanted);
    for (size_t split = 0; split <= len; split++) {
        memset(&other, 0, sizeof other);
        arrive(&other, text, split);
        arrive(&other, text, len);
        assert_string_equal(other.told, wanted);
        memset(&other, 0, sizeof other);
        arrive_alone(&other, text, split);
        arrive_alone(&other, text + split, len - split);
        assert_int_equal(other.verdict, whole.verdict);
        assert_int_equal(other.line.state, whole.line.state);
        assert_int_equal(other.lines, whole.lines);
    }
    memset(&other, 0, sizeof other);
    for (size_t there = 0; there <= len; there++) {
        arrive(&other, text, there);
    }
    assert_string_equal(other.told, wanted);
}

#define ROW(text, wanted)                                                                                              \
    {                                                                                                                  \
        text, sizeof(text) - 1, wanted                                                                                 \
    }

static void lines_are_read_wherever_they_are_split(void **state)
{
    static const struct {
        const char *text;
        size_t len; /* of text, which may hold NUL */
        const char *wanted;
    } rows[] = {
        ROW("\r\n", ".2"),
        ROW("", ""),
        ROW("a:b\r\n\r\n", "[a=b].7"),
        ROW("a:b\r\nc: d\r\n\r\nx", "[a=b][c=d].13"),
        ROW("a:\r\n\r\n", "[a=].6"),
        ROW("a: \t \r\n\r\n", "[a=].9"),
        ROW("a: \t b\tc \t\r\n\r\n", "[a=b\tc].14"),
        ROW("a: b:c\r\n\r\n", "[a=b:c].10"),
        ROW("!#$%&'*+-.^_`|~09azAZ: \xff\x80 \"(),/;<=>?@[\\]{}\r\n\r\n",
            "[!#$%&'*+-.^_`|~09azAZ=\xff\x80 \"(),/;<=>?@[\\]{}].46"),
        ROW("a: 0123456789abcdef0123456789abcdef0123456789\r\n\r\n",
            "[a=0123456789abcdef0123456789abcdef0123456789].49"),
        ROW("a: 0123456789abcdef0123\x01"
            "56789abcdef0123456789\r\n",
            "wrong 01 at 23 in VALUE"),
        ROW("a: b\r\nc", "[a=b]"),
        ROW("a: b\r", ""),
        ROW("a: b\r\n\r", "[a=b]"),
        ROW("\n", "wrong 0a at 0 in BEGIN"),
        ROW(":b\r\n", "wrong 3a at 0 in BEGIN"),
        ROW(" a: b\r\n", "wrong 20 at 0 in BEGIN"),
        ROW("a: b\r\n c\r\n", "[a=b]wrong 20 at 6 in BEGIN"),
        ROW("a\r\n", "wrong 0d at 1 in NAME"),
        ROW("a :b\r\n", "wrong 20 at 1 in NAME"),
        ROW("a\x80:b\r\n", "wrong 80 at 1 in NAME"),
        ROW("a\0:b\r\n", "wrong 00 at 1 in NAME"),
        ROW("a:\n", "wrong 0a at 2 in VALUE"),
        ROW("a:b\n", "wrong 0a at 3 in VALUE"),
        ROW("a: b\0\r\n", "wrong 00 at 4 in VALUE"),
        ROW("a: b\x7f\r\n", "wrong 7f at 4 in VALUE"),
        ROW("a: b\r\r\n", "wrong 0d at 5 in LF"),
        ROW("a: b\rc", "wrong 63 at 5 in LF"),
        ROW("\r\r\n", "wrong 0d at 1 in END_LF"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_text(rows[i].text, rows[i].len, rows[i].wanted);
    }
}

static bool is_token_char(int c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void every_byte_is_right_or_wrong(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[64];
        struct field field;
        for (int pad = 0; pad < 20; pad++) { /* at every place in a vector */
            int len = sprintf(text, "a%c: %.*s%cb\r\n", c == 0 ? 'x' : c, pad, "aaaaaaaaaaaaaaaaaaaa", 'b');
            struct field_line line = {0};
            bool is_name = is_token_char(c == 0 ? 'x' : c) || c == ':';
            assert_int_equal(field_line_scan(&line, text, (size_t)len, &field),
                             is_name ? FIELD_LINE_WHOLE : FIELD_LINE_WRONG);
            len = sprintf(text, "a: %.*s%cb\r\n", pad, "aaaaaaaaaaaaaaaaaaaa", 'b');
            text[3 + pad] = (char)c;
            line = (struct field_line){0};
            bool is_value = c == '\t' || (c >= ' ' && c != 0x7f);
            assert_int_equal(field_line_scan(&line, text, (size_t)len, &field),
                             is_value ? FIELD_LINE_WHOLE : FIELD_LINE_WRONG);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_wherever_they_are_split),
        cmocka_unit_test(every_byte_is_right_or_wrong),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
