#ifndef EVSERVE_HTTP_H1_DEADLINE_H
#define EVSERVE_HTTP_H1_DEADLINE_H

/* What a request waits for, and how long it may. */

#include "http/conn.h"

#include <stdint.h>

struct h1;

/* What it waits for now; never WAIT_LINGER. */
enum wait h1_waits_for(const struct h1 *h1);

/* Until when, if it begins to wait at now_ms; DEADLINE_NEVER. */
int64_t h1_deadline_ms(const struct h1 *h1, enum wait waits_for, int64_t now_ms);

/* The turn is over: a body that is not waited for now has its clock stopped, one that is has it running. */
void h1_clock_body(struct h1 *h1);

#endif
