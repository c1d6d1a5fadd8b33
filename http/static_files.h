#ifndef EVSERVE_HTTP_STATIC_FILES_H
#define EVSERVE_HTTP_STATIC_FILES_H

/* GET and HEAD of files below mounted directories (RFC 9110 sections 8, 9.3.1, 9.3.2, 13, 14). */

struct exchange;
struct static_mounts;

/* Respond to exchange->path with a mounted file. If the file is there in several codings, the client gets the one that
 * it prefers (http/encoding.h). For a directory the response is its index file, else a list of its files if the mount
 * lists them, or a redirect to the path with a slash at its end; a path with empty segments ("//a") is redirected to
 * the path without them. If there is no file, the response is the fallback of the mount, else 404 with the mount's
 * not_found, or 405 with Allow if exchange->match.allowed says that a route has the path with other methods. Files that
 * may not be read, or lie outside the mounted directory, are 403. Dot files are 404, except those that the mount shows
 * and /.well-known/ (RFC 8615). Methods other than GET and HEAD are 405. If memory or fds are short the response is
 * 503, and if the disk fails 500. */
void static_files_serve(struct static_mounts *mounts, struct exchange *exchange);

#endif
