/* Happy path: hub_publish() calls on_publish(), which queues a letter and wakes the broker's thread; that publishes it
 * by a script of Redis: to the channel of its topic, and to a stream if somebody wants a replay of it. What comes
 * through channels goes to hub_bring() (broker_topics.c).
 *
 * There are two connections, since one with subscriptions takes no other commands. The broker is up while both are
 * ready.
 *
 * Failure modes: a connection is lost: broker_go_down() delivers here what has not come back yet, and what Redis has
 * not confirmed is sent again later, with the same number, by which others know it. Redis refuses a command: one line
 * in the log. A script is unknown to it, since somebody has flushed them: it is loaded again. */

#include "core/broker.h"

#include "core/broker_publish.h"
#include "core/broker_state.h"
#include "core/broker_topics.h"
#include "core/hub.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/thread.h"

#include <errno.h>
#include <string.h>

enum {
    MINUTE_MS = 60000,
    KEEP_MINUTES = 360,     /* after which streams are marked as used again: BROKER_DAY_S */
    DOWN_ROUNDS_MAX = 1000, /* see broker_go_down() */
};

/* The hub's side: any thread, with the hub locked. */

/* With our lock. */
static void wake_broker(struct broker *broker)
{
    if (!broker->bell->is_ringing) {
        broker->bell->is_ringing = true;
        reactor_post_call(broker->reactor, &broker->bell->call);
    }
}

static bool on_publish(void *arg, struct payload *payload)
{
    struct broker *broker = arg;
    pthread_mutex_lock(&broker->lock);
    const struct broker_topic *topic = (const struct broker_topic *)name_table_find(&broker->topics, payload->hash,
                                                                                    payload->topic, payload->topic_len);
    bool comes_back = broker->brings_back && topic != NULL && topic->is_live;
    if (broker_queue_add(&broker->queue, payload, comes_back) == 0) {
        wake_broker(broker);
    } else {
        comes_back = false;
        broker->counts.dropped++;
    }
    pthread_mutex_unlock(&broker->lock);
    return comes_back;
}

static void on_want(void *arg, const char *name, size_t len, bool is_wanted, unsigned replay)
{
    struct broker *broker = arg;
    struct broker_wish *wish = mem_alloc(sizeof *wish + len);
    if (wish != NULL) {
        *wish = (struct broker_wish){.is_wanted = is_wanted, .replay = replay, .len = len};
        memcpy(wish->name, name, len);
    }
    pthread_mutex_lock(&broker->lock);
    if (wish != NULL) {
        wish->number = broker->is_beginning ? 0 : broker->queue.number; /* subscribers have had what is ours */
        *(broker->first_wish == NULL ? &broker->first_wish : &broker->last_wish->next) = wish;
        broker->last_wish = wish;
    } else {
        broker->has_forgotten = true;
    }
    wake_broker(broker);
    pthread_mutex_unlock(&broker->lock);
}

static void on_broker_count(void *arg, struct hub_broker_counts *counts)
{
    struct broker *broker = arg;
    pthread_mutex_lock(&broker->lock);
    *counts = broker->counts;
    counts->waiting = broker->queue.bytes;
    pthread_mutex_unlock(&broker->lock);
}

static const struct hub_broker broker_hooks = {.publish = on_publish, .want = on_want, .count = on_broker_count};

/* The broker's own thread. */

static void take_wishes(struct broker *broker, struct broker_wish *wish)
{
    bool has_forgotten = false;
    for (struct broker_wish *next; wish != NULL; wish = next) {
        next = wish->next;
        has_forgotten = broker_take_wish(broker, wish) < 0 || has_forgotten;
        mem_free(wish);
    }
    if (has_forgotten) {
        pthread_mutex_lock(&broker->lock);
        broker->has_forgotten = true;
        pthread_mutex_unlock(&broker->lock);
    }
}

/* Take what other threads have left. */
static void take_new(struct broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    struct broker_wish *wishes = broker->first_wish;
    broker->first_wish = broker->last_wish = NULL;
    broker_queue_take(&broker->queue);
    pthread_mutex_unlock(&broker->lock);
    take_wishes(broker, wishes);
}

