/* A topic with a replay becomes live in steps: it is subscribed; then its stream is read, from the last known message
 * on. What comes through the channel meanwhile is not taken, but makes the stream be read once more, so nothing is
 * missing and nothing comes twice. Messages of ours to a live topic are delivered when they come back; those to others
 * are delivered when they are published, and skipped when they come back. */

#include "core/broker_topics.h"

#include "core/broker_publish.h"
#include "core/hub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE_MESSAGES = 24, /* of a stream at a time: at most 1 MiB each, REDIS_REPLY_BYTES_MAX in all */
    DECIMAL_MAX = 16,
};

static struct redis_word plain_word(const char *text)
{
    return (struct redis_word){text, strlen(text)};
}

/* Free a topic that nobody wants, once no reply will name it. */
static void free_if_done(struct broker *broker, struct broker_topic *topic)
{
    if (!topic->is_wanted && topic->requests == 0 && topic->unconfirmed == 0) {
        pthread_mutex_lock(&broker->lock);
        name_table_remove(&broker->topics, &topic->entry);
        pthread_mutex_unlock(&broker->lock);
        broker_topic_destroy(topic);
    }
}

/* Messages. */

static void take_from_redis(struct broker *broker, struct broker_topic *topic, struct message_parts *parts,
                            struct broker_origin origin, bool is_history)
{
    bool is_ours = origin.node == broker->node;
    if (is_ours) {
        struct broker_letter *letter = broker_queue_find(&broker->queue, origin.number);
        bool is_missing = letter != NULL && letter->comes_back;
        if (!is_missing && !(is_history && origin.number <= topic->born_number)) {
            return; /* it was delivered when it was published */
        }
        if (is_missing) {
            letter->comes_back = false;
            broker_drop_letter(broker, letter);
        }
    } else if (!broker_topic_is_news(topic, origin)) {
        return;
    }
    parts->topic = topic->entry.name;
    parts->topic_len = topic->entry.len;
    (void)hub_bring(broker->hub, parts, is_history); /* the hub counts what it has no room for */
    if (!is_ours) {
        pthread_mutex_lock(&broker->lock);
        broker->counts.received++;
        pthread_mutex_unlock(&broker->lock);
    }
}

/* Streams. */

/* Returns as broker_ask(). */
static int keep_stream(struct broker *broker, const struct broker_topic *topic)
{
    struct broker_name stream, keep;
    char count[DECIMAL_MAX], day[DECIMAL_MAX];
    broker_stream(&stream, topic->entry.name, topic->entry.len);
    broker_keep_key(&keep, topic->entry.name, topic->entry.len);
    snprintf(count, sizeof count, "%u", topic->replay);
    snprintf(day, sizeof day, "%d", BROKER_DAY_S);
    struct redis_word words[] = {
        plain_word("EVAL"),    plain_word(broker_keep_script()),
        plain_word("2"),       {stream.text, stream.len},
        {keep.text, keep.len}, plain_word(count),
        plain_word(day),
    };
    return broker_ask(broker, words, sizeof words / sizeof words[0], (struct broker_request){.asked = ASKED_KEEP});
}

static void keep_topic(struct broker *broker, struct broker_topic *topic)
{
    if (topic->replay > 0) {
        (void)keep_stream(broker, topic);
    }
}

/* Ask for the next messages of the stream. */
static void ask_range(struct broker *broker, struct broker_topic *topic)
{
    struct broker_name stream;
    char from[PUBLICATION_ID_TEXT] = "-", count[DECIMAL_MAX];
    if (topic->last.ms != 0) { /* Redis before 6.2 knows no "(" */
        publication_id_write((struct publication_id){topic->last.ms, topic->last.number + 1}, from);
    }
    broker_stream(&stream, topic->entry.name, topic->entry.len);
    snprintf(count, sizeof count, "%d", PAGE_MESSAGES);
    struct redis_word words[] = {
        plain_word("XRANGE"), {stream.text, stream.len}, plain_word(from),
        plain_word("+"),      plain_word("COUNT"),       plain_word(count),
    };
    topic->has_missed = topic->is_stale = false;
    topic->is_loading = broker_ask(broker, words, sizeof words / sizeof words[0],
                                   (struct broker_request){.asked = ASKED_RANGE, .topic = topic}) == 0;
    broker->has_left = broker->has_left || !topic->is_loading;
}

