/* The choice of a content coding: a table of Accept-Encoding values, with the rule of RFC 9110 each is about. */

#include "http/encoding.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum { BR = 1U << ENCODING_BR, ZSTD = 1U << ENCODING_ZSTD, GZIP = 1U << ENCODING_GZIP, ALL = BR | ZSTD | GZIP };

struct row {
    const char *accept; /* NULL: no such field */
    unsigned available;
    const char *chosen; /* NULL: identity */
};

static const char *choose(const char *accept, unsigned available)
{
    struct encoding_wishes wishes;
    encoding_wishes_init(&wishes);
    if (accept != NULL) {
        encoding_wishes_add(&wishes, accept, strlen(accept));
    }
    return encoding_name(encoding_choose(&wishes, available));
}

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *chosen = choose(rows[i].accept, rows[i].available);
        if ((chosen == NULL) != (rows[i].chosen == NULL) || (chosen != NULL && strcmp(chosen, rows[i].chosen) != 0)) {
            fail_msg("\"%s\" of %u: %s, not %s", rows[i].accept, rows[i].available, chosen, rows[i].chosen);
        }
    }
}

static void client_that_names_nothing_gets_identity(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {NULL, ALL, NULL}, /* anything would do (12.5.3), but not every client knows what it did not say */
        {"", ALL, NULL},   /* "does not want any content coding" (12.5.3) */
        {" ", ALL, NULL},  {",", ALL, NULL}, {" , ,, ", ALL, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void coding_that_is_named_and_there_is_chosen(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"gzip", ALL, "gzip"},
        {"br", ALL, "br"},
        {"zstd", ALL, "zstd"},
        {"gzip", BR | ZSTD, NULL}, /* not there */
        {"gzip", 0, NULL},
        {"deflate, compress", ALL, NULL}, /* not ours */
        {"deflate, gzip", ALL, "gzip"},
        {"GZIP", ALL, "gzip"}, /* 8.4.1: codings are case-insensitive */
        {"Br", ALL, "br"},
        {"x-gzip", ALL, "gzip"}, /* 8.4.1.3 */
        {"X-GZip;q=0.1", ALL, "gzip"},
        {"gzipp", ALL, NULL},
        {"gzi", ALL, NULL},
        {"bro", ALL, NULL},
        {"b", ALL, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void highest_quality_wins_then_our_preference(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"gzip, deflate, br, zstd", ALL, "br"}, /* what browsers send */
        {"gzip, deflate, br, zstd", ZSTD | GZIP, "zstd"},
        {"gzip, deflate, br, zstd", GZIP, "gzip"},
        {"zstd, gzip", ALL, "zstd"},
        {"gzip;q=0.8, br;q=0.7", ALL, "gzip"}, /* 12.4.2 */
        {"gzip;q=0.8, br;q=0.7", BR, "br"},
        {"gzip;q=0.001, zstd;q=0.002, br;q=0.001", ALL, "zstd"},
        {"gzip;q=0.5, br;q=0.50, zstd;q=0.500", ALL, "br"},
        {"gzip;q=1, br;q=0.999", ALL, "gzip"},
        {"gzip;q=1.000, br;q=1.0", ALL, "br"},
        {"br;q=0.9,gzip", ALL, "gzip"}, /* no weight is 1 */
        {"br;q=0.9;", ALL, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void quality_of_zero_means_no(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"gzip;q=0", ALL, NULL}, /* 12.4.2: "not acceptable" */
        {"gzip;q=0.0", ALL, NULL},     {"gzip;q=0.000", ALL, NULL},
        {"gzip;q=0.", ALL, NULL},      {"br;q=0, gzip", ALL, "gzip"},
        {"gzip, br;q=0", BR, NULL},    {"gzip;q=0, *", GZIP, NULL},     /* a named coding is not of the rest */
        {"gzip;q=0, *", ALL, "br"},    {"x-gzip;q=0, gzip", ALL, NULL}, /* the same coding: the lowest counts */
        {"gzip, gzip;q=0", ALL, NULL}, {"gzip;q=0.9, gzip;q=0.2, br;q=0.5", ALL, "br"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void star_stands_for_what_is_not_named(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"*", ALL, "br"}, /* 12.5.3 */
        {"*", GZIP, "gzip"},
        {"*;q=0.1", ALL, "br"},
        {"*;q=0", ALL, NULL},
        {"*;q=0, gzip", ALL, "gzip"},
        {"gzip, *;q=0", BR, NULL},
        {"gzip;q=0.5, *", ALL, "br"},
        {"gzip;q=0.5, *;q=0.4", ALL, "gzip"},
        {"gzip;q=0.5, *", GZIP, NULL}, /* identity is of the rest, and better */
        {"*, br;q=0, zstd;q=0", ALL, "gzip"},
        {"**", ALL, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void identity_is_weighed_when_it_is_named(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"identity", ALL, NULL},
        {"identity, gzip", ALL, "gzip"}, /* equal: ours is to choose */
        {"identity, gzip;q=0.9", ALL, NULL},
        {"identity;q=0.5, gzip;q=0.9", ALL, "gzip"},
        {"gzip;q=0.001", ALL, "gzip"}, /* identity that is not named comes last */
        {"identity;q=0, gzip;q=0.1", ALL, "gzip"},
        {"identity;q=0.5, *;q=0", ALL, NULL},
        {"identity;q=0.2, *;q=0.3", ALL, "br"},
        {"IDENTITY, gzip;q=0.9", ALL, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void client_that_refuses_all_there_is_gets_identity(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"identity;q=0", ALL, NULL}, /* 12.4.1: a server may disregard the field */
        {"identity;q=0, *;q=0", ALL, NULL}, {"identity;q=0, gzip", BR, NULL},
        {"identity;q=0, gzip", 0, NULL},    {"*;q=0", 0, NULL},
    };
    check(rows, ARRAY_LEN(rows));
}

static void white_space_and_case_of_weights_do_not_matter(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"gzip ;q=0.5", ALL, "gzip"},
        {"gzip; q=0.5", ALL, "gzip"},
        {"gzip \t;\t q=0.5 ", ALL, "gzip"},
        {"\tgzip\t,\tbr;q=0\t", ALL, "gzip"},
        {"gzip;Q=0, br", ALL, "br"},
        {",gzip", ALL, "gzip"},
        {"gzip,,", ALL, "gzip"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void weight_that_cannot_be_read_is_a_refusal(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"gzip;q=", ALL, NULL},
        {"gzip;q", ALL, NULL},
        {"gzip;", ALL, NULL},
        {"gzip;q=2", ALL, NULL},
        {"gzip;q=1.001", ALL, NULL},
        {"gzip;q=0.0001", ALL, NULL},
        {"gzip;q=0.5x", ALL, NULL},
        {"gzip;q=-1", ALL, NULL},
        {"gzip;q=.5", ALL, NULL},
        {"gzip;q =1", ALL, NULL},
        {"gzip;q= 1", ALL, NULL},
        {"gzip;q=\"1\"", ALL, NULL},
        {"gzip;level=9", ALL, NULL},
        {"gzip;q=1;x=1", ALL, NULL},
        {"gzip br", ALL, NULL},
        {"gzip;q=10", ALL, NULL},
        {"*;q=x", ALL, NULL},
        {"gzip;q=1.5, *", GZIP, NULL},
        {"gzip;q=x, br;q=0.1", ALL, "br"},
    };
    check(rows, ARRAY_LEN(rows));
}

static void lines_add_up(void **state)
{
    (void)state;
    struct encoding_wishes wishes;
    encoding_wishes_init(&wishes);
    encoding_wishes_add(&wishes, "gzip;q=0.5", 10);
    encoding_wishes_add(&wishes, "br;q=0.1", 8); /* RFC 9110 section 5.3 */
    assert_int_equal(encoding_choose(&wishes, ALL), ENCODING_GZIP);
    encoding_wishes_add(&wishes, "gzip;q=0", 8);
    assert_int_equal(encoding_choose(&wishes, ALL), ENCODING_BR);
}

static void nothing_beyond_the_value_is_read(void **state)
{
    (void)state;
    static const char text[] = "gzip;q=0.5,br";
    for (size_t len = 0; len <= sizeof text - 1; len++) {
        char *exact = test_malloc(len + 1); /* the sanitizer and cmocka guard its end */
        memcpy(exact, text, len);
        struct encoding_wishes wishes;
        encoding_wishes_init(&wishes);
        encoding_wishes_add(&wishes, exact, len);
        test_free(exact);
        /* "gzip", "gzip;q=0." is a refusal, "gzip;q=0.5", "gzip;q=0.5,b" */
        int expected = len == 4 || (len >= 10 && len <= 12) ? ENCODING_GZIP
                       : len == 13                          ? ENCODING_BR
                                                            : ENCODING_IDENTITY;
        assert_int_equal(encoding_choose(&wishes, ALL), expected);
    }
}

static void names_tell_what_a_file_is_compressed_with(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum encoding encoding;
    } rows[] = {
        {"a.css.br", ENCODING_BR},    {"a.css.zst", ENCODING_ZSTD}, {"a.css.gz", ENCODING_GZIP},
        {"a.css", ENCODING_IDENTITY}, {"gz", ENCODING_IDENTITY},    {".gz", ENCODING_IDENTITY},
        {"a.GZ", ENCODING_IDENTITY},  {"", ENCODING_IDENTITY},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(encoding_of_name(rows[i].name, strlen(rows[i].name)), rows[i].encoding);
    }
    for (enum encoding encoding = ENCODING_IDENTITY; encoding < ENCODING_COUNT; encoding++) {
        assert_true(strlen(encoding_suffix(encoding)) <= ENCODING_SUFFIX_MAX);
        assert_int_equal(encoding_name(encoding) == NULL, encoding == ENCODING_IDENTITY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_that_names_nothing_gets_identity),
        cmocka_unit_test(coding_that_is_named_and_there_is_chosen),
        cmocka_unit_test(highest_quality_wins_then_our_preference),
        cmocka_unit_test(quality_of_zero_means_no),
        cmocka_unit_test(star_stands_for_what_is_not_named),
        cmocka_unit_test(identity_is_weighed_when_it_is_named),
        cmocka_unit_test(client_that_refuses_all_there_is_gets_identity),
        cmocka_unit_test(white_space_and_case_of_weights_do_not_matter),
        cmocka_unit_test(weight_that_cannot_be_read_is_a_refusal),
        cmocka_unit_test(lines_add_up),
        cmocka_unit_test(nothing_beyond_the_value_is_read),
        cmocka_unit_test(names_tell_what_a_file_is_compressed_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
