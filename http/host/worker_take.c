/* Happy path: the start and each reload have a worker take over what its plan and its offer say.
 *
 * Failure modes: what cannot be taken over for lack of memory stays as it was. */

#include "http/host/worker_take.h"

#include "core/broker.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/tick_clock.h"
#include "core/tls_context.h"
#include "http/access_file.h"
#include "http/access_format.h"
#include "http/access_hosts.h"
#include "http/access_log.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/server.h"
#include "http/site.h"

#include <errno.h>

/* Certificates. */

void worker_take_tls(struct worker *worker)
{
    struct tls_context *context = tls_keeper_get(&worker->plan->tls);
    if (context != NULL) {
        (void)server_set_tls(worker->server, context); /* it has its pool since the start, so this does not fail */
        tls_context_put(context);
    }
}

static void on_tls_renewed(void *arg)
{
    worker_take_tls(arg);
}

/* The first worker looks for all of them whether the files of the certificates have changed. One that cannot be told
 * for lack of memory is told at the next change. */
static void on_tls_look(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker *first = arg;
    if (tls_keeper_look(&first->plan->tls)) {
        worker_take_tls(first);
        for (unsigned i = 1; i < first->count; i++) {
            (void)mailbox_post(&first->all[i].mailbox, on_tls_renewed, &first->all[i]);
        }
    }
}

int worker_take_first_tls(struct worker *worker, char *err, size_t errlen)
{
    struct tls_context *context = tls_keeper_get(&worker->plan->tls);
    if (context == NULL) {
        return 0;
    }
    int rv = server_set_tls(worker->server, context);
    tls_context_put(context);
    if (rv == 0 && worker->number == 0 &&
        reactor_set_interval(worker->reactor, TLS_LOOK_MS, on_tls_look, worker) == 0) {
        rv = -ENOMEM;
    }
    return rv == 0 ? 0 : error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
}

/* The rest of an offer. */

void worker_take_stalls(struct worker *worker)
{
    stalls_watch(&reactor_clock(worker->reactor)->stalls, worker->offer->site->limits.stall_warning_ms,
                 &server_service(worker->server)->stats.stalls);
}

void worker_take_outbound(struct worker *worker)
{
    const struct site *site = worker->offer->site;
    outbound_set_policy(&worker->outbound, site->denied, site->limits.dns_cache_ms);
    worker->outbound.links.max = (unsigned)site->limits.max_outbound;
    outbound_forget_files(&worker->outbound);
}

void worker_take_broker(struct worker *worker)
{
    const char *url = worker->offer->site->broker;
    char err[BROKER_ERROR_MAX];
    if (worker->number != 0 || (worker->broker == NULL && url == NULL) ||
        (worker->broker != NULL && url != NULL && broker_has_url(worker->broker, url))) {
        return;
    }
    const struct broker_config config = {
        .bell = &worker->bell,
        .url = url,
        .hub = worker->plan->hub,
        .reactor = worker->reactor,
        .outbound = &worker->outbound,
        .log = worker->log,
        .base_fd = worker->plan->base_fd,
    };
    broker_destroy(worker->broker);
    worker->broker = NULL;
    if (url != NULL && broker_create(&worker->broker, &config, err, sizeof err) < 0) {
        log_write(worker->log, LOG_ERROR, "there is no broker: %s", err); /* it was checked: memory is short */
    }
}

/* The access log. */

/* The logs of hosts. The files are those that the offer of the first thread has named; a script that names another one
 * on this thread gets none. Returns 0 or -ENOMEM. */
static int open_host_logs(struct worker *worker)
{
    struct site *site = worker->offer->site;
    int rv = 0;
    for (size_t i = 0; rv == 0 && site->access_hosts != NULL && i < site->access_hosts->count; i++) {
        struct access_host *host = &site->access_hosts->list[i];
        struct access_file *file = access_keeper_find(&worker->plan->access, host->target);
        if (file == NULL) {
            log_write(worker->log, LOG_WARN,
                      "the access log %s of a host: another thread has not named it, so its lines go to the log of the "
                      "server: a script must name the same files on each thread",
                      host->target);
        } else {
            rv = access_hosts_open(site, host, file, worker->reactor);
        }
        access_file_put(file);
    }
    return rv;
}

int worker_take_access(struct worker *worker)
{
    struct access_file *file;
    struct access_format *format;
    const struct access_hosts *hosts = worker->offer->site->access_hosts;
    int rv = 0;
    access_keeper_get(&worker->plan->access, &file, &format);
    if ((file != NULL || hosts != NULL) && worker->access == NULL) {
        rv = access_log_create(&worker->access, worker->reactor);
    }
    if (rv == 0 && worker->access != NULL) {
        rv = access_log_change(worker->access, file, format);
        /* For good: a request in flight may have seen it. */
        service_set_access(server_service(worker->server), worker->access,
                           access_log_is_timed(worker->access) || access_hosts_are_timed(hosts));
    }
    access_file_put(file);
    access_format_put(format);
    return rv < 0 ? rv : open_host_logs(worker);
}
