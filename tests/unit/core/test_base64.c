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

/* What no encoder makes is wrong at its first character that is, and each text has one meaning. */
static void exact_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_url;
        int len;    /* of the bytes, or -1 */
        size_t bad; /* where it is wrong */
    } cases[] = {
        {"", false, 0, 0},          {"Zg==", false, 1, 0},  {"Zg", false, 1, 0},     {"Zm8=", false, 2, 0},
        {"Zm9v", false, 3, 0},      {"+//+", false, 3, 0},  {"-__-", true, 3, 0},    {"Zg==", true, 1, 0},
        {"Z", false, -1, 1},        {"Zg=", false, -1, 3},  {"Zm8==", false, -1, 5}, {"Zm9v=", false, -1, 5},
        {"Zm9v==", false, -1, 6},   {"Z===", false, -1, 1}, {"====", false, -1, 0},  {"=", false, -1, 1},
        {"Zh", false, -1, 1},       {"Zh==", false, -1, 1}, {"Zm9", false, -1, 2},   {"Zm9=", false, -1, 2},
        {"+//+", true, -1, 0},      {"-__-", false, -1, 0}, {"Zm 9", false, -1, 2},  {"Zm9v\n", false, -1, 4},
        {"Zg==Zg==", false, -1, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[16];
        size_t bad = 0, len = strlen(cases[i].text);
        ssize_t got = base64_decode_exact(cases[i].text, len, cases[i].is_url, out, &bad);
        if (got != (cases[i].len < 0 ? -EINVAL : cases[i].len) || bad != cases[i].bad) {
            fail_msg("%s: %d, wrong at %d", cases[i].text, (int)got, (int)bad);
        }
    }
    char text[4];
    for (unsigned n = 0; n < 256 * 256; n++) { /* all texts of two characters: those of one byte each */
        text[0] = (char)(n >> 8);
        text[1] = (char)n;
        unsigned char byte;
        char again[4];
        size_t bad;
        if (base64_decode_exact(text, 2, false, &byte, &bad) == 1) {
            assert_int_equal(base64_encode(&byte, 1, BASE64_BARE, again), 2);
            assert_memory_equal(text, again, 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(texts_that_are_not_base64),
        cmocka_unit_test(exact_texts),
        cmocka_unit_test(lengths_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
