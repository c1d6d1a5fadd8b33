#ifndef EVSERVE_HTTP_WS_WS_TRAFFIC_H
#define EVSERVE_HTTP_WS_WS_TRAFFIC_H

/* What is on its way through a WebSocket: frames that wait for room in the socket, and bytes of the client that wait
 * for their turn. There is memory for it only while there is any. */

#include "http/ws/ws_frame.h"

#include <stdbool.h>
#include <stddef.h>

struct ws;
struct ws_made;

enum {
    WS_HELD_FRAMES_MAX = 64,       /* that wait without a copy; further ones are copied */
    WS_SEND_BUDGET_BYTES = 262144, /* sent in one turn (R6) */
    WS_DIRECT_MIN_BYTES = 16384,   /* payloads from here on are not copied if the socket takes them at once */
};

/* Bytes that wait for the client. */
size_t ws_traffic_queued(const struct ws *ws);

/* Queue a frame, copied; is_deflated: it is a compressed message. Long ones are sent at once as far as the socket takes
 * them, if nothing else waits. Returns 0, -ENOMEM with nothing queued, or another -errno when the client is lost. */
int ws_traffic_add(struct ws *ws, enum ws_opcode opcode, bool is_deflated, const void *data, size_t len);

/* The same for a frame that was made beforehand, of which nothing is copied unless many wait already. */
int ws_traffic_add_made(struct ws *ws, const struct ws_made *made);

/* Send what is queued, as far as the socket and the budget of a turn go. Returns 0, or -errno when the client is
 * lost. */
int ws_traffic_send(struct ws *ws);

/* The bytes of the client that wait. They stay where they are until ws_traffic_keep(). */
char *ws_traffic_rest(const struct ws *ws, size_t *len);

/* Keep len bytes, which are copied unless they are the end of those that wait already. Returns 0 or -ENOMEM. */
int ws_traffic_keep(struct ws *ws, char *data, size_t len);

/* The turn is over: give back what is not needed. */
void ws_traffic_settle(struct ws *ws);

/* Drop everything. */
void ws_traffic_drop(struct ws *ws);

#endif
