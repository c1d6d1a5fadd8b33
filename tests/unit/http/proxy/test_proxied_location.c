/* Where upstreams send clients to, as clients get it. */

#include "http/proxy/proxied_location.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct example {
    const char *base, *prefix, *from, *to; /* to NULL: it stays */
    bool is_client_secured, is_secured;
};

static void check_examples(const char *name, const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct example *example = &examples[i];
        const struct proxied_places places = {
            .authority = "up.test:8080",
            .authority_len = 12,
            .base = example->base,
            .base_len = strlen(example->base),
            .prefix = example->prefix,
            .prefix_len = strlen(example->prefix),
            .host = "example.org",
            .host_len = 11,
            .is_secured = example->is_secured,
            .is_client_secured = example->is_client_secured,
        };
        size_t len = strlen(example->from), room = len + 3 * places.prefix_len + PROXIED_LOCATION_EXTRA;
        char *text = malloc(room + 1), *from = malloc(len + 1);
        assert_non_null(text);
        assert_non_null(from);
        memcpy(from, example->from, len);
        char *end = proxied_location_put(text, &places, name, from, len);
        assert_true((size_t)(end - text) <= room);
        *end = '\0';
        assert_string_equal(text, example->to == NULL ? example->from : example->to);
        free(text);
        free(from);
    }
}

#define CHECK(name, examples) check_examples(name, examples, sizeof(examples) / sizeof(examples)[0])

static void what_leads_to_the_upstream_leads_to_the_clients_side(void **state)
{
    (void)state;
    static const struct example examples[] = {
        /* Its own URL, which only we know. */
        {"", "", "http://up.test:8080/x?y=/#z", "/x?y=/#z", false, false},
        {"", "", "HTTP://UP.test:8080/x", "/x", false, false},
        {"", "", "http://up.test:8080", "/", false, false},
        {"", "", "http://up.test:8080?a", "/?a", false, false},
        {"", "/api", "http://up.test:8080/x", "/api/x", false, false},
        {"", "/api", "http://up.test:8080/api/x", "/api/api/x", false, false},
        {"", "/api", "http://up.test:8080", "/api", false, false},
        {"", "/a b", "http://up.test:8080/", "/a%20b/", false, false},
        {"/app", "", "http://up.test:8080/app/x", "/x", false, false},
        {"/app", "", "http://up.test:8080/app", "/", false, false},
        {"/app", "/api", "http://up.test:8080/app?a", "/api?a", false, false},
        {"/app", "/api", "http://up.test:8080/apple", NULL, false, false},
        {"", "/api", "https://up.test:8080/x", NULL, false, false},
        {"", "/api", "https://up.test:8080/x", "/api/x", false, true},
        {"", "/api", "http://up.test:8081/x", NULL, false, false},
        {"", "/api", "http://a@up.test:8080/x", NULL, false, false},
        {"", "/api", "http://up.test:8080.org/x", NULL, false, false},
        {"", "/api", "http://up.test:8080\\x", NULL, false, false},
        /* Nothing becomes another host's name. */
        {"", "", "http://up.test:8080//evil.test/", "/.//evil.test/", false, false},
        {"", "", "http://up.test:8080/\\evil.test/", "/./\\evil.test/", false, false},
        {"", "", "http://up.test:8080/\t/evil.test/", "/./\t/evil.test/", false, false},
        {"/app", "", "/app//evil.test/", "/.//evil.test/", false, false},
        /* Paths. */
        {"", "", "/x", NULL, false, false},
        {"", "/api", "/x", "/api/x", false, false},
        {"", "/api", "/", "/api/", false, false},
        {"", "/api", "/\xc3\xa9", "/api/\xc3\xa9", false, false},
        {"", "/api", "/apix", "/api/apix", false, false},
        {"", "/api", "/api/x", NULL, false, false}, /* it knows */
        {"", "/api", "/api", NULL, false, false},
        {"/app", "/api", "/app/x", "/api/x", false, false},
        {"/app", "/api", "/x", NULL, false, false},
        {"", "/api", "//up.test:8080/x", NULL, false, false},
        {"", "/api", "x", NULL, false, false},
        {"", "/api", "../x", NULL, false, false},
        {"", "/api", "?x", NULL, false, false},
        {"", "/api", "", NULL, false, false},
        {"", "/api", "mailto:a@example.org", NULL, false, false},
        {"", "/api", "http:", NULL, false, false},
        {"", "/api", "http://", NULL, false, false},
        /* The host that it was asked for. */
        {"", "", "http://example.org/x", NULL, false, false},
        {"", "", "http://example.org/x", "/x", true, false},   /* it knows nothing of our TLS */
        {"", "", "https://example.org/x", NULL, false, false}, /* to HTTPS: meant */
        {"", "", "https://example.org/x", NULL, true, false},
        {"", "/api", "http://example.org:80/x", "/api/x", false, false},
        {"", "/api", "https://example.org:443/x", "/api/x", true, false},
        {"", "/api", "https://example.org/x", NULL, false, false},
        {"", "/api", "http://example.org/api/x", NULL, false, false},
        {"", "/api", "http://example.org/api/x", "/api/x", true, false},
        {"", "/api", "http://example.org/x", NULL, true, true},
        {"", "/api", "http://other.org/x", NULL, false, false},
        {"", "/api", "http://example.org.other.org/x", NULL, false, false},
    };
    CHECK("Location", examples);
}

