/* core/topics.c with core/hub.c on one thread: who gets which message, in which order, whatever subscribers do
 * meanwhile. Several threads: socket_hub.c. */

#include "core/hub.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/topics.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LISTENERS = 40 };

struct listener {
    struct subscription subscription; /* first */
    char heard[256];                  /* "one two " */
    enum delivery answer;
    void (*then)(struct listener *listener); /* called in deliver() */
    int64_t takes_ns;                        /* what deliver() takes */
};

static struct {
    struct hub *hub;
    struct reactor *reactor;
    struct topics topics;
    struct listener listeners[LISTENERS];
    char calls[256];   /* of the broker */
    uint64_t epoch_ms; /* of ids */
} scene;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    memset(&scene, 0, sizeof scene);
    scene.epoch_ms = (uint64_t)sys_wall_time_ms();
    if (hub_create(&scene.hub, 1) < 0 || reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    topics_init(&scene.topics, scene.hub, 0, scene.reactor);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    topics_done(&scene.topics);
    topics_done(&scene.topics);
    reactor_destroy(scene.reactor);
    hub_destroy(scene.hub);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static enum delivery hear(struct subscription *subscription, struct publication *publication)
{
    struct listener *listener = subscription->arg;
    const struct payload *payload = publication->payload;
    snprintf(listener->heard + strlen(listener->heard), sizeof listener->heard - strlen(listener->heard), "%s ",
             payload->data);
    fake_sys_advance_ns(listener->takes_ns);
    if (listener->then != NULL) {
        listener->then(listener);
    }
    return listener->answer;
}

static int join(int n, const char *name, struct topics_replay *replay)
{
    struct listener *listener = &scene.listeners[n];
    return topics_subscribe(&scene.topics, &listener->subscription, name, strlen(name), hear, listener, replay);
}

static int publish(const char *topic, const char *text)
{
    const struct message_parts message = {.topic = topic,
                                          .topic_len = strlen(topic),
                                          .data = text,
                                          .len = strlen(text)};
    return hub_publish(scene.hub, &message);
}

static void run_once(void)
{
    assert_true(reactor_run_once(scene.reactor, 0) >= 0);
}

static void run_all(void)
{
    for (int i = 0; i < 100; i++) {
        run_once();
    }
}

static const char *heard(int n)
{
    return scene.listeners[n].heard;
}

static struct hub_counts counts(void)
{
    struct hub_counts counted;
    hub_get_counts(scene.hub, &counted);
    return counted;
}

static void messages_reach_subscribers_of_their_topic_in_order(void **state)
{
    (void)state;
    assert_int_equal(join(0, "a", NULL), 0);
    assert_int_equal(join(1, "a", NULL), 0);
    assert_int_equal(join(2, "b", NULL), 0);
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("b", "2"), 0);
    assert_int_equal(publish("a", "3"), 0);
    assert_int_equal(publish("nobody", "4"), 0);
    assert_string_equal(heard(0), ""); /* never inside of the call */
    run_all();
    assert_string_equal(heard(0), "1 3 ");
    assert_string_equal(heard(1), "1 3 ");
    assert_string_equal(heard(2), "2 ");
    assert_int_equal(scene.topics.counts.delivered, 5);
    assert_int_equal(counts().published, 4);
    assert_int_equal(counts().topics, 2);
    assert_int_equal(counts().subscribers, 3);
    assert_int_equal(hub_subscribers(scene.hub, "a", 1), 2);
    assert_int_equal(hub_subscribers(scene.hub, "c", 1), 0);
}

static void subscriber_gets_what_is_published_from_then_on(void **state)
{
    (void)state;
    assert_int_equal(join(0, "a", NULL), 0);
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(join(1, "a", NULL), 0);
    topics_unsubscribe(&scene.listeners[0].subscription);
    topics_unsubscribe(&scene.listeners[0].subscription);
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(0), "");
    assert_string_equal(heard(1), "2 ");
}

static void last_one_takes_the_topic_along(void **state)
{
    (void)state;
    size_t len;
    assert_int_equal(join(0, "a", NULL), 0);
    assert_memory_equal(subscription_topic(&scene.listeners[0].subscription, &len), "a", 1);
    assert_int_equal(len, 1);
    assert_int_equal(publish("a", "1"), 0);
    topics_unsubscribe(&scene.listeners[0].subscription);
    assert_null(subscription_topic(&scene.listeners[0].subscription, &len));
    assert_int_equal(counts().topics, 0);
    run_all();
    assert_int_equal(join(0, "a", NULL), 0);
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(0), "2 ");
}

