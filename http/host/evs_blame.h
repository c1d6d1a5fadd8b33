#ifndef EVSERVE_HTTP_HOST_EVS_BLAME_H
#define EVSERVE_HTTP_HOST_EVS_BLAME_H

/* Mistakes of a host, as lines in its log. */

#include "core/log.h"

struct exchange;

/* Log a line that names the route, the function of evserve.h that was called, and what is wrong. */
void evs_blame(struct exchange *exchange, enum log_level level, const char *function, const char *why);

#endif
