/* Happy path: an exchange is over, its response complete, and its line in the access log one as nearly all are.
 *
 * Failure modes: none here; http/access_log.c has those of lines. */

#include "http/h1/h1_log.h"

#include "http/access_log.h"
#include "http/h1/h1.h"
#include "http/metrics_counts.h"
#include "http/service.h"
#include "http/slow_log.h"

#include <assert.h>

/* Bytes of a response that is complete: what is queued, for a client that takes the rest, counts as sent. */
static uint64_t response_bytes(const struct h1 *h1)
{
    assert(h1->exchange.sent_bytes + out_len(h1) >= h1->exchange.queued_before);
    return h1->exchange.sent_bytes + out_len(h1) - h1->exchange.queued_before;
}

/* Bytes that were sent of a response that is not. */
static uint64_t sent_bytes(const struct exchange *exchange)
{
    uint64_t bytes = exchange->sent_bytes;
    return bytes < exchange->queued_before ? 0 : bytes - exchange->queued_before;
}

/* Bytes of the request's body that have come. */
static uint64_t request_body_bytes(const struct h1 *h1)
{
    const struct head *head = &h1->exchange.head;
    return head->chunked ? h1->body_taken : head->has_length ? head->content_length - h1->body_left : 0;
}

/* The line in the access log, if there is one, by the general way. */
__attribute__((noinline)) static void log_request(struct h1 *h1, enum outcome_end end, uint64_t bytes)
{
    h1->exchange.dues.is_logged = LOGGED_NOT;
    if (h1->exchange.service->access != NULL) {
        access_log_exchange(&h1->exchange, end, bytes, request_body_bytes(h1), input_data(h1), input_len(h1));
    }
}

void h1_log_cut(struct h1 *h1, enum outcome_end end)
{
    struct exchange *exchange = &h1->exchange;
    uint64_t bytes = sent_bytes(exchange);
    if (exchange->dues.is_measured) {
        metrics_counts_add(exchange, end, bytes);
    }
    if (exchange->dues.is_logged) {
        log_request(h1, end, bytes);
    }
    if (exchange->is_clocked) {
        slow_log_end(exchange, end);
    }
}

void h1_log_complete(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    uint64_t bytes = response_bytes(h1);
    if (exchange->dues.is_measured) {
        metrics_counts_add(exchange, OUTCOME_COMPLETE, bytes);
    }
    bool is_usual = exchange->dues.is_logged == LOGGED_SOON;
    if (is_usual ? !access_log_usual(exchange->service->access, exchange, bytes)
                 : exchange->dues.is_logged != LOGGED_NOT) {
        log_request(h1, OUTCOME_COMPLETE, bytes);
    }
    if (exchange->is_clocked) {
        slow_log_end(exchange, OUTCOME_COMPLETE);
    }
}
