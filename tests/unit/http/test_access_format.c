/* http/access_format.c: formats of the access log, and what is wrong with them. */

#include "http/access_format.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct access_format *parse(const char *text)
{
    char err[512] = "";
    struct access_format *format = NULL;
    int rv = access_format_parse(&format, text, err, sizeof err);
    if (rv < 0) {
        fail_msg("%s: %s", text, err);
    }
    return format;
}

static void assert_part(const struct access_format *format, unsigned n, const char *text, enum access_variable variable)
{
    const struct access_part *part = &format->parts[n];
    assert_int_equal(part->text_len, strlen(text));
    assert_memory_equal(part->text, text, strlen(text));
    assert_int_equal(part->variable, variable);
}

static void text_is_cut_at_its_variables(void **state)
{
    (void)state;
    struct access_format *format = parse("a $status ${request}b $$5 \"$http_user_agent\"");
    assert_int_equal(format->count, 4);
    assert_part(format, 0, "a ", ACCESS_STATUS);
    assert_part(format, 1, " ", ACCESS_REQUEST);
    assert_part(format, 2, "b $5 \"", ACCESS_FIELD);
    assert_part(format, 3, "\"", ACCESS_NOTHING);
    assert_int_equal(format->field_count, 1);
    assert_memory_equal(format->fields[0].name, "user-agent", 10);
    assert_false(format->is_json);
    assert_false(format->is_timed);
    access_format_put(format);
}

static void field_that_is_named_twice_is_looked_for_once(void **state)
{
    (void)state;
    struct access_format *format = parse("$http_a$http_b$http_a$remote_user$http_authorization");
    assert_int_equal(format->field_count, 3);
    assert_int_equal(format->parts[2].field, format->parts[0].field);
    assert_int_equal(format->parts[4].field, format->parts[3].field);
    access_format_put(format);
}

static void names_of_formats_stand_for_them(void **state)
{
    (void)state;
    struct access_format *format = parse("combined");
    assert_false(format->is_json);
    assert_int_equal(format->parts[0].variable, ACCESS_REMOTE_ADDR);
    assert_int_equal(format->count, 9);
    access_format_put(format);
    format = parse("json");
    assert_true(format->is_json);
    assert_true(format->is_timed);
    access_format_put(format);
    format = parse("escape=json {\"s\":$status}");
    assert_true(format->is_json);
    assert_part(format, 0, "{\"s\":", ACCESS_STATUS);
    access_format_put(format);
}

static void mistakes_have_a_name_and_a_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *err;
    } cases[] = {
        {"", "a format of 1 to 1024 bytes expected, got 0"},
        {"escape=json ", "a format of 1 to 1024 bytes expected, got 0"},
        {"JSON", "\"JSON\" has no $variable, so all lines would be the same; \"combined\", \"json\" or a text such as "
                 "\"$remote_addr $status\" expected"},
        {"a $$ b",
         "\"a $$ b\" has no $variable, so all lines would be the same; \"combined\", \"json\" or a text such as "
         "\"$remote_addr $status\" expected"},
        {"escape=jsn $status", "\"escape=jsn\" at character 1: only \"escape=json \" can stand in front of the text"},
        {"$remote_adr", "unknown variable $remote_adr at character 1 (did you mean $remote_addr?)"},
        {"a $statu b", "unknown variable $statu at character 3 (did you mean $status?)"},
        {"$xyzzyxyzzy", "unknown variable $xyzzyxyzzy at character 1"},
        {"escape=json $staus", "unknown variable $staus at character 13 (did you mean $status?)"},
        {"$http_", "unknown variable $http_ at character 1"},
        {"$sent_http_", "unknown variable $sent_http_ at character 1"},
        {"a $sent_http_content_type",
         "no $sent_http_ for content-type at character 3: the server writes that field itself, and "
         "only those that routes add can be logged"},
        {"a $", "a $ without the name of a variable at character 3 (a dollar sign is written $$)"},
        {"$-", "a $ without the name of a variable at character 1 (a dollar sign is written $$)"},
        {"${status", "a $ without the name of a variable at character 1 (a dollar sign is written $$)"},
        {"a\nb", "a control character at character 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char err[512] = "";
        struct access_format *format = NULL;
        assert_int_equal(access_format_parse(&format, cases[i].text, err, sizeof err), -EINVAL);
        assert_string_equal(err, cases[i].err);
    }
}

static void limits_are_what_they_say(void **state)
{
    (void)state;
    char text[ACCESS_FORMAT_MAX + 2], err[512];
    struct access_format *format = NULL;
    memset(text, 'a', sizeof text);
    memcpy(text, "$pid ", 5);
    text[ACCESS_FORMAT_MAX] = '\0';
    access_format_put(parse(text));
    text[ACCESS_FORMAT_MAX] = 'a';
    text[ACCESS_FORMAT_MAX + 1] = '\0';
    assert_int_equal(access_format_parse(&format, text, err, sizeof err), -EINVAL);

    text[0] = '\0';
    for (int i = 0; i < ACCESS_PARTS_MAX - 1; i++) {
        strcat(text, "$status");
    }
    access_format_put(parse(text));
    strcat(text, "$status");
    assert_int_equal(access_format_parse(&format, text, err, sizeof err), -EINVAL);
    assert_string_equal(err, "more than 47 variables");

    text[0] = '\0';
    for (int i = 0; i < ACCESS_FIELDS_MAX; i++) {
        snprintf(text + strlen(text), 32, "$http_f%d", i);
    }
    access_format_put(parse(text));
    strcat(text, "$http_more");
    assert_int_equal(access_format_parse(&format, text, err, sizeof err), -EINVAL);
    assert_string_equal(err, "more than 16 fields of requests");

    text[0] = '\0';
    for (int i = 0; i < ACCESS_FIELDS_MAX; i++) {
        snprintf(text + strlen(text), 32, "$sent_http_f%d", i);
    }
    access_format_put(parse(text));
    strcat(text, "$sent_http_more");
    assert_int_equal(access_format_parse(&format, text, err, sizeof err), -EINVAL);
    assert_string_equal(err, "more than 16 fields of responses");
}

static void without_memory_there_is_no_format(void **state)
{
    (void)state;
    char err[512];
    struct access_format *format = NULL;
    fake_mem_fail_after(1, false);
    assert_int_equal(access_format_parse(&format, "combined", err, sizeof err), -ENOMEM);
    assert_null(format);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_cut_at_its_variables),
        cmocka_unit_test(field_that_is_named_twice_is_looked_for_once),
        cmocka_unit_test(names_of_formats_stand_for_them),
        cmocka_unit_test(mistakes_have_a_name_and_a_place),
        cmocka_unit_test(limits_are_what_they_say),
        cmocka_unit_test(without_memory_there_is_no_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
