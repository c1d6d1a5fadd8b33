/* http/url.c: paths, queries and segments. */

#include "http/url.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/guard_page.h"

enum { TEXT_MAX = 256 };

/* Room for exactly what the contract asks for: one byte more written, or read, is a crash. */
static struct guarded in;
static struct guarded out;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&in);
    guarded_init(&out);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&in);
    guarded_done(&out);
    return 0;
}

/* The normalised path, or the reason why there is none. */
static void normalise(const char *path, size_t len, char *text)
{
    const char *reason = NULL;
    size_t cap = len > 0 ? len : 1;
    char *normal = out.end - cap;
    ssize_t rv = url_normalise_path(guarded_at_end(&in, path, len), len, normal, cap, &reason);

    if (rv < 0) {
        assert_int_equal(rv, -400);
        snprintf(text, TEXT_MAX, "%s", reason);
        return;
    }
    assert_true(rv > 0 && (size_t)rv <= cap);
    memcpy(text, normal, (size_t)rv);
    text[rv] = '\0';
}

struct path_row {
    const char *path;   /* raw */
    const char *wanted; /* the result or the reason */
};

static void check_paths(const struct path_row *rows, size_t count)
{
    char text[TEXT_MAX];

    for (size_t i = 0; i < count; i++) {
        normalise(rows[i].path, strlen(rows[i].path), text);
        if (strcmp(text, rows[i].wanted) != 0) {
            print_error("%s\n", rows[i].path);
        }
        assert_string_equal(text, rows[i].wanted);
    }
}

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void paths_are_decoded_exactly_once(void **state)
{
    static const struct path_row rows[] = {
        {"", "/"},
        {"/", "/"},
        {"/a/b.c", "/a/b.c"},
        {"/a%20b", "/a b"},
        {"/%41%5a%61%7A", "/AZaz"},
        {"/%c3%A9", "/\xc3\xa9"},
        {"/%ff", "/\xff"},
        {"/%2541", "/%41"},
        {"/%252e%252e/", "/%2e%2e/"},
        {"/%252f", "/%2f"},
        {"/a+b", "/a+b"}, /* a plus is a space in forms, not in paths */
        {"/%3f%23%25", "/?#%"},
        {"/;a=b", "/;a=b"},
        {"/%5c", "/\\"}, /* an ordinary character of a file name here */
        {"/%0a%0d%7f", "/\n\r\x7f"},
        {"/%", "malformed percent-encoding in path"},
        {"/%4", "malformed percent-encoding in path"},
        {"/%4/", "malformed percent-encoding in path"},
        {"/%g1", "malformed percent-encoding in path"},
        {"/%1g", "malformed percent-encoding in path"},
        {"/%%41", "malformed percent-encoding in path"},
        {"/%-1", "malformed percent-encoding in path"},
        {"/%+1", "malformed percent-encoding in path"},
        {"/% 1", "malformed percent-encoding in path"},
        {"/%00", "encoded NUL in path"},
        {"/a%00.html", "encoded NUL in path"},
        {"/%2f", "encoded slash in path"},
        {"/a%2Fb", "encoded slash in path"},
        {"/..%2f..", "encoded slash in path"},
        {"/a\\b", "backslash in path"},
        {"/..\\..", "backslash in path"},
        {"a", "path does not begin with a slash"},
        {"%2f", "path does not begin with a slash"},
        {"..", "path does not begin with a slash"},
    };

    (void)state;
    check_paths(rows, COUNT(rows));
}

