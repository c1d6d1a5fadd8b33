#ifndef EVSERVE_CORE_TLS_NAMES_H
#define EVSERVE_CORE_TLS_NAMES_H

/* Names of servers, and what belongs to each: "example.org", or "*.example.org" for all names with one label more
 * (RFC 6125, section 6.4.3). Case does not matter, nor does a dot at the end. Reading is for any thread once nothing
 * is added any more. */

#include <stdbool.h>
#include <stddef.h>

struct tls_name;

struct tls_names {
    struct tls_name *list; /* sorted by name */
    size_t count;          /* of list */
    size_t capacity;       /* of list */
};

/* Returns 0; -EEXIST: another value has the name already, and keeps it; -EINVAL for what is no name; or -ENOMEM.
 * value is borrowed. */
int tls_names_add(struct tls_names *names, const char *name, size_t len, void *value);

/* The same, but the value takes the place of another one. Returns 0, -EINVAL or -ENOMEM. */
int tls_names_set(struct tls_names *names, const char *name, size_t len, void *value);

/* The value of a name itself, else that of its wildcard, else NULL. */
void *tls_names_find(const struct tls_names *names, const char *name, size_t len);

/* The value of exactly this name, which may be a wildcard; or NULL. */
void *tls_names_get(const struct tls_names *names, const char *name, size_t len);

/* The n-th name in their order, NULL behind the last. */
const char *tls_names_at(const struct tls_names *names, size_t n);

/* All names of a value in their order, with a blank between two: a text to be freed by mem_free(). NULL without
 * memory. */
char *tls_names_join(const struct tls_names *names, const void *value);

/* Free the list; names is empty then. */
void tls_names_done(struct tls_names *names);

#endif
