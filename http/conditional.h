#ifndef EVSERVE_HTTP_CONDITIONAL_H
#define EVSERVE_HTTP_CONDITIONAL_H

/* Conditional requests (RFC 9110 section 13) and the dates in them (section 5.6.7). Pure, except for a look at the wall
 * clock, which only a date with a two-digit year needs. Any thread. */

#include "http/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What tells one version of a representation from another (RFC 9110 section 8.8). */
struct validators {
    const char *etag;        /* entity tag with its quotes; a weak one begins with W/ */
    size_t etag_len;         /* bytes of etag */
    bool has_last_modified;  /* last_modified_s is known: without it conditions on dates are ignored */
    int64_t last_modified_s; /* what Last-Modified says, seconds since the epoch */
};

enum precondition {
    PRECONDITION_HOLDS,        /* respond as if there were no conditions */
    PRECONDITION_NOT_MODIFIED, /* 304 */
    PRECONDITION_FAILED,       /* 412 */
};

/* Whether a request has conditions or a Range. Most have none; then PRECONDITION_HOLDS, and there is no range. */
static inline bool conditional_is_asked(const struct head *head)
{
    return (head->first[FIELD_RANGE] | head->first[FIELD_IF_MATCH] | head->first[FIELD_IF_NONE_MATCH] |
            head->first[FIELD_IF_MODIFIED_SINCE] | head->first[FIELD_IF_UNMODIFIED_SINCE]) != 0;
}

/* Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since of a request in the order of RFC 9110
 * section 13.2.2. To be called if the response without conditions would be 2xx (section 13.2.1) and the resource has a
 * current representation. data is where the slices of head begin.
 *
 * If-Modified-Since is compared exactly: nobody knows which version another date names, since dates go back if a backup
 * or an earlier release is restored. 200 is then always right. */
enum precondition conditional_evaluate(const struct head *head, const char *data, const struct validators *validators);

/* The Range field to apply if the conditions hold (RFC 9110 section 13.2.2 step 5). NULL if the whole representation is
 * to be sent: there is no Range, or more than one; the method is not GET (section 14.2); or If-Range does not name this
 * very version, by an equal strong tag, or by an equal date that is strong (section 13.1.5).
 *
 * A date is strong (section 8.8.2.2) once the second that it names is over: until then the representation may change
 * without the date showing it. A client that took its copy within that second must not send the date. */
const struct field *conditional_range(const struct head *head, const char *data, const struct validators *validators);

enum etag_comparison { ETAG_STRONG, ETAG_WEAK }; /* RFC 9110 section 8.8.3.2 */

/* Whether the value of an If-Match or If-None-Match field, a list of entity tags or "*", covers etag. Reading ends at
 * the first element that is no entity tag: what follows it covers nothing. */
bool conditional_list_covers(const char *list, size_t len, const char *etag, size_t etag_len,
                             enum etag_comparison comparison);

#endif