/* Subscribers that do something while they are called. */

static void leave(struct listener *listener)
{
    topics_unsubscribe(&listener->subscription);
}

static void leave_next(struct listener *listener)
{
    topics_unsubscribe(&listener[1].subscription);
}

static void all_leave(struct listener *listener)
{
    (void)listener;
    for (int i = 0; i < LISTENERS; i++) {
        topics_unsubscribe(&scene.listeners[i].subscription);
    }
}

static void another_joins(struct listener *listener)
{
    listener->then = NULL;
    assert_int_equal(join(9, "a", NULL), 0);
}

static void publish_more(struct listener *listener)
{
    listener->then = NULL;
    assert_int_equal(publish("a", "more"), 0);
}

static void subscribers_come_and_go_during_a_delivery(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(join(i, "a", NULL), 0);
    }
    scene.listeners[0].then = leave;
    scene.listeners[1].then = leave_next;
    scene.listeners[3].then = another_joins;
    scene.listeners[4].then = publish_more;
    assert_int_equal(publish("a", "1"), 0);
    run_all();
    assert_string_equal(heard(0), "1 ");
    assert_string_equal(heard(1), "1 more ");
    assert_string_equal(heard(2), "");
    assert_string_equal(heard(3), "1 more ");
    assert_string_equal(heard(5), "1 more ");
    assert_string_equal(heard(9), "more ");
    scene.listeners[3].then = all_leave;
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(1), "1 more 2 ");
    assert_string_equal(heard(4), "1 more ");
    assert_int_equal(counts().topics, 0);
    assert_int_equal(counts().subscribers, 0);
}

static void many_subscribers_do_not_hold_up_the_loop(void **state)
{
    (void)state;
    for (int i = 0; i < LISTENERS; i++) {
        assert_int_equal(join(i, "a", NULL), 0);
        scene.listeners[i].takes_ns = 100000;
    }
    assert_int_equal(publish("a", "1"), 0);
    run_once();
    assert_string_equal(heard(15), "1 ");
    assert_string_equal(heard(16), "");
    /* Between two slices subscribers go, the next one and the last ones too, and nobody gets it twice. */
    topics_unsubscribe(&scene.listeners[16].subscription);
    run_once();
    assert_string_equal(heard(32), "1 ");
    for (int i = 33; i < LISTENERS; i++) {
        topics_unsubscribe(&scene.listeners[i].subscription);
    }
    run_all();
    for (int i = 0; i < LISTENERS; i++) {
        assert_string_equal(heard(i), i == 16 || i > 32 ? "" : "1 ");
    }
}

static void before_a_stop_all_is_delivered_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < LISTENERS; i++) {
        assert_int_equal(join(i, "a", NULL), 0);
        scene.listeners[i].takes_ns = 100000;
    }
    assert_int_equal(publish("a", "1"), 0);
    run_once();
    assert_string_equal(heard(LISTENERS - 1), "");
    assert_int_equal(publish("a", "2"), 0);
    topics_flush(&scene.topics);
    for (int i = 0; i < LISTENERS; i++) {
        assert_string_equal(heard(i), "1 2 ");
    }
    run_all();
    assert_string_equal(heard(0), "1 2 ");
    topics_done(&scene.topics);
    topics_flush(&scene.topics);
}

/* A wake-up is under way already when all is delivered at once; those that publish then need no other one. */
static void what_is_published_after_all_was_delivered_at_once_comes_as_well(void **state)
{
    (void)state;
    assert_int_equal(join(0, "a", NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish("a", "1"), 0);
        topics_flush(&scene.topics);
    }
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(0), "1 1 1 2 ");
    assert_int_equal(publish("a", "3"), 0); /* and one is left when the reactor goes */
    topics_flush(&scene.topics);
    assert_int_equal(publish("a", "4"), 0);
}

static void what_a_subscriber_does_not_take_is_counted(void **state)
{
    static const enum delivery answers[] = {DELIVERY_TAKEN, DELIVERY_SKIPPED, DELIVERY_ENDED};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(join(i, "a", NULL), 0);
        scene.listeners[i].answer = answers[i];
    }
    scene.listeners[2].then = leave;
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_int_equal(scene.topics.counts.delivered, 2);
    assert_int_equal(scene.topics.counts.skipped, 2);
    assert_int_equal(scene.topics.counts.ended, 1);
}

