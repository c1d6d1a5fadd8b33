#ifndef EVSERVE_HTTP_HOST_NAME_H
#define EVSERVE_HTTP_HOST_NAME_H

/* Names under which something is served, and the hosts that requests ask for, in the one form in which they can be
 * compared: lower case, without a port and without a dot at the end, an IPv6 address in brackets as inet_ntop(3) writes
 * it. Pure functions. */

#include <stdbool.h>
#include <stddef.h>

enum {
    HOST_NAME_MAX_BYTES = 253
}; /* of a name (RFC 1035 section 2.3.4, without the root); so of a form with brackets */

struct host_name {
    size_t len;                         /* of text */
    char text[HOST_NAME_MAX_BYTES + 3]; /* NUL-terminated */
};

/* Check a name that an operator wrote, and bring it into that form: "example.org", "192.0.2.1", "[::1]" or "::1", and
 * "*.example.org", which stands for all names that end in ".example.org". Returns 0; or -EINVAL with a text in err that
 * quotes it and says what is expected. */
int host_name_parse(struct host_name *name, const char *text, char *err, size_t errlen);

/* Whether a name that host_name_parse() accepts is one of DNS, for which there are certificates, and no address. */
bool host_name_is_dns(const char *text);

/* The length of the host in an authority: without a port, and without the dot at the end of a name. */
size_t host_name_cut(const char *authority, size_t len);

/* Bring the host of an authority, whose syntax is valid, into that form. An empty one, and one that is longer than any
 * name, is an empty text. */
void host_name_of_authority(struct host_name *name, const char *authority, size_t len);

#endif
