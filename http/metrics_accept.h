#ifndef EVSERVE_HTTP_METRICS_ACCEPT_H
#define EVSERVE_HTTP_METRICS_ACCEPT_H

/* Which format of metrics a client wants, from its Accept field (RFC 9110, section 12.5.1). No state. */

#include <stdbool.h>
#include <stddef.h>

/* Whether that is OpenMetrics 1: it is named, without a version or with 1.x, and not worth less than text/plain, which
 * is what everybody else gets. value may be NULL for no field. */
bool metrics_accept_open(const char *value, size_t len);

#endif
