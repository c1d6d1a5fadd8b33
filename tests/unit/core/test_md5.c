/* MD5 against the examples of RFC 1321 and texts of each length around a block, hashed by another program. */

#include "core/md5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* piece: bytes that are added at once. */
static void assert_md5(const void *data, size_t len, size_t piece, const char *expected)
{
    uint8_t hash[MD5_BYTES];
    char text[2 * MD5_BYTES + 1];
    struct md5 md5;
    md5_begin(&md5);
    for (size_t at = 0; at < len; at += piece) {
        md5_add(&md5, (const char *)data + at, len - at < piece ? len - at : piece);
    }
    md5_end(&md5, hash);
    for (size_t i = 0; i < MD5_BYTES; i++) {
        sprintf(text + 2 * i, "%02x", hash[i]);
    }
    assert_string_equal(text, expected);
}

static void examples_have_their_hashes(void **state)
{
    (void)state;
    static char million[1000000];
    memset(million, 'a', sizeof million);
    assert_md5("", 0, 1, "d41d8cd98f00b204e9800998ecf8427e");
    assert_md5("abc", 3, 3, "900150983cd24fb0d6963f7d28e17f72");
    assert_md5("abc", 3, 1, "900150983cd24fb0d6963f7d28e17f72");
    assert_md5(million, sizeof million, 4096, "7707d6ae4e027c70eea2a935c2296f21");
    assert_md5(million, sizeof million, 63, "7707d6ae4e027c70eea2a935c2296f21");
}

/* The hash of all hashes of 0 to 200 bytes, as Python's hashlib has it. */
static void every_length_around_a_block(void **state)
{
    (void)state;
    uint8_t hashes[201 * MD5_BYTES], text[200];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 7);
    }
    for (size_t len = 0; len <= sizeof text; len++) {
        struct md5 md5;
        md5_begin(&md5);
        md5_add(&md5, text, len);
        md5_end(&md5, hashes + len * MD5_BYTES);
    }
    assert_md5(hashes, sizeof hashes, sizeof hashes, "eb350bfbf075326c945ddb60048458ac");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_have_their_hashes),
        cmocka_unit_test(every_length_around_a_block),
    };
    return cmocka_run_group_tests_name("md5", tests, NULL, NULL);
}
