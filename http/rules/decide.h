#ifndef EVSERVE_HTTP_RULES_DECIDE_H
#define EVSERVE_HTTP_RULES_DECIDE_H

/* What the rules of a site make of a request, before it is routed. For http/dispatch.c. */

#include <stdbool.h>

struct exchange;
struct rules;

/* Ask the kinds of rules in their order about a request whose path is known. Returns whether it goes no further for
 * now: one of them has responded, or holds it. */
bool rules_decide(struct exchange *exchange, struct rules *rules);

/* The rule that held the request is content: ask the kinds that come after it. Returns likewise. */
bool rules_decide_on(struct exchange *exchange, struct rules *rules);

#endif
