#ifndef EVSERVE_CORE_HUB_INBOX_H
#define EVSERVE_CORE_HUB_INBOX_H

/* The messages that one thread has not delivered yet. For core/hub.c alone, which holds its lock for all functions
 * except hub_inbox_note(). */

#include "core/publication.h"
#include "core/reactor_task.h"

#include <stdbool.h>
#include <stddef.h>

struct reactor;

struct hub_inbox {
    struct publication *first, *last; /* oldest first */
    size_t bytes;                     /* of these, and of those that the thread has taken and not delivered; atomic */
    struct reactor *reactor;          /* borrowed; NULL: the thread has not joined */
    struct reactor_call wake;         /* posted by hub_inbox_queue() */
    bool is_waking;                   /* from then on until it runs: it must not be posted twice */
};

/* Whether a payload fits, of limit bytes at most. An empty inbox has room for any. */
bool hub_inbox_has_room(const struct hub_inbox *inbox, const struct payload *payload, size_t limit);

/* Queue a publication, and wake the thread. */
void hub_inbox_queue(struct hub_inbox *inbox, struct publication *publication);

/* Take all that is there, oldest first. NULL: nothing. */
struct publication *hub_inbox_take(struct hub_inbox *inbox);

/* One of those is delivered. On the inbox's thread. */
void hub_inbox_note(struct hub_inbox *inbox, const struct payload *payload);

#endif
