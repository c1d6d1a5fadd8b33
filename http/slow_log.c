/* Happy path: slow_log_begin(), slow_log_end(), and the request was not slow. No failure modes: nothing here
 * allocates. */

#include "http/slow_log.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/visible.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/limits.h"
#include "http/router.h"
#include "http/service.h"
#include "http/vhost.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    SLOW_PATH_MAX = 1024,              /* bytes of a path in a line, with its NUL; a longer one is cut */
    SLOW_NUMBER_MAX = 32,              /* bytes of a number as text */
    SLOW_UPSTREAM_MAX = 320,           /* of what is said of an upstream: a longer name is cut */
    SLOW_FIELDS = 10,                  /* of each line, */
    SLOW_FIELDS_MAX = SLOW_FIELDS + 3, /* and of one of a proxied request for a host with names */
    MS_NS = 1000000,
};

void slow_log_begin(struct exchange *exchange, int64_t now_ns)
{
    exchange->is_clocked = true;
    exchange->slow = (struct slow_times){.began_ns = now_ns, .since_ns = now_ns, .is_in_turn = true};
}

/* What comes from now on is spent on part. */
static void go_on(struct slow_times *slow, enum slow_part part)
{
    int64_t now_ns = sys_now_ns();
    slow->spent_ns[slow->part] += now_ns - slow->since_ns;
    slow->since_ns = now_ns;
    slow->part = (uint8_t)part;
}

/* A turn neither waits for bytes nor for room. What takes long in it is whoever responds. */
static void judge_turn(struct exchange *exchange)
{
    struct slow_times *slow = &exchange->slow;
    bool has_responder = exchange->is_served || exchange->response_state != RESPONSE_NONE;
    if (slow->is_in_turn && slow->part == SLOW_READING && has_responder) {
        slow->part = SLOW_HANDLER;
    }
    slow->is_in_turn = false;
}

void slow_log_enter_turn(struct exchange *exchange, enum slow_part part)
{
    go_on(&exchange->slow, part);
    exchange->slow.is_in_turn = true;
}

void slow_log_leave_turn(struct exchange *exchange, enum slow_part part)
{
    judge_turn(exchange);
    go_on(&exchange->slow, part);
}

enum slow_part slow_log_enter_handler(struct exchange *exchange)
{
    enum slow_part part = (enum slow_part)exchange->slow.part;
    go_on(&exchange->slow, SLOW_HANDLER);
    return part;
}

void slow_log_leave_handler(struct exchange *exchange, enum slow_part part)
{
    go_on(&exchange->slow, part);
}

/* Lines. */

static const char *format_seconds(char text[SLOW_NUMBER_MAX], int64_t ns)
{
    snprintf(text, SLOW_NUMBER_MAX, "%" PRId64 ".%03d", ns / MS_NS / 1000, (int)(ns / MS_NS % 1000));
    return text;
}

/* What became of the request, if its response was not sent to its end. */
static const char *end_text(enum outcome_end end)
{
    switch (end) {
    case OUTCOME_COMPLETE:
        return "";
    case OUTCOME_GONE:
        return ", the client has left";
    case OUTCOME_TIMEOUT:
        return ", cut by a timeout";
    case OUTCOME_STOPPED:
        return ", cut by the stop";
    case OUTCOME_ABORTED:
        break;
    }
    return ", cut";
}

/* Who has responded, as text: "route /users/:id (site.lua:7)", the host's function, or "". */
static void format_responder(const struct exchange *exchange, const struct route *route, char *text, size_t len)
{
    const char *name = exchange->handler == NULL ? NULL : exchange->handler->name;
    text[0] = '\0';
    if (route != NULL) {
        bool has_place = route->where[0] != '\0';
        snprintf(text, len, ", route %s%s%s%s", route->pattern, has_place ? " (" : "", route->where,
                 has_place ? ")" : "");
    } else if (name != NULL) {
        snprintf(text, len, ", %s", name);
    }
}

/* What of a path fits. */
static void format_path(char text[SLOW_PATH_MAX], const char *path, size_t path_len)
{
    static const char cut[] = "...";
    size_t taken, room = SLOW_PATH_MAX - (sizeof cut - 1);
    size_t len = visible_copy(text, room, path, path_len, VISIBLE_LINE, &taken);
    if (taken < path_len) {
        memcpy(text + len, cut, sizeof cut);
    }
}