/* Read the stream of a topic that is subscribed and not live. */
static void load_topic(struct broker *broker, struct broker_topic *topic)
{
    if (broker->is_up && topic->replay > 0 && topic->subscription == BROKER_IN && !topic->is_loading &&
        !topic->is_live) {
        if (keep_stream(broker, topic) < 0) {
            broker->has_left = true;
        } else {
            ask_range(broker, topic);
        }
    }
}

/* An entry of a stream: its id, and a list: "h", the first line, "m", the content. Returns false if it is none; one of
 * another program has no data. */
static bool read_entry(const struct redis_reply *entry, struct message_parts *parts, struct broker_origin *origin)
{
    *parts = (struct message_parts){.data = NULL};
    if (entry->kind != REDIS_LIST || entry->count != 2) {
        return false;
    }
    struct redis_reply id = redis_reply_item(entry, 0), fields = redis_reply_item(entry, 1);
    if (id.kind != REDIS_TEXT || !publication_id_read(&parts->id, id.text, id.len)) {
        return false;
    }
    if (fields.kind == REDIS_LIST && fields.count == 4) {
        struct redis_reply head = redis_reply_item(&fields, 1), data = redis_reply_item(&fields, 3);
        if (head.kind == REDIS_TEXT && data.kind == REDIS_TEXT) {
            broker_read(head.text, head.len, parts, origin);
            parts->data = data.text;
            parts->len = data.len;
        }
    }
    return true;
}

static struct publication_id id_before(struct publication_id id)
{
    return id.number > 0 ? (struct publication_id){id.ms, id.number - 1}
                         : (struct publication_id){id.ms - 1, UINT64_MAX};
}

void broker_take_range(struct broker *broker, struct broker_topic *topic, const struct redis_reply *reply)
{
    topic->is_loading = false;
    if (!topic->is_wanted) {
        free_if_done(broker, topic);
        return;
    }
    if (topic->is_stale) {
        load_topic(broker, topic);
        return;
    }
    for (size_t i = 0; reply->kind == REDIS_LIST && i < reply->count; i++) {
        struct redis_reply entry = redis_reply_item(reply, i);
        struct message_parts parts;
        struct broker_origin origin = {0};
        if (!read_entry(&entry, &parts, &origin)) {
            continue;
        }
        bool is_new = topic->has_loaded ||
                      (topic->first_live.ms != 0 && publication_id_compare(parts.id, topic->first_live) >= 0);
        if (!topic->has_loaded && topic->last.ms == 0) { /* the first one that the stream has */
            hub_begin_history(broker->hub, topic->entry.name, topic->entry.len, id_before(parts.id));
        }
        topic->last = parts.id;
        if (parts.data != NULL) {
            take_from_redis(broker, topic, &parts, origin, !is_new);
        }
    }
    if (reply->kind == REDIS_LIST && (reply->count == PAGE_MESSAGES || topic->has_missed)) {
        ask_range(broker, topic);
        return;
    }
    topic->has_loaded = true;
    pthread_mutex_lock(&broker->lock);
    topic->is_live = broker->is_up && topic->subscription == BROKER_IN && topic->replay > 0;
    pthread_mutex_unlock(&broker->lock);
}

/* Topics. */

static int ask_channel(struct broker *broker, const char *command, const struct broker_topic *topic)
{
    struct broker_name channel;
    broker_channel(&channel, broker->url.database, topic->entry.name, topic->entry.len);
    struct redis_word words[] = {plain_word(command), {channel.text, channel.len}};
    return redis_client_command(&broker->channels, words, 2);
}

