#ifndef EVSERVE_HTTP_NO_ROUTE_H
#define EVSERVE_HTTP_NO_ROUTE_H

/* Responses for which no route is needed, by http/dispatch.c and by the static files. */

#include <stdbool.h>
#include <stdint.h>

struct exchange;

/* Respond to OPTIONS with the methods of a path, OPTIONS itself among them: before routing has chosen a handler, or in
 * the place of one. If the request's host has a handler for refusals, that responds (http/refusal.h). */
void no_route_answer_options(struct exchange *exchange, uint64_t methods);

/* Respond with 404; or with 405, for which exchange->match.allowed has the methods of the path. Before routing has
 * chosen a handler. If the request's host has a handler for refusals, that responds. */
void no_route_refuse(struct exchange *exchange, int status);

/* The same for the handler of static files, in its own place; for status 204, too. Returns false without having
 * responded if there is no handler for refusals, or if another handler has passed the request on to the files: what is
 * around that one sees the response anyway. */
bool no_route_serve(struct exchange *exchange, int status);

/* Neither a file nor a route fits: let the host respond, if it has a handler for that. Returns whether it has. The
 * handler of static files calls this in its own place. */
bool no_route_ask_host(struct exchange *exchange);

/* Files came before a route, and there is none: it is the route's turn, soon. Returns false with nothing done if there is
 * no such route. The handler of static files calls this instead of responding. */
bool no_route_go_on(struct exchange *exchange);

#endif
