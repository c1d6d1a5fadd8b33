#ifndef EVSERVE_HTTP_LISTING_H
#define EVSERVE_HTTP_LISTING_H

/* The contents of a directory as an HTML page: links to what can be asked for, directories first, then by name without
 * regard to case. Memory is bounded by LISTING_ENTRIES_MAX and LISTING_PAGE_MAX; a page that is cut says so. */

#include <stdbool.h>
#include <stddef.h>

enum {
    LISTING_ENTRIES_MAX = 2000, /* entries read from a directory; the system calls of one answer are a few for each */
    LISTING_PAGE_MAX = 1 << 20, /* bytes of a page */
};

struct listing {
    int root_fd;       /* what files are served beneath; may be an O_PATH fd */
    const char *path;  /* the directory below root_fd, normalised, "" for root_fd itself */
    const char *title; /* what the page calls it: the path of the request, decoded; title_len bytes */
    size_t title_len;
    bool has_parent;     /* the page links to the directory above */
    bool shows_dotfiles; /* dot files are listed too */
};

/* Make the page. It lists regular files and directories, and links that lead to one beneath root_fd; dot files only on
 * demand; special files and other links, which are not served, never. Names go through percent-encoding (RFC 3986) where
 * they are links and through HTML escapes where they are text; what is not UTF-8 or a control character shows as U+FFFD.
 * Returns 0 with *page, to be freed with mem_free(), or -errno: -ENOENT, -ENOTDIR, -EACCES, -EXDEV, -ENOMEM, ... */
int listing_make(const struct listing *listing, char **page, size_t *len);

#endif
