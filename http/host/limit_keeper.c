/* Failure mode: without memory a server does not start, and a reload changes nothing. */

#include "http/host/limit_keeper.h"

#include "core/limiter.h"
#include "http/rules/rule_limit.h"
#include "http/site.h"
#include "http/vhost.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void limit_keeper_init(struct limit_keeper *keeper)
{
    *keeper = (struct limit_keeper){0};
    pthread_mutex_init(&keeper->lock, NULL);
}

void limit_keeper_done(struct limit_keeper *keeper)
{
    limiter_destroy(keeper->limiter);
    pthread_mutex_destroy(&keeper->lock);
}

static bool needs_limiter(const struct site *site)
{
    const struct vhost *vhost;
    for (size_t n = 0; (vhost = site_host(site, n)) != NULL; n++) {
        if (rule_limit_has(vhost->rules)) {
            return true;
        }
    }
    return false;
}

int limit_keeper_settle(struct limit_keeper *keeper, struct site *site)
{
    if (!needs_limiter(site)) {
        return 0;
    }
    size_t entries = (size_t)site->limits.limit_entries;
    pthread_mutex_lock(&keeper->lock);
    int rv = keeper->limiter == NULL ? limiter_create(&keeper->limiter, entries)
                                     : limiter_resize(keeper->limiter, entries);
    site->limiter = keeper->limiter;
    pthread_mutex_unlock(&keeper->lock);
    return rv == -ENOSPC ? 0 : rv;
}
