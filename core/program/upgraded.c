/* Happy path: upgraded_take() when the program starts, upgraded_close_sockets() and upgraded_say_serving() when the
 * server has.
 *
 * Failure modes: without memory or fds for what was passed the program must not start: it would bind an address that
 * the old one has. */

#include "core/program/upgraded.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/program/command_line.h"
#include "core/program/launch.h"
#include "core/program/passed.h"
#include "core/program/systemd.h"
#include "core/program/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* N of "fd:N", or -1. */
static int wanted_number(const char *address)
{
    uint64_t number;
    return strncmp(address, "fd:", 3) == 0 && ascii_parse_number(address + 3, strlen(address + 3), INT32_MAX, &number)
               ? (int)number
               : -1;
}

/* An address of a socket with this number. */
static void add_number(struct command_line *options, int fd)
{
    char address[32];
    snprintf(address, sizeof address, "fd:%d", fd);
    if (!options->has_listen) {
        (void)command_line_add_listen(options, address);
    }
}

/* The lowest number that no socket has or gets. */
static int first_free(const struct passed_socket *sockets, int count)
{
    int most = SYSTEMD_FIRST_FD + count;
    for (int i = 0; i < count; i++) {
        int number = wanted_number(sockets[i].address);
        most = number >= most ? number + 1 : most;
    }
    return most;
}

/* Give a socket that was moved away its number. Those below SYSTEMD_FIRST_FD every program inherits as they are. */
static int put_back(struct command_line *options, int fd, int number)
{
    if (number >= SYSTEMD_FIRST_FD && dup3(fd, number, O_CLOEXEC) < 0) {
        return -errno;
    }
    close(fd);
    add_number(options, number);
    return 0;
}

/* Keep the sockets, count of them. Those with a name of ours, and the pipe, are moved out of the way before any gets
 * its number. */
static int keep_sockets(struct upgraded *upgraded, struct passed_socket *sockets, int count,
                        struct command_line *options)
{
    int lowest = first_free(sockets, count), rv = 0;
    if (upgraded->fd >= 0) { /* its number may be that of a socket */
        int fd = fcntl(upgraded->fd, F_DUPFD_CLOEXEC, lowest);
        if (fd < 0) {
            return -errno;
        }
        close(upgraded->fd);
        upgraded->fd = fd;
    }
    for (int i = 0; i < count; i++) {
        struct passed_socket *it = &sockets[i];
        if (it->address[0] == '\0') {
            fcntl(it->fd, F_SETFD, FD_CLOEXEC);
            add_number(options, it->fd);
            continue;
        }
        int fd = fcntl(it->fd, F_DUPFD_CLOEXEC, lowest);
        if (fd < 0) {
            return -errno;
        }
        close(it->fd);
        it->fd = fd;
    }
    for (int i = 0; i < count && rv == 0; i++) {
        const struct passed_socket *it = &sockets[i];
        int number = wanted_number(it->address);
        if (number >= 0) {
            rv = put_back(options, it->fd, number);
        } else if (it->address[0] != '\0') {
            struct evs_inherited *kept = &upgraded->sockets[upgraded->count++];
            kept->fd = it->fd;
            memcpy(kept->address, it->address, sizeof kept->address);
        }
    }
    return rv;
}

static int take_sockets(struct upgraded *upgraded, int count, struct command_line *options)
{
    struct passed_socket *sockets = mem_alloc((size_t)count * sizeof *sockets);
    upgraded->sockets = mem_zalloc((size_t)count * sizeof *upgraded->sockets);
    int rv = -ENOMEM;
    if (sockets != NULL && upgraded->sockets != NULL) {
        passed_read(sockets, count, getenv("LISTEN_FDNAMES"));
        rv = keep_sockets(upgraded, sockets, count, options);
    }
    mem_free(sockets);
    return rv;
}

/* The end of the pipe to the old program, or -1. */
static int take_pipe(void)
{
    const char *text = getenv(LAUNCH_READY_VARIABLE);
    uint64_t number;
    if (text == NULL || !ascii_parse_number(text, strlen(text), INT32_MAX, &number) ||
        fcntl((int)number, F_SETFD, FD_CLOEXEC) < 0) {
        return -1;
    }
    return (int)number;
}

int upgraded_take(struct upgraded *upgraded, struct command_line *options, char *err, size_t errlen)
{
    const char *pid = getenv("LISTEN_PID");
    int count = systemd_passed_fds(pid, getenv("LISTEN_FDS"), getpid()), rv = 0;
    *upgraded = (struct upgraded){.fd = -1};
    if (systemd_passed_fds(pid, "1", getpid()) == 1) { /* the variables are meant for this process */
        upgraded->fd = take_pipe();
    }
    if (count > 0) {
        rv = take_sockets(upgraded, count, options);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    unsetenv(LAUNCH_READY_VARIABLE);
    return rv == 0 ? 0 : error_text(err, errlen, rv, "cannot keep the sockets that were passed: %s", errno_text(-rv));
}

bool upgraded_is_forsaken(const struct upgraded *upgraded)
{
    struct pollfd state = {.fd = upgraded->fd};
    return upgraded->fd >= 0 && poll(&state, 1, 0) > 0 && (state.revents & POLLERR) != 0; /* nobody reads the pipe */
}

static void say(struct upgraded *upgraded, const char *text)
{
    if (upgraded->fd >= 0) {
        (void)!write(upgraded->fd, text, strlen(text)); /* the old program may have gone */
        close(upgraded->fd);
    }
    upgraded->fd = -1;
}

void upgraded_say_serving(struct upgraded *upgraded)
{
    say(upgraded, UPGRADE_READY);
}

void upgraded_say_failed(struct upgraded *upgraded, const char *why)
{
    say(upgraded, why);
}

void upgraded_close_sockets(struct upgraded *upgraded)
{
    for (unsigned i = 0; i < upgraded->count; i++) {
        close(upgraded->sockets[i].fd);
    }
    mem_free(upgraded->sockets);
    upgraded->sockets = NULL;
    upgraded->count = 0;
}
