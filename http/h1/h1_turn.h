#ifndef EVSERVE_HTTP_H1_TURN_H
#define EVSERVE_HTTP_H1_TURN_H

/* The turns of a connection that speaks HTTP/1, for h1_protocol.c. */

#include "http/conn.h"

struct h1;

/* One turn: steps until one says to wait; then what is queued is sent. */
enum turn h1_take_turn(struct h1 *h1);

/* Nothing of a request is there, and nothing of a response waits. Empty lines before a request are nothing. */
bool h1_is_idle(const struct h1 *h1);

/* What the client sends is to be read now. */
bool h1_reads(const struct h1 *h1);

/* struct protocol's doing(). */
const char *h1_doing(const struct conn *conn);

#endif
