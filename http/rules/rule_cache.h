#ifndef EVSERVE_HTTP_RULES_RULE_CACHE_H
#define EVSERVE_HTTP_RULES_RULE_CACHE_H

/* How long responses below a prefix may be kept: app.cache. Cache-Control is added to 200, 206 and 304 for GET and HEAD
 * that have none, be they files, those of handlers, or proxied. */

#include <stddef.h>

struct rules;

enum { CACHE_ENTRIES_MAX = 64 }; /* entries of one rule */

/* An entry of a rule. pattern is one of
 *
 *   "*.css", "sw.js"         the last segment of the path; * stands for any characters, also none
 *   "text/html", "image/ *"  (without the blank) the media type, in any case; "* / *" fits every response
 *
 * What fits nothing, since it is written as elsewhere, is refused: ".css", "*.{css,js}", "*.css,*.js", "assets/ *.css".
 *
 * value is a time and perhaps further directives, "30d" or "1y, immutable", or directives alone, "no-cache". A time has
 * a unit, s, m, h, d, w or y (365 days), or is 0; it becomes max-age.
 *
 * Of the entries of a rule, the most exact one that fits decides: names come before media types, those without a *
 * before those with one, and among those the longer one. If none fits, the next shorter prefix is asked. */
struct rule_cache_entry {
    const char *pattern, *value;
};

/* Add a rule. Returns 0, or with nothing changed -EINVAL, -ENOSPC or -ENOMEM and a text in err that names the entry. */
int rule_cache_add(struct rules **rules, const char *prefix, const struct rule_cache_entry *entries, size_t count,
                   char *err, size_t errlen);

#endif
