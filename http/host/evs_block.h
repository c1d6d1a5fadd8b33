#ifndef EVSERVE_HTTP_HOST_EVS_BLOCK_H
#define EVSERVE_HTTP_HOST_EVS_BLOCK_H

/* Copies of what a host's config points to, all in one block of memory: it is measured first, while data is NULL, then
 * filled by the same calls in the same order. */

#include <stddef.h>

struct evs_field;
struct evs_limits;

struct evs_block {
    char *data;
    size_t used; /* bytes */
};

/* Copy size bytes, aligned for pointers. Returns the copy, or NULL while measuring. */
void *evs_block_put(struct evs_block *block, const void *from, size_t size);

/* Copy a text; NULL stays NULL. */
const char *evs_block_text(struct evs_block *block, const char *text);

/* Copy an array of texts, which NULL ends; NULL stays NULL. */
const char *const *evs_block_texts(struct evs_block *block, const char *const *texts);

/* Copy limits, which may be shorter than today's; NULL stays NULL. An invalid size is kept, to be refused later with
 * the name of the member. */
const struct evs_limits *evs_block_limits(struct evs_block *block, const struct evs_limits *limits);

/* Copy an array of fields with their texts, which a NULL name ends; NULL stays NULL. */
const struct evs_field *evs_block_fields(struct evs_block *block, const struct evs_field *fields);

#endif
