/* core/program/log_text.c: how lines look. */

#include "core/program/log_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

enum { NOW = 784111777 }; /* 1994-11-06 08:49:37 */

static const struct log_entry plain = {.level = LOG_INFO, .text = "one line"};
static const struct log_entry traceback = {
    .level = LOG_ERROR,
    .text = "it \"failed\"\nstack traceback:\n\t[C]: in \\",
    .subject = {.client = "127.0.0.1:40312", .request_id = "0123abc"},
};
static const struct log_entry of_client = {.level = LOG_DEBUG, .text = "lost", .subject.client = "unix:"};
static const struct log_entry of_id = {.level = LOG_WARN, .text = "slow", .subject.request_id = "7"};

static const struct log_field slow_fields[] = {{"path", "/a\"b", false}, {"status", "200", true}};
static const struct log_entry of_fields = {.level = LOG_WARN,
                                           .text = "slow",
                                           .subject = {.fields = slow_fields, .field_count = 2}};

static void each_format_has_time_level_text_and_subject(void **state)
{
    (void)state;
    static const struct {
        const struct log_entry *entry;
        enum log_format format;
        const char *text;
    } rows[] = {
        {&plain, LOG_FORMAT_TEXT, "1994-11-06T08:49:37.007Z info one line\n"},
        {&traceback, LOG_FORMAT_TEXT,
         "1994-11-06T08:49:37.007Z error it \"failed\" [client 127.0.0.1:40312, id 0123abc]\nstack "
         "traceback:\n\t[C]: in \\\n"},
        {&of_client, LOG_FORMAT_TEXT, "1994-11-06T08:49:37.007Z debug lost [client unix:]\n"},
        {&of_id, LOG_FORMAT_TEXT, "1994-11-06T08:49:37.007Z warn slow [id 7]\n"},
        {&plain, LOG_FORMAT_JSON,
         "{\"time\":\"1994-11-06T08:49:37.007Z\",\"level\":\"info\",\"message\":\"one line\"}\n"},
        {&traceback, LOG_FORMAT_JSON,
         "{\"time\":\"1994-11-06T08:49:37.007Z\",\"level\":\"error\",\"client\":\"127.0.0.1:40312\","
         "\"request_id\":\"0123abc\",\"message\":\"it \\\"failed\\\"\\nstack traceback:\\n\\t[C]: in \\\\\"}\n"},
        {&of_fields, LOG_FORMAT_TEXT, "1994-11-06T08:49:37.007Z warn slow\n"},
        {&of_fields, LOG_FORMAT_JSON,
         "{\"time\":\"1994-11-06T08:49:37.007Z\",\"level\":\"warn\",\"path\":\"/a\\\"b\",\"status\":200,"
         "\"message\":\"slow\"}\n"},
        {&plain, LOG_FORMAT_JOURNAL, "<6>one line\n"},
        {&traceback, LOG_FORMAT_JOURNAL,
         "<3>it \"failed\" [client 127.0.0.1:40312, id 0123abc] | stack traceback: | [C]: in \\\n"},
        {&of_client, LOG_FORMAT_JOURNAL, "<7>lost [client unix:]\n"},
        {&of_id, LOG_FORMAT_JOURNAL, "<4>slow [id 7]\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[LOG_TEXT_MAX];
        size_t len = log_text_write(text, rows[i].format, rows[i].entry, (int64_t)NOW * 1000 + 7);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(len, strlen(text));
    }
}

/* A line of the greatest length, all of which has to be escaped, still ends as it should. */
static void what_is_too_long_is_cut(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX], text[LOG_TEXT_MAX], id[129];
    static const char fills[] = {'x', '"', '\n', '\t'};
    memset(id, 'i', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    const struct log_entry entry = {.level = LOG_ERROR,
                                    .text = line,
                                    .subject = {.client = "[::1]:65535", .request_id = id}};
    for (size_t i = 0; i < COUNT(fills); i++) {
        memset(line, fills[i], sizeof line - 1);
        line[sizeof line - 1] = '\0';
        for (enum log_format format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JOURNAL; format++) {
            size_t len = log_text_write(text, format, &entry, 0);
            assert_int_equal(len, strlen(text));
            assert_true(len < sizeof text);
            assert_int_equal(text[len - 1], '\n');
            assert_non_null(strstr(text, id));
            assert_true(format != LOG_FORMAT_JSON || strcmp(text + len - 3, "\"}\n") == 0);
            assert_true(format == LOG_FORMAT_TEXT || strchr(text, '\n') == text + len - 1);
        }
    }
}

/* Fields take half of the room at most: the message has the rest. */
static void fields_without_room_are_cut_or_left_out(void **state)
{
    (void)state;
    static char value[LOG_TEXT_MAX];
    struct log_field fields[LOG_FIELDS_MAX];
    char text[LOG_TEXT_MAX];
    memset(value, 'v', sizeof value - 1);
    for (size_t i = 0; i < LOG_FIELDS_MAX; i++) {
        fields[i] = (struct log_field){"name", value, i == 0};
    }
    const struct log_entry entry = {.level = LOG_WARN,
                                    .text = "said",
                                    .subject = {.fields = fields + 1, .field_count = LOG_FIELDS_MAX - 1}};
    size_t len = log_text_write(text, LOG_FORMAT_JSON, &entry, 0);
    assert_in_range(len, LOG_TEXT_MAX / 2, LOG_TEXT_MAX / 2 + 64);
    assert_non_null(strstr(text, "vvv\",\"message\":\"said\"}\n"));
    const struct log_entry of_number = {.text = "said", .subject = {.fields = fields, .field_count = 1}};
    (void)log_text_write(text, LOG_FORMAT_JSON, &of_number, 0);
    assert_null(strstr(text, "name"));
    assert_non_null(strstr(text, "\"message\":\"said\"}\n"));
}

static void names_are_found(void **state)
{
    (void)state;
    enum log_format format = LOG_FORMAT_TEXT;
    int level = 0;
    assert_true(log_text_find_format("journal", &format) && format == LOG_FORMAT_JOURNAL);
    assert_true(log_text_find_format("text", &format) && format == LOG_FORMAT_TEXT);
    assert_true(log_text_find_format("json", &format) && format == LOG_FORMAT_JSON);
    assert_false(log_text_find_format("JSON", &format));
    assert_true(log_text_find_level("error", &level) && level == LOG_ERROR);
    assert_true(log_text_find_level("debug", &level) && level == LOG_DEBUG);
    assert_false(log_text_find_level("unknown", &level));
}

static void the_journal_is_told_by_device_and_inode(void **state)
{
    (void)state;
    struct stat st;
    char name[64];
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fstat(fds[1], &st), 0);
    snprintf(name, sizeof name, "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    assert_true(log_text_is_journal(name, fds[1]));
    assert_false(log_text_is_journal("8:1", fds[1]));
    assert_false(log_text_is_journal("", fds[1]));
    assert_false(log_text_is_journal(NULL, fds[1]));
    close(fds[0]);
    close(fds[1]);
    assert_false(log_text_is_journal(name, fds[1]));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_has_time_level_text_and_subject), cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(fields_without_room_are_cut_or_left_out),     cmocka_unit_test(names_are_found),
        cmocka_unit_test(the_journal_is_told_by_device_and_inode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
