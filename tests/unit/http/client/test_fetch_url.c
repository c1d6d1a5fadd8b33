/* http/client/fetch_url.c: URLs as they are written, and references in them (RFC 3986). */

#include "http/client/fetch.h"
#include "http/client/fetch_url.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static const char *why_not;

static int parse(struct fetch_url *url, const char *text)
{
    size_t len = strlen(text);
    char *exact = malloc(len + 1); /* a read beyond it is found by the sanitizer */
    memcpy(exact, text, len);
    why_not = NULL;
    int rv = fetch_url_parse(url, exact, len, &why_not);
    free(exact);
    return rv;
}

static void urls_are_normalised(void **state)
{
    static const struct {
        const char *text, *normal, *host, *authority, *target;
        int port;
    } rows[] = {
        {"http://a", "http://a/", "a", "a", "/", 80},
        {"HTTP://A.Example:80/X", "http://a.example/X", "a.example", "a.example", "/X", 80},
        {"https://a:443", "https://a/", "a", "a", "/", 443},
        {"https://a:80/", "https://a:80/", "a", "a:80", "/", 80},
        {"http://a:/x", "http://a/x", "a", "a", "/x", 80},
        {"http://a:0008080/x", "http://a:8080/x", "a", "a:8080", "/x", 8080},
        {"http://a:65535", "http://a:65535/", "a", "a:65535", "/", 65535},
        {"http://127.0.0.1:1/x?y", "http://127.0.0.1:1/x?y", "127.0.0.1", "127.0.0.1:1", "/x?y", 1},
        {"http://[::1]:8080/", "http://[::1]:8080/", "::1", "[::1]:8080", "/", 8080},
        {"http://[2001:DB8::1]", "http://[2001:db8::1]/", "2001:db8::1", "[2001:db8::1]", "/", 80},
        {"http://a?x", "http://a/?x", "a", "a", "/?x", 80},
        {"http://a#x", "http://a/", "a", "a", "/", 80},
        {"http://a/b?c#d?e", "http://a/b?c", "a", "a", "/b?c", 80},
        {"http://a/b?c?d/../e", "http://a/b?c?d/../e", "a", "a", "/b?c?d/../e", 80},
        {"http://a/./b/../c/.", "http://a/c/", "a", "a", "/c/", 80},
        {"http://a/../../b", "http://a/b", "a", "a", "/b", 80},
        {"http://a/..", "http://a/", "a", "a", "/", 80},
        {"http://a//b//..", "http://a//b/", "a", "a", "//b/", 80},
        {"http://a/%2e%2E/b", "http://a/%2e%2E/b", "a", "a", "/%2e%2E/b", 80},
        {"http://a/x y\xc3\xa9?\xff|", "http://a/x%20y%C3%A9?%FF%7C", "a", "a", "/x%20y%C3%A9?%FF%7C", 80},
        {"http://a/\"<>\\^`{|}", "http://a/%22%3C%3E%5C%5E%60%7B%7C%7D", "a", "a", "/%22%3C%3E%5C%5E%60%7B%7C%7D", 80},
        {"http://a/@:user", "http://a/@:user", "a", "a", "/@:user", 80},
        {"http+unix:/run/x.sock:/v1?x", "http+unix:/run/x.sock:/v1?x", "localhost", "localhost", "/v1?x", 80},
        {"http+unix:@name", "http+unix:@name:/", "localhost", "localhost", "/", 80},
        {"http+unix:/a:b:/c", "http+unix:/a:b:/c", "localhost", "localhost", "/c", 80},
        {"http+unix:/a:?q", "http+unix:/a:?q:/", "localhost", "localhost", "/", 80},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_url url;
        if (parse(&url, rows[i].text) != 0) {
            fail_msg("%s: %s", rows[i].text, why_not);
        }
        assert_string_equal(url.text, rows[i].normal);
        assert_string_equal(url.host, rows[i].host);
        assert_string_equal(url.target, rows[i].target);
        assert_int_equal(url.authority_len, strlen(rows[i].authority));
        assert_memory_equal(url.authority, rows[i].authority, url.authority_len);
        assert_int_equal(url.port, rows[i].port);
        assert_int_equal(url.is_secured, rows[i].normal[4] == 's');
        fetch_url_done(&url);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void a_path_of_a_unix_socket_is_kept(void **state)
{
    struct fetch_url url;
    (void)state;
    assert_int_equal(parse(&url, "http+unix:/run/x.sock:/v1"), 0);
    assert_string_equal(url.unix_path, "/run/x.sock");
    fetch_url_done(&url);
    assert_int_equal(parse(&url, "http+unix:@name:/v1"), 0);
    assert_string_equal(url.unix_path, "@name");
    fetch_url_done(&url);
}

static void malformed_urls_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "does not begin with http://, https:// or http+unix:"},
        {"/x", "does not begin with http://, https:// or http+unix:"},
        {"example.org", "does not begin with http://, https:// or http+unix:"},
        {"ftp://a/", "does not begin with http://, https:// or http+unix:"},
        {"http:/a/", "does not begin with http://, https:// or http+unix:"},
        {"http://", "has no host"},
        {"http:///x", "has no host"},
        {"http://unix:/run/x.sock", "has a unix socket in place of a host: write http+unix:/run/x.sock"},
        {"http://:80/", "has no host"},
        {"http://a:0/", "has a port that is not one from 1 to 65535"},
        {"http://a:65536/", "has a port that is not one from 1 to 65535"},
        {"http://a:99999999999999999999/", "has a port that is not one from 1 to 65535"},
        {"http://a:8o/", "has a host with a character that no host has"},
        {"http://user@a/", "has a user name: send an Authorization field instead"},
        {"http://user:password@a/", "has a user name: send an Authorization field instead"},
        {"http://a b/", "has a host with a character that no host has"},
        {"http://a\\@b/", "has a user name: send an Authorization field instead"},
        {"http://a%2eb/", "has a host with a character that no host has"},
        {"http://\xc3\xa9/", "has no host"},
        {"http://a\xc3\xa9/", "has a host with a character that no host has"},
        {"http://[::1/", "has a malformed IPv6 address"},
        {"http://[]/", "has a malformed IPv6 address"},
        {"http://[127.0.0.1]/", "has a malformed IPv6 address"},
        {"http://[fe80::1%25eth0]/", "has a malformed IPv6 address"},
        {"http://[::1]x/", "has a host with a character that no host has"},
        {"http://a/\r\nX: y", "has a control character"},
        {"http://a/?x\ty", "has a control character"},
        {"http://a/\x7f", "has a control character"},
        {"http+unix:", "has no path of a unix socket: http+unix:/run/x.sock:/path"},
        {"http+unix::/x", "has no path of a unix socket: http+unix:/run/x.sock:/path"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_url url;
        if (parse(&url, rows[i].text) != -EINVAL || strcmp(why_not, rows[i].why) != 0) {
            fail_msg("%s: %s", rows[i].text, why_not != NULL ? why_not : "taken");
        }
        assert_null(url.text);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void a_nul_is_refused_wherever_it_is(void **state)
{
    static const char text[] = "http://a.b:80/c?d";
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char copy[sizeof text];
        struct fetch_url url;
        const char *why;
        memcpy(copy, text, sizeof text);
        copy[i] = '\0';
        assert_int_equal(fetch_url_parse(&url, copy, sizeof text - 1, &why), -EINVAL);
    }
}

static void long_urls_and_hosts_have_a_limit(void **state)
{
    static char text[FETCH_URL_MAX + 2];
    struct fetch_url url;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "http://a/", 9);
    text[FETCH_URL_MAX] = '\0';
    assert_int_equal(parse(&url, text), 0);
    fetch_url_done(&url);
    text[FETCH_URL_MAX] = 'x';
    assert_int_equal(parse(&url, text), -EINVAL);
    assert_string_equal(why_not, "has more than 16384 bytes");

    memset(text + 7, 'h', 254);
    text[7 + 253] = '\0';
    assert_int_equal(parse(&url, text), 0);
    fetch_url_done(&url);
    text[7 + 253] = 'h';
    text[7 + 254] = '\0';
    assert_int_equal(parse(&url, text), -EINVAL);
    assert_string_equal(why_not, "has a host with more than 253 bytes");
}