/* Messages that wait behind each other. */

static char batches[256];

static enum delivery take_batch(struct subscription *subscription, struct publication *publication)
{
    snprintf(batches + strlen(batches), sizeof batches - strlen(batches), "%d:%s*%u ", (int)(intptr_t)subscription->arg,
             publication->payload->data, publication->batch);
    return DELIVERY_ALL;
}

static void join_batches(int n)
{
    assert_int_equal(topics_subscribe(&scene.topics, &scene.listeners[n].subscription, "a", 1, take_batch,
                                      (void *)(intptr_t)n, NULL),
                     0);
}

static void messages_of_a_topic_that_wait_can_be_taken_together(void **state)
{
    (void)state;
    batches[0] = '\0';
    join_batches(0);
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("a", "2"), 0);
    join_batches(1);
    assert_int_equal(publish("a", "3"), 0);
    assert_int_equal(join(2, "a", NULL), 0); /* takes each by itself */
    assert_int_equal(join(3, "b", NULL), 0);
    assert_int_equal(publish("b", "4"), 0);
    assert_int_equal(publish("a", "5"), 0);
    run_all();
    assert_string_equal(batches, "0:1*3 1:3*1 0:5*1 1:5*1 ");
    assert_string_equal(heard(2), "5 ");
    assert_string_equal(heard(3), "4 ");
    assert_int_equal(scene.topics.counts.delivered, 3 + 1 + 2 + 1 + 1);
}

static void batches_have_limits(void **state)
{
    (void)state;
    static char half[8193], more[8194];
    memset(half, 'x', sizeof half - 1);
    memset(more, 'x', sizeof more - 1);
    join_batches(0);
    batches[0] = '\0';
    for (int i = 0; i < 130; i++) {
        assert_int_equal(publish("a", "m"), 0);
    }
    run_all();
    assert_string_equal(batches, "0:m*64 0:m*64 0:m*2 ");
    assert_int_equal(scene.topics.counts.delivered, 130);
    assert_int_equal(join(1, "a", NULL), 0);
    topics_unsubscribe(&scene.listeners[0].subscription);
    assert_int_equal(publish("a", half), 0);
    assert_int_equal(publish("a", half), 0);
    run_all();
    join_batches(0);
    uint64_t before = scene.topics.counts.delivered;
    assert_int_equal(publish("a", half), 0);
    assert_int_equal(publish("a", more), 0);
    run_all();
    assert_int_equal(scene.topics.counts.delivered - before, 4);
}

static void whoever_leaves_during_a_batch_gets_nothing_more_of_it(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(join(i, "a", NULL), 0);
    }
    scene.listeners[0].then = leave;
    scene.listeners[1].then = leave_next;
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(0), "1 ");
    assert_string_equal(heard(1), "1 2 ");
    assert_string_equal(heard(2), "");
    assert_int_equal(publish("a", "3"), 0);
    topics_unsubscribe(&scene.listeners[1].subscription);
    run_all();
    assert_int_equal(counts().topics, 0);
}

static void kept_topics_have_a_limit(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < HUB_KEPT_MAX; i++) {
        assert_int_equal(hub_keep(scene.hub, name, (size_t)sprintf(name, "k%d", i), 1), 0);
    }
    assert_int_equal(hub_keep(scene.hub, "more", 4, 1), -ENOSPC);
    assert_int_equal(hub_keep(scene.hub, "k0", 2, 5), 0);
    assert_int_equal(counts().topics, HUB_KEPT_MAX);
}

/* Replay. */

static struct publication_id id_of(unsigned n)
{
    return (struct publication_id){scene.epoch_ms, n};
}

