#ifndef EVSERVE_HTTP_HOST_EVS_FORM_H
#define EVSERVE_HTTP_HOST_EVS_FORM_H

/* What forms and the parts of multipart bodies share. */

#include <stddef.h>

struct exchange;

/* The Content-Type of a request, "" when there is none. */
const char *evs_body_type(const struct exchange *exchange, size_t *len);

/* What multipart_begin() says with 415 or 400. */
const char *evs_multipart_reason(int status);

#endif
