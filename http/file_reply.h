#ifndef EVSERVE_HTTP_FILE_REPLY_H
#define EVSERVE_HTTP_FILE_REPLY_H

/* Files as responses of handlers. The handler chooses a directory, which it must trust, and a path below it, which may
 * come from a client: nothing outside the directory is ever sent. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct file_cache;
struct file_replies;

enum { FILE_REPLY_ROOTS_MAX = 64 }; /* directories that handlers may name */

/* cache is borrowed and must outlive it. Returns 0 or -ENOMEM. */
int file_replies_create(struct file_replies **replies, struct file_cache *cache);
void file_replies_destroy(struct file_replies *replies); /* NULL is allowed; files being sent stay valid */

/* Let relative directories start at the directory base_fd, which is borrowed: see sys_base(). */
void file_replies_set_base(struct file_replies *replies, int base_fd);

/* In a forked child: close their fds and leave everything else as it is. */
void file_replies_abandon(struct file_replies *replies);

struct file_reply {
    const char *root; /* directory, relative to the working directory; remembered by this text */
    const char *path; /* path_len bytes, below root */
    size_t path_len;
    int status; /* 200; or another status with content, which ignores the conditions and the Range of the request */
    const char *type; /* Content-Type, a valid field value; NULL to take it from the name of the file */
    bool dotfiles;    /* a path may name dot files, which are otherwise hidden */
};

/* Open the directory of a reply, unless it is open already. Returns 0, or -errno with a text that names it; -ENOSPC if
 * there are FILE_REPLY_ROOTS_MAX others. */
int file_reply_check(struct file_replies *replies, const struct file_reply *reply, char *err, size_t errlen);

/* Respond with the file; file_reply_check() must have been called before. A file is sent as static files are
 * (representation_answer()): with its type, entity tag and dates, whole, in ranges, or as 304; for methods other than
 * GET and HEAD whole. Fields that were added are sent with it. A missing file and a directory are 404; a file that may
 * not be read is 403, and so is a path that leads out of root by "..", a slash at its beginning or a symbolic link.
 * Those two come without the fields that were added. */
void file_reply_send(struct file_replies *replies, struct exchange *exchange, const struct file_reply *reply);

#endif
