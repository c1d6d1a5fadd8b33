#ifndef EVSERVE_HTTP_H1_STEPS_H
#define EVSERVE_HTTP_H1_STEPS_H

/* The steps of a request: what h1_protocol.c needs. */

#include "http/conn.h"

struct h1;

enum {
    PIPELINE_BUDGET = 64, /* requests served in one turn (R6) */
};

/* One turn: steps until one says to wait; then what is queued is sent. The connection's work may be another struct h1
 * afterwards. */
enum turn h1_take_turn(struct h1 *h1);

/* The response is known before the body is read, or there is no response: the connection closes after it. */
void h1_refuse(struct h1 *h1, int status, const char *detail);

/* Nothing of a request is there, and nothing of a response waits. Empty lines before a request are nothing. */
bool h1_is_idle(const struct h1 *h1);

/* What the client sends is to be read now. */
bool h1_reads(const struct h1 *h1);

/* struct protocol's doing(). */
const char *h1_doing(const struct conn *conn);

#endif
