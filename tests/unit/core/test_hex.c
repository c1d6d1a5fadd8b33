/* Hexadecimal digits, and texts that are none. */

#include "core/hex.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 4648 section 10. */
static void known_texts(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"", "", ""},
        {"f", "66", "66"},
        {"foobar", "666f6f626172", "666F6F626172"},
        {"\x01\xfe\xab", "01feab", "01FEaB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i][0]), bad;
        char text[16], bytes[16];
        hex_encode(cases[i][0], len, text);
        assert_memory_equal(text, cases[i][1], 2 * len);
        for (size_t form = 1; form <= 2; form++) {
            assert_int_equal(hex_decode(cases[i][form], 2 * len, bytes, &bad), len);
            assert_memory_equal(bytes, cases[i][0], len);
        }
    }
}

static void texts_that_are_no_digits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad;
    } cases[] = {{"6", 1},    {"666", 3},  {"6g", 1},   {"g", 0},   {"0x", 1},
                 {"66 6", 2}, {"66@6", 2}, {"66/6", 2}, {"66:6", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].text), bad = 99;
        char *out = malloc(len / 2 + (len < 2)); /* exactly what the header promises */
        assert_int_equal(hex_decode(cases[i].text, len, out, &bad), -EINVAL);
        assert_int_equal(bad, cases[i].bad);
        free(out);
    }
    size_t bad = 99;
    char out[2];
    assert_int_equal(hex_decode("66\0", 3, out, &bad), -EINVAL);
    assert_int_equal(bad, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(texts_that_are_no_digits),
    };
    return cmocka_run_group_tests_name("hex", tests, NULL, NULL);
}
