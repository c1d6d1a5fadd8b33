#ifndef EVSERVE_HTTP_LISTING_PAGE_H
#define EVSERVE_HTTP_LISTING_PAGE_H

/* The HTML of a listing, piece by piece. For listing.c alone. */

#include "core/write_buffer.h"
#include "http/listing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct listing_row {
    const char *name; /* at most NAME_MAX bytes */
    size_t name_len;
    uint64_t size;   /* bytes of a file */
    int64_t mtime_s; /* last change of its contents, since the epoch */
    bool is_directory;
};

/* Each appends to page and returns 0, -ENOMEM or -ENOBUFS. cut_rows: the page is cut after so many; 0: it is whole. */
int listing_put_head(struct write_buffer *page, const struct listing *listing, uint64_t cut_rows);
int listing_put_row(struct write_buffer *page, const struct listing_row *row);
int listing_put_tail(struct write_buffer *page, uint64_t rows, bool is_cut);

#endif
