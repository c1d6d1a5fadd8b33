#ifndef EVSERVE_HTTP_H1_H1_PACE_H
#define EVSERVE_HTTP_H1_H1_PACE_H

/* rate_limit: how fast the bytes of one response may leave. Only for exchanges that are paced (dues.is_paced), whose
 * response is sent to its end before the next request is looked at. */

#include <stdbool.h>
#include <stdint.h>

struct h1;

/* How many bytes may be sent now, most at the most; 0: none yet, and the response is held back until
 * h1->paced_until_ms. */
int64_t h1_pace_budget(struct h1 *h1, int64_t most);

/* There are bytes left that the transport has room for: if they are not due yet, the response is held back. */
void h1_pace_hold(struct h1 *h1);

/* The rest of the response is held back: it waits for its time, and not for the client. */
bool h1_is_held(const struct h1 *h1);

#endif
