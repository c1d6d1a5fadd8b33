#ifndef EVSERVE_HTTP_HOST_EVS_STALLS_H
#define EVSERVE_HTTP_HOST_EVS_STALLS_H

/* Functions of a host that hold the event loop: their names for the line about a stall (core/stalls.h). Each is called
 * on the serving thread when such a function has returned, and costs a look at the coarse clock. */

#include <stddef.h>

struct reactor;
struct route;

/* The serve function of evserve_config.routes[number], registered as text, "GET /users/:id". */
void evs_stalls_note_route(struct reactor *reactor, const char *text, size_t number);

/* The event function of a request of route, which may be NULL: one of the hooks had it. */
void evs_stalls_note_event(struct reactor *reactor, const struct route *route);

/* Some other function: "evserve_config.before". */
void evs_stalls_note(struct reactor *reactor, const char *what);

#endif
