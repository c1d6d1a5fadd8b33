#ifndef EVSERVE_HTTP_RULES_RULE_FIELDS_H
#define EVSERVE_HTTP_RULES_RULE_FIELDS_H

/* Fields of all responses below a prefix: app.headers. They are in error pages, files and proxied responses, too, but
 * not in interim ones. What the longer prefix says about a name decides. */

#include <stdbool.h>
#include <stddef.h>

struct rules;

enum {
    RULE_FIELDS_MAX = 64,        /* lines of one rule */
    RULE_FIELDS_TEXT_MAX = 8192, /* bytes of them, with a colon, a blank and CRLF for each */
};

struct rule_field {
    const char *name;
    const char *value; /* NULL: responses have no field of that name */
};

/* Add a rule. A field is added where the response has none of that name, except Vary, which is added to one; with
 * replaces, it takes the place of those that the response has. Several lines of one name stand together. Returns 0, or
 * with nothing changed -EINVAL, -ENOSPC or -ENOMEM and a text in err that names the field. */
int rule_fields_add(struct rules **rules, const char *prefix, const struct rule_field *fields, size_t count,
                    bool replaces, char *err, size_t errlen);

#endif
