/* SHA-1 against the examples of FIPS 180 and texts of each length around a block, hashed by another program. */

#include "core/sha1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_hash(const void *data, size_t len, const char *expected)
{
    uint8_t hash[SHA1_BYTES];
    char text[2 * SHA1_BYTES + 1];
    sha1(data, len, hash);
    for (size_t i = 0; i < SHA1_BYTES; i++) {
        sprintf(text + 2 * i, "%02x", hash[i]);
    }
    assert_string_equal(text, expected);
}

static void examples_have_their_hashes(void **state)
{
    (void)state;
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char million[1000000];
    memset(million, 'a', sizeof million);
    assert_hash("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_hash("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_hash(two_blocks, sizeof two_blocks - 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    assert_hash(million, sizeof million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* The hash of all hashes of 0 to 200 bytes, as Python's hashlib has it. */
static void every_length_around_a_block(void **state)
{
    (void)state;
    uint8_t hashes[201 * SHA1_BYTES], text[200];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * 7);
    }
    for (size_t len = 0; len <= sizeof text; len++) {
        sha1(text, len, hashes + len * SHA1_BYTES);
    }
    assert_hash(hashes, sizeof hashes, "df60a30b3e6a69f55cf09284e4e125194738c0de");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_have_their_hashes),
        cmocka_unit_test(every_length_around_a_block),
    };
    return cmocka_run_group_tests_name("sha1", tests, NULL, NULL);
}
