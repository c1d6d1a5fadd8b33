#ifndef EVSERVE_HTTP_WS_WS_PROTOCOL_H
#define EVSERVE_HTTP_WS_WS_PROTOCOL_H

/* WebSocket as what is spoken on a connection (struct protocol). */

#include <stddef.h>

struct conn;
struct protocol;
struct ws;

extern const struct protocol ws_protocol;

/* The 101 was sent: ws, which is zeroed except for what the handshake has set, is the work of conn from now on. len
 * bytes of unread came behind the request. Returns 0, or -ENOMEM with ws as it was. */
int ws_begin(struct ws *ws, struct conn *conn, const char *unread, size_t len);

#endif
