/* Streams of events that are subscribers, on the fake kernel: what clients read, those that are slow, those that come
 * back, and how streams end. */

#include "http/event_stream.h"

#include "core/topics.h"
#include "http/service.h"
#include "http/sse.h"
#include "tests/lib/server_scene.h"

enum { WRITE_CAP = 20000 };

static struct hub *hub;
static struct topics topics;
static struct event_stream_options options;
static int refused; /* what event_stream_begin() said, if not 0 */

static void serve_events(struct exchange *exchange, void *ctx)
{
    refused = event_stream_begin(exchange, ctx);
    if (refused < 0) {
        response_error(exchange, 503, NULL);
    }
}

static const struct handler events = {.serve = serve_events, .ctx = &options};

static void begin(void)
{
    options = (struct event_stream_options){
        .topic = "news",
        .topic_len = 4,
        .heartbeat_ms = EVENT_STREAM_HEARTBEAT_MS,
        .retry_ms = SSE_NO_RETRY,
    };
    refused = 0;
    assert_int_equal(hub_create(&hub, 1), 0);
    topics_init(&topics, hub, 0, scene.reactor);
    set_limit("write_cap", WRITE_CAP);
    set_limit("write_high_mark", 8000);
    add_route(METHOD_GET, "/news", &events);
    add_usual_routes();
    scene_start();
    server_service(scene.server)->topics = &topics;
}

static void end(void)
{
    topics_done(&topics);
    hub_destroy(hub);
    hub = NULL;
}

static void publish_as(const char *data, size_t len, const char *event, bool is_binary)
{
    const struct message_parts message = {
        .topic = "news",
        .topic_len = 4,
        .data = data,
        .len = len,
        .event = event,
        .event_len = event == NULL ? 0 : strlen(event),
        .is_binary = is_binary,
    };
    assert_int_equal(hub_publish(hub, &message), 0);
    settle();
}

static void publish(const char *data)
{
    publish_as(data, strlen(data), NULL, false);
}

static size_t subscribers(void)
{
    return hub_subscribers(hub, "news", 4);
}

static struct fake_peer *listen_to(const char *request)
{
    struct fake_peer *peer = client();
    say(peer, request);
    return peer;
}

/* The content so far, without chunks. Valid until the next call. */
static const char *content(const struct fake_peer *peer)
{
    static char text[200000];
    size_t used = 0;
    const char *at = strstr(fake_peer_output(peer, NULL), "\r\n\r\n");
    assert_non_null(at);
    at += 4;
    for (size_t len; (len = strtoul(at, NULL, 16)) > 0; at += len + 2) {
        at = strchr(at, '\n') + 1;
        assert_true(used + len < sizeof text);
        memcpy(text + used, at, len);
        used += len;
    }
    text[used] = '\0';
    return text;
}

/* How many lines of the content begin so. */
static unsigned count_lines(const struct fake_peer *peer, const char *begin_of_line)
{
    unsigned count = 0;
    for (const char *line = content(peer); line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        count += strncmp(line, begin_of_line, strlen(begin_of_line)) == 0 ? 1 : 0;
    }
    return count;
}

static bool has_proper_end(const struct fake_peer *peer)
{
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    return len > 5 && memcmp(output + len - 5, "0\r\n\r\n", 5) == 0;
}

/* The n-th id that a client got, from 0, as a line. */
static const char *id_of(const struct fake_peer *peer, unsigned n)
{
    static char line[64];
    const char *at = content(peer);
    for (at = strstr(at, "id: "); n > 0 && at != NULL; n--) {
        at = strstr(at + 1, "id: ");
    }
    assert_non_null(at);
    size_t len = strcspn(at + 4, "\n");
    snprintf(line, sizeof line, "%.*s", (int)len, at + 4);
    return line;
}

static struct fake_peer *come_back(const char *last_id)
{
    char request[512];
    snprintf(request, sizeof request, "GET /news HTTP/1.1\r\nHost: a\r\nLast-Event-ID: %s\r\n\r\n", last_id);
    return listen_to(request);
}

