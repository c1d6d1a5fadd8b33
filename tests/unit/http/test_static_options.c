/* Options of a mount: what is refused and in which words, and that the copy stands by itself. */

#include "http/static_options.h"

#include "core/mem.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

static char err[256];

static struct static_settings *must_create(const struct static_options *options)
{
    struct static_settings *settings = NULL;
    if (static_settings_create(&settings, options, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return settings;
}

static void check_refused(const struct static_options *options, const char *text)
{
    struct static_settings *settings = NULL;
    err[0] = '\0';
    int rv = static_settings_create(&settings, options, err, sizeof err);
    if (rv != -EINVAL || strcmp(err, text) != 0) {
        fail_msg("%d \"%s\", not \"%s\"", rv, err, text);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void defaults_are_an_index_and_siblings_and_nothing_else(void **state)
{
    (void)state;
    static const struct static_options zero = {0};
    for (int i = 0; i < 2; i++) {
        struct static_settings *settings = must_create(i == 0 ? NULL : &zero);
        assert_string_equal(settings->fields, "");
        assert_int_equal(settings->index_count, 1);
        assert_string_equal(settings->index[0], "index.html");
        assert_int_equal(settings->header_count + settings->type_count, 0);
        assert_null(settings->fallback);
        assert_null(settings->not_found);
        assert_true(settings->precompressed);
        assert_false(settings->dotfiles || settings->list);
        mem_free(settings);
    }
}

static void copy_does_not_need_the_original(void **state)
{
    (void)state;
    static const char all[] = "a\0b\0c.html\0/x/y.html\0/z\0.WASM\0application/x\0d";
    char *text = malloc(sizeof all);
    memcpy(text, all, sizeof all);
    const char *parts[8];
    const char *at = text;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++, at += strlen(at) + 1) {
        parts[i] = at;
    }
    struct static_field *fields = malloc(sizeof *fields);
    fields[0] = (struct static_field){parts[0], parts[1]};
    struct mime_override *types = malloc(sizeof *types);
    types[0] = (struct mime_override){parts[5], parts[6]};
    const char **index = malloc(2 * sizeof *index);
    index[0] = parts[2];
    index[1] = parts[7];
    struct static_settings *settings = must_create(&(struct static_options){
        .cache_s = 4294967295,
        .headers = fields,
        .header_count = 1,
        .index = index,
        .index_count = 2,
        .fallback = parts[3],
        .not_found = parts[4],
        .types = types,
        .type_count = 1,
        .dotfiles = true,
        .list = true,
        .no_precompressed = true,
    });
    free(text);
    free(fields);
    free(types);
    free(index);
    assert_string_equal(settings->fields, "Cache-Control: max-age=4294967295\r\na: b\r\n");
    assert_int_equal(settings->header_count, 1);
    assert_string_equal(settings->headers[0].name, "a");
    assert_string_equal(settings->headers[0].value, "b");
    assert_int_equal(settings->index_count, 2);
    assert_string_equal(settings->index[0], "c.html");
    assert_string_equal(settings->index[1], "d");
    assert_string_equal(settings->fallback, "x/y.html");
    assert_string_equal(settings->not_found, "z");
    assert_int_equal(settings->type_count, 1);
    assert_string_equal(settings->types[0].extension, "wasm");
    assert_string_equal(settings->types[0].type, "application/x");
    assert_true(settings->dotfiles && settings->list && !settings->precompressed);
    mem_free(settings);
}

static void index_can_be_turned_off(void **state)
{
    (void)state;
    static const char *const names[] = {"a"};
    struct static_settings *settings = must_create(&(struct static_options){.no_index = true});
    assert_int_equal(settings->index_count, 0);
    mem_free(settings);
    settings = must_create(&(struct static_options){.no_index = true, .index = names, .index_count = 1});
    assert_int_equal(settings->index_count, 0);
    mem_free(settings);
}

static void headers_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *text;
    } rows[] = {
        {"", "x", "headers: \"\" is not a field name"},
        {"a b", "x", "headers: \"a b\" is not a field name"},
        {"a:", "x", "headers: \"a:\" is not a field name"},
        {"a\r\nb", "x", "headers: \"a\r\nb\" is not a field name"},
        {"X-A", "a\r\nX-B: c", "headers: the value of X-A has a control character"},
        {"X-A", "\x7f", "headers: the value of X-A has a control character"},
        {"Content-Length", "1", "headers: \"Content-Length\" is the server's own field"},
        {"connection", "close", "headers: \"connection\" is the server's own field"},
        {"Date", "x", "headers: \"Date\" is the server's own field"},
        {"Content-Type", "x/y", "headers: \"Content-Type\" is the server's own field; types changes it"},
        {"content-encoding", "x", "headers: \"content-encoding\" is the server's own field"},
        {"Content-Range", "x", "headers: \"Content-Range\" is the server's own field"},
        {"ETag", "x", "headers: \"ETag\" is the server's own field"},
        {"last-modified", "x", "headers: \"last-modified\" is the server's own field"},
        {"Accept-Ranges", "x", "headers: \"Accept-Ranges\" is the server's own field"},
        {"Location", "/", "headers: \"Location\" is the server's own field"},
        {"cache-control", "no-store", "headers: cache-control cannot be combined with the option cache"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct static_field field = {rows[i].name, rows[i].value};
        check_refused(&(struct static_options){.cache_s = 1, .headers = &field, .header_count = 1}, rows[i].text);
    }
    static const struct static_field good[] = {
        {"Cache-Control", "no-store"}, {"X-Empty", ""}, {"x-tab", "a\tb"}, {"Vary", "Origin"}, {"x-utf8", "\xc3\xa9"}};
    struct static_settings *settings = must_create(
        &(struct static_options){.headers = good, .header_count = ARRAY_LEN(good)});
    assert_string_equal(settings->fields, "Cache-Control: no-store\r\nX-Empty: \r\nx-tab: a\tb\r\nVary: Origin\r\n"
                                          "x-utf8: \xc3\xa9\r\n");
    mem_free(settings);
    static const struct static_field twice[] = {{"Expires", "0"}, {"Vary", "A"}, {"vary", "B"}, {"expires", "1"}};
    check_refused(&(struct static_options){.headers = twice, .header_count = 4},
                  "headers: expires occurs twice; a response may have it only once");
    mem_free(must_create(&(struct static_options){.headers = twice, .header_count = 3}));
}

static void index_names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "/", "a/b", "/index.html"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[64];
        const char *names[] = {"good.html", bad[i]};
        snprintf(text, sizeof text, "index: \"%s\" is not a file name", bad[i]);
        check_refused(&(struct static_options){.index = names, .index_count = 2}, text);
    }
    char longest[STATIC_NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[STATIC_NAME_MAX + 1] = '\0';
    const char *names[] = {longest};
    struct static_settings *settings = NULL;
    struct static_options options = {.index = names, .index_count = 1};
    assert_int_equal(static_settings_create(&settings, &options, err, sizeof err), -EINVAL);
    longest[STATIC_NAME_MAX] = '\0';
    mem_free(must_create(&options));
}

static void files_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "//a", "a/", "a//b", ".", "..", "./a", "a/../b", "../a", "a/.."};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[128];
        snprintf(text, sizeof text, "fallback: \"%s\" is not the path of a file below the directory", bad[i]);
        check_refused(&(struct static_options){.fallback = bad[i]}, text);
        snprintf(text, sizeof text, "not_found: \"%s\" is not the path of a file below the directory", bad[i]);
        check_refused(&(struct static_options){.not_found = bad[i]}, text);
    }
    static const char *const good[] = {"a", "/a", "a/b.html", "...", "a/...", ".a", "..a"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        mem_free(must_create(&(struct static_options){.fallback = good[i], .not_found = good[i]}));
    }
}