static void stop_live(struct broker *broker, struct broker_topic *topic)
{
    pthread_mutex_lock(&broker->lock);
    topic->is_live = false;
    pthread_mutex_unlock(&broker->lock);
}

static void subscribe_topic(struct broker *broker, struct broker_topic *topic)
{
    if (topic->subscription == BROKER_OUT) {
        if (ask_channel(broker, "SUBSCRIBE", topic) == 0) {
            topic->subscription = BROKER_ASKED;
            topic->unconfirmed++;
        } else {
            broker->has_left = true;
        }
    }
    load_topic(broker, topic);
}

static void leave_topic(struct broker *broker, struct broker_topic *topic)
{
    stop_live(broker, topic);
    if (topic->subscription != BROKER_OUT) {
        (void)ask_channel(broker, "UNSUBSCRIBE", topic);
        topic->subscription = BROKER_OUT;
    }
    topic->is_wanted = false;
    free_if_done(broker, topic);
}

/* Returns NULL without memory. */
static struct broker_topic *make_broker_topic(struct broker *broker, const struct broker_wish *wish, uint64_t hash)
{
    struct broker_topic *topic = broker_topic_create(wish->name, wish->len, hash);
    if (topic == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&broker->lock);
    int rv = name_table_add(&broker->topics, &topic->entry);
    pthread_mutex_unlock(&broker->lock);
    if (rv < 0) {
        broker_topic_destroy(topic);
        return NULL;
    }
    return topic;
}

static struct broker_topic *find_broker_topic(const struct broker *broker, const char *name, size_t len)
{
    return (struct broker_topic *)name_table_find(&broker->topics, hub_hash(broker->hub, name, len), name, len);
}

int broker_take_wish(struct broker *broker, const struct broker_wish *wish)
{
    struct broker_topic *topic = find_broker_topic(broker, wish->name, wish->len);
    if (!wish->is_wanted) {
        if (topic != NULL && topic->is_wanted) {
            leave_topic(broker, topic);
        }
        return 0;
    }
    if (topic == NULL) {
        topic = make_broker_topic(broker, wish, hub_hash(broker->hub, wish->name, wish->len));
        if (topic == NULL) {
            return -ENOMEM;
        }
    }
    if (!topic->is_wanted) { /* what the hub had of it before is gone: read the stream from its beginning */
        topic->is_wanted = true;
        topic->is_stale = topic->is_loading;
        topic->has_loaded = false;
        topic->node_count = 0;
        topic->last = topic->first_live = (struct publication_id){0};
        topic->born_number = wish->number;
    }
    bool is_raised = topic->is_live && topic->replay < wish->replay;
    topic->replay = wish->replay;
    if (is_raised) {
        keep_topic(broker, topic);
    }
    subscribe_topic(broker, topic);
    return 0;
}

/* Call fn with each topic, which it may free. */
static void each_topic(struct broker *broker, void (*fn)(struct broker *broker, struct broker_topic *topic))
{
    for (size_t i = 0; i < broker->topics.slot_count; i++) {
        for (struct named_entry *at = broker->topics.slots[i], *next; at != NULL; at = next) {
            next = at->next;
            fn(broker, (struct broker_topic *)at);
        }
    }
}

static void refresh_topic(struct broker *broker, struct broker_topic *topic)
{
    if (broker->has_left) {
        return; /* there is no room for any more */
    }
    if (topic->is_wanted) {
        subscribe_topic(broker, topic);
    } else {
        free_if_done(broker, topic);
    }
}

void broker_refresh_topics(struct broker *broker)
{
    broker->has_left = false;
    each_topic(broker, refresh_topic);
}