static void dot_segments_are_resolved_after_decoding(void **state)
{
    static const struct path_row rows[] = {
        {"/.", "/"},
        {"/./", "/"},
        {"/./.", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/../b", "/b"},
        {"/a/b/..", "/a/"},
        {"/a/b/../", "/a/"},
        {"/a/b/../c", "/a/c"},
        {"/a/b/../../c", "/c"},
        {"/a/b/c/./../../g", "/a/g"}, /* RFC 3986 section 5.2.4 */
        {"/mid/content=5/../6", "/mid/6"},
        {"/a/%2e", "/a/"},
        {"/a/%2E/b", "/a/b"},
        {"/a/%2e%2e/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/a/%2e./b", "/b"},
        {"/.a", "/.a"},
        {"/..a", "/..a"},
        {"/a.", "/a."},
        {"/a..", "/a.."},
        {"/...", "/..."},
        {"/a/.../b", "/a/.../b"},
        {"/. ", "/. "},
        {"/..;a", "/..;a"},
        {"/%c0%ae%c0%ae/a", "/\xc0\xae\xc0\xae/a"}, /* overlong dots are no dots */
        {"/..", "path climbs above the root"},
        {"/../", "path climbs above the root"},
        {"/../a", "path climbs above the root"},
        {"/a/../..", "path climbs above the root"},
        {"/a/../../b", "path climbs above the root"},
        {"/a/b/../../..", "path climbs above the root"},
        {"/./..", "path climbs above the root"},
        {"/%2e%2e", "path climbs above the root"},
        {"/%2e%2e/%2e%2e/etc/passwd", "path climbs above the root"},
        {"/a/../../a/b/c", "path climbs above the root"},
    };

    (void)state;
    check_paths(rows, COUNT(rows));
}

static void repeated_slashes_stay(void **state)
{
    static const struct path_row rows[] = {
        {"//", "//"},         {"//a", "//a"},
        {"/a//b", "/a//b"},   {"/a///", "/a///"},
        {"/a//../b", "/a/b"}, /* ".." takes the empty segment */
        {"//..", "/"},        {"//../..", "path climbs above the root"},
        {"/a//./b", "/a//b"}, {"/.//a", "//a"},
    };

    (void)state;
    check_paths(rows, COUNT(rows));
}

static void nul_byte_is_refused_and_ends_nothing(void **state)
{
    char text[TEXT_MAX];

    (void)state;
    normalise("/a\0/../..", 9, text); /* the parser lets no NUL through; if one came, no file would be looked for */
    assert_string_equal(text, "NUL in path");
    normalise("/../a\0", 6, text);
    assert_string_equal(text, "path climbs above the root");
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* The result as a list of segments, by a stack: slow and obvious. */
static bool normalise_slowly(const char *path, char *result)
{
    char segments[32][TEXT_MAX];
    size_t depth = 0;

    while (*path == '/') {
        size_t len = strcspn(path + 1, "/");
        bool is_last = path[1 + len] == '\0';
        bool is_dot = len == 1 && path[1] == '.';
        bool is_double_dot = len == 2 && path[1] == '.' && path[2] == '.';
        if (is_double_dot && depth == 0) {
            return false;
        }
        depth -= is_double_dot;
        if (!is_dot && !is_double_dot) {
            sprintf(segments[depth++], "%.*s", (int)len, path + 1);
        } else if (is_last) {
            segments[depth++][0] = '\0'; /* the slash before a dot segment stays */
        }
        path += 1 + len;
    }
    *result = '\0';
    for (size_t i = 0; i < depth; i++) {
        strcat(strcat(result, "/"), segments[i]);
    }
    return true;
}

static void random_paths_are_normalised_as_a_stack_of_segments_would(void **state)
{
    uint64_t seed = 0xa4093822299f31d0;
    unsigned refused = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char path[TEXT_MAX] = "";
        char wanted[TEXT_MAX];
        char text[TEXT_MAX];
        for (uint64_t i = 1 + next_random(&seed) % 8; i > 0; i--) {
            static const char *const parts[] = {"/", "/a", "/.", "/..", "/.b", "/...", "//", "/..c"};
            strcat(path, parts[next_random(&seed) % COUNT(parts)]);
        }
        normalise(path, strlen(path), text);
        if (!normalise_slowly(path, wanted)) {
            strcpy(wanted, "path climbs above the root");
            refused++;
        }
        assert_string_equal(text, wanted);
    }
    assert_in_range(refused, 1000, 19000);
}

static void normalised_path_never_has_what_could_leave_the_root(void **state)
{
    uint64_t seed = 0x082efa98ec4e6c89;
    unsigned accepted = 0;

    (void)state;
    for (int round = 0; round < 50000; round++) {
        char path[TEXT_MAX] = "/";
        const char *reason = NULL;
        char *normal;
        for (uint64_t i = next_random(&seed) % 12; i > 0; i--) {
            static const char *const parts[] = {"/",   ".",   "%2e", "%2E",    "a",  "%61",
                                                "%2f", "%5c", "%00", "%c0%af", "%25"};
            strcat(path, parts[next_random(&seed) % COUNT(parts)]);
        }
        size_t len = strlen(path);
        normal = out.end - len;
        ssize_t n = url_normalise_path(path, len, normal, len, &reason);
        if (n < 0) {
            continue;
        }
        accepted++;
        char framed[TEXT_MAX + 2];
        snprintf(framed, sizeof framed, "%.*s/", (int)n, normal);
        assert_int_equal(strlen(framed), n + 1); /* no NUL */
        assert_int_equal(framed[0], '/');
        assert_null(strstr(framed, "/./"));
        assert_null(strstr(framed, "/../"));
    }
    assert_true(accepted > 1000);
}

static void components_of_forms_are_decoded_leniently(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},         {"abc", "abc"},         {"a+b", "a b"}, {"a%2Bb", "a+b"},
        {"%41%7a", "Az"}, {"%26%3d", "&="},       {"%", "%"},     {"%4", "%4"},
        {"%4g", "%4g"},   {"%g4", "%g4"},         {"%%41", "%A"}, {"100%+sure", "100% sure"},
        {"%2541", "%41"}, {"%C3%A9", "\xc3\xa9"}, {"++", "  "},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i][0]);
        char *decoded = out.end - len;
        size_t n = url_decode_component(guarded_at_end(&in, rows[i][0], len), len, decoded);
        assert_int_equal(n, strlen(rows[i][1]));
        assert_memory_equal(decoded, rows[i][1], n);
    }
}

