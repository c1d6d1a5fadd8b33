/* The syntax of route patterns: what is parsed into which pieces, what types accept, what is refused in which words. */

#include "http/route_pattern.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

enum { TEXT_MAX = 2048 };

/* The text lies in a block of its own size, so that the sanitizer sees a byte read beyond it. */
static void parse(struct route_pattern *pattern, const char *text)
{
    char err[TEXT_MAX] = "";
    char *exact = strdup(text);
    assert_non_null(exact);
    memset(pattern, 0xa5, sizeof *pattern);
    int rv = route_pattern_parse(pattern, exact, "", err, sizeof err);
    if (rv != 0) {
        print_error("%s: %d %s\n", text, rv, err);
    }
    assert_int_equal(rv, 0);
    free(exact);
}

static bool accepts(const struct route_pattern *pattern, const char *value)
{
    size_t len = strlen(value);
    char *exact = malloc(len + 1);
    assert_non_null(exact);
    char *text = exact + 1; /* flush against the end of the block */
    memcpy(text, value, len);
    bool is_accepted = route_type_accepts(pattern->pieces[1].type, text, len);
    free(exact);
    return is_accepted;
}

static void pattern_is_parsed_into_its_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *pieces; /* one letter for the kind, then the text */
        const char *names;
    } cases[] = {
        {"/", "L/", ""},
        {"/a/b%2ac/", "L/a/b*c/", ""},
        {"/:a", "L/ P", "a"},
        {"/:a_1/", "L/ P L/", "a_1"},
        {"/x:a.y/z", "L/x P.y L/z", "a"},
        {"/x:a%2Dy", "L/x P-y", "a"},
        {"/x-:a{int}-y/:b/:c{[b-d]+}", "L/x- T-y L/ P L/ T", "a b c"},
        {"/a/*", "L/a/ R", "*"},
        {"/:a.b/*rest", "L/ P.b L/ R", "a rest"},
        {"/:ab/:a/:abc", "L/ P L/ P L/ P", "ab a abc"},
        {"//:a//*r", "L// P L// R", "a r"},
        {"/:name.:ext", "L/ I. P", "name ext"},
        {"/v:a.:b{int}-:c.gz/x", "L/v I. I- P.gz L/x", "a b c"},
        {"/:a%3A:b{hex}", "L/ I: T", "a b"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        struct route_pattern pattern;
        parse(&pattern, cases[i].text);
        char pieces[TEXT_MAX] = "";
        for (unsigned n = 0; n < pattern.piece_count; n++) {
            const struct route_piece *piece = &pattern.pieces[n];
            assert_true(piece->kind == PIECE_INNER || (piece->type != NULL) == (piece->kind == PIECE_TYPED));
            size_t used = strlen(pieces);
            snprintf(pieces + used, sizeof pieces - used, "%s%c%.*s", n == 0 ? "" : " ", "LTPRI"[piece->kind],
                     (int)piece -> len, piece -> text);
        }
        assert_string_equal(pieces, cases[i].pieces);
        char names[TEXT_MAX] = "";
        for (unsigned n = 0; n < pattern.name_count; n++) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%.*s", n == 0 ? "" : " ", (int)pattern.names[n].len,
                     cases[i].text + pattern.names[n].offset);
        }
        assert_string_equal(names, cases[i].names);
    }
}

