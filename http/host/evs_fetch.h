#ifndef EVSERVE_HTTP_HOST_EVS_FETCH_H
#define EVSERVE_HTTP_HOST_EVS_FETCH_H

/* Requests of a host to other servers, as the front door sees them; the rest is in evserve.h. */

struct evs_host;

/* Give up all that are under way: their done functions hear that the server has ended. After evs_host_end(), on the
 * serving thread. A second call does nothing. */
void evs_fetches_end(struct evs_host *host);

#endif
