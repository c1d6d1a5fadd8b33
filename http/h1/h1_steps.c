/* What is done for a request in each state, up to the next one. h1_step() is the table of contents.
 *
 * Happy path: read_request_head() parses and routes, read_request_body() collects, process_request() calls the handler,
 * write_response() leaves the response in the queue and begins the next request; at the end of the turn one write sends
 * all responses.
 *
 * Failure modes: a request that is refused gets its response and closes the connection, because the framing of what
 * follows is in doubt; a response that cannot be completed is cut. */

#include "http/h1/h1_steps.h"

#include "core/proxy_header.h"
#include "core/tls.h"
#include "http/conn_doing.h"
#include "http/conn_opening.h"
#include "http/decoded_body.h"
#include "http/dispatch.h"
#include "http/exchange_log.h"
#include "http/h1/h1.h"
#include "http/h1/h1_body.h"
#include "http/h1/h1_handler.h"
#include "http/h1/h1_head.h"
#include "http/h1/h1_io.h"
#include "http/h1/h1_log.h"
#include "http/h1/h1_pool.h"
#include "http/h1/h1_refs.h"
#include "http/refusal.h"
#include "http/response.h"
#include "http/service.h"
#include "http/site.h"
#include "http/url.h"

#include <assert.h>
#include <string.h>

/* The one place where a request changes its state; http/README.md has the diagram. */
static void enter_state(struct h1 *h1, enum h1_state state)
{
    static const unsigned from[] = {
        [H1_READING_HEADERS] = 1U << H1_WRITING_RESPONSE,
        [H1_READING_BODY] = 1U << H1_PROCESSING | 1U << H1_WRITING_RESPONSE,
        [H1_PROCESSING] = 1U << H1_READING_HEADERS | 1U << H1_READING_BODY,
        [H1_WRITING_RESPONSE] = 1U << H1_READING_HEADERS | 1U << H1_READING_BODY | 1U << H1_PROCESSING,
        [H1_CLOSING] = 1U << H1_READING_HEADERS | 1U << H1_READING_BODY | 1U << H1_PROCESSING |
                       1U << H1_WRITING_RESPONSE,
    };
    assert(from[state] & 1U << h1->state);
    (void)from;
    h1->state = (uint8_t)state;
}

static enum step lose_client(struct h1 *h1, const char *why)
{
    conn_lost(h1->conn, why);
    return STEP_CLOSE;
}

/* Send what is queued. Returns STEP_ON, or STEP_CLOSE. */
enum step h1_send(struct h1 *h1)
{
    int rv = h1_flush(h1);
    return rv < 0 ? lose_client(h1, errno_text(-rv)) : STEP_ON;
}

/* The response cannot be completed. What is queued still goes, as far as the socket takes it: the responses before this
 * one, and so much of this one that the client sees it end too early. */
static enum step cut_response(struct h1 *h1, const char *why)
{
    (void)h1_flush(h1);
    h1->conn->end = OUTCOME_ABORTED;
    return lose_client(h1, why);
}

/* The response is not complete at the end of this turn. */
static void mark_late(struct exchange *exchange)
{
    if (exchange->dues.is_logged) {
        exchange->dues.is_logged = LOGGED_LATE;
    }
}

static void report_over(struct h1 *h1, enum outcome_end end)
{
    outcome_end(&h1->exchange, end, input_data(h1), input_len(h1));
}

/* Requests. */

void h1_refuse(struct h1 *h1, int status, const char *detail)
{
    struct exchange *exchange = &h1->exchange;
    h1->closes = true;
    h1->conn->has_unread = true;
    if (h1->state == H1_READING_HEADERS) { /* else begin_request() knows */
        exchange->head_only = parser_has_head_method(&h1->parser, &exchange->head, input_data(h1));
        mark_late(exchange); /* the usual line needs the head */
    }
    if (status == 413 || status == 503) { /* else the request's end is not known, or it has no path */
        response_error(exchange, status, detail);
    } else {
        response_error_plain(exchange, status, detail);
    }
    enter_state(h1, H1_WRITING_RESPONSE);
}

