/* Base64, in both alphabets, and texts that no encoder makes. */

#include "core/base64.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void known_texts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *padded, *bare, *url;
    } cases[] = {
        /* RFC 4648 section 10, and letters 62 and 63 */
        {"", "", "", ""},
        {"f", "Zg==", "Zg", "Zg"},
        {"fo", "Zm8=", "Zm8", "Zm8"},
        {"foo", "Zm9v", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg", "Zm9vYg"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+", "+//+", "-__-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *texts[] = {cases[i].padded, cases[i].bare, cases[i].url};
        size_t len = strlen(cases[i].bytes);
        for (enum base64_form form = BASE64_PADDED; form <= BASE64_URL; form++) {
            char text[16], bytes[16];
            size_t text_len = base64_encode(cases[i].bytes, len, form, text);
            assert_int_equal(text_len, strlen(texts[form]));
            assert_memory_equal(text, texts[form], text_len);
            assert_int_equal(base64_decode(text, text_len, form == BASE64_URL, bytes), len);
            assert_memory_equal(bytes, cases[i].bytes, len);
        }
    }
}

static void texts_that_are_not_base64(void **state)
{
    (void)state;
    static const char *const texts[] = {"Z",      "Zm9vY", "Z===",  "Zg===",   "Zm9 v",
                                        "Zm9v\n", "Zm=v",  "Zm9v!", "Zm\xe4v", "Zm-_"};
    char out[16];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (base64_decode(texts[i], strlen(texts[i]), false, out) != -EINVAL) {
            fail_msg("%s was taken", texts[i]);
        }
    }
    assert_int_equal(base64_decode("Zm+/", 4, true, out), -EINVAL);
    assert_int_equal(base64_decode("Zm9\0", 4, false, out), -EINVAL);
}

/* Buffers of exactly the size that the header promises, at every length. */
static void lengths_are_exact(void **state)
{
    (void)state;
    for (size_t len = 0; len < 200; len++) {
        for (enum base64_form form = BASE64_PADDED; form <= BASE64_URL; form++) {
            uint8_t *bytes = malloc(len + (len == 0));
            for (size_t i = 0; i < len; i++) {
                bytes[i] = (uint8_t)(i * 37 + len);
            }
            char *text = malloc(base64_room(len) + (len == 0));
            size_t text_len = base64_encode(bytes, len, form, text);
            assert_true(form == BASE64_PADDED ? text_len == base64_room(len) : text_len <= base64_room(len));
            uint8_t *decoded = malloc(base64_decoded_room(text_len) + 1);
            assert_int_equal(base64_decode(text, text_len, form == BASE64_URL, decoded), len);
            assert_memory_equal(decoded, bytes, len);
            free(decoded);
            free(text);
            free(bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(texts_that_are_not_base64),
        cmocka_unit_test(lengths_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
