#ifndef EVSERVE_HTTP_COMPRESS_FIELDS_H
#define EVSERVE_HTTP_COMPRESS_FIELDS_H

/* The fields of requests and responses by which the coding of a response is chosen, and which tell of it: for
 * http/compress.c. */

#include "http/encoding.h"

#include <stdbool.h>

struct compress_options;
struct exchange;

/* Whether a response with this Content-Type, or the one among its fields, may be compressed: not one that has a coding,
 * a range, a digest or no-transform. */
bool compress_suits(const struct exchange *exchange, const char *type, const struct compress_options *options);

/* What the client accepts and the host likes best. */
enum encoding compress_choose(const struct exchange *exchange, const struct compress_options *options);

/* Say that the response depends on Accept-Encoding. Returns 0 or -ENOMEM. */
int compress_add_vary(struct exchange *exchange);

/* The response is compressed: add Content-Encoding, and the coding to a strong entity tag: "x" becomes "x-gzip".
 * Returns 0 or -ENOMEM. */
int compress_mark(struct exchange *exchange, enum encoding encoding);

/* A request's If-Match and If-None-Match: take the codings off the tags, so that whoever made them knows them. Those
 * that the client has are in exchange->tag_coding. */
void compress_hear_tags(struct exchange *exchange);

/* A 304 for a client that has such a tag: give it that one. Returns 0 or -ENOMEM. */
int compress_mark_unchanged(struct exchange *exchange);

#endif