static void type_accepts_its_values_and_no_others(void **state)
{
    (void)state;
    struct route_pattern pattern;
    static const struct {
        const char *type, *value;
        bool fits;
    } cases[] = {
        {"int", "0", true},
        {"int", "007", true},
        {"int", "123456789012345678", true},
        {"int", "1234567890123456789", false},
        {"int", "-1", false},
        {"int", "+1", false},
        {"int", "1.0", false},
        {"int", "1a", false},
        {"int", "a1", false},
        {"alpha", "azAZ", true},
        {"alpha", "a1", false},
        {"alpha", "a@", false},
        {"alpha", "a[", false},
        {"alpha", "a`", false},
        {"alpha", "a{", false},
        {"alpha", "\xc3\xa9", false},
        {"alnum", "azAZ09", true},
        {"alnum", "a-b", false},
        {"alnum", "a/", false},
        {"hex", "09afAF", true},
        {"hex", "g", false},
        {"hex", "0x1", false},
        {"slug", "a-b_C9", true},
        {"slug", "a.b", false},
        {"uuid", "123e4567-e89b-12d3-A456-426614174FFF", true},
        {"uuid", "123e4567-e89b-12d3-a456-42661417400", false},
        {"uuid", "123e4567-e89b-12d3-a456-4266141740000", false},
        {"uuid", "123e4567-e89b-12d3-a456-42661417400g", false},
        {"uuid", "123e4567-e89b-12d3-a456--26614174000", false},
        {"uuid", "123e4567ae89b-12d3-a456-426614174000", false},
        {"uuid", "123e4567-e89b012d3-a456-426614174000", false},
        {"uuid", "123e4567-e89b-12d30a456-426614174000", false},
        {"uuid", "123e4567-e89b-12d3-a4560426614174000", false},
        {"[a-c]+", "abcabc", true},
        {"[a-c]+", "abd", false},
        {"[a-z0-9-]+", "a-9", true},
        {"[a-z0-9-]+", "A", false},
        {"[-a]+", "a-", true},
        {"[-a]+", "b", false},
        {"[-]+", "--", true},
        {"[a-a]+", "a", true},
        {"[.}]+", "}..}", true},
        {"[!-~]+", "a^]", true},
        {"[!-~]+", "a b", false},
        {"[!-~]+", "\x7f", false},
        {"[%]+", "%", true},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char text[TEXT_MAX];
        snprintf(text, sizeof text, "/:x{%s}", cases[i].type);
        parse(&pattern, text);
        assert_int_equal(pattern.piece_count, 2);
        assert_int_equal(pattern.pieces[1].kind, PIECE_TYPED);
        if (accepts(&pattern, cases[i].value) != cases[i].fits) {
            print_error("{%s} %s\n", cases[i].type, cases[i].value);
            fail();
        }
    }
}

static void parameters_have_a_total_order(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "/:x{uuid}",    "/:x{[12]+}",  "/:x{[34]+}", "/:x{int}.tar.gz", "/:x{int}.a", "/:x{int}.b", "/:x{int}",
        "/:x{[0-9]+}z", "/:x{[0-9]+}", "/:x{hex}",   "/:x{[0-9a-z]+}",  "/:x{alpha}", "/:x{slug}",  "/:x.gz",
        "/:x",          "/*x"};
    for (size_t a = 0; a < LEN(texts); a++) {
        for (size_t b = 0; b < LEN(texts); b++) {
            struct route_pattern patterns[2];
            parse(&patterns[0], texts[a]);
            parse(&patterns[1], texts[b]);
            int order = route_piece_compare(&patterns[0].pieces[1], &patterns[1].pieces[1]);
            int expected = a < b ? -1 : a > b ? 1 : 0;
            if ((order > 0) - (order < 0) != expected) {
                print_error("%s %s: %d\n", texts[a], texts[b], order);
                fail();
            }
        }
    }
}