static void on_bell(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct broker_bell *bell = arg;
    struct broker *broker = bell->broker;
    if (broker == NULL) {
        bell->is_ringing = false;
        return;
    }
    pthread_mutex_lock(&broker->lock);
    bell->is_ringing = false;
    pthread_mutex_unlock(&broker->lock);
    take_new(broker);
    broker_send_letters(broker);
}

/* Deliver here what has not come back. */
static void deliver_missing(struct broker *broker)
{
    for (struct broker_letter *letter = broker->queue.first, *next; letter != NULL; letter = next) {
        next = letter->next;
        if (letter->comes_back) {
            broker_deliver_here(broker, letter);
            broker_drop_letter(broker, letter);
        }
    }
}

/* One of the connections is lost. Until all that was to come back is delivered here, more of it may be published, and
 * must not overtake it: so messages go the long way until nothing is left of them. */
static void broker_go_down(struct broker *broker, const char *why)
{
    broker->is_up = false;
    bool is_over = false;
    for (int round = 0; !is_over; round++) {
        take_new(broker);
        deliver_missing(broker);
        pthread_mutex_lock(&broker->lock);
        is_over = broker->queue.new_first == NULL || round == DOWN_ROUNDS_MAX;
        if (is_over) {
            broker->brings_back = false;
            broker_stop_live(broker);
            broker->counts.is_connected = false;
            broker->dropped_before = broker->counts.dropped;
        }
        pthread_mutex_unlock(&broker->lock);
    }
    take_new(broker); /* of publishers that were faster than all the rounds */
    deliver_missing(broker);
    if (!broker->is_reported) {
        broker->is_reported = true;
        log_write(broker->log, LOG_WARN,
                  "broker %s: %s: %s; until it is back, messages reach only subscribers of this server",
                  broker->url.name, broker->was_up ? "connection lost" : "cannot be reached", why);
    }
}

/* There was no memory to note some topics: have the hub tell them all again. */
static void recall_topics(struct broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    bool has_forgotten = broker->has_forgotten;
    broker->has_forgotten = false;
    pthread_mutex_unlock(&broker->lock);
    if (has_forgotten) {
        hub_set_broker(broker->hub, &broker_hooks, broker);
    }
}

static void broker_go_up(struct broker *broker)
{
    if (broker->is_up || !broker->commands.is_ready || !broker->channels.is_ready || broker->sha[0] == '\0') {
        return;
    }
    pthread_mutex_lock(&broker->lock);
    uint64_t dropped = broker->counts.dropped - broker->dropped_before;
    broker->counts.is_connected = true;
    broker->brings_back = true;
    pthread_mutex_unlock(&broker->lock);
    log_write(broker->log, LOG_INFO, "broker %s: connected%s", broker->url.name, broker->was_up ? " again" : "");
    if (dropped > 0) {
        log_write(broker->log, LOG_WARN,
                  "broker %s: %llu messages that were published meanwhile did not fit in its queue of %d MiB, and have "
                  "reached this server's subscribers only",
                  broker->url.name, (unsigned long long)dropped, BROKER_QUEUE_MAX >> 20);
    }
    broker->is_up = broker->was_up = true;
    broker->has_complained = broker->is_reported = false;
    recall_topics(broker);
    broker_refresh_topics(broker);
    broker_send_letters(broker);
}

/* The connections. */

static void on_commands_ready(void *arg)
{
    struct broker *broker = arg;
    const char *script = broker_publish_script();
    struct redis_word words[] = {{"SCRIPT", 6}, {"LOAD", 4}, {script, strlen(script)}};
    (void)broker_ask(broker, words, 3, (struct broker_request){.asked = ASKED_SCRIPT});
}

static void on_commands_lost(void *arg, const char *why)
{
    struct broker *broker = arg;
    broker_forget_requests(broker);
    broker_go_down(broker, why);
}

