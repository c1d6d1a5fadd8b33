/* Happy path: launch_start() builds the environment, forks, and waits until the child has run the program or failed to.
 * Between fork(2) and execve(2) the child does only what is safe in a process that had threads (signal-safety(7)): so
 * everything that needs memory is ready before, except for its process id, whose digits are written into place.
 *
 * Failure modes: no memory, no process, no fds; execve(2) fails, which the child reports through a pipe that execve(2)
 * closes. Nothing is left behind then. */

#include "core/program/launch.h"

#include "core/mem.h"
#include "core/program/start_fds.h"
#include "core/program/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum {
    PID_DIGITS = 20,        /* room for a process id, with its NUL */
    LAUNCH_VARIABLES = 5,   /* that it sets at most */
    LAUNCH_NUMBER_MAX = 40, /* bytes of a variable with a number */
};

/* The environment of the new program. */
struct launch_environment {
    char **variables;   /* ended by NULL */
    char *names;        /* LISTEN_FDNAMES=... */
    char *pid_digits;   /* where its process id goes, in listen_pid */
    char *watch_digits; /* in watchdog_pid; NULL if there is no watchdog */
    char fds[LAUNCH_NUMBER_MAX], ready[LAUNCH_NUMBER_MAX];
    char listen_pid[sizeof "LISTEN_PID=" + PID_DIGITS], watchdog_pid[sizeof "WATCHDOG_PID=" + PID_DIGITS];
};

const char *launch_path(const char *argv0, char *path, size_t size)
{
    if (argv0 != NULL && strchr(argv0, '/') != NULL) {
        size_t len = strlen(argv0);
        return len < size ? memcpy(path, argv0, len + 1) : NULL;
    }
    ssize_t len = readlink("/proc/self/exe", path, size - 1); /* found in PATH */
    if (len <= 0 || (size_t)len == size - 1) {
        return NULL;
    }
    path[len] = '\0';
    return path;
}

static bool is_variable(const char *entry, const char *name)
{
    size_t len = strlen(name);
    return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* Whether an entry of the environment is about this process, not about the one that it starts. */
static bool is_own_variable(const char *entry)
{
    static const char *const own[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID",
                                      LAUNCH_READY_VARIABLE};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (is_variable(entry, own[i])) {
            return true;
        }
    }
    return false;
}

static char *write_socket_names(const struct launch *launch)
{
    static const char variable[] = "LISTEN_FDNAMES=";
    char *names = mem_alloc(sizeof variable + launch->count * (size_t)PASSED_NAME_MAX);
    if (names == NULL) {
        return NULL;
    }
    char *to = names + sizeof variable - 1;
    memcpy(names, variable, sizeof variable);
    for (unsigned i = 0; i < launch->count; i++) {
        if (i > 0) {
            *to++ = ':';
        }
        passed_name(launch->sockets[i].address, to);
        to += strlen(to);
    }
    return names;
}

static void free_environment(struct launch_environment *environment)
{
    mem_free(environment->variables);
    mem_free(environment->names);
}

/* Returns 0, or -ENOMEM with nothing to free. */
static int make_environment(struct launch_environment *environment, const struct launch *launch)
{
    size_t count = 0, used = 0;
    while (environ[count] != NULL) {
        count++;
    }
    *environment = (struct launch_environment){
        .variables = mem_alloc((count + LAUNCH_VARIABLES + 1) * sizeof *environment->variables),
        .names = write_socket_names(launch),
    };
    if (environment->variables == NULL || environment->names == NULL) {
        free_environment(environment);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_own_variable(environ[i])) {
            environment->variables[used++] = environ[i];
        }
        if (is_variable(environ[i], "WATCHDOG_PID")) {
            strcpy(environment->watchdog_pid, "WATCHDOG_PID=");
            environment->watch_digits = environment->watchdog_pid + strlen(environment->watchdog_pid);
        }
    }
    snprintf(environment->fds, sizeof environment->fds, "LISTEN_FDS=%u", launch->count);
    snprintf(environment->ready, sizeof environment->ready, LAUNCH_READY_VARIABLE "=%u",
             SYSTEMD_FIRST_FD + launch->count);
    strcpy(environment->listen_pid, "LISTEN_PID=");
    environment->pid_digits = environment->listen_pid + strlen(environment->listen_pid);
    environment->variables[used++] = environment->listen_pid;
    environment->variables[used++] = environment->fds;
    environment->variables[used++] = environment->names;
    environment->variables[used++] = environment->ready;
    if (environment->watch_digits != NULL) {
        environment->variables[used++] = environment->watchdog_pid;
    }
    environment->variables[used] = NULL;
    return 0;
}

