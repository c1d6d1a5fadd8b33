#ifndef EVSERVE_HTTP_PROXY_METRICS_H
#define EVSERVE_HTTP_PROXY_METRICS_H

/* What the metrics of a server say of upstreams: how long their responses took, and how often they failed. */

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct proxy;
struct upstream;

/* An upstream has responded to this exchange after so many milliseconds; or it has failed. Costs a branch where no route
 * shows metrics. */
void proxy_metrics_note(struct proxy *proxy, const struct exchange *exchange, const struct upstream *upstream,
                        int64_t took_ms, bool has_failed);

#endif
