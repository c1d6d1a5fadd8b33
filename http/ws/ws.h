#ifndef EVSERVE_HTTP_WS_WS_H
#define EVSERVE_HTTP_WS_WS_H

/* A WebSocket (RFC 6455) as its user sees it: a handler accepts the request (http/ws/ws_accept.h); from on_open() on,
 * messages come and go until on_close().
 *
 *     static void on_message(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len)
 *     {
 *         ws_send(ws, kind, data, len); // an echo
 *     }
 *
 * Everything here belongs to the reactor's thread. No function calls back: what it has to say comes in a later turn of
 * the connection. All functions may be called from within callbacks, and at any other time between on_open() and the
 * end of on_close(). */

#include "http/ws/ws_user.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limits;
struct peer;
struct service;
struct ws;

/* The defaults, with write_timeout, write_high_mark and write_cap of limits. */
void ws_options_init(struct ws_options *options, const struct limits *limits, const struct ws_user *user);

/* Send a message, copied. Returns
 * 1: go on;
 * 0: queued, but the client is behind: on_drain() will be called;
 * -EPIPE: it is closing, or over;
 * -EILSEQ: a text is not UTF-8;
 * -EMSGSIZE: longer than WS_SEND_MAX_BYTES;
 * -ENOMEM: nothing was queued, and the WebSocket is as before;
 * -ENOBUFS: more than write_cap bytes wait already, so the connection is cut; on_close() will be called. */
int ws_send(struct ws *ws, enum ws_kind kind, const void *data, size_t len);

/* Send a message that was made beforehand. It goes out at once, without a copy, if nothing else waits; what the socket
 * does not take is held. Returns as ws_send(), but never -EILSEQ or -EMSGSIZE. May be called from anywhere on the
 * reactor's thread. */
int ws_send_made(struct ws *ws, const struct ws_made *made);

/* Send a ping with at most WS_CONTROL_MAX bytes. Returns as ws_send(). */
int ws_ping(struct ws *ws, const void *data, size_t len);

/* Begin to close: send what is queued, then a close frame, and wait for that of the client. on_close() comes then, or
 * after close_timeout. No further messages are delivered. code 0 is none; reason is UTF-8, at most WS_REASON_MAX bytes.
 * Returns 0, -EINVAL for a code or reason that may not be sent, -EPIPE if it is closing or over, or -ENOMEM. */
int ws_close(struct ws *ws, unsigned code, const char *reason, size_t len);

/* Close without waiting for anything: the client sees the connection end. on_close() comes later. */
void ws_cut(struct ws *ws);

/* Read nothing from now on, so that a client that sends faster than its messages are handled is held up by TCP; no
 * message is delivered after ws_pause(). Neither pings nor idle_timeout disturb a WebSocket that is paused. */
void ws_pause(struct ws *ws);
void ws_resume(struct ws *ws);

/* Bytes that wait for the client. */
size_t ws_queued(const struct ws *ws);

/* Whether messages may be sent: neither side has begun to close. */
bool ws_is_open(const struct ws *ws);

/* Which subprotocol was agreed on: its place in the list of struct ws_policy, from 1; 0: none. */
unsigned ws_protocol_place(const struct ws *ws);

/* What ws_accept() was given; who is connected; the server's service. */
void *ws_arg(const struct ws *ws);
const struct ws_options *ws_options_of(const struct ws *ws);
const struct peer *ws_peer(const struct ws *ws);
const struct peer *ws_client_address(const struct ws *ws); /* the one that a trusted proxy told; else the same */
struct service *ws_service(const struct ws *ws);

#endif
