#ifndef EVSERVE_HTTP_LISTING_REPLY_H
#define EVSERVE_HTTP_LISTING_REPLY_H

/* Directories that a mount answers with: pages that are kept, and pages in the making. For static_files.c; each
 * struct static_mounts has one struct listings. */

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct file_cache;
struct mount;

/* Pages in the making: one at a time, so that a crowd costs the memory of one. Other requests wait for their turn. */
struct listings {
    struct file_cache *cache;           /* borrowed: where pages are kept */
    struct listing_visit *running;      /* whose page is made now, or NULL */
    struct listing_visit *first, *last; /* who waits, in the order of asking */
};

/* Answer exchange with the contents of the directory path, len bytes, below the mount: 200 with a page, or what the
 * conditions of the request ask for. A page that was made before is sent again as long as the directory's times have
 * not changed, which each request checks, and no longer than a time that grows with what the page cost to make; the
 * file cache keeps it. Otherwise one is made, in steps of about a millisecond, and the answer may come after this call.
 * A page that is cut says so in the field Listing-Cut, and in the page.
 *
 * Returns 0 when the exchange is answered or will be, or -errno with nothing answered: -ENOENT, -EACCES, -ENOMEM,
 * ... */
int listing_reply(struct listings *listings, struct mount *mount, struct exchange *exchange, const char *path,
                  size_t len, int64_t now_ms);

#endif
