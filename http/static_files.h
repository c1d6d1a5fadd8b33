#ifndef EVSERVE_HTTP_STATIC_FILES_H
#define EVSERVE_HTTP_STATIC_FILES_H

/* GET and HEAD of files below mounted directories (RFC 9110 sections 8, 9.3.1, 9.3.2, 13, 14). */

#include "http/static_options.h"

#include <stdbool.h>
#include <stddef.h>

struct asset;
struct cached_file;
struct exchange;
struct file_cache;
struct log;
struct static_mounts;

enum { STATIC_MOUNTS_MAX = 64, STATIC_PREFIX_MAX = 255, STATIC_WHERE_MAX = 544 };

/* cache is borrowed and must outlive the mounts. Returns 0 or -ENOMEM. */
int static_mounts_create(struct static_mounts **mounts, struct file_cache *cache);
void static_mounts_destroy(struct static_mounts *mounts); /* NULL is allowed; files being sent stay valid */

/* Relative directories start at the directory base_fd, borrowed: see sys_base(). Before directories are added. */
void static_mounts_set_base(struct static_mounts *mounts, int base_fd);

/* In a process forked from that of the mounts: close their fds, and leave everything else as it is. */
void static_mounts_abandon(struct static_mounts *mounts);

/* Serve the files of directory below prefix ("/" or "/assets"); the longest prefix wins. A second mount of the same
 * prefix is refused. options may be NULL. Returns 0, or -errno with a text that names the directory or the prefix:
 * -EINVAL (no usable prefix, or an option that is wrong), -EEXIST, -ENOSPC (more than STATIC_MOUNTS_MAX), -ENOENT,
 * -ENOTDIR, -EACCES, ... */
int static_mounts_add(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen);

/* Mount like static_mounts_add(), and let this mount win over later ones of the same prefix, which are then ignored
 * without an error: for what the command line or the host says against the script. */
int static_mounts_pin(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen);

/* The same of count files in memory (http/assets.h). -EBADMSG: the text begins with what is wrong with them: an asset
 * ("assets[2]: ..."), "fallback" or "not_found", which must be among them, or "list": files in memory are not listed. */
int static_mounts_pin_assets(struct static_mounts *mounts, const char *prefix, const struct asset *assets, size_t count,
                             const struct static_options *options, char *err, size_t errlen);

/* Log a warning for each fallback and not_found that is not in its directory now. It may come later: that is no error.
 * log may be NULL. */
void static_mounts_log_missing(const struct static_mounts *mounts, const struct log *log);

/* The n-th mount in the order of adding, for route tables. Returns false past the last. *directory is NULL for files in
 * memory. */
bool static_mounts_get(const struct static_mounts *mounts, size_t n, const char **prefix, const char **directory);

/* Answer exchange->path from a mounted file. Of a file that is there in several codings the client gets the one it likes
 * best (http/encoding.h). A directory is answered with its index file, else with a list of what is in it if the mount
 * says so, or redirected to its slash form; a path with empty segments ("//a") to the one without them. What is not there
 * is the mount's fallback, else 404 with what the mount has for it, or 405 with Allow when exchange->match.allowed says
 * that a route has the path with other methods; what may not be read is 403, and so is what lies outside the mounted
 * directory. Dot files are 404, but for those that the mount shows and for /.well-known/ (RFC 8615). Methods other than
 * GET and HEAD are 405. Out of memory or fds it is 503, and 500 when the disk fails. */
void static_mounts_serve(struct static_mounts *mounts, struct exchange *exchange);

/* Add the fields of the mount that covers exchange->path to an answer that is not made of a file. */
void static_mounts_add_fields_of_path(const struct static_mounts *mounts, struct exchange *exchange);

/* Answer GET or HEAD with a file: 200, or what the request's conditions and its Range ask for. type is the Content-Type,
 * NULL for the file's own; it is needed no longer than this call. Takes over one reference to file. */
void static_file_answer(struct exchange *exchange, struct cached_file *file, const char *type);

/* Answer with a status and all of a file, whatever the request asked for; with 2xx its fields go along. type as above.
 * Takes over one reference to file. */
void static_file_send(struct exchange *exchange, int status, struct cached_file *file, const char *type);

/* Answer that a file cannot be served: 403, 404, 500 or 503, as error, an -errno of file_cache_get(), says. */
void static_file_refuse(struct exchange *exchange, int error);

/* Whether a mount covers path. */
bool static_mounts_cover(const struct static_mounts *mounts, const char *path, size_t len);

#endif
