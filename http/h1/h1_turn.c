/* Happy path: steps until one says to wait; one write sends all responses; what was lent goes back, and everything else
 * if the connection is idle again.
 *
 * Failure modes: a client that shut its side is given what is queued for it, then its connection ends; without memory
 * for what has to be kept the connection is closed. */

#include "http/h1/h1_turn.h"

#include "http/conn_doing.h"
#include "http/conn_ends.h"
#include "http/h1/h1.h"
#include "http/h1/h1_deadline.h"
#include "http/h1/h1_handler.h"
#include "http/h1/h1_io.h"
#include "http/h1/h1_pool.h"
#include "http/h1/h1_refs.h"
#include "http/h1/h1_steps.h"
#include "http/metrics_counts.h"
#include "http/site.h"
#include "http/slow_log.h"
#include "http/takeover.h"

bool h1_reads(const struct h1 *h1)
{
    switch ((enum h1_state)h1->state) {
    case H1_READING_HEADERS:
    case H1_READING_BODY:
        return true;
    case H1_PROCESSING:
        return h1_wants_body(h1) && !h1_has_more_body(h1);
    case H1_WRITING_RESPONSE:
    case H1_CLOSING:
        break;
    }
    return false;
}

const char *h1_doing(const struct conn *conn)
{
    const struct h1 *h1 = conn->work;
    switch ((enum h1_state)h1->state) {
    case H1_READING_HEADERS:
        return "while reading request headers";
    case H1_READING_BODY:
        return "while reading the request body";
    case H1_PROCESSING:
        return h1_wants_body(h1) ? "while reading the request body" : "while a handler was at work";
    case H1_WRITING_RESPONSE:
        return "while sending the response";
    case H1_CLOSING:
        break;
    }
    return "while closing";
}

/* What was read is not looked at yet: the turn's budget is spent, or the client does not take its responses. */
static bool has_requests_waiting(const struct h1 *h1)
{
    return h1->state == H1_READING_HEADERS && input_len(h1) > 0 &&
           (h1->turn_requests >= PIPELINE_BUDGET || out_is_high(h1));
}

bool h1_is_idle(const struct h1 *h1)
{
    return h1->state == H1_READING_HEADERS && out_is_empty(h1) && !parser_has_begun(&h1->parser) &&
           !has_requests_waiting(h1);
}

/* Something is left to do in this tick's tasks or in the next one, though no fd will say so. */
static bool has_more_to_do(const struct h1 *h1)
{
    if (h1->state == H1_PROCESSING && h1->exchange.is_stalled) {
        return h1_refs_queued(h1) <= h1_limits(h1)->write_high_mark_bytes / 2;
    }
    if (h1->state == H1_PROCESSING) {
        return h1_wants_body(h1) && h1_has_more_body(h1);
    }
    return has_requests_waiting(h1) && !out_is_high(h1);
}

/* The client shut its side. Nearly always that is the first half of a close, so a handler that has yet to respond
 * learns that its client has gone, unless its route says that such clients still read. A response that is complete is
 * sent; a request that is not complete never will be. */
static enum step end_of_input(struct h1 *h1)
{
    const struct transport *transport = &h1->conn->transport;
    if ((transport->is_half_closed || transport->is_at_end) && h1_is_left(h1)) {
        return h1_close_left(h1);
    }
    if (!transport->is_at_end || !h1_reads(h1) || has_requests_waiting(h1)) {
        return STEP_WAIT;
    }
    if (out_is_empty(h1)) {
        return h1_is_idle(h1) ? STEP_LINGER : STEP_CLOSE; /* in order, or not */
    }
    h1_close_when_sent(h1);
    return STEP_WAIT;
}

/* The connection ends in order. The end of the transport itself may have to wait for room, as the rest of a response
 * does. */
static enum step say_end(struct h1 *h1)
{
    struct transport *transport = &h1->conn->transport;
    transport_say_end(transport);
    if (!transport->holds_output) {
        return STEP_LINGER;
    }
    if (h1->state != H1_CLOSING) {
        h1_close_when_sent(h1);
    }
    h1->wants_write = true;
    return STEP_WAIT;
}

