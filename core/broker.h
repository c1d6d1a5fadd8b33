#ifndef EVSERVE_CORE_BROKER_H
#define EVSERVE_CORE_BROKER_H

/* Publish and subscribe for several machines, through Redis. What is published here is published there, and what
 * others publish there to a topic that has subscribers here comes into the hub. There is one broker for each hub, on
 * one of its threads.
 *
 * Topics without a replay: subscribers of this server get a message at once, others through Redis. Topics with a
 * replay: all get it through Redis, where it gets an id that is the same everywhere, and a stream keeps it. While Redis
 * is away, subscribers of this server get everything that is published here at once, others when Redis is back; and
 * what others have published meanwhile is fetched then, if the topic has a replay. Nobody gets a message twice, and the
 * messages of one publisher keep their order.
 *
 * Failure modes: while Redis is away, more than BROKER_QUEUE_MAX bytes do not wait for it, and only subscribers of this
 * server get the rest. What is published to topics without a replay while this server has no connection is lost
 * here. */

#include "core/reactor_task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;
struct hub;
struct log;
struct outbound;
struct reactor;

/* How other threads wake the thread of a broker. It lives as long as the thread's reactor, and serves one broker at a
 * time. Zeroed at first. */
struct broker_bell {
    struct reactor_call call; /* posted while is_ringing */
    bool is_ringing;
    struct broker *broker; /* who has it; NULL: nobody */
    uint64_t node, number; /* of all its brokers: how other servers know this one, and its last message */
};

struct broker_config {
    struct broker_bell *bell;  /* borrowed: of that thread */
    const char *url;           /* of redis_url.h: copied */
    struct hub *hub;           /* borrowed */
    struct reactor *reactor;   /* borrowed: of the thread that has the broker */
    struct outbound *outbound; /* borrowed: of that thread */
    const struct log *log;     /* borrowed; may be NULL */
    int base_fd;               /* where the name of a file in the URL starts: sys_base() */
};

enum { BROKER_ERROR_MAX = 512 }; /* bytes of a text that says why, with its NUL */

/* Check a URL, and whether this build and this machine can have a broker: loads hiredis, so it comes before the
 * sandbox. Returns 0, -EINVAL or -ENOTSUP with a text in err, which never has the password. Any thread. */
int broker_check(const char *url, char *err, size_t errlen);

/* Begin: the hub publishes through it from now on. Connecting follows, again and again. Returns 0, or as above, or
 * -ENOMEM. On its thread, as all below. */
int broker_create(struct broker **broker, const struct broker_config *config, char *err, size_t errlen);

/* The hub does without it from now on. What the connection takes at once is still sent. NULL is allowed. */
void broker_destroy(struct broker *broker);

/* Whether it was made for this URL. */
bool broker_has_url(const struct broker *broker, const char *url);

#endif
