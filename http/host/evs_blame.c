/* Lines such as "route GET /users (evserve_config.routes[0]): evs_reply: the content is NULL". */

#include "http/host/evs_blame.h"

#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/router.h"

void evs_blame(struct exchange *exchange, enum log_level level, const char *function, const char *why)
{
    const struct route *route = exchange_route(exchange);
    if (route == NULL) { /* one of the hooks of evserve_config */
        exchange_log(exchange, level, why, "response to %s: %s: %s", exchange->path, function, why);
    } else {
        exchange_log(exchange, level, why, "route %s (%s): %s: %s", route->pattern, route->where, function, why);
    }
}
