#ifndef EVSERVE_HTTP_STATIC_FILES_H
#define EVSERVE_HTTP_STATIC_FILES_H

/* GET and HEAD of files below mounted directories (RFC 9110 sections 8, 9.3.1, 9.3.2, 13, 14). */

struct exchange;
struct static_mounts;

/* Answer exchange->path from a mounted file. Of a file that is there in several codings the client gets the one it likes
 * best (http/encoding.h). A directory is answered with its index file, else with a list of what is in it if the mount
 * says so, or redirected to its slash form; a path with empty segments ("//a") to the one without them. What is not there
 * is the mount's fallback, else 404 with what the mount has for it, or 405 with Allow when exchange->match.allowed says
 * that a route has the path with other methods; what may not be read is 403, and so is what lies outside the mounted
 * directory. Dot files are 404, but for those that the mount shows and for /.well-known/ (RFC 8615). Methods other than
 * GET and HEAD are 405. Out of memory or fds it is 503, and 500 when the disk fails. */
void static_files_serve(struct static_mounts *mounts, struct exchange *exchange);

#endif
