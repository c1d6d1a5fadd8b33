#ifndef EVSERVE_HTTP_DISPATCH_H
#define EVSERVE_HTTP_DISPATCH_H

/* Choose what responds to a request, by its method and path. Called by framings (http/h1/h1_steps.c). */

struct exchange;

/* Find what responds to exchange, whose path is normalised: challenges (acme.h) and listeners that redirect
 * (https_redirect.h) first, the rules of the site (rules/rules.h), the host's before(), then a route, then the static
 * files; files that exist come before some routes that end in a rest (struct route.after_files). Sets handler, match and
 * limits. A rule may hold the exchange: exchange->hold. If nothing matches, the host's handler for refusals responds
 * (refusal.h), or else this function: 404, 405 with Allow (RFC 9110 section 15.5.6), to OPTIONS (section 9.3.7), or with
 * a redirect to the path with or without its final slash (site.h). */
void dispatch_request(struct exchange *exchange);

/* For the rule that holds exchange: go on with the kinds of rules after it, before() and the routes. Nothing of that
 * happens during the call; the callbacks of the exchange and exchange->user are taken away. */
void dispatch_go_on(struct exchange *exchange);

/* That was called (exchange->hold is HOLD_OVER): find what responds, as dispatch_request() does. Called by framings. */
void dispatch_resume(struct exchange *exchange);

/* Note what a trusted proxy says of the request (http/forwarded.h, its id), and take out what is not to be believed.
 * The others do it themselves; call it for a request that is refused before it comes to them. */
void dispatch_hear_proxy(struct exchange *exchange);

/* Respond to "OPTIONS *", which asks about the server. */
void dispatch_server_options(struct exchange *exchange);

#endif
