#ifndef EVSERVE_HTTP_LISTING_H
#define EVSERVE_HTTP_LISTING_H

/* The contents of a directory as an HTML page: links to what can be asked for, directories first, then by name without
 * regard to case. The page is made in steps of about a millisecond, so that a large directory holds nobody up. Memory
 * is bounded by the number of rows, each 2.6 KB at most; a page that is cut has the first rows in order and says so. */

#include "http/listing_page.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Open the directory, to be listed with listing_begin(). Returns an fd, or -errno: -ENOENT, -ENOTDIR, -EACCES, -EXDEV,
 * ... */
int listing_open(const struct listing *listing);

struct listing_job;

/* Begin a page of the directory dir_fd, which it takes over, but not on failure. What listing points to must stay until
 * the job is ended. Returns 0 or -ENOMEM.
 *
 * The page lists regular files and directories, and links that lead to one beneath root_fd; dot files only on demand;
 * special files and other links, which are not served, never. Names go through percent-encoding (RFC 3986) where they
 * are links and through HTML escapes where they are text; what is not UTF-8 or a control character shows as U+FFFD. */
int listing_begin(struct listing_job **job, const struct listing *listing, int dir_fd);

/* Do some of the work. root_fd is listing->root_fd as it is now: a root may be opened anew between two steps. Returns
 * LISTING_MORE, LISTING_DONE, or -errno, after which the job can only be ended. */
enum { LISTING_DONE, LISTING_MORE };
int listing_step(struct listing_job *job, int root_fd);

struct listing_page {
    char *bytes; /* to be freed with mem_free() */
    size_t len;
    uint64_t rows; /* entries shown */
    bool is_cut;   /* the directory has more */
};

/* Take the page of a job that is done. */
struct listing_page listing_take(struct listing_job *job);

void listing_end(struct listing_job *job); /* in any state; NULL is allowed */

#endif
