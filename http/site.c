/* What is asked about all hosts of a site. */

#include "http/site.h"

#include "http/handler.h"
#include "http/router.h"

static bool logs_slow(const struct vhost *vhost, const struct limits *limits)
{
    const struct route *route;
    bool has_limit = vhost_limits(vhost, limits)->log_slow_ms > 0;
    for (size_t n = 0; !has_limit && (route = router_route(vhost->router, n)) != NULL; n++) {
        const struct limits *own = route->handler->limits;
        has_limit = own != NULL && own->log_slow_ms > 0;
    }
    return has_limit;
}

bool site_logs_slow(const struct site *site)
{
    const struct vhost *vhost;
    bool has_limit = false;
    for (size_t n = 0; !has_limit && (vhost = site_host(site, n)) != NULL; n++) {
        has_limit = logs_slow(vhost, &site->limits);
    }
    return has_limit;
}
