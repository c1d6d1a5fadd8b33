#ifndef EVSERVE_HTTP_BYTERANGES_H
#define EVSERVE_HTTP_BYTERANGES_H

/* Responses with parts of a file (RFC 9110 sections 14.4, 14.6, 15.3.7 and 15.5.17). */

#include "http/range.h"

#include <stdint.h>

struct cached_file;
struct exchange;

/* Respond with the ranges of set, which lie within the file: 206, with Content-Range for one of them, with
 * multipart/byteranges for several, in the order of the set. Carries the fields of the 200 response. type is the file's
 * Content-Type, needed no longer than this call. Takes over one reference to file. If there is no memory, or there are
 * no random bytes for the boundary, the response is a 503. */
void byteranges_answer(struct exchange *exchange, struct cached_file *file, const char *type,
                       const struct range_set *set);

/* Respond that none of the requested ranges lies within a file of size bytes: 416 with its length. */
void byteranges_refuse(struct exchange *exchange, uint64_t size);

#endif
