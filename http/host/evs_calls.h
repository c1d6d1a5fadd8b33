#ifndef EVSERVE_HTTP_HOST_EVS_CALLS_H
#define EVSERVE_HTTP_HOST_EVS_CALLS_H

/* Timers and watched fds of a host, as the front door sees them; the rest is in evserve.h. */

struct evs_host;

/* End all timers and watches, after evs_host_end(). On the serving thread. A second call does nothing. */
void evs_calls_end(struct evs_host *host);

#endif
