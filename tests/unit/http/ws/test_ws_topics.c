/* WebSockets that subscribe to topics: one frame for all of them, clients that are behind, and the end. */

#include "core/hub.h"
#include "core/topics.h"
#include "http/service.h"
#include "http/ws/ws_deflate.h"
#include "http/ws/ws_topics.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

enum { CLIENTS = 5 };

static struct hub *hub;
static struct topics topics;

static int set_up(void **state)
{
    if (ws_set_up(state) != 0 || hub_create(&hub, 1) < 0) {
        return -1;
    }
    topics_init(&topics, hub, 0, scene.reactor);
    server_service(scene.server)->topics = &topics;
    return 0;
}

static int tear_down(void **state)
{
    topics_done(&topics);
    hub_destroy(hub);
    hub = NULL;
    return ws_tear_down(state);
}

static int publish(const char *topic, const char *text, size_t len)
{
    const struct message_parts message = {.topic = topic, .topic_len = strlen(topic), .data = text, .len = len};
    return hub_publish(hub, &message);
}

static struct fake_peer *subscriber(const char *topic, bool skips)
{
    struct fake_peer *peer = ws_client();
    assert_int_equal(ws_subscribe(heard.ws, topic, strlen(topic), skips), 0);
    return peer;
}

static void all_subscribers_get_a_message_at_once(void **state)
{
    (void)state;
    struct fake_peer *peers[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        peers[i] = subscriber("a", false);
    }
    struct fake_peer *other = subscriber("b", false);
    uint64_t sends = fake_sys_count(FAKE_SEND), changes = count_epoll_changes();
    assert_int_equal(publish("a", "hello", 5), 0);
    uint64_t calls = fake_mem_calls();
    settle();
    assert_int_equal(fake_mem_calls() - calls, 2); /* the frame, whoever gets it */
    assert_int_equal(fake_sys_count(FAKE_SEND) - sends, CLIENTS);
    assert_int_equal(count_epoll_changes() - changes, 0);
    for (int i = 0; i < CLIENTS; i++) {
        assert_string_equal(ws_answers(peers[i]), "text hello; ");
    }
    assert_string_equal(ws_answers(other), "");
    struct message_parts binary = {.topic = "b", .topic_len = 1, .data = "\xff", .len = 1, .is_binary = true};
    assert_int_equal(hub_publish(hub, &binary), 0);
    settle();
    assert_string_equal(ws_answers(other), "binary \xff; ");
    assert_int_equal(stats().ws_sent, CLIENTS + 1);
}

/* A subscriber that agreed on permessage-deflate. */
static struct fake_peer *deflate_subscriber(const char *offer)
{
    char request[512];
    struct fake_peer *peer = client();
    snprintf(request, sizeof request, WS_HELLO "Sec-WebSocket-Extensions: permessage-deflate%s\r\n\r\n", offer);
    say(peer, request);
    assert_true(output_has(peer, "Sec-WebSocket-Extensions: permessage-deflate"));
    fake_peer_forget_output(peer);
    assert_int_equal(ws_subscribe(heard.ws, "a", 1, false), 0);
    return peer;
}

static void a_message_is_compressed_once_for_those_who_agreed_on_that(void **state)
{
    (void)state;
    char text[1000];
    size_t len, other_len;
    if (!ws_deflate_is_there()) {
        skip();
    }
    memset(text, 'x', sizeof text);
    ws_scene_options.compress_min = WS_COMPRESS_MIN_BYTES;
    struct fake_peer *plain = subscriber("a", false);
    struct fake_peer *one = deflate_subscriber(""), *other = deflate_subscriber("; server_no_context_takeover");
    struct fake_peer *narrow = deflate_subscriber("; server_max_window_bits=10");
    assert_int_equal(publish("a", text, sizeof text), 0);
    uint64_t calls = fake_mem_calls();
    settle();
    uint64_t first_calls = fake_mem_calls() - calls;
    assert_string_equal(ws_answers(plain), "text [1000]; ");
    assert_string_equal(ws_answers(narrow), "text [1000]; "); /* its window may be smaller than that of the others */
    const char *data = fake_peer_output(one, &len);
    assert_int_equal((unsigned char)data[0], 0xc1);
    assert_in_range(len, 3, 100);
    const char *other_data = fake_peer_output(other, &other_len);
    assert_int_equal(len, other_len);
    assert_memory_equal(data, other_data, len);
    fake_peer_forget_output(one);
    fake_peer_forget_output(other);
    calls = fake_mem_calls();
    assert_int_equal(publish("a", text, sizeof text), 0);
    settle();
    assert_in_range(fake_mem_calls() - calls, 1, first_calls); /* no deflater any more */
    fake_peer_forget_output(one);
    assert_int_equal(publish("a", text, 255), 0);
    settle();
    assert_string_equal(ws_answers(one), "text [255]; ");
}

