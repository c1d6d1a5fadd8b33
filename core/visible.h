#ifndef EVSERVE_CORE_VISIBLE_H
#define EVSERVE_CORE_VISIBLE_H

/* Text that clients and scripts have made, as it may be shown: nothing in it moves a cursor, begins a line of its own,
 * turns the direction of reading, or is invisible. UTF-8 stays readable. What is not shown as it is becomes \n, \xHH (a
 * control character of ASCII, or a byte that is no UTF-8) or \uHHHH. */

#include <stddef.h>

enum { VISIBLE_PIECE_MAX = 8 }; /* bytes of an escape, its NUL included */

/* What else is done with a text. */
enum visible_manner {
    VISIBLE_LINE,   /* it is part of a line: a newline is escaped */
    VISIBLE_LINES,  /* it has several lines: newlines are kept */
    VISIBLE_QUOTED, /* it stands between quotes: " and \ are escaped, too, as \" and \\ */
};

/* How many bytes at the beginning of text can be shown as they are. */
size_t visible_span(const char *text, size_t len, enum visible_manner manner);

/* Write the escape of the character at the beginning of text, behind such a span. len is not 0. Returns how many bytes of
 * text it is for. */
size_t visible_escape(const char *text, size_t len, char piece[VISIBLE_PIECE_MAX]);

/* Copy text, escaped, into a buffer of outlen bytes, always NUL-terminated; what does not fit is cut, between characters.
 * Returns the length of the copy; *taken is how much of text it is for. */
size_t visible_copy(char *out, size_t outlen, const char *text, size_t len, enum visible_manner manner, size_t *taken);

#endif