static void bad_pattern_is_refused_with_advice(void **state)
{
    (void)state;
    struct route_pattern pattern;
    static const struct {
        const char *pattern, *advice;
    } cases[] = {
        {"", "it must begin with '/'"},
        {"users", "it must begin with '/'"},
        {"*", "it must begin with '/'"},
        {"/:", "':' must be followed by a name"},
        {"/:/x", "':' must be followed by a name"},
        {"/:1a", "':' must be followed by a name"},
        {"/:{int}", "':' must be followed by a name"},
        {"/a:", "write %3A for a plain ':'"},
        {"/:a:b", "two parameters of a segment need text between them"},
        {"/:a-:b:c", "two parameters of a segment need text between them"},
        {"/:a{int}:b", "two parameters of a segment need text between them"},
        {"/:a/:b/:a", "two parameters are called \"a\""},
        {"/:a/*a", "two parameters are called \"a\""},
        {"/a*", "must be the whole last segment"},
        {"/:a*", "must be the whole last segment"},
        {"/*a/b", "must be the whole last segment"},
        {"/*/b", "must be the whole last segment"},
        {"/**", "must be the whole last segment"},
        {"/*a.b", "write %2A for a plain '*'"},
        {"/*1", "does not begin with a digit"},
        {"/{id}", "a parameter is :name or :name{type}"},
        {"/a}", "'}' must be written %7D"},
        {"/:a{int}}", "'}' must be written %7D"},
        {"/:a{int", "'{' without '}'"},
        {"/:a{int/}", "'{' without '}'"},
        {"/:a{[a-z]+", "'{' without '}'"},
        {"/:a{[a-z", "'{' without '}'"},
        {"/:a{foo}",
         "unknown parameter type {foo}, expected one of {int}, {alpha}, {alnum}, {hex}, {slug}, {uuid} or a "
         "set like {[a-z0-9-]+}"},
        {"/:a{}", "unknown parameter type {}"},
        {"/:a{INT}", "unknown parameter type {INT}"},
        {"/:a{in}", "unknown parameter type {in}"},
        {"/:a{\\d+}", "unknown parameter type {\\d+}"},
        {"/:a{[]+}", "{[]+} is not a set"},
        {"/:a{[a-z]}", "is not a set"},
        {"/:a{[a-z]*}", "is not a set"},
        {"/:a{[a-z]+x}", "is not a set"},
        {"/:a{[z-a]+}", "is not a set"},
        {"/:a{[a-c-e]+}", "is not a set"},
        {"/:a{[ab-]x]+}", "is not a set"},
        {"/:a{[a--]+}", "is not a set"},
        {"/:a{[--a]+}", "is not a set"},
        {"/:a{[^a]+}", "is not a set"},
        {"/:a{[a^]+}", "is not a set"},
        {"/:a{[X-^]+}", "is not a set"},
        {"/:a{[[]+}", "is not a set"},
        {"/:a{[\\d]+}", "is not a set"},
        {"/:a{[a/]+}", "is not a set"},
        {"/:a{[a b]+}", "is not a set"},
        {"/:a{[\xc3\xa9]+}", "is not a set"},
        {"/:a{[a-\x7f]+}", "is not a set"},
        {"/a?b=:c", "'?' must be written %3F in a pattern, which is a path without a query"},
        {"/a#b", "'#' must be written %23"},
        {"/a\\b", "'\\' must be written %5C"},
        {"/a\nb", "a control character must be written %0A"},
        {"/a\x7f", "a control character must be written %7F"},
        {"/100%", "write %25 for a plain '%'"},
        {"/%2", "write %25 for a plain '%'"},
        {"/%g0", "write %25 for a plain '%'"},
        {"/%0g", "write %25 for a plain '%'"},
        {"/%00", "%00 never matches"},
        {"/a%2fb", "%2f never matches"},
        {"/:a%2Fb", "%2F never matches"},
        {"/.", "never matches"},
        {"/..", "never matches"},
        {"/./a", "never matches"},
        {"/a/../b", "never matches"},
        {"/a/%2E./b", "never matches"},
        {"/:a/..", "never matches"},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        char err[TEXT_MAX] = "";
        int rv = route_pattern_parse(&pattern, cases[i].pattern, "site.lua:12", err, sizeof err);
        if (rv != -EINVAL || strstr(err, cases[i].advice) == NULL) {
            print_error("%s: %d %s\n", cases[i].pattern, rv, err);
        }
        assert_int_equal(rv, -EINVAL);
        assert_non_null(strstr(err, cases[i].advice));
        assert_ptr_equal(strstr(err, "site.lua:12: bad route pattern \""), err);
        assert_null(strchr(err, '\n'));
    }
}

static void error_text_quotes_the_pattern_and_fits_its_buffer(void **state)
{
    (void)state;
    struct route_pattern pattern;
    char err[TEXT_MAX];
    assert_int_equal(route_pattern_parse(&pattern, "users", "", err, sizeof err), -EINVAL);
    assert_string_equal(err, "bad route pattern \"users\": it must begin with '/'");
    assert_int_equal(route_pattern_parse(&pattern, "/a\tb", "", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "\"/a?b\""));

    memset(err, 'x', sizeof err);
    assert_int_equal(route_pattern_parse(&pattern, "/a\tb", "site.lua:1", err, 16), -EINVAL);
    assert_true(memchr(err, '\0', 16) != NULL);
    assert_int_equal(err[16], 'x');
    assert_int_equal(route_pattern_parse(&pattern, "/a\tb", "site.lua:1", NULL, 0), -EINVAL);

    char longest[ROUTE_PATTERN_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(route_pattern_parse(&pattern, longest, "x:1", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "aaa...\": longer than 1024 bytes"));
    assert_true(strlen(err) < 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pattern_is_parsed_into_its_pieces),
        cmocka_unit_test(type_accepts_its_values_and_no_others),
        cmocka_unit_test(parameters_have_a_total_order),
        cmocka_unit_test(bad_pattern_is_refused_with_advice),
        cmocka_unit_test(error_text_quotes_the_pattern_and_fits_its_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
