#ifndef EVSERVE_HTTP_HOST_HANDOVER_H
#define EVSERVE_HTTP_HOST_HANDOVER_H

/* Handing the listeners of a running server over to another program: evserve_listeners(), evserve_hand_over(). */

struct evs_inherited;
struct worker;

/* Duplicate the listening sockets of the workers, each one once: the first max of them go to listeners, and their fds
 * to the caller. Any thread; waits for the workers' threads. Returns how many there are, or -errno with no fd left
 * open. */
int handover_list(struct worker *workers, unsigned count, struct evs_inherited *listeners, unsigned max);

/* Another program has the sockets: how is EVSERVE_STORED or EVSERVE_SERVED. Any thread. */
void handover_leave(struct worker *workers, unsigned count, int how);

/* The start has failed: what another program has handed over must go on there. No worker's thread runs any more, or
 * each is going to be stopped. */
void handover_return(struct worker *workers, unsigned count);

#endif
