/* A server that keeps only the rights it needs: PUT /NAME writes a file to a folder, GET /NAME reads it.
 *
 *     sudo confined /srv/drop www-data 0.0.0.0:80       binds port 80, then serves as www-data, in the sandbox
 *     curl -T report http://.../report                   201
 *
 * The order matters: evserve_start() binds the addresses, then on_listening() gives up root, then the sandbox takes
 * effect. It applies to the thread that called evserve_start() and to all threads this one creates later, including the
 * host's. */

#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static evserve *server; /* NULL until evserve_start() has returned; evserve_stop() accepts NULL */
static volatile sig_atomic_t is_asked_to_stop;

static void on_signal(int number)
{
    (void)number;
    is_asked_to_stop = 1;
    evserve_stop(server, 2000);
}

/* Drop groups first and the user last: without root's rights the groups can no longer be changed. */
static int become_user(void *arg, char *err, size_t errlen)
{
    const struct passwd *user = arg;
    if (user != NULL &&
        (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0 || setuid(0) == 0)) {
        snprintf(err, errlen, "cannot become %s: %s", user->pw_name, strerror(errno));
        return -1;
    }
    return 0;
}

/* Write a new file. In the sandbox fchmod(2) fails with EPERM, so set a file's permissions when you create it. A full
 * disk may show at the write or, on a network's file system, at the close. */
static int write_file(const char *path, const char *content, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int is_written = fd >= 0 && write(fd, content, len) == (ssize_t)len;
    return fd >= 0 && close(fd) == 0 && is_written ? 0 : -1;
}

/* The file gets its name when it is complete: if it cannot be written, the one that had the name is still there. */
static void put_file(evs_request *request, void *arg)
{
    size_t len;
    const char *content = evs_body(request, &len);
    char path[4096];
    char temporary[4096];
    int path_len = snprintf(path, sizeof path, "%s/%s", (const char *)arg, evs_param(request, "name"));
    int len_of_both = snprintf(temporary, sizeof temporary, "%s.part", path);
    int is_short = path_len < (int)sizeof path && len_of_both < (int)sizeof temporary;
    int is_done = is_short && write_file(temporary, content, len) == 0 && rename(temporary, path) == 0;
    if (is_short && !is_done) {
        unlink(temporary);
    }
    evs_reply(request, is_done ? 201 : 507, NULL, NULL, 0);
}

/* Try what the sandbox forbids: the 403 shows that it works. */
static void get_users(evs_request *request, void *arg)
{
    (void)arg;
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    evs_reply(request, fd < 0 ? 403 : 200, NULL, NULL, 0);
    if (fd >= 0) {
        close(fd);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: confined FOLDER [USER [ADDRESS]]\n");
        return 2;
    }
    const struct evs_route routes[] = {
        {.route = "PUT /:name{slug}", .serve = put_file, .arg = argv[1]},
        {.route = "GET /users", .serve = get_users},
        {.route = NULL},
    };
    char err[EVSERVE_ERROR_MAX];
    struct evserve_config config = {
        .size = sizeof config,
        .listen = argc > 3 ? argv[3] : "127.0.0.1:0",
        .root = argv[1],
        .routes = routes,
        .on_listening = become_user,
        .arg = argc > 2 ? getpwnam(argv[2]) : NULL,
        .sandbox = EVSERVE_SANDBOX,
        .allow_write = argv[1], /* the folder must exist */
    };
    if (argc > 2 && config.arg == NULL) {
        fprintf(stderr, "confined: there is no user %s\n", argv[2]);
        return 1;
    }
    signal(SIGTERM, on_signal);
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    if (is_asked_to_stop) { /* the signal came during the start, when there was no server to stop */
        evserve_stop(server, 0);
    }
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
