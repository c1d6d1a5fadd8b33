#ifndef EVSERVE_CORE_BROKER_STATE_H
#define EVSERVE_CORE_BROKER_STATE_H

/* For core/broker.c, core/broker_publish.c and core/broker_topics.c: a broker from inside. Fields are its own thread's
 * unless something else is said. Lock order: the hub's lock, then the broker's: the hub calls the broker with its lock
 * held; the broker calls the hub without its own. */

#include "core/broker.h"
#include "core/broker_queue.h"
#include "core/broker_topic.h"
#include "core/hub.h"
#include "core/redis_client.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    BROKER_REQUESTS_MAX = 10000,                          /* commands whose replies are missing */
    BROKER_LETTERS_MAX = 8000,                            /* of them, those that publish: the rest is for topics */
    BROKER_LETTER_BYTES_MAX = REDIS_CLIENT_QUEUE_MAX / 2, /* likewise of the bytes that wait for the connection */
    BROKER_LEFT_ROOM = 1000, /* commands there is room for, before topics that were left are looked at again */
    BROKER_SHA_LEN = 40      /* digits of the name of a script */
};

/* What a reply to the connection for commands replies to. */
enum broker_asked { ASKED_SCRIPT, ASKED_PUBLISH, ASKED_KEEP, ASKED_RANGE };

struct broker_request {
    enum broker_asked asked;
    struct broker_letter *letter; /* of ASKED_PUBLISH */
    struct broker_topic *topic;   /* of ASKED_RANGE */
};

/* Somebody subscribes to a topic, or nobody does any more. */
struct broker_wish {
    struct broker_wish *next;
    bool is_wanted;
    unsigned replay; /* messages to keep */
    uint64_t number; /* of our last message before this */
    size_t len;      /* of name */
    char name[];
};

struct broker {
    struct redis_url url;
    char *url_text;
    struct hub *hub;         /* borrowed */
    struct reactor *reactor; /* borrowed */
    const struct log *log;   /* borrowed */
    uint64_t node;           /* who we are: random */

    pthread_mutex_t lock;      /* of what follows, up to bell */
    struct broker_queue queue; /* a part of it: see there */
    struct name_table topics;  /* struct broker_topic: the own thread changes it, and reads it without the lock */
    struct broker_wish *first_wish, *last_wish; /* that the own thread has not seen */
    bool brings_back;                           /* messages to live topics are delivered when they come back */
    bool is_beginning;                          /* the hub tells the topics that it has */
    bool has_forgotten;                         /* there was no memory for a wish */
    struct hub_broker_counts counts;            /* except waiting */
    struct broker_bell *bell;                   /* borrowed: its is_ringing */

    struct redis_client commands;    /* publishes, and reads streams */
    struct redis_client channels;    /* subscribes: such a connection takes no other commands */
    bool is_up;                      /* both are ready */
    bool was_up;                     /* at some time */
    bool is_reported;                /* the log says that it is not up */
    char sha[BROKER_SHA_LEN + 1];    /* of the script that publishes; "": not known on this connection */
    struct broker_request *requests; /* a ring of BROKER_REQUESTS_MAX */
    unsigned request_at, request_count;
    uint64_t minute_timer;
    unsigned minutes;        /* since the streams were marked as used */
    uint64_t taken_number;   /* of the last letter that Redis has taken */
    uint64_t dropped_before; /* counts.dropped when the connection was lost */
    bool has_left;           /* there was no room for commands about some topics: they come when there is */
    bool has_complained;     /* of an error that Redis has replied, since it is up */
};

#endif
