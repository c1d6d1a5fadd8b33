/* Whether the server is well: a route for balancers.
 *
 * Happy path: a check that says nothing, "ok". Failure modes: the server stops, or the host's check says why not. */

#include "http/host/evs_internal.h"

#include "http/exchange.h"
#include "http/service.h"

#include <stdio.h>
#include <string.h>

enum { HEALTH_REASON_MAX = 512 }; /* bytes of what a check says */

int evs_is_stopping(evs_request *request)
{
    return exchange_of(request)->service->is_stopping ? 1 : 0;
}

void evs_health(evs_request *request, void *arg)
{
    const struct evs_health_check *asked = arg;
    char why[HEALTH_REASON_MAX] = "";
    char text[HEALTH_REASON_MAX + 1];
    const struct service *service = exchange_of(request)->service;
    int rv = service->is_stopping && !service->is_replaced ? 1 : 0;
    if (rv != 0) {
        snprintf(why, sizeof why, "stopping");
    } else if (asked != NULL && asked->check != NULL) {
        rv = asked->check(asked->arg, why, sizeof why);
        why[sizeof why - 1] = '\0';
    }
    int len = snprintf(text, sizeof text, "%s\n", rv == 0 ? "ok" : why[0] == '\0' ? "failed" : why);
    (void)evs_set_header(request, "Cache-Control", "no-store");
    (void)evs_reply(request, rv == 0 ? 200 : 503, "text/plain; charset=utf-8", text, (size_t)len);
}
