/* Looks at a password file that changes, and verdicts about names that are in it and that are not. */

#include "http/rules/htpasswd.h"
#include "http/rules/password_check.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SHA_SECRET "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
#define MD5_X      "$apr1$$jYtXyIcDHukcQfHjblNhq/"

static struct file_tree tree;
static struct password_file *file;
static struct password_view view;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    fake_sys_set_wall_time_s(time(NULL) + 60); /* files have settled */
    tree_make(&tree);
    memset(&view, 0, sizeof view);
    return password_file_create(&file, "users", tree.fd);
}

static int tear_down(void **state)
{
    (void)state;
    htpasswd_put(view.table);
    password_file_put(file);
    tree_remove(&tree);
    return fake_mem_live() == 0 ? 0 : -1;
}

static struct credentials credentials_of(const char *name, const char *password)
{
    struct credentials credentials;
    memset(&credentials, 0, sizeof credentials);
    credentials.name_len = strlen(name);
    credentials.password_len = strlen(password);
    memcpy(credentials.text, name, credentials.name_len + 1);
    memcpy(credentials.text + credentials.name_len + 1, password, credentials.password_len + 1);
    credentials.name = credentials.text;
    credentials.password = credentials.text + credentials.name_len + 1;
    return credentials;
}

/* Check, and keep the view. */
static enum verdict check_with(const char *name, const char *password, const char *reason)
{
    const struct credentials credentials = credentials_of(name, password);
    struct password_check *check = password_check_create(file, &view, &credentials);
    assert_non_null(check);
    password_check_run(check);
    enum verdict verdict = check->verdict;
    assert_string_equal(check->reason, reason == NULL ? "" : reason);
    assert_int_equal(check->has_failed, reason != NULL);
    struct htpasswd *before = view.table;
    view = check->view;
    check->view.table = before;
    password_check_destroy(check);
    return verdict;
}

static enum verdict check(const char *name, const char *password)
{
    return check_with(name, password, NULL);
}

static void the_file_decides(void **state)
{
    (void)state;
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\neve:" MD5_X "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    assert_int_equal(check("adam", "x"), VERDICT_WRONG);
    assert_int_equal(check("eve", "x"), VERDICT_RIGHT);
    assert_int_equal(check("eve", ""), VERDICT_WRONG);
    /* Names that are not there are wrong with the password of any user. */
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        assert_int_equal(check(name, "secret"), VERDICT_WRONG);
        assert_int_equal(check(name, "x"), VERDICT_WRONG);
    }
}

static void a_changed_file_is_read_again(void **state)
{
    (void)state;
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    const struct htpasswd *table = view.table;
    assert_true(view.is_settled);
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    assert_ptr_equal(view.table, table);

    tree_replace_file(&tree, "users", "adam:" MD5_X "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_WRONG);
    assert_int_equal(check("adam", "x"), VERDICT_RIGHT);
    tree_add_file(&tree, "users", "");
    assert_int_equal(check("adam", "x"), VERDICT_WRONG);
    assert_int_equal(htpasswd_count(view.table), 0);
}

/* The same text in another file is no change, so what is known stays. */
static void a_file_that_only_looks_new_is_the_same(void **state)
{
    (void)state;
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    const struct htpasswd *table = view.table;
    tree_replace_file(&tree, "users", "adam:" SHA_SECRET "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    assert_ptr_equal(view.table, table);
}

/* The times of a file that has just changed may stay the same when it changes again. */
static void a_file_that_has_just_changed_is_read_each_time(void **state)
{
    (void)state;
    fake_sys_set_wall_time_s(time(NULL) - 3600);
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    assert_false(view.is_settled);
    struct stat before = view.st;
    tree_add_file(&tree, "users", "adam:{SHA}EfatjcUqKUS/qqfsjBzGiPTprMw=\n");
    assert_int_equal(check("adam", "secret"), VERDICT_WRONG);
    assert_int_equal(before.st_size, view.st.st_size);
}

static void a_broken_file_leaves_the_passwords(void **state)
{
    (void)state;
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\n");
    assert_int_equal(check("adam", "secret"), VERDICT_RIGHT);
    tree_add_file(&tree, "users", "adam\n");
    static const char broken[] = "users: line 1: a name, a colon and a hash expected, as \"htpasswd\" writes them";
    assert_int_equal(check_with("adam", "secret", broken), VERDICT_RIGHT);
    assert_int_equal(check_with("adam", "x", broken), VERDICT_WRONG);
    tree_unlink(&tree, "users");
    assert_int_equal(check_with("adam", "secret", "users: No such file or directory"), VERDICT_RIGHT);
    tree_add_dir(&tree, "users");
    assert_int_equal(check_with("adam", "secret", "users: the password file is no regular file"), VERDICT_RIGHT);
}

static void a_file_has_a_longest_length(void **state)
{
    (void)state;
    char err[PASSWORD_REASON_MAX];
    tree_add_filled(&tree, "users", '#', HTPASSWD_FILE_MAX);
    assert_int_equal(password_view_update(&view, file, err, sizeof err), 0);
    htpasswd_put(view.table);
    memset(&view, 0, sizeof view);
    tree_add_filled(&tree, "users", '#', HTPASSWD_FILE_MAX + 1);
    assert_int_equal(password_view_update(&view, file, err, sizeof err), -EFBIG);
    assert_string_equal(err, "users: the password file is longer than 4 MiB");
    assert_null(view.table);
}

static void failures_have_no_verdict_or_the_old_one(void **state)
{
    (void)state;
    tree_add_file(&tree, "users", "adam:" SHA_SECRET "\n");
    for (uint64_t n = 1;; n++) {
        char err[PASSWORD_REASON_MAX];
        fake_mem_fail_after(n, false);
        int rv = password_view_update(&view, file, err, sizeof err);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        assert_int_equal(view.table == NULL, has_failed);
        if (!has_failed) {
            break;
        }
    }
    const struct credentials credentials = credentials_of("adam", "secret");
    fake_mem_fail_after(1, false);
    assert_null(password_check_create(file, &view, &credentials));
    fake_mem_fail_after(0, false);
    struct password_file *other;
    fake_mem_fail_after(1, false);
    assert_int_equal(password_file_create(&other, "users", tree.fd), -ENOMEM);
    fake_mem_fail_after(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_file_decides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_file_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_only_looks_new_is_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_has_just_changed_is_read_each_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_file_leaves_the_passwords, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_has_a_longest_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_have_no_verdict_or_the_old_one, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("password_check", tests, NULL, NULL);
}
