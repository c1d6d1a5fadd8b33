/* Entity tag lists, and the order in which conditions are evaluated. */

#include "http/conditional.h"
#include "http/limits.h"
#include "http/h1/parser_scalar.h"
#include "tests/lib/fake_sys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { ROW_TEXT_MAX = 512 };

/* 784111777 is Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7. */
static const int64_t EXAMPLE_S = 784111777;

static int reset(void **state)
{
    (void)state;
    fake_sys_reset();
    return 0;
}

/* Entity tags. */

static void entity_tags_compare_as_the_table_says(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        bool strong, weak;
    } rows[] = {
        /* RFC 9110 section 8.8.3.2 */
        {"W/\"1\"", "W/\"1\"", false, true}, {"W/\"1\"", "W/\"2\"", false, false}, {"W/\"1\"", "\"1\"", false, true},
        {"\"1\"", "W/\"1\"", false, true},   {"\"1\"", "\"1\"", true, true},       {"\"1\"", "\"2\"", false, false},
        {"\"1\"", "\"11\"", false, false},   {"\"a\"", "\"A\"", false, false},     {"\"\"", "\"\"", true, true},
        {"\"W/1\"", "\"1\"", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *one = rows[i].one;
        const char *other = rows[i].other;
        bool strong = conditional_list_covers(one, strlen(one), other, strlen(other), ETAG_STRONG);
        bool weak = conditional_list_covers(one, strlen(one), other, strlen(other), ETAG_WEAK);
        if (strong != rows[i].strong || weak != rows[i].weak) {
            fail_msg("%s and %s: strong %d, weak %d", one, other, strong, weak);
        }
    }
}

static void lists_cover_what_stands_in_them(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool covers; /* "x" */
    } rows[] = {
        {"\"x\"", true},
        {"\"a\", \"x\"", true},
        {"\"a\",\"x\",\"b\"", true},
        {"\"a\" \t, \t \"x\"", true},
        {", ,\"a\",,\"x\",", true}, /* empty elements: RFC 9110 section 5.6.1.2 */
        {"\"a,b\", \"x\"", true},   /* a comma belongs to the tag */
        {"W/\"a\", \"x\"", true},
        {"\"a\\\", \"x\"", true}, /* a backslash escapes nothing in a tag */
        {"\"\xc3\xa9\", \"x\"", true},
        {"*", true},
        {"\"x\", nonsense", true},
        {"", false},
        {",", false},
        {"\"a\"", false},
        {"x", false},
        {"\"x", false},
        {"x\"", false},
        {"'x'", false},
        {"\"", false},
        {"\"a\" \"x\"", false}, /* no comma: not a list */
        {"\"a\"\"x\"", false},
        {"nonsense, \"x\"", false},
        {"\"a b\", \"x\"", false}, /* a space has no place in a tag */
        {"\"a\x7f\", \"x\"", false},
        {"*, \"x\"", false},
        {"**", false},
        {"\"*\"", false},
        {"W/", false},
        {"W", false},
        {"W/x", false},
        {"w/\"a\", \"x\"", false}, /* W is case-sensitive: RFC 9110 section 8.8.3 */
        {"\"x\"nonsense", false},
        {"\"x\"; q=1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        /* On the heap and of exactly that length, so that reading on is noticed. */
        size_t len = strlen(rows[i].list);
        char *list = strndup(rows[i].list, len);
        bool strong = conditional_list_covers(list, len, "\"x\"", 3, ETAG_STRONG);
        bool weak = conditional_list_covers(list, len, "\"x\"", 3, ETAG_WEAK);
        free(list);
        if (strong != rows[i].covers || weak != rows[i].covers) {
            fail_msg("%s: strong %d, weak %d", rows[i].list, strong, weak);
        }
    }
}

static void a_list_ends_where_its_length_says(void **state)
{
    (void)state;
    assert_false(conditional_list_covers("\"x\"", 2, "\"x\"", 3, ETAG_WEAK));
    assert_false(conditional_list_covers("\"x\"", 0, "\"x\"", 3, ETAG_WEAK));
    assert_true(conditional_list_covers("\"x\"y", 3, "\"x\"", 3, ETAG_WEAK));
    assert_true(conditional_list_covers("*y", 1, "\"x\"", 3, ETAG_WEAK));
}

/* Conditions. */

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AT     "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER  "Sun, 06 Nov 1994 08:49:38 GMT"
#define BAD    "yesterday"

