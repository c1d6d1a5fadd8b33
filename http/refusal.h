#ifndef EVSERVE_HTTP_REFUSAL_H
#define EVSERVE_HTTP_REFUSAL_H

/* Responses of the server itself that a handler may give in its place: 404, 405 and the 204 to OPTIONS where no route
 * has the request (the handler is vhost->no_route), and 413 and 503 for requests of a route (handler->refusals). Such a
 * handler finds the status in exchange->refusal. So what somebody adds to all responses is in these, too.
 *
 * For a 405 and a 204, exchange->match.allowed has the methods of the path, for the field Allow. */

#include <stdbool.h>

struct exchange;

/* Let the handler for refusals of the exchange's route respond with status in its place; why is static text for the
 * log, or NULL. The caller lets the connection call it: by exchange_resume(), or because it does so anyway. Returns
 * false with nothing changed if there is none, or if the response has begun: each request is refused once at most. */
bool refusal_pass(struct exchange *exchange, int status, const char *why);

/* The same for a request that no route has: handler->serve is due. */
bool refusal_pass_no_route(struct exchange *exchange, int status);

#endif
