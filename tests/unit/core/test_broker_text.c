/* core/broker_text.c, core/broker_topic.c and core/broker_queue.c: messages as they are in Redis, what is known of
 * other servers, and letters on their way. */

#include "core/broker_queue.h"
#include "core/broker_text.h"
#include "core/broker_topic.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void topics_have_channels_and_keys(void **state)
{
    struct broker_name name;
    const char *topic;
    size_t len;
    (void)state;
    broker_channel(&name, 3, "a:b c", 5);
    assert_string_equal(name.text, "evserve:3:a:b c");
    assert_true(broker_topic_of(name.text, name.len, 3, &topic, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(topic, "a:b c", 5);
    assert_false(broker_topic_of(name.text, name.len, 30, &topic, &len));
    assert_false(broker_topic_of("evserve:3:", 10, 3, &topic, &len));
    broker_stream(&name, "news", 4);
    assert_string_equal(name.text, "evserve:replay:news");
    broker_keep_key(&name, "news", 4);
    assert_string_equal(name.text, "evserve:keep:news");
    char longest[TOPIC_NAME_MAX];
    memset(longest, 'x', sizeof longest);
    broker_channel(&name, 1000000, longest, sizeof longest);
    assert_int_equal(name.len, strlen("evserve:1000000:") + sizeof longest);
    assert_int_equal(strlen(name.text), name.len);
}

static void messages_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int binary = 0; binary <= 1; binary++) {
        for (size_t event_len = 0; event_len <= TOPIC_EVENT_MAX; event_len += TOPIC_EVENT_MAX / 2) {
            char event[TOPIC_EVENT_MAX], head[BROKER_HEAD_MAX], text[BROKER_HEAD_MAX + 64];
            memset(event, ' ', sizeof event);
            struct broker_origin origin = {UINT64_C(0xfedcba9876543210), UINT64_MAX}, read;
            size_t head_len = broker_write_head(head, origin, binary != 0, event, event_len);
            int len = snprintf(text, sizeof text, "1764536400000-17 %.*se1 data\n", (int)head_len, head);
            struct message_parts parts = {.data = NULL};
            broker_read_channel(text, (size_t)len, &parts, &read);
            assert_int_equal(read.node, origin.node);
            assert_int_equal(read.number, origin.number);
            assert_int_equal(parts.is_binary, binary);
            assert_int_equal(parts.event_len, event_len);
            assert_int_equal(parts.id.ms, 1764536400000);
            assert_int_equal(parts.id.number, 17);
            assert_int_equal(parts.len, 8);
            assert_memory_equal(parts.data, "e1 data\n", 8);
            broker_read_channel(text, head_len + 16, &parts, &read); /* the line's end is missing */
            assert_int_equal(read.node, 0);
            assert_int_equal(parts.len, head_len + 16);
        }
    }
    struct message_parts parts = {.data = NULL};
    struct broker_origin origin;
    static const char without_id[] = "- e1 0000000000000001 0000000000000002 t \nx";
    broker_read_channel(without_id, sizeof without_id - 1, &parts, &origin);
    assert_true(origin.node == 1 && origin.number == 2 && parts.id.ms == 0 && parts.len == 1);
}

static void what_other_programs_publish_is_text(void **state)
{
    static const char *const texts[] = {
        "",
        "hello",
        "- hello",
        "1-1 hello",
        "e1 ",
        "- e1 000000000000000X 0000000000000002 t \nx",
        "- e1 0000000000000001 000000000000000A t \nx",
        "- e1 0000000000000001 0000000000000002 x \nx",
        "- e1 0000000000000000 0000000000000002 t \nx",
        "- e1 0000000000000001_0000000000000002 t \nx",
        "- e1 0000000000000001 0000000000000002_t \nx",
        "- e1 0000000000000001 0000000000000002 t x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct message_parts parts = {.is_binary = true, .event_len = 3};
        struct broker_origin origin = {1, 1};
        broker_read_channel(texts[i], strlen(texts[i]), &parts, &origin);
        assert_int_equal(origin.node, 0);
        assert_ptr_equal(parts.data, texts[i]);
        assert_int_equal(parts.len, strlen(texts[i]));
        assert_true(!parts.is_binary && parts.event_len == 0 && parts.id.ms == 0);
    }
}