/* Redis has refused a command. */
static void complain_of_redis(struct broker *broker, const struct redis_reply *reply)
{
    if (!broker->has_complained) {
        broker->has_complained = true;
        log_write(broker->log, LOG_ERROR, "broker %s: it replies: %.300s", broker->url.name, reply->text);
    }
}

/* Our script is gone (SCRIPT FLUSH): load it anew, and send again what was refused. If another server has loaded it
 * meanwhile, Redis has taken what came behind that. */
static void load_again(struct broker *broker)
{
    if (broker->sha[0] != '\0') {
        broker->sha[0] = '\0';
        on_commands_ready(broker);
    }
}

static void take_publish_reply(struct broker *broker, struct broker_letter *letter, const struct redis_reply *reply)
{
    bool is_unknown = reply->kind == REDIS_ERROR && strncmp(reply->text, "NOSCRIPT", 8) == 0;
    if (is_unknown) {
        load_again(broker);
        broker_queue_return(&broker->queue, letter);
        return;
    }
    if (reply->kind == REDIS_ERROR) {
        complain_of_redis(broker, reply);
        if (letter->comes_back) { /* it will not */
            broker_deliver_here(broker, letter);
        }
    }
    letter->is_confirmed = true;
    broker->taken_number = letter->number > broker->taken_number ? letter->number : broker->taken_number;
    pthread_mutex_lock(&broker->lock);
    broker->counts.sent += reply->kind != REDIS_ERROR;
    broker->counts.dropped += reply->kind == REDIS_ERROR;
    pthread_mutex_unlock(&broker->lock);
    broker_drop_letter(broker, letter);
}

static void on_commands_reply(void *arg, const struct redis_reply *reply)
{
    struct broker *broker = arg;
    if (broker->request_count == 0) {
        return;
    }
    struct broker_request request = broker_pop_request(broker);
    if (request.asked == ASKED_PUBLISH) {
        take_publish_reply(broker, request.letter, reply);
    } else if (reply->kind == REDIS_ERROR) {
        complain_of_redis(broker, reply);
    }
    if (request.asked == ASKED_RANGE) {
        broker_take_range(broker, request.topic, reply);
    } else if (request.asked == ASKED_SCRIPT && reply->kind == REDIS_TEXT && reply->len == BROKER_SHA_LEN) {
        memcpy(broker->sha, reply->text, BROKER_SHA_LEN);
        pthread_mutex_lock(&broker->lock);
        broker_queue_put_behind(&broker->queue, broker->taken_number);
        pthread_mutex_unlock(&broker->lock);
        broker_keep_waiting(broker);
        broker_go_up(broker);
    }
    broker_go_on_with_topics(broker);
    broker_send_letters(broker);
}

static const struct redis_client_user commands_user = {
    .on_ready = on_commands_ready,
    .on_lost = on_commands_lost,
    .on_reply = on_commands_reply,
};

static void on_channels_ready(void *arg)
{
    broker_go_up(arg);
}

static void on_channels_lost(void *arg, const char *why)
{
    struct broker *broker = arg;
    broker_forget_subscriptions(broker);
    broker_go_down(broker, why);
}

static void on_channels_reply(void *arg, const struct redis_reply *reply)
{
    struct broker *broker = arg;
    if (reply->kind == REDIS_ERROR) {
        complain_of_redis(broker, reply);
    } else {
        broker_take_channel(broker, reply);
    }
    broker_go_on_with_topics(broker);
}

static const struct redis_client_user channels_user = {
    .on_ready = on_channels_ready,
    .on_lost = on_channels_lost,
    .on_reply = on_channels_reply,
};

static void on_minute(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct broker *broker = arg;
    recall_topics(broker);
    broker_go_on_with_topics(broker); /* if it was memory that lacked */
    if (++broker->minutes >= KEEP_MINUTES) {
        broker->minutes = 0;
        broker_keep_topics(broker);
    }
}

/* From the beginning to the end. */