/* Whether the connection's handshake was for another host, whose clients are not asked for what those of this request's
 * host are (RFC 9110, section 7.4). */
static bool is_misdirected(const struct h1 *h1)
{
    const struct slice authority = h1->exchange.head.authority;
    const char *host = exchange_text(&h1->exchange, authority), *end = host + authority.len;
    if (authority.len > 0 && *host == '[') { /* of IPv6, whose ']' is there */
        host++;
        end = memchr(host, ']', authority.len - 1);
    } else if (authority.len > 0) {
        const char *colon = memchr(host, ':', authority.len);
        end = colon == NULL ? end : colon;
    }
    return tls_is_misdirected(&h1->conn->transport, host, (size_t)(end - host));
}

/* Find the path, and the handler for it. Returns 0, or the status of a request that has none, with a *reason. */
static int route_path(struct h1 *h1, const char **reason)
{
    struct exchange *exchange = &h1->exchange;
    const struct head *head = &exchange->head;
    if (h1->is_secured && is_misdirected(h1)) {
        exchange->path[0] = '\0';
        *reason = "this host asks for other client certificates than the connection: connect with its server name";
        return 421;
    }
    if (head->is_asterisk) {
        dispatch_server_options(exchange);
        return 0;
    }
    ssize_t len = url_take_path(exchange_text(exchange, head->path), head->path.len, head->path_is_plain,
                                exchange->path, (size_t)h1_limits(h1)->max_request_line_bytes, reason);
    if (len < 0) {
        exchange->path[0] = '\0';
        exchange->path_len = 0;
        return (int)-len;
    }
    exchange->path[len] = '\0';
    exchange->path_len = (uint32_t)len;
    dispatch_request(exchange);
    return 0;
}

/* The head announces a body that is too long: nobody reads it. */
static void refuse_announced(struct h1 *h1)
{
    if (refusal_pass(&h1->exchange, 413, "a body longer than max_body")) {
        h1_fail_body(h1, 413, NULL);
    } else {
        h1_refuse(h1, 413, NULL);
    }
}

/* The body has a coding that cannot be taken off: nobody reads it. */
static void refuse_coded(struct h1 *h1, int status, const char *reason)
{
    struct exchange *exchange = &h1->exchange;
    exchange->body_status = status;
    exchange->body_reason = reason;
    h1_plan_rest(h1);
    if (!refusal_pass(exchange, status, reason)) {
        response_refuse(exchange, status, reason);
    }
}

/* What becomes of the body that the head announces. */
static enum step plan_body(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->handler == NULL || exchange->handler->body_mode == BODY_UNWANTED || exchange->refusal != 0) {
        h1_plan_rest(h1);
        return STEP_ON;
    }
    if (exchange->head.content_length > h1_limits(h1)->max_body_bytes) {
        if (exchange->handler->body_mode != BODY_UNDECIDED) {
            refuse_announced(h1);
        }
        return STEP_ON;
    }
    if (exchange->handler->body_mode != BODY_UNDECIDED && !exchange->handler->keeps_coding) {
        const char *reason = NULL;
        int status = decoded_body_begin(exchange, &reason);
        if (status != 0) {
            refuse_coded(h1, status, reason);
            return STEP_ON;
        }
    }
    if (exchange->handler->body_mode >= BODY_STREAM) { /* or BODY_UNDECIDED */
        return STEP_ON;
    }
    if (h1->awaits_continue && h1_continue(h1) < 0) {
        return cut_response(h1, "out of memory");
    }
    enter_state(h1, H1_READING_BODY);
    return STEP_ON;
}

