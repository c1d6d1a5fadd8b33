/* Authorization fields of the Basic scheme. */

#include "core/base64.h"
#include "http/rules/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_read(const char *value, const char *name, const char *password)
{
    struct credentials credentials;
    assert_true(credentials_read(&credentials, value, strlen(value)));
    assert_string_equal(credentials.name, name);
    assert_int_equal(credentials.name_len, strlen(name));
    assert_string_equal(credentials.password, password);
    assert_int_equal(credentials.password_len, strlen(password));
    credentials_wipe(&credentials);
    for (size_t i = 0; i < sizeof credentials.text; i++) {
        assert_int_equal(credentials.text[i], 0);
    }
}

static void names_and_passwords_are_found(void **state)
{
    (void)state;
    assert_read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"); /* RFC 7617 section 2 */
    assert_read("Basic dGVzdDoxMjPCow==", "test", "123\xc2\xa3");                /* RFC 7617 section 2.1 */
    assert_read("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Aladdin", "open sesame");
    assert_read("BASIC   YTo=", "a", "");
    assert_read("Basic YTpiOmM=", "a", "b:c");
}

static void everything_else_is_no_basic_field(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "Basic",
        "Basic ",
        "Basic  ",
        "Basi QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "Basic\tYTo=",
        "Basic YTo= x",
        "Basic YTo=, Basic YTo=",
        "Basic Y*o=",
        "Basic YWI=",     /* no colon */
        "Basic OmI=",     /* no name */
        "Basic YToKYg==", /* a newline */
        "Basic YToAYg==", /* NUL */
        "Basic YTp/",     /* DEL */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct credentials credentials;
        assert_false(credentials_read(&credentials, wrong[i], strlen(wrong[i])));
    }
}

static void there_is_a_longest_one(void **state)
{
    (void)state;
    char plain[CREDENTIALS_MAX + 3], value[2 * CREDENTIALS_MAX] = "Basic ";
    struct credentials credentials;
    memset(plain, 'p', sizeof plain);
    plain[1] = ':';
    size_t len = base64_encode(plain, CREDENTIALS_MAX, BASE64_BARE, value + 6);
    assert_true(credentials_read(&credentials, value, 6 + len));
    assert_int_equal(credentials.password_len, CREDENTIALS_MAX - 2);
    len = base64_encode(plain, CREDENTIALS_MAX + 1, BASE64_BARE, value + 6);
    assert_false(credentials_read(&credentials, value, 6 + len));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_passwords_are_found),
        cmocka_unit_test(everything_else_is_no_basic_field),
        cmocka_unit_test(there_is_a_longest_one),
    };
    return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
