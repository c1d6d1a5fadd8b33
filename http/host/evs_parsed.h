#ifndef EVSERVE_HTTP_HOST_EVS_PARSED_H
#define EVSERVE_HTTP_HOST_EVS_PARSED_H

/* What was parsed of a request because its host asked for it. Made when the host first asks; kept until the exchange
 * serves another request of a host, or returns to its pool. */

#include "http/pairs.h"

struct evs_parts; /* of evs_parts.c */
struct exchange;

struct evs_parsed {
    struct pairs *query;     /* NULL before the host asked for it */
    struct pairs *cookies;   /* likewise */
    struct pairs *form;      /* likewise, and for a body that is no form */
    int form_status;         /* the HTTP status for a body that is no form, negated; else 0 */
    const char *reason;      /* why a form or its parts cannot be had, static text; NULL when nothing failed */
    struct evs_parts *parts; /* a multipart body that is taken part by part */
};

/* What was parsed, empty at first. NULL without memory. */
struct evs_parsed *evs_parsed_of(struct exchange *exchange);

/* Free it, if there is any. */
void evs_drop_parsed(struct exchange *exchange);

#endif
