/* Media types by extension. */

#include "http/mime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

static const char unknown[] = "application/octet-stream";

/* The path lies in a block of its own size, so that the sanitizer sees a byte read beyond either end. */
static const char *type_of(const char *path)
{
    size_t len = strlen(path);
    char *exact = malloc(len == 0 ? 1 : len);
    assert_non_null(exact);
    memcpy(exact, path, len);
    const char *type = mime_type(exact, len);
    free(exact);
    return type;
}

static void well_known_extensions_have_their_types(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/markdown; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"vtt", "text/vtt; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"webmanifest", "application/manifest+json"},
        {"xml", "application/xml"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"avif", "image/avif"},
        {"ico", "image/vnd.microsoft.icon"},
        {"wasm", "application/wasm"},
        {"pdf", "application/pdf"},
        {"woff", "font/woff"},
        {"woff2", "font/woff2"},
        {"ttf", "font/ttf"},
        {"mp3", "audio/mpeg"},
        {"ogg", "audio/ogg"},
        {"opus", "audio/ogg"},
        {"mp4", "video/mp4"},
        {"webm", "video/webm"},
        {"m3u8", "application/vnd.apple.mpegurl"},
        {"ts", "video/mp2t"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char path[64] = "/files/some.";
        strcat(path, cases[i][0]);
        assert_string_equal(type_of(path), cases[i][1]);
    }
}

static void extension_is_found_where_a_file_name_has_one(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool is_html;
    } cases[] = {
        {"/a.html", true},     {"a.html", true},     {"/dir.d/a.html", true},
        {"/a.txt.html", true}, {"/..html", true},    {"/.a.html", true},
        {"/a..html", true},    {"/a.HTML", true},    {"/a.HtMl", true},
        {"/.html", false},     {".html", false},     {"html", false},
        {"/html", false},      {"/a.html/b", false}, {"/a.html/", false},
        {"/a.html.", false},   {"/a.htmlx", false},  {"/a.xhtml", false},
        {"/a.ht", false},      {"/a.html ", false},  {"/a.htm\x4c\x80", false},
        {"/", false},          {"", false},          {".", false},
        {"/a.", false},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        if ((strcmp(type_of(cases[i].path), "text/html; charset=utf-8") == 0) != cases[i].is_html) {
            print_error("%s\n", cases[i].path);
            fail();
        }
    }
}

static void unknown_extensions_are_octet_streams(void **state)
{
    (void)state;
    static const char *const paths[] = {"/a.unknown",
                                        "/.bashrc",
                                        "/dir.d/file",
                                        "/Makefile",
                                        "/a.0",
                                        "/xwebmanifest",
                                        "/a.xwebmanifest",
                                        "/a.zzzz",
                                        "/a.webmanifes",
                                        "/a.webmanifestx",
                                        "/a.~",
                                        "/a.abcdefghijkl",
                                        ""};
    for (size_t i = 0; i < LEN(paths); i++) {
        assert_string_equal(type_of(paths[i]), unknown);
    }
}

static void table_is_sorted_and_every_row_is_found_in_any_case(void **state)
{
    (void)state;
    const char *before = "";
    size_t n = 0;
    for (const char *type = NULL, *extension; (extension = mime_row(n, &type)) != NULL; n++) {
        if (strcmp(before, extension) >= 0) {
            print_error("%s, %s\n", before, extension);
            fail();
        }
        before = extension;
        char lower[64] = "/a.";
        char upper[64] = "/a.";
        for (size_t i = 0; extension[i] != '\0'; i++) {
            char c = extension[i];
            assert_true((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'));
            lower[3 + i] = c;
            upper[3 + i] = (char)(c >= 'a' ? c - 'a' + 'A' : c);
        }
        assert_ptr_equal(type_of(lower), type);
        assert_ptr_equal(type_of(upper), type);
    }
    assert_true(n >= 100);
    assert_null(mime_row(n + 1, &before));
}

static void text_has_a_charset_and_nothing_else_has(void **state)
{
    (void)state;
    const char *type = NULL;
    for (size_t n = 0; mime_row(n, &type) != NULL; n++) {
        bool is_text = strncmp(type, "text/", 5) == 0;
        assert_true((strstr(type, "; charset=utf-8") != NULL) == is_text);
        size_t token_len = strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789.+-/");
        assert_string_equal(type + token_len, is_text ? "; charset=utf-8" : "");
        const char *slash = strchr(type, '/');
        assert_non_null(slash);
        assert_ptr_equal(slash, strrchr(type, '/'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_known_extensions_have_their_types),
        cmocka_unit_test(extension_is_found_where_a_file_name_has_one),
        cmocka_unit_test(unknown_extensions_are_octet_streams),
        cmocka_unit_test(table_is_sorted_and_every_row_is_found_in_any_case),
        cmocka_unit_test(text_has_a_charset_and_nothing_else_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
