/* Happy path: the file has not changed, and the password is hashed. A name that is not in the file costs a hash, too.
 *
 * Failure modes: a file that is gone or not valid leaves the passwords as they were, since it may be in the middle of
 * being written; whoever asked hears of it. */

#include "http/rules/password_check.h"

#include "core/file_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/password_hash.h"
#include "core/sys.h"
#include "core/write_buffer.h"
#include "http/rules/htpasswd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

enum { FILE_SETTLES_MS = 2000 }; /* times of files move in steps of up to this */

struct password_file {
    atomic_uint holders;
    int base_fd; /* borrowed: where a relative name starts, see sys_base() */
    char name[];
};

int password_file_create(struct password_file **made, const char *name, int base_fd)
{
    size_t size = strlen(name) + 1;
    struct password_file *file = mem_alloc(sizeof *file + size);
    if (file == NULL) {
        return -ENOMEM;
    }
    atomic_init(&file->holders, 1);
    file->base_fd = base_fd;
    memcpy(file->name, name, size);
    *made = file;
    return 0;
}

struct password_file *password_file_get(struct password_file *file)
{
    atomic_fetch_add_explicit(&file->holders, 1, memory_order_relaxed);
    return file;
}

void password_file_put(struct password_file *file)
{
    if (file != NULL && atomic_fetch_sub_explicit(&file->holders, 1, memory_order_acq_rel) == 1) {
        mem_free(file);
    }
}

const char *password_file_name(const struct password_file *file)
{
    return file->name;
}

static bool is_same_view(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Whether a change from now on would be seen in the times of the file. */
static bool has_settled(const struct stat *st)
{
    int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
    int64_t now_ms = sys_wall_time_ms();
    return changed_ms + FILE_SETTLES_MS < now_ms;
}

static int look_at(const struct password_file *file, struct stat *st)
{
    int fd = sys_open(sys_base(file->base_fd), file->name, O_PATH);
    int rv = fd < 0 ? fd : sys_stat(fd, st);
    if (fd >= 0) {
        sys_close(fd);
    }
    return rv < 0 ? rv : S_ISREG(st->st_mode) ? 0 : -EINVAL;
}

static int complain_of_file(const struct password_file *file, int error, char *err, size_t errlen)
{
    const char *reason = error == -EFBIG    ? "the password file is longer than 4 MiB"
                         : error == -EINVAL ? "the password file is no regular file"
                                            : errno_text(-error);
    return error_text(err, errlen, error, "%.300s: %s", file->name, reason);
}

/* Put what was read into the view. */
static int take_users(struct password_view *view, const struct password_file *file, const struct write_buffer *text,
                      char *err, size_t errlen)
{
    char reason[PASSWORD_REASON_MAX];
    uint8_t digest[SHA1_BYTES];
    struct htpasswd *table = NULL;
    sha1(write_buffer_data(text), write_buffer_len(text), digest);
    if (view->table != NULL && memcmp(digest, view->digest, sizeof digest) == 0) {
        return 0; /* the same text again */
    }
    int rv = htpasswd_parse(&table, write_buffer_data(text), write_buffer_len(text), reason, sizeof reason);
    if (rv < 0) {
        return error_text(err, errlen, rv, "%.200s: %.300s", file->name, reason);
    }
    htpasswd_put(view->table);
    view->table = table;
    memcpy(view->digest, digest, sizeof digest);
    return 0;
}

int password_view_update(struct password_view *view, const struct password_file *file, char *err, size_t errlen)
{
    struct stat st;
    int64_t looked_ns = sys_now_ns();
    int rv = look_at(file, &st);
    if (rv < 0) {
        return complain_of_file(file, rv, err, errlen);
    }
    if (view->table == NULL || !view->is_settled || !is_same_view(&view->st, &st)) {
        bool is_settled = has_settled(&st);
        struct write_buffer text = {0};
        rv = file_text_read(&text, file->base_fd, file->name, HTPASSWD_FILE_MAX);
        rv = rv < 0 ? complain_of_file(file, rv, err, errlen) : take_users(view, file, &text, err, errlen);
        if (text.block != NULL) {
            explicit_bzero(text.block, text.capacity);
        }
        write_buffer_done(&text);
        if (rv < 0) {
            return rv;
        }
        view->st = st;
        view->is_settled = is_settled;
    }
    view->looked_ns = looked_ns;
    return 0;
}

struct password_check *password_check_create(struct password_file *file, const struct password_view *view,
                                             const struct credentials *credentials)
{
    struct password_check *check = mem_zalloc(sizeof *check);
    if (check == NULL) {
        return NULL;
    }
    check->file = password_file_get(file);
    check->view = *view;
    if (view->table != NULL) {
        htpasswd_get(view->table);
    }
    credentials_copy(&check->credentials, credentials);
    return check;
}

void password_check_destroy(struct password_check *check)
{
    if (check != NULL) {
        password_file_put(check->file);
        htpasswd_put(check->view.table);
        credentials_wipe(&check->credentials);
        mem_free(check);
    }
}

static enum verdict verify(const struct password_check *check)
{
    const struct credentials *credentials = &check->credentials;
    const struct htpasswd *table = check->view.table;
    const char *hash = htpasswd_find(table, credentials->name, credentials->name_len);
    bool is_there = hash != NULL;
    if (!is_there) {
        hash = htpasswd_decoy(table, check->decoy);
    }
    if (hash == NULL) {
        return VERDICT_WRONG;
    }
    int rv = password_hash_verify(hash, credentials->password, credentials->password_len);
    return rv < 0 ? VERDICT_UNKNOWN : rv == 1 && is_there ? VERDICT_RIGHT : VERDICT_WRONG;
}

void password_check_look(struct password_check *check)
{
    int rv = password_view_update(&check->view, check->file, check->reason, sizeof check->reason);
    check->has_failed = rv < 0;
}

void password_check_run(struct password_check *check)
{
    password_check_look(check);
    check->verdict = check->view.table == NULL ? VERDICT_UNKNOWN : verify(check);
}
