/* The numbers of the server, for monitoring systems: a route of a host. */

#include "http/host/evs_internal.h"

#include "http/metrics.h"

void evs_metrics(evs_request *request, void *arg)
{
    metrics_serve(exchange_of(request), arg);
}
