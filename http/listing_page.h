#ifndef EVSERVE_HTTP_LISTING_PAGE_H
#define EVSERVE_HTTP_LISTING_PAGE_H

/* The HTML of a listing, piece by piece: its functions are for listing.c alone. */

#include "core/write_buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct listing {
    int root_fd;       /* files are served beneath it; may be an O_PATH fd */
    const char *path;  /* the directory below root_fd, normalised, "" for root_fd itself */
    const char *title; /* name of the directory on the page: the path of the request, decoded; title_len bytes */
    size_t title_len;
    uint64_t rows_max;   /* entries that the page shows */
    bool has_parent;     /* the page links to the directory above */
    bool shows_dotfiles; /* dot files are listed too */
};

struct listing_row {
    const char *name; /* at most NAME_MAX bytes */
    size_t name_len;
    uint64_t size;   /* bytes of a file */
    int64_t mtime_s; /* last change of its contents, since the epoch */
    bool is_directory;
};

/* Each appends to page and returns 0, -ENOMEM or -ENOBUFS. cut_rows: rows after which the page is cut; 0 if it is
 * whole. */
int listing_put_head(struct write_buffer *page, const struct listing *listing, uint64_t cut_rows);
int listing_put_row(struct write_buffer *page, const struct listing_row *row);
int listing_put_tail(struct write_buffer *page, uint64_t rows, bool is_cut);

#endif
