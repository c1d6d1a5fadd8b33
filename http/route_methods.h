#ifndef EVSERVE_HTTP_ROUTE_METHODS_H
#define EVSERVE_HTTP_ROUTE_METHODS_H

/* Methods of routes. "GET /users" names a method that the parser knows; "PROPFIND /dav" names one that it does not
 * know, and "* /proxy" takes all (RFC 9110 section 9.1: a method is any token). A router keeps the names of the second
 * kind and numbers them: a method is its enum method, or, from METHOD_COUNT on, the place of its name. A set of methods
 * is a word with a bit for each number; bit METHOD_OTHER stands for all methods that have no number. */

#include "http/message.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ROUTE_METHODS_MAX = 56,        /* methods unknown to the parser that the routes of a site may name: IANA lists 33 */
    ROUTE_METHODS_TEXT_MAX = 2048, /* bytes of a set of methods as text, all of them with names of METHOD_NAME_MAX */
};

#define METHOD_BIT(number) ((uint64_t)1 << (number))
#define METHODS_KNOWN      (METHOD_BIT(METHOD_OTHER) - 1) /* those with an enum method of their own */
#define METHODS_ALL        (METHOD_BIT(METHOD_COUNT) - 1) /* of a route for "*" */

/* The names that the parser does not know, in the order of their first use. Zero it to begin with. */
struct route_methods {
    unsigned count;                                     /* of names */
    char names[ROUTE_METHODS_MAX][METHOD_NAME_MAX + 1]; /* each ends with NUL */
};

/* Add the method called name, or all with "*", to a set. Returns 0, or -EINVAL or -ENOSPC (ROUTE_METHODS_MAX) with a
 * text in err that names it, and *set as it was. */
int route_methods_add(struct route_methods *methods, const char *name, size_t len, uint64_t *set, char *err,
                      size_t errlen);

/* The number of a method of set that the parser does not know, or METHOD_OTHER if none has that name. */
unsigned route_methods_find(const struct route_methods *methods, uint64_t set, const char *name, size_t len);

/* The methods that two sets have in common, with METHOD_OTHER for methods without a name. */
uint64_t route_methods_common(uint64_t a, uint64_t b);

/* Write a set as a field value, "GET, HEAD, PROPFIND", or "*" if METHOD_OTHER is among them. */
void route_methods_format(const struct route_methods *methods, uint64_t set, char text[ROUTE_METHODS_TEXT_MAX]);

#endif