static void a_topic_is_subscribed_to_once_and_left_once(void **state)
{
    (void)state;
    struct fake_peer *peer = subscriber("a", false);
    assert_int_equal(ws_subscribe(heard.ws, "a", 1, true), 0);
    assert_int_equal(ws_subscribe(heard.ws, "b", 1, false), 0);
    assert_int_equal(hub_subscribers(hub, "a", 1), 1);
    assert_int_equal(ws_unsubscribe(heard.ws, "a", 1), 0);
    assert_int_equal(ws_unsubscribe(heard.ws, "a", 1), -ENOENT);
    assert_int_equal(ws_unsubscribe(heard.ws, "", 0), -ENOENT);
    assert_int_equal(publish("a", "1", 1), 0);
    assert_int_equal(publish("b", "2", 1), 0);
    settle();
    assert_string_equal(ws_answers(peer), "text 2; ");
    assert_int_equal(ws_subscribe(heard.ws, "", 0, false), -EINVAL);
    char name[16];
    for (int i = 1; i < WS_TOPICS_MAX; i++) {
        assert_int_equal(ws_subscribe(heard.ws, name, (size_t)sprintf(name, "t%d", i), false), 0);
    }
    assert_int_equal(ws_subscribe(heard.ws, "c", 1, false), -E2BIG);
    fake_peer_close(peer);
    settle();
    struct hub_counts counts;
    hub_get_counts(hub, &counts);
    assert_int_equal(counts.topics, 0);
}

static void whoever_closes_gets_nothing_more(void **state)
{
    (void)state;
    struct fake_peer *peer = subscriber("a", false);
    struct ws *ws = heard.ws;
    assert_int_equal(ws_close(ws, 1000, "", 0), 0);
    assert_int_equal(ws_subscribe(ws, "b", 1, false), -EPIPE);
    assert_int_equal(publish("a", "1", 1), 0);
    settle();
    assert_string_equal(ws_answers(peer), "close 1000 ; ");
    assert_int_equal(hub_subscribers(hub, "a", 1), 1);
    ws_say(peer, WS_OP_CLOSE, "\x03\xe8");
    settle();
    assert_int_equal(hub_subscribers(hub, "a", 1), 0);
    assert_int_equal(topics.counts.skipped, 1);
}

static void those_that_are_behind_are_cut_or_miss_messages(void **state)
{
    (void)state;
    static char text[1000];
    memset(text, 'x', sizeof text);
    ws_scene_options.high_mark = 2000;
    ws_scene_options.write_cap = 4000;
    struct fake_peer *fast = subscriber("a", false), *cut = subscriber("a", false), *skipping = subscriber("a", true);
    fake_peer_set_room(cut, 0);
    fake_peer_set_room(skipping, 500);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(publish("a", text, sizeof text), 0);
        settle();
        assert_string_equal(ws_answers(fast), "text [1000]; ");
    }
    assert_true(is_closed(cut));
    assert_int_equal(topics.counts.ended, 1);
    assert_int_equal(hub_subscribers(hub, "a", 1), 2);
    assert_in_range(topics.counts.skipped, 15, 19);
    fake_peer_set_window(skipping, 1 << 20);
    settle();
    publish("a", "end", 3);
    settle();
    assert_string_equal(ws_answers(skipping), "text [1000]; text [1000]; text [1000]; text end; ");
}