void broker_go_on_with_topics(struct broker *broker)
{
    if (broker->has_left && broker->is_up && broker->request_count + BROKER_LEFT_ROOM <= BROKER_REQUESTS_MAX &&
        write_buffer_len(&broker->channels.out) <= REDIS_CLIENT_QUEUE_MAX / 2) {
        broker_refresh_topics(broker);
    }
}

static struct broker_topic *topic_of(const struct broker *broker, const struct broker_letter *letter)
{
    const struct payload *payload = letter->payload;
    return (struct broker_topic *)name_table_find(&broker->topics, payload->hash, payload->topic, payload->topic_len);
}

void broker_keep_waiting(struct broker *broker)
{
    for (const struct broker_letter *letter = broker->queue.first; letter != NULL; letter = letter->next) {
        struct broker_topic *topic = topic_of(broker, letter);
        if (topic != NULL && topic->is_wanted && !topic->is_kept) {
            topic->is_kept = true;
            keep_topic(broker, topic);
        }
    }
    for (const struct broker_letter *letter = broker->queue.first; letter != NULL; letter = letter->next) {
        struct broker_topic *topic = topic_of(broker, letter);
        if (topic != NULL) {
            topic->is_kept = false;
        }
    }
}

void broker_keep_topics(struct broker *broker)
{
    each_topic(broker, keep_topic);
}

static void forget_subscription(struct broker *broker, struct broker_topic *topic)
{
    topic->subscription = BROKER_OUT;
    topic->unconfirmed = 0;
    free_if_done(broker, topic);
}

void broker_forget_subscriptions(struct broker *broker)
{
    each_topic(broker, forget_subscription);
}

static void stop_one(struct broker *broker, struct broker_topic *topic)
{
    (void)broker;
    topic->is_live = false;
}

void broker_stop_live(struct broker *broker)
{
    each_topic(broker, stop_one);
}

static void free_one(struct broker *broker, struct broker_topic *topic)
{
    name_table_remove(&broker->topics, &topic->entry);
    broker_topic_destroy(topic);
}

void broker_free_topics(struct broker *broker)
{
    each_topic(broker, free_one);
    name_table_done(&broker->topics);
}

/* Channels. */

static void take_published(struct broker *broker, struct broker_topic *topic, const struct redis_reply *text)
{
    struct message_parts parts = {.data = NULL};
    struct broker_origin origin;
    broker_read_channel(text->text, text->len, &parts, &origin);
    if (parts.id.ms != 0 && topic->replay > 0) {
        if (!topic->is_live) { /* the stream has it */
            topic->has_missed = true;
            topic->first_live = topic->first_live.ms == 0 ? parts.id : topic->first_live;
            return;
        }
        topic->last = parts.id;
    }
    take_from_redis(broker, topic, &parts, origin, false);
}

void broker_take_channel(struct broker *broker, const struct redis_reply *reply)
{
    if (reply->kind != REDIS_LIST || reply->count != 3) {
        return;
    }
    struct redis_reply what = redis_reply_item(reply, 0), channel = redis_reply_item(reply, 1),
                       text = redis_reply_item(reply, 2);
    const char *name;
    size_t len;
    if (channel.kind != REDIS_TEXT || !broker_topic_of(channel.text, channel.len, broker->url.database, &name, &len)) {
        return;
    }
    struct broker_topic *topic = find_broker_topic(broker, name, len);
    if (topic == NULL) {
        return; /* nobody has wanted it any more when this was on its way */
    }
    if (redis_reply_is(&what, "message") && text.kind == REDIS_TEXT && topic->subscription == BROKER_IN) {
        take_published(broker, topic, &text);
    } else if (redis_reply_is(&what, "subscribe") && topic->unconfirmed > 0) {
        topic->unconfirmed--;
        if (topic->unconfirmed == 0 && topic->subscription == BROKER_ASKED) {
            topic->subscription = BROKER_IN;
            load_topic(broker, topic);
        }
        free_if_done(broker, topic);
    }
}
