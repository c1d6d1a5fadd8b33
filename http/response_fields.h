#ifndef EVSERVE_HTTP_RESPONSE_FIELDS_H
#define EVSERVE_HTTP_RESPONSE_FIELDS_H

/* The field lines that a handler adds to its response. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;

enum { RESPONSE_FIELDS_MAX = 16384 }; /* bytes of all fields that a handler adds to one response */

/* Add a field line to the response. Returns 0, -EINVAL when the name is not a token or the value has CR, LF, NUL or
 * another control character, -EPERM for fields that are the server's own (Content-Length, Transfer-Encoding, Connection
 * other than "close", Date, Keep-Alive, Trailer, Upgrade), -EEXIST for a second line of a field that may have one alone
 * (response_is_single_field()), -ENOBUFS beyond RESPONSE_FIELDS_MAX, or -ENOMEM; then the response is as before.
 * "Connection: close" closes the connection after the response. */
int response_add_field(struct exchange *exchange, const char *name, size_t name_len, const char *value,
                       size_t value_len);

/* The same in place of the lines of that name (in any case) that were added before; those are gone, too, when there is
 * no room for the new one. */
int response_set_field(struct exchange *exchange, const char *name, size_t name_len, const char *value,
                       size_t value_len);

/* Whether response_add_field() would take a field: 0, -EINVAL or -EPERM as there. */
int response_check_field(const char *name, size_t name_len, const char *value, size_t value_len);

/* Whether a response may have one line of that name at most, because its value is no list (RFC 9110 section 5.3). */
bool response_is_single_field(const char *name, size_t len);

/* The value of the first field of that name (in any case) that was added, and its length; not NUL-terminated, valid
 * until the fields change. NULL when there is none. */
const char *response_added_field(const struct exchange *exchange, const char *name, size_t name_len, size_t *value_len);

/* A walk over the fields of one name. */
struct response_field_walk {
    size_t at;         /* bytes of the fields that were looked at; 0 at first */
    const char *value; /* of the field found; not NUL-terminated, valid until the fields change */
    size_t value_len;
};

/* Find the next field of that name (in any case) that was added. Returns false at the end. */
bool response_next_field(const struct exchange *exchange, const char *name, size_t name_len,
                         struct response_field_walk *walk);

/* Drop the fields of that name that were added. */
void response_drop_field(struct exchange *exchange, const char *name, size_t name_len);

/* The response is a file, with field lines of its own, each with CRLF: drop the fields that were added and that may not
 * stand beside these, and those by which conditions and ranges are evaluated, since the server knows what it sends. */
void response_drop_rivals(struct exchange *exchange, const char *lines, size_t len);

/* Whether a Cache-Control was added: it takes the place of those that a mount or a file would send. */
bool response_has_caching(const struct exchange *exchange);

/* Copy the field lines of a file, len bytes, each with CRLF, without those whose place an added one takes. Returns the
 * end of the copy, for which there is room. */
char *response_put_lines(const struct exchange *exchange, char *at, const char *lines, size_t len);

/* Drop those of the fields that were added which describe a content that is not sent after all: its type, coding and
 * language, its validators, how long it may be kept (a Cache-Control without an age, such as no-store, stays). */
void response_drop_content_fields(struct exchange *exchange);

/* The fields that were added so far are to be in whatever response there will be. */
void response_keep_fields(struct exchange *exchange);

/* Whether a line of that name (in any case) is among those. */
bool response_keeps_field(const struct exchange *exchange, const char *name, size_t name_len);

/* Drop the fields that were added after response_keep_fields(): a handler failed halfway, and another response takes
 * its place. */
void response_clear_fields(struct exchange *exchange);

#endif
