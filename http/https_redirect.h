#ifndef EVSERVE_HTTP_HTTPS_REDIRECT_H
#define EVSERVE_HTTP_HTTPS_REDIRECT_H

/* From http:// to https:// on listeners that do nothing else ("?redirect_https", service->redirect). */

#include <stdbool.h>

struct exchange;

/* Whether the request came through such a listener. */
bool https_redirect_has(const struct exchange *exchange);

/* Respond to it: 308 (RFC 9110 section 15.4.9) to the same target at the same host, whatever the method. The host must
 * be a name of one of the certificates: 421 if it is another, 400 if there is none. So nobody can make the server send
 * a client to a foreign host. */
void https_redirect_answer(struct exchange *exchange);

#endif