static void lost_clients_and_short_memory_harm_nobody_else(void **state)
{
    (void)state;
    struct fake_peer *first = subscriber("a", false), *lost = subscriber("a", false), *last = subscriber("a", false);
    struct ws *ws = heard.ws;
    fake_peer_reset(lost, ECONNRESET);
    assert_int_equal(publish("a", "1", 1), 0);
    settle();
    assert_true(is_closed(lost));
    assert_string_equal(ws_answers(first), "text 1; ");
    assert_string_equal(ws_answers(last), "text 1; ");
    assert_int_equal(publish("a", "2", 1), 0);
    fake_mem_fail_after(1, true);
    settle();
    fake_mem_fail_after(0, false);
    assert_int_equal(publish("a", "3", 1), 0);
    settle();
    assert_string_equal(ws_answers(first), "text 3; ");
    for (int i = 0; server_service(scene.server)->ws_subscriptions.first != NULL; i++) { /* until a slab is full */
        char name[16];
        assert_int_equal(ws_subscribe(ws, name, (size_t)sprintf(name, "more %d", i), false), 0);
    }
    for (uint64_t n = 1; n <= 3; n++) {
        fake_mem_fail_after(n, true);
        assert_int_equal(ws_subscribe(ws, "new", 3, false), -ENOMEM);
    }
    fake_mem_fail_after(0, false);
    server_service(scene.server)->topics = NULL;
    assert_int_equal(ws_subscribe(ws, "new", 3, false), -ENOTSUP);
}

/* However many messages wait, they leave with one system call for each client; whoever came in between gets what was
 * published after that. */
static void messages_that_wait_leave_together(void **state)
{
    (void)state;
    struct fake_peer *first = subscriber("a", false), *slow = subscriber("a", false);
    fake_peer_set_room(slow, 9);
    assert_int_equal(publish("a", "1", 1), 0);
    struct fake_peer *late = ws_client();
    fake_peer_forget_output(first);
    assert_int_equal(publish("a", "one", 3), 0);
    assert_int_equal(publish("a", "two", 3), 0);
    assert_int_equal(ws_subscribe(heard.ws, "a", 1, false), 0);
    assert_int_equal(publish("a", "three", 5), 0);
    assert_int_equal(publish("a", "", 0), 0);
    uint64_t sends = fake_sys_count(FAKE_SEND);
    settle();
    assert_int_equal(fake_sys_count(FAKE_SEND) - sends, 4); /* twice to the one that has no room for all of it */
    assert_string_equal(ws_answers(first), "text one; text two; text three; text ; ");
    assert_string_equal(ws_answers(late), "text three; text ; ");
    fake_peer_set_window(slow, 1000);
    settle();
    assert_string_equal(ws_answers(slow), "text 1; text one; text two; text three; text ; ");
    for (uint64_t n = 1; n < 12; n++) { /* what there is memory for arrives whole, and in order */
        assert_int_equal(publish("a", "x", 1), 0);
        assert_int_equal(publish("a", "y", 1), 0);
        fake_mem_fail_after(n, false);
        settle();
        fake_mem_fail_after(0, false);
        const char *got = ws_answers(first);
        assert_true(strcmp(got, "text x; text y; ") == 0 || strcmp(got, "text x; ") == 0 ||
                    strcmp(got, "text y; ") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TOPIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
        TOPIC_TEST(all_subscribers_get_a_message_at_once),
        TOPIC_TEST(a_message_is_compressed_once_for_those_who_agreed_on_that),
        TOPIC_TEST(a_topic_is_subscribed_to_once_and_left_once),
        TOPIC_TEST(whoever_closes_gets_nothing_more),
        TOPIC_TEST(those_that_are_behind_are_cut_or_miss_messages),
        TOPIC_TEST(messages_that_wait_leave_together),
        TOPIC_TEST(lost_clients_and_short_memory_harm_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
