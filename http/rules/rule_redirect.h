#ifndef EVSERVE_HTTP_RULES_RULE_REDIRECT_H
#define EVSERVE_HTTP_RULES_RULE_REDIRECT_H

/* Paths that have moved: app.redirect_from. They come before all other rules and before routes. */

#include <stddef.h>

struct rules;

enum {
    REDIRECTS_MAX = 10000,      /* of one site */
    REDIRECT_TARGET_MAX = 2048, /* bytes of a target */
};

/* Redirect the paths that fit pattern (http/router.h; the most exact pattern decides, whatever the order) to target,
 * for all methods. target is a path, a URL of http or https, or "//host/path", percent-encoded. In its path and query
 * ":name" and "*rest" stand for what the parameters of the pattern have matched; a plain ':' before a letter is written
 * %3A, and a plain '*' %2A, as in patterns. The query that the client has sent is added.
 *
 * status is 301, 302, 303, 307 or 308; or 410 with a target of NULL: what was there is gone.
 *
 * where is the place of the call, or "". Returns 0, or with nothing changed -EINVAL, -EEXIST, -ENOSPC or -ENOMEM and a
 * text in err that quotes what is wrong. */
int rule_redirect_add(struct rules **rules, const char *pattern, const char *target, int status, const char *where,
                      char *err, size_t errlen);

#endif
