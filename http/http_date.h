#ifndef EVSERVE_HTTP_HTTP_DATE_H
#define EVSERVE_HTTP_HTTP_DATE_H

/* HTTP-dates (RFC 9110 section 5.6.7): written as IMF-fixdate, read in all three formats. No I/O, no allocation, no
 * state; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_DATE_LEN = 29 }; /* bytes of an IMF-fixdate, without a NUL */

/* Write seconds since the epoch as an IMF-fixdate, HTTP_DATE_LEN bytes without NUL: "Sun, 06 Nov 1994 08:49:37 GMT". A
 * time whose year does not have four digits is written as the epoch. */
void http_date_format(int64_t time_s, char text[HTTP_DATE_LEN]);

/* Parse an HTTP-date in any of its three formats into seconds since the epoch; now_s settles the century of the format
 * that has two digits for the year (a now_s whose own year does not have four digits counts as the epoch). Returns
 * false for everything else, and for a moment outside the years 0000 to 9999, so that each date that is read can be
 * written; *time_s is then unchanged. The day's name must be that of a day, but whether it is the right one is not
 * checked. */
bool http_date_parse(const char *text, size_t len, int64_t now_s, int64_t *time_s);

#endif
