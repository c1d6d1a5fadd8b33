#ifndef EVSERVE_HTTP_NUMBER_H
#define EVSERVE_HTTP_NUMBER_H

/* Doubles as decimal text and back, exactly and without a locale: neither snprintf() nor strtod(). */

#include <stddef.h>

enum { NUMBER_TEXT_MAX = 32 }; /* bytes that number_format() may need */

/* Write the shortest text that reads back as the same number: digits alone for whole numbers below 10^16, which are all
 * exact, an exponent only from there on and below 10^-6. (With more digits and no exponent, a reader with whole numbers
 * of any length would take another number.) Those that are not finite are "nan", "inf" and "-inf". Returns the length
 * of the text; there is no NUL. */
size_t number_format(char text[NUMBER_TEXT_MAX], double number);

/* The double nearest to a number in the grammar of JSON (RFC 8259 section 6), ties to even: infinite when it is too
 * large, 0 when it is too small. The text must be well formed. */
double number_parse(const char *text, size_t len);

#endif
