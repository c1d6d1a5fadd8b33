#ifndef EVSERVE_HTTP_COOKIE_H
#define EVSERVE_HTTP_COOKIE_H

/* Cookies that a client sends (RFC 6265 sections 4.2 and 5.4). */

#include <stdbool.h>
#include <stddef.h>

struct cookie {
    const char *name, *value; /* slices of the Cookie value, as they were sent */
    size_t name_len, value_len;
};

/* Take the next cookie of a Cookie value; *text and *len move on. Returns false at its end. White space around names
 * and values does not belong to them; quotes do, as they do for browsers. What has no "=" or no name is skipped. */
bool cookie_next(const char **text, size_t *len, struct cookie *cookie);

#endif