/* The verdict on a request with these field lines for a resource with the tag "x", modified AT. */
static enum precondition evaluate(const char *method, const char *lines, bool has_last_modified, const char *etag)
{
    char text[ROW_TEXT_MAX];
    int len = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", method, lines);
    assert_in_range(len, 1, sizeof text - 1);
    struct limits limits;
    limits_init(&limits);
    struct field fields[100];
    struct head head = {.fields = fields, .field_capacity = 100};
    struct parser parser;
    parser_reset(&parser);
    assert_int_equal(parse_head_scalar(&parser, &head, &limits, text, (size_t)len), PARSE_COMPLETE);
    struct validators validators = {
        .etag = etag,
        .etag_len = strlen(etag),
        .has_last_modified = has_last_modified,
        .last_modified_s = EXAMPLE_S,
    };
    return conditional_evaluate(&head, text, &validators);
}

enum { HOLDS = PRECONDITION_HOLDS, SAME = PRECONDITION_NOT_MODIFIED, FAILED = PRECONDITION_FAILED };

static void conditions_are_evaluated_in_the_order_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        int get, put; /* verdicts */
    } rows[] = {
        {"", HOLDS, HOLDS},
        /* If-Match: RFC 9110 section 13.1.1 */
        {"If-Match: \"x\"\r\n", HOLDS, HOLDS},
        {"If-Match: \"a\", \"x\"\r\n", HOLDS, HOLDS},
        {"If-Match: *\r\n", HOLDS, HOLDS},
        {"If-Match: \"a\"\r\n", FAILED, FAILED},
        {"If-Match: W/\"x\"\r\n", FAILED, FAILED}, /* strong comparison */
        {"If-Match: nonsense\r\n", FAILED, FAILED},
        {"If-Match:\r\n", FAILED, FAILED},
        {"If-Match: \"a\"\r\nIf-Match: \"x\"\r\n", HOLDS, HOLDS},
        {"if-match: \"a\"\r\nX: y\r\nIF-MATCH: \"b\"\r\n", FAILED, FAILED},
        /* If-None-Match: section 13.1.2 */
        {"If-None-Match: \"x\"\r\n", SAME, FAILED},
        {"If-None-Match: W/\"x\"\r\n", SAME, FAILED}, /* weak comparison */
        {"If-None-Match: *\r\n", SAME, FAILED},
        {"If-None-Match: \"a\"\r\n", HOLDS, HOLDS},
        {"If-None-Match: nonsense\r\n", HOLDS, HOLDS},
        {"If-None-Match:\r\n", HOLDS, HOLDS},
        {"If-None-Match: \"a\"\r\nX: y\r\nif-none-match: \"x\"\r\n", SAME, FAILED},
        /* If-Modified-Since: section 13.1.3 */
        {"If-Modified-Since: " BEFORE "\r\n", HOLDS, HOLDS},
        {"If-Modified-Since: " AT "\r\n", SAME, HOLDS},     /* ignored but for GET and HEAD */
        {"If-Modified-Since: " AFTER "\r\n", HOLDS, HOLDS}, /* compared exactly */
        {"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", SAME, HOLDS},
        {"If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n", SAME, HOLDS},
        {"If-Modified-Since: " BAD "\r\n", HOLDS, HOLDS},
        {"If-Modified-Since:\r\n", HOLDS, HOLDS},
        {"If-Modified-Since: " AT ", " AT "\r\n", HOLDS, HOLDS}, /* more than one member */
        {"If-Modified-Since: " AT "\r\nIf-Modified-Since: " AT "\r\n", HOLDS, HOLDS},
        /* If-Unmodified-Since: section 13.1.4 */
        {"If-Unmodified-Since: " BEFORE "\r\n", FAILED, FAILED},
        {"If-Unmodified-Since: " AT "\r\n", HOLDS, HOLDS},
        {"If-Unmodified-Since: " AFTER "\r\n", HOLDS, HOLDS},
        {"If-Unmodified-Since: " BAD "\r\n", HOLDS, HOLDS},
        {"If-Unmodified-Since: " BEFORE "\r\nIf-Unmodified-Since: " BEFORE "\r\n", HOLDS, HOLDS},
        /* Precedence: section 13.2.2. If-Match makes If-Unmodified-Since void. */
        {"If-Match: \"x\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", HOLDS, HOLDS},
        {"If-Unmodified-Since: " AFTER "\r\nIf-Match: \"a\"\r\n", FAILED, FAILED},
        /* If-None-Match makes If-Modified-Since void, even when it is malformed. */
        {"If-None-Match: \"a\"\r\nIf-Modified-Since: " AFTER "\r\n", HOLDS, HOLDS},
        {"If-Modified-Since: " BEFORE "\r\nIf-None-Match: \"x\"\r\n", SAME, FAILED},
        {"If-None-Match: nonsense\r\nIf-Modified-Since: " AFTER "\r\n", HOLDS, HOLDS},
        /* 412 of steps 1 and 2 comes before 304 of steps 3 and 4. */
        {"If-None-Match: \"x\"\r\nIf-Match: \"a\"\r\n", FAILED, FAILED},
        {"If-None-Match: \"x\"\r\nIf-Match: \"x\"\r\n", SAME, FAILED},
        {"If-None-Match: \"x\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", FAILED, FAILED},
        {"If-None-Match: \"x\"\r\nIf-Unmodified-Since: " AT "\r\n", SAME, FAILED},
        {"If-Modified-Since: " AT "\r\nIf-Match: \"a\"\r\n", FAILED, FAILED},
        {"If-Modified-Since: " AT "\r\nIf-Match: \"x\"\r\n", SAME, HOLDS},
        {"If-Modified-Since: " AT "\r\nIf-Unmodified-Since: " BEFORE "\r\n", FAILED, FAILED},
        {"If-Modified-Since: " AT "\r\nIf-Unmodified-Since: " AT "\r\n", SAME, HOLDS},
        {"If-Modified-Since: " BEFORE "\r\nIf-Unmodified-Since: " AFTER "\r\n", HOLDS, HOLDS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int get = (int)evaluate("GET", rows[i].lines, true, "\"x\"");
        int head = (int)evaluate("HEAD", rows[i].lines, true, "\"x\"");
        int put = (int)evaluate("PUT", rows[i].lines, true, "\"x\"");
        if (get != rows[i].get || head != get || put != rows[i].put) {
            fail_msg("%s: GET %d, HEAD %d, PUT %d", rows[i].lines, get, head, put);
        }
    }
}

