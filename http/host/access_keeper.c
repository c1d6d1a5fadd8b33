/* Happy path: access_keeper_set() at the start and at each reload, before any thread goes on to the new offer;
 * access_keeper_get() on each thread.
 *
 * Failure modes: a target that cannot be opened, a format with a mistake: nothing changes. All are opened before one of
 * them is used. */

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

/* All that is in use at one time. */
struct access_set {
    struct access_file *file;
    struct access_format *format;
    size_t count;
    struct access_file *others[ACCESS_HOSTS_MAX];
};

static void drop_set(struct access_set *set)
{
    access_file_put(set->file);
    access_format_put(set->format);
    for (size_t i = 0; i < set->count; i++) {
        access_file_put(set->others[i]);
    }
}

/* Swap in what is to be used; set gets what was. */
static void swap_set(struct access_keeper *keeper, struct access_set *set)
{
    struct access_set old = {.file = keeper->file, .format = keeper->format, .count = keeper->count};
    pthread_mutex_lock(&keeper->lock);
    memcpy(old.others, keeper->others, sizeof old.others);
    keeper->file = set->file;
    keeper->format = set->format;
    keeper->count = set->count;
    memcpy(keeper->others, set->others, sizeof set->others);
    pthread_mutex_unlock(&keeper->lock);
    *set = old;
}

void access_keeper_done(struct access_keeper *keeper)
{
    struct access_set none = {0};
    swap_set(keeper, &none);
    drop_set(&none);
    pthread_mutex_destroy(&keeper->lock);
}

/* The file of a target in a set, borrowed, or NULL. */
static struct access_file *find_target(struct access_file *file, struct access_file *const *others, size_t count,
                                       const char *target)
{
    if (file != NULL && strcmp(access_file_target(file), target) == 0) {
        return file;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(access_file_target(others[i]), target) == 0) {
            return others[i];
        }
    }
    return NULL;
}

struct access_file *access_keeper_find(struct access_keeper *keeper, const char *target)
{
    pthread_mutex_lock(&keeper->lock);
    struct access_file *file = access_file_ref(find_target(keeper->file, keeper->others, keeper->count, target));
    pthread_mutex_unlock(&keeper->lock);
    return file;
}

/* A reference to the file that is in use for a target, or else open it. */
static int open_or_keep(struct access_keeper *keeper, const char *target, struct access_file **file, char *err,
                        size_t errlen)
{
    *file = access_keeper_find(keeper, target);
    return *file != NULL ? 0 : access_file_open(file, target, keeper->base_fd, keeper->log, err, errlen);
}

/* The files of hosts. Returns 0, or -errno with a text in err; drop_set() is due in any case. */
static int open_others(struct access_keeper *keeper, struct access_set *set, const struct access_hosts *hosts,
                       char *err, size_t errlen)
{
    int rv = 0;
    char why[512];
    for (size_t i = 0; rv == 0 && hosts != NULL && i < hosts->count; i++) {
        const struct access_host *host = &hosts->list[i];
        if (find_target(set->file, set->others, set->count, host->target) != NULL) {
            continue;
        }
        rv = open_or_keep(keeper, host->target, &set->others[set->count], why, sizeof why);
        if (rv < 0) {
            access_hosts_blame(host, rv, why, err, errlen);
        } else {
            set->count++;
        }
    }
    return rv;
}

int access_keeper_set(struct access_keeper *keeper, const char *target, const char *format,
                      const struct access_hosts *hosts, char *err, size_t errlen)
{
    struct access_set set = {0};
    char text[512];
    int rv = 0;
    if (target != NULL && strcmp(target, "off") != 0) {
        rv = access_format_parse(&set.format, format == NULL ? "combined" : format, text, sizeof text);
        if (rv < 0) {
            return error_text(err, errlen, rv, "access_log_format: %s", text);
        }
        rv = open_or_keep(keeper, target, &set.file, err, errlen);
    }
    rv = rv < 0 ? rv : open_others(keeper, &set, hosts, err, errlen);
    if (rv == 0) {
        swap_set(keeper, &set);
    }
    drop_set(&set);
    return rv;
}

void access_keeper_get(struct access_keeper *keeper, struct access_file **file, struct access_format **format)
{
    pthread_mutex_lock(&keeper->lock);
    *file = access_file_ref(keeper->file);
    *format = access_format_ref(keeper->format);
    pthread_mutex_unlock(&keeper->lock);
}

int access_keeper_each_path(const struct access_keeper *keeper, int (*fn)(void *arg, const char *path), void *arg)
{
    int rv = 0;
    for (size_t i = 0; rv >= 0 && i <= keeper->count; i++) {
        const struct access_file *file = i == 0 ? keeper->file : keeper->others[i - 1];
        if (file != NULL && access_file_is_path(access_file_target(file))) {
            rv = fn(arg, access_file_target(file));
        }
    }
    return rv < 0 ? rv : 0;
}

static int settle_path(void *arg, const char *path)
{
    const struct access_keeper *keeper = arg;
    char err[512];
    if (access_file_check(path, keeper->base_fd, err, sizeof err) < 0) {
        log_write(
            keeper->log, LOG_WARN,
            "the user of the server (uid %u) %s: it cannot be opened again after logrotate has renamed it, nor by "
            "an upgrade; give the file, or its directory, to that user (README, Logs)",
            sys_user_id(), err);
    }
    return 0;
}

void access_keeper_settle(struct access_keeper *keeper)
{
    (void)access_keeper_each_path(keeper, settle_path, keeper);
}

/* References to all files that are in use. */
static void get_files(struct access_keeper *keeper, struct access_set *set)
{
    pthread_mutex_lock(&keeper->lock);
    set->file = access_file_ref(keeper->file);
    set->count = keeper->count;
    for (size_t i = 0; i < set->count; i++) {
        set->others[i] = access_file_ref(keeper->others[i]);
    }
    pthread_mutex_unlock(&keeper->lock);
}

int access_keeper_reopen(struct access_keeper *keeper, char *err, size_t errlen)
{
    struct access_set set = {0};
    get_files(keeper, &set);
    int rv = set.file == NULL ? 0 : access_file_reopen(set.file, err, errlen);
    for (size_t i = 0; i < set.count; i++) {
        char why[512];
        int failed = access_file_reopen(set.others[i], why, sizeof why);
        if (failed < 0 && rv == 0) {
            rv = error_text(err, errlen, failed, "%s", why);
        } else if (failed < 0) {
            log_write(keeper->log, LOG_ERROR, "%s", why);
        }
    }
    drop_set(&set);
    return rv;
}
