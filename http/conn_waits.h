#ifndef EVSERVE_HTTP_CONN_WAITS_H
#define EVSERVE_HTTP_CONN_WAITS_H

/* For conn.c: what a connection waits for, and how long it may. */

#include "http/conn_protocol.h"

/* What it waits for now. */
enum wait conn_waits_for(const struct conn *conn);

/* Until when, if that wait begins now; DEADLINE_NEVER. */
int64_t conn_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms);

/* Count n deadlines that have passed, 0 or 1. */
void conn_count_timeout(const struct conn *conn, enum wait waits_for, uint64_t n);

#endif
