/* Regular expressions: the bounds of the cache, of patterns and of matches, and memory that runs out. What patterns
 * match is PCRE2's, and tested beside nginx (tests/e2e/test_ngx_regex.py). */

#include "lua/regex.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char err[REGEX_ERROR_MAX];

static struct regex *find(struct regex_cache *cache, const char *pattern, unsigned options)
{
    struct regex *regex = NULL;
    int rv = regex_find(cache, pattern, strlen(pattern), options, &regex, err, sizeof err);
    if (rv < 0) {
        fail_msg("%s: %s", pattern, err);
    }
    return regex;
}

static int match(struct regex_cache *cache, const char *pattern, unsigned options, const char *subject)
{
    return regex_match(cache, find(cache, pattern, options), subject, strlen(subject), 0, false);
}

static void groups_and_names(void **state)
{
    (void)state;
    struct regex_cache *cache = regex_cache_create();
    struct regex *regex = find(cache, "(?<year>\\d+)-(x)?(?<month>\\d+)", 0);
    const char *name;
    size_t begin, end;
    unsigned group;
    assert_int_equal(regex_groups(regex), 3);
    assert_true(regex_name(regex, 0, &name, &group));
    assert_string_equal(name, "month");
    assert_int_equal(group, 3);
    assert_true(regex_name(regex, 1, &name, &group));
    assert_string_equal(name, "year");
    assert_false(regex_name(regex, 2, &name, &group));
    assert_int_equal(regex_match(cache, regex, "on 2026-11", 10, 0, false), 4);
    assert_true(regex_group(cache, 3, &begin, &end));
    assert_int_equal(begin, 8);
    assert_int_equal(end, 10);
    assert_false(regex_group(cache, 2, &begin, &end));
    regex_cache_destroy(cache);
    regex_cache_destroy(NULL);
    assert_int_equal(fake_mem_live(), 0);
}

static void least_used_pattern_makes_room(void **state)
{
    (void)state;
    struct regex_cache *cache = regex_cache_create();
    char pattern[32];
    for (int i = 0; i < REGEX_CACHE_MAX; i++) {
        snprintf(pattern, sizeof pattern, "^p%d$", i);
        find(cache, pattern, 0);
    }
    assert_int_equal(regex_cache_count(cache), REGEX_CACHE_MAX);
    const struct regex *first = find(cache, "^p0$", 0);
    const struct regex *other = find(cache, "^p0$", REGEX_CASELESS); /* another one, in place of p1 */
    assert_ptr_not_equal(first, other);
    assert_int_equal(regex_cache_count(cache), REGEX_CACHE_MAX);
    assert_ptr_equal(find(cache, "^p0$", 0), first);
    for (int i = 2; i < REGEX_CACHE_MAX; i++) {
        snprintf(pattern, sizeof pattern, "^q%d$", i);
        find(cache, pattern, 0);
        assert_int_equal(regex_cache_count(cache), REGEX_CACHE_MAX);
    }
    assert_int_equal(match(cache, "^p0$", 0, "p0"), 1);
    regex_cache_destroy(cache);
    assert_int_equal(fake_mem_live(), 0);
}

static void compiled_bytes_are_bounded(void **state)
{
    (void)state;
    struct regex_cache *cache = regex_cache_create();
    char *pattern = malloc(20002);
    for (int i = 0; i < 300; i++) {
        memset(pattern, 'a' + i % 26, 20000);
        pattern[20000] = (char)('a' + i / 26);
        pattern[20001] = '\0';
        find(cache, pattern, 0);
        assert_true(regex_cache_bytes(cache) <= REGEX_CACHE_BYTES);
    }
    assert_in_range(regex_cache_count(cache), 100, 299);
    free(pattern);
    regex_cache_destroy(cache);
    assert_int_equal(fake_mem_live(), 0);
}