static void types_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *extension, *type, *text;
    } rows[] = {
        {"", "a/b", "types: \"\" is not an extension"},
        {".", "a/b", "types: \".\" is not an extension"},
        {"tar.gz", "a/b", "types: \"tar.gz\" is not an extension"},
        {"a/b", "a/b", "types: \"a/b\" is not an extension"},
        {"0123456789012345678901234567890x", "a/b", "types: \"0123456789012345678901234567890x\" is not an extension"},
        {"x", "", "types: \"\", for x, is not a media type"},
        {"x", "text", "types: \"text\", for x, is not a media type"},
        {"x", "/plain", "types: \"/plain\", for x, is not a media type"},
        {"x", "text/", "types: \"text/\", for x, is not a media type"},
        {"x", "a/b/c", "types: \"a/b/c\", for x, is not a media type"},
        {"x", "a/b\r\nX: y", "types: \"a/b\r\nX: y\", for x, is not a media type"},
        {"x", "a b/c", "types: \"a b/c\", for x, is not a media type"},
        {"x", "; a/b", "types: \"; a/b\", for x, is not a media type"},
        {"x", "text/date", NULL},
        {".x", "text/x; charset=utf-8", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mime_override type = {rows[i].extension, rows[i].type};
        struct static_options options = {.types = &type, .type_count = 1};
        if (rows[i].text != NULL) {
            check_refused(&options, rows[i].text);
        } else {
            mem_free(must_create(&options));
        }
    }
}

static void numbers_are_bounded(void **state)
{
    (void)state;
    static struct static_field fields[STATIC_HEADERS_MAX + 1];
    static const char *names[STATIC_INDEX_MAX + 1];
    static struct mime_override types[STATIC_TYPES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i] = (struct static_field){"a", "b"};
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        names[i] = "a";
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        types[i] = (struct mime_override){"a", "b/c"};
    }
    struct static_options options = {.headers = fields,
                                     .header_count = STATIC_HEADERS_MAX,
                                     .index = names,
                                     .index_count = STATIC_INDEX_MAX,
                                     .types = types,
                                     .type_count = STATIC_TYPES_MAX};
    mem_free(must_create(&options));
    check_refused(&(struct static_options){.headers = fields, .header_count = STATIC_HEADERS_MAX + 1},
                  "headers: more than 32");
    check_refused(&(struct static_options){.index = names, .index_count = STATIC_INDEX_MAX + 1},
                  "index: more than 8 names");
    check_refused(&(struct static_options){.types = types, .type_count = STATIC_TYPES_MAX + 1}, "types: more than 256");
    static char value[STATIC_FIELDS_MAX];
    memset(value, 'v', sizeof value - 1);
    fields[0].value = value;
    check_refused(&(struct static_options){.headers = fields, .header_count = 1},
                  "headers: more than 8192 bytes in total");
}

static void failed_allocation_leaves_nothing(void **state)
{
    (void)state;
    struct static_settings *settings = NULL;
    fake_mem_fail_after(1, false);
    assert_int_equal(static_settings_create(&settings, NULL, err, sizeof err), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_an_index_and_siblings_and_nothing_else),
        cmocka_unit_test(copy_does_not_need_the_original),
        cmocka_unit_test(index_can_be_turned_off),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(index_names_are_checked),
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(types_are_checked),
        cmocka_unit_test(numbers_are_bounded),
        cmocka_unit_test(failed_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
