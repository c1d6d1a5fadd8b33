/* core/program/log_limit.c: lines that come too often. */

#include "core/program/log_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct log_limit limit;
static char reports[1024]; /* texts, each with a newline */
static const char place[2] = "", places[LOG_LIMIT_PLACES + 1] = "";

static int start_without_lines(void **state)
{
    (void)state;
    limit = (struct log_limit){0};
    reports[0] = '\0';
    return 0;
}

#define LIMIT_TEST(fn) cmocka_unit_test_setup(fn, start_without_lines)

static void keep_report(void *arg, const struct log_entry *entry)
{
    size_t len = strlen(reports);
    assert_ptr_equal(arg, &limit);
    assert_null(entry->subject.place);
    snprintf(reports + len, sizeof reports - len, "%d %s\n", entry->level, entry->text);
}

static bool put_line_of(const void *from, int level, const char *text, int64_t now_ms)
{
    const struct log_entry entry = {.level = level, .text = text, .subject.place = from};
    return log_limit_take(&limit, &entry, now_ms, keep_report, &limit);
}

/* Put count lines. Returns how many may be written. */
static int put_lines(const void *from, int count, int64_t now_ms)
{
    int written = 0;
    for (int i = 0; i < count; i++) {
        written += put_line_of(from, LOG_ERROR, "it failed\ntraceback", now_ms);
    }
    return written;
}

static void ten_lines_a_second_and_the_number_of_the_others(void **state)
{
    (void)state;
    assert_int_equal(put_lines(place, LOG_LIMIT_LINES, 5), LOG_LIMIT_LINES);
    assert_int_equal(limit.hiding, 0);
    assert_int_equal(put_lines(place, 1, 5), 0);
    assert_int_equal(limit.hiding, 1);
    assert_int_equal(put_lines(place, 41, 1004), 0);
    log_limit_expire(&limit, 1004, keep_report, &limit);
    assert_string_equal(reports, "");
    log_limit_expire(&limit, 1005, keep_report, &limit);
    assert_string_equal(reports, "1 42 more lines like this within a second: it failed\n");
    assert_int_equal(limit.hiding, 0);
    assert_int_equal(put_lines(place, LOG_LIMIT_LINES + 1, 1005), LOG_LIMIT_LINES);
    assert_int_equal(put_lines(place + 1, 1, 2005), 1); /* the next line, of whatever place, reports it, too */
    assert_non_null(strstr(reports, "\n1 1 more line like this within a second: it failed\n"));
}

static void a_span_that_was_not_full_says_nothing(void **state)
{
    (void)state;
    assert_int_equal(put_lines(place, LOG_LIMIT_LINES, 0), LOG_LIMIT_LINES);
    assert_int_equal(put_lines(place, LOG_LIMIT_LINES, 1000), LOG_LIMIT_LINES);
    log_limit_expire(&limit, INT64_MAX, keep_report, &limit);
    assert_string_equal(reports, "");
    assert_int_equal(limit.used, 0);
}

static void places_do_not_share(void **state)
{
    (void)state;
    assert_int_equal(put_lines(place, 100, 0), LOG_LIMIT_LINES);
    assert_int_equal(put_lines(place + 1, 100, 0), LOG_LIMIT_LINES);
    assert_int_equal(limit.hiding, 2);
}

static void lines_without_a_place_and_debug_lines_are_all_written(void **state)
{
    (void)state;
    assert_int_equal(put_lines(NULL, 1000, 0), 1000);
    for (int i = 0; i < 1000; i++) {
        assert_true(put_line_of(place, LOG_DEBUG, "lost", 0));
    }
    assert_int_equal(limit.used, 0);
}

static void one_place_too_many_takes_that_of_the_first(void **state)
{
    (void)state;
    assert_int_equal(put_lines(&places[0], LOG_LIMIT_LINES + 3, 0), LOG_LIMIT_LINES);
    for (int i = 1; i < LOG_LIMIT_PLACES; i++) {
        assert_int_equal(put_lines(&places[i], 1, i), 1);
    }
    assert_string_equal(reports, "");
    assert_int_equal(put_lines(&places[LOG_LIMIT_PLACES], 1, 500), 1);
    assert_string_equal(reports, "1 3 more lines like this within a second: it failed\n");
    assert_int_equal(limit.used, LOG_LIMIT_PLACES);
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char text[512] = "";
    for (int i = 0; i < 200; i++) {
        strcat(text, "\xc3\xa4");
    }
    for (int i = 0; i < LOG_LIMIT_LINES + 1; i++) {
        (void)put_line_of(place, LOG_WARN, text, 0);
    }
    log_limit_expire(&limit, INT64_MAX, keep_report, &limit);
    size_t len = strlen(reports);
    assert_int_equal(reports[len - 2], '\xa4');
    assert_memory_equal(reports, "2 1 more line like", 18);
    assert_in_range(len, 150, 220);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        LIMIT_TEST(ten_lines_a_second_and_the_number_of_the_others),
        LIMIT_TEST(a_span_that_was_not_full_says_nothing),
        LIMIT_TEST(places_do_not_share),
        LIMIT_TEST(lines_without_a_place_and_debug_lines_are_all_written),
        LIMIT_TEST(one_place_too_many_takes_that_of_the_first),
        LIMIT_TEST(a_long_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
