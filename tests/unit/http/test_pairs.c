/* Names and values in one block: order, decoding, bounds, memory that is short. */

#include "http/pairs.h"

#include "core/mem.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct pairs *made_of(const char *query)
{
    struct pairs *pairs = NULL;
    assert_int_equal(pairs_of_query(&pairs, query, strlen(query), SIZE_MAX), 0);
    return pairs;
}

/* The pairs as name=value, with a bar between two. */
static const char *text_of(const struct pairs *pairs)
{
    static char text[1024];
    const char *name, *value;
    text[0] = '\0';
    for (size_t i = 0; pairs_at(pairs, i, &name, &value); i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s=%s", i == 0 ? "" : "|", name, value);
    }
    return text;
}

static void query_is_decoded_in_its_order(void **state)
{
    (void)state;
    static const struct {
        const char *query, *pairs;
    } cases[] = {
        {"", ""},
        {"a=1", "a=1"},
        {"a=1&b=2&a=3", "a=1|b=2|a=3"},
        {"&&a&&=&b=&", "a=|=|b="},
        {"a+b=%41%zz%4&c=d=e", "a b=A%zz%4|c=d=e"},
        {"%26=%3D", "&=="},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pairs *pairs = made_of(cases[i].query);
        assert_string_equal(text_of(pairs), cases[i].pairs);
        mem_free(pairs);
    }
}

static void name_finds_its_first_value(void **state)
{
    (void)state;
    struct pairs *pairs = made_of("b=0&a=1&a=2&ab=3&=4&x%00y=5&x=6");
    assert_string_equal(pairs_find(pairs, "a"), "1");
    assert_string_equal(pairs_find(pairs, "ab"), "3");
    assert_string_equal(pairs_find(pairs, ""), "4");
    assert_string_equal(pairs_find(pairs, "x"), "6"); /* not the name with a NUL in it */
    assert_null(pairs_find(pairs, "c"));
    assert_null(pairs_find(pairs, "A"));
    assert_null(pairs_find(NULL, "a"));
    const char *name, *value;
    assert_false(pairs_at(pairs, 7, &name, &value));
    assert_false(pairs_at(NULL, 0, &name, &value));
    mem_free(pairs);
}

static void value_may_come_in_pieces(void **state)
{
    (void)state;
    struct pairs *pairs = pairs_create(3, 8);
    pairs_begin(pairs, "a", 1);
    pairs_append(pairs, "12", 2);
    pairs_append(pairs, "34", 2);
    pairs_end(pairs);
    pairs_begin(pairs, "b", 1);
    pairs_end(pairs);
    pairs_add(pairs, "c", 1, "%", 1);
    assert_string_equal(text_of(pairs), "a=1234|b=|c=%");
    mem_free(pairs);
}

static void number_of_pairs_is_bounded(void **state)
{
    (void)state;
    struct pairs *pairs = NULL;
    assert_int_equal(pairs_of_query(&pairs, "a&b&c", 5, 3), 0);
    mem_free(pairs);
    assert_int_equal(pairs_of_query(&pairs, "a&b&c&&d", 8, 3), -E2BIG);
    assert_null(pairs_create(1, (size_t)PAIRS_TEXT_MAX + 1));
    assert_null(pairs_create((size_t)PAIRS_TEXT_MAX, 0));
    assert_null(pairs_create(SIZE_MAX / 2, 0));
}

static void without_memory_there_are_none(void **state)
{
    (void)state;
    struct pairs *pairs = NULL;
    fake_mem_fail_after(1, false);
    assert_int_equal(pairs_of_query(&pairs, "a", 1, 1), -ENOMEM);
    assert_true(fake_mem_failed());
    assert_null(pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_is_decoded_in_its_order), cmocka_unit_test(name_finds_its_first_value),
        cmocka_unit_test(value_may_come_in_pieces),      cmocka_unit_test(number_of_pairs_is_bounded),
        cmocka_unit_test(without_memory_there_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
