#ifndef EVSERVE_CORE_BROKER_QUEUE_H
#define EVSERVE_CORE_BROKER_QUEUE_H

/* For core/broker.c: messages on their way to Redis, bounded in bytes. Any thread adds to the end, under the lock of
 * the broker; everything else is its own thread's. A message stays until Redis has confirmed it, and, if subscribers of
 * this server get it by way of Redis, until it has come back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct payload;

enum { BROKER_QUEUE_MAX = 16 << 20 }; /* bytes of messages that Redis has not confirmed */

struct broker_letter {
    struct broker_letter *next, *prev;
    struct payload *payload; /* a reference */
    uint64_t number;         /* counts up */
    bool is_sent;            /* to the connection that there is now */
    bool is_confirmed;       /* Redis has it */
    bool comes_back;         /* and subscribers of this server have not got it yet */
};

struct broker_queue {
    struct broker_letter *new_first, *new_last; /* added, and not taken yet; under the lock, as are the next two */
    size_t bytes;                               /* of all letters */
    uint64_t number;                            /* of the last letter */
    struct broker_letter *first, *last;         /* taken */
    struct broker_letter *unsent;               /* the first of them that is not sent */
};

/* Add a message. Returns 0, -ENOBUFS or -ENOMEM. Under the lock. */
int broker_queue_add(struct broker_queue *queue, struct payload *payload, bool comes_back);

/* Take what was added. Under the lock. */
void broker_queue_take(struct broker_queue *queue);

/* The letter of a number, NULL if it is gone. */
struct broker_letter *broker_queue_find(const struct broker_queue *queue, uint64_t number);

/* Note that a letter is sent: the first of those that are not. */
void broker_queue_note_sent(struct broker_queue *queue, struct broker_letter *letter);

/* Redis has refused a letter, which will be sent again. */
void broker_queue_return(struct broker_queue *queue, struct broker_letter *letter);

/* Redis has taken the letter of this number. Those before it that it has refused go to the end, with new numbers:
 * others would not take an older number for news. Takes what was added. Under the lock. */
void broker_queue_put_behind(struct broker_queue *queue, uint64_t number);

/* The connection is lost: what is not confirmed will be sent again. */
void broker_queue_rewind(struct broker_queue *queue);

/* Free a letter that is confirmed and has come back; returns its bytes, by which queue->bytes must go down, under the
 * lock. 0 for others, which stay. */
size_t broker_queue_drop(struct broker_queue *queue, struct broker_letter *letter);

/* Free all. */
void broker_queue_done(struct broker_queue *queue);

#endif