/* RFC 9110 sections 13.1.3 and 13.1.4: without a modification date the condition is ignored. */
static void dates_are_ignored_where_there_is_no_modification_date(void **state)
{
    (void)state;
    assert_int_equal(evaluate("GET", "If-Modified-Since: " AFTER "\r\n", false, "\"x\""), HOLDS);
    assert_int_equal(evaluate("GET", "If-Unmodified-Since: " BEFORE "\r\n", false, "\"x\""), HOLDS);
    assert_int_equal(evaluate("GET", "If-None-Match: \"x\"\r\n", false, "\"x\""), SAME);
}

static void weak_tag_of_our_own_never_satisfies_if_match(void **state)
{
    (void)state;
    assert_int_equal(evaluate("GET", "If-Match: \"x\"\r\n", true, "W/\"x\""), FAILED);
    assert_int_equal(evaluate("GET", "If-Match: W/\"x\"\r\n", true, "W/\"x\""), FAILED);
    assert_int_equal(evaluate("GET", "If-Match: *\r\n", true, "W/\"x\""), HOLDS);
    assert_int_equal(evaluate("GET", "If-None-Match: \"x\"\r\n", true, "W/\"x\""), SAME);
}

static void two_digit_year_of_a_condition_is_settled_by_the_wall_clock(void **state)
{
    (void)state;
    fake_sys_set_wall_time_s(946684800 /* 2000 */);
    /* 2044, later than 1994. */
    assert_int_equal(evaluate("GET", "If-Unmodified-Since: Sunday, 06-Nov-44 08:49:37 GMT\r\n", true, "\"x\""), HOLDS);
    fake_sys_reset();
    fake_sys_set_wall_time_s(631152000 /* 1990 */);
    /* 1944. */
    assert_int_equal(evaluate("GET", "If-Unmodified-Since: Sunday, 06-Nov-44 08:49:37 GMT\r\n", true, "\"x\""), FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entity_tags_compare_as_the_table_says),
        cmocka_unit_test(lists_cover_what_stands_in_them),
        cmocka_unit_test(a_list_ends_where_its_length_says),
        cmocka_unit_test_setup_teardown(conditions_are_evaluated_in_the_order_of_the_rfc, reset, reset),
        cmocka_unit_test_setup_teardown(dates_are_ignored_where_there_is_no_modification_date, reset, reset),
        cmocka_unit_test_setup_teardown(weak_tag_of_our_own_never_satisfies_if_match, reset, reset),
        cmocka_unit_test_setup_teardown(two_digit_year_of_a_condition_is_settled_by_the_wall_clock, reset, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
