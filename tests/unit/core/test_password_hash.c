/* Password hashes that other programs have made, whole and damaged. */

#include "core/crypt_calls.h"
#include "core/md5_crypt.h"
#include "core/password_hash.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Made with "openssl passwd", "htpasswd" and crypt(3). */
static const struct {
    const char *stored, *password;
    bool needs_crypt;
} made[] = {
    {"$apr1$abc12345$4oJ1vOkto1H2loMGrkszy1", "p\xc3\xa4ssword", false},
    {"$apr1$abc12345$mlVwr7EkR7OwkOh/m4JoL1", "", false},
    {"$apr1$$jYtXyIcDHukcQfHjblNhq/", "x", false},
    {"$apr1$q$P2MWWt/Y6bN4ajc06LevC.",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    {"$1$xy$kfdUvE52HGzEv//frQq/81", "p\xc3\xa4ssword", false},
    {"$1$abcdefgh$PMYmUtA3DUw85XNTjARVj0",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    {"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret", false},
    {"{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", "secret", false},
    {"$2y$05$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBae", "secret", true},
    {"$2a$04$abcdefghijklmnopqrstu.JGbrrzvHPvyMgKMUparNavwTudf7UPC", "secret", true},
    {"$2b$04$vzUL6s9xR2FeCaitvn3uvu/WZoMe69Op6S6CsUjV1amOBL7Xa3rje", "secret", true},
    {"$5$saltsalt$rQBvFGQx3u6doxkk7cvWbhhnhS2qa1.FI.tt6NGFH66", "p\xc3\xa4ssword", true},
    {"$6$saltsalt$rVIyJtXnL0mXUCLepstXWqeOv9JVyd7nOH8wn0BvOU5lCiAviUJLxXZ5CkPgq6XNTHV22yG4mV0IO9gqPL5WQ.",
     "p\xc3\xa4ssword", true},
    {"$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0",
     "secret", true},
    {"$y$j75$abcdefghijklmnopqrstu.$cQjAYfMwB51ACkjNBqV7OEAUemp/TRZgJmoQ3b5QsN8", "secret", true},
    {"$gy$j75$abcdefghijklmnopqrstu.$fhLlcZulfcseZRiekDUHW6doYXbK0Kzy9KlomBMfGe.", "secret", true},
};

enum { MADE = sizeof made / sizeof made[0] };

static bool is_verifiable(size_t i)
{
    char err[256];
    int rv = password_hash_check(made[i].stored, err, sizeof err);
    assert_true(rv == 0 || (rv == -ELIBACC && made[i].needs_crypt && strstr(err, "libcrypt") != NULL));
    return rv == 0;
}

static void hashes_of_other_programs_are_verified(void **state)
{
    (void)state;
    for (size_t i = 0; i < MADE; i++) {
        const char *password = made[i].password;
        char other[PASSWORD_MAX];
        if (!is_verifiable(i)) {
            continue;
        }
        assert_int_equal(password_hash_verify(made[i].stored, password, strlen(password)), 1);
        int len = snprintf(other, sizeof other, "%sx", password);
        assert_int_equal(password_hash_verify(made[i].stored, other, (size_t)len), 0);
        if (password[0] != '\0') {
            snprintf(other, sizeof other, "X%s", password + 1);
            assert_int_equal(password_hash_verify(made[i].stored, other, strlen(other)), 0);
            assert_int_equal(password_hash_verify(made[i].stored, password, strlen(password) - 1), 0);
        }
        /* A NUL does not end the password early. */
        len = snprintf(other, sizeof other, "%s%cx", password, '\0');
        assert_int_equal(password_hash_verify(made[i].stored, other, (size_t)len), 0);
    }
}

/* Each character but the last of bcrypt, of which not all bits count. */
static void a_hash_with_another_character_has_another_password(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++) { /* those without crypt(3) */
        char changed[PASSWORD_HASH_MAX];
        const char *password = made[i].password;
        size_t start = (size_t)(strpbrk(made[i].stored + 1, "$}") + 1 - made[i].stored);
        for (size_t at = start; made[i].stored[at] != '\0' && made[i].stored[at + 1] != '\0'; at++) {
            strcpy(changed, made[i].stored);
            changed[at] = changed[at] == 'm' ? 'n' : 'm';
            if (made[i].stored[at + 1] != '=' && password_hash_check(changed, NULL, 0) == 0) {
                assert_int_equal(password_hash_verify(changed, password, strlen(password)), 0);
            }
        }
    }
}

static void damaged_and_unsafe_hashes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *stored, *text;
    } refused[] = {
        {"", "clear text"},
        {"secret", "clear text"},
        {"{PLAIN}secret", "clear text"},
        {"rqXexS6ZhobKA", "clear text"}, /* DES */
        {"$3$x", "clear text"},
        {"$apr1$abc", "MD5"},
        {"$apr1$abcdefghi$4oJ1vOkto1H2loMGrkszy1", "MD5"},
        {"$apr1$abc12345$4oJ1vOkto1H2loMGrkszy", "MD5"},
        {"$apr1$abc12345$4oJ1vOkto1H2loMGrkszy11", "MD5"},
        {"$apr1$abc12345$4oJ1vOkto1H2loMGrkszy:", "MD5"},
        {"{SHA}5en6G6MezRroT3XKqkdPOmY/Bf", "SHA-1"},
        {"{SHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", "SHA-1"},
        {"{SSHA}5en6", "SHA-1"},
        {"{SSHA}!", "SHA-1"},
        {"$2y$05$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBa", "60 characters"},
        {"$2y$05$", "60 characters"},
        {"$2y$", "60 characters"},
        {"$2y$17$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBae", "cost of 17"},
        {"$2y$03$QUb6FjV51RsF1kuQq2gNe.haYLE3FwCjNm5iUwPULp/uInMchrBae", "cost of 3"},
        {"$5$saltsalt$rQBvFGQx3u6doxkk7cvWbhhnhS2qa1.FI.tt6NGFH6", "43 characters"},
        {"$5$saltsalt", "43 characters"},
        {"$6$rounds=5000001$abc$x", "5000000"},
        {"$6$rounds=99999999999999999999999$abc$x", "5000000"},
        {"$6$rounds=x$abc$x", "rounds"},
        {"$y$j75$abc", "yescrypt"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char err[256];
        assert_int_equal(password_hash_check(refused[i].stored, err, sizeof err), -EINVAL);
        assert_non_null(strstr(err, refused[i].text));
    }
    char longest[PASSWORD_HASH_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[PASSWORD_HASH_MAX] = '\0';
    assert_int_equal(password_hash_check(longest, NULL, 0), -EINVAL);
}

static void a_password_has_a_longest_length(void **state)
{
    (void)state;
    static char password[PASSWORD_MAX + 1];
    char stored[64] = "$apr1$abc12345$";
    memset(password, 'p', sizeof password);
    md5_crypt("$apr1$abc12345$......................", password, PASSWORD_MAX, stored + strlen(stored));
    assert_int_equal(password_hash_verify(stored, password, PASSWORD_MAX), 1);
    char longer[64] = "$apr1$abc12345$";
    md5_crypt("$apr1$abc12345$......................", password, PASSWORD_MAX + 1, longer + strlen(longer));
    assert_int_equal(password_hash_verify(longer, password, PASSWORD_MAX + 1), 0);
}

static void no_memory_is_no_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < MADE; i++) {
        if (made[i].needs_crypt && is_verifiable(i)) {
            fake_mem_fail_after(1, true);
            assert_int_equal(password_hash_verify(made[i].stored, "secret", 6), -ENOMEM);
            fake_mem_fail_after(0, false);
        }
    }
}

