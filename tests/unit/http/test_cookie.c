/* Cookie values, taken apart. */

#include "http/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The pairs as "name>value|", read from memory that ends with the text. */
static const char *pairs(const char *text)
{
    static char out[512];
    size_t used = 0, len = strlen(text);
    char *copy = malloc(len + 1); /* the sanitizer sees a read behind it */
    assert_non_null(copy);
    memcpy(copy, text, len);
    char *exact = realloc(copy, len > 0 ? len : 1);
    assert_non_null(exact);
    const char *at = exact;
    struct cookie cookie;
    out[0] = '\0';
    while (cookie_next(&at, &len, &cookie)) {
        used += (size_t)snprintf(out + used, sizeof out - used, "%.*s>%.*s|", (int)cookie.name_len, cookie.name,
                                 (int)cookie.value_len, cookie.value);
    }
    assert_int_equal(len, 0);
    free(exact);
    return out;
}

static void cookies_are_taken_apart(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a=b", "a>b|"},
        {"a=b; c=d", "a>b|c>d|"},
        {"a=b;c=d;", "a>b|c>d|"},
        {" a = b ;\tc=d ", "a>b|c>d|"},
        {"a=; b=c", "a>|b>c|"},
        {"a=b=c==", "a>b=c==|"},
        {"a=\"b c\"; d=\"", "a>\"b c\"|d>\"|"}, /* quotes belong to the value */
        {"a=b; a=c", "a>b|a>c|"},
        {"lonely; a=b", "a>b|"},
        {"=value; a=b; =", "a>b|"},
        {";;; ;a=b", "a>b|"},
        {"a=b, c=d", "a>b, c=d|"},
        {"a=%20", "a>%20|"},
        {"caf\xc3\xa9=\xff", "caf\xc3\xa9>\xff|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(pairs(cases[i][0]), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cookies_are_taken_apart)};
    return cmocka_run_group_tests_name("cookie", tests, NULL, NULL);
}
