/* core/log.c: which lines reach the sink, and what happens to those that are too long. */

#include "core/log.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* What the sink got. */
struct record {
    int count;               /* of lines */
    int level;               /* of the last one */
    char line[LOG_LINE_MAX]; /* the last one */
};

static void on_line(void *arg, int level, const char *line)
{
    struct record *record = arg;
    size_t len = strlen(line);
    assert_true(len < sizeof record->line);
    record->count++;
    record->level = level;
    memcpy(record->line, line, len + 1);
}

static void lines_up_to_the_level_reach_the_sink(void **state)
{
    (void)state;
    for (enum log_level limit = LOG_ERROR; limit <= LOG_DEBUG; limit++) {
        struct record record = {0};
        struct log log = {.sink = on_line, .arg = &record, .level = limit};
        for (enum log_level level = LOG_ERROR; level <= LOG_DEBUG; level++) {
            int before = record.count;
            log_write(&log, level, "%s %d", "line", (int)level);
            bool wanted = level <= limit;
            assert_int_equal(record.count - before, wanted);
            assert_int_equal(log_is_on(&log, level), wanted);
            if (wanted) {
                char expected[] = "line 0";
                expected[5] = (char)('0' + level);
                assert_string_equal(record.line, expected);
                assert_int_equal(record.level, level);
            }
        }
    }
}

static void without_a_log_or_a_sink_lines_are_dropped(void **state)
{
    (void)state;
    struct log deaf = {.level = LOG_DEBUG};
    log_write(NULL, LOG_ERROR, "nobody hears %d", 1);
    log_write(&deaf, LOG_ERROR, "nobody hears %d", 1);
    assert_false(log_is_on(NULL, LOG_ERROR));
    assert_false(log_is_on(&deaf, LOG_ERROR));
}

/* Write a line of len bytes 'x', but for tail at its end. */
static void write_line(const struct log *log, size_t len, const char *tail)
{
    char text[2 * LOG_LINE_MAX];
    memset(text, 'x', sizeof text);
    memcpy(text + len - strlen(tail), tail, strlen(tail) + 1);
    log_write(log, LOG_INFO, "%s", text);
}

static void a_line_is_cut_when_it_is_one_byte_too_long(void **state)
{
    (void)state;
    struct record record = {0};
    struct log log = {.sink = on_line, .arg = &record, .level = LOG_INFO};
    write_line(&log, LOG_LINE_MAX - 1, "end");
    assert_int_equal(strlen(record.line), LOG_LINE_MAX - 1);
    assert_string_equal(record.line + LOG_LINE_MAX - 5, "xend");

    static const size_t lengths[] = {LOG_LINE_MAX, LOG_LINE_MAX + 1, 2 * LOG_LINE_MAX - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        write_line(&log, lengths[i], "end");
        assert_int_equal(strlen(record.line), LOG_LINE_MAX - 1);
        assert_string_equal(record.line + LOG_LINE_MAX - 5, "x...");
    }
}

static void a_line_is_not_cut_inside_a_character(void **state)
{
    (void)state;
    struct record record = {0};
    struct log log = {.sink = on_line, .arg = &record, .level = LOG_INFO};
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    enum { CUT_AT = LOG_LINE_MAX - 4 }; /* where the dots begin at the latest */
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        size_t width = strlen(characters[i]);
        for (size_t start = CUT_AT - width; start <= CUT_AT; start++) {
            char text[LOG_LINE_MAX + 16];
            memset(text, 'x', sizeof text);
            memcpy(text + start, characters[i], width);
            text[sizeof text - 1] = '\0';
            log_write(&log, LOG_INFO, "%s", text);
            size_t expected = start + width <= CUT_AT ? CUT_AT : start;
            assert_int_equal(strlen(record.line), expected + 3);
            assert_memory_equal(record.line, text, expected);
            assert_string_equal(record.line + expected, "...");
        }
    }
}

static void a_line_of_broken_utf8_is_cut_all_the_same(void **state)
{
    (void)state;
    struct record record = {0};
    struct log log = {.sink = on_line, .arg = &record, .level = LOG_INFO};
    char text[2 * LOG_LINE_MAX];
    memset(text, '\x80', sizeof text);
    text[sizeof text - 1] = '\0';
    log_write(&log, LOG_INFO, "%s", text);
    assert_true(strlen(record.line) >= LOG_LINE_MAX - 4);
    assert_string_equal(record.line + strlen(record.line) - 3, "...");
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_string_equal(log_level_name(LOG_ERROR), "error");
    assert_string_equal(log_level_name(LOG_WARN), "warn");
    assert_string_equal(log_level_name(LOG_INFO), "info");
    assert_string_equal(log_level_name(LOG_DEBUG), "debug");
    assert_string_equal(log_level_name(-1), "unknown");
    assert_string_equal(log_level_name(LOG_DEBUG + 1), "unknown");
}

static void logging_does_not_allocate_or_call_the_kernel(void **state)
{
    (void)state;
    struct record record = {0};
    struct log log = {.sink = on_line, .arg = &record, .level = LOG_INFO};
    uint64_t calls = fake_mem_calls();
    uint64_t total = fake_sys_total();
    write_line(&log, 2 * LOG_LINE_MAX - 1, "end");
    assert_int_equal(record.count, 1);
    assert_int_equal(fake_mem_calls(), calls);
    assert_int_equal(fake_sys_total(), total);
}

static void an_error_text_is_cut_where_the_buffer_ends(void **state)
{
    (void)state;
    char err[8];
    static const struct {
        size_t len;
        const char *text;
    } rows[] = {{1, ""}, {2, "s"}, {7, "site.l"}, {8, "site.lu"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(err, '#', sizeof err);
        assert_int_equal(error_text(err, rows[i].len, -EINVAL, "%s:%d: oops", "site.lua", 12), -EINVAL);
        assert_string_equal(err, rows[i].text);
        if (rows[i].len < sizeof err) {
            assert_int_equal(err[rows[i].len], '#'); /* not a byte beyond */
        }
    }
}

static void an_error_text_that_fits_is_whole(void **state)
{
    (void)state;
    char err[17];
    assert_int_equal(error_text(err, sizeof err, -ENOENT, "%s:%d: oops", "site.lua", 1), -ENOENT);
    assert_string_equal(err, "site.lua:1: oops");
    assert_int_equal(error_text(err, sizeof err, 0, "%s", ""), 0);
    assert_string_equal(err, "");
}

static void without_a_buffer_only_the_result_counts(void **state)
{
    (void)state;
    assert_int_equal(error_text(NULL, 0, -ENOMEM, "%s", "text"), -ENOMEM);
    assert_int_equal(error_text(NULL, 0, 5, "%s", "text"), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_up_to_the_level_reach_the_sink),
        cmocka_unit_test(without_a_log_or_a_sink_lines_are_dropped),
        cmocka_unit_test(a_line_is_cut_when_it_is_one_byte_too_long),
        cmocka_unit_test(a_line_is_not_cut_inside_a_character),
        cmocka_unit_test(a_line_of_broken_utf8_is_cut_all_the_same),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test(logging_does_not_allocate_or_call_the_kernel),
        cmocka_unit_test(an_error_text_is_cut_where_the_buffer_ends),
        cmocka_unit_test(an_error_text_that_fits_is_whole),
        cmocka_unit_test(without_a_buffer_only_the_result_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
