#ifndef EVSERVE_HTTP_EVENT_STREAM_H
#define EVSERVE_HTTP_EVENT_STREAM_H

/* A response that is a subscriber: the messages of a topic as Server-Sent Events, without a call of the application for
 * any of them. It ends when the client leaves, when the server stops, some time after its site was replaced, and when
 * the client falls too far behind. Then EventSource comes back by itself, and names the last event that it has.
 *
 * Each event has the id of its message. A client that names one (the field Last-Event-ID, or else lastEventId in the
 * query) first gets what the topic has kept since; "earliest" stands for all of it. If there was more, or the id is not
 * one of ours, an event "lost" without data comes first. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;

enum {
    EVENT_STREAM_HEARTBEAT_MS = 15000,     /* the usual time between two comments */
    EVENT_STREAM_HEARTBEAT_LEAST_MS = 100, /* and the shortest */
    EVENT_STREAM_RELOAD_MS = 30000,        /* streams of a site that was replaced end within this time */
    EVENT_STREAM_PENDING_COST = 128,       /* bytes that an event in line counts beside its text */
    EVENT_STREAM_ID_MAX = 128,             /* bytes of an id that a client may name; a longer one is unknown */
};

struct event_stream_options {
    const char *topic; /* its name; need not outlive the call */
    size_t topic_len;
    unsigned replay;       /* messages of the topic that are kept for those who come back; 0: none */
    uint32_t heartbeat_ms; /* between two comments, at least EVENT_STREAM_HEARTBEAT_LEAST_MS; 0: no comments */
    int64_t retry_ms;      /* how long the client waits before it comes back; or SSE_NO_RETRY */
    bool skips;            /* a client that is too far behind misses events; else its stream ends */
};

/* Respond with the events of a topic. The handler has parted with the exchange, and added fields if it wants some.
 * Returns 0; or, with no byte of a response, what topics_subscribe() says: -EINVAL or -ENAMETOOLONG for the topic's
 * name, -ENOSPC, -ENOMEM; or -EOPNOTSUPP where the server has no topics. */
int event_stream_begin(struct exchange *exchange, const struct event_stream_options *options);

/* When the first of comments that come every interval_ms is due: those of streams that begin together come at different
 * times. about: any pointer of the stream's own. */
uint32_t event_stream_first_ms(uint32_t interval_ms, const void *about);

#endif
