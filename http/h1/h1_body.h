#ifndef EVSERVE_HTTP_H1_BODY_H
#define EVSERVE_HTTP_H1_BODY_H

/* Request bodies. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct h1;

/* Take what the input has of the body: collected for the handler (a body that lies in the input in one piece is used
 * where it is), or discarded when the request has its response already. exchange.is_body_read says when it is all
 * there. Returns 0, or an HTTP status: 400 or 431 (bad chunks), 413 (more than max_body, or than max_drain when
 * discarding), 503 (no memory). */
int h1_take_body(struct h1 *h1);

/* BODY_STREAM: whether there is something for which a waiting handler is to be called: content, the end, a fault. */
bool h1_has_body_news(struct h1 *h1);

/* BODY_STREAM: the body cannot be had, for which the handler will be given status. reason: static text, or NULL. */
void h1_fail_body(struct h1 *h1, int status, const char *reason);

/* BODY_STREAM: content that was found, but that the handler did not take: drop it. */
void h1_drop_piece(struct h1 *h1);

/* Functions of struct framing. */
int h1_read_body(struct exchange *exchange, const char **data, size_t *len);
void h1_unread_body(struct exchange *exchange, size_t len);
void h1_fail_exchange_body(struct exchange *exchange, int status, const char *reason);

#endif