static void messages_are_events(void **state)
{
    (void)state;
    begin();
    options.retry_ms = 3000;
    struct fake_peer *peer = listen_to(GET("/news"));
    assert_true(output_has(peer, "HTTP/1.1 200 OK\r\n"));
    assert_true(output_has(peer, "Content-Type: text/event-stream\r\n"));
    assert_true(output_has(peer, "Cache-Control: no-store\r\n"));
    assert_true(output_has(peer, "X-Accel-Buffering: no\r\n"));
    assert_string_equal(content(peer), "retry: 3000\n\n");
    publish("one");
    publish_as("two\r\nlines", 10, "named", false);
    publish_as("\0\1\2", 3, NULL, true);
    publish_as("", 0, NULL, false);
    char expected[512], first[64], second[64], third[64];
    snprintf(first, sizeof first, "%s", id_of(peer, 0));
    snprintf(second, sizeof second, "%s", id_of(peer, 1));
    snprintf(third, sizeof third, "%s", id_of(peer, 2));
    snprintf(expected, sizeof expected,
             "retry: 3000\n\nid: %s\ndata: one\n\nid: %s\nevent: named\ndata: two\ndata: lines\n\n"
             "id: %s\ndata: AAEC\n\nid: %s\ndata: \n\n",
             first, second, third, id_of(peer, 3));
    assert_string_equal(content(peer), expected);
    assert_int_equal(subscribers(), 1);
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_int_equal(subscribers(), 0);
    end();
}

static void head_and_old_clients(void **state)
{
    (void)state;
    begin();
    struct fake_peer *head = listen_to(HEAD("/news") GET_CLOSE("/hello"));
    assert_true(output_has(head, "text/event-stream") && output_has(head, "hello\n"));
    assert_int_equal(subscribers(), 0);
    struct fake_peer *old = listen_to("GET /news HTTP/1.0\r\n\r\n");
    publish("one");
    assert_true(output_has(old, "\ndata: one\n\n"));
    assert_false(output_has(old, "chunked"));
    fake_peer_close(old);
    settle();
    assert_int_equal(subscribers(), 0);
    end();
}

static void fields_of_the_handler_are_kept(struct exchange *exchange, void *ctx)
{
    (void)response_add_field(exchange, "Cache-Control", 13, "private", 7);
    serve_events(exchange, ctx);
}

static void fields_that_were_added_stay(void **state)
{
    (void)state;
    static const struct handler with_field = {.serve = fields_of_the_handler_are_kept, .ctx = &options};
    add_route(METHOD_GET, "/field", &with_field);
    begin();
    struct fake_peer *peer = listen_to(GET("/field"));
    assert_true(output_has(peer, "Cache-Control: private\r\n"));
    assert_false(output_has(peer, "no-store"));
    end();
}

static void comments_come_every_15_seconds(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = listen_to(GET("/news"));
    pass_ms(EVENT_STREAM_HEARTBEAT_MS / 2 - 100);
    assert_string_equal(content(peer), "");
    pass_ms(EVENT_STREAM_HEARTBEAT_MS / 2 + 100);
    assert_string_equal(content(peer), ":\n\n");
    pass_ms(EVENT_STREAM_HEARTBEAT_MS);
    assert_string_equal(content(peer), ":\n\n:\n\n");
    options.heartbeat_ms = 0;
    struct fake_peer *silent = listen_to(GET("/news"));
    pass_ms(3600000);
    assert_string_equal(content(silent), "");
    end();
}

/* Streams that begin together have their comments at different times. */
static void comments_are_spread(void **state)
{
    (void)state;
    static char places[100 * 1024];
    unsigned early = 0, late = 0;
    for (size_t i = 0; i < 100; i++) {
        uint32_t ms = event_stream_first_ms(EVENT_STREAM_HEARTBEAT_MS, places + i * 1024);
        assert_in_range(ms, EVENT_STREAM_HEARTBEAT_MS / 2, EVENT_STREAM_HEARTBEAT_MS);
        early += ms < EVENT_STREAM_HEARTBEAT_MS * 5 / 8 ? 1 : 0;
        late += ms > EVENT_STREAM_HEARTBEAT_MS * 7 / 8 ? 1 : 0;
    }
    assert_in_range(early, 15, 35);
    assert_in_range(late, 15, 35);
}