/* The path as it was sent: it has no space, after which a client could go on with the line in words of its own. */
static void format_target(char text[SLOW_PATH_MAX], const struct exchange *exchange)
{
    const struct slice target = exchange->head.target;
    const char *sent = exchange_text(exchange, target);
    const char *query = memchr(sent, '?', target.len);
    format_path(text, sent, query == NULL ? target.len : (size_t)(query - sent));
}

/* The server that app.proxy has asked, and how long that took, as text; or "". seconds has the number. */
static void format_upstream(const struct exchange *exchange, char *text, size_t len, char seconds[SLOW_NUMBER_MAX])
{
    text[0] = seconds[0] = '\0';
    if (exchange->is_proxied) {
        format_seconds(seconds, (int64_t)exchange->upstream.ms * MS_NS);
        snprintf(text, len, ", upstream %s took %s", exchange->upstream.address, seconds);
    }
}

__attribute__((noinline)) static void write_line(struct exchange *exchange, enum outcome_end end, int64_t total_ns)
{
    static const char other[] = "other requests"; /* the place of those without a route */
    const struct route *route = exchange_route(exchange);
    const int64_t *spent_ns = exchange->slow.spent_ns;
    const char *host = exchange->vhost->name;
    char method[64], path[SLOW_PATH_MAX], as_sent[SLOW_PATH_MAX], responder[ROUTE_PATTERN_MAX + 256];
    char upstream[SLOW_UPSTREAM_MAX], upstream_seconds[SLOW_NUMBER_MAX];
    char numbers[SLOW_PARTS][SLOW_NUMBER_MAX], total[SLOW_NUMBER_MAX], status[SLOW_NUMBER_MAX];
    const struct slice sent = exchange->head.method_text;
    snprintf(method, sizeof method, "%.*s", (int)sent.len, exchange_text(exchange, sent));
    snprintf(status, sizeof status, "%d", exchange->status != 0 ? exchange->status : outcome_status_without(end));
    format_path(path, exchange->path, exchange->path_len);
    format_target(as_sent, exchange);
    format_responder(exchange, route, responder, sizeof responder);
    format_upstream(exchange, upstream, sizeof upstream, upstream_seconds);
    struct log_field fields[SLOW_FIELDS_MAX] = {
        {.name = "method", .text = method},
        {.name = "path", .text = path},
        {.name = "status", .text = status, .is_number = true},
        {.name = "duration", .text = format_seconds(total, total_ns), .is_number = true},
        {"reading", format_seconds(numbers[SLOW_READING], spent_ns[SLOW_READING]), true},
        {"handler", format_seconds(numbers[SLOW_HANDLER], spent_ns[SLOW_HANDLER]), true},
        {"waiting", format_seconds(numbers[SLOW_WAITING], spent_ns[SLOW_WAITING]), true},
        {"sending", format_seconds(numbers[SLOW_SENDING], spent_ns[SLOW_SENDING]), true},
        {.name = "route", .text = route == NULL ? "" : route->pattern},
        {.name = "place", .text = route == NULL ? "" : route->where},
    };
    unsigned count = SLOW_FIELDS;
    if (exchange->is_proxied) {
        fields[count++] = (struct log_field){.name = "upstream", .text = exchange->upstream.address};
        fields[count++] = (struct log_field){"upstream_time", upstream_seconds, true};
    }
    if (host != NULL) { /* it has names */
        fields[count++] = (struct log_field){.name = "host", .text = host};
    }
    exchange_log_fields(exchange, LOG_WARN, route == NULL ? other : (const void *)&route->where, fields, count,
                        "slow: %s %s took %s s (reading %s, handler %s, waiting %s, sending %s), %s%s%s%s%s%s", method,
                        as_sent, total, numbers[SLOW_READING], numbers[SLOW_HANDLER], numbers[SLOW_WAITING],
                        numbers[SLOW_SENDING], exchange->status == 0 ? "no response" : status, end_text(end), responder,
                        upstream, host == NULL ? "" : ", host ", host == NULL ? "" : host);
}

void slow_log_end(struct exchange *exchange, enum outcome_end end)
{
    struct slow_times *slow = &exchange->slow;
    uint64_t limit_ms = exchange->limits->log_slow_ms;
    exchange->is_clocked = false;
    judge_turn(exchange);
    go_on(slow, SLOW_HANDLER);
    int64_t total_ns = slow->since_ns - slow->began_ns;
    if (limit_ms > 0 && total_ns >= (int64_t)limit_ms * MS_NS && exchange->head_data != NULL) {
        write_line(exchange, end, total_ns);
    }
}