static void patterns_at_their_limits(void **state)
{
    (void)state;
    struct regex_cache *cache = regex_cache_create();
    struct regex *regex;
    char *text = malloc(REGEX_PATTERN_MAX + 1);
    memset(text, '.', REGEX_PATTERN_MAX + 1);
    int rv = regex_find(cache, text, REGEX_PATTERN_MAX, 0, &regex, err, sizeof err);
    assert_true(rv == 0 || strstr(err, "too large") != NULL); /* of PCRE2, which may have a limit of its own */
    assert_int_equal(regex_find(cache, text, REGEX_PATTERN_MAX + 1, 0, &regex, err, sizeof err), -EINVAL);
    assert_string_equal(err, "the pattern has 65537 bytes: at most 65536 are allowed");
    text[0] = '\0';
    for (int i = 0; i < REGEX_GROUPS_MAX; i++) {
        strcat(text, "()");
    }
    assert_int_equal(match(cache, text, 0, ""), REGEX_GROUPS_MAX + 1);
    strcat(text, "()");
    assert_int_equal(regex_find(cache, text, strlen(text), 0, &regex, err, sizeof err), -EINVAL);
    assert_string_equal(err, "the pattern has 201 groups: at most 200 are allowed");
    assert_int_equal(regex_find(cache, "a(b", 3, 0, &regex, err, sizeof err), -EINVAL);
    assert_string_equal(err, "missing closing parenthesis in \"a(b\"");
    assert_int_equal(regex_find(cache, "a**b[", 5, 0, &regex, err, sizeof err), -EINVAL);
    free(text);
    regex_cache_destroy(cache);
    assert_int_equal(fake_mem_live(), 0);
}

static void matches_end_after_so_many_steps(void **state)
{
    (void)state;
    static const char subject[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct regex_cache *cache = regex_cache_create();
    assert_int_equal(match(cache, "^(a|aa)+[bc]$", 0, subject), -ERANGE);
    assert_int_equal(match(cache, "^(a|aa)+[bc]$", REGEX_JIT, subject), -ERANGE);
    assert_int_equal(match(cache, "^(a|aa)+", REGEX_JIT, subject), 2);
    assert_int_equal(match(cache, ".", REGEX_UTF, "\xff"), -EILSEQ);
    assert_int_equal(match(cache, "^.$", REGEX_UTF, "\xc3\xa4"), 1);
    assert_int_equal(regex_match(cache, find(cache, "a", 0), "a", 1, 2, false), -EINVAL);
    regex_cache_destroy(cache);
    assert_int_equal(fake_mem_live(), 0);
}

/* PCRE2 would read beyond them if it trusted them. */
static void subjects_are_checked_whoever_trusts_them(void **state)
{
    (void)state;
    struct regex_cache *cache = regex_cache_create();
    assert_int_equal(match(cache, "\\w+", REGEX_UTF_TRUSTED, "a\xf0"), -EILSEQ);
    assert_int_equal(match(cache, "\\X", REGEX_UTF_TRUSTED | REGEX_JIT, "\xf7"), -EILSEQ);
    assert_int_equal(match(cache, "^.$", REGEX_UTF_TRUSTED, "\xc3\xa4"), 1);
    struct regex *regex;
    assert_int_equal(regex_find(cache, "\\C", 2, REGEX_UTF, &regex, err, sizeof err), -EINVAL);
    regex_cache_destroy(cache);
    assert_int_equal(fake_mem_live(), 0);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        struct regex_cache *cache = regex_cache_create();
        struct regex *regex = NULL;
        int rv = cache == NULL ? -ENOMEM : regex_find(cache, "(a)(b|c)+", 9, REGEX_JIT, &regex, err, sizeof err);
        rv = rv < 0 ? rv : regex_match(cache, regex, "abc", 3, 0, false);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (rv < 0 && cache != NULL) { /* the next call finds what it needs */
            assert_int_equal(match(cache, "(a)(b|c)+", REGEX_JIT, "abc"), 3);
        }
        regex_cache_destroy(cache);
        assert_int_equal(fake_mem_live(), 0);
        if (!has_failed) {
            assert_int_equal(rv, 3);
            assert_true(n > 4);
            return;
        }
        assert_true(rv < 0 || rv == 3); /* without memory for machine code it is interpreted */
    }
}

int main(void)
{
    if (regex_load(err, sizeof err) < 0) {
        printf("skipped: %s\n", err);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_names),
        cmocka_unit_test(least_used_pattern_makes_room),
        cmocka_unit_test(compiled_bytes_are_bounded),
        cmocka_unit_test(patterns_at_their_limits),
        cmocka_unit_test(matches_end_after_so_many_steps),
        cmocka_unit_test(subjects_are_checked_whoever_trusts_them),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