static void who_comes_back_gets_what_was_missed(void **state)
{
    (void)state;
    begin();
    options.replay = 3;
    struct fake_peer *peer = listen_to(GET("/news"));
    publish("a");
    publish("b");
    publish("c");
    char a[64], b[64];
    snprintf(a, sizeof a, "%s", id_of(peer, 0));
    snprintf(b, sizeof b, "%s", id_of(peer, 1));
    struct fake_peer *back = come_back(b);
    publish("d"); /* a is no longer kept */
    assert_int_equal(count_lines(back, "data: "), 2);
    assert_non_null(strstr(content(back), "\ndata: c\n"));
    assert_non_null(strstr(content(back), "\ndata: d\n"));
    assert_null(strstr(content(back), "event: lost"));
    char by_query[256];
    snprintf(by_query, sizeof by_query, "GET /news?x=1&lastEventId=%s HTTP/1.1\r\nHost: a\r\n\r\n", b);
    assert_int_equal(count_lines(listen_to(by_query), "data: "), 2);
    assert_int_equal(count_lines(listen_to(GET("/news?lastEventId=")), "data: "), 0);
    struct fake_peer *all = listen_to(GET("/news?lastEventId=earliest"));
    assert_int_equal(count_lines(all, "data: "), 3);
    assert_null(strstr(content(all), "event: lost"));
    publish("e"); /* now b is not kept either: whoever has a has missed b */
    struct fake_peer *late = come_back(a);
    assert_memory_equal(content(late), "event: lost\ndata: \n\nid: ", 24);
    assert_int_equal(count_lines(late, "data: "), 4);
    end();
}

static void ids_of_others_count_as_lost(void **state)
{
    (void)state;
    begin();
    options.replay = 2;
    struct fake_peer *peer = listen_to(GET("/news"));
    publish("a");
    publish("b");
    assert_int_equal(count_lines(peer, "data: "), 2);
    char longest[2 * EVENT_STREAM_ID_MAX];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const ids[] = {"7", "x", "18446744073709551615-1", "earliest-", longest};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct fake_peer *other = come_back(ids[i]);
        assert_memory_equal(content(other), "event: lost\ndata: \n\n", 20);
        assert_int_equal(count_lines(other, "data: "), 3);
    }
    end();
}

static char *make_text(size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = '\0';
    return text;
}

/* What a slow client has in its queue, and in line, is sent; then the stream ends. */
static void a_client_that_is_too_slow_comes_back(void **state)
{
    (void)state;
    begin();
    options.replay = 100;
    char *text = make_text(2000);
    struct fake_peer *slow = listen_to(GET("/news")), *quick = listen_to(GET("/news"));
    fake_peer_set_room(slow, 0);
    unsigned taken = 0;
    while (subscribers() == 2 && taken < 100) {
        publish(text);
        taken++;
    }
    taken--;                        /* the last one had no room */
    assert_in_range(taken, 15, 20); /* as much as write_cap twice: in the queue, and in line */
    assert_int_equal(count_lines(quick, "data: "), taken + 1);
    fake_peer_set_room(slow, -1);
    settle();
    assert_int_equal(count_lines(slow, "data: "), taken);
    assert_true(has_proper_end(slow));
    assert_int_equal(topics.counts.ended, 1);
    struct fake_peer *back = come_back(id_of(slow, taken - 1));
    assert_int_equal(count_lines(back, "data: "), 1);
    free(text);
    end();
}

static void a_client_that_is_too_slow_may_miss_events(void **state)
{
    (void)state;
    begin();
    options.skips = true;
    char *text = make_text(2000);
    struct fake_peer *slow = listen_to(GET("/news"));
    fake_peer_set_room(slow, 0);
    for (int i = 0; i < 50; i++) {
        publish(text);
    }
    assert_int_equal(subscribers(), 1);
    assert_in_range(topics.counts.skipped, 30, 35);
    fake_peer_set_room(slow, -1);
    settle();
    assert_int_equal(count_lines(slow, "data: ") + topics.counts.skipped, 50);
    publish("again");
    assert_non_null(strstr(content(slow), "\ndata: again\n"));
    assert_false(has_proper_end(slow));
    free(text);
    end();
}

