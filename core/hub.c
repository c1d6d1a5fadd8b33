/* One lock protects everything. What is done under it takes a microsecond or less, except copying references for a
 * replay, freeing what replays drop, and telling a new broker all topics. So the numbers of messages, the order of the
 * inboxes and the replays agree, and a subscriber that asks for a replay misses nothing and gets nothing twice.
 *
 * Happy path: hub_publish() copies the message before it takes the lock, finds the topic, makes a struct publication
 * for each thread that has subscribers, and only when it has all of them does it number the message and queue it.
 *
 * Failure modes: without memory or room in an inbox nothing is published. Where replays need more memory than all of
 * them may have, those go first that nobody has subscribed to for longest. */

#include "core/hub.h"

#include "core/hub_inbox.h"
#include "core/keyed_hash.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/topic_history.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

/* A topic that has subscribers or a replay. */
struct topic {
    struct named_entry entry;       /* first */
    struct topic *longer, *shorter; /* in the list of those that nobody has subscribed to, oldest first */
    size_t subscribers;             /* on all threads */
    bool is_pinned;                 /* of hub_keep() */
    struct topic_history history;
    unsigned here[]; /* subscribers on each thread; the name follows */
};

struct hub {
    pthread_mutex_t lock; /* of everything below except key, epoch_ms and the bytes of inboxes */
    struct hash_key key;
    uint64_t epoch_ms;                /* the first part of ids */
    uint64_t seq;                     /* of the last message */
    struct name_table topics;         /* by name */
    struct topic *longest, *shortest; /* that have a replay and no subscriber, and are not pinned: oldest first */
    size_t pinned, subscribers, replay_bytes;
    uint64_t published, refused;
    struct hub_limits limits;
    const struct hub_broker *broker; /* borrowed; may be NULL */
    void *broker_arg;                /* handed to it */
    unsigned thread_count;
    struct hub_inbox inboxes[];
};

_Static_assert(HUB_INBOX_MAX == 64 << 20 && HUB_TOPICS_MAX == 100000 && TOPIC_REPLAY_MAX == 10000,
               "message_error_text() names these limits");

enum { CLOCKS_APART_MS = 86400000 }; /* by how much the ids of a broker may be ahead of our clock */