static void replay_brings_what_was_missed(void **state)
{
    (void)state;
    assert_int_equal(hub_keep(scene.hub, "a", 1, 3), 0);
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("a", "2"), 0);
    assert_int_equal(publish("a", "3"), 0);
    struct topics_replay replay = {.after = id_of(1)};
    assert_int_equal(join(0, "a", &replay), 0);
    assert_string_equal(heard(0), "2 3 ");
    assert_false(replay.is_lost);
    assert_int_equal(publish("a", "4"), 0);
    assert_int_equal(publish("a", "5"), 0);
    replay.after = id_of(2); /* the last one that is gone: nothing is missing */
    assert_int_equal(join(1, "a", &replay), 0);
    assert_false(replay.is_lost);
    replay.after = id_of(1);
    assert_int_equal(join(2, "a", &replay), 0);
    assert_true(replay.is_lost);
    run_all();
    assert_int_equal(publish("a", "6"), 0);
    run_all();
    assert_string_equal(heard(0), "2 3 4 5 6 ");
    assert_string_equal(heard(1), "3 4 5 6 ");
    assert_string_equal(heard(2), "3 4 5 6 ");
}

static void ids_of_another_time_get_all_that_there_is(void **state)
{
    (void)state;
    assert_int_equal(hub_keep(scene.hub, "a", 1, 3), 0);
    assert_int_equal(publish("a", "1"), 0);
    struct topics_replay replay = {.after = {1, 1000}};
    assert_int_equal(join(0, "a", &replay), 0);
    assert_true(replay.is_lost);
    replay.after = id_of(1000);
    assert_int_equal(join(1, "a", &replay), 0);
    assert_true(replay.is_lost);
    assert_int_equal(join(2, "a", NULL), 0);
    assert_int_equal(publish("a", "2"), 0);
    run_all();
    assert_string_equal(heard(0), "1 2 ");
    assert_string_equal(heard(1), "1 2 ");
    assert_string_equal(heard(2), "2 ");
}

static void replay_ends_with_a_message_that_is_not_taken(void **state)
{
    (void)state;
    assert_int_equal(hub_keep(scene.hub, "a", 1, 3), 0);
    assert_int_equal(publish("a", "1"), 0);
    assert_int_equal(publish("a", "2"), 0);
    struct topics_replay replay = {.after = {1, 1}};
    scene.listeners[0].answer = DELIVERY_SKIPPED;
    assert_int_equal(join(0, "a", &replay), 0);
    assert_string_equal(heard(0), "1 ");
    scene.listeners[1].then = leave;
    assert_int_equal(join(1, "a", &replay), -ECANCELED);
    assert_string_equal(heard(1), "1 ");
    assert_int_equal(counts().subscribers, 1);
}

static void replay_outlives_subscribers_until_room_is_needed(void **state)
{
    (void)state;
    const struct hub_limits limits = {.topics = 3,
                                      .inbox_bytes = 1 << 20,
                                      .topic_bytes = 1 << 20,
                                      .replay_bytes = 4096};
    hub_set_limits(scene.hub, &limits);
    struct topics_replay replay = {.keep = 2};
    assert_int_equal(join(0, "a", &replay), 0);
    assert_int_equal(join(1, "b", &replay), 0);
    topics_unsubscribe(&scene.listeners[0].subscription);
    assert_int_equal(publish("a", "1"), 0);
    replay.after = id_of(0);
    assert_int_equal(join(0, "a", &replay), 0);
    assert_string_equal(heard(0), "1 ");
    topics_unsubscribe(&scene.listeners[0].subscription);
    topics_unsubscribe(&scene.listeners[1].subscription);
    assert_int_equal(join(2, "c", NULL), 0);
    assert_int_equal(counts().topics, 3);
    assert_int_equal(join(3, "d", NULL), 0); /* instead of "a", which nobody has had for longest */
    assert_int_equal(join(4, "e", NULL), 0); /* instead of "b" */
    assert_int_equal(join(5, "f", NULL), -ENOSPC);
    assert_int_equal(hub_keep(scene.hub, "f", 1, 1), -ENOSPC);
    assert_int_equal(counts().replay_bytes, 0);
    assert_int_equal(counts().topics, 3);
    topics_unsubscribe(&scene.listeners[4].subscription);
    assert_int_equal(join(5, "f", NULL), 0);
}

