/* The texts of an opening handshake. */

#include "http/ws/ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool has_token(const char *value, const char *token)
{
    return ws_tokens_have(value, strlen(value), token);
}

static void tokens_are_found_in_lists(void **state)
{
    (void)state;
    assert_true(has_token("Upgrade", "upgrade"));
    assert_true(has_token("keep-alive, UPGRADE", "upgrade"));
    assert_true(has_token(" ,\tupgrade\t,", "upgrade"));
    assert_false(has_token("", "upgrade"));
    assert_false(has_token("upgrades", "upgrade"));
    assert_false(has_token("up grade", "upgrade"));
    assert_false(has_token("upgrade;q=1", "upgrade"));
}

static bool is_key(const char *key)
{
    return ws_key_is_valid(key, strlen(key));
}

static void a_key_is_16_bytes_in_base64(void **state)
{
    (void)state;
    assert_true(is_key("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_true(is_key("/////////////////////w=="));
    assert_false(is_key(""));
    assert_false(is_key("dGhlIHNhbXBsZSBub25jZQ="));
    assert_false(is_key("dGhlIHNhbXBsZSBub25jZQ"));
    assert_false(is_key("dGhlIHNhbXBsZSBub25jZSE="));
    assert_false(is_key("dGhlIHNhbXBsZSBub25jZSEh"));
    assert_false(is_key("dGhlIHNhbXBsZSBub25j-Q=="));
    assert_false(is_key("dGhlIHNhbXBsZSBub25jZQ==="));
}

static void the_accept_value_is_that_of_the_rfc(void **state)
{
    (void)state;
    char value[WS_ACCEPT_LEN];
    ws_accept_value("dGhlIHNhbXBsZSBub25jZQ==", 24, value);
    assert_memory_equal(value, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN);
}

static void the_same_host_is_the_own_origin(void **state)
{
    (void)state;
    static const struct {
        const char *origin, *host;
        bool is_secured, is_own;
    } cases[] = {
        {"http://example.org", "example.org", false, true},
        {"http://EXAMPLE.org", "example.ORG", false, true},
        {"http://example.org", "example.org:80", false, true},
        {"http://example.org:80", "example.org", false, true},
        {"http://example.org:", "example.org", false, true},
        {"http://example.org:8080", "example.org:8080", false, true},
        {"http://example.org", "example.org:8080", false, false},
        {"http://example.org:8080", "example.org", false, false},
        {"http://example.org:8080", "example.org:80", false, false},
        {"https://example.org", "example.org", true, true},
        {"https://example.org:443", "example.org", true, true},
        {"https://example.org", "example.org:443", true, true},
        {"https://example.org", "example.org", false, true}, /* behind a proxy that speaks TLS */
        {"http://example.org", "example.org", true, false},
        {"http://evil.org", "example.org", false, false},
        {"http://example.org.evil.org", "example.org", false, false},
        {"http://a.example.org", "example.org", false, false},
        {"http://[::1]:8080", "[::1]:8080", false, true},
        {"http://[::1]", "[::1]:80", false, true},
        {"http://[::1]", "[::1]", false, true},
        {"http://[::2]", "[::1]", false, false},
        {"app://example.org", "example.org", false, true},
        {"null", "example.org", false, false},
        {"", "example.org", false, false},
        {"http://", "", false, false},
        {"http://", "example.org", false, false},
        {"example.org", "example.org", false, false},
        {"http:/example.org", "example.org", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool is_own = ws_origin_is_own(cases[i].origin, strlen(cases[i].origin), cases[i].host, strlen(cases[i].host),
                                       cases[i].is_secured);
        if (is_own != cases[i].is_own) {
            fail_msg("%s at %s", cases[i].origin, cases[i].host);
        }
    }
}

static bool is_listed(const char *origin, const char *list)
{
    return ws_origin_is_listed(origin, strlen(origin), list);
}

static void listed_origins_are_found(void **state)
{
    (void)state;
    assert_true(is_listed("https://example.org", "*"));
    assert_true(is_listed("null", "*"));
    assert_true(is_listed("null", "https://a.org, null"));
    assert_true(is_listed("https://example.org", "https://example.org"));
    assert_true(is_listed("https://Example.org:443", "https://a.org,https://example.org"));
    assert_true(is_listed("https://example.org", "https://example.org:443 , http://b.org"));
    assert_false(is_listed("http://example.org", "https://example.org"));
    assert_false(is_listed("https://example.org:8443", "https://example.org"));
    assert_false(is_listed("https://example.org", "https://a.org, https://b.org"));
    assert_false(is_listed("https://example.org", "example.org"));
    assert_false(is_listed("https://example.org", ""));
    assert_false(is_listed("", ""));
    assert_false(is_listed("null", "https://a.org"));
}

static bool offers(void *arg, const char *name, size_t len)
{
    return ws_protocols_have(arg, strlen(arg), name, len);
}

static void assert_chosen(const char *ours, const char *theirs, const char *expected)
{
    char copy[64];
    size_t len = 0;
    strcpy(copy, theirs);
    const char *chosen = ws_choose_protocol(ours, offers, copy, &len);
    if (expected == NULL) {
        assert_null(chosen);
        return;
    }
    assert_non_null(chosen);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(chosen, expected, len);
}

static void the_best_protocol_of_both_is_chosen(void **state)
{
    (void)state;
    assert_chosen("chat", "chat", "chat");
    assert_chosen("new, old", "old, new", "new");
    assert_chosen("new,old", "old", "old");
    assert_chosen(" new ,, old ", "old", "old");
    assert_chosen("new", "NEW", NULL); /* they have a case */
    assert_chosen("new", "newer", NULL);
    assert_chosen("new", "", NULL);
    assert_chosen("", "new", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_found_in_lists),
        cmocka_unit_test(a_key_is_16_bytes_in_base64),
        cmocka_unit_test(the_accept_value_is_that_of_the_rfc),
        cmocka_unit_test(the_same_host_is_the_own_origin),
        cmocka_unit_test(listed_origins_are_found),
        cmocka_unit_test(the_best_protocol_of_both_is_chosen),
    };
    return cmocka_run_group_tests_name("ws_handshake", tests, NULL, NULL);
}
