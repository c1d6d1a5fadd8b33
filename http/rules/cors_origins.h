#ifndef EVSERVE_HTTP_RULES_CORS_ORIGINS_H
#define EVSERVE_HTTP_RULES_CORS_ORIGINS_H

/* Which origins may read responses: the list of app.cors, and what browsers send in Origin (RFC 6454 section 6.2). No
 * I/O; any thread. */

#include <stdbool.h>
#include <stddef.h>

enum {
    CORS_ORIGINS_MAX = 100,     /* of one rule */
    CORS_ORIGIN_TEXT_MAX = 300, /* bytes of one of them, with its NUL */
};

struct cors_origins;

/* Read a list separated by commas: "*" alone, or of
 *
 *     https://app.example   this origin
 *     http://localhost:*    any port, or none
 *     null                  what browsers send for sandboxed frames, files and the like
 *
 * A host of "*.example.org" stands for the hosts below example.org, however deep, but not for example.org itself.
 * Schemes and hosts are compared in lower case. Returns the list, or NULL with *error -EINVAL, -ENOSPC or -ENOMEM and a
 * text in err that quotes what is wrong. Freed by mem_free(). */
struct cors_origins *cors_origins_create(const char *list, int *error, char *err, size_t errlen);

/* Whether the list is "*"; and whether it has "null". */
bool cors_origins_is_any(const struct cors_origins *origins);
bool cors_origins_has_null(const struct cors_origins *origins);

/* Whether the list has the origin. One that it has consists of letters, digits and "-._:/[]". */
bool cors_origins_allow(const struct cors_origins *origins, const char *origin, size_t len);

#endif
