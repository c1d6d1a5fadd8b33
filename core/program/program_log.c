/* Failure mode: a file that cannot be opened is an error at the start, and later a line of the log. */

#include "core/program/program_log.h"

#include "core/log.h"
#include "core/program/log_text.h"
#include "core/program/sys_user.h"
#include "core/sys.h"
#include "core/sys_append.h"
#include "evserve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that we have made as root is for the user whom we become: he opens it again after SIGUSR1. If there is no such
 * user, user_become() says so. */
static void give_log_to_user(const struct log_stream *stream, const char *name)
{
    uid_t user;
    gid_t group;
    if (sys_find_user(name, &user, &group) == 0) {
        (void)log_stream_give(stream, user, group); /* a file system may not know owners */
    }
}

/* What opening the log would come to, without making a file: for --check. */
static int check_log(const char *path, char *err, size_t errlen)
{
    char folder[PATH_MAX] = ".";
    struct stat st;
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    int fd = sys_open(AT_FDCWD, path, O_PATH), rv = fd;
    if (fd >= 0) {
        rv = sys_stat(fd, &st) < 0 || !S_ISDIR(st.st_mode) ? sys_may_write(AT_FDCWD, path) : -EISDIR;
        sys_close(fd);
    } else if (fd == -ENOENT && len < sizeof folder) {
        memcpy(folder, path, len);
        folder[len == 0 ? 1 : len] = '\0';
        rv = sys_may_make_files(AT_FDCWD, folder);
    }
    return rv < 0 ? error_text(err, errlen, rv, "cannot open the log %s: %s", path, errno_text(-rv)) : 0;
}

int program_log_open(struct log_stream *stream, const struct command_line *options, char *err, size_t errlen)
{
    bool is_trial = options->check || options->routes || options->request != NULL || options->test != NULL;
    bool is_journal = options->log == NULL && log_text_is_journal(getenv("JOURNAL_STREAM"), STDERR_FILENO);
    enum log_format format = options->has_log_format ? options->log_format
                             : is_journal            ? LOG_FORMAT_JOURNAL
                                                     : LOG_FORMAT_TEXT;
    log_stream_set_format(stream, format, options->log_level == 0 ? EVSERVE_LOG_INFO : options->log_level);
    if (options->log == NULL || is_trial) {
        return options->log != NULL && options->check ? check_log(options->log, err, errlen) : 0;
    }
    int rv = log_stream_open(stream, options->log, err, errlen);
    if (rv == 0 && options->user != NULL) {
        give_log_to_user(stream, options->user);
    }
    return rv;
}

void program_log_start(struct log_stream *stream, const struct command_line *options)
{
    char line[128];
    snprintf(line, sizeof line, "evserve %s has started, process %ld", evserve_version(), (long)getpid());
    log_stream_write(stream, EVSERVE_LOG_INFO, line);
    if (options->user == NULL && geteuid() == 0) { /* who takes the server over would have the machine */
        log_stream_write(stream, EVSERVE_LOG_WARN,
                         "serving as root: --user NAME gives up root once all addresses are bound");
    }
}

void program_log_signal(struct log_stream *stream, const char *name, pid_t sender, const char *effect)
{
    char line[256], from[64] = "";
    if (sender > 0) { /* not from the terminal, or from outside of our namespace */
        snprintf(from, sizeof from, " from process %ld", (long)sender);
    }
    snprintf(line, sizeof line, "%s%s: %s", name, from, effect);
    log_stream_write(stream, EVSERVE_LOG_INFO, line);
}

/* Returns whether there is no error to say. */
static bool say_kept(struct log_stream *stream, int result, const char *err)
{
    if (result < 0) {
        char line[EVSERVE_ERROR_MAX + 64];
        snprintf(line, sizeof line, "%s; lines go on to where they went", err);
        log_stream_write(stream, EVSERVE_LOG_ERROR, line);
    }
    return result >= 0;
}

void program_log_reopen(struct log_stream *stream, evserve *server, pid_t sender)
{
    char err[EVSERVE_ERROR_MAX];
    bool is_new = say_kept(stream, log_stream_reopen(stream, err, sizeof err), err);
    is_new = say_kept(stream, evserve_reopen_logs(server, err, sizeof err), err) && is_new;
    if (is_new) {
        program_log_signal(stream, "SIGUSR1", sender, "the files of the logs were opened again");
    }
}
