#ifndef EVSERVE_HTTP_REQUEST_ID_H
#define EVSERVE_HTTP_REQUEST_ID_H

/* The id of a request: what its lines in all logs have in common, those of a proxy in front included. It is made when
 * somebody first asks for it, so a request whose id nobody wants pays nothing. */

#include "http/request_id_pool.h"

struct exchange;

/* The id, ended with NUL: the one that request_id_take() found, or else one of REQUEST_ID_DIGITS hexadecimal digits.
 * Valid as long as the exchange's head, and the same until then. */
const char *request_id(struct exchange *exchange);

/* The client is a trusted proxy: if it has sent one well-formed X-Request-Id (1 to REQUEST_ID_MAX letters, digits and
 * "-_.~=:+@", the first a letter or a digit), it is the id, and the response repeats it. Once the head is parsed. */
void request_id_take(struct exchange *exchange);

#endif
