#ifndef EVSERVE_HTTP_EXCHANGE_LOG_H
#define EVSERVE_HTTP_EXCHANGE_LOG_H

/* Lines of the log about a request: they name the client and the id of the request. */

#include "core/log.h"

struct exchange;
struct log_field;

/* Write a line if its level is on. place: equal for lines of the same origin, see struct log_subject. */
void exchange_log(struct exchange *exchange, enum log_level level, const void *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same with fields, count of them. */
void exchange_log_fields(struct exchange *exchange, enum log_level level, const void *place,
                         const struct log_field *fields, unsigned count, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
