#ifndef EVSERVE_HTTP_ERROR_PAGES_STATE_H
#define EVSERVE_HTTP_ERROR_PAGES_STATE_H

/* The error pages of a host as responses see them: http/response.c knows no files, so it calls send. Made and filled by
 * http/error_pages.h. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct file_cache;

enum {
    ERROR_PAGES_MAX = 64,     /* files of a host */
    ERROR_STATUS_FIRST = 400, /* the first status that may have one */
    ERROR_STATUS_COUNT = 200, /* how many there are */
};

struct error_page;

struct error_pages {
    /* Respond with the page of a status, if there is one; the fields that were added go along, except those about
     * content. Returns whether it has responded. */
    bool (*send)(struct exchange *exchange, const struct error_pages *pages, int status);

    struct file_cache *cache; /* borrowed */
    int base_fd;              /* borrowed: where relative names start, see sys_base() */
    size_t count;
    struct error_page *pages[ERROR_PAGES_MAX]; /* owned */
    uint8_t by_status[ERROR_STATUS_COUNT];     /* 1 + index of the page that was set for it, or 0 */
    uint8_t by_class[2];                       /* of those that were set for none of their own: 4xx, 5xx */
};

#endif
