/* Happy path: a message is rendered once for all streams of the thread, and written as a piece of each response.
 *
 * Failure modes: a message that the response's queue has no room for (write_cap) waits in line, by reference, and is
 * rendered anew when it goes on; so does what a client that comes back has missed, all of it. So clients that read
 * nothing hold no copies. When as many bytes are in line again, the client misses events, or its stream ends behind
 * them: it comes back and gets the rest. Where memory is short, the stream ends as well. */

#include "http/event_stream.h"

#include "core/base64.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/topics.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/service.h"
#include "http/sse.h"
#include "http/url.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { FEED_PIECE_MAX = 32768 }; /* bytes of an event in line that are written at a time */

/* An event in line. */
struct pending_event {
    struct pending_event *next;
    struct payload *payload; /* one reference */
};

struct event_stream {
    struct subscription subscription;
    struct exchange *exchange;
    uint64_t timer;                     /* for the next comment, or for the end; 0: none */
    struct pending_event *first, *last; /* in line, oldest first */
    size_t first_done;                  /* bytes of the first one that are written */
    size_t pending_bytes;               /* in line */
    size_t pending_max;                 /* that may be */
    uint32_t heartbeat_ms;
    int64_t retry_ms;  /* of the options */
    bool skips;        /* of the options */
    bool wants_lost;   /* the client has named an event, and must know if something is missing */
    bool is_replaying; /* what the client has missed is being delivered */
    bool is_outdated;  /* its site was replaced: timer is for the end */
    bool is_ending;    /* the response ends behind what is in line */
};

/* The text of a message. */

static char *render_event(const struct payload *payload, const void *arg, size_t *len)
{
    (void)arg;
    char id[PUBLICATION_ID_TEXT];
    struct sse_event event = {
        .id = id,
        .id_len = publication_id_write(payload->id, id),
        .event = payload->event_len > 0 ? payload->event : NULL,
        .event_len = payload->event_len,
        .data = payload->data,
        .data_len = payload->len,
        .retry_ms = SSE_NO_RETRY,
    };
    char *encoded = NULL;
    if (payload->is_binary) {
        encoded = mem_alloc(base64_room(payload->len) + 1);
        if (encoded == NULL) {
            return NULL;
        }
        event.data = encoded;
        event.data_len = base64_encode(payload->data, payload->len, BASE64_PADDED, encoded);
    }
    *len = sse_length(&event);
    char *text = mem_alloc(*len);
    if (text != NULL) {
        (void)sse_put(text, &event);
    }
    mem_free(encoded);
    return text;
}

/* The end. */

static size_t pending_cost(const struct payload *payload)
{
    return payload->len + EVENT_STREAM_PENDING_COST;
}

static void drop_first_pending(struct event_stream *stream)
{
    struct pending_event *event = stream->first;
    stream->first = event->next;
    stream->first_done = 0;
    stream->pending_bytes -= pending_cost(event->payload);
    payload_put(event->payload);
    mem_free(event);
}

/* Part with the exchange, and free the stream. */
static struct exchange *part_with(struct event_stream *stream)
{
    struct exchange *exchange = stream->exchange;
    topics_unsubscribe(&stream->subscription);
    if (stream->timer != 0) {
        reactor_cancel_timer(exchange->service->reactor, stream->timer);
    }
    while (stream->first != NULL) {
        drop_first_pending(stream);
    }
    mem_free(stream);
    exchange->on_drain = NULL;
    exchange->on_gone = NULL;
    exchange->on_stopping = NULL;
    exchange->user = NULL;
    return exchange;
}

/* End the response behind what is in line, or now. */
static void end_event_stream(struct event_stream *stream)
{
    topics_unsubscribe(&stream->subscription);
    stream->is_ending = true;
    if (stream->first == NULL) {
        response_end(part_with(stream));
    }
}

static void on_stream_gone(struct exchange *exchange)
{
    (void)part_with(exchange->user);
}

/* What is in line. */

/* Write what there is room for of text, of which *done bytes are written already. Returns as response_write(). */
static int write_some_of(struct exchange *exchange, const char *text, size_t len, size_t *done)
{
    while (*done < len) {
        size_t left = len - *done;
        size_t piece = left < FEED_PIECE_MAX ? left : FEED_PIECE_MAX;
        while (piece > 1 && response_is_beyond_cap(exchange, piece)) {
            piece /= 2;
        }
        if (response_is_beyond_cap(exchange, piece)) {
            response_pause(exchange);
            return 0;
        }
        int rv = response_write(exchange, text + *done, piece);
        if (rv < 0) {
            return rv;
        }
        *done += piece;
        if (rv == 0) {
            return 0;
        }
    }
    return 1;
}

/* Write of it what there is room for. May end the stream. */
static void feed_event_stream(struct event_stream *stream)
{
    struct exchange *exchange = stream->exchange;
    int rv = 1;
    while (stream->first != NULL && rv == 1) {
        size_t len;
        char *text = render_event(stream->first->payload, NULL, &len);
        if (text == NULL) { /* clients ignore an event that is there in part */
            response_end(part_with(stream));
            return;
        }
        rv = write_some_of(exchange, text, len, &stream->first_done);
        mem_free(text);
        if (rv < 0) {
            (void)part_with(stream);
            return;
        }
        if (stream->first_done == len) {
            drop_first_pending(stream);
        }
    }
    if (stream->first == NULL && stream->is_ending) {
        end_event_stream(stream);
    }
}