/* What time is spent on, from this turn to the next one. */
static enum slow_part part_between_turns(const struct h1 *h1)
{
    enum wait wait = h1_waits_for(h1);
    return wait == WAIT_HANDLER ? SLOW_WAITING : wait == WAIT_WRITE || wait == WAIT_QUIET ? SLOW_SENDING : SLOW_READING;
}

/* What it is spent on in this turn, unless the handler is yet to be called. */
static enum slow_part part_of_turn(const struct h1 *h1)
{
    return h1->state == H1_WRITING_RESPONSE ? SLOW_SENDING : h1->exchange.is_served ? SLOW_HANDLER : SLOW_READING;
}

/* Whether its host will be looked at when it is over. */
static bool needs_host(const struct exchange *exchange)
{
    return exchange->dues.is_measured && exchange->site->metrics_hosts != NULL;
}

/* Give lent blocks back, and everything else when the connection is idle. Returns 0 or -ENOMEM. */
static int settle_turn(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    int rv = 0;
    if (exchange->response_state != RESPONSE_COMPLETE) { /* the handler, or a body to come, still needs the request */
        rv = h1_keep_head(h1);
        rv = rv < 0 ? rv : h1_keep_body(h1);
    } else if (exchange->dues.is_watched || exchange->dues.is_logged ||
               needs_host(exchange)) { /* so does whoever hears of its end */
        rv = h1_keep_head(h1);
    }
    rv = rv < 0 ? rv : h1_settle_input(h1);
    if (rv < 0) {
        return rv;
    }
    if (out_len(h1) == 0) {
        conn_pool_put_out(h1->conn->pool, &h1->out);
    }
    if (h1->state == H1_READING_HEADERS && h1->input.data == NULL && out_is_empty(h1)) {
        h1_put(h1);
        return 0;
    }
    if (exchange->dues.is_measured && exchange->began_ns == 0 &&
        (h1->state != H1_READING_HEADERS || parser_has_begun(&h1->parser))) {
        metrics_counts_begin(exchange);
    }
    if (exchange->is_clocked) {
        slow_log_leave_turn(exchange, part_between_turns(h1));
    }
    return 0;
}

/* The response is sent, and another protocol takes over with what has been read and not used. */
static enum turn go_over(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    const struct takeover takeover = *h1->exchange.takeover;
    size_t len = input_len(h1);
    void *work = takeover.begin(conn, len == 0 ? "" : input_data(h1), len, takeover.arg);
    if (work == NULL) {
        conn_lost(conn, "out of memory");
        return TURN_CLOSE;
    }
    struct exchange *exchange = &h1->exchange;
    if (exchange->on_end != NULL && conn_ends_add(conn, exchange->on_end, exchange->end_arg) == 0) {
        exchange->on_end = NULL; /* what was asked for is over when the connection is */
    }
    h1_drop(h1);
    conn_go_over(conn, takeover.to, work);
    return takeover.to->advance(conn);
}

enum turn h1_take_turn(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    enum step step = STEP_ON;
    h1->wants_write = false;
    h1->turn_requests = 0;
    h1->exchange.turn_end_ns = 0;
    if (h1->exchange.is_clocked) {
        slow_log_enter_turn(&h1->exchange, part_of_turn(h1));
    }
    while (step == STEP_ON) {
        step = h1_step(h1);
        h1 = conn->work;
    }
    if (step == STEP_WAIT && !h1->wants_write && !out_is_empty(h1)) {
        step = h1_send(h1) == STEP_CLOSE ? STEP_CLOSE : STEP_WAIT;
    }
    if (step == STEP_WAIT) {
        step = end_of_input(h1);
    }
    step = step == STEP_LINGER ? say_end(h1) : step;
    if (step == STEP_LINGER) {
        return TURN_LINGER;
    }
    if (step == STEP_OVER) {
        return go_over(h1);
    }
    bool has_more = step == STEP_WAIT && has_more_to_do(h1);
    if (h1->exchange.has_body) {
        h1_clock_body(h1);
    }
    if (step == STEP_CLOSE || settle_turn(h1) < 0) {
        return TURN_CLOSE;
    }
    return has_more ? TURN_AGAIN : TURN_WAIT;
}
