#ifndef EVSERVE_HTTP_HOST_EVS_FORM_H
#define EVSERVE_HTTP_HOST_EVS_FORM_H

/* Shared by forms and the parts of multipart bodies. */

#include <stddef.h>

struct exchange;

/* The Content-Type of a request, "" if there is none. */
const char *evs_body_type(const struct exchange *exchange, size_t *len);

/* The reason, as static text, for a 415 or 400 of multipart_begin(). */
const char *evs_multipart_reason(int status);

#endif