/* One message alone may be larger than write_cap: it goes out piece by piece. */
static void a_message_may_be_larger_than_write_cap(void **state)
{
    (void)state;
    begin();
    char *text = make_text(6 * WRITE_CAP);
    struct fake_peer *peer = listen_to(GET("/news"));
    publish(text);
    publish("next");
    assert_int_equal(count_lines(peer, "data: "), 2);
    assert_non_null(strstr(content(peer), "x\n\nid: "));
    assert_int_equal(strlen(strstr(content(peer), "data: ")) > 6 * WRITE_CAP, 1);
    fake_peer_set_room(peer, 0);
    publish(text);
    fake_peer_reset(peer, ECONNRESET); /* with some of it in line */
    settle();
    assert_int_equal(subscribers(), 0);
    free(text);
    end();
}

static void a_replay_may_be_larger_than_write_cap(void **state)
{
    (void)state;
    begin();
    options.replay = 50;
    char *text = make_text(2000);
    struct fake_peer *first = listen_to(GET("/news"));
    for (int i = 0; i < 50; i++) {
        publish(text);
    }
    struct fake_peer *slow = client();
    fake_peer_set_room(slow, 0);
    say(slow, GET("/news?lastEventId=earliest"));
    publish("live");
    publish("more");
    assert_int_equal(subscribers(), 2);
    fake_peer_set_room(slow, -1);
    settle();
    assert_int_equal(count_lines(slow, "data: "), 52);
    assert_string_equal(strstr(content(slow), "data: more"), "data: more\n\n");
    assert_int_equal(count_lines(first, "data: "), 52);
    free(text);
    end();
}

static void clients_that_read_nothing_hold_no_copies_of_a_replay(void **state)
{
    (void)state;
    enum { COUNT = 10, MESSAGES = 50, LEN = 20000, REPLAY = MESSAGES * LEN };
    begin();
    options.replay = MESSAGES;
    char *text = make_text(LEN);
    fake_peer_reset(listen_to(GET("/news")), ECONNRESET); /* from now on messages are kept */
    settle();
    for (int i = 0; i < MESSAGES; i++) {
        publish(text);
    }
    size_t before = fake_mem_live_bytes();
    assert_true(before > REPLAY);
    struct fake_peer *peers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        peers[i] = client();
        fake_peer_set_room(peers[i], 0);
        say(peers[i], GET("/news?lastEventId=earliest"));
    }
    assert_int_equal(subscribers(), COUNT);
    size_t each = (fake_mem_live_bytes() - before) / COUNT;
    assert_true(each < WRITE_CAP + 40000 && each < REPLAY / 10);
    for (int i = 0; i < COUNT; i++) {
        fake_peer_set_room(peers[i], -1);
        settle();
        assert_int_equal(count_in_output(peers[i], "\ndata: "), MESSAGES);
    }
    free(text);
    end();
}

static void on_drained(void *arg, unsigned cut)
{
    (void)arg;
    assert_int_equal(cut, 0);
}

static void a_stop_sends_what_is_queued_and_ends(void **state)
{
    (void)state;
    begin();
    char *text = make_text(3 * WRITE_CAP);
    struct fake_peer *slow = listen_to(GET("/news")), *quick = listen_to(GET("/news"));
    fake_peer_set_room(slow, 0);
    publish(text);
    server_drain(scene.server, 10000, on_drained, NULL);
    settle();
    assert_int_equal(subscribers(), 0);
    assert_true(has_proper_end(quick));
    fake_peer_set_room(slow, -1);
    settle();
    assert_int_equal(count_lines(slow, "data: "), 1);
    assert_true(has_proper_end(slow));
    free(text);
    end();
}

