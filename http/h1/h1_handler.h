#ifndef EVSERVE_HTTP_H1_HANDLER_H
#define EVSERVE_HTTP_H1_HANDLER_H

/* What becomes of a handler that is waited for. */

#include <stdbool.h>

struct h1;

/* The handler's work is in vain: call its on_gone(), and then none of its callbacks any more. */
void h1_tell_gone(struct h1 *h1);

/* Nothing but a handler is waited for: its response is not complete, there is nothing to send, and nothing that the
 * handler wants to read. */
bool h1_waits_for_handler(const struct h1 *h1);

/* It is so, and a client that has shut its side has therefore left: not when its route says that such clients still
 * read. */
bool h1_is_left(const struct h1 *h1);

/* The handler has not responded in time (handler_timeout, stream_timeout): say so in the log. Returns true when the
 * client gets a 503 in place of the response, after on_gone() was called; false when the response has begun, so that
 * the connection must be cut. */
bool h1_replace_handler(struct h1 *h1);

/* The connection is cut because the server stops, and waits no longer: say which handler was at work, if one was. */
void h1_log_stopped(struct h1 *h1);

/* The server stops, or the site of the request was replaced: call the on_stopping() of a handler at work. This runs in
 * each turn, so on_stopping() clears the pointer. */
void h1_announce_stop(struct h1 *h1);

#endif
