/* core/program/launch.c: what a program that is started finds, and what is left of one that cannot be. */

#include "core/program/launch.h"
#include "core/program/systemd.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SOCKETS = 3 };

/* What a shell prints that runs the script, with these sockets and its exit status. */
static void run_script(const char *script, const struct passed_socket *sockets, unsigned count, char *text, size_t size)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL};
    const struct launch launch = {"/bin/sh", argv, sockets, count, fds[1]};
    pid_t child = launch_start(&launch);
    assert_true(child > 0);
    close(fds[1]);
    size_t used = 0;
    ssize_t len;
    while ((len = read(fds[0], text + used, size - 1 - used)) > 0) {
        used += (size_t)len;
    }
    text[used] = '\0';
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void the_program_has_the_sockets_their_names_and_its_own_numbers(void **state)
{
    (void)state;
    char text[512], expected[512];
    struct passed_socket sockets[SOCKETS];
    int before = open_fds();
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "7", 1);
    setenv("WATCHDOG_PID", "1", 1);
    setenv("KEPT", "kept", 1);
    for (int i = 0; i < SOCKETS; i++) { /* numbers that the others need, in another order */
        sockets[i].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(sockets[i].fd >= 0);
        snprintf(sockets[i].address, sizeof sockets[i].address, "127.0.0.1:%d", i);
    }
    struct passed_socket first = sockets[0];
    sockets[0] = sockets[2];
    sockets[2] = first;
    char *at = expected + sprintf(expected, "3 own own listen=127.0.0.1%%3A2:listen=127.0.0.1%%3A1:"
                                            "listen=127.0.0.1%%3A0 6 kept");
    for (int i = 0; i < SOCKETS; i++) {
        char path[64], link[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", sockets[i].fd);
        ssize_t len = readlink(path, link, sizeof link - 1);
        assert_true(len > 0);
        at += sprintf(at, " %.*s", (int)len, link);
    }
    run_script("own=no; test $LISTEN_PID = $$ && own=own; dog=no; test $WATCHDOG_PID = $$ && dog=own\n"
               "links=\n"
               "for n in 3 4 5; do links=\"$links $(readlink /proc/$$/fd/$n)\"; done\n"
               "test -e /proc/$$/fd/7 && links=\"$links and more\"\n"
               "printf %s \"$LISTEN_FDS $own $dog $LISTEN_FDNAMES $EVSERVE_READY_FD $KEPT$links\" >&6",
               sockets, SOCKETS, text, sizeof text);
    assert_string_equal(text, expected);
    for (int i = 0; i < SOCKETS; i++) {
        close(sockets[i].fd);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(open_fds(), before);
}

static void on_nothing(int number)
{
    (void)number;
}

static void the_program_begins_with_no_signal_blocked(void **state)
{
    (void)state;
    char text[512];
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    signal(SIGUSR2, on_nothing);
    signal(SIGUSR1, SIG_IGN); /* as nohup(1) does */
    run_script("grep -E '^Sig(Blk|Ign|Cgt):' /proc/self/status | tr -d '\\t\\n' >&3", NULL, 0, text, sizeof text);
    assert_non_null(strstr(text, "SigBlk:0000000000000000"));
    assert_non_null(strstr(text, "SigIgn:0000000000000200"));
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    sigset_t after;
    sigprocmask(SIG_SETMASK, &before, &after);
    assert_true(sigismember(&after, SIGTERM) && !sigismember(&after, SIGINT)); /* ours are as they were */
}

static void a_program_that_cannot_be_run_leaves_nothing(void **state)
{
    (void)state;
    int before = open_fds();
    char *argv[] = {(char *)"none", NULL};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct launch launch = {"/nonexistent/none", argv, NULL, 0, fd};
    assert_int_equal(launch_start(&launch), -ENOENT);
    launch.path = "/dev/null";
    assert_int_equal(launch_start(&launch), -EACCES);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    launch.count = SYSTEMD_FDS_MAX + 1;
    assert_int_equal(launch_start(&launch), -E2BIG);
    launch.count = 0;
    for (unsigned n = 1; n <= 3; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(launch_start(&launch), -ENOMEM);
    }
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_mem_live(), 0);
    close(fd);
    assert_int_equal(open_fds(), before);
}

static void the_path_is_what_was_called(void **state)
{
    (void)state;
    char path[64], long_path[4096];
    assert_string_equal(launch_path("./a/evserve", path, sizeof path), "./a/evserve");
    assert_null(launch_path("./a/evserve", path, sizeof "./a/evserve" - 1));
    assert_non_null(launch_path("evserve", long_path, sizeof long_path)); /* found in PATH */
    assert_non_null(strstr(long_path, "socket_launch"));
    assert_non_null(launch_path(NULL, long_path, sizeof long_path));
    assert_null(launch_path(NULL, path, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_program_has_the_sockets_their_names_and_its_own_numbers),
        cmocka_unit_test(the_program_begins_with_no_signal_blocked),
        cmocka_unit_test(a_program_that_cannot_be_run_leaves_nothing),
        cmocka_unit_test(the_path_is_what_was_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