static void refresh_is_read_as_browsers_read_it(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", "/api", "5; url=/x", "5; url=/api/x", false, false},
        {"", "/api", "5;URL = \"/x\" y", "5;URL = \"/api/x\" y", false, false},
        {"", "/api", "0, url='http://up.test:8080'", "0, url='/api'", false, false},
        {"", "/api", "5; url=\"/x", "5; url=\"/api/x", false, false},
        {"", "/api", "5", NULL, false, false},
        {"", "/api", "5;", NULL, false, false},
        {"", "/api", "5; url", NULL, false, false},
        {"", "/api", "5; url=", NULL, false, false},
        {"", "/api", "5; url=\"", NULL, false, false},
        {"", "/api", "", NULL, false, false},
    };
    CHECK("Refresh", examples);
}

static void paths_of_cookies_lead_there_too(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", "/api", "a=/x; Path=/admin; Secure", "a=/x; Path=/api/admin; Secure", false, false},
        {"", "/api", "a=b;path = /admin", "a=b;path = /api/admin", false, false},
        {"", "/api", "a=b; Path=/one; Path=/two ; b", "a=b; Path=/one; Path=/api/two ; b", false, false},
        {"", "/api", "a=b; Path=/", NULL, false, false}, /* for all of the site */
        {"", "/api", "a=b; Path=/api", NULL, false, false},
        {"/app", "/api", "a=b; Path=/app", "a=b; Path=/api", false, false},
        {"/app", "", "a=b; Path=/app", "a=b; Path=/", false, false},
        {"/app", "/api", "a=b; Path=/", NULL, false, false},
        {"", "/api", "a=b; Path=x", NULL, false, false},
        {"", "/api", "a=b; Path=http://up.test:8080/x", NULL, false, false},
        {"", "/api", "a=b; Path=", NULL, false, false},
        {"", "/api", "a=b; Path", NULL, false, false},
        {"", "/api", "a=b; Pathology=/x", NULL, false, false},
        {"", "/api", "Path=/x", NULL, false, false}, /* its name */
        {"", "/api", "a=b;", NULL, false, false},
        {"", "/api", "", NULL, false, false},
    };
    CHECK("Set-Cookie", examples);
}

static void other_fields_have_none(void **state)
{
    (void)state;
    assert_true(proxied_location_is_in("location", 8));
    assert_true(proxied_location_is_in("REFRESH", 7));
    assert_true(proxied_location_is_in("Set-Cookie", 10));
    assert_false(proxied_location_is_in("Last-Modified", 13));
    assert_false(proxied_location_is_in("Referrer-Policy", 15));
    assert_false(proxied_location_is_in("Server", 6));
    assert_false(proxied_location_is_in("Content-Location", 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_leads_to_the_upstream_leads_to_the_clients_side),
        cmocka_unit_test(refresh_is_read_as_browsers_read_it),
        cmocka_unit_test(paths_of_cookies_lead_there_too),
        cmocka_unit_test(other_fields_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
