/* Accessors of requests for handlers. */

#include "http/exchange.h"

#include "core/ascii.h"
#include "core/net.h"
#include "core/sys.h"
#include "http/conn.h"
#include "http/conn_deadline.h"
#include "http/server_internal.h"

#include <netinet/in.h>
#include <stdio.h>
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

static socklen_t conn_peer_address(const struct conn *conn, struct sockaddr_storage *address)
{
    *address = (struct sockaddr_storage){.ss_family = conn->peer_family};
    if (conn->peer_family == AF_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;
        in->sin_port = conn->peer_port;
        memcpy(&in->sin_addr, conn->peer_address, sizeof in->sin_addr);
        return sizeof *in;
    }
    if (conn->peer_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
        in6->sin6_port = conn->peer_port;
        memcpy(&in6->sin6_addr, conn->peer_address, sizeof in6->sin6_addr);
        return sizeof *in6;
    }
    return sizeof address->ss_family;
}

bool exchange_should_end(const struct exchange *exchange)
{
    return exchange->server->is_draining || exchange->site != exchange->server->site;
}

void conn_peer(const struct conn *conn, char *text, size_t len)
{
    char formatted[NET_TEXT_MAX] = "unix:";
    struct sockaddr_storage address;
    socklen_t address_len = conn_peer_address(conn, &address);
    if (address.ss_family != AF_UNIX) {
        net_address_format((struct sockaddr *)&address, address_len, formatted);
    }
    snprintf(text, len, "%s", formatted);
}

socklen_t exchange_peer_address(const struct exchange *exchange, struct sockaddr_storage *address)
{
    return conn_peer_address(exchange->conn, address);
}

void exchange_peer(const struct exchange *exchange, char *text, size_t len)
{
    conn_peer(exchange->conn, text, len);
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
