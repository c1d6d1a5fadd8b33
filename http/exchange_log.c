/* Happy path: the level is off, and nothing happens. Otherwise the request gets an id, if it had none. */

#include "http/exchange_log.h"

#include "core/net_address.h"
#include "http/exchange.h"
#include "http/peer.h"
#include "http/request_id.h"
#include "http/service.h"

#include <stdarg.h>

void exchange_log(struct exchange *exchange, enum log_level level, const void *place, const char *format, ...)
{
    const struct log *log = exchange->service->log;
    if (!log_is_on(log, level)) {
        return;
    }
    char client[NET_TEXT_MAX];
    peer_format(exchange->peer, client, sizeof client);
    const struct log_subject subject = {.client = client, .request_id = request_id(exchange), .place = place};
    va_list args;
    va_start(args, format);
    log_write_args(log, level, &subject, format, args);
    va_end(args);
}
