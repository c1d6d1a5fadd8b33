/* No failure modes: a name that is too long is cut. */

#include "http/host/evs_stalls.h"

#include "core/reactor.h"
#include "core/tick_clock.h"
#include "http/route.h"

#include <stdio.h>

void evs_stalls_note_route(struct reactor *reactor, const char *text, size_t number)
{
    char *name = stalls_note_end(&reactor_clock(reactor)->stalls);
    if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "route %.400s (evserve_config.routes[%zu])", text, number);
    }
}

void evs_stalls_note_event(struct reactor *reactor, const struct route *route)
{
    char *name = stalls_note_end(&reactor_clock(reactor)->stalls);
    if (name != NULL && route != NULL) {
        snprintf(name, STALL_NAME_MAX, "the evs_on() function of route %.400s (%s)", route->pattern, route->where);
    } else if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "an evs_on() function");
    }
}

void evs_stalls_note(struct reactor *reactor, const char *what)
{
    char *name = stalls_note_end(&reactor_clock(reactor)->stalls);
    if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "%s", what);
    }
}
