#ifndef EVSERVE_HTTP_DISPATCH_H
#define EVSERVE_HTTP_DISPATCH_H

/* Choose what responds to a request, by its method and path. Called by http/h1/h1_steps.c. */

struct exchange;

/* Find what responds to exchange, whose path is normalised: challenges (acme.h) and
 * listeners that redirect (https_redirect.h) first, the host's before(), then a route, then the static
 * files. Sets handler, match and limits. If nothing matches, this function responds itself: 404, 405 with Allow (RFC
 * 9110 section 15.5.6), to OPTIONS (section 9.3.7), or with a redirect to the path with or without its final slash
 * (site.h). */
void dispatch_request(struct exchange *exchange);

/* Respond to "OPTIONS *", which asks about the server. */
void dispatch_server_options(struct exchange *exchange);

#endif
