#ifndef EVSERVE_HTTP_REPRESENTATION_H
#define EVSERVE_HTTP_REPRESENTATION_H

/* A file as the representation of the resource that was requested (RFC 9110 section 3.2). For static files, listings
 * and handlers that respond with files. */

struct cached_file;
struct exchange;
struct mount;

/* Respond to GET or HEAD with a file: 200, or as the conditions and the Range of the request demand (RFC 9110 sections
 * 13 and 14). type is the Content-Type, NULL for the file's own; it is needed no longer than this call. The fields of
 * mount, which may be NULL, are in responses without the file too. Takes over one reference to file. */
void representation_answer(struct exchange *exchange, const struct mount *mount, struct cached_file *file,
                           const char *type);

/* Respond with a status and all of a file, whatever the request asked for; with 2xx its fields go along. type as above.
 * Takes over one reference to file. */
void representation_send(struct exchange *exchange, int status, struct cached_file *file, const char *type);

/* The status for a file that cannot be served: 403, 404, 500 or 503. error is an -errno of file_cache_get(). */
int representation_status(int error);

/* Respond with that status. */
void representation_refuse(struct exchange *exchange, int error);

#endif
