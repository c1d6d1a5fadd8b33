/* core/hub.c with threads: everybody who subscribes gets everything, in one order, whoever publishes. */

#include "core/hub.h"
#include "core/reactor.h"
#include "core/thread.h"
#include "core/topics.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 3, PUBLISHERS = 3, MESSAGES = 2000, SUBSCRIBERS = 5 };

/* A thread with a reactor, and what its subscribers heard. */
struct side {
    struct reactor *reactor;
    struct topics topics;
    pthread_t thread;
    struct subscription subscriptions[SUBSCRIBERS];
    struct subscription late; /* comes and goes, with a replay */
    uint64_t last_seq[SUBSCRIBERS];
    int next[SUBSCRIBERS][PUBLISHERS]; /* number of the message that is expected of each publisher */
    int heard[SUBSCRIBERS];
    struct publication_id late_id;
    int late_heard, late_joins;
    bool has_failed;
};

static struct hub *hub;
static struct side sides[THREADS];
static atomic_int sides_done;

static enum delivery hear(struct subscription *subscription, struct publication *publication)
{
    struct side *side = subscription->arg;
    size_t n = (size_t)(subscription - side->subscriptions);
    const struct payload *payload = publication->payload;
    int publisher = payload->data[0] - '0', number = atoi(payload->data + 2);
    side->has_failed = side->has_failed || payload->seq <= side->last_seq[n] || number != side->next[n][publisher];
    side->last_seq[n] = payload->seq;
    side->next[n][publisher] = number + 1;
    if (++side->heard[n] == PUBLISHERS * MESSAGES) {
        atomic_fetch_add(&sides_done, 1);
    }
    return DELIVERY_TAKEN;
}

/* Each time with what it had last. */
static enum delivery hear_late(struct subscription *subscription, struct publication *publication)
{
    struct side *side = subscription->arg;
    side->has_failed = side->has_failed || publication->payload->id.number != side->late_id.number + 1;
    side->late_id = publication->payload->id;
    side->late_heard++;
    if (side->late_heard % 7 == 0) {
        topics_unsubscribe(subscription);
    }
    return DELIVERY_TAKEN;
}

static void rejoin(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct side *side = arg;
    (void)reactor;
    (void)timer;
    struct topics_replay replay = {.after = side->late_id};
    if (side->late.topic == NULL) {
        int rv = topics_subscribe(&side->topics, &side->late, "a", 1, hear_late, side, &replay);
        side->has_failed = side->has_failed || (rv != 0 && rv != -ECANCELED) || replay.is_lost;
        side->late_joins++;
    }
}

static void *serve(void *arg)
{
    struct side *side = arg;
    while (atomic_load(&sides_done) < THREADS * SUBSCRIBERS) {
        if (reactor_run_once(side->reactor, 10) < 0) {
            side->has_failed = true;
            break;
        }
    }
    topics_done(&side->topics);
    return NULL;
}

static void *publish(void *arg)
{
    int number = (int)(intptr_t)arg;
    for (int i = 0; i < MESSAGES; i++) {
        char text[32];
        const struct message_parts message = {.topic = "a",
                                              .topic_len = 1,
                                              .data = text,
                                              .len = (size_t)sprintf(text, "%d %d", number, i)};
        while (hub_publish(hub, &message) == -ENOBUFS) {
            sched_yield();
        }
    }
    return NULL;
}

static void all_threads_see_all_messages_in_one_order(void **state)
{
    (void)state;
    pthread_t publishers[PUBLISHERS];
    const struct hub_limits limits = {.topics = 10,
                                      .inbox_bytes = 64 << 10,
                                      .topic_bytes = 8 << 20,
                                      .replay_bytes = 8 << 20};
    assert_int_equal(hub_create(&hub, THREADS), 0);
    hub_set_limits(hub, &limits);
    assert_int_equal(hub_keep(hub, "a", 1, PUBLISHERS * MESSAGES), 0);
    for (int i = 0; i < THREADS; i++) {
        struct side *side = &sides[i];
        assert_int_equal(reactor_create(&side->reactor, NULL), 0);
        topics_init(&side->topics, hub, (unsigned)i, side->reactor);
        for (int n = 0; n < SUBSCRIBERS; n++) {
            assert_int_equal(topics_subscribe(&side->topics, &side->subscriptions[n], "a", 1, hear, side, NULL), 0);
        }
        assert_int_equal(topics_subscribe(&side->topics, &side->late, "a", 1, hear_late, side, NULL), 0);
        assert_int_not_equal(reactor_set_interval(side->reactor, 1, rejoin, side), 0);
        assert_int_equal(thread_start(&side->thread, serve, side), 0);
    }
    for (intptr_t i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(thread_start(&publishers[i], publish, (void *)i), 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        pthread_join(publishers[i], NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        struct side *side = &sides[i];
        pthread_join(side->thread, NULL);
        assert_false(side->has_failed);
        assert_true(side->late_heard > 0);
        reactor_destroy(side->reactor);
    }
    struct hub_counts counts;
    hub_get_counts(hub, &counts);
    assert_int_equal(counts.published, PUBLISHERS * MESSAGES);
    assert_int_equal(counts.subscribers, 0);
    hub_destroy(hub);
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_threads_see_all_messages_in_one_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
