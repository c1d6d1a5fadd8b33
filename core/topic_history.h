#ifndef EVSERVE_CORE_TOPIC_HISTORY_H
#define EVSERVE_CORE_TOPIC_HISTORY_H

/* The last messages of a topic, kept for replay. For core/hub.c alone, which holds its lock. */

#include "core/publication.h"

#include <stdbool.h>
#include <stddef.h>

struct topic_history {
    unsigned keep, count;             /* messages to keep, 0: none; and how many are kept */
    size_t bytes;                     /* of what is kept */
    struct payload *first, *last;     /* kept, oldest first */
    struct publication_id last_id;    /* of the last message; before that, where the history begins */
    struct publication_id dropped_id; /* of the last message that is no longer kept; likewise */
    struct publication_id brought_id; /* of the last message that a broker brought; {0, 0} before that */
};

/* What comes of asking for a replay. */
struct topic_replay {
    struct payload **kept;       /* count of them, oldest first, each with a reference; from mem_alloc() */
    size_t count;                /* of kept */
    bool is_lost;                /* more was published since than is kept */
    struct publication_id after; /* what the subscriber has; {0, 0}: nobody knows */
};

/* Keep at least so many. What was published before is not there, and counts as lost. */
void topic_history_raise(struct topic_history *history, unsigned keep);

/* Drop the oldest message, of which there is one. Returns its bytes. */
size_t topic_history_drop(struct topic_history *history);

/* Give a message of this server an id behind that of the last message, which may have a greater one from a broker. */
void topic_history_follow(const struct topic_history *history, struct publication_id *id);

/* Add a message, with a reference of its own. */
void topic_history_add(struct topic_history *history, struct payload *payload);

/* A message is not kept. */
void topic_history_pass(struct topic_history *history, const struct payload *payload);

/* Get what is kept after an id. has_broker: other servers give ids, too, and missing messages are brought later.
 * Returns 0 or -ENOMEM. */
int topic_history_get(const struct topic_history *history, struct publication_id after, bool has_broker,
                      struct topic_replay *replay);

#endif
