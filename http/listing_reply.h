#ifndef EVSERVE_HTTP_LISTING_REPLY_H
#define EVSERVE_HTTP_LISTING_REPLY_H

/* Listings of directories as responses: pages that are kept, and pages in the making. For static_files.c; each
 * struct static_mounts has one struct listings. */

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct file_cache;
struct mount;

/* Pages in the making: one at a time, so that many requests need the memory of one. The others wait for their turn. */
struct listings {
    struct file_cache *cache;           /* borrowed: where pages are kept */
    struct listing_visit *running;      /* the visit whose page is made now, or NULL */
    struct listing_visit *first, *last; /* those that wait, in the order in which they came */
};

/* Respond with the contents of the directory path, len bytes, below the mount: 200 with a page, or as the conditions of
 * the request demand. The file cache keeps a page, which is sent again while the times of the directory do not change,
 * which each request checks, and for a time that grows with the work of making the page. Otherwise a page is made, in
 * steps of about a millisecond, and the response may come after this call. If a page is cut, the field Listing-Cut and
 * the page say so.
 *
 * Returns 0 if the response was sent or will be, or -errno without a response: -ENOENT, -EACCES, -ENOMEM, ... */
int listing_reply(struct listings *listings, struct mount *mount, struct exchange *exchange, const char *path,
                  size_t len, int64_t now_ms);

#endif
