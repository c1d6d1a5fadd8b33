/* Password files: what is a user, what is an error, and the limits. */

#include "core/mem.h"
#include "http/rules/htpasswd.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHA_SECRET "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
#define MD5_X      "$apr1$$jYtXyIcDHukcQfHjblNhq/"

static struct htpasswd *parse(const char *text)
{
    struct htpasswd *table = NULL;
    char err[256] = "";
    int rv = htpasswd_parse(&table, text, strlen(text), err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rv, 0);
    return table;
}

static void assert_hash(const struct htpasswd *table, const char *name, const char *hash)
{
    const char *found = htpasswd_find(table, name, strlen(name));
    if (hash == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, hash);
    }
}

static void lines_are_users(void **state)
{
    (void)state;
    struct htpasswd *table = parse("# made by hand\r\n"
                                   "\n"
                                   "zoe:" SHA_SECRET "\r\n"
                                   "  \t\n"
                                   "adam:" MD5_X ":Adam, accounting\n"
                                   "Adam:" SHA_SECRET "  \n"
                                   "j\xc3\xbcrgen:" MD5_X);
    assert_int_equal(htpasswd_count(table), 4);
    assert_hash(table, "zoe", SHA_SECRET);
    assert_hash(table, "adam", MD5_X);
    assert_hash(table, "Adam", SHA_SECRET);
    assert_hash(table, "j\xc3\xbcrgen", MD5_X);
    assert_hash(table, "", NULL);
    assert_hash(table, "ada", NULL);
    assert_hash(table, "adamm", NULL);
    assert_hash(table, "zzz", NULL);
    assert_null(htpasswd_find(table, "adam\0", 5));
    for (size_t n = 0; n < 9; n++) {
        assert_ptr_equal(htpasswd_decoy(table, n), htpasswd_decoy(table, n % 4));
    }
    struct htpasswd *same = htpasswd_get(table);
    htpasswd_put(table);
    assert_hash(same, "zoe", SHA_SECRET);
    htpasswd_put(same);
    assert_int_equal(fake_mem_live(), 0);
}

static void a_file_may_be_empty(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nobody", "\r\n\r\n#\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct htpasswd *table = parse(texts[i]);
        assert_int_equal(htpasswd_count(table), 0);
        assert_hash(table, "adam", NULL);
        assert_null(htpasswd_decoy(table, 7));
        htpasswd_put(table);
    }
}

static void errors_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *err;
    } wrong[] = {
        {"adam", "line 1: a name, a colon and a hash expected, as \"htpasswd\" writes them"},
        {"\n:" SHA_SECRET, "line 2: a name, a colon and a hash expected, as \"htpasswd\" writes them"},
        {"#\n\nadam:secret\n", "line 3, user \"adam\": the password is in clear text, or hashed in a way that is not "
                               "known or not safe: make a hash with \"htpasswd -B\" or \"openssl passwd -6\""},
        {"a:" MD5_X "\nb:" MD5_X "\na:" SHA_SECRET "\n", "line 3: user \"a\" is in line 1, too"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct htpasswd *table = NULL;
        char err[256];
        assert_int_equal(htpasswd_parse(&table, wrong[i].text, strlen(wrong[i].text), err, sizeof err), -EINVAL);
        assert_string_equal(err, wrong[i].err);
        assert_null(table);
    }
    struct htpasswd *table = NULL;
    char err[256];
    static const char nul[] = "adam:" SHA_SECRET "\0\n";
    assert_int_equal(htpasswd_parse(&table, nul, sizeof nul - 1, err, sizeof err), -EINVAL);
    assert_string_equal(err, "line 1: it contains a NUL byte");
    assert_int_equal(fake_mem_live(), 0);
}

static void names_and_users_have_limits(void **state)
{
    (void)state;
    char line[HTPASSWD_NAME_MAX + 64], err[256];
    struct htpasswd *table = NULL;
    memset(line, 'n', sizeof line);
    strcpy(line + HTPASSWD_NAME_MAX, ":" MD5_X);
    table = parse(line);
    htpasswd_put(table);
    strcpy(line + HTPASSWD_NAME_MAX, "n:" MD5_X);
    assert_int_equal(htpasswd_parse(&table, line, strlen(line), err, sizeof err), -EINVAL);
    assert_string_equal(err, "line 1: the name is longer than 255 bytes");

    char *text = mem_alloc((size_t)(HTPASSWD_USERS_MAX + 1) * 64), *at = text;
    assert_non_null(text);
    for (int i = 0; i < HTPASSWD_USERS_MAX; i++) {
        at += sprintf(at, "user%d:%s\n", i, MD5_X);
    }
    table = parse(text);
    assert_int_equal(htpasswd_count(table), HTPASSWD_USERS_MAX);
    assert_hash(table, "user19999", MD5_X);
    htpasswd_put(table);
    strcpy(at, "more:" MD5_X "\n");
    assert_int_equal(htpasswd_parse(&table, text, strlen(text), err, sizeof err), -E2BIG);
    assert_string_equal(err, "line 20001: more than 20000 users");
    mem_free(text);
    assert_int_equal(fake_mem_live(), 0);
}

static void no_memory_leaves_nothing(void **state)
{
    (void)state;
    static const char text[] = "a:" MD5_X "\nb:" MD5_X "\n";
    for (uint64_t n = 1;; n++) {
        struct htpasswd *table = NULL;
        fake_mem_fail_after(n, false);
        int rv = htpasswd_parse(&table, text, sizeof text - 1, NULL, 0);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        htpasswd_put(table);
        assert_int_equal(fake_mem_live(), 0);
        if (!has_failed) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_users),          cmocka_unit_test(a_file_may_be_empty),
        cmocka_unit_test(errors_name_the_line),     cmocka_unit_test(names_and_users_have_limits),
        cmocka_unit_test(no_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("htpasswd", tests, NULL, NULL);
}
