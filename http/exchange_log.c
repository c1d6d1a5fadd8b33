/* Happy path: the level is off, and nothing happens. Otherwise the request gets an id, if it had none. */

#include "http/exchange_log.h"

#include "core/net_address.h"
#include "http/exchange.h"
#include "http/peer.h"
#include "http/request_id.h"
#include "http/service.h"

#include <stdarg.h>

static void write_about(struct exchange *exchange, enum log_level level, struct log_subject *subject,
                        const char *format, va_list args) __attribute__((format(printf, 4, 0)));
static void write_about(struct exchange *exchange, enum log_level level, struct log_subject *subject,
                        const char *format, va_list args)
{
    char client[NET_TEXT_MAX];
    peer_format(exchange_client(exchange), client, sizeof client);
    subject->client = client;
    subject->request_id = request_id(exchange);
    log_write_args(exchange->service->log, level, subject, format, args);
}

void exchange_log(struct exchange *exchange, enum log_level level, const void *place, const char *format, ...)
{
    if (!log_is_on(exchange->service->log, level)) {
        return;
    }
    struct log_subject subject = {.place = place};
    va_list args;
    va_start(args, format);
    write_about(exchange, level, &subject, format, args);
    va_end(args);
}

void exchange_log_fields(struct exchange *exchange, enum log_level level, const void *place,
                         const struct log_field *fields, unsigned count, const char *format, ...)
{
    if (!log_is_on(exchange->service->log, level)) {
        return;
    }
    struct log_subject subject = {.place = place, .fields = fields, .field_count = count};
    va_list args;
    va_start(args, format);
    write_about(exchange, level, &subject, format, args);
    va_end(args);
}