static void replays_have_a_limit_of_bytes(void **state)
{
    (void)state;
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    const struct hub_limits limits = {.topics = 10, .inbox_bytes = 1 << 20, .topic_bytes = 3000, .replay_bytes = 5000};
    hub_set_limits(scene.hub, &limits);
    assert_int_equal(hub_keep(scene.hub, "a", 1, 100), 0);
    assert_int_equal(hub_keep(scene.hub, "b", 1, 100), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(publish("a", text), 0);
        assert_int_equal(publish("b", text), 0);
        assert_true(counts().replay_bytes <= 5000);
    }
    assert_true(counts().replay_bytes > 4000);
    /* What does not fit at all is delivered, but not kept. */
    const struct hub_limits small = {.topics = 10, .inbox_bytes = 1 << 20, .topic_bytes = 1000, .replay_bytes = 5000};
    hub_set_limits(scene.hub, &small);
    assert_int_equal(join(0, "a", NULL), 0);
    scene.listeners[0].then = leave;
    assert_int_equal(publish("a", text), 0);
    run_all();
    assert_int_equal(strlen(heard(0)), sizeof scene.listeners[0].heard - 1);
    struct topics_replay replay = {.after = id_of(20)};
    assert_int_equal(join(1, "a", &replay), 0);
    assert_true(replay.is_lost);
    assert_string_equal(heard(1), "");
}

/* Limits. */

static void names_and_messages_have_limits(void **state)
{
    (void)state;
    static char name[TOPIC_NAME_MAX + 2], big[PUBLICATION_BYTES_MAX + 1], event[TOPIC_EVENT_MAX + 1];
    memset(name, 'n', sizeof name - 1);
    memset(event, 'e', sizeof event);
    struct message_parts message = {.topic = name,
                                    .topic_len = TOPIC_NAME_MAX,
                                    .data = big,
                                    .len = PUBLICATION_BYTES_MAX,
                                    .event = event,
                                    .event_len = TOPIC_EVENT_MAX};
    assert_int_equal(hub_publish(scene.hub, &message), 0);
    message.topic_len++;
    assert_int_equal(hub_publish(scene.hub, &message), -ENAMETOOLONG);
    message.topic_len = 0;
    assert_int_equal(hub_publish(scene.hub, &message), -EINVAL);
    message.topic_len = 1;
    message.len++;
    assert_int_equal(hub_publish(scene.hub, &message), -EMSGSIZE);
    message.len = 0;
    message.event_len++;
    assert_int_equal(hub_publish(scene.hub, &message), -ENAMETOOLONG);
    message.event = "a\nb";
    message.event_len = 3;
    assert_int_equal(hub_publish(scene.hub, &message), -EINVAL);
    message.event_len = 0;
    static const struct {
        const char *text;
        int rv;
    } texts[] = {{"", 0},
                 {"seven b", 0},
                 {"12345678", 0},
                 {"1234567\xc3\xa4", 0},
                 {"\xff", -EILSEQ},
                 {"1234567\xc3", -EILSEQ},
                 {"123456789\xc0\x80", -EILSEQ},
                 {"12345678\xed\xa0\x80", -EILSEQ}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        message.data = texts[i].text;
        message.len = strlen(texts[i].text);
        message.is_binary = false;
        assert_int_equal(hub_publish(scene.hub, &message), texts[i].rv);
        message.is_binary = true;
        assert_int_equal(hub_publish(scene.hub, &message), 0);
    }
    assert_int_equal(join(0, "", NULL), -EINVAL);
    assert_int_equal(join(0, name, NULL), -ENAMETOOLONG);
    assert_int_equal(hub_keep(scene.hub, "a", 1, 0), -ERANGE);
    assert_int_equal(hub_keep(scene.hub, "a", 1, TOPIC_REPLAY_MAX + 1), -ERANGE);
    assert_int_equal(hub_keep(scene.hub, "a", 1, TOPIC_REPLAY_MAX), 0);
    assert_int_equal(counts().topics, 1);
}

static void inbox_that_is_full_refuses_and_recovers(void **state)
{
    (void)state;
    const struct hub_limits limits = {.topics = 10, .inbox_bytes = 1000, .topic_bytes = 1000, .replay_bytes = 1000};
    hub_set_limits(scene.hub, &limits);
    assert_int_equal(join(0, "a", NULL), 0);
    int taken = 0;
    while (publish("a", "x") == 0) {
        taken++;
    }
    assert_in_range(taken, 2, 10);
    assert_int_equal(publish("a", "x"), -ENOBUFS);
    assert_int_equal(publish("b", "x"), 0); /* nobody has it */
    assert_int_equal(counts().refused, 2);
    run_all();
    assert_int_equal(publish("a", "y"), 0);
    run_all();
    assert_int_equal(scene.topics.counts.delivered, taken + 1);
}