static void clients_of_a_replaced_site_leave_one_by_one(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    begin();
    struct fake_peer *peers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        peers[i] = listen_to(GET("/news"));
    }
    struct site *other;
    assert_int_equal(site_create(&other, &scene.log), 0);
    server_set_site(scene.server, other);
    settle();
    assert_int_equal(subscribers(), COUNT);
    publish("still here");
    assert_non_null(strstr(content(peers[0]), "still here"));
    size_t half = 0;
    for (int64_t ms = 0; ms < EVENT_STREAM_RELOAD_MS; ms += 1000) {
        pass_ms(1000);
        half = ms == EVENT_STREAM_RELOAD_MS / 2 ? subscribers() : half;
    }
    assert_in_range(half, 1, COUNT - 1);
    assert_int_equal(subscribers(), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_true(has_proper_end(peers[i]));
    }
    server_set_site(scene.server, scene.site);
    site_destroy(other);
    end();
}

static void a_stop_after_a_reload_ends_all_at_once(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = listen_to(GET("/news"));
    struct site *other;
    assert_int_equal(site_create(&other, &scene.log), 0);
    server_set_site(scene.server, other);
    settle();
    assert_int_equal(subscribers(), 1);
    server_drain(scene.server, 10000, on_drained, NULL);
    settle();
    assert_int_equal(subscribers(), 0);
    assert_true(has_proper_end(peer));
    server_set_site(scene.server, scene.site);
    site_destroy(other);
    end();
}

static void bad_topics_are_refused_before_the_response(void **state)
{
    (void)state;
    static char long_name[TOPIC_NAME_MAX + 2];
    memset(long_name, 'n', sizeof long_name - 1);
    begin();
    options.topic_len = 0;
    assert_string_equal(statuses(listen_to(GET("/news"))), "503");
    assert_int_equal(refused, -EINVAL);
    options.topic = long_name;
    options.topic_len = sizeof long_name - 1;
    assert_string_equal(statuses(listen_to(GET("/news"))), "503");
    assert_int_equal(refused, -ENAMETOOLONG);
    options.topic_len--;
    assert_true(output_has(listen_to(GET("/news")), "200 OK"));
    hub_set_limits(hub, &(struct hub_limits){
                            .topics = 1, .inbox_bytes = 1 << 20, .topic_bytes = 1 << 20, .replay_bytes = 1 << 20});
    options.topic = "another";
    options.topic_len = 7;
    assert_string_equal(statuses(listen_to(GET("/news"))), "503");
    assert_int_equal(refused, -ENOSPC);
    server_service(scene.server)->topics = NULL;
    assert_string_equal(statuses(listen_to(GET("/news"))), "503");
    assert_int_equal(refused, -EOPNOTSUPP);
    end();
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    begin();
    options.replay = 10;
    char *text = make_text(3 * WRITE_CAP);
    say(client(), GET_CLOSE("/hello"));
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        fake_peer_send_text(peer, GET("/news?lastEventId=earliest"));
        settle();
        const struct message_parts message = {.topic = "news", .topic_len = 4, .data = text, .len = 3 * WRITE_CAP};
        (void)hub_publish(hub, &message);
        settle();
        pass_ms(EVENT_STREAM_HEARTBEAT_MS);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        fake_peer_reset(peer, ECONNRESET);
        settle();
        assert_int_equal(subscribers(), 0);
    }
    free(text);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(messages_are_events),
        SCENE_TEST(head_and_old_clients),
        SCENE_TEST(fields_that_were_added_stay),
        SCENE_TEST(comments_come_every_15_seconds),
        cmocka_unit_test(comments_are_spread),
        SCENE_TEST(who_comes_back_gets_what_was_missed),
        SCENE_TEST(ids_of_others_count_as_lost),
        SCENE_TEST(a_client_that_is_too_slow_comes_back),
        SCENE_TEST(a_client_that_is_too_slow_may_miss_events),
        SCENE_TEST(a_message_may_be_larger_than_write_cap),
        SCENE_TEST(a_replay_may_be_larger_than_write_cap),
        SCENE_TEST(clients_that_read_nothing_hold_no_copies_of_a_replay),
        SCENE_TEST(a_stop_sends_what_is_queued_and_ends),
        SCENE_TEST(clients_of_a_replaced_site_leave_one_by_one),
        SCENE_TEST(a_stop_after_a_reload_ends_all_at_once),
        SCENE_TEST(bad_topics_are_refused_before_the_response),
        SCENE_TEST(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
