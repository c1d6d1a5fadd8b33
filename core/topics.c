/* Happy path: the hub wakes the thread, on_topics_wake() takes what is in the inbox and begins to deliver it, and the
 * task goes on: one message after another, each to the subscribers of its topic in their order. A message stays the
 * first of the queue until all have it, and topics->at remembers where to go on. Where several messages of one topic
 * wait behind each other, each subscriber gets all of them before the next one does, so that one system call may do.
 *
 * Subscribers come and go while that happens. New ones are added at the end of the list, and their after_seq says that
 * this message is not for them; one that goes while it is the next one moves topics->at on.
 *
 * Failure modes: a message that a subscriber does not take is its subscriber's affair, and counted. */

#include "core/topics.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tally.h"
#include "core/tick_clock.h"
#include "core/units.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    DELIVERY_SLICE_NS = NS_PER_MS, /* how long the task delivers before others have their turn */
    DELIVERY_LOOK = 16,            /* deliveries between two looks at the clock */
    BATCH_MAX = 64,                /* messages that are delivered together */
    BATCH_BYTES_MAX = 16384,       /* of their data */
};

/* A topic that has subscribers on this thread. */
struct topic_here {
    struct named_entry entry;          /* first */
    struct topics *topics;             /* whose it is */
    struct subscription *first, *last; /* in the order of subscribing */
    char name[];
};

/* A call of topics_subscribe() that replays. */
struct replaying {
    struct replaying *outer;
    struct subscription *subscription; /* NULL: it was unsubscribed meanwhile */
};

/* Topics of this thread. */

static struct topic_here *find_topic_here(const struct topics *topics, uint64_t hash, const char *name, size_t len)
{
    return (struct topic_here *)name_table_find(&topics->table, hash, name, len);
}

/* Returns NULL without memory. */
static struct topic_here *make_topic_here(struct topics *topics, uint64_t hash, const char *name, size_t len)
{
    struct topic_here *made = mem_alloc(sizeof *made + len);
    if (made == NULL) {
        return NULL;
    }
    *made = (struct topic_here){.entry = {.hash = hash, .name = made->name, .len = len}, .topics = topics};
    memcpy(made->name, name, len);
    if (name_table_add(&topics->table, &made->entry) < 0) {
        mem_free(made);
        return NULL;
    }
    return made;
}

static void drop_if_unused(struct topic_here *topic)
{
    struct topics *topics = topic->topics;
    if (topic->first == NULL) {
        name_table_remove(&topics->table, &topic->entry);
        mem_free(topic);
    }
}

/* Delivery. */

static void count_delivery(struct topics *topics, enum delivery delivery, unsigned messages)
{
    uint64_t *count = delivery == DELIVERY_SKIPPED ? &topics->counts.skipped
                      : delivery == DELIVERY_ENDED ? &topics->counts.ended
                                                   : &topics->counts.delivered;
    tally_add(count, messages);
}

static bool is_due(const struct subscription *subscription, const struct payload *payload)
{
    bool has_after = subscription->after.ms != 0 || subscription->after.number != 0;
    return payload->seq > subscription->after_seq &&
           (has_after ? publication_id_compare(payload->id, subscription->after) > 0 : !payload->is_history);
}

/* Deliver the batch to one subscriber. Returns the number of calls. */
static unsigned deliver_batch(struct topics *topics, struct subscription *subscription)
{
    struct publication *publication = topics->first;
    unsigned calls = 0;
    topics->current = subscription;
    for (unsigned left = topics->batch; left > 0 && topics->current != NULL; left--) {
        if (is_due(subscription, publication->payload)) {
            enum delivery delivery = subscription->deliver(subscription, publication);
            calls++;
            if (delivery == DELIVERY_ALL) {
                count_delivery(topics, delivery, left);
                break;
            }
            count_delivery(topics, delivery, 1);
        }
        publication = publication->next;
    }
    topics->current = NULL;
    return calls;
}

/* Deliver the batch to whom has not got it. Returns whether all have it, or the time is over. */
static bool deliver_to_all(struct topics *topics, int64_t end_ns)
{
    unsigned calls = 0;
    while (topics->at != NULL) {
        struct subscription *subscription = topics->at;
        topics->at = subscription->next;
        if (topics->at != NULL) {
            __builtin_prefetch(topics->at->arg); /* its owner is rarely in the cache */
        }
        calls += deliver_batch(topics, subscription);
        if (calls >= DELIVERY_LOOK) {
            calls = 0;
            if (sys_now_ns() >= end_ns) {
                return topics->at == NULL;
            }
        }
    }
    return true;
}

