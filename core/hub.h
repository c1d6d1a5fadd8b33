#ifndef EVSERVE_CORE_HUB_H
#define EVSERVE_CORE_HUB_H

/* Publish and subscribe for all threads of a server: which threads have subscribers of which topic, and the replay of
 * topics that have one. There is one hub for each handle, and it outlives reloads. The subscribers of a thread are in
 * its struct topics (core/topics.h).
 *
 * To publish is to put a message into the inbox of each thread that has subscribers. Nothing is delivered inside the
 * call, and all threads see all messages in the same order.
 *
 * Topics exist while they have subscribers or a replay. */

#include "core/name_table.h"
#include "core/publication.h"
#include "core/reactor_task.h"
#include "core/topic_history.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct reactor;

enum {
    HUB_TOPICS_MAX = 100000,          /* topics of a server, each with subscribers or a replay */
    HUB_KEPT_MAX = 1000,              /* topics of hub_keep() */
    HUB_INBOX_MAX = 64 << 20,         /* bytes of messages that one thread has not delivered yet */
    TOPIC_REPLAY_MAX = 10000,         /* messages in the replay of a topic */
    TOPIC_REPLAY_BYTES_MAX = 4 << 20, /* bytes of them */
    HUB_REPLAY_BYTES_MAX = 64 << 20,  /* bytes of the replays of all topics */
};

/* The limits above that tests make smaller. */
struct hub_limits {
    size_t topics, inbox_bytes, topic_bytes, replay_bytes;
};

/* A hub for count threads. Returns 0 or -ENOMEM. */
int hub_create(struct hub **hub, unsigned count);

/* Free it. All threads have left it, and nobody publishes. NULL is allowed. */
void hub_destroy(struct hub *hub);

/* Replace the limits, before the first use. */
void hub_set_limits(struct hub *hub, const struct hub_limits *limits);

/* Publish a message. Returns 0 even if nobody subscribes; or, with nothing published, what message_check() returns;
 * -ENOBUFS: a thread that has subscribers is so far behind that its inbox is full; -ENOMEM. Any thread. */
int hub_publish(struct hub *hub, const struct message_parts *message);

/* Totals of a broker, and how it is now. */
struct hub_broker_counts {
    bool is_connected;
    uint64_t sent;     /* messages that it has taken */
    uint64_t received; /* of other servers */
    uint64_t dropped;  /* that have not been published to other servers, since too many waited */
    size_t waiting;    /* bytes of messages that it has not taken yet */
};

/* Totals. Any thread. */
struct hub_counts {
    uint64_t published;              /* messages that hub_publish() took */
    uint64_t refused;                /* that it or hub_bring() refused with -ENOBUFS or -ENOMEM */
    size_t topics;                   /* now */
    size_t subscribers;              /* now */
    size_t replay_bytes;             /* now */
    bool has_broker;                 /* now */
    struct hub_broker_counts broker; /* of has_broker */
};

void hub_get_counts(struct hub *hub, struct hub_counts *counts);

/* How many subscribers a topic has in this server now. Any thread. */
size_t hub_subscribers(struct hub *hub, const char *name, size_t len);

/* Keep the last messages of a topic for replay, at most entries of them (1 to TOPIC_REPLAY_MAX), until the hub ends,
 * also while nobody subscribes. A greater number of a later call wins. Returns 0, -EINVAL or -ENAMETOOLONG for the
 * name, -ERANGE for the number, -ENOSPC beyond HUB_KEPT_MAX or HUB_TOPICS_MAX, -ENOMEM. Any thread. */
int hub_keep(struct hub *hub, const char *name, size_t len, unsigned entries);

/* A broker: other servers that publish and subscribe. The functions may be called by any thread, with the hub locked:
 * they only note what is to be done, and never call the hub. */
struct hub_broker {
    /* A message is published here. Returns whether the broker will bring it back with hub_bring() for everybody: then
     * it is not delivered now. */
    bool (*publish)(void *arg, struct payload *payload);

    /* The first subscriber of a topic came to this server, or its last one has left. replay: how many messages of it
     * are kept; 0: none. Called again when that changes. */
    void (*want)(void *arg, const char *name, size_t len, bool is_wanted, unsigned replay);

    void (*count)(void *arg, struct hub_broker_counts *counts); /* for hub_get_counts(); may be NULL */
};

/* Use another broker, or none (NULL). The new one is told at once of all topics that have subscribers or a replay. When
 * this returns, no call of the old one is running. */
void hub_set_broker(struct hub *hub, const struct hub_broker *broker, void *arg);

/* Deliver what the broker brings, with the id it has there ({0, 0}: it gets one here). One whose id is not greater than
 * that of the last message of this topic is dropped: it was here before. is_history: it was published before, and
 * fetched for the replay: only subscribers that asked for a replay get it. Returns as hub_publish(). Any thread. */
int hub_bring(struct hub *hub, const struct message_parts *message, bool is_history);

/* The broker has all of a topic's history after this id, and is going to bring it. Any thread. */
void hub_begin_history(struct hub *hub, const char *name, size_t len, struct publication_id after);

/* The id of the last message of a topic that a broker has brought, {0, 0} when there is none. Any thread. */
struct publication_id hub_last_id(struct hub *hub, const char *name, size_t len);

/* For core/topics.c, on the thread of that number. */

/* Join: wake is posted to reactor when there is something in the inbox. */
void hub_join(struct hub *hub, unsigned number, struct reactor *reactor, reactor_task_fn wake, void *arg);

/* Leave: the inbox is emptied, and stays so. Its subscribers have left. */
void hub_leave(struct hub *hub, unsigned number);

/* wake runs. hub_take() follows. */
void hub_note_wake(struct hub *hub, unsigned number);

/* Take what is in the inbox, oldest first; NULL: nothing. Each is given back with hub_note_delivered(). A wake that is
 * under way comes all the same. */
struct publication *hub_take(struct hub *hub, unsigned number);

/* One of them has been delivered to all subscribers: it makes room in the inbox. */
void hub_note_delivered(struct hub *hub, unsigned number, const struct payload *payload);

/* What somebody subscribes to. */
struct hub_request {
    const char *name;
    size_t len;
    unsigned keep;               /* messages to keep for replay; 0: none */
    struct publication_id after; /* {0, 0}: no replay, else all after this one */
};

/* What comes of it. */
struct hub_grant {
    uint64_t seq;               /* the subscriber gets what has a greater one */
    struct topic_replay replay; /* what comes before that, if it was asked for */
};

/* The hash of a topic's name. */
uint64_t hub_hash(const struct hub *hub, const char *name, size_t len);

/* One more subscriber of a topic. Returns 0; or -ENOSPC: there are too many topics, -ENOMEM. */
int hub_subscribe(struct hub *hub, unsigned number, const struct hub_request *request, struct hub_grant *grant);

/* One less, of a topic that has one on this thread. */
void hub_unsubscribe(struct hub *hub, unsigned number, const char *name, size_t len);

#endif
