#ifndef EVSERVE_HTTP_CONN_PHASE_H
#define EVSERVE_HTTP_CONN_PHASE_H

/* What the connections of a server are doing, for its metrics: counted when somebody looks, so connections pay nothing
 * for it. */

#include "http/service.h"

#include <stdint.h>

struct conn_pool;

/* Count the open connections of a pool by phase. They are looked at one by one: some nanoseconds each. The reactor's
 * thread. */
void conn_phase_count(const struct conn_pool *pool, uint64_t counts[CONN_PHASES]);

#endif