/* The head is there: route it, and decide what becomes of the body. */
static enum step begin_request(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    const struct head *head = &exchange->head;
    h1->closes = !head->keep_alive || service_ends(exchange->service, h1->conn->listener);
    exchange->head_only = head->method == METHOD_HEAD;
    exchange->is_followed = input_len(h1) > 0;
    if (head->chunked || head->content_length > 0) {
        exchange->has_body = true;
        exchange->is_body_read = false;
        h1->body_left = head->content_length;
        h1->awaits_continue = head->expect_continue && input_len(h1) == 0;
        chunk_parser_reset(&h1->chunk);
    }
    enter_state(h1, H1_PROCESSING);
    const char *reason = NULL;
    int status = route_path(h1, &reason);
    if (status != 0) {
        dispatch_hear_proxy(exchange); /* its line in the log names the client */
        h1_refuse(h1, status, reason);
        return STEP_ON;
    }
    return exchange->has_body ? plan_body(h1) : STEP_ON;
}

/* Whether what came begins as a TLS record with a handshake does (RFC 8446, section 5.1). No request begins so. The
 * first byte alone decides, since it may come alone: what a client reads does not depend on how its bytes are cut. */
static bool is_tls_hello(const struct h1 *h1)
{
    return !h1->is_secured && input_data(h1)[0] == 0x16;
}

/* Whether it is a header of the PROXY protocol. */
static bool is_proxy_header(const struct h1 *h1)
{
    struct proxy_header header;
    return proxy_header_read(&header, input_data(h1), input_len(h1)) == PROXY_WHOLE;
}

/* The parser has refused the head. */
static void refuse_malformed(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    exchange->head.minor_version = 1;
    if (is_tls_hello(h1)) {
        conn_opening_mistaken(h1->conn);
        h1_refuse(h1, 400, "the client speaks TLS, but this is a plain HTTP listener");
        return;
    }
    if (is_proxy_header(h1)) {
        conn_opening_unexpected(h1->conn);
        h1_refuse(h1, 400, "a header of the PROXY protocol, which this listener does not expect");
        return;
    }
    exchange_log(exchange, LOG_DEBUG, h1->parser.reason, "bad request: %s", h1->parser.reason);
    h1_refuse(h1, h1->parser.status, h1->parser.reason);
}

/* READING_HEADERS. A client that does not take its responses gets no further request parsed. */
static enum step read_request_head(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->site != exchange->service->site && !parser_has_begun(&h1->parser)) {
        return h1_renew(h1) < 0 ? lose_client(h1, "out of memory")
                                : STEP_ON; /* on with an exchange of the site of now */
    }
    if (out_is_high(h1) && h1_send(h1) == STEP_CLOSE) {
        return STEP_CLOSE;
    }
    if (out_is_high(h1) || input_len(h1) == 0) {
        return STEP_WAIT;
    }
    if (exchange->dues.is_begun && !parser_has_begun(&h1->parser)) {
        outcome_begin(exchange, out_len(h1));
    }
    switch (h1_server_of(h1->conn)->parse_head(&h1->parser, &exchange->head, h1_limits(h1), input_data(h1),
                                               input_len(h1))) {
    case PARSE_INCOMPLETE:
        return STEP_WAIT;
    case PARSE_ERROR:
        refuse_malformed(h1);
        return STEP_ON;
    case PARSE_COMPLETE:
        break;
    }
    exchange->head_data = input_data(h1);
    input_consume(h1, exchange->head.len);
    return begin_request(h1);
}

/* READING_BODY: for the handler, or, after the response, to get it out of the way of the next request. */
static enum step read_request_body(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    bool is_answered = exchange->response_state == RESPONSE_COMPLETE;
    int status = h1_take_body(h1);
    if (status != 0 && is_answered) {
        h1->conn->has_unread = true;
        enter_state(h1, H1_CLOSING);
        return STEP_ON;
    }
    if (status != 0) {
        h1_refuse(h1, status, exchange->head.chunked ? h1->chunk.reason : NULL);
        return STEP_ON;
    }
    if (!exchange->is_body_read) {
        return STEP_WAIT;
    }
    if (is_answered) {
        enter_state(h1, H1_WRITING_RESPONSE);
        return STEP_ON;
    }
    if (exchange->body == NULL && write_buffer_len(&exchange->body_block) > 0) {
        exchange->body = write_buffer_data(&exchange->body_block);
        exchange->body_len = write_buffer_len(&exchange->body_block);
    }
    enter_state(h1, H1_PROCESSING);
    return STEP_ON;
}

