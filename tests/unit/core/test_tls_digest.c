/* Digests against the examples of their standards. Without OpenSSL they say so. */

#include "core/hex.h"
#include "core/tls_digest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_bytes(const unsigned char *bytes, unsigned len, const char *digits)
{
    char text[2 * TLS_DIGEST_MAX + 1] = "";
    hex_encode(bytes, len, text);
    assert_string_equal(text, digits);
}

static bool has_digests(void)
{
    char err[256] = "";
    int rv = tls_digest_load(err, sizeof err);
    assert_true(rv == 0 || (rv == -ELIBACC && strstr(err, "OpenSSL") != NULL));
    return rv == 0;
}

/* FIPS 180-4: the examples of NIST's "Secure Hashing" page; MD5 is of RFC 1321. */
static void hashes_of_the_standards(void **state)
{
    (void)state;
    static char million[1000000];
    static const char b448[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char b896[] =
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
        "lmnopqrsmnopqrstnopqrstu";
    static const struct {
        enum tls_digest digest;
        const char *text, *hash;
        size_t len;
    } cases[] = {
        {TLS_DIGEST_MD5, "abc", "900150983cd24fb0d6963f7d28e17f72", 3},
        {TLS_DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d", 3},
        {TLS_DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0},
        {TLS_DIGEST_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3},
        {TLS_DIGEST_SHA256, b448, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", 56},
        {TLS_DIGEST_SHA256, b896, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1", 112},
        {TLS_DIGEST_SHA256, million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
         sizeof million},
        {TLS_DIGEST_SHA512, "",
         "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81"
         "a538327af927da3e",
         0},
        {TLS_DIGEST_SHA512, "abc",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
         "2a9ac94fa54ca49f",
         3},
        {TLS_DIGEST_SHA512, b896,
         "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd2654"
         "5e96e55b874be909",
         112},
        {TLS_DIGEST_SHA512, million,
         "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e"
         "4eadb217ad8cc09b",
         sizeof million},
    };
    memset(million, 'a', sizeof million);
    for (size_t i = 0; has_digests() && i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char out[TLS_DIGEST_MAX];
        unsigned len = 0;
        char err[256];
        assert_int_equal(tls_digest(cases[i].digest, cases[i].text, cases[i].len, out, &len, err, sizeof err), 0);
        assert_bytes(out, len, cases[i].hash);
    }
}

/* RFC 4231, all test cases but the fifth, which is cut, and test case 2 of RFC 2202 for SHA-1. Keys and texts that repeat
 * one byte are written as that byte and a count. */
static void codes_of_the_standards(void **state)
{
    (void)state;
    static const char numbers[] = "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27\30\31";
    static const struct {
        const char *key, *text, *sha256, *sha512;
        size_t key_repeat, text_repeat;
    } cases[] = {
        {"\x0b", "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f170"
         "2e696c203a126854",
         20, 1},
        {"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b"
         "636e070a38bce737",
         1, 1},
        {"\xaa", "\xdd", "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
         "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee89426"
         "74278859e13292fb",
         20, 50},
        {numbers, "\xcd", "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
         "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2d"
         "e2adebeb10a298dd",
         1, 50},
        {"\xaa", "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec"
         "8b915a985d786598",
         131, 1},
        {"\xaa",
         "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
         "hashed before being used by the HMAC algorithm.",
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
         "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de04460"
         "65c97440fa8c6a58",
         131, 1},
    };
    for (size_t i = 0; has_digests() && i < sizeof cases / sizeof cases[0]; i++) {
        char key[256], text[256], err[256];
        size_t key_len = 0, len = 0;
        unsigned char out[TLS_DIGEST_MAX];
        unsigned out_len = 0;
        for (size_t n = 0; n < cases[i].key_repeat; n++, key_len += strlen(cases[i].key)) {
            memcpy(key + key_len, cases[i].key, strlen(cases[i].key));
        }
        for (size_t n = 0; n < cases[i].text_repeat; n++, len += strlen(cases[i].text)) {
            memcpy(text + len, cases[i].text, strlen(cases[i].text));
        }
        assert_int_equal(tls_digest_hmac(TLS_DIGEST_SHA256, key, key_len, text, len, out, &out_len, err, sizeof err),
                         0);
        assert_bytes(out, out_len, cases[i].sha256);
        assert_int_equal(tls_digest_hmac(TLS_DIGEST_SHA512, key, key_len, text, len, out, &out_len, err, sizeof err),
                         0);
        assert_bytes(out, out_len, cases[i].sha512);
    }
    unsigned char out[TLS_DIGEST_MAX];
    unsigned out_len = 0;
    char err[256];
    if (has_digests()) {
        assert_int_equal(tls_digest_hmac(TLS_DIGEST_SHA1, "Jefe", 4, "what do ya want for nothing?", 28, out, &out_len,
                                         err, sizeof err),
                         0);
        assert_bytes(out, out_len, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_int_equal(tls_digest_hmac(TLS_DIGEST_SHA256, "", 0, "", 0, out, &out_len, err, sizeof err), 0);
        assert_bytes(out, out_len, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    }
}

static size_t read_digits(const char *digits, unsigned char *bytes)
{
    size_t bad;
    ssize_t len = hex_decode(digits, strlen(digits), bytes, &bad);
    assert_true(len >= 0);
    return (size_t)len;
}

/* RFC 5869, appendix A: the test cases of SHA-256, of which the second is cut to what may be derived here. */
static void keys_of_the_standards(void **state)
{
    (void)state;
    static const char sixty_to_af[] =
        "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c"
        "8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
    static const char b0_to_ff[] =
        "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdc"
        "dddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
    static const char zero_to_4f[] =
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c"
        "2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f";
    static const struct {
        const char *secret, *salt, *info, *key;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {zero_to_4f, sixty_to_af, b0_to_ff,
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8"
         "367793a9aca3db71"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    for (size_t i = 0; has_digests() && i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char secret[80], salt[80], info[80], out[TLS_HKDF_MAX];
        char err[256];
        size_t secret_len = read_digits(cases[i].secret, secret), salt_len = read_digits(cases[i].salt, salt);
        size_t info_len = read_digits(cases[i].info, info), len = strlen(cases[i].key) / 2;
        assert_int_equal(tls_digest_hkdf(secret, secret_len, salt, salt_len, info, info_len, out, len, err, sizeof err),
                         0);
        assert_bytes(out, (unsigned)len, cases[i].key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_of_the_standards),
        cmocka_unit_test(codes_of_the_standards),
        cmocka_unit_test(keys_of_the_standards),
    };
    return cmocka_run_group_tests_name("tls_digest", tests, NULL, NULL);
}
