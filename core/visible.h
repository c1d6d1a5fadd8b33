#ifndef EVSERVE_CORE_VISIBLE_H
#define EVSERVE_CORE_VISIBLE_H

/* Text from clients and scripts, made safe to show: nothing in it moves a cursor, starts a line of its own, turns the
 * direction of reading, or is invisible. UTF-8 stays readable. Escapes are \n, \xHH (a control character of ASCII, or a
 * byte that is not UTF-8) and \uHHHH. */

#include <stddef.h>

enum { VISIBLE_PIECE_MAX = 8 }; /* bytes of an escape, its NUL included */

/* The place where a text is shown. */
enum visible_manner {
    VISIBLE_LINE,   /* it is part of a line: a newline is escaped */
    VISIBLE_LINES,  /* it has several lines: newlines are kept */
    VISIBLE_QUOTED, /* it stands between quotes: " and \ are escaped too, as \" and \\ */
};

/* How many bytes at the beginning of text can be shown as they are. */
size_t visible_span(const char *text, size_t len, enum visible_manner manner);

/* Write the escape of the character at the beginning of text, which is where such a span ends. len is not 0. Returns
 * how many bytes of text the escape stands for. */
size_t visible_escape(const char *text, size_t len, char piece[VISIBLE_PIECE_MAX]);

/* Copy text, escaped, into a buffer of outlen bytes. The copy is always NUL-terminated; if it does not fit, it is cut
 * between characters. Returns the length of the copy, and in *taken how many bytes of text it stands for. */
size_t visible_copy(char *out, size_t outlen, const char *text, size_t len, enum visible_manner manner, size_t *taken);

#endif