/* Responses. */

/* Call the handler. Returns STEP_ON when it was called, else STEP_WAIT or STEP_CLOSE. */
static enum step call_handler(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (out_is_high(h1)) { /* by a mark of the route's own: responses before this one must not fill its queue */
        if (h1_send(h1) == STEP_CLOSE) {
            return STEP_CLOSE;
        }
        if (out_is_high(h1)) {
            return STEP_WAIT;
        }
    }
    exchange->is_served = true;
    exchange->is_followed = input_len(h1) > 0;
    if (exchange->handler != &exchange->service->static_handler) {
        exchange_time_turn(exchange);
    }
    exchange->handler->serve(exchange, exchange->handler->ctx);
    return STEP_ON;
}

/* Call a handler that was called before, if there is something for it. */
static void call_handler_again(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (h1_wants_body(h1) && h1_has_body_news(h1)) {
        exchange->wants_body = false;
        if (exchange->on_data != NULL) {
            exchange->on_data(exchange);
        }
    } else if (exchange->is_stalled && h1_refs_queued(h1) <= h1_limits(h1)->write_high_mark_bytes / 2) {
        exchange->is_stalled = false;
        if (exchange->on_drain != NULL) {
            exchange->on_drain(exchange);
        }
    }
}

/* The rule that held the request is content: route it, and decide what becomes of its body, as begin_request() does. */
static enum step go_on_held(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    h1->conn->waits_for = WAIT_NONE; /* the handler has a deadline of its own, perhaps one of its route */
    dispatch_resume(exchange);
    return exchange->has_body ? plan_body(h1) : STEP_ON;
}

/* PROCESSING: the handler is called once; it may respond at once or later, and may take the body meanwhile. */
static enum step process_request(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->is_served || exchange->response_state != RESPONSE_NONE) {
        if (exchange->hold == HOLD_OVER) {
            return go_on_held(h1);
        }
        call_handler_again(h1);
    } else {
        enum step step = call_handler(h1);
        if (step != STEP_ON) {
            return step;
        }
    }
    if (exchange->on_stopping != NULL) {
        h1_announce_stop(h1);
    }
    switch (exchange->response_state) {
    case RESPONSE_COMPLETE:
        exchange->is_served = true;
        exchange->wants_body = false;
        h1_drop_piece(h1);
        enter_state(h1, H1_WRITING_RESPONSE);
        return STEP_ON;
    case RESPONSE_ABORTED:
        return cut_response(h1, "the response could not be completed");
    case RESPONSE_STREAMING:
        mark_late(exchange);
        break;
    case RESPONSE_NONE:
        /* Its handler may have left it to another: http/refusal.h, no_route_go_on(). */
        return exchange->is_served && exchange->hold != HOLD_OVER ? STEP_WAIT : STEP_ON;
    }
    return STEP_WAIT;
}

/* The exchange is over; what of its response is still queued goes out with the responses that follow. */
static enum step finish_exchange(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    struct conn *conn = h1->conn;
    bool goes_on = !h1->closes && !exchange->wants_close && !exchange->service->is_draining;
    conn->has_unread = conn->has_unread || (!goes_on && (input_len(h1) > 0 || !exchange->is_body_read));
    if (conn->waits_for == WAIT_HEAD) {
        conn->waits_for = WAIT_NONE; /* the next head has a deadline of its own */
    }
    if (exchange->is_timed) {
        exchange_stop_clock(exchange);
    }
    h1->turn_requests = exchange->ends_turn ? UINT8_MAX : (uint8_t)(h1->turn_requests + 1);
    exchange_clear(exchange);
    h1_start(h1);
    exchange->queued_before = (uint32_t)out_len(h1);
    enter_state(h1, goes_on ? H1_READING_HEADERS : H1_CLOSING);
    return !goes_on || h1->turn_requests < PIPELINE_BUDGET ? STEP_ON : STEP_WAIT;
}

