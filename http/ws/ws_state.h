#ifndef EVSERVE_HTTP_WS_WS_STATE_H
#define EVSERVE_HTTP_WS_WS_STATE_H

/* A WebSocket as the files of http/ws/ share it. */

#include "http/ws/ws_reader.h"
#include "http/ws/ws_user.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct peer;
struct ws_deflate;
struct ws_subscription;
struct ws_traffic;

/* Where a WebSocket is between its 101 and its end. */
enum ws_state {
    WS_OPENING, /* on_open() has not been called yet */
    WS_OPEN,    /* messages come and go */
    WS_CLOSING, /* our close frame is queued or sent; that of the client is waited for */
    WS_ENDING,  /* on_close() was called: what is queued is sent, and then the connection ends */
    WS_LOST,    /* the connection ends in the next turn, with on_close() */
    WS_OVER,    /* it has ended */
};

/* All that an idle WebSocket holds beside its connection. */
struct ws {
    struct conn *conn;                     /* whose work it is; NULL before it is open */
    const struct ws_options *options;      /* borrowed until on_close() */
    void *arg;                             /* of options->user */
    struct ws_traffic *traffic;            /* what is on its way; NULL while nothing is */
    struct peer *client;                   /* owned: the one that a trusted proxy told; NULL: that of conn */
    struct ws_deflate *deflate;            /* permessage-deflate, if it was agreed on; NULL */
    struct ws_subscription *subscriptions; /* to topics: http/ws/ws_topics.c */
    struct ws_reader reader;               /* of what the client sends */
    uint32_t since_ms;   /* when the client last sent anything; since when a pong, or a close frame, is waited for.
                          * Reactor time, cut to 32 bits */
    uint32_t message_ms; /* when the last message came, or went if there is an idle_timeout */
    uint32_t unsent;     /* bytes in the socket that the client had not taken then, while one of these is waited for */
    uint8_t state;       /* enum ws_state */
    uint8_t protocol;    /* place of the subprotocol in its list, from 1; 0: none was agreed on */
    bool is_paused : 1;  /* ws_pause() */
    bool has_more : 1;   /* the reader has to be asked again, though nothing arrives: a turn ended before it was done */
    bool has_read : 1;   /* in this turn */
    bool is_behind : 1;  /* ws_send() returned 0: on_drain() is due */
    bool awaits_pong : 1; /* a ping was sent after a silence, and nothing has come since */
    bool restarts : 1;    /* what is waited for has changed: the deadline begins anew with this turn */
};

#endif
