/* http/host/access_keeper.c: which files are open after a start, a reload, one that fails, and a rotation. */

#include "tests/lib/server_scene.h"

#include "http/access_file.h"
#include "http/access_format.h"
#include "http/host/access_keeper.h"

#include <sys/stat.h>
#include <unistd.h>

static struct access_keeper keeper;
static struct vhost one = {.name = "one.example", .where = (char *)(uintptr_t) "site.lua:7"};
static char paths[4][sizeof scene.tree + 64];
static char err[512];

static void begin_keeping(void)
{
    for (int i = 0; i < 4; i++) {
        snprintf(paths[i], sizeof paths[i], "/tmp/evserve-keeper-%d-%d.log", (int)getpid(), i);
        unlink(paths[i]);
    }
    access_keeper_init(&keeper, 0, &scene.log);
}

static void end_keeping(void)
{
    access_keeper_done(&keeper);
    for (int i = 0; i < 4; i++) {
        unlink(paths[i]);
    }
}

static int set_logs(const char *target, const char *first, const char *second)
{
    struct access_hosts hosts = {.count = second == NULL ? 1 : 2};
    hosts.list[0] = (struct access_host){.target = first, .first = &one};
    hosts.list[1] = (struct access_host){.target = second, .first = &one};
    err[0] = '\0';
    return access_keeper_set(&keeper, target, NULL, first == NULL ? NULL : &hosts, err, sizeof err);
}

/* The file of a target, borrowed. */
static struct access_file *in_use(const char *target)
{
    struct access_file *file = access_keeper_find(&keeper, target);
    access_file_put(file);
    return file;
}

static int count_path(void *arg, const char *path)
{
    int *count = arg;
    assert_non_null(strstr(path, "/tmp/evserve-keeper-"));
    return ++*count == 2 ? -E2BIG : 0;
}

static void target_is_opened_once_and_stays_open(void **state)
{
    (void)state;
    begin_keeping();
    assert_int_equal(set_logs(paths[0], paths[0], paths[1]), 0);
    struct access_file *all = in_use(paths[0]), *own = in_use(paths[1]);
    assert_true(all != NULL && own != NULL && all != own);
    assert_int_equal(set_logs(paths[1], paths[2], paths[0]), 0); /* each has another place */
    assert_ptr_equal(in_use(paths[0]), all);
    assert_ptr_equal(in_use(paths[1]), own);
    assert_non_null(in_use(paths[2]));
    assert_int_equal(set_logs("off", paths[1], NULL), 0);
    assert_null(in_use(paths[0]));
    assert_ptr_equal(in_use(paths[1]), own);
    assert_int_equal(set_logs(NULL, NULL, NULL), 0);
    assert_null(in_use(paths[1]));
    end_keeping();
}

static void failure_leaves_all_as_it_was_and_names_the_host(void **state)
{
    (void)state;
    begin_keeping();
    assert_int_equal(set_logs(paths[0], paths[1], NULL), 0);
    struct access_file *all = in_use(paths[0]), *own = in_use(paths[1]);
    assert_true(set_logs(paths[2], paths[3], "/nowhere/x.log") < 0);
    assert_string_equal(err, "site.lua:7: the host one.example: cannot open the access log /nowhere/x.log: its "
                             "directory does not exist");
    assert_ptr_equal(in_use(paths[0]), all);
    assert_ptr_equal(in_use(paths[1]), own);
    assert_null(in_use(paths[2]));
    assert_true(set_logs("/nowhere/y.log", paths[1], NULL) < 0);
    assert_string_equal(err, "cannot open the access log /nowhere/y.log: its directory does not exist");
    assert_ptr_equal(in_use(paths[0]), all);
    end_keeping();
}

static void all_are_opened_again_even_if_one_cannot_be(void **state)
{
    (void)state;
    struct stat st;
    begin_keeping();
    assert_int_equal(access_keeper_reopen(&keeper, err, sizeof err), 0); /* there are none */
    assert_int_equal(set_logs(paths[0], paths[1], paths[2]), 0);
    for (int i = 0; i < 3; i++) {
        unlink(paths[i]);
    }
    assert_int_equal(mkdir(paths[0], 0700), 0);
    assert_int_equal(mkdir(paths[1], 0700), 0);
    assert_true(access_keeper_reopen(&keeper, err, sizeof err) < 0);
    assert_non_null(strstr(err, paths[0]));
    assert_non_null(strstr(scene.log_text, paths[1]));
    assert_int_equal(stat(paths[2], &st), 0);
    rmdir(paths[0]);
    rmdir(paths[1]);
    int count = 0;
    assert_int_equal(access_keeper_each_path(&keeper, count_path, &count), -E2BIG);
    assert_int_equal(count, 2);
    assert_int_equal(set_logs("stdout", paths[1], NULL), 0);
    count = 0;
    assert_int_equal(access_keeper_each_path(&keeper, count_path, &count), 0);
    assert_int_equal(count, 1);
    end_keeping();
}

static void full_table_is_kept(void **state)
{
    (void)state;
    char targets[ACCESS_HOSTS_MAX][sizeof paths[0] + 8];
    struct access_hosts hosts = {.count = ACCESS_HOSTS_MAX};
    begin_keeping();
    for (int i = 0; i < ACCESS_HOSTS_MAX; i++) {
        snprintf(targets[i], sizeof targets[i], "%s.%d", paths[1], i);
        hosts.list[i] = (struct access_host){.target = targets[i], .first = &one};
    }
    assert_int_equal(access_keeper_set(&keeper, paths[0], "json", &hosts, err, sizeof err), 0);
    for (int i = 0; i < ACCESS_HOSTS_MAX; i++) {
        assert_non_null(in_use(targets[i]));
        unlink(targets[i]);
    }
    end_keeping();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(target_is_opened_once_and_stays_open),
        SCENE_TEST(failure_leaves_all_as_it_was_and_names_the_host),
        SCENE_TEST(all_are_opened_again_even_if_one_cannot_be),
        SCENE_TEST(full_table_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
