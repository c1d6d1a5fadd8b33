/* A host that a new version replaces while clients are served: SIGUSR2 starts the program that is at this path now,
 * which takes over the listening sockets. When it serves, the old process finishes its requests and ends; if it fails,
 * the old one goes on.
 *
 *     replaced 127.0.0.1:8080      GET / has the process id
 *     kill -USR2 PID               no client is refused, and soon another process id is there
 *
 * The new process learns of the sockets from the environment (HANDED=3=unix:s,4=127.0.0.1:8080), and says that it
 * serves on a pipe (READY_FD). */

#include "evserve.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKETS_MAX = 16, START_MS = 60000 };

extern char **environ;

static void on_log(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "%s\n", line);
}

static void show_process(evs_request *request, void *arg)
{
    char text[32];
    (void)arg;
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

static const struct evs_route routes[] = {{.route = "GET /", .serve = show_process}, {.route = NULL}};

/* The new process: what the old one has for it. Returns how many. */
static unsigned take_sockets(struct evs_inherited *sockets)
{
    unsigned count = 0;
    int used = 0;
    const char *at = getenv("HANDED");
    while (at != NULL && count < SOCKETS_MAX &&
           sscanf(at, "%d=%127[^,]%n", &sockets[count].fd, sockets[count].address, &used) == 2) {
        count++;
        at += used + (at[used] == ',');
    }
    return count;
}

static void say_ready(void)
{
    const char *number = getenv("READY_FD");
    if (number != NULL) {
        (void)!write(atoi(number), "r", 1);
        close(atoi(number));
    }
    unsetenv("READY_FD");
    unsetenv("HANDED");
}

/* The old process: start the new one with these fds, which stay open in it under their numbers. */
static int start_next(char **argv, const struct evs_inherited *sockets, int count, int ready_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    char handed[SOCKETS_MAX * (EVSERVE_ADDRESS_MAX + 16)] = "", number[16];
    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(handed);
        snprintf(handed + used, sizeof handed - used, "%s%d=%s", i == 0 ? "" : ",", sockets[i].fd, sockets[i].address);
        posix_spawn_file_actions_adddup2(&actions, sockets[i].fd, sockets[i].fd); /* no longer close-on-exec */
    }
    snprintf(number, sizeof number, "%d", ready_fd);
    posix_spawn_file_actions_adddup2(&actions, ready_fd, ready_fd);
    setenv("HANDED", handed, 1);
    setenv("READY_FD", number, 1);
    int error = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
    unsetenv("HANDED");
    unsetenv("READY_FD");
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* Whether another process serves now. */
static int replace(evserve *server, char **argv)
{
    struct evs_inherited sockets[SOCKETS_MAX];
    int ends[2], is_ready = 0;
    pid_t pid;
    int count = evserve_listeners(server, sockets, SOCKETS_MAX - 1);
    if (count < 0 || count > SOCKETS_MAX - 1 || pipe2(ends, O_CLOEXEC) < 0) {
        return 0;
    }
    count += evserve_ticket_keys(server, &sockets[count]) == 0; /* with HTTPS */
    int error = start_next(argv, sockets, count, ends[1], &pid);
    close(ends[1]);
    for (int i = 0; i < count; i++) {
        close(sockets[i].fd);
    }
    if (error == 0) {
        struct pollfd news = {ends[0], POLLIN, 0};
        char ready;
        is_ready = poll(&news, 1, START_MS) > 0 && read(ends[0], &ready, 1) == 1;
    }
    close(ends[0]);
    if (error == 0 && !is_ready) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    fprintf(stderr, "process %d: %s\n", (int)getpid(), is_ready ? "another one serves" : "still here");
    return is_ready;
}

int main(int argc, char **argv)
{
    struct evserve_config config = EVSERVE_CONFIG_INIT;
    struct evs_inherited sockets[SOCKETS_MAX];
    char err[EVSERVE_ERROR_MAX];
    sigset_t signals;
    int number, is_replaced = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR2);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* before any thread; the main thread waits for them */
    config.listen = argc > 1 ? argv[1] : "127.0.0.1:8080";
    config.routes = routes;
    config.log = on_log;
    config.reactors = 1; /* with a thread of its own */
    config.inherited = sockets;
    config.inherited_count = take_sockets(sockets);
    evserve *server = evserve_start(&config, err, sizeof err);
    for (unsigned i = 0; i < config.inherited_count; i++) {
        close(sockets[i].fd);
    }
    if (server == NULL) {
        fprintf(stderr, "replaced: %s\n", err);
        return 1;
    }
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    say_ready();
    while (!is_replaced && sigwait(&signals, &number) == 0 && number == SIGUSR2) {
        is_replaced = replace(server, argv);
    }
    if (is_replaced) {
        evserve_hand_over(server, EVSERVE_SERVED);
    }
    evserve_stop(server, EVSERVE_DRAIN_TIMEOUT);
    evserve_wait(server);
    evserve_free(server);
    return 0;
}
