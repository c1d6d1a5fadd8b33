#ifndef EVSERVE_HTTP_STATUS_H
#define EVSERVE_HTTP_STATUS_H

/* HTTP status codes (RFC 9110 section 15, RFC 6585). A status is a plain int, never mixed with -errno. */

#include <stdbool.h>

/* The reason phrase, "Unknown" for a code without one. Static text. */
const char *status_reason(int status);

/* 100 to 599 are valid; a final status is not 1xx. */
static inline bool status_is_final(int status)
{
    return status >= 200 && status <= 599;
}

/* No content may follow the head (RFC 9110 section 6.4.1): 1xx, 204, 304. */
static inline bool status_has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}

#endif
