#ifndef EVSERVE_HTTP_HOST_WORKER_TAKE_H
#define EVSERVE_HTTP_HOST_WORKER_TAKE_H

/* What a worker (http/host/worker.h) takes over from its plan and its offer: at the start, and at each reload. Called on
 * the worker's thread. */

#include <stddef.h>

struct worker;

/* Let connections that are accepted from now on use the plan's certificates as they are now. */
void worker_take_tls(struct worker *worker);

/* The same at the start; the first worker looks from then on for files that change, for all of them. Returns 0, or
 * -ENOMEM with a text in err. */
int worker_take_first_tls(struct worker *worker, char *err, size_t errlen);

/* Watch for stalls of the loop as the offer says. */
void worker_take_stalls(struct worker *worker);

/* Let other servers be connected with as the offer says. */
void worker_take_outbound(struct worker *worker);

/* Let topics be carried by the broker that the offer names. The first worker has it. */
void worker_take_broker(struct worker *worker);

/* Log requests as the plan and the hosts of the offer say, before a server begins to use its site. Returns 0, or -ENOMEM
 * with the access log as it was, or without one of those of hosts. */
int worker_take_access(struct worker *worker);

#endif
