#ifndef EVSERVE_HTTP_RULES_RULE_CORS_H
#define EVSERVE_HTTP_RULES_RULE_CORS_H

/* Which pages of other origins may read responses below a prefix: app.cors (Fetch standard, "CORS protocol"). Fields are
 * added to all responses, refusals and redirects included, except to those that have Access-Control-Allow-Origin.
 * Preflights are answered before any other rule is asked. The longest prefix decides alone. */

#include <stdbool.h>
#include <stddef.h>

struct rules;

enum {
    CORS_LIST_MAX = 4096,    /* bytes of a list of methods or fields */
    CORS_AGE_MAX = 31536000, /* seconds for which browsers may keep the response to a preflight */
    CORS_AGE_NONE = -1,      /* nothing is said about that */
};

struct rule_cors {
    const char *origins; /* http/rules/cors_origins.h; "": none, which ends what a shorter prefix allows */
    const char *methods; /* that pages may use, separated by commas, or "*"; NULL: the usual ones */
    const char *headers; /* names of fields that they may send, likewise; NULL: Content-Type */
    const char *expose; /* names of fields of responses that they may read, likewise; NULL: none beside the safe ones */
    bool credentials;   /* they may send cookies and passwords */
    int max_age;        /* seconds, up to CORS_AGE_MAX, or CORS_AGE_NONE */
};

/* Add a rule. Returns 0, or with nothing changed -EINVAL, -ENOSPC or -ENOMEM and a text in err that begins with the
 * member that is wrong. */
int rule_cors_add(struct rules **rules, const char *prefix, const struct rule_cors *cors, char *err, size_t errlen);

#endif
