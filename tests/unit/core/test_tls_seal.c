/* Sealed texts: against another implementation, with every bit flipped, cut everywhere, under other terms and too old. */

#include "core/tls_digest.h"
#include "core/tls_seal.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const struct seal_terms session = {
    .secrets = {{"0123456789abcdef0123456789abcdef", 32}},
    .count = 1,
    .purpose = "session",
    .purpose_len = 7,
};
static const int64_t sealed_ms = INT64_C(1700000000000);

static int end(void **state)
{
    (void)state;
    fake_sys_reset();
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static void seal(const struct seal_terms *terms, const char *text, char *out)
{
    char err[256];
    assert_int_equal(tls_seal_text(terms, text, strlen(text), sealed_ms, out, err, sizeof err), 0);
    out[tls_seal_room(strlen(text))] = '\0';
}

/* What tls_seal_open() returns, in buffers of exactly the sizes that it asks for. */
static ssize_t open_at(const struct seal_terms *terms, const char *sealed, size_t len, int64_t now_ms, char *text)
{
    char err[256];
    char *copy = malloc(len + (len == 0)), *out = malloc(len + (len == 0));
    memcpy(copy, sealed, len);
    memset(out, 0x7e, len);
    ssize_t got = tls_seal_open(terms, copy, len, now_ms, out, err, sizeof err);
    for (size_t i = 0; i < len && got < 0; i++) {
        assert_int_equal(out[i], 0x7e); /* nothing of what was not authentic */
    }
    if (got >= 0 && text != NULL) {
        memcpy(text, out, (size_t)got);
        text[got] = '\0';
    }
    free(copy);
    free(out);
    return got;
}

static ssize_t open_now(const struct seal_terms *terms, const char *sealed, size_t len)
{
    return open_at(terms, sealed, len, sealed_ms, NULL);
}

/* The fake kernel's random bytes are 0, 1, 2 and so on; the texts are made by another program, from the description in
 * the header alone. */
static void texts_of_another_program(void **state)
{
    (void)state;
    char out[256], text[64], err[256];
    struct seal_terms bare = session;
    bare.purpose = "";
    bare.purpose_len = 0;
    seal(&session, "hello, world", out);
    assert_string_equal(out, "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWF3g8Gun3YxwIbh_wUY3q5rZPnBO3jkmXoAsO6pWfh1eDtBxJLw");
    assert_int_equal(open_at(&session, out, strlen(out), sealed_ms, text), 12);
    assert_string_equal(text, "hello, world");
    assert_int_equal(tls_seal_text(&bare, "", 0, 0, out, err, sizeof err), 0);
    assert_memory_equal(out, "AQABAgMEBQYHCAkKCwwNDg8QERITFBUWF0FTtoJWqWD5eTxjr1aN2POstZwa0bubpg", tls_seal_room(0));
    assert_int_equal(open_now(&bare, out, tls_seal_room(0)), 0);
}

static void every_length_comes_back(void **state)
{
    (void)state;
    char err[256];
    for (size_t len = 0; len < 100; len++) {
        char text[100], back[200];
        memset(text, (int)len, sizeof text);
        char *out = malloc(tls_seal_room(len));
        assert_int_equal(tls_seal_text(&session, text, len, sealed_ms, out, err, sizeof err), 0);
        for (size_t i = 0; i < tls_seal_room(len); i++) {
            assert_non_null(strchr(letters, out[i]));
        }
        assert_int_equal(open_at(&session, out, tls_seal_room(len), sealed_ms, back), len);
        assert_memory_equal(text, back, len);
        free(out);
    }
}

static void the_longest_text_and_one_character_more(void **state)
{
    (void)state;
    static char text[SEAL_TEXT_MAX], out[SEAL_SEALED_MAX + 2], back[SEAL_SEALED_MAX + 2];
    char err[256];
    memset(text, 'x', sizeof text);
    assert_int_equal(tls_seal_room(SEAL_TEXT_MAX), SEAL_SEALED_MAX);
    assert_int_equal(tls_seal_text(&session, text, sizeof text, sealed_ms, out, err, sizeof err), 0);
    assert_int_equal(open_at(&session, out, SEAL_SEALED_MAX, sealed_ms, back), SEAL_TEXT_MAX);
    assert_memory_equal(text, back, sizeof text);
    out[SEAL_SEALED_MAX] = 'A';
    assert_int_equal(open_now(&session, out, SEAL_SEALED_MAX + 1), -EINVAL);
}

/* Of the characters, and so of the bytes below them. */
static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "a", "user=7", "user=7;admin=0"};
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++) {
        char out[128];
        seal(&session, texts[n], out);
        size_t len = strlen(out);
        for (size_t i = 0; i < len; i++) {
            char original = out[i];
            for (int bit = 0; bit < 8; bit++) {
                out[i] = (char)(original ^ 1 << bit);
                ssize_t got = open_now(&session, out, len);
                assert_true(got == -EBADMSG || got == -EINVAL);
            }
            for (const char *other = letters; *other != '\0' && n == 1; other++) {
                out[i] = *other;
                ssize_t got = open_now(&session, out, len);
                assert_true(*other == original ? got == (ssize_t)strlen(texts[n]) : got == -EBADMSG || got == -EINVAL);
            }
            out[i] = original;
        }
    }
}