static void references_are_resolved_as_the_rfc_says(void **state)
{
    static const struct {
        const char *base, *reference, *wanted; /* NULL: refused */
    } rows[] = {
        /* RFC 3986 section 5.4, as far as they are http. */
        {"http://a/b/c/d;p?q", "g", "http://a/b/c/g"},
        {"http://a/b/c/d;p?q", "./g", "http://a/b/c/g"},
        {"http://a/b/c/d;p?q", "g/", "http://a/b/c/g/"},
        {"http://a/b/c/d;p?q", "/g", "http://a/g"},
        {"http://a/b/c/d;p?q", "//g", "http://g/"},
        {"http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y"},
        {"http://a/b/c/d;p?q", "g?y", "http://a/b/c/g?y"},
        {"http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q"},
        {"http://a/b/c/d;p?q", "g#s", "http://a/b/c/g"},
        {"http://a/b/c/d;p?q", ";x", "http://a/b/c/;x"},
        {"http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q"},
        {"http://a/b/c/d;p?q", ".", "http://a/b/c/"},
        {"http://a/b/c/d;p?q", "..", "http://a/b/"},
        {"http://a/b/c/d;p?q", "../g", "http://a/b/g"},
        {"http://a/b/c/d;p?q", "../../../g", "http://a/g"},
        {"http://a/b/c/d;p?q", "g;x=1/../y", "http://a/b/c/y"},
        {"http://a/b/c/d;p?q", "g?y/../x", "http://a/b/c/g?y/../x"},
        {"http://a/b/c/d;p?q", "g:h", NULL},
        {"http://a/b", "https://c:8443/d", "https://c:8443/d"},
        {"https://a/b", "//c/d", "https://c/d"},
        {"http://a:81/b", "c", "http://a:81/c"},
        {"http://a/b", "mailto:x@y", NULL},
        {"http://a/b", "file:///etc/passwd", NULL},
        {"http://a/b", "//c:99999/", NULL},
        {"http://a/b", "c d", "http://a/c%20d"},
        {"http+unix:/x:/b/c", "d", "http+unix:/x:/b/d"},
        {"http+unix:/x:/b/c", "/d", "http+unix:/x:/d"},
        {"http+unix:/x:/b/c", "//d/e", "http+unix://d/e:/"}, /* another socket, which is not followed */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_url base, url;
        const char *why;
        assert_int_equal(parse(&base, rows[i].base), 0);
        int rv = fetch_url_resolve(&url, &base, rows[i].reference, strlen(rows[i].reference), &why);
        if (rows[i].wanted == NULL) {
            assert_int_equal(rv, -EINVAL);
        } else {
            assert_int_equal(rv, 0);
            assert_string_equal(url.text, rows[i].wanted);
        }
        fetch_url_done(&url);
        fetch_url_done(&base);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void origins_are_scheme_host_and_port(void **state)
{
    static const struct {
        const char *one, *other;
        bool is_same;
    } rows[] = {
        {"http://a/x", "http://A:80/y", true},
        {"https://a/", "https://a:443/", true},
        {"http://a/", "https://a/", false},
        {"http://a:443/", "https://a:443/", false},
        {"http://a/", "http://a:81/", false},
        {"http://a/", "http://b/", false},
        {"http://a/", "http://a./", false},
        {"http+unix:/x:/a", "http+unix:/x:/b", true},
        {"http+unix:/x:/a", "http+unix:/y:/a", false},
        {"http+unix:/x:/a", "http://localhost/a", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fetch_url one, other;
        assert_int_equal(parse(&one, rows[i].one), 0);
        assert_int_equal(parse(&other, rows[i].other), 0);
        assert_int_equal(fetch_url_is_same_origin(&one, &other), rows[i].is_same);
        assert_int_equal(fetch_url_is_same_origin(&other, &one), rows[i].is_same);
        fetch_url_done(&one);
        fetch_url_done(&other);
    }
}

static void without_memory_nothing_is_left(void **state)
{
    struct fetch_url base, url;
    const char *why;

    (void)state;
    fake_mem_fail_after(1, false);
    assert_int_equal(parse(&url, "http://a/"), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(parse(&base, "http://a/"), 0);
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(fetch_url_resolve(&url, &base, "b", 1, &why), -ENOMEM);
        fetch_url_done(&url);
    }
    fake_mem_fail_after(0, false);
    fetch_url_done(&base);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_normalised),
        cmocka_unit_test(a_path_of_a_unix_socket_is_kept),
        cmocka_unit_test(malformed_urls_are_refused_with_a_reason),
        cmocka_unit_test(a_nul_is_refused_wherever_it_is),
        cmocka_unit_test(long_urls_and_hosts_have_a_limit),
        cmocka_unit_test(references_are_resolved_as_the_rfc_says),
        cmocka_unit_test(origins_are_scheme_host_and_port),
        cmocka_unit_test(without_memory_nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
