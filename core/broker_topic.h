#ifndef EVSERVE_CORE_BROKER_TOPIC_H
#define EVSERVE_CORE_BROKER_TOPIC_H

/* For core/broker.c: a topic that this server gets messages of through Redis, and how far it has got. */

#include "core/broker_text.h"
#include "core/name_table.h"
#include "core/publication.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BROKER_NODES_MAX = 64 }; /* other servers for which a topic notes what it has seen, to drop repetitions */

/* What was heard last from another server. */
struct broker_node {
    uint64_t node, number;
};

/* How far the subscription has come. */
enum broker_subscription { BROKER_OUT, BROKER_ASKED, BROKER_IN };

struct broker_topic {
    struct named_entry entry; /* first: name and hash */
    bool is_live; /* changed under the lock of the broker: messages of ours come back through Redis, with an id */

    /* The broker's thread alone. */
    bool is_wanted;                        /* there are subscribers, or a replay, here */
    bool is_loading;                       /* a part of the stream is under way */
    bool is_stale;                         /* but it is not the one that is needed now */
    bool has_missed;                       /* meanwhile a message came through the channel, which the stream has, too */
    bool is_kept;                          /* used by broker_keep_waiting() alone */
    bool has_loaded;                       /* the stream was read to its end, if not later */
    unsigned replay;                       /* messages to keep; 0: none */
    enum broker_subscription subscription; /* how far it has come */
    unsigned unconfirmed;                  /* commands to subscribe that Redis has not confirmed */
    unsigned requests;                     /* replies that will name it */
    struct publication_id last;            /* of the last message that came with an id */
    struct publication_id
        first_live;            /* of the first one that came through the channel before it was live; else {0, 0} */
    uint64_t born_number;      /* of our last message before it was wanted */
    struct broker_node *nodes; /* BROKER_NODES_MAX of them, or NULL */
    unsigned node_count, oldest_node; /* of nodes; the next one to be replaced */
};

/* Make one of a name. NULL without memory. */
struct broker_topic *broker_topic_create(const char *name, size_t len, uint64_t hash);
void broker_topic_destroy(struct broker_topic *topic); /* NULL is allowed */

/* A message of another server has come. Returns whether it is new; one that was sent again is not. */
bool broker_topic_is_news(struct broker_topic *topic, struct broker_origin origin);

#endif
