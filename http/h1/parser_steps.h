#ifndef EVSERVE_HTTP_PARSER_STEPS_H
#define EVSERVE_HTTP_PARSER_STEPS_H

/* The state machine of a request head: it reads any line, whole or not. The variants read most lines that are there as
 * a whole faster (parser_whole.h), and leave it the others. */

#include "http/h1/parser_inner.h"

/* Read the request line or a field line, from the state on that s->parser is in. true: it is read, and STATE_FIELDS
 * follows; false: s->verdict says why. */
bool parser_step(struct scan *s);

#endif
