/* --reload, seen from the program that asks: a child of the test is the server, and says in the PID file what becomes
 * of each reload. */

#include "core/program/reload_request.h"

#include "core/program/pid_file.h"
#include "evserve.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum behaviour { SUCCEEDS, FAILS, ENDS };

static char path[] = "/tmp/evXXXXXX";

static void serve(enum behaviour behaviour, int ready_fd)
{
    struct pid_file file;
    char err[EVSERVE_ERROR_MAX];
    sigset_t signals;
    int number;
    alarm(60); /* should the test fail */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (pid_file_open(&file, path, NULL, err, sizeof err) < 0) {
        _exit(1);
    }
    pid_file_write(&file);
    (void)!write(ready_fd, "r", 1);
    while (sigwait(&signals, &number) == 0 && number == SIGHUP && behaviour != ENDS) {
        pid_file_tell_reload(&file, behaviour == FAILS);
    }
    pid_file_close(&file);
    _exit(0);
}

static pid_t start_server(enum behaviour behaviour)
{
    int ends[2];
    char ready;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        serve(behaviour, ends[1]);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &ready, 1), 1);
    close(ends[0]);
    return child;
}

static void end_server(pid_t child)
{
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void the_result_is_the_exit_status_however_often_it_is_asked(void **state)
{
    (void)state;
    pid_t child = start_server(SUCCEEDS);
    for (int i = 0; i < 2 * PID_FILE_COUNTS + 1; i++) { /* the count in the file begins anew */
        assert_int_equal(reload_request(path), EXIT_SUCCESS);
    }
    end_server(child);
    child = start_server(FAILS);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(reload_request(path), EXIT_FAILURE);
    }
    end_server(child);
}

static void a_server_that_ends_instead_is_a_failure(void **state)
{
    (void)state;
    pid_t child = start_server(ENDS);
    assert_int_equal(reload_request(path), EXIT_FAILURE);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void a_file_of_nobody_or_without_a_number_is_a_failure(void **state)
{
    (void)state;
    struct pid_file file;
    char err[EVSERVE_ERROR_MAX];
    assert_int_equal(reload_request("/nonexistent/pid"), EXIT_FAILURE);
    assert_int_equal(pid_file_open(&file, path, NULL, err, sizeof err), 0);
    assert_int_equal(reload_request(path), EXIT_FAILURE); /* this process would be the server, and is starting */
    pid_file_close(&file);
    assert_int_equal(reload_request(path), EXIT_FAILURE);
}

static int make_path(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd) < 0 || unlink(path) < 0 ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_result_is_the_exit_status_however_often_it_is_asked),
        cmocka_unit_test(a_server_that_ends_instead_is_a_failure),
        cmocka_unit_test(a_file_of_nobody_or_without_a_number_is_a_failure),
    };
    return cmocka_run_group_tests(tests, make_path, NULL);
}
