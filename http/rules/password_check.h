#ifndef EVSERVE_HTTP_RULES_PASSWORD_CHECK_H
#define EVSERVE_HTTP_RULES_PASSWORD_CHECK_H

/* One look at a password file, and whether it has a name with a password. This may take a second, and a disk may stall,
 * so a thread of a pool does it (core/job_pool.h): everything that it needs is in the check itself. */

#include "core/job_pool.h"
#include "core/sha1.h"
#include "http/rules/credentials.h"
#include "http/rules/verdicts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct exchange;
struct htpasswd;
struct password_file;

enum { PASSWORD_REASON_MAX = 512 };

/* What a file was like when it was read. */
struct password_view {
    struct htpasswd *table;     /* held; NULL: it has not been read yet */
    struct stat st;             /* device, inode, size and times count */
    uint8_t digest[SHA1_BYTES]; /* of its text */
    bool is_settled;            /* its times tell of any later change; if not, it is read again */
    int64_t looked_ns;          /* sys_now_ns() of the last look at it */
};

struct password_check {
    struct job job;                   /* the first member */
    struct password_file *file;       /* held */
    struct password_view view;        /* as it is known; afterwards as it is now */
    enum verdict verdict;             /* the result; VERDICT_UNKNOWN: there was no memory to find out */
    size_t decoy;                     /* for htpasswd_decoy() */
    bool has_failed;                  /* the file could not be read: the view is as before */
    char reason[PASSWORD_REASON_MAX]; /* and why, with the name of the file */
    struct credentials credentials;   /* wiped with the check */
    void *owner;                      /* the rest is its asker's */
    struct exchange *exchange;        /* that waits */
};

/* A file, by its name; a relative one starts at base_fd (sys_base()), which is borrowed and must outlive the job pool.
 * Returns 0 or -ENOMEM. It is shared: hold it once more; give it back (NULL is allowed), on any thread. */
int password_file_create(struct password_file **file, const char *name, int base_fd);
struct password_file *password_file_get(struct password_file *file);
void password_file_put(struct password_file *file);

const char *password_file_name(const struct password_file *file);

/* Look at the file, and read it if it has changed since the view. Returns 0, or -errno with the view as before and a
 * text in err that names the file: it is not there, no regular file, too long, or not valid. Any thread. */
int password_view_update(struct password_view *view, const struct password_file *file, char *err, size_t errlen);

/* Make a check with copies of file, view and credentials, all zero beside that. Returns NULL without memory. */
struct password_check *password_check_create(struct password_file *file, const struct password_view *view,
                                             const struct credentials *credentials);

/* Look at the file alone; or then verify the credentials, too. Any thread. */
void password_check_look(struct password_check *check);
void password_check_run(struct password_check *check);

/* Free it. NULL is allowed; any thread. */
void password_check_destroy(struct password_check *check);

#endif