static bool belong_together(const struct payload *a, const struct payload *b)
{
    return a->hash == b->hash && a->topic_len == b->topic_len && a->is_history == b->is_history &&
           memcmp(a->topic, b->topic, a->topic_len) == 0;
}

/* Take up the first message of the queue, and those behind it that are of its topic. */
static void begin_batch(struct topics *topics)
{
    const struct payload *payload = topics->first->payload;
    const struct topic_here *topic = find_topic_here(topics, payload->hash, payload->topic, payload->topic_len);
    size_t bytes = payload->len;
    topics->at = topic == NULL ? NULL : topic->first;
    topics->batch = 1;
    for (const struct publication *at = topics->first->next; at != NULL && topics->batch < BATCH_MAX; at = at->next) {
        bytes += at->payload->len;
        if (bytes > BATCH_BYTES_MAX || !belong_together(payload, at->payload)) {
            break;
        }
        topics->batch++;
    }
    struct publication *publication = topics->first;
    for (unsigned left = topics->batch; left > 0; left--) {
        publication->batch = left;
        publication = publication->next;
    }
}

static void drop_first_queued(struct topics *topics)
{
    struct publication *publication = topics->first;
    topics->first = publication->next;
    topics->last = topics->first == NULL ? NULL : topics->last;
    hub_note_delivered(topics->hub, topics->number, publication->payload);
    publication_put(publication);
}

static void end_batch(struct topics *topics)
{
    topics->at = NULL;
    for (; topics->batch > 0; topics->batch--) {
        drop_first_queued(topics);
    }
}

/* Deliver until then; the task goes on. */
static void deliver_until(struct topics *topics, int64_t end_ns)
{
    bool is_over = false;
    while (topics->first != NULL && !is_over) {
        if (topics->batch == 0) {
            begin_batch(topics);
        }
        if (deliver_to_all(topics, end_ns)) {
            end_batch(topics);
        }
        is_over = sys_now_ns() >= end_ns;
    }
    if (topics->first != NULL) {
        reactor_schedule(topics->reactor, &topics->task);
    }
    char *name = stalls_note_end(&reactor_clock(topics->reactor)->stalls);
    if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "messages to subscribers");
    }
}

static void on_deliver(struct reactor *reactor, void *arg)
{
    (void)reactor;
    deliver_until(REACTOR_OWNER(arg, struct topics, task), sys_now_ns() + DELIVERY_SLICE_NS);
}

/* Take what is in the inbox. */
static void take_inbox(struct topics *topics)
{
    struct publication *taken = hub_take(topics->hub, topics->number);
    while (taken != NULL) {
        struct publication *next = taken->next;
        taken->next = NULL;
        *(topics->first == NULL ? &topics->first : &topics->last->next) = taken;
        topics->last = taken;
        taken = next;
    }
}

static void on_topics_wake(struct reactor *reactor, void *arg)
{
    struct topics *topics = arg;
    (void)reactor;
    hub_note_wake(topics->hub, topics->number);
    take_inbox(topics);
    if (!reactor_is_scheduled(&topics->task)) {
        deliver_until(topics, sys_now_ns() + DELIVERY_SLICE_NS);
    }
}

void topics_flush(struct topics *topics)
{
    if (topics->is_open) {
        reactor_unschedule(topics->reactor, &topics->task);
        take_inbox(topics);
        deliver_until(topics, INT64_MAX);
    }
}

/* Subscribing. */

static void link_subscription(struct topic_here *topic, struct subscription *subscription)
{
    subscription->topic = topic;
    subscription->next = NULL;
    subscription->prev = topic->last;
    *(topic->last == NULL ? &topic->first : &topic->last->next) = subscription;
    topic->last = subscription;
}

/* Take it out of its topic, whatever is being delivered. */
static void unlink_subscription(struct subscription *subscription)
{
    struct topic_here *topic = subscription->topic;
    struct topics *topics = topic->topics;
    topics->at = topics->at == subscription ? subscription->next : topics->at;
    topics->current = topics->current == subscription ? NULL : topics->current;
    for (struct replaying *replaying = topics->replaying; replaying != NULL; replaying = replaying->outer) {
        if (replaying->subscription == subscription) {
            replaying->subscription = NULL;
        }
    }
    *(subscription->prev == NULL ? &topic->first : &subscription->prev->next) = subscription->next;
    *(subscription->next == NULL ? &topic->last : &subscription->next->prev) = subscription->prev;
    subscription->topic = NULL;
    subscription->next = subscription->prev = NULL;
    drop_if_unused(topic);
}