int hub_create(struct hub **hub, unsigned count)
{
    struct hub *made = mem_zalloc(sizeof *made + count * sizeof made->inboxes[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    thread_init_lock(&made->lock);
    (void)sys_random(made->key.words, sizeof made->key.words); /* without it, long chains are the worst */
    made->epoch_ms = (uint64_t)sys_wall_time_ms();
    made->limits = (struct hub_limits){HUB_TOPICS_MAX, HUB_INBOX_MAX, TOPIC_REPLAY_BYTES_MAX, HUB_REPLAY_BYTES_MAX};
    made->thread_count = count;
    *hub = made;
    return 0;
}

void hub_set_limits(struct hub *hub, const struct hub_limits *limits)
{
    hub->limits = *limits;
}

/* Replays. All of this under the lock. */

static void drop_oldest_kept(struct hub *hub, struct topic *topic)
{
    hub->replay_bytes -= topic_history_drop(&topic->history);
}

static void note_unwatched(struct hub *hub, struct topic *topic)
{
    topic->longer = hub->shortest;
    topic->shorter = NULL;
    *(hub->shortest == NULL ? &hub->longest : &hub->shortest->shorter) = topic;
    hub->shortest = topic;
}

static void forget_unwatched(struct hub *hub, struct topic *topic)
{
    *(topic->longer == NULL ? &hub->longest : &topic->longer->shorter) = topic->shorter;
    *(topic->shorter == NULL ? &hub->shortest : &topic->shorter->longer) = topic->longer;
    topic->longer = topic->shorter = NULL;
}

static void tell_broker(struct hub *hub, const struct topic *topic)
{
    if (hub->broker != NULL) {
        bool is_wanted = topic->subscribers > 0 || topic->history.keep > 0;
        hub->broker->want(hub->broker_arg, topic->entry.name, topic->entry.len, is_wanted, topic->history.keep);
    }
}

/* It is in no list of unwatched topics. */
static void drop_topic(struct hub *hub, struct topic *topic)
{
    while (topic->history.first != NULL) {
        drop_oldest_kept(hub, topic);
    }
    topic->history.keep = 0;
    topic->subscribers = 0;
    tell_broker(hub, topic);
    name_table_remove(&hub->topics, &topic->entry);
    mem_free(topic);
}

static void drop_longest_unwatched(struct hub *hub)
{
    struct topic *topic = hub->longest;
    forget_unwatched(hub, topic);
    drop_topic(hub, topic);
}

/* Make room for bytes in the replay of a topic. Returns whether there is. */
static bool make_replay_room(struct hub *hub, struct topic *topic, size_t bytes)
{
    while (topic->history.first != NULL &&
           (topic->history.count >= topic->history.keep || topic->history.bytes + bytes > hub->limits.topic_bytes)) {
        drop_oldest_kept(hub, topic);
    }
    while (hub->replay_bytes + bytes > hub->limits.replay_bytes && hub->longest != NULL && hub->longest != topic) {
        drop_longest_unwatched(hub);
    }
    while (topic->history.first != NULL && hub->replay_bytes + bytes > hub->limits.replay_bytes) {
        drop_oldest_kept(hub, topic);
    }
    return topic->history.keep > 0 && bytes <= hub->limits.topic_bytes &&
           hub->replay_bytes + bytes <= hub->limits.replay_bytes;
}

/* A message of the topic, which has its id: keep it for replay. */
static void keep_payload(struct hub *hub, struct topic *topic, struct payload *payload)
{
    size_t bytes = payload_bytes(payload);
    if (make_replay_room(hub, topic, bytes)) {
        topic_history_add(&topic->history, payload);
        hub->replay_bytes += bytes;
    } else {
        topic_history_pass(&topic->history, payload);
    }
}

void hub_destroy(struct hub *hub)
{
    if (hub == NULL) {
        return;
    }
    hub->broker = NULL;
    for (size_t i = 0; i < hub->topics.slot_count; i++) {
        while (hub->topics.slots[i] != NULL) {
            drop_topic(hub, (struct topic *)hub->topics.slots[i]);
        }
    }
    name_table_done(&hub->topics);
    pthread_mutex_destroy(&hub->lock);
    mem_free(hub);
}

/* Topics. */

uint64_t hub_hash(const struct hub *hub, const char *name, size_t len)
{
    return keyed_hash(&hub->key, name, len);
}

static struct topic *find_topic(const struct hub *hub, uint64_t hash, const char *name, size_t len)
{
    return (struct topic *)name_table_find(&hub->topics, hash, name, len);
}

/* Returns 0, -ENOSPC or -ENOMEM. */
static int make_topic(struct hub *hub, uint64_t hash, const char *name, size_t len, struct topic **topic)
{
    if (hub->topics.count >= hub->limits.topics && hub->longest != NULL) {
        drop_longest_unwatched(hub);
    }
    if (hub->topics.count >= hub->limits.topics) {
        return -ENOSPC;
    }
    size_t head = sizeof **topic + hub->thread_count * sizeof(*topic)->here[0];
    struct topic *made = mem_zalloc(head + len);
    if (made == NULL) {
        return -ENOMEM;
    }
    char *copy = (char *)made + head;
    memcpy(copy, name, len);
    made->entry = (struct named_entry){.hash = hash, .name = copy, .len = len};
    made->history.last_id = made->history.dropped_id = (struct publication_id){hub->epoch_ms, hub->seq};
    if (name_table_add(&hub->topics, &made->entry) < 0) {
        mem_free(made);
        return -ENOMEM;
    }
    *topic = made;
    return 0;
}

/* Returns 0, -ENOSPC or -ENOMEM. *is_new: it was made, has no subscriber, and is in no list. */
static int find_or_make_topic(struct hub *hub, const char *name, size_t len, struct topic **topic, bool *is_new)
{
    uint64_t hash = hub_hash(hub, name, len);
    *topic = find_topic(hub, hash, name, len);
    *is_new = *topic == NULL;
    return *is_new ? make_topic(hub, hash, name, len, topic) : 0;
}

int hub_keep(struct hub *hub, const char *name, size_t len, unsigned entries)
{
    struct topic *topic;
    bool is_new;
    int rv = entries == 0 || entries > TOPIC_REPLAY_MAX ? -ERANGE : topic_check_name(name, len);
    if (rv < 0) {
        return rv;
    }
    pthread_mutex_lock(&hub->lock);
    rv = find_or_make_topic(hub, name, len, &topic, &is_new);
    if (rv == 0 && !topic->is_pinned && hub->pinned >= HUB_KEPT_MAX) {
        rv = -ENOSPC;
        if (is_new) {
            drop_topic(hub, topic);
        }
    }
    if (rv == 0) {
        if (!topic->is_pinned && !is_new && topic->subscribers == 0) {
            forget_unwatched(hub, topic);
        }
        unsigned before = topic->history.keep;
        hub->pinned += topic->is_pinned ? 0 : 1;
        topic->is_pinned = true;
        topic_history_raise(&topic->history, entries);
        if (topic->history.keep != before) {
            tell_broker(hub, topic);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return rv;
}

/* Publishing. */

/* Make one for each thread that has subscribers of the topic, in the order of the threads. Returns 0, -ENOBUFS or
 * -ENOMEM. */
static int make_publications(struct hub *hub, const struct topic *topic, struct payload *payload,
                             struct publication **made)
{
    struct publication *first = NULL, **last = &first;
    int rv = 0;
    for (unsigned i = 0; i < hub->thread_count && rv == 0; i++) {
        if (topic->here[i] == 0) {
            continue;
        }
        if (!hub_inbox_has_room(&hub->inboxes[i], payload, hub->limits.inbox_bytes)) {
            rv = -ENOBUFS;
        } else if ((*last = publication_create(payload)) == NULL) {
            rv = -ENOMEM;
        } else {
            last = &(*last)->next;
        }
    }
    if (rv < 0) {
        publication_put_all(first);
        return rv;
    }
    *made = first;
    return 0;
}

/* Number the message, queue it, keep it. */
static int spread(struct hub *hub, struct topic *topic, struct payload *payload)
{
    struct publication *made = NULL;
    int rv = topic == NULL ? 0 : make_publications(hub, topic, payload, &made);
    if (rv < 0) {
        return rv;
    }
    payload->seq = ++hub->seq;
    if (payload->id.ms == 0 && payload->id.number == 0) {
        payload->id = (struct publication_id){hub->epoch_ms, payload->seq};
        if (topic != NULL) {
            topic_history_follow(&topic->history, &payload->id);
        }
    }
    for (unsigned i = 0; i < hub->thread_count && made != NULL; i++) {
        if (topic->here[i] > 0) {
            struct publication *next = made->next;
            hub_inbox_queue(&hub->inboxes[i], made);
            made = next;
        }
    }
    if (topic != NULL) {
        keep_payload(hub, topic, payload);
    }
    return 0;
}

/* Whether the topic has this message already, or a later one. */
static bool is_brought_again(const struct topic *topic, const struct payload *payload)
{
    return topic != NULL && payload->id.ms != 0 && publication_id_compare(payload->id, topic->history.brought_id) <= 0;
}

static int publish_message(struct hub *hub, const struct message_parts *message, bool is_brought, bool is_history)
{
    int rv = message_check(message);
    if (rv < 0) {
        return rv;
    }
    struct payload *payload = payload_create(message);
    if (payload != NULL) {
        payload->hash = hub_hash(hub, payload->topic, payload->topic_len);
        payload->is_history = is_history;
        payload->id = is_brought ? message->id : (struct publication_id){0};
    }
    pthread_mutex_lock(&hub->lock);
    if (payload == NULL) {
        rv = -ENOMEM;
    } else if (is_brought || hub->broker == NULL || !hub->broker->publish(hub->broker_arg, payload)) {
        struct topic *topic = find_topic(hub, payload->hash, payload->topic, payload->topic_len);
        if (!is_brought || !is_brought_again(topic, payload)) {
            rv = spread(hub, topic, payload);
        }
        if (rv == 0 && topic != NULL && is_brought && message->id.ms != 0) {
            topic->history.brought_id = message->id;
        }
    }
    hub->published += rv == 0 && !is_brought; /* those of ours that come back are counted already */
    hub->refused += rv < 0;
    pthread_mutex_unlock(&hub->lock);
    if (payload != NULL) {
        payload_put(payload);
    }
    return rv;
}

int hub_publish(struct hub *hub, const struct message_parts *message)
{
    return publish_message(hub, message, false, false);
}

int hub_bring(struct hub *hub, const struct message_parts *message, bool is_history)
{
    return publish_message(hub, message, true, is_history);
}

void hub_get_counts(struct hub *hub, struct hub_counts *counts)
{
    pthread_mutex_lock(&hub->lock);
    *counts = (struct hub_counts){
        .published = hub->published,
        .refused = hub->refused,
        .topics = hub->topics.count,
        .subscribers = hub->subscribers,
        .replay_bytes = hub->replay_bytes,
        .has_broker = hub->broker != NULL,
    };
    if (hub->broker != NULL && hub->broker->count != NULL) {
        hub->broker->count(hub->broker_arg, &counts->broker);
    }
    pthread_mutex_unlock(&hub->lock);
}

size_t hub_subscribers(struct hub *hub, const char *name, size_t len)
{
    pthread_mutex_lock(&hub->lock);
    const struct topic *topic = find_topic(hub, hub_hash(hub, name, len), name, len);
    size_t count = topic == NULL ? 0 : topic->subscribers;
    pthread_mutex_unlock(&hub->lock);
    return count;
}

struct publication_id hub_last_id(struct hub *hub, const char *name, size_t len)
{
    pthread_mutex_lock(&hub->lock);
    const struct topic *topic = find_topic(hub, hub_hash(hub, name, len), name, len);
    struct publication_id id = topic == NULL ? (struct publication_id){0} : topic->history.brought_id;
    pthread_mutex_unlock(&hub->lock);
    return id;
}

void hub_begin_history(struct hub *hub, const char *name, size_t len, struct publication_id after)
{
    pthread_mutex_lock(&hub->lock);
    struct topic *topic = find_topic(hub, hub_hash(hub, name, len), name, len);
    if (topic != NULL && topic->history.count == 0) {
        topic->history.dropped_id = after;
    }
    pthread_mutex_unlock(&hub->lock);
}

void hub_set_broker(struct hub *hub, const struct hub_broker *broker, void *arg)
{
    pthread_mutex_lock(&hub->lock);
    hub->broker = broker;
    hub->broker_arg = arg;
    for (size_t i = 0; broker != NULL && i < hub->topics.slot_count; i++) {
        for (struct named_entry *at = hub->topics.slots[i]; at != NULL; at = at->next) {
            tell_broker(hub, (struct topic *)at);
        }
    }
    pthread_mutex_unlock(&hub->lock);
}

/* Threads. */

void hub_join(struct hub *hub, unsigned number, struct reactor *reactor, reactor_task_fn wake, void *arg)
{
    pthread_mutex_lock(&hub->lock);
    hub->inboxes[number].reactor = reactor;
    hub->inboxes[number].wake.fn = wake; /* it may be under way since before it left: so the rest stays as it is */
    hub->inboxes[number].wake.arg = arg;
    pthread_mutex_unlock(&hub->lock);
}

void hub_note_wake(struct hub *hub, unsigned number)
{
    pthread_mutex_lock(&hub->lock);
    hub->inboxes[number].is_waking = false;
    pthread_mutex_unlock(&hub->lock);
}

void hub_leave(struct hub *hub, unsigned number)
{
    publication_put_all(hub_take(hub, number));
}

struct publication *hub_take(struct hub *hub, unsigned number)
{
    pthread_mutex_lock(&hub->lock);
    struct publication *first = hub_inbox_take(&hub->inboxes[number]);
    pthread_mutex_unlock(&hub->lock);
    return first;
}

void hub_note_delivered(struct hub *hub, unsigned number, const struct payload *payload)
{
    hub_inbox_note(&hub->inboxes[number], payload);
}

/* Subscribers. */

int hub_subscribe(struct hub *hub, unsigned number, const struct hub_request *request, struct hub_grant *grant)
{
    struct topic *topic;
    bool is_new;
    *grant = (struct hub_grant){0};
    pthread_mutex_lock(&hub->lock);
    int rv = find_or_make_topic(hub, request->name, request->len, &topic, &is_new);
    if (rv == 0 && (request->after.ms != 0 || request->after.number != 0)) {
        bool has_broker = hub->broker != NULL && request->after.ms <= (uint64_t)sys_wall_time_ms() + CLOCKS_APART_MS;
        rv = topic_history_get(&topic->history, request->after, has_broker, &grant->replay);
        if (rv < 0 && is_new) {
            drop_topic(hub, topic);
        }
    }
    if (rv == 0) {
        if (topic->subscribers == 0 && !is_new && !topic->is_pinned) {
            forget_unwatched(hub, topic);
        }
        bool is_news = topic->subscribers == 0 || topic->history.keep < request->keep;
        topic_history_raise(&topic->history,
                            request->keep < TOPIC_REPLAY_MAX ? request->keep : (unsigned)TOPIC_REPLAY_MAX);
        topic->subscribers++;
        topic->here[number]++;
        hub->subscribers++;
        grant->seq = hub->seq;
        if (is_news) {
            tell_broker(hub, topic);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return rv;
}

void hub_unsubscribe(struct hub *hub, unsigned number, const char *name, size_t len)
{
    pthread_mutex_lock(&hub->lock);
    struct topic *topic = find_topic(hub, hub_hash(hub, name, len), name, len);
    assert(topic != NULL && topic->here[number] > 0);
    hub->subscribers--;
    topic->here[number]--;
    topic->subscribers--;
    if (topic->subscribers == 0 && topic->history.keep == 0) {
        drop_topic(hub, topic);
    } else if (topic->subscribers == 0 && !topic->is_pinned) {
        note_unwatched(hub, topic);
    }
    pthread_mutex_unlock(&hub->lock);
}
