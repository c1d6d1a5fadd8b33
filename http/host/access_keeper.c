/* Happy path: access_keeper_set() at the start and at each reload, before any thread goes on to the new offer;
 * access_keeper_get() on each thread.
 *
 * Failure modes: a target that cannot be opened, a format with a mistake: nothing changes. */

#include "http/host/access_keeper.h"

#include "core/log.h"
#include "core/sys.h"
#include "http/access_file.h"
#include "http/access_format.h"

#include <string.h>

void access_keeper_init(struct access_keeper *keeper, int base_fd, const struct log *log)
{
    *keeper = (struct access_keeper){.base_fd = base_fd, .log = log};
    pthread_mutex_init(&keeper->lock, NULL);
}

void access_keeper_done(struct access_keeper *keeper)
{
    access_file_put(keeper->file);
    access_format_put(keeper->format);
    pthread_mutex_destroy(&keeper->lock);
}

/* Swap in a pair; what was in use is given back. */
static void replace_pair(struct access_keeper *keeper, struct access_file *file, struct access_format *format)
{
    pthread_mutex_lock(&keeper->lock);
    struct access_file *old_file = keeper->file;
    struct access_format *old_format = keeper->format;
    keeper->file = file;
    keeper->format = format;
    pthread_mutex_unlock(&keeper->lock);
    access_file_put(old_file);
    access_format_put(old_format);
}

int access_keeper_set(struct access_keeper *keeper, const char *target, const char *format, char *err, size_t errlen)
{
    if (target == NULL || strcmp(target, "off") == 0) {
        replace_pair(keeper, NULL, NULL);
        return 0;
    }
    char text[512];
    struct access_format *parsed;
    int rv = access_format_parse(&parsed, format == NULL ? "combined" : format, text, sizeof text);
    if (rv < 0) {
        return error_text(err, errlen, rv, "access_log_format: %s", text);
    }
    struct access_file *file;
    struct access_format *old;
    access_keeper_get(keeper, &file, &old);
    access_format_put(old);
    if (file == NULL || strcmp(access_file_target(file), target) != 0) {
        access_file_put(file);
        rv = access_file_open(&file, target, keeper->base_fd, keeper->log, err, errlen);
    }
    if (rv < 0) {
        access_format_put(parsed);
        return rv;
    }
    replace_pair(keeper, file, parsed);
    return 0;
}

void access_keeper_get(struct access_keeper *keeper, struct access_file **file, struct access_format **format)
{
    pthread_mutex_lock(&keeper->lock);
    *file = access_file_ref(keeper->file);
    *format = access_format_ref(keeper->format);
    pthread_mutex_unlock(&keeper->lock);
}

const char *access_keeper_path(const struct access_keeper *keeper)
{
    const char *target = keeper->file == NULL ? "stdout" : access_file_target(keeper->file);
    return access_file_is_path(target) ? target : NULL;
}

void access_keeper_settle(struct access_keeper *keeper)
{
    char err[512];
    const char *path = access_keeper_path(keeper);
    if (path != NULL && access_file_check(path, keeper->base_fd, err, sizeof err) < 0) {
        log_write(
            keeper->log, LOG_WARN,
            "the user of the server (uid %u) %s: it cannot be opened again after logrotate has renamed it, nor by "
            "an upgrade; give the file, or its directory, to that user (README, Logs)",
            sys_user_id(), err);
    }
}

int access_keeper_reopen(struct access_keeper *keeper, char *err, size_t errlen)
{
    struct access_file *file;
    struct access_format *format;
    access_keeper_get(keeper, &file, &format);
    int rv = file == NULL ? 0 : access_file_reopen(file, err, errlen);
    access_file_put(file);
    access_format_put(format);
    return rv;
}
