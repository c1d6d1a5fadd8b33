#ifndef EVSERVE_HTTP_CONN_LOOK_H
#define EVSERVE_HTTP_CONN_LOOK_H

/* Looks into the socket of a connection that waits for room in it: whether the client takes bytes. */

#include <stdbool.h>
#include <stdint.h>

struct conn;

/* When the timer has something to do, if the deadline is at_ms: then, or for the first look. */
int64_t conn_look_ms(const struct conn *conn, int64_t at_ms);

/* The look that the next one is compared with. */
void conn_look_first(struct conn *conn, int64_t now_ms);

/* The deadline of WAIT_WRITE has passed: whether the client has taken bytes out of the socket since the last look into
 * it, or this is the first look. Then the deadline is a later one, for which the caller sets the timer. */
bool conn_takes_response(struct conn *conn, int64_t now_ms);

#endif