static void encoded_nul_in_a_component_is_a_byte_like_any_other(void **state)
{
    char decoded[5];

    (void)state;
    assert_int_equal(url_decode_component("a%00b", 5, decoded), 3);
    assert_memory_equal(decoded, "a\0b", 3);
}

static void queries_are_taken_pair_by_pair(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"a=b", "[a|b]"},
        {"a=b&c=d", "[a|b][c|d]"},
        {"a", "[a|]"},
        {"a=", "[a|]"},
        {"=b", "[|b]"},
        {"=", "[|]"},
        {"a=b=c", "[a|b=c]"},
        {"a&b", "[a|][b|]"},
        {"&", ""},
        {"&&a=b&&", "[a|b]"},
        {"a=b&", "[a|b]"},
        {"a=%26&b=+", "[a|%26][b|+]"},
        {"a=b;c=d", "[a|b;c=d]"},
        {"a=b&a=c", "[a|b][a|c]"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i][0]);
        const char *query = guarded_at_end(&in, rows[i][0], len);
        char text[TEXT_MAX] = "";
        struct url_pair pair;
        while (url_next_pair(&query, &len, &pair)) {
            sprintf(strchr(text, '\0'), "[%.*s|%.*s]", (int)pair.name_len, pair.name, (int)pair.value_len, pair.value);
        }
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(len, 0);
        assert_false(url_next_pair(&query, &len, &pair));
    }
}

