#ifndef EVSERVE_CORE_BROKER_TEXT_H
#define EVSERVE_CORE_BROKER_TEXT_H

/* What messages, and the names of topics, look like in Redis. Pure; any thread.
 *
 * Of the topic "news" the channel is "evserve:0:news", with the number of the database in the middle, since channels
 * belong to none. The stream for replays is "evserve:replay:news", and "evserve:keep:news" says how many messages it
 * keeps: a server that wants a replay sets it, and both go a day after they were last used.
 *
 * A message begins with a line that says where it comes from: "e1 NODE NUMBER KIND EVENT\n", NODE and NUMBER in 16
 * hexadecimal digits, KIND 't' or 'b'. In channels its id in the stream, or "-", and a space come before that. What has
 * no such line was published by another program, and is a text as a whole. */

#include "core/hub.h"
#include "core/redis_client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BROKER_NAME_MAX = 32 + TOPIC_NAME_MAX,  /* bytes of a channel or a key, with its NUL */
    BROKER_HEAD_MAX = 48 + TOPIC_EVENT_MAX, /* bytes of the first line of a message, with its NUL */
    BROKER_DAY_S = 86400                    /* how long streams stay after their last use */
};

/* Where a message comes from. */
struct broker_origin {
    uint64_t node;   /* the server; 0: another program */
    uint64_t number; /* counts up for each server */
};

/* A name in Redis: a prefix and a topic. */
struct broker_name {
    char text[BROKER_NAME_MAX];
    size_t len;
};

void broker_channel(struct broker_name *name, unsigned database, const char *topic, size_t len);
void broker_stream(struct broker_name *name, const char *topic, size_t len);
void broker_keep_key(struct broker_name *name, const char *topic, size_t len);

/* The topic of a channel: false if it is none of this database. */
bool broker_topic_of(const char *channel, size_t len, unsigned database, const char **topic, size_t *topic_len);

/* Write the first line of a message; returns its length. */
size_t broker_write_head(char head[BROKER_HEAD_MAX], struct broker_origin origin, bool is_binary, const char *event,
                         size_t event_len);

/* Read a message. Fills in data, event and is_binary of parts, which point into the text, and origin. A text without
 * such a line is a message itself. */
void broker_read(const char *text, size_t len, struct message_parts *parts, struct broker_origin *origin);

/* Read what came through a channel: the same, and the id. */
void broker_read_channel(const char *text, size_t len, struct message_parts *parts, struct broker_origin *origin);

/* Scripts for Redis: KEYS are the stream and the key that says how many messages it keeps.
 * publish: ARGV are the channel, the first line, the content, seconds. Adds to the stream if there is to be one. If that
 * fails, such as when Redis has no memory left, the message is published all the same, and the reply says why.
 * keep: ARGV are the number of messages, seconds. */
const char *broker_publish_script(void);
const char *broker_keep_script(void);

#endif
