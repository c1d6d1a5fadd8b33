/* Failure modes: what evserve_start() would refuse, in the same words, except for addresses that are taken. */

#include "http/host/describe.h"

#include "core/log.h"
#include "core/tls_context.h"
#include "http/host/offer.h"
#include "http/host/offer_describe.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/route_table.h"

#include <stddef.h>
#include <stdio.h>

enum { CERTIFICATE_LINE_MAX = 4096 }; /* bytes of a line about one */

/* The certificates that are read for the listeners, with their names and their end. */
static void describe_certificates(struct plan *plan, const struct describe_target *target)
{
    char text[CERTIFICATE_LINE_MAX];
    struct tls_context *context = tls_keeper_get(&plan->tls);
    size_t used = (size_t)snprintf(text, sizeof text, "tls     ");
    for (size_t n = 0; context != NULL && tls_context_describe(context, n, text + used, sizeof text - used); n++) {
        target->line(target->arg, text);
    }
    tls_context_put(context);
}

int describe_plan(struct plan *plan, struct worker *worker, const char *listen, bool is_whole,
                  const struct describe_target *target)
{
    int rv = plan_read_script(plan, target->err, target->errlen);
    rv = rv < 0 ? rv : worker_load(worker, target->err, target->errlen);
    const struct offer *offer = worker->offer;
    if (rv >= 0 && is_whole) {
        rv = plan_start_tls(plan, offer, target->err, target->errlen);
        rv = rv < 0 ? rv : plan_check_access(plan, offer, target->err, target->errlen);
        rv = rv < 0 ? rv : offer_describe(offer, listen, target->line, target->arg, target->err, target->errlen);
    }
    if (rv >= 0 && is_whole) {
        describe_certificates(plan, target);
        plan_warn_of_unused(plan, offer);
    }
    if (rv >= 0) {
        rv = route_table_write(offer->site, target->line, target->arg);
        rv = rv < 0 ? error_text(target->err, target->errlen, rv, "cannot check: %s", errno_text(-rv)) : rv;
    }
    return rv;
}