int broker_check(const char *url, char *err, size_t errlen)
{
    struct redis_url parsed;
    char text[256];
    if (redis_url_parse(&parsed, url, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "the URL of the broker is not valid: %s", text);
    }
    if (!redis_reader_is_there()) {
        return error_text(err, errlen, -ENOTSUP,
                          "a broker in Redis needs hiredis (Debian: libhiredis1.1.0 or libhiredis0.14), which is not "
                          "installed, or this evserve was built without it (EVSERVE_HIREDIS=OFF)");
    }
    return 0;
}

static void free_broker(struct broker *broker)
{
    redis_client_end(&broker->commands);
    redis_client_end(&broker->channels);
    broker_free_topics(broker);
    for (struct broker_wish *wish = broker->first_wish, *next; wish != NULL; wish = next) {
        next = wish->next;
        mem_free(wish);
    }
    broker_queue_done(&broker->queue);
    reactor_cancel_timer(broker->reactor, broker->minute_timer);
    pthread_mutex_destroy(&broker->lock);
    mem_free(broker->requests);
    mem_free(broker->url_text);
    mem_free(broker);
}

int broker_create(struct broker **made, const struct broker_config *config, char *err, size_t errlen)
{
    int rv = broker_check(config->url, err, errlen);
    if (rv < 0) {
        return rv;
    }
    struct broker *broker = mem_zalloc(sizeof *broker);
    if (broker == NULL) {
        return error_text(err, errlen, -ENOMEM, "broker: %s", errno_text(ENOMEM));
    }
    thread_init_lock(&broker->lock);
    (void)redis_url_parse(&broker->url, config->url, NULL, 0);
    broker->hub = config->hub;
    broker->reactor = config->reactor;
    broker->log = config->log;
    broker->bell = config->bell;
    struct redis_client client = {
        .reactor = config->reactor,
        .outbound = config->outbound,
        .url = &broker->url,
        .arg = broker,
        .base_fd = config->base_fd,
    };
    broker->commands = broker->channels = client;
    broker->commands.user = &commands_user;
    broker->channels.user = &channels_user;
    broker->channels.is_subscriber = true;
    broker->url_text = mem_copy_text(config->url);
    broker->requests = mem_alloc(BROKER_REQUESTS_MAX * sizeof *broker->requests);
    broker->minute_timer = reactor_set_interval(broker->reactor, MINUTE_MS, on_minute, broker);
    rv = config->bell->node == 0 ? sys_random(&config->bell->node, sizeof config->bell->node) : 0;
    config->bell->node |= 1; /* 0 stands for other programs */
    broker->node = config->bell->node;
    broker->queue.number = config->bell->number;
    if (rv == 0 && (broker->url_text == NULL || broker->requests == NULL || broker->minute_timer == 0)) {
        rv = -ENOMEM;
    }
    rv = rv < 0 ? rv : redis_client_start(&broker->commands);
    rv = rv < 0 ? rv : redis_client_start(&broker->channels);
    if (rv < 0) {
        free_broker(broker);
        return error_text(err, errlen, rv, "broker: %s", errno_text(-rv));
    }
    if (!broker->bell->is_ringing) { /* a ring of the last owner's comes to us */
        broker->bell->call = (struct reactor_call){.fn = on_bell, .arg = broker->bell};
    }
    broker->bell->broker = broker;
    broker->is_beginning = true;
    hub_set_broker(broker->hub, &broker_hooks, broker);
    pthread_mutex_lock(&broker->lock);
    broker->is_beginning = false;
    pthread_mutex_unlock(&broker->lock);
    *made = broker;
    return 0;
}

void broker_destroy(struct broker *broker)
{
    if (broker == NULL) {
        return;
    }
    hub_set_broker(broker->hub, NULL, NULL);
    broker->bell->broker = NULL;
    broker->bell->number = broker->queue.number;
    take_new(broker);
    broker_send_letters(broker);
    deliver_missing(broker);
    free_broker(broker);
}

bool broker_has_url(const struct broker *broker, const char *url)
{
    return strcmp(broker->url_text, url) == 0;
}
