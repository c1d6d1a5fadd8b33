#ifndef EVSERVE_HTTP_FETCH_OVER_H
#define EVSERVE_HTTP_FETCH_OVER_H

/* The end of a fetch, and the events that its owner gets on the way. */

#include "http/client/fetch.h"

#include <stdarg.h>

struct fetch;

/* It failed: give up the connection; the owner is due to be told. The first failure counts. */
void fetch_fail(struct fetch *fetch, enum fetch_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What names the server in a text: "example.org:81", or the path of a unix socket. */
const char *fetch_peer_name(const struct fetch *fetch, char name[FETCH_FAILURE_MAX / 2]);

/* The event is due to be told. */
void fetch_note(struct fetch *fetch, enum fetch_event event);

/* Tell the owner what is due. fetch may be gone when this returns: nothing may follow it. For callbacks of the reactor
 * alone. */
void fetch_tell(struct fetch *fetch);

/* Close the connection, and stop waiting for anything. */
void fetch_let_go(struct fetch *fetch);

#endif
