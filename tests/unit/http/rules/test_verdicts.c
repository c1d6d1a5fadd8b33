/* What is kept of names and passwords that were right or wrong, and for how long. */

#include "http/rules/credentials.h"
#include "http/rules/verdicts.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct credentials made(const char *name, const char *password)
{
    struct credentials credentials;
    memset(&credentials, 0, sizeof credentials);
    credentials.name_len = strlen(name);
    credentials.password_len = strlen(password);
    memcpy(credentials.text, name, credentials.name_len + 1);
    memcpy(credentials.text + credentials.name_len + 1, password, credentials.password_len + 1);
    return credentials;
}

static struct verdicts *create(void)
{
    struct verdicts *verdicts = NULL;
    assert_int_equal(verdicts_create(&verdicts), 0);
    return verdicts;
}

static void verdicts_are_of_name_and_password(void **state)
{
    (void)state;
    struct verdicts *verdicts = create();
    const struct credentials right = made("adam", "secret"), wrong = made("adam", "guess");
    const struct credentials others[] = {made("adams", "ecret"), made("ada", "msecret"), made("adam", "secrets"),
                                         made("Adam", "secret"), made("adam", "")};
    assert_int_equal(verdicts_find(verdicts, &right, 1000), VERDICT_UNKNOWN);
    verdicts_keep(verdicts, &right, VERDICT_RIGHT, 1000);
    verdicts_keep(verdicts, &wrong, VERDICT_WRONG, 1000);
    assert_int_equal(verdicts_find(verdicts, &right, 1000), VERDICT_RIGHT);
    assert_int_equal(verdicts_find(verdicts, &wrong, 1000), VERDICT_WRONG);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(verdicts_find(verdicts, &others[i], 1000), VERDICT_UNKNOWN);
    }
    assert_int_equal(verdicts_number(verdicts, "adam", 4), verdicts_number(verdicts, "adam", 4));
    verdicts_clear(verdicts);
    assert_int_equal(verdicts_find(verdicts, &right, 1000), VERDICT_UNKNOWN);
    assert_int_equal(verdicts_find(verdicts, &wrong, 1000), VERDICT_UNKNOWN);
    verdicts_destroy(verdicts);
}

static void verdicts_end(void **state)
{
    (void)state;
    struct verdicts *verdicts = create();
    const struct credentials right = made("adam", "secret");
    const int64_t ttl_ms = (int64_t)VERDICTS_TTL_S * 1000;
    verdicts_keep(verdicts, &right, VERDICT_RIGHT, 5);
    assert_int_equal(verdicts_find(verdicts, &right, 5 + ttl_ms - 1), VERDICT_RIGHT);
    assert_int_equal(verdicts_find(verdicts, &right, 5 + ttl_ms), VERDICT_UNKNOWN);
    verdicts_keep(verdicts, &right, VERDICT_RIGHT, 5 + ttl_ms);
    assert_int_equal(verdicts_find(verdicts, &right, 5 + ttl_ms), VERDICT_RIGHT);
    verdicts_destroy(verdicts);
}

/* Somebody who tries passwords fills the table of wrong ones, and no other. */
static void guesses_displace_nobody(void **state)
{
    (void)state;
    struct verdicts *verdicts = create();
    const struct credentials right = made("adam", "secret");
    verdicts_keep(verdicts, &right, VERDICT_RIGHT, 1);
    for (int i = 0; i < 5 * VERDICTS_MAX; i++) {
        char guess[16];
        snprintf(guess, sizeof guess, "guess %d", i);
        const struct credentials wrong = made("adam", guess);
        verdicts_keep(verdicts, &wrong, VERDICT_WRONG, 2 + i);
        assert_int_equal(verdicts_find(verdicts, &wrong, 2 + i), VERDICT_WRONG);
    }
    int kept = 0;
    for (int i = 0; i < 5 * VERDICTS_MAX; i++) {
        char guess[16];
        snprintf(guess, sizeof guess, "guess %d", i);
        const struct credentials wrong = made("adam", guess);
        kept += verdicts_find(verdicts, &wrong, 5 * VERDICTS_MAX) == VERDICT_WRONG ? 1 : 0;
    }
    assert_true(kept > VERDICTS_MAX / 2 && kept <= VERDICTS_MAX);
    assert_int_equal(verdicts_find(verdicts, &right, 5 * VERDICTS_MAX), VERDICT_RIGHT);
    verdicts_destroy(verdicts);
}

static void without_memory_there_are_none(void **state)
{
    (void)state;
    struct verdicts *verdicts = NULL;
    fake_mem_fail_after(1, false);
    assert_int_equal(verdicts_create(&verdicts), -ENOMEM);
    fake_mem_fail_after(0, false);
    verdicts_destroy(verdicts);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_of_name_and_password),
        cmocka_unit_test(verdicts_end),
        cmocka_unit_test(guesses_displace_nobody),
        cmocka_unit_test(without_memory_there_are_none),
    };
    return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}
