#ifndef EVSERVE_HTTP_CONNECTION_OPTIONS_H
#define EVSERVE_HTTP_CONNECTION_OPTIONS_H

/* What the Connection fields of a message name (RFC 9110 section 7.6.1): other fields of it, which end where it ends.
 * They are listed once, so that a message costs no more than its bytes and so many names for each of its fields. No
 * allocation; any thread. */

#include <stdbool.h>
#include <stddef.h>

enum { CONNECTION_OPTIONS_MAX = 64 }; /* names; messages have hardly more than two */

struct connection_option {
    const char *name; /* in the message, not NUL-terminated */
    size_t len;
};

/* Begins with zeros in count and has_more. */
struct connection_options {
    size_t count;
    bool has_more; /* than CONNECTION_OPTIONS_MAX, of which the first ones are listed */
    struct connection_option list[CONNECTION_OPTIONS_MAX];
};

/* Add the names in a value of Connection. */
void connection_options_add(struct connection_options *options, const char *value, size_t len);

/* Whether a name, in any case, is among them. */
bool connection_options_have(const struct connection_options *options, const char *name, size_t len);

#endif