/* In the child: snprintf(3) is not safe there. */
static void write_digits(char *to, pid_t pid)
{
    char digits[PID_DIGITS];
    size_t count = 0;
    for (; pid > 0; pid /= 10) {
        digits[count++] = (char)('0' + pid % 10);
    }
    while (count > 0) {
        *to++ = digits[--count];
    }
    *to = '\0';
}

/* In the child: no handler of ours may run, and the program must not begin with signals blocked. */
static void reset_signals(void)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int number = 1; number < NSIG; number++) {
        struct sigaction present;
        if (sigaction(number, NULL, &present) == 0 && present.sa_handler != SIG_IGN) {
            sigaction(number, &standard, NULL);
        }
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: give the fds their numbers. One of ours may have the number that another one needs, so all are moved
 * out of the way first. fds are count of ours, and the moved ones afterwards. Returns 0 or -errno. */
static int number_fds(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SYSTEMD_FIRST_FD + count);
        if (fds[i] < 0) {
            return -errno;
        }
    }
    for (int i = 0; i < count; i++) {
        if (dup2(fds[i], SYSTEMD_FIRST_FD + i) < 0) { /* which stays open on exec */
            return -errno;
        }
    }
    return 0;
}

/* The child. fds are those to be passed on, and behind them the one for a failure. */
static _Noreturn void become_program(const struct launch *launch, struct launch_environment *environment, int *fds)
{
    int count = (int)launch->count + 1;
    reset_signals();
    write_digits(environment->pid_digits, getpid());
    if (environment->watch_digits != NULL) {
        write_digits(environment->watch_digits, getpid());
    }
    int failure_fd = fcntl(fds[count], F_DUPFD_CLOEXEC, SYSTEMD_FIRST_FD + count);
    int error = failure_fd < 0 ? -errno : number_fds(fds, count);
    if (error == 0) {
        start_fds_close_others(SYSTEMD_FIRST_FD + count);
        execve(launch->path, launch->argv, environment->variables);
        error = -errno;
    }
    if (failure_fd >= 0) {
        (void)!write(failure_fd, &error, sizeof error); /* else only the exit status tells */
    }
    _exit(127);
}

/* Fork, with no signal in between. Returns the process id of the child, or -errno. */
static pid_t fork_program(const struct launch *launch, struct launch_environment *environment, int *fds)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = fork();
    if (child == 0) {
        become_program(launch, environment, fds);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return child < 0 ? -error : child;
}

/* Wait until the child runs the program, which closes its end of the pipe. Returns 0, or -errno with the child gone. */
static int await_exec(pid_t child, int fd)
{
    int error = 0;
    ssize_t len;
    do {
        len = read(fd, &error, sizeof error);
    } while (len < 0 && errno == EINTR);
    if (len != (ssize_t)sizeof error) {
        return 0;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return error;
}

static pid_t start_with(const struct launch *launch, struct launch_environment *environment, int *fds)
{
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) < 0) {
        return -errno;
    }
    for (unsigned i = 0; i < launch->count; i++) {
        fds[i] = launch->sockets[i].fd;
    }
    fds[launch->count] = launch->ready_fd;
    fds[launch->count + 1] = failure[1];
    pid_t child = fork_program(launch, environment, fds);
    close(failure[1]);
    int error = child < 0 ? 0 : await_exec(child, failure[0]);
    close(failure[0]);
    return error < 0 ? error : child;
}

pid_t launch_start(const struct launch *launch)
{
    struct launch_environment environment;
    if (launch->count > SYSTEMD_FDS_MAX) {
        return -E2BIG;
    }
    if (make_environment(&environment, launch) < 0) {
        return -ENOMEM;
    }
    int *fds = mem_alloc((launch->count + 2) * sizeof *fds);
    pid_t child = fds == NULL ? -ENOMEM : start_with(launch, &environment, fds);
    mem_free(fds);
    free_environment(&environment);
    return child;
}