static void on_stream_drain(struct exchange *exchange)
{
    feed_event_stream(exchange->user);
}

/* Put a message in line. Returns whether there was room, and memory. */
static bool put_in_line(struct event_stream *stream, struct payload *payload)
{
    size_t cost = pending_cost(payload);
    if (stream->is_replaying) {
        stream->pending_max += cost;
    }
    if (stream->first != NULL && cost > stream->pending_max - stream->pending_bytes) {
        return false;
    }
    struct pending_event *event = mem_alloc(sizeof *event);
    if (event == NULL) {
        return false;
    }
    *event = (struct pending_event){.payload = payload_get(payload)};
    *(stream->first == NULL ? &stream->first : &stream->last->next) = event;
    stream->last = event;
    stream->pending_bytes += cost;
    stream->pending_max = stream->pending_bytes > stream->pending_max ? stream->pending_bytes : stream->pending_max;
    return true;
}

/* Messages. */

static void release_event(void *arg)
{
    publication_put(arg);
}

/* Write a message at once. Returns 1; 0: there is no room; or -1: the client is lost, and the stream freed. */
static int write_at_once(struct event_stream *stream, struct publication *publication)
{
    struct exchange *exchange = stream->exchange;
    size_t len;
    const char *text = stream->first == NULL ? publication_render(publication, render_event, NULL, &len) : NULL;
    if (text == NULL || response_is_beyond_cap(exchange, len)) {
        return 0;
    }
    int rv = response_write_borrowed(exchange, text, len, release_event, publication_get(publication));
    if (rv < 0) { /* the connection ends in its turn */
        (void)part_with(stream);
        return -1;
    }
    return 1;
}

static enum delivery deliver_event(struct subscription *subscription, struct publication *publication)
{
    struct event_stream *stream = subscription->arg;
    int rv = write_at_once(stream, publication);
    if (rv != 0) {
        return rv < 0 ? DELIVERY_ENDED : DELIVERY_TAKEN;
    }
    bool is_alone = stream->first == NULL;
    if (put_in_line(stream, publication->payload)) {
        if (is_alone && !stream->exchange->is_stalled) {
            response_pause(stream->exchange);
        }
        return DELIVERY_TAKEN;
    }
    if (stream->skips && !stream->is_replaying) {
        return DELIVERY_SKIPPED;
    }
    end_event_stream(stream);
    return DELIVERY_ENDED;
}

/* Time. */

uint32_t event_stream_first_ms(uint32_t interval_ms, const void *about)
{
    uint32_t spread = (uint32_t)((uintptr_t)about >> 4) * 2654435769U; /* multiplicative hashing */
    uint32_t half = interval_ms / 2;
    return interval_ms - (uint32_t)((uint64_t)spread * half >> 32);
}

static void on_stream_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    static const char comment[] = ":\n\n";
    (void)timer;
    struct event_stream *stream = arg;
    struct exchange *exchange = stream->exchange;
    bool may_write = stream->first == NULL && exchange_queued(exchange) == 0; /* else it has enough to read */
    stream->timer = 0;
    if (may_write && response_write(exchange, comment, sizeof comment - 1) < 0) {
        (void)part_with(stream);
        return;
    }
    stream->timer = reactor_set_timeout(reactor, stream->heartbeat_ms, on_stream_timer, stream);
}

static void on_stream_time_up(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct event_stream *stream = arg;
    stream->timer = 0;
    end_event_stream(stream);
}

/* The server stops: that is the end. Or the site was replaced, which the stream keeps in memory: its clients come back
 * to the new one, not all at once, and get what is published until then. */
static void on_stream_stopping(struct exchange *exchange)
{
    struct event_stream *stream = exchange->user;
    struct reactor *reactor = exchange->service->reactor;
    if (exchange->service->is_draining) {
        exchange->on_stopping = NULL;
        end_event_stream(stream);
        return;
    }
    if (stream->is_outdated) {
        return;
    }
    stream->is_outdated = true;
    if (stream->timer != 0) {
        reactor_cancel_timer(reactor, stream->timer);
    }
    uint32_t ms = 2 * (EVENT_STREAM_RELOAD_MS - event_stream_first_ms(EVENT_STREAM_RELOAD_MS, stream));
    stream->timer = reactor_set_timeout(reactor, ms, on_stream_time_up, stream);
    if (stream->timer == 0) {
        end_event_stream(stream);
    }
}

/* The beginning. */

/* Copy the id of the last event that the client has, decoded, into room, which a longer one fills. Returns its length;
 * 0: the client has named none. */
