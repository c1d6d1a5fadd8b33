#ifndef EVSERVE_HTTP_FIELD_LINE_H
#define EVSERVE_HTTP_FIELD_LINE_H

/* Field lines: name ":" white space, value, white space, CRLF; an empty line ends them (RFC 9112 section 5). Request
 * heads, trailers, the parts of a form and responses all consist of them, and this scanner reads them all: no I/O, no
 * allocation.
 *
 * It is strict: a name is a token, the colon follows at once, a value has no control characters, each line ends in CRLF
 * and none is continued. It is incremental: called again with more bytes it resumes where it stopped. What it does not
 * know are limits and reasons: the caller counts lines and bytes, and words the error for a byte that is wrong.
 *
 * The parser of request heads takes most lines faster, with the vector instructions of the CPU
 * (http/h1/parser_whole.h); it takes only lines that this scanner takes, too, and with the same result, and leaves the
 * others to it. */

#include "http/message.h"

#include <stddef.h>
#include <stdint.h>

/* Where a line can be interrupted, in the order of its bytes. */
enum field_line_state {
    FIELD_LINE_BEGIN,  /* at the first byte of a line */
    FIELD_LINE_NAME,   /* in the name, behind its first byte */
    FIELD_LINE_SPACE,  /* in the white space before the value */
    FIELD_LINE_VALUE,  /* in the value or the white space after it */
    FIELD_LINE_LF,     /* behind the CR of the line */
    FIELD_LINE_END_LF, /* behind the CR of the empty line */
};

/* A scanner; {0} is one at the first byte of the first line. */
struct field_line {
    uint8_t state; /* enum field_line_state */
    uint32_t pos;  /* offset of the next byte to look at */
    uint32_t mark; /* where the name or the value begins */
};

enum field_line_verdict {
    FIELD_LINE_INCOMPLETE, /* the bytes end within a line, or before it */
    FIELD_LINE_WHOLE,      /* a line ended: pos is behind it */
    FIELD_LINE_EMPTY,      /* the empty line ended: pos is behind it */
    FIELD_LINE_WRONG,      /* the byte at pos may not come in this state, neither of which has moved past it */
};

/* Read one line, or what there is of it, from data + line->pos on; at most len bytes lie at data. *field gets the name
 * when its colon was found, and the value at the end of the line, as offsets from data. If field is NULL, nothing is
 * read before line->pos: then the bytes of a line that came earlier need not be kept, and the caller may set pos
 * anew. */
enum field_line_verdict field_line_scan(struct field_line *line, const char *data, size_t len, struct field *field);

#endif
