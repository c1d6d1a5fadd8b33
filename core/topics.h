#ifndef EVSERVE_CORE_TOPICS_H
#define EVSERVE_CORE_TOPICS_H

/* The subscribers of one thread. There is one struct topics for each reactor of a server, and it outlives reloads, so
 * subscribers of a script that was replaced still get messages. All functions are for the reactor's thread.
 *
 * A subscription is a member of its owner: being subscribed costs no allocation except that of the first subscriber of
 * a topic on this thread. Messages are delivered in a task of the reactor, never inside of a call of the publisher, in
 * slices of about a millisecond, so that ten thousand subscribers of a topic do not hold up the loop. Each subscriber
 * gets the messages of a topic in the order in which they were published, and those that are published after
 * topics_subscribe() returned. */

#include "core/hub.h"
#include "core/name_table.h"
#include "core/publication.h"
#include "core/reactor_task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reactor;
struct subscription;
struct topic_here;

/* What became of a message. */
enum delivery {
    DELIVERY_TAKEN,   /* it is sent, or on its way */
    DELIVERY_ALL,     /* likewise, with the others of publication->batch */
    DELIVERY_SKIPPED, /* the subscriber is too far behind: it does not get this message */
    DELIVERY_ENDED,   /* likewise, and so deliver() has ended the subscriber */
};

/* A message for a subscriber. If more messages of the topic wait, publication->batch is greater than 1, and those are
 * delivered next unless it takes them at once. It may subscribe, unsubscribe this subscription and others, and free
 * what belongs to them. The publication is valid during the call, or as long as publication_get() says. */
typedef enum delivery (*deliver_fn)(struct subscription *subscription, struct publication *publication);

/* A zeroed one is subscribed to nothing. It must not move while it is subscribed. */
struct subscription {
    struct topic_here *topic;         /* NULL: not subscribed */
    struct subscription *next, *prev; /* of the topic, in the order of subscribing */
    deliver_fn deliver;
    void *arg;                   /* the owner's */
    uint64_t after_seq;          /* it gets what has a greater one */
    struct publication_id after; /* and a greater id than this one; {0, 0}: nothing of the history */
};

/* How the deliveries of a thread went, since the start. Any thread may read them, with a relaxed load. */
struct topics_counts {
    uint64_t delivered, skipped, ended;
};

struct topics {
    struct hub *hub;                  /* borrowed: of the server; any thread may read it and publish there */
    struct reactor *reactor;          /* borrowed */
    unsigned number;                  /* of the thread */
    struct name_table table;          /* struct topic_here by name */
    struct publication *first, *last; /* to be delivered, oldest first */
    struct subscription *at;          /* the next one that gets it; NULL: none */
    unsigned batch;                   /* messages from first on that are delivered together; 0: none is begun */
    struct subscription *current;     /* that one of them is being delivered to; NULL: none, or it was unsubscribed */
    bool is_open;                     /* between topics_init() and topics_done() */
    struct replaying *replaying;      /* calls of topics_subscribe() that deliver */
    struct reactor_task task;         /* scheduled while there is something to deliver */
    struct topics_counts counts;
};

/* Join the hub as thread number. hub and reactor outlive it. It must not move. */
void topics_init(struct topics *topics, struct hub *hub, unsigned number, struct reactor *reactor);

/* Leave the hub. What is not delivered is dropped, and subscriptions that are left are ended without a word. One of
 * zeros is left alone; a second call does nothing. */
void topics_done(struct topics *topics);

/* The history that a subscriber wants. */
struct topics_replay {
    unsigned keep;               /* messages of the topic to keep from now on; 0: as many as others want */
    struct publication_id after; /* what the subscriber had last; {0, 0}: none, so nothing is replayed */
    bool is_lost;                /* set: more was published since than is kept */
    void (*on_start)(struct subscription *subscription, bool is_lost); /* called before the first one; may be NULL */
};

/* Deliver all that was published, at once, however long it takes: the connections of subscribers are about to end. Not
 * in a deliver_fn. */
void topics_flush(struct topics *topics);

/* Subscribe to the topic of a name. With a replay (else NULL), what is kept after replay->after is delivered before
 * this returns, without a gap or a repetition towards what comes later; it ends early if a message is not taken.
 * Returns 0, or with nothing subscribed -EINVAL or -ENAMETOOLONG (topic_check_name()), -ENOSPC (HUB_TOPICS_MAX),
 * -ENOMEM; or -ECANCELED: deliver() has unsubscribed, or even freed, this subscription during the replay. subscription
 * must not be subscribed. */
int topics_subscribe(struct topics *topics, struct subscription *subscription, const char *name, size_t len,
                     deliver_fn deliver, void *arg, struct topics_replay *replay);

/* It gets nothing more. Does nothing if it is not subscribed. */
void topics_unsubscribe(struct subscription *subscription);

/* The name of its topic; NULL: it is not subscribed. */
const char *subscription_topic(const struct subscription *subscription, size_t *len);

#endif
