#ifndef EVSERVE_HTTP_HOST_HANDOVER_H
#define EVSERVE_HTTP_HOST_HANDOVER_H

/* Handing the listeners of a running server over to another program: evserve_listeners(), evserve_ticket_keys(),
 * evserve_hand_over(). */

struct evs_inherited;
struct plan;
struct worker;

/* Duplicate the listening sockets of the workers, each one once: the first max of them go to listeners, and their fds
 * to the caller. Any thread; waits for the workers' threads. Returns how many there are, or -errno with no fd left
 * open. */
int handover_list(struct worker *workers, unsigned count, struct evs_inherited *listeners, unsigned max);

/* Fill in keys with the keys of the server's session tickets; plan is that of the workers. Any thread. Returns 0, or
 * -errno: -ENOENT without TLS. */
int handover_tickets(struct plan *plan, struct evs_inherited *keys);

/* Another program has the sockets: how is EVSERVE_STORED, EVSERVE_SERVED or EVSERVE_KEPT. Any thread. */
void handover_leave(struct worker *workers, unsigned count, int how);

/* All listeners are open: warn of sockets that were handed over for their addresses and are left, because the other
 * program had more threads. Whoever waits there when it closes them is turned away. */
void handover_warn_of_left(const struct plan *plan, const struct worker *first);

/* The start has failed: what another program has handed over must go on there. No worker's thread runs any more, or
 * each is going to be stopped. */
void handover_return(struct worker *workers, unsigned count);

#endif