static void what_is_cut_or_longer_does_not_open(void **state)
{
    (void)state;
    char out[256], longer[256];
    seal(&session, "user=7", out);
    size_t len = strlen(out);
    for (size_t cut = 0; cut < len; cut++) {
        assert_true(open_now(&session, out, cut) < 0);
        assert_true(open_now(&session, out + len - cut, cut) < 0);
    }
    static const char *const tails[] = {"A", "AA", "AAAA", "=", "==", " ", "\n"};
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        memcpy(longer, out, len);
        memcpy(longer + len, tails[i], strlen(tails[i]));
        assert_true(open_now(&session, longer, len + strlen(tails[i])) < 0);
    }
    memset(longer, 'A', sizeof longer); /* version 0 */
    assert_int_equal(open_now(&session, longer, 100), -EINVAL);
}

static void other_terms_do_not_open(void **state)
{
    (void)state;
    static const char *const purposes[] = {"", "sessio", "session1", "Session", "csrf"};
    char out[256];
    seal(&session, "user=7", out);
    struct seal_terms other = session;
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
        other.purpose = purposes[i];
        other.purpose_len = strlen(purposes[i]);
        assert_int_equal(open_now(&other, out, strlen(out)), -EBADMSG);
    }
    other = session;
    other.secrets[0].text = "0123456789abcdef0123456789abcdeg";
    assert_int_equal(open_now(&other, out, strlen(out)), -EBADMSG);
    other.secrets[0] = (struct seal_secret){"0123456789abcdef0123456789abcdef0", 33};
    assert_int_equal(open_now(&other, out, strlen(out)), -EBADMSG);
}

static void each_secret_opens_and_the_first_one_seals(void **state)
{
    (void)state;
    static const char fresh[] = "ffffffffffffffffffffffffffffffff";
    char old_text[256], new_text[256], back[256];
    seal(&session, "old", old_text);
    struct seal_terms rotated = session;
    for (size_t i = 0; i < SEAL_SECRETS_MAX; i++) {
        rotated.secrets[i] = (struct seal_secret){fresh, 32};
    }
    rotated.secrets[SEAL_SECRETS_MAX - 1] = session.secrets[0];
    rotated.count = SEAL_SECRETS_MAX;
    assert_int_equal(open_at(&rotated, old_text, strlen(old_text), sealed_ms, back), 3);
    assert_string_equal(back, "old");
    seal(&rotated, "new", new_text);
    assert_int_equal(open_now(&rotated, new_text, strlen(new_text)), 3);
    assert_int_equal(open_now(&session, new_text, strlen(new_text)), -EBADMSG);
    rotated.count--;
    assert_int_equal(open_now(&rotated, old_text, strlen(old_text)), -EBADMSG);
}

static void a_text_is_too_old_a_millisecond_past_its_age(void **state)
{
    (void)state;
    char out[256];
    seal(&session, "user=7", out);
    size_t len = strlen(out);
    struct seal_terms aged = session;
    aged.max_age_ms = 60000;
    assert_int_equal(open_at(&aged, out, len, sealed_ms, NULL), 6);
    assert_int_equal(open_at(&aged, out, len, sealed_ms + 60000, NULL), 6);
    assert_int_equal(open_at(&aged, out, len, sealed_ms + 60001, NULL), -ETIME);
    assert_int_equal(open_at(&aged, out, len, INT64_MAX, NULL), -ETIME);
    assert_int_equal(open_at(&aged, out, len, sealed_ms - 3600000, NULL), 6); /* the clock was set back */
    assert_int_equal(open_at(&session, out, len, INT64_MAX, NULL), 6);
    aged.max_age_ms = UINT64_MAX;
    assert_int_equal(open_at(&aged, out, len, INT64_MAX, NULL), 6);
    out[len / 2] = out[len / 2] == 'A' ? 'B' : 'A';
    aged.max_age_ms = 1;
    assert_int_equal(open_at(&aged, out, len, INT64_MAX, NULL), -EBADMSG); /* its age is not believed first */
}

static void without_memory_or_random_bytes_nothing_is_sealed(void **state)
{
    (void)state;
    char out[256], err[256];
    fake_mem_fail_after(1, false);
    assert_int_equal(tls_seal_text(&session, "x", 1, sealed_ms, out, err, sizeof err), -ENOMEM);
    fake_mem_fail_after(0, false);
    fake_sys_fail_op(FAKE_RANDOM, 0, 1, -ENOSYS);
    assert_int_equal(tls_seal_text(&session, "x", 1, sealed_ms, out, err, sizeof err), -EIO);
    assert_non_null(strstr(err, "random"));
    seal(&session, "x", out);
    fake_mem_fail_after(1, false);
    assert_int_equal(open_now(&session, out, strlen(out)), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(open_now(&session, out, strlen(out)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(texts_of_another_program, end),
        cmocka_unit_test_teardown(every_length_comes_back, end),
        cmocka_unit_test_teardown(the_longest_text_and_one_character_more, end),
        cmocka_unit_test_teardown(every_flipped_bit_is_noticed, end),
        cmocka_unit_test_teardown(what_is_cut_or_longer_does_not_open, end),
        cmocka_unit_test_teardown(other_terms_do_not_open, end),
        cmocka_unit_test_teardown(each_secret_opens_and_the_first_one_seals, end),
        cmocka_unit_test_teardown(a_text_is_too_old_a_millisecond_past_its_age, end),
        cmocka_unit_test_teardown(without_memory_or_random_bytes_nothing_is_sealed, end),
    };
    char err[256];
    if (tls_digest_load(err, sizeof err) < 0) { /* test_tls_digest.c looks at what it says */
        return 0;
    }
    return cmocka_run_group_tests_name("tls_seal", tests, NULL, NULL);
}
