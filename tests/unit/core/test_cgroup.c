/* core/cgroup.c: the least limit of the group and of those above it, in versions 1 and 2. */

#include "core/cgroup.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/remove_tree.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static int root_fd;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    strcpy(folder, "/tmp/evserve-cgroup-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    root_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    int open_fds = fake_sys_open_fds();
    close(root_fd);
    remove_tree(folder);
    fake_sys_reset();
    return open_fds;
}

/* Write a file at a path below the folder, whose directories are made. */
static void write_file(const char *path, const char *content)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", folder, path);
    for (char *slash = full + strlen(folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static void without_files_there_is_no_limit(void **state)
{
    (void)state;
    assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
    write_file("proc/self/cgroup", "");
    assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
    write_file("proc/self/cgroup", "0::/a/b\n");
    assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
}

static void least_limit_on_the_way_up_counts(void **state)
{
    (void)state;
    write_file("proc/self/cgroup", "0::/system.slice/evserve.service\n");
    write_file("sys/fs/cgroup/system.slice/evserve.service/memory.max", "67108864\n");
    assert_true(cgroup_memory_bytes(root_fd) == 67108864);
    write_file("sys/fs/cgroup/system.slice/memory.max", "50000000\n");
    assert_true(cgroup_memory_bytes(root_fd) == 50000000);
    write_file("sys/fs/cgroup/system.slice/memory.max", "max\n");
    assert_true(cgroup_memory_bytes(root_fd) == 67108864);
    write_file("sys/fs/cgroup/memory.max", "1000\n"); /* the topmost one a container sees is its own */
    assert_true(cgroup_memory_bytes(root_fd) == 1000);
}

static void container_sees_its_group_as_the_root(void **state)
{
    (void)state;
    write_file("sys/fs/cgroup/memory.max", "67108864\n");
    write_file("proc/self/cgroup", "0::/\n");
    assert_true(cgroup_memory_bytes(root_fd) == 67108864);
    write_file("proc/self/cgroup", "0::/docker/0123456789abcdef\n"); /* the path is the host's */
    assert_true(cgroup_memory_bytes(root_fd) == 67108864);
    write_file("proc/self/cgroup", "0::/../../other");
    assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
}

static void version_1_has_a_line_for_the_controller(void **state)
{
    (void)state;
    write_file("proc/self/cgroup",
               "9:name=systemd:/x\n5:cpu,memory,pids:/docker/1\n3:nomemory:/n\n2:memory2:/m\n0::/\n");
    write_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(cgroup_memory_bytes(root_fd) == 9223372036854771712U);
    write_file("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "134217728\n");
    write_file("sys/fs/cgroup/memory/n/memory.limit_in_bytes", "7\n");
    write_file("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "7\n");
    assert_true(cgroup_memory_bytes(root_fd) == 134217728);
}

static void nonsense_is_no_limit(void **state)
{
    (void)state;
    static const char *const lists[] = {"\n\n", "0", "0:", "0::", ":", "::::", "memory", "1:memory"};
    write_file("sys/fs/cgroup/a/memory.max", "-1\n");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        write_file("proc/self/cgroup", lists[i]);
        assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
    }
    static const char *const values[] = {"-1\n", "\n", "", "max", "7x\n", "99999999999999999999999999\n"};
    write_file("proc/self/cgroup", "0::/a\n");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        write_file("sys/fs/cgroup/a/memory.max", values[i]);
        assert_true(cgroup_memory_bytes(root_fd) == UINT64_MAX);
    }
}

/* The path of a group may have 1,023 bytes; the limits of longer ones are not read. */
static void path_has_a_longest(void **state)
{
    (void)state;
    for (int len = 1023; len <= 1024; len++) {
        char list[1100] = "0::";
        for (int i = 0; i < len; i++) {
            list[3 + i] = i % 10 == 0 ? '/' : 'a';
        }
        write_file("proc/self/cgroup", list);
        write_file("sys/fs/cgroup/memory.max", "5\n");
        assert_true(cgroup_memory_bytes(root_fd) == (len == 1023 ? 5 : UINT64_MAX));
    }
}

static void want_of_memory_is_no_limit(void **state)
{
    (void)state;
    write_file("proc/self/cgroup", "0::/\n");
    write_file("sys/fs/cgroup/memory.max", "5\n");
    bool is_done = false;
    for (uint64_t nth = 1; !is_done; nth++) {
        fake_mem_fail_after(nth, false);
        uint64_t bytes = cgroup_memory_bytes(root_fd);
        is_done = !fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(bytes == (is_done ? 5 : UINT64_MAX));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_files_there_is_no_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(least_limit_on_the_way_up_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(container_sees_its_group_as_the_root, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_1_has_a_line_for_the_controller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nonsense_is_no_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(path_has_a_longest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(want_of_memory_is_no_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
