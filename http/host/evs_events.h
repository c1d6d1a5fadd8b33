#ifndef EVSERVE_HTTP_HOST_EVS_EVENTS_H
#define EVSERVE_HTTP_HOST_EVS_EVENTS_H

/* Events of a host's request, for the files of the C binding. */

#include "evserve.h"

struct exchange;

/* A handler of the host's is about to be called: from now on, events of the exchange go to the host. */
void evs_hook(struct exchange *exchange);

/* Call the function of evs_on(), if there is one. */
void evs_tell(struct exchange *exchange, enum evs_event event);

/* The response is about to be complete: the host gets no more events. */
struct exchange *evs_part(evs_request *request);

/* The response has no content (HEAD, 204, 304), so it is complete as it is. The host, which is in the middle of its
 * work, gets EVS_GONE with the next turn of the loop. */
void evs_end_without_content(struct exchange *exchange);

#endif