static void short_memory_changes_nothing(void **state)
{
    (void)state;
    struct hub *other;
    fake_mem_fail_after(1, false);
    assert_int_equal(hub_create(&other, 1), -ENOMEM);
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = join(0, "a", NULL);
        assert_int_equal(counts().subscribers, rv == 0 ? 1 : 0);
        assert_int_equal(counts().topics, rv == 0 ? 1 : 0);
    }
    fake_mem_fail_after(0, false);
    assert_int_equal(hub_keep(scene.hub, "a", 1, 2), 0);
    rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = publish("a", "1");
    }
    fake_mem_fail_after(0, false);
    run_all();
    assert_string_equal(heard(0), "1 ");
    struct topics_replay replay = {.after = id_of(0)};
    fake_mem_fail_after(1, false);
    assert_int_equal(join(1, "a", &replay), -ENOMEM);
    fake_mem_fail_after(2, false); /* the message is lost on the way */
    assert_int_equal(join(1, "a", &replay), 0);
    assert_string_equal(heard(1), "");
    assert_int_equal(scene.topics.counts.skipped, 1);
}

/* Forms. */

static int makes;

static char *make_form(const struct payload *payload, const void *arg, size_t *len)
{
    char *form = mem_alloc(2);
    if (form != NULL) {
        makes++;
        *len = 2;
        memcpy(form, arg, 1);
        form[1] = payload->data[0];
    }
    return form;
}

static const char *forms[2];

static enum delivery take_form(struct subscription *subscription, struct publication *publication)
{
    static const char *const args[] = {"<", ">"};
    size_t len, n = (size_t)(subscription != &scene.listeners[0].subscription);
    const char *form = publication_render(publication, make_form, args[n], &len);
    if (form == NULL) {
        return DELIVERY_SKIPPED;
    }
    assert_int_equal(len, 2);
    assert_memory_equal(form, n == 0 ? "<1" : ">1", 2);
    forms[n] = form;
    publication_put(publication_get(publication));
    return DELIVERY_TAKEN;
}

static void form_is_made_once_for_all_subscribers(void **state)
{
    (void)state;
    makes = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(topics_subscribe(&scene.topics, &scene.listeners[i].subscription, "a", 1, take_form, NULL,
                                          NULL),
                         0);
    }
    assert_int_equal(publish("a", "1"), 0);
    run_all();
    assert_int_equal(makes, 2);
    assert_int_equal(publish("a", "1"), 0);
    fake_mem_fail_after(1, true);
    run_all();
    fake_mem_fail_after(0, false);
    assert_int_equal(makes, 2);
    assert_int_equal(scene.topics.counts.skipped, 5);
}

static void ids_are_texts_and_back(void **state)
{
    (void)state;
    char text[PUBLICATION_ID_TEXT];
    struct publication_id id = {UINT64_MAX, UINT64_MAX}, read;
    assert_int_equal(publication_id_write(id, text), PUBLICATION_ID_TEXT - 1);
    assert_true(publication_id_read(&read, text, strlen(text)));
    assert_int_equal(publication_id_compare(id, read), 0);
    static const char *const bad[] = {
        "",     "-",    "1",   "1-", "-1", "1-2x", "x1-2", "1--2", "18446744073709551616-1", "1-18446744073709551616",
        " 1-2", "1-2 ", "+1-2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(publication_id_read(&read, bad[i], strlen(bad[i])));
    }
    assert_true(publication_id_compare((struct publication_id){1, 2}, (struct publication_id){2, 1}) < 0);
    assert_true(publication_id_compare((struct publication_id){2, 1}, (struct publication_id){2, 0}) > 0);
}

/* The broker. */

static bool broker_publish(void *arg, struct payload *payload)
{
    snprintf(scene.calls + strlen(scene.calls), sizeof scene.calls - strlen(scene.calls), "publish %s %s;",
             payload->topic, payload->data);
    return *(bool *)arg;
}

static void broker_want(void *arg, const char *name, size_t len, bool is_wanted, unsigned replay)
{
    (void)arg;
    snprintf(scene.calls + strlen(scene.calls), sizeof scene.calls - strlen(scene.calls), "%s %.*s %u;",
             is_wanted ? "want" : "leave", (int)len, name, replay);
}

static const struct hub_broker broker = {.publish = broker_publish, .want = broker_want};

static int bring(const char *text, unsigned n, bool is_history)
{
    const struct message_parts message = {
        .topic = "a", .topic_len = 1, .data = text, .len = strlen(text), .id = {n == 0 ? 0 : 5, n}};
    return hub_bring(scene.hub, &message, is_history);
}

