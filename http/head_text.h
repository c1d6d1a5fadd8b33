#ifndef EVSERVE_HTTP_HEAD_TEXT_H
#define EVSERVE_HTTP_HEAD_TEXT_H

/* The small writers of response heads. Each takes a cursor into memory that the caller has reserved, writes there, and
 * returns the cursor behind what it wrote. Nothing is checked, nothing fails. */

#include "http/status.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HEAD_ROOM = 256 }; /* bytes for the status line, Date, framing and Connection fields of any head */

static inline char *put(char *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

static inline char *put_text(char *at, const char *text)
{
    return put(at, text, strlen(text));
}

static inline char *put_number(char *at, uint64_t number)
{
    if (number < 10) {
        *at++ = (char)('0' + number);
        return at;
    }
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return put(at, digits + first, sizeof digits - first);
}

/* The status line and the name of the Date field: its value comes next. */
static inline char *put_status_line(char *at, int status)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nDate: ";
    if (status == 200) { /* most responses */
        return put(at, ok, sizeof ok - 1);
    }
    at = put_text(at, "HTTP/1.1 ");
    at = put_number(at, (uint64_t)status);
    *at++ = ' ';
    at = put_text(at, status_reason(status));
    return put_text(at, "\r\nDate: ");
}

#endif
