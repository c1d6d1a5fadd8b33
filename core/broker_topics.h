#ifndef EVSERVE_CORE_BROKER_TOPICS_H
#define EVSERVE_CORE_BROKER_TOPICS_H

/* For core/broker.c: the topics of this server that come through Redis. */

#include "core/broker_state.h"

/* Somebody wants a topic, or nobody does any more. Returns 0 or -ENOMEM. */
int broker_take_wish(struct broker *broker, const struct broker_wish *wish);

/* Do for all topics what is due, after the connections are ready. */
void broker_refresh_topics(struct broker *broker);

/* Do it for those for which there was no room, if there is now. */
void broker_go_on_with_topics(struct broker *broker);

/* There is a connection, and letters have waited for it: have Redis keep those of topics with a replay, even if it has
 * come back empty. */
void broker_keep_waiting(struct broker *broker);

/* Mark the streams of all topics as used. */
void broker_keep_topics(struct broker *broker);

/* The connection for channels is lost: there are no subscriptions. */
void broker_forget_subscriptions(struct broker *broker);

/* No topic is live any more. Under the lock. */
void broker_stop_live(struct broker *broker);

/* A reply of the connection for channels. */
void broker_take_channel(struct broker *broker, const struct redis_reply *reply);

/* A part of the stream of a topic. */
void broker_take_range(struct broker *broker, struct broker_topic *topic, const struct redis_reply *reply);

/* Free all topics. */
void broker_free_topics(struct broker *broker);

#endif
