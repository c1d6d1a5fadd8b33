#ifndef EVSERVE_HTTP_WS_WS_USER_H
#define EVSERVE_HTTP_WS_WS_USER_H

/* What the user of a WebSocket brings: callbacks, options, frames made beforehand. http/ws/ws.h has the functions. */

#include "http/ws/ws_frame.h"

#include <stddef.h>
#include <stdint.h>

struct ws;

enum {
    WS_MAX_MESSAGE_BYTES = 1 << 20, /* the default of max_message */
    WS_SEND_MAX_BYTES = 1 << 30,    /* of one message that we send */
    WS_PING_MS = 30000,             /* the defaults of the times below */
    WS_PONG_TIMEOUT_MS = 20000,
    WS_CLOSE_TIMEOUT_MS = 10000,
    WS_COMPRESS_MIN_BYTES = 256, /* what compress_min is where it is asked for and not set */
};

/* What the user of a WebSocket hears. Each may be NULL, except on_close. arg is that of ws_accept(). */
struct ws_user {
    void (*on_open)(struct ws *ws, void *arg); /* the 101 was sent */

    /* A message: len bytes, valid during the call. A text is UTF-8. NULL: messages are dropped. */
    void (*on_message)(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len);

    /* A pong, asked for or not: at most WS_CONTROL_MAX bytes, valid during the call. */
    void (*on_pong)(struct ws *ws, void *arg, const char *data, size_t len);

    /* ws_send() returned 0, and since then the client has taken most of what was queued. */
    void (*on_drain)(struct ws *ws, void *arg);

    /* It is over: called exactly once after ws_accept() returned 0, and the last call. ws must not be used after it. If
     * the client left before the 101 was sent, on_open() was never called, and ws is good for ws_arg() and
     * ws_options_of() alone.
     * code: of the client's close frame, which need not be one that may be sent: WS_CODE_NONE if it had none; the code
     * that we sent if the client broke the rules; WS_CODE_LOST if the connection ended without a close. reason: len
     * bytes of UTF-8, valid during the call. */
    void (*on_close)(struct ws *ws, void *arg, unsigned code, const char *reason, size_t len);
};

/* What holds for the WebSockets of a route. Borrowed: it must be there until the end of on_close(). */
struct ws_options {
    const struct ws_user *user; /* whose callbacks are called; there as long as this */
    size_t max_message;         /* bytes of a message from a client, inflated; a longer one ends in 1009 */
    uint32_t ping_ms;           /* silence of the client after which it is sent a ping; 0: never */
    uint32_t pong_timeout_ms;   /* how long it may then say nothing at all; it is cut after that, unless it still takes
                                 * what lies in the socket before the ping. So is close_timeout_ms meant, too */
    uint32_t idle_timeout_ms;   /* how long there may be no message either way; then it ends in 1001. 0: forever */
    uint32_t close_timeout_ms;  /* how long the client's close frame is waited for; the connection is cut after that */
    uint32_t write_timeout_ms;  /* how long a client may take nothing of what waits for it */
    uint32_t high_mark;         /* queued bytes above which ws_send() returns 0, and nothing more is read */
    uint32_t compress_min;      /* bytes of the shortest message of ours that is compressed, where clients offer
                                 * permessage-deflate (RFC 7692); 0: none is, and none is agreed on */
    uint32_t write_cap;         /* queued bytes above which nothing more is queued, and the connection is cut */
};

/* A whole frame that was made beforehand, for many WebSockets. Its owner keeps it until each hold() has been followed
 * by its release(). */
struct ws_made {
    const char *frame;          /* as it goes over the wire */
    size_t len;                 /* bytes of it */
    void (*hold)(void *arg);    /* it is still needed after the call that it was handed to, once more */
    void (*release)(void *arg); /* and now no longer */
    void *arg;                  /* handed to both */
};

#endif