static void segments_are_encoded_so_that_decoding_gives_them_back(void **state)
{
    static const char unreserved[] = "ABCXYZabcxyz0189-._~";
    char text[256];
    char encoded[3 * 256];

    (void)state;
    assert_int_equal(url_encode_segment(unreserved, strlen(unreserved), encoded), strlen(unreserved));
    assert_memory_equal(encoded, unreserved, strlen(unreserved));
    assert_int_equal(url_encode_segment("a b/c%\xc3\xa9?", 9, encoded), 21);
    assert_memory_equal(encoded, "a%20b%2Fc%25%C3%A9%3F", 21);

    for (int c = 0; c < 256; c++) {
        text[c] = (char)c;
    }
    size_t n = url_encode_segment(text, 256, encoded);
    for (size_t i = 0; i < n; i++) {
        assert_true(encoded[i] == '%' || strchr("-._~", encoded[i]) != NULL ||
                    (encoded[i] >= '0' && encoded[i] <= '9') || (encoded[i] >= 'A' && encoded[i] <= 'Z') ||
                    (encoded[i] >= 'a' && encoded[i] <= 'z'));
    }
    char decoded[3 * 256];
    assert_int_equal(url_decode_component(encoded, n, decoded), 256);
    assert_memory_equal(decoded, text, 256);
}

/* What url_has_odd_segment() says, from its definition. */
static bool is_odd(const char *path, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (path[i] == '/' && (path[i + 1] == '/' || path[i + 1] == '.')) {
            return true;
        }
    }
    return false;
}

static void odd_segments_are_found_at_every_place(void **state)
{
    static const char pairs[][3] = {"//", "/.",    "./",    "..",    "/a", "a/", "/-",
                                    "/0", "/\xae", "\xaf.", ".\xaf", "o/", "/o"};

    (void)state;
    for (size_t len = 0; len <= 40; len++) {
        char path[40];
        memset(path, 'a', sizeof path);
        path[0] = '/';
        assert_false(url_has_odd_segment(guarded_at_end(&in, path, len), len));
        for (size_t at = 0; at + 1 < len; at++) {
            for (size_t i = 0; i < COUNT(pairs); i++) {
                memset(path, 'a', sizeof path);
                path[0] = '/';
                memcpy(path + at, pairs[i], 2);
                assert_int_equal(url_has_odd_segment(guarded_at_end(&in, path, len), len), is_odd(path, len));
                assert_int_equal(url_has_odd_segment(guarded_at_start(&in, path, len), len), is_odd(path, len));
            }
        }
    }
}

static void paths_that_are_plain_are_taken_as_they_are(void **state)
{
    const char *reason = NULL;

    (void)state;
    for (size_t len = 1; len <= 80; len++) {
        char path[80];
        memset(path, 'b', sizeof path);
        path[0] = '/';
        const char *from = guarded_at_end(&in, path, len);
        assert_int_equal(url_take_path(from, len, true, out.end - len, len, &reason), len);
        assert_memory_equal(out.end - len, path, len);
        memset(out.end - len, 0, len);
        assert_int_equal(url_take_path(from, len, false, out.end - len, len, &reason), len);
        assert_memory_equal(out.end - len, path, len);
    }
    assert_int_equal(url_take_path("/a/..", 5, false, out.end - 5, 5, &reason), 1);
    assert_int_equal(url_take_path("/..", 3, false, out.end - 3, 3, &reason), -400);
    assert_string_equal(reason, "path climbs above the root");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_decoded_exactly_once),
        cmocka_unit_test(dot_segments_are_resolved_after_decoding),
        cmocka_unit_test(repeated_slashes_stay),
        cmocka_unit_test(nul_byte_is_refused_and_ends_nothing),
        cmocka_unit_test(random_paths_are_normalised_as_a_stack_of_segments_would),
        cmocka_unit_test(normalised_path_never_has_what_could_leave_the_root),
        cmocka_unit_test(odd_segments_are_found_at_every_place),
        cmocka_unit_test(paths_that_are_plain_are_taken_as_they_are),
        cmocka_unit_test(components_of_forms_are_decoded_leniently),
        cmocka_unit_test(encoded_nul_in_a_component_is_a_byte_like_any_other),
        cmocka_unit_test(queries_are_taken_pair_by_pair),
        cmocka_unit_test(segments_are_encoded_so_that_decoding_gives_them_back),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