static size_t find_last_id(const struct exchange *exchange, char room[EVENT_STREAM_ID_MAX + 1])
{
    static const char name[] = "lastEventId";
    size_t len;
    const char *id = exchange_field(exchange, "Last-Event-ID", &len);
    if (id != NULL) {
        len = len < EVENT_STREAM_ID_MAX + 1 ? len : EVENT_STREAM_ID_MAX + 1;
        memcpy(room, id, len);
        return len;
    }
    struct slice query = exchange->head.query;
    const char *at = exchange_text(exchange, query);
    size_t left = query.len;
    struct url_pair pair;
    while (left > 0 && url_next_pair(&at, &left, &pair)) {
        if (pair.name_len == sizeof name - 1 && memcmp(pair.name, name, sizeof name - 1) == 0) {
            size_t taken = pair.value_len < EVENT_STREAM_ID_MAX + 1 ? pair.value_len : EVENT_STREAM_ID_MAX + 1;
            return url_decode_component(pair.value, taken, room);
        }
    }
    return 0;
}

/* Where the replay begins. wants_lost is whether the client must know if something is missing. An id that is none of
 * ours counts as one from the future: nobody knows what came since. */
static struct publication_id replay_after(const struct exchange *exchange, bool *wants_lost)
{
    static const char earliest[] = "earliest";
    char id[EVENT_STREAM_ID_MAX + 1];
    size_t len = find_last_id(exchange, id);
    struct publication_id after = {0};
    if (len == sizeof earliest - 1 && memcmp(id, earliest, len) == 0) {
        return (struct publication_id){.number = 1};
    }
    *wants_lost = len > 0;
    return len == 0 || publication_id_read(&after, id, len) ? after : (struct publication_id){.ms = UINT64_MAX};
}

static void write_event(struct exchange *exchange, const struct sse_event *event)
{
    char text[64];
    size_t len = sse_length(event);
    assert(len <= sizeof text);
    (void)sse_put(text, event);
    (void)response_write(exchange, text, len);
}

static void add_default_field(struct exchange *exchange, const char *name, const char *value)
{
    size_t len;
    if (response_added_field(exchange, name, strlen(name), &len) == NULL) {
        (void)response_add_field(exchange, name, strlen(name), value, strlen(value));
    }
}

/* The head, and what comes before the first message. */
static void open_event_stream(struct exchange *exchange, int64_t retry_ms, bool is_lost)
{
    static const char lost[] = "lost";
    add_default_field(exchange, "Cache-Control", "no-store");
    add_default_field(exchange, "X-Accel-Buffering", "no"); /* nginx sends each event at once */
    response_begin(exchange, 200, SSE_TYPE, RESPONSE_LENGTH_UNKNOWN);
    if (retry_ms >= 0) {
        write_event(exchange, &(struct sse_event){.retry_ms = retry_ms});
    }
    if (is_lost) {
        write_event(exchange,
                    &(struct sse_event){.event = lost, .event_len = sizeof lost - 1, .data = "", .retry_ms = -1});
    }
}

/* The subscription stands, and the first message comes next. */
static void on_replay(struct subscription *subscription, bool is_lost)
{
    const struct event_stream *stream = subscription->arg;
    open_event_stream(stream->exchange, stream->retry_ms, is_lost && stream->wants_lost);
}

/* Begin to listen to the exchange, and the time. */
static void watch_exchange(struct event_stream *stream)
{
    struct exchange *exchange = stream->exchange;
    exchange->user = stream;
    exchange->on_drain = on_stream_drain;
    exchange->on_gone = on_stream_gone;
    exchange->on_stopping = on_stream_stopping;
    if (stream->heartbeat_ms > 0) {
        uint32_t ms = event_stream_first_ms(stream->heartbeat_ms, stream);
        stream->timer = reactor_set_timeout(exchange->service->reactor, ms, on_stream_timer, stream);
    }
}

int event_stream_begin(struct exchange *exchange, const struct event_stream_options *options)
{
    struct topics *topics = exchange->service->topics;
    int rv = topic_check_name(options->topic, options->topic_len);
    if (rv < 0 || topics == NULL) {
        return rv < 0 ? rv : -EOPNOTSUPP;
    }
    if (exchange->head_only) {
        open_event_stream(exchange, options->retry_ms, false);
        response_end(exchange);
        return 0;
    }
    struct event_stream *stream = mem_zalloc(sizeof *stream);
    if (stream == NULL) {
        return -ENOMEM;
    }
    struct topics_replay replay = {.keep = options->replay, .on_start = on_replay};
    replay.after = replay_after(exchange, &stream->wants_lost);
    stream->exchange = exchange;
    stream->heartbeat_ms = options->heartbeat_ms;
    stream->retry_ms = options->retry_ms;
    stream->skips = options->skips;
    stream->pending_max = (size_t)exchange->limits->write_cap_bytes;
    stream->is_replaying = true;
    watch_exchange(stream);
    rv = topics_subscribe(topics, &stream->subscription, options->topic, options->topic_len, deliver_event, stream,
                          &replay);
    if (rv == -ECANCELED) { /* it has ended, and may be gone */
        return 0;
    }
    if (rv < 0) {
        (void)part_with(stream);
        return rv;
    }
    stream->is_replaying = false;
    return 0;
}
