#ifndef EVSERVE_HTTP_RANGE_H
#define EVSERVE_HTTP_RANGE_H

/* The Range field (RFC 9110 sections 14.1 and 14.2): which bytes of a representation the client wants. Pure: no I/O, no
 * allocation. Any thread. */

#include <stddef.h>
#include <stdint.h>

/* Ranges in one field; a field with more is ignored. As many as Apache accepts; zsync requests 20 at a time. */
enum { RANGES_MAX = 200 };

/* Bytes of a representation, at least one. */
struct byte_range {
    uint64_t first; /* offset of the first byte */
    uint64_t len;   /* bytes */
};

/* Ranges in the order of the request. No two of them have a byte in common. */
struct range_set {
    size_t count; /* of ranges in use */
    struct byte_range ranges[RANGES_MAX];
};

enum range_verdict {
    RANGE_IGNORED,       /* respond as if there were no Range */
    RANGE_SATISFIABLE,   /* 206 with the set, which has at least one range */
    RANGE_UNSATISFIABLE, /* 416 */
};

/* Read the value of a Range field against a representation of size bytes.
 *
 * A field is ignored, as section 14.2 allows or demands, if its unit is not bytes, its syntax is wrong, or it has more
 * than RANGES_MAX ranges. Ranges beyond the end are left out, and ranges that overlap become one, in the place of the
 * earliest (section 15.3.7.2). So a response never sends a byte twice: at most it is the file and RANGES_MAX part
 * heads, whatever the client sends (section 17.15). Ranges that merely touch stay apart.
 *
 * *set is changed only if the verdict is RANGE_SATISFIABLE. */
enum range_verdict range_parse(const char *text, size_t len, uint64_t size, struct range_set *set);

#endif
