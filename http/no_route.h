#ifndef EVSERVE_HTTP_NO_ROUTE_H
#define EVSERVE_HTTP_NO_ROUTE_H

/* Responses for which no route is needed, by http/dispatch.c and by the static files. */

#include <stdbool.h>
#include <stdint.h>

struct exchange;

/* Respond to OPTIONS with the methods of a path, OPTIONS itself among them. */
void no_route_answer_options(struct exchange *exchange, uint64_t methods);

/* Neither a file nor a route fits: let the host respond, if it has a handler for that. Returns whether it has. The
 * handler of static files calls this in its own place. */
bool no_route_ask_host(struct exchange *exchange);

#endif
