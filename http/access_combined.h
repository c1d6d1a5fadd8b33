#ifndef EVSERVE_HTTP_ACCESS_COMBINED_H
#define EVSERVE_HTTP_ACCESS_COMBINED_H

/* The straight way to a line of the format "combined", for nearly all requests: the begin of the line is there already,
 * the request line is copied as it came, and the fields are found in one pass. */

#include "http/access_memo.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;

enum {
    ACCESS_BLOCK_BYTES = 65536, /* of lines, after which they are written to the file */
    ACCESS_COMBINED_MAX = 4096, /* bytes of a line that is written this way */
};

struct access_buffer;

/* Write the line of an exchange whose response is complete and was begun in this turn. bytes: of the response, head and
 * framing included. Returns whether the line was written, exchange not being is_logged any more. If not, no line has
 * changed: this one is the first of the buffer or finds it full, it is a long one, has a user or a text to be escaped,
 * or its route wants none. http/access_log.c has the other way. */
typedef bool (*access_combined_fn)(struct access_buffer *buffer, struct exchange *exchange, uint64_t bytes);

/* The lines of one thread that are not written to the file. */
struct access_buffer {
    access_combined_fn write_usual; /* one of the functions below */
    char *block;                    /* "used" bytes of lines, and room for more of them; NULL while the log is off */
    uint32_t used;                  /* bytes in block */
    bool is_timed;                  /* the format, whichever it is, shows how long requests take */
    struct access_memo memo;        /* times and addresses, as written last */
};

/* The fastest one for this CPU; and the n-th, or NULL: for tests. */
access_combined_fn access_combined_best(void);
access_combined_fn access_combined_variant(unsigned n);

/* For another format, and while the log is off: writes no line. */
bool access_combined_never(struct access_buffer *buffer, struct exchange *exchange, uint64_t bytes);

#endif
