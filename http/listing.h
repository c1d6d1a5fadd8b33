#ifndef EVSERVE_HTTP_LISTING_H
#define EVSERVE_HTTP_LISTING_H

/* The contents of a directory as an HTML page: links to its files, directories first, then by name without regard to
 * case. The page is made in steps of about a millisecond, so that a large directory delays nobody else. Memory
 * is bounded by the number of rows, each 2.6 KB at most; a page that is cut has the first rows in order and says so. */

#include "http/listing_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open the directory, to be listed with listing_begin(). Returns an fd, or -errno: -ENOENT, -ENOTDIR, -EACCES, -EXDEV,
 * ... */
int listing_open(const struct listing *listing);

struct listing_job;

/* Begin a page of the directory dir_fd. Takes over dir_fd, except on failure. Whatever listing points to must stay
 * valid until the job is ended. Returns 0 or -ENOMEM.
 *
 * The page lists regular files and directories, and links that lead to one beneath root_fd; dot files only if
 * listing->shows_dotfiles; never special files and other links, which are not served. Names are percent-encoded (RFC
 * 3986) in links and escaped in text; control characters and bytes that are not UTF-8 show as U+FFFD. */
int listing_begin(struct listing_job **job, const struct listing *listing, int dir_fd);

/* Do a part of the work. root_fd is the current value of listing->root_fd: a root may be opened anew between two steps.
 * Returns LISTING_MORE, LISTING_DONE, or -errno, after which the job can only be ended. */
enum { LISTING_DONE, LISTING_MORE };
int listing_step(struct listing_job *job, int root_fd);

struct listing_page {
    char *bytes; /* to be freed with mem_free() */
    size_t len;
    uint64_t rows; /* entries shown */
    bool is_cut;   /* the directory has more */
};

/* Take the page of a finished job. */
struct listing_page listing_take(struct listing_job *job);

void listing_end(struct listing_job *job); /* in any state; NULL is allowed */

#endif