/* Deliver what was kept. Returns 0, or -ECANCELED when the subscription is over. */
static int replay_to(struct topics *topics, struct subscription *subscription, struct topics_replay *replay,
                     struct hub_grant *grant)
{
    struct replaying replaying = {topics->replaying, subscription};
    topics->replaying = &replaying;
    replay->is_lost = grant->replay.is_lost;
    if (replay->on_start != NULL) {
        replay->on_start(subscription, replay->is_lost);
    }
    bool is_over = false;
    for (size_t i = 0; i < grant->replay.count; i++) {
        if (replaying.subscription != NULL && !is_over) {
            struct publication *publication = publication_create(grant->replay.kept[i]);
            enum delivery delivery = publication == NULL ? DELIVERY_SKIPPED
                                                         : subscription->deliver(subscription, publication);
            count_delivery(topics, delivery, 1);
            is_over = delivery == DELIVERY_SKIPPED || delivery == DELIVERY_ENDED;
            if (publication != NULL) {
                publication_put(publication);
            }
        }
        payload_put(grant->replay.kept[i]);
    }
    mem_free(grant->replay.kept);
    topics->replaying = replaying.outer;
    return replaying.subscription == NULL ? -ECANCELED : 0;
}

int topics_subscribe(struct topics *topics, struct subscription *subscription, const char *name, size_t len,
                     deliver_fn deliver, void *arg, struct topics_replay *replay)
{
    assert(subscription->topic == NULL);
    struct hub_request request = {.name = name, .len = len};
    struct hub_grant grant;
    int rv = topic_check_name(name, len);
    if (rv < 0) {
        return rv;
    }
    if (replay != NULL) {
        request.keep = replay->keep;
        request.after = replay->after;
    }
    uint64_t hash = hub_hash(topics->hub, name, len);
    struct topic_here *topic = find_topic_here(topics, hash, name, len);
    topic = topic == NULL ? make_topic_here(topics, hash, name, len) : topic;
    rv = topic == NULL ? -ENOMEM : hub_subscribe(topics->hub, topics->number, &request, &grant);
    if (rv < 0) {
        if (topic != NULL) {
            drop_if_unused(topic);
        }
        return rv;
    }
    subscription->deliver = deliver;
    subscription->arg = arg;
    subscription->after_seq = grant.seq;
    subscription->after = grant.replay.after;
    link_subscription(topic, subscription);
    return replay == NULL ? 0 : replay_to(topics, subscription, replay, &grant);
}

void topics_unsubscribe(struct subscription *subscription)
{
    struct topic_here *topic = subscription->topic;
    if (topic != NULL) {
        struct topics *topics = topic->topics;
        hub_unsubscribe(topics->hub, topics->number, topic->entry.name, topic->entry.len);
        unlink_subscription(subscription);
    }
}

const char *subscription_topic(const struct subscription *subscription, size_t *len)
{
    if (subscription->topic == NULL) {
        return NULL;
    }
    *len = subscription->topic->entry.len;
    return subscription->topic->entry.name;
}

/* The beginning and the end. */

void topics_init(struct topics *topics, struct hub *hub, unsigned number, struct reactor *reactor)
{
    *topics =
        (struct topics){.hub = hub, .reactor = reactor, .number = number, .task = {.fn = on_deliver}, .is_open = true};
    hub_join(hub, number, reactor, on_topics_wake, topics);
}

void topics_done(struct topics *topics)
{
    if (!topics->is_open) {
        return;
    }
    for (size_t i = 0; i < topics->table.slot_count; i++) {
        while (topics->table.slots[i] != NULL) {
            topics_unsubscribe(((struct topic_here *)topics->table.slots[i])->first);
        }
    }
    hub_leave(topics->hub, topics->number);
    reactor_unschedule(topics->reactor, &topics->task);
    while (topics->first != NULL) {
        drop_first_queued(topics);
    }
    topics->batch = 0;
    name_table_done(&topics->table);
    topics->is_open = false;
}
