/* core/redis_url.c: URLs of Redis servers, and what is said of those that are none. */

#include "core/redis_url.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct good_url {
    const char *text, *host, *path;
    unsigned port;
    const char *user, *password; /* NULL: none */
    unsigned database;
    bool tls;
    const char *name;
};

static const struct good_url good_urls[] = {
    {"redis://127.0.0.1", "127.0.0.1", "", 6379, "", NULL, 0, false, "redis://127.0.0.1:6379/0"},
    {"redis://redis.internal:6380/2", "redis.internal", "", 6380, "", NULL, 2, false, "redis://redis.internal:6380/2"},
    {"redis://h:/", "h", "", 6379, "", NULL, 0, false, "redis://h:6379/0"},
    {"rediss://[fd00::1]:7/3", "fd00::1", "", 7, "", NULL, 3, true, "rediss://[fd00::1]:7/3"},
    {"redis://:secret@h", "h", "", 6379, "", "secret", 0, false, "redis://h:6379/0"},
    {"redis://ann:p%40s%25@h/1", "h", "", 6379, "ann", "p@s%", 1, false, "redis://h:6379/1"},
    {"redis://ann:p@ss@h", "h", "", 6379, "ann", "p@ss", 0, false, "redis://h:6379/0"},
    {"redis://h?db=4&user=a&password=b%26", "h", "", 6379, "a", "b&", 4, false, "redis://h:6379/4"},
    {"redis://h/?password=", "h", "", 6379, "", "", 0, false, "redis://h:6379/0"},
    {"unix:/run/redis.sock", "", "/run/redis.sock", 6379, "", NULL, 0, false, "unix:/run/redis.sock"},
    {"unix:/run/redis.sock?db=5&password=x", "", "/run/redis.sock", 6379, "", "x", 5, false, "unix:/run/redis.sock"},
};

static void urls_are_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_urls / sizeof good_urls[0]; i++) {
        const struct good_url *good = &good_urls[i];
        struct redis_url url;
        char err[256] = "";
        assert_int_equal(redis_url_parse(&url, good->text, err, sizeof err), 0);
        assert_string_equal(url.host, good->host);
        assert_string_equal(url.path, good->path);
        assert_int_equal(url.port, good->port);
        assert_string_equal(url.user, good->user);
        assert_int_equal(url.has_password, good->password != NULL);
        assert_string_equal(url.password, good->password == NULL ? "" : good->password);
        assert_int_equal(url.database, good->database);
        assert_int_equal(url.tls, good->tls);
        assert_string_equal(url.name, good->name);
    }
    struct redis_url url;
    assert_int_equal(redis_url_parse(&url, "rediss://h?ca_file=/etc/my%20ca.pem", NULL, 0), 0);
    assert_string_equal(url.ca_file, "/etc/my ca.pem");
}

static const struct {
    const char *text, *wrong;
} bad_urls[] = {
    {"", "expected"},
    {"127.0.0.1:6379", "expected"},
    {"http://h", "expected"},
    {"redis://", "expected"},
    {"redis://h:0", "expected"},
    {"redis://h:65536", "expected"},
    {"redis://h:12x", "expected"},
    {"redis://h o", "expected"},
    {"redis://[::1", "expected"},
    {"redis://[::1]x", "expected"},
    {"redis://[zz]", "expected"},
    {"redis://secret@h", "a user without a password"},
    {"redis://h?user=secret", "a user without a password"},
    {"redis://a:secret%4@h", "'%' without two hexadecimal digits"},
    {"redis://a:secret%@h", "'%' without two hexadecimal digits"},
    {"redis://a:secret%zz@h", "'%' without two hexadecimal digits"},
    {"redis://a:secret%00@h", "NUL"},
    {"redis://a:secret#1@h", "%23"},
    {"redis://a:sec/ret@h", "%2F"},
    {"redis://h#x", "expected"},
    {"redis://h/x", "number from 0"},
    {"redis://h/1000001", "number from 0"},
    {"redis://h?db=", "number from 0"},
    {"redis://h?secret=1", "unknown option"},
    {"redis://h?ca_file=x", "rediss://"},
    {"unix:", "path"},
    {"unix:?db=1", "path"},
};

static void what_is_wrong_is_said_without_a_password(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_urls / sizeof bad_urls[0]; i++) {
        struct redis_url url;
        char err[256] = "";
        assert_int_equal(redis_url_parse(&url, bad_urls[i].text, err, sizeof err), -EINVAL);
        if (strstr(err, bad_urls[i].wrong) == NULL || strstr(err, "secret") != NULL) {
            fail_msg("%s: %s", bad_urls[i].text, err);
        }
    }
}

static void each_part_has_a_limit(void **state)
{
    char text[REDIS_URL_MAX + 2], err[256];
    struct redis_url url;
    (void)state;
    for (int more = 0; more <= 1; more++) {
        int wanted = more == 0 ? 0 : -EINVAL;
        snprintf(text, sizeof text, "redis://:%0*d@h", REDIS_TEXT_MAX + more, 1);
        assert_int_equal(redis_url_parse(&url, text, err, sizeof err), wanted);
        snprintf(text, sizeof text, "redis://%0*d", REDIS_HOST_MAX + more, 1);
        assert_int_equal(redis_url_parse(&url, text, err, sizeof err), wanted);
        snprintf(text, sizeof text, "unix:%0*d", REDIS_PATH_MAX + more, 1);
        assert_int_equal(redis_url_parse(&url, text, err, sizeof err), wanted);
    }
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(redis_url_parse(&url, text, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "longer than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(what_is_wrong_is_said_without_a_password),
        cmocka_unit_test(each_part_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
