#ifndef EVSERVE_HTTP_FETCH_HOP_H
#define EVSERVE_HTTP_FETCH_HOP_H

/* One request and its response on one connection, and what follows from it: a retry on a new connection, the request
 * that a redirect leads to, or the end. */

#include "http/client/fetch.h"

#include <stddef.h>

struct fetch;

/* Begin: take a kept connection and send the request, or begin to connect. Returns FETCH_SUCCESS; or why not, with a
 * text in err and no connection. */
enum fetch_kind fetch_hop_begin(struct fetch *fetch, char *err, size_t errlen);

/* The owner has changed something: it took content, or wrote some of the body. Go on at the end of this tick. */
void fetch_hop_nudge(struct fetch *fetch);

#endif
