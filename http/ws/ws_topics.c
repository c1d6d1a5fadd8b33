/* Happy path: a message goes from the frame that all share into the socket of each client, without a queue. Where
 * several messages of the topic wait, their frames leave together, except compressed ones.
 *
 * Failure modes: a client that is lost, or too far behind, is cut; the turn of its connection ends it. */

#include "http/ws/ws_topics.h"

#include "core/mem.h"
#include "core/slabs.h"
#include "core/topics.h"
#include "http/service.h"
#include "http/ws/ws.h"
#include "http/ws/ws_deflate.h"
#include "http/ws/ws_state.h"

#include <errno.h>
#include <string.h>

/* A topic that a WebSocket is subscribed to. */
struct ws_subscription {
    struct subscription subscription; /* first */
    struct ws_subscription *next;     /* of the same WebSocket */
    bool skips;                       /* it misses messages rather than being cut */
};

static char *make_frame_of(const struct payload *payload, bool is_deflated, const char *data, size_t data_len,
                           size_t *len)
{
    char *frame = mem_alloc(WS_SERVER_HEAD_MAX + data_len);
    if (frame != NULL) {
        enum ws_opcode opcode = payload->is_binary ? WS_OP_BINARY : WS_OP_TEXT;
        size_t head_len = ws_frame_write(frame, opcode, is_deflated, data_len);
        memcpy(frame + head_len, data, data_len);
        *len = head_len + data_len;
    }
    return frame;
}

/* The frame of a publication. */
static char *make_topic_frame(const struct payload *payload, const void *arg, size_t *len)
{
    (void)arg;
    return make_frame_of(payload, false, payload->data, payload->len, len);
}

/* The same, compressed, if that makes it shorter. arg: the service. */
static char *make_deflated_frame(const struct payload *payload, const void *arg, size_t *len)
{
    const struct service *service = arg;
    const char *packed;
    size_t packed_len = ws_deflate_shared(service->ws_codecs, payload->data, payload->len, &packed);
    return packed_len == 0 ? make_topic_frame(payload, NULL, len)
                           : make_frame_of(payload, true, packed, packed_len, len);
}

/* The frame for one subscriber, which it shares with others. NULL without memory. */
static const char *render_for(struct ws *ws, struct publication *publication, size_t *len)
{
    if (ws->deflate != NULL && publication->payload->len >= ws->options->compress_min &&
        ws_deflate_takes_shared(ws->deflate)) {
        return publication_render(publication, make_deflated_frame, ws_service(ws), len);
    }
    return publication_render(publication, make_topic_frame, NULL, len);
}

/* The frames of a batch, one behind the other. arg: its first publication. */
static char *make_batch(const struct payload *payload, const void *arg, size_t *len)
{
    (void)payload;
    union {
        const void *constant;
        struct publication *publication; /* it gets a frame */
    } first = {.constant = arg};
    char *batch = NULL;
    *len = 0;
    struct publication *at = first.publication;
    for (unsigned left = at->batch; left > 0; left--, at = at->next) {
        size_t frame_len;
        const char *frame = publication_render(at, make_topic_frame, NULL, &frame_len);
        char *longer = frame == NULL ? NULL : mem_resize(batch, *len + frame_len);
        if (longer == NULL) {
            mem_free(batch);
            return NULL;
        }
        batch = longer;
        memcpy(batch + *len, frame, frame_len);
        *len += frame_len;
    }
    return batch;
}

static void hold_publication(void *arg)
{
    (void)publication_get(arg);
}

static void release_publication(void *arg)
{
    publication_put(arg);
}

static enum delivery deliver_to_ws(struct subscription *subscription, struct publication *publication)
{
    struct ws *ws = subscription->arg;
    const struct ws_subscription *own = (struct ws_subscription *)subscription;
    if (!ws_is_open(ws)) {
        return DELIVERY_SKIPPED;
    }
    if (own->skips && ws->traffic != NULL && ws_queued(ws) > ws->options->high_mark) {
        return DELIVERY_SKIPPED;
    }
    struct ws_made made = {.hold = hold_publication, .release = release_publication, .arg = publication};
    bool takes_all = publication->batch > 1 && ws->deflate == NULL;
    made.frame = takes_all ? publication_render(publication, make_batch, publication, &made.len) : NULL;
    takes_all = made.frame != NULL;
    made.frame = takes_all ? made.frame : render_for(ws, publication, &made.len);
    if (made.frame == NULL) {
        return DELIVERY_SKIPPED;
    }
    int rv = ws_send_made(ws, &made);
    if (takes_all && rv >= 0) {
        stat_add(&ws_service(ws)->stats.ws_sent, publication->batch - 1);
        return DELIVERY_ALL;
    }
    return rv >= 0 ? DELIVERY_TAKEN : rv == -ENOMEM ? DELIVERY_SKIPPED : DELIVERY_ENDED;
}

/* Where the list of a WebSocket points to its subscription to a topic, or to NULL at its end. */
static struct ws_subscription **find_subscription(struct ws *ws, const char *name, size_t len)
{
    struct ws_subscription **place = &ws->subscriptions;
    for (; *place != NULL; place = &(*place)->next) {
        size_t have;
        const char *topic = subscription_topic(&(*place)->subscription, &have);
        if (topic != NULL && have == len && memcmp(topic, name, len) == 0) {
            break;
        }
    }
    return place;
}

static size_t count_subscriptions(const struct ws *ws)
{
    size_t count = 0;
    for (const struct ws_subscription *at = ws->subscriptions; at != NULL; at = at->next) {
        count++;
    }
    return count;
}

int ws_subscribe(struct ws *ws, const char *name, size_t len, bool skips)
{
    struct topics *topics = ws_service(ws)->topics;
    if (!ws_is_open(ws)) {
        return -EPIPE;
    }
    struct ws_subscription **place = find_subscription(ws, name, len);
    if (*place != NULL) {
        (*place)->skips = skips;
        return 0;
    }
    if (topics == NULL || count_subscriptions(ws) >= WS_TOPICS_MAX) {
        return topics == NULL ? -ENOTSUP : -E2BIG;
    }
    struct ws_subscription *made = slabs_take(&ws_service(ws)->ws_subscriptions, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->skips = skips;
    int rv = topics_subscribe(topics, &made->subscription, name, len, deliver_to_ws, ws, NULL);
    if (rv < 0) {
        slabs_put(made);
        return rv;
    }
    *place = made; /* the end of the list */
    return 0;
}

static void drop_first(struct ws_subscription **place)
{
    struct ws_subscription *dropped = *place;
    *place = dropped->next;
    topics_unsubscribe(&dropped->subscription);
    slabs_put(dropped);
}

int ws_unsubscribe(struct ws *ws, const char *name, size_t len)
{
    struct ws_subscription **place = find_subscription(ws, name, len);
    if (*place == NULL) {
        return -ENOENT;
    }
    drop_first(place);
    return 0;
}

void ws_topics_drop(struct ws *ws)
{
    while (ws->subscriptions != NULL) {
        drop_first(&ws->subscriptions);
    }
}
