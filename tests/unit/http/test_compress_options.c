/* http/compress_options.c: what a host says about compression, and its mistakes. */

#include "core/coder.h"
#include "http/compress_options.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char err[512];

static struct compress_options *make(const struct compress_order *order)
{
    struct compress_options *options = NULL;
    assert_int_equal(compress_options_create(&options, order, err, sizeof err), 0);
    return options;
}

static bool has(const struct compress_options *options, const char *type)
{
    return compress_options_have(options, type, strlen(type));
}

static void types_are_compared_without_case_and_parameters(void **state)
{
    (void)state;
    if (!coder_is_there(CODER_GZIP)) {
        skip();
    }
    struct compress_options *options = make(&(struct compress_order){.codings = "gzip"});
    assert_true(has(options, "text/html; charset=utf-8") && has(options, "TEXT/plain") && has(options, "text/x"));
    assert_true(has(options, "application/json ;a=b") && has(options, "image/svg+xml"));
    assert_false(has(options, "image/png") || has(options, "text/") || has(options, "") || has(options, "textual/x"));
    assert_false(has(options, "application/jsonp") || has(options, "application/octet-stream"));
    assert_int_equal(options->level, COMPRESS_LEVEL_DEFAULT);
    assert_int_equal(options->min_bytes, COMPRESS_MIN_DEFAULT);
    compress_options_destroy(options);
    options = make(&(
        struct compress_order){.codings = " gzip ", .types = "a/b , c/*", .level = 9, .min_bytes = 0, .has_min = true});
    assert_true(has(options, "a/b") && has(options, "c/d"));
    assert_false(has(options, "text/html"));
    assert_int_equal(options->min_bytes, 0);
    compress_options_destroy(options);
    assert_int_equal(fake_mem_live(), 0);
}

static void an_order_is_kept(void **state)
{
    (void)state;
    if (!coder_is_there(CODER_GZIP) || !coder_is_there(CODER_BROTLI)) {
        skip();
    }
    struct compress_options *options = make(&(struct compress_order){.codings = "gzip, br"});
    assert_int_equal(options->count, 2);
    assert_int_equal(options->order[0], ENCODING_GZIP);
    assert_int_equal(options->order[1], ENCODING_BR);
    compress_options_destroy(options);
    options = make(&(struct compress_order){.codings = "off"});
    assert_true(options->is_off);
    compress_options_destroy(options);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        struct compress_order order;
        const char *text;
    } cases[] = {
        {{.codings = "deflate"}, "compress: \"br\", \"zstd\" or \"gzip\" expected, got \"deflate\""},
        {{.codings = "gzip,"}, NULL},
        {{.codings = "gzip,gzip"}, "compress: \"gzip\" is there twice"},
        {{.types = "text"},
         "compress_types: a media type such as \"application/json\" or \"text/*\" expected, got \"text\""},
        {{.types = "text/*x"},
         "compress_types: a media type such as \"application/json\" or \"text/*\" expected, got \"text/*x\""},
        {{.level = 10}, "compress_level: a number from 1 to 9 expected, got 10"},
        {{.min_bytes = (uint64_t)COMPRESS_MIN_MOST + 1}, "compress_min: at most 1073741824 bytes"},
    };
    (void)state;
    if (!coder_is_there(CODER_GZIP)) {
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct compress_options *options = NULL;
        int rv = compress_options_create(&options, &cases[i].order, err, sizeof err);
        assert_int_equal(rv, cases[i].text == NULL ? 0 : -EINVAL);
        if (cases[i].text != NULL) {
            assert_string_equal(err, cases[i].text);
        }
        compress_options_destroy(options);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void so_many_types_and_no_more(void **state)
{
    char list[(COMPRESS_TYPES_MAX + 1) * 4 + 1];
    (void)state;
    if (!coder_is_there(CODER_GZIP)) {
        skip();
    }
    for (size_t i = 0; i <= COMPRESS_TYPES_MAX; i++) {
        memcpy(list + 4 * i, "a/b,", 5);
    }
    struct compress_options *options = NULL;
    const struct compress_order order = {.types = list};
    assert_int_equal(compress_options_create(&options, &order, err, sizeof err), -EINVAL);
    assert_string_equal(err, "compress_types: \"a/b\" is one too many: at most 64");
    list[COMPRESS_TYPES_MAX * 4] = '\0';
    assert_int_equal(compress_options_create(&options, &order, err, sizeof err), 0);
    assert_int_equal(options->type_count, COMPRESS_TYPES_MAX);
    compress_options_destroy(options);
}

static void memory_may_fail(void **state)
{
    (void)state;
    if (!coder_is_there(CODER_GZIP)) {
        skip();
    }
    for (unsigned n = 1; n <= 2; n++) {
        struct compress_options *options = NULL;
        fake_mem_fail_after(n, false);
        assert_int_equal(compress_options_create(&options, &(struct compress_order){0}, err, sizeof err), -ENOMEM);
        fake_mem_fail_after(0, false);
        assert_int_equal(fake_mem_live(), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_compared_without_case_and_parameters),
        cmocka_unit_test(an_order_is_kept),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(so_many_types_and_no_more),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
