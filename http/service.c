/* The server as the message storey sees it. No failure modes: nothing here allocates. */

#include "http/service.h"

#include "core/sys.h"
#include "http/site.h"

#include <stddef.h>

void service_init(struct service *service, struct reactor *reactor, struct site *site, const struct log *log,
                  const struct handler *static_handler)
{
    *service = (struct service){
        .reactor = reactor,
        .site = site,
        .log = log,
        .static_handler = *static_handler,
        .files_first = *static_handler,
        .date_s = -1,
    };
    service->files_first.body_mode = BODY_UNDECIDED; /* the route may want it */
    service_note_first(service);
}

void service_set_hooks(struct service *service, const struct server_hooks *hooks)
{
    service->hooks = *hooks;
    service->before_handler = (struct handler){.body_mode = BODY_UNWANTED, .name = hooks->before_name};
    service->not_found_handler = (struct handler){.serve = hooks->not_found,
                                                  .ctx = hooks->arg,
                                                  .body_mode = BODY_UNWANTED,
                                                  .name = hooks->not_found_name};
    service_note_first(service);
}

/* Something was set on which it depends what is due for exchanges. */
static void note_dues(struct service *service)
{
    bool is_watched = service->hooks.finished != NULL;
    service->dues.is_watched = is_watched;
    service->dues.is_logged = service->access != NULL   ? LOGGED_SOON
                              : service->times_requests ? LOGGED_LATE
                                                        : LOGGED_NOT;
    service->dues.is_measured = service->counts != NULL;
    service->dues.is_paced = service->site->limits.rate_limit_bytes != 0 ? PACED_BY_LIMITS : PACED_NOT;
    service->dues.is_begun = is_watched || service->times_access || service->times_requests;
}

void service_set_access(struct service *service, struct access_log *access, bool is_timed)
{
    service->access = access;
    service->times_access = is_timed;
    note_dues(service);
}

void service_set_counts(struct service *service, struct metrics_counts *counts)
{
    __atomic_store_n(&service->counts, counts, __ATOMIC_RELEASE);
    note_dues(service);
}

void service_note_first(struct service *service)
{
    bool has_first = service->hooks.before != NULL || service->redirect.listeners != 0 || service->site->acme != NULL ||
                     service->site->trusted != NULL || service->site->strips_forwarded ||
                     service->site->default_host.rules != NULL || service->site->default_host.own_compress != NULL ||
                     service->site->hosts != NULL;
    service->has_first = service->has_first || has_first; /* requests of a former site may still need it */
    service->times_requests = site_logs_slow(service->site);
    note_dues(service);
}

const char *service_date(struct service *service)
{
    int64_t now_s = sys_wall_time_s();
    if (now_s != service->date_s) {
        service->date_s = now_s;
        http_date_format(now_s, service->date);
    }
    return service->date;
}

void service_get_stats(const struct service *service, struct server_stats *stats)
{
    static const size_t count = sizeof *stats / sizeof(uint64_t);
    for (size_t i = 0; i < count; i++) {
        ((uint64_t *)stats)[i] = __atomic_load_n((const uint64_t *)&service->stats + i, __ATOMIC_RELAXED);
    }
}
