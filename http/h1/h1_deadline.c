/* A body has a deadline that starts again with each read, and one for all of it: body_timeout for the start, and what
 * min_body_rate grants for each byte. What counts there is the time in which the body was waited for. */

#include "http/h1/h1_deadline.h"

#include "core/reactor.h"
#include "http/h1/h1.h"
#include "http/h1/h1_pace.h"
#include "http/service.h"

enum wait h1_waits_for(const struct h1 *h1)
{
    if (h1_is_held(h1) && !out_is_empty(h1)) {
        return WAIT_QUIET;
    }
    if (h1->state == H1_PROCESSING && h1->exchange.wants_body && !out_is_high(h1)) {
        return WAIT_BODY;
    }
    if (!out_is_empty(h1) || h1->state == H1_CLOSING) { /* if only the transport's own end is left, too */
        return WAIT_WRITE;
    }
    switch ((enum h1_state)h1->state) {
    case H1_READING_HEADERS:
        return parser_has_begun(&h1->parser) ? WAIT_HEAD : WAIT_IDLE;
    case H1_READING_BODY:
        return WAIT_BODY;
    default:
        return WAIT_HANDLER;
    }
}

/* A handler takes its time before it asks for more of the body: that is not the client's fault. */
void h1_clock_body(struct h1 *h1)
{
    bool is_waited_for = h1_waits_for(h1) == WAIT_BODY;
    if (is_waited_for == (h1->body_since_ms != 0)) {
        return;
    }
    int64_t now_ms = reactor_now_ms(h1->exchange.service->reactor);
    if (is_waited_for) {
        h1->body_since_ms = now_ms - h1->body_waited_ms;
    } else {
        h1->body_waited_ms = now_ms - h1->body_since_ms;
        h1->body_since_ms = 0;
    }
}

/* Until when a body may go on trickling in. */
static int64_t body_limit_ms(const struct h1 *h1)
{
    const struct limits *limits = h1_limits(h1);
    if (limits->min_body_rate_bytes == 0) {
        return DEADLINE_NEVER;
    }
    uint64_t granted_ms = h1->body_taken * 1000 / limits->min_body_rate_bytes;
    return h1->body_since_ms + (int64_t)(limits->body_timeout_ms + granted_ms);
}

/* How long it may wait, in milliseconds; 0 forever. */
static uint64_t wait_limit_ms(const struct h1 *h1, enum wait waits_for)
{
    const struct limits *limits = h1_limits(h1);
    switch (waits_for) {
    case WAIT_IDLE:
        return limits->idle_timeout_ms;
    case WAIT_HEAD:
        return limits->header_timeout_ms;
    case WAIT_BODY:
        return limits->body_timeout_ms;
    case WAIT_HANDLER:
        return h1->exchange.response_state == RESPONSE_NONE ? limits->handler_timeout_ms : limits->stream_timeout_ms;
    case WAIT_WRITE:
    case WAIT_QUIET: /* no timeout */
    case WAIT_LINGER:
        break;
    }
    return limits->write_timeout_ms;
}

int64_t h1_deadline_ms(const struct h1 *h1, enum wait waits_for, int64_t now_ms)
{
    if (waits_for == WAIT_QUIET) {
        return h1->paced_until_ms;
    }
    uint64_t wait_ms = wait_limit_ms(h1, waits_for);
    int64_t deadline_ms = wait_ms == 0 ? DEADLINE_NEVER : now_ms + (int64_t)wait_ms;
    int64_t latest_ms = waits_for == WAIT_BODY ? body_limit_ms(h1) : DEADLINE_NEVER;
    return deadline_ms < latest_ms ? deadline_ms : latest_ms;
}
