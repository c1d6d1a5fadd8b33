#ifndef EVSERVE_HTTP_DISPATCH_H
#define EVSERVE_HTTP_DISPATCH_H

/* From a request's method and path to who answers it. For conn_steps.c. */

struct exchange;

/* Find who answers exchange, whose path is normalised: the host before all others, a route, the static files, or nobody. Sets handler, match and
 * limits. Where there is nobody the exchange is answered: 404, 405 with Allow (RFC 9110 section 15.5.6), OPTIONS
 * (section 9.3.7), or a redirect to where the slash at the path's end is right (site.h). */
void dispatch_request(struct exchange *exchange);

/* Answer "OPTIONS *", which asks about the server. */
void dispatch_server_options(struct exchange *exchange);

#endif
