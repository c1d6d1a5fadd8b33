/* Accessors of requests for handlers. */

#include "http/exchange.h"

#include "core/ascii.h"
#include "core/sys.h"
#include "http/conn.h"
#include "http/conn_deadline.h"
#include "http/service.h"

#include <string.h>

const char *exchange_end_text(struct exchange *exchange, struct slice slice)
{
    bool is_copy = exchange->head_data == exchange->head_copy;
    char *head = is_copy ? exchange->head_copy : exchange->input.data + (exchange->head_data - exchange->input.data);
    head[slice.offset + slice.len] = '\0';
    return head + slice.offset;
}

const char *exchange_known_field(const struct exchange *exchange, enum known_field field, size_t *len)
{
    unsigned index = exchange->head.first[field];
    if (index == 0) {
        return NULL;
    }
    struct slice value = exchange->head.fields[index - 1].value;
    *len = value.len;
    return exchange_text(exchange, value);
}

int64_t exchange_write_deadline_ms(const struct exchange *exchange)
{
    return exchange->conn->waits_for == WAIT_WRITE ? exchange->conn->deadline_ms : INT64_MAX;
}

const char *exchange_field(const struct exchange *exchange, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == name_len && ascii_equals(exchange_text(exchange, field->name), name, name_len)) {
            *len = field->value.len;
            return exchange_text(exchange, field->value);
        }
    }
    return NULL;
}

bool exchange_should_end(const struct exchange *exchange)
{
    return exchange->service->is_draining || exchange->site != exchange->service->site;
}

void exchange_start_clock(struct exchange *exchange)
{
    exchange->is_timed = true;
    if (exchange->turn_end_ns == 0) {
        exchange->turn_end_ns = sys_now_ns() + TURN_NS;
    }
}

void exchange_stop_clock(struct exchange *exchange)
{
    if (sys_now_ns() >= exchange->turn_end_ns) {
        exchange_end_turn(exchange);
    }
}

void exchange_end_turn(struct exchange *exchange)
{
    exchange->conn->turn_requests = UINT8_MAX - 1; /* above any budget, also with this request counted */
}