static void broker_hears_of_topics_and_brings_messages(void **state)
{
    (void)state;
    bool takes = true;
    assert_int_equal(join(0, "a", NULL), 0);
    hub_set_broker(scene.hub, &broker, &takes);
    assert_int_equal(join(1, "a", NULL), 0);
    assert_int_equal(join(2, "b", NULL), 0);
    assert_int_equal(publish("a", "1"), 0);
    takes = false;
    assert_int_equal(publish("a", "2"), 0);
    topics_unsubscribe(&scene.listeners[2].subscription);
    assert_string_equal(scene.calls, "want a 0;want b 0;publish a 1;publish a 2;leave b 0;");
    run_all();
    assert_string_equal(heard(0), "2 ");
    assert_int_equal(bring("3", 1, false), 0);
    assert_int_equal(bring("3", 1, false), 0); /* it was here */
    assert_int_equal(bring("4", 0, false), 0); /* it has no id there */
    assert_int_equal(hub_last_id(scene.hub, "a", 1).number, 1);
    run_all();
    assert_string_equal(heard(0), "2 3 4 ");
    hub_set_broker(scene.hub, NULL, NULL);
    assert_int_equal(publish("a", "5"), 0);
    run_all();
    assert_string_equal(heard(0), "2 3 4 5 ");
}

static void history_that_a_broker_brings_is_for_those_who_asked_for_it(void **state)
{
    (void)state;
    bool takes = true;
    hub_set_broker(scene.hub, &broker, &takes);
    struct topics_replay replay = {.keep = 3, .after = {5, 2}};
    assert_int_equal(join(0, "a", NULL), 0);
    assert_int_equal(join(1, "a", &replay), 0);
    assert_false(replay.is_lost);
    assert_string_equal(scene.calls, "want a 0;want a 3;");
    hub_begin_history(scene.hub, "a", 1, (struct publication_id){5, 0});
    assert_int_equal(bring("1", 1, true), 0);
    assert_int_equal(bring("2", 2, true), 0);
    assert_int_equal(bring("3", 3, true), 0);
    assert_int_equal(bring("4", 4, false), 0);
    run_all();
    assert_string_equal(heard(0), "4 ");
    assert_string_equal(heard(1), "3 4 ");
    replay.after = (struct publication_id){5, 0};
    assert_int_equal(join(2, "a", &replay), 0);
    assert_string_equal(heard(2), "2 3 4 ");
    assert_true(replay.is_lost);
    replay.after = (struct publication_id){5, 9}; /* from a server that is ahead of this one */
    assert_int_equal(join(3, "a", &replay), 0);
    assert_false(replay.is_lost);
    assert_int_equal(bring("9", 9, false), 0);
    assert_int_equal(bring("10", 10, false), 0);
    run_all();
    assert_string_equal(heard(3), "10 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(messages_reach_subscribers_of_their_topic_in_order),
        TEST(subscriber_gets_what_is_published_from_then_on),
        TEST(last_one_takes_the_topic_along),
        TEST(subscribers_come_and_go_during_a_delivery),
        TEST(many_subscribers_do_not_hold_up_the_loop),
        TEST(before_a_stop_all_is_delivered_at_once),
        TEST(what_is_published_after_all_was_delivered_at_once_comes_as_well),
        TEST(what_a_subscriber_does_not_take_is_counted),
        TEST(messages_of_a_topic_that_wait_can_be_taken_together),
        TEST(batches_have_limits),
        TEST(whoever_leaves_during_a_batch_gets_nothing_more_of_it),
        TEST(kept_topics_have_a_limit),
        TEST(replay_brings_what_was_missed),
        TEST(ids_of_another_time_get_all_that_there_is),
        TEST(replay_ends_with_a_message_that_is_not_taken),
        TEST(replay_outlives_subscribers_until_room_is_needed),
        TEST(replays_have_a_limit_of_bytes),
        TEST(names_and_messages_have_limits),
        TEST(inbox_that_is_full_refuses_and_recovers),
        TEST(short_memory_changes_nothing),
        TEST(form_is_made_once_for_all_subscribers),
        TEST(ids_are_texts_and_back),
        TEST(broker_hears_of_topics_and_brings_messages),
        TEST(history_that_a_broker_brings_is_for_those_who_asked_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
