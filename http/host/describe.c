/* Failure modes: what evserve_start() would refuse, in the same words, except for addresses that are taken. */

#include "http/host/describe.h"

#include "core/log.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/route_table.h"

int describe_plan(struct plan *plan, struct worker *worker, const char *listen, bool is_whole,
                  const struct describe_target *target)
{
    int rv = plan_read_script(plan, target->err, target->errlen);
    rv = rv < 0 ? rv : worker_load(worker, target->err, target->errlen);
    const struct offer *offer = worker->offer;
    if (rv >= 0 && is_whole) {
        rv = plan_start_tls(plan, offer, target->err, target->errlen);
    }
    if (rv >= 0 && is_whole) {
        rv = offer_describe(offer, listen, target->line, target->arg, target->err, target->errlen);
    }
    if (rv >= 0) {
        rv = route_table_write(offer->site, target->line, target->arg);
        rv = rv < 0 ? error_text(target->err, target->errlen, rv, "cannot check: %s", errno_text(-rv)) : rv;
    }
    return rv;
}