static void comparison_sees_each_byte(void **state)
{
    (void)state;
    char a[32] = "0123456789abcdef0123456789abcde", b[32];
    for (size_t i = 0; i < sizeof a; i++) {
        memcpy(b, a, sizeof b);
        assert_true(password_is_same(a, b, sizeof b));
        b[i] = (char)(b[i] ^ 1);
        assert_false(password_is_same(a, b, sizeof b));
    }
    assert_true(password_is_same("", "", 0));
}

static void new_hashes_are_verified(void **state)
{
    (void)state;
    char longest[PASSWORD_NEW_MAX + 1] = "", text[PASSWORD_HASH_MAX], other[PASSWORD_HASH_MAX], err[256] = "";
    int len = password_hash_make("secret", 6, 1, text, err, sizeof err);
    if (len < 0) {
        assert_true((len == -ELIBACC || len == -EIO) && strstr(err, "libcrypt") != NULL);
        return;
    }
    assert_int_equal(len, strlen(text));
    assert_memory_equal(text, "$y$j75$", 7);
    assert_int_equal(password_hash_check(text, err, sizeof err), 0);
    assert_int_equal(password_hash_verify(text, "secret", 6), 1);
    assert_int_equal(password_hash_verify(text, "Secret", 6), 0);
    assert_int_equal(password_hash_make("secret", 6, 2, other, err, sizeof err), len);
    assert_memory_equal(other, "$y$j85$", 7);
    assert_string_not_equal(text + 30, other + 30); /* another cost makes another hash */
    memset(longest, 'x', PASSWORD_NEW_MAX);
    assert_int_equal(password_hash_make(longest, PASSWORD_NEW_MAX, 1, text, err, sizeof err), len);
    assert_int_equal(password_hash_verify(text, longest, PASSWORD_NEW_MAX), 1);
    assert_int_equal(password_hash_verify(text, longest, PASSWORD_NEW_MAX - 1), 0);
    fake_mem_fail_after(1, false);
    assert_int_equal(password_hash_make("secret", 6, 1, text, err, sizeof err), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_of_other_programs_are_verified),
        cmocka_unit_test(a_hash_with_another_character_has_another_password),
        cmocka_unit_test(damaged_and_unsafe_hashes_are_refused),
        cmocka_unit_test(a_password_has_a_longest_length),
        cmocka_unit_test(no_memory_is_no_verdict),
        cmocka_unit_test(comparison_sees_each_byte),
        cmocka_unit_test(new_hashes_are_verified),
    };
    return cmocka_run_group_tests_name("password_hash", tests, NULL, NULL);
}