/* WRITING_RESPONSE: bytes may wait for those of the next response, so that pipelined requests are served with one
 * write; content that is sent from where it is, or a queue above the high mark, goes first. */
static enum step write_response(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->response_state == RESPONSE_ABORTED) {
        return cut_response(h1, "out of memory");
    }
    bool goes_over = exchange->takeover != NULL;
    /* One with nothing behind it would be sent now in any case; then its line of the log knows how much of it was. */
    bool has_dues = exchange->dues.any != 0;
    bool is_awaited = goes_over ||
                      (has_dues && (input_len(h1) == 0 || exchange->dues.is_watched || exchange->dues.is_paced));
    if (exchange->source.kind != SOURCE_NONE || out_is_high(h1) || is_awaited) {
        if (h1_send(h1) == STEP_CLOSE) {
            return STEP_CLOSE;
        }
        if (!out_is_empty(h1) && (exchange->source.kind != SOURCE_NONE || out_is_high(h1) || is_awaited)) {
            mark_late(exchange);
            return STEP_WAIT;
        }
    }
    if (has_dues) {
        if (exchange->dues.is_watched) {
            report_over(h1, OUTCOME_COMPLETE);
        }
        h1_log_complete(h1);
    }
    if (goes_over) {
        return STEP_OVER;
    }
    h1_plan_rest(h1);
    if (!exchange->is_body_read && !h1->closes && !exchange->wants_close) {
        enter_state(h1, H1_READING_BODY);
        return STEP_ON;
    }
    return finish_exchange(h1);
}

/* CLOSING: send what is queued, drop what comes. */
static enum step end_connection(struct h1 *h1)
{
    input_consume(h1, input_len(h1));
    if (h1_send(h1) == STEP_CLOSE) {
        return STEP_CLOSE;
    }
    if (!out_is_empty(h1)) {
        return STEP_WAIT;
    }
    enum response_state response = (enum response_state)h1->exchange.response_state;
    h1->conn->transport.is_cut = response == RESPONSE_STREAMING || response == RESPONSE_ABORTED;
    return STEP_LINGER;
}

/* The client shut its side, and has thereby left a handler. What the handler still writes in on_gone() is not sent.
 * Bytes that nobody has read would make the close a reset, which could take the responses before this one away from the
 * client (RFC 9112 section 9.6); so they are read, unless the response must end with a reset. */
enum step h1_close_left(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    conn_lost(h1->conn, "the client shut its side");
    h1_tell_gone(h1);
    write_buffer_consume(&h1->out, SIZE_MAX);
    source_release(&exchange->source);
    if (exchange->dues.is_watched) {
        report_over(h1, OUTCOME_GONE);
    }
    if (exchange->dues.is_logged || exchange->dues.is_measured) {
        h1_log_cut(h1, OUTCOME_GONE);
    }
    if (h1->ends_with_close) {
        return STEP_CLOSE;
    }
    enter_state(h1, H1_CLOSING);
    return end_connection(h1);
}

enum step h1_step(struct h1 *h1)
{
    switch ((enum h1_state)h1->state) {
    case H1_READING_HEADERS:
        return read_request_head(h1);
    case H1_READING_BODY:
        return read_request_body(h1);
    case H1_PROCESSING:
        return process_request(h1);
    case H1_WRITING_RESPONSE:
        return write_response(h1);
    case H1_CLOSING:
        break;
    }
    return end_connection(h1);
}

void h1_close_when_sent(struct h1 *h1)
{
    enter_state(h1, H1_CLOSING);
}