static void repeated_messages_are_known(void **state)
{
    (void)state;
    struct broker_topic *topic = broker_topic_create("a", 1, 7);
    assert_true(broker_topic_is_news(topic, (struct broker_origin){1, 5}));
    assert_false(broker_topic_is_news(topic, (struct broker_origin){1, 5}));
    assert_false(broker_topic_is_news(topic, (struct broker_origin){1, 4}));
    assert_true(broker_topic_is_news(topic, (struct broker_origin){1, 6}));
    assert_true(broker_topic_is_news(topic, (struct broker_origin){0, 1})); /* other programs have no numbers */
    assert_true(broker_topic_is_news(topic, (struct broker_origin){0, 1}));
    for (uint64_t node = 2; node <= BROKER_NODES_MAX; node++) {
        assert_true(broker_topic_is_news(topic, (struct broker_origin){node, 5}));
    }
    assert_false(broker_topic_is_news(topic, (struct broker_origin){1, 6}));
    assert_true(
        broker_topic_is_news(topic, (struct broker_origin){1000, 1})); /* one too many: the oldest is forgotten */
    assert_true(broker_topic_is_news(topic, (struct broker_origin){1, 6}));
    broker_topic_destroy(topic);
    broker_topic_destroy(NULL);

    fake_mem_fail_after(1, false);
    assert_null(broker_topic_create("a", 1, 7));
    topic = broker_topic_create("a", 1, 7);
    fake_mem_fail_after(1, false);
    assert_true(broker_topic_is_news(topic, (struct broker_origin){1, 5}));
    assert_true(broker_topic_is_news(topic, (struct broker_origin){1, 5})); /* it could not be noted */
    assert_false(broker_topic_is_news(topic, (struct broker_origin){1, 5}));
    broker_topic_destroy(topic);
}

static struct payload *make_payload(size_t len)
{
    static char data[PUBLICATION_BYTES_MAX];
    const struct message_parts parts = {.topic = "a", .topic_len = 1, .data = data, .len = len, .event = ""};
    return payload_create(&parts);
}

static void letters_stay_until_they_are_confirmed_and_back(void **state)
{
    (void)state;
    struct broker_queue queue = {.first = NULL};
    struct payload *payload = make_payload(1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(broker_queue_add(&queue, payload, i == 1), 0);
    }
    assert_null(queue.first);
    broker_queue_take(&queue);
    broker_queue_take(&queue);
    struct broker_letter *second = broker_queue_find(&queue, 2);
    assert_true(queue.first->number == 1 && second->number == 2 && queue.last->number == 3);
    assert_null(broker_queue_find(&queue, 4));
    while (queue.unsent != NULL) {
        broker_queue_note_sent(&queue, queue.unsent);
    }
    queue.first->is_confirmed = second->is_confirmed = true;
    assert_true(broker_queue_drop(&queue, queue.first) > 0);
    assert_int_equal(broker_queue_drop(&queue, second), 0); /* it has not come back */
    assert_int_equal(broker_queue_drop(&queue, queue.last), 0);
    broker_queue_rewind(&queue);
    assert_true(queue.unsent == queue.last && second->is_sent && !queue.last->is_sent);
    broker_queue_note_sent(&queue, queue.unsent);
    broker_queue_return(&queue, queue.last);
    assert_ptr_equal(queue.unsent, queue.last);
    second->comes_back = false;
    assert_true(broker_queue_drop(&queue, second) > 0);
    assert_true(queue.first == queue.last && queue.first->prev == NULL);
    broker_queue_done(&queue);
    fake_mem_fail_after(1, false);
    assert_int_equal(broker_queue_add(&queue, payload, false), -ENOMEM);
    payload_put(payload);
}

static void queue_has_a_limit(void **state)
{
    (void)state;
    struct broker_queue queue = {.first = NULL};
    struct payload *payload = make_payload(PUBLICATION_BYTES_MAX);
    size_t bytes = payload_bytes(payload) + sizeof(struct broker_letter);
    while (queue.bytes + bytes <= BROKER_QUEUE_MAX) {
        assert_int_equal(broker_queue_add(&queue, payload, false), 0);
    }
    assert_int_equal(broker_queue_add(&queue, payload, false), -ENOBUFS);
    payload_put(payload);
    size_t rest = BROKER_QUEUE_MAX - queue.bytes - (bytes - PUBLICATION_BYTES_MAX);
    payload = make_payload(rest + 1);
    assert_int_equal(broker_queue_add(&queue, payload, false), -ENOBUFS);
    payload_put(payload);
    payload = make_payload(rest);
    assert_int_equal(broker_queue_add(&queue, payload, false), 0);
    payload_put(payload);
    assert_int_equal(queue.bytes, BROKER_QUEUE_MAX);
    broker_queue_done(&queue);
}

static int leaves_nothing(void **state)
{
    (void)state;
    return fake_mem_live() == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_have_channels_and_keys),
        cmocka_unit_test(messages_are_read_as_they_were_written),
        cmocka_unit_test(what_other_programs_publish_is_text),
        cmocka_unit_test_teardown(repeated_messages_are_known, leaves_nothing),
        cmocka_unit_test_teardown(letters_stay_until_they_are_confirmed_and_back, leaves_nothing),
        cmocka_unit_test_teardown(queue_has_a_limit, leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
