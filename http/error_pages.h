#ifndef EVSERVE_HTTP_ERROR_PAGES_H
#define EVSERVE_HTTP_ERROR_PAGES_H

/* Files in place of the texts that the server sends with an error: "404.html" for 404. They come from the file cache,
 * so a file that is replaced on disk is sent within a second, with the type that its name says and the status of the
 * error. A file that is not there leaves the server's own text. */

#include "http/error_pages_state.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct file_cache;
struct log;

enum { ERROR_STATUS_TEXT = 4 }; /* bytes of "404" or "4xx" with its NUL */

/* Set a page for statuses: "404", "4xx", "5xx", or several of these, separated by commas or spaces. A status of its own
 * wins over its class. *pages is made when it is NULL; the cache is borrowed and must outlive it. file is a path;
 * for_proxied: it takes the place of such responses of other servers, too (http/proxy/). Returns 0, or -errno with a
 * text in err: -EINVAL, -EEXIST (a status has a page), -ENOSPC, -ENOMEM, or the directory cannot be opened. */
int error_pages_add(struct error_pages **pages, struct file_cache *cache, int base_fd, const char *statuses,
                    const char *file, bool for_proxied, char *err, size_t errlen);

void error_pages_destroy(struct error_pages *pages); /* NULL is allowed */

/* In a forked child: close the fds of the directories and leave everything else as it is. NULL is allowed. */
void error_pages_abandon(const struct error_pages *pages);

/* For responses of other servers, whose fields have been added: if there is a page that takes the place of their
 * content, drop the fields about that and respond with the page. Returns whether it has responded. pages may be
 * NULL. */
bool error_pages_replace(struct exchange *exchange, const struct error_pages *pages, int status);

/* The directory of the n-th page, or NULL past the last one. pages may be NULL. */
const char *error_pages_directory(const struct error_pages *pages, size_t n);

/* For tables of routes: the n-th status or class that has a page, "404" or "5xx", in status, and the file as it was
 * given. Returns false past the last one. pages may be NULL. */
bool error_pages_get(const struct error_pages *pages, size_t n, char status[ERROR_STATUS_TEXT], const char **file);

/* Log a warning for each file that is not there now. That is no error: it may appear later. pages and log may be
 * NULL. */
void error_pages_log_missing(const struct error_pages *pages, const struct log *log);

#endif
