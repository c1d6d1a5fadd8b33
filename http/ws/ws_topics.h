#ifndef EVSERVE_HTTP_WS_WS_TOPICS_H
#define EVSERVE_HTTP_WS_WS_TOPICS_H

/* WebSockets that subscribe to topics (core/topics.h): what is published there is sent to the client as a message,
 * without a call of the WebSocket's user. All subscribers of a thread share the frame; those that agreed on compression
 * share one that was compressed once.
 *
 * A client that falls behind is cut when more than write_cap bytes wait for it, as with ws_send(); or, if the
 * subscription says so, it misses messages while more than write_high_mark bytes wait. */

#include <stdbool.h>
#include <stddef.h>

struct ws;

enum { WS_TOPICS_MAX = 1000 }; /* topics of one WebSocket */

/* Subscribe to a topic; skips: a client that is behind misses messages. Subscribing again only changes skips. Returns
 * 0; -EPIPE: it is closing or over; -EINVAL or -ENAMETOOLONG for the name (topic_check_name()); -E2BIG beyond
 * WS_TOPICS_MAX; -ENOSPC: the server has too many topics; -ENOTSUP: it has no topics, -ENOMEM. */
int ws_subscribe(struct ws *ws, const char *name, size_t len, bool skips);

/* Get nothing more from a topic. Returns 0, or -ENOENT if it is not subscribed. */
int ws_unsubscribe(struct ws *ws, const char *name, size_t len);

/* For ws_protocol.c: the WebSocket is over. */
void ws_topics_drop(struct ws *ws);

#endif
