#ifndef EVSERVE_HTTP_CONN_BODY_H
#define EVSERVE_HTTP_CONN_BODY_H

/* Request bodies, for conn.c and conn_steps.c; and conn_plan_rest(), for response.c too. */

#include <stdbool.h>

struct conn;
struct exchange;

/* Take what the input has of the body: collected for the handler (a body that lies in the input in one piece is used
 * where it is), or discarded when the request is answered already. exchange->body_done says when it is all there.
 * Returns 0, or an HTTP status: 400 or 431 (bad chunks), 413 (more than max_body, or than max_drain when discarding),
 * 503 (no memory). */
int conn_take_body(struct conn *conn);

/* BODY_STREAM: whether there is something for which a waiting handler is to be called: content, the end, a fault. */
bool conn_has_body_news(struct conn *conn);

/* BODY_STREAM: the body cannot be had, for which the handler will be given status. reason: static text, or NULL. */
void conn_fail_body(struct conn *conn, int status, const char *reason);

/* BODY_STREAM: content that was found, but that the handler did not take: drop it. */
void conn_drop_piece(struct exchange *exchange);

/* An answer is about to begin that does not wait for the rest of the body. It is drained after the answer if that is
 * cheap, else the connection closes; the head of the answer should say so. */
void conn_plan_rest(struct exchange *exchange);

#endif
