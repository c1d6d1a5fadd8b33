/* core/program/options.c: what a command line becomes, and what is said of a wrong one. */

#include "core/program/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct options {
    bool fast, help;
    const char *name, *maybe;
    int maybe_count;
    unsigned number;
};

static bool set_number(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    snprintf(err, OPTION_ERROR_MAX, "--number is not \"%s\"", value);
    return options_parse_number(value, 10, &options->number);
}

static bool set_maybe(void *arg, const char *value, char *err)
{
    struct options *options = arg;
    (void)err;
    options->maybe = value;
    options->maybe_count++;
    return true;
}

static const struct option_row rows[] = {
    {"fast", OPTION_FLAG, offsetof(struct options, fast), NULL},
    {"help", OPTION_LAST, offsetof(struct options, help), NULL},
    {"name", OPTION_TEXT, offsetof(struct options, name), NULL},
    {"number", OPTION_VALUE, 0, set_number},
    {"maybe", OPTION_MAYBE, 0, set_maybe},
};

/* Read a command line of at most 8 arguments. */
static int read_line(struct options *options, char *err, const char *const *arguments)
{
    char *argv[10] = {"program"};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)(size_t)arguments[argc - 1];
    }
    *options = (struct options){0};
    err[0] = '\0';
    return options_read(rows, sizeof rows / sizeof rows[0], argc, argv, options, err);
}

#define READ(...) read_line(&options, err, (const char *const[]){__VA_ARGS__, NULL})

static void each_kind_of_row_takes_its_value(void **state)
{
    (void)state;
    struct options options;
    char err[OPTION_ERROR_MAX];
    assert_int_equal(READ("--fast", "--name", "a", "--number=7"), 5);
    assert_true(options.fast);
    assert_false(options.help);
    assert_string_equal(options.name, "a");
    assert_int_equal(options.number, 7);
    assert_int_equal(READ("--name=--fast"), 2);
    assert_string_equal(options.name, "--fast");
    assert_false(options.fast);
}

static void a_value_that_may_be_there_is_never_the_next_argument(void **state)
{
    (void)state;
    struct options options;
    char err[OPTION_ERROR_MAX];
    assert_int_equal(READ("--maybe", "site.lua"), 2);
    assert_int_equal(options.maybe_count, 1);
    assert_null(options.maybe);
    assert_int_equal(READ("--maybe=x", "site.lua"), 2);
    assert_string_equal(options.maybe, "x");
}

static void other_arguments_come_last_wherever_they_stood(void **state)
{
    (void)state;
    struct options options;
    char err[OPTION_ERROR_MAX];
    assert_int_equal(READ("a", "--fast", "b"), 2);
    assert_true(options.fast);
    assert_int_equal(READ("--", "--fast"), 2);
    assert_false(options.fast);
}

static void nothing_after_a_last_option_is_looked_at(void **state)
{
    (void)state;
    struct options options;
    char err[OPTION_ERROR_MAX];
    assert_true(READ("--help", "--wrong") >= 0);
    assert_true(options.help);
}

static void wrong_lines_are_named(void **state)
{
    (void)state;
    struct options options;
    char err[OPTION_ERROR_MAX];
    static const struct {
        const char *arguments[3], *text;
    } wrong[] = {
        {{"--wrong"}, "unknown option --wrong"},
        {{"--n=1"}, "--n is short for several options: --name, --number"},
        {{"-x"}, "unknown option -x"},
        {{"-xy"}, "unknown option -x"},
        {{"--name"}, "--name needs a value"},
        {{"--fast=1"}, "--fast=1 takes no value"},
        {{"--number", "11"}, "--number is not \"11\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(read_line(&options, err, wrong[i].arguments), -EINVAL);
        assert_string_equal(err, wrong[i].text);
    }
}

static void numbers_are_digits_within_bounds(void **state)
{
    (void)state;
    unsigned number;
    assert_true(options_parse_number("1", 64, &number));
    assert_true(options_parse_number("64", 64, &number));
    assert_int_equal(number, 64);
    static const char *const wrong[] = {"", "0", "65", "-1", "+1", " 1", "1 ", "1x", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(options_parse_number(wrong[i], 64, &number));
    }
}

static void lists_take_what_fits(void **state)
{
    (void)state;
    char list[6] = "";
    assert_true(options_append(list, sizeof list, ':', "ab"));
    assert_true(options_append(list, sizeof list, ':', "cd"));
    assert_string_equal(list, "ab:cd");
    assert_false(options_append(list, sizeof list, ':', ""));
    assert_string_equal(list, "ab:cd");
    list[0] = '\0';
    assert_false(options_append(list, sizeof list, ':', "abcdef"));
    assert_true(options_append(list, sizeof list, ':', "abcde"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_row_takes_its_value),
        cmocka_unit_test(a_value_that_may_be_there_is_never_the_next_argument),
        cmocka_unit_test(other_arguments_come_last_wherever_they_stood),
        cmocka_unit_test(nothing_after_a_last_option_is_looked_at),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(numbers_are_digits_within_bounds),
        cmocka_unit_test(lists_take_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
