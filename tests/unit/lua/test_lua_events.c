/* app.events on the fake kernel: when comments come, and that nothing is left of a stream, however it ends and whatever
 * fails on its way. */

#include "lua/state.h"
#include "tests/lib/lua_scene.h"

static struct scene *open_events_site(void)
{
    static const char site[] = APP "app.get('/silent', function()\n"
                                   "    return app.events(function(events)\n"
                                   "        events:send 'begun'\n"
                                   "        app.sleep '1h'\n"
                                   "    end)\n"
                                   "end)\n"
                                   "app.get('/short', function()\n"
                                   "    return app.events(function(events)\n"
                                   "        events:send { data = { n = 1 }, id = 7, event = 'e' }\n"
                                   "        events:comment()\n"
                                   "        app.sleep '20ms'\n"
                                   "        events:send 'end'\n"
                                   "    end, { retry = '3s', heartbeat = '100ms' })\n"
                                   "end)\n"
                                   "app.get('/plain', function() return 'plain' end)\n";
    return scene_open(site);
}

static unsigned count_comments(const struct fake_peer *peer)
{
    unsigned count = 0;
    for (const char *at = fake_peer_output(peer, NULL); (at = strstr(at, "3\r\n:\n\n\r\n")) != NULL; at++) {
        count++;
    }
    return count;
}

static void a_silent_stream_has_a_comment_every_15_seconds(void **state)
{
    (void)state;
    struct scene *scene = open_events_site();
    struct fake_peer *peer = ask(scene, "/silent");
    assert_true(got(peer, "data: begun\n\n"));
    pass_ms(scene, 7400); /* the first one comes after half the time at the earliest */
    assert_int_equal(count_comments(peer), 0);
    pass_ms(scene, 7700);
    assert_int_equal(count_comments(peer), 1);
    for (unsigned n = 2; n <= 10; n++) {
        pass_ms(scene, 15000);
        assert_int_equal(count_comments(peer), n);
    }
    scene_close(scene);
}

static void a_client_that_leaves_and_the_end_of_the_script_end_comments(void **state)
{
    (void)state;
    struct scene *scene = open_events_site();
    struct fake_peer *peer = ask(scene, "/silent");
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    pass_ms(scene, 60000);
    ask(scene, "/silent"); /* it stays until the end */
    assert_answer(scene, "/plain", "plain");
    scene_close(scene);
}

/* A client whose connection fails when a comment is sent. */
static void comments_notice_lost_clients(void **state)
{
    (void)state;
    struct scene *scene = open_events_site();
    int fds = fake_sys_open_fds();
    ask(scene, "/silent");
    assert_int_equal(fake_sys_open_fds(), fds + 1);
    fake_sys_fail_op(FAKE_SEND, 0, 1, -ECONNRESET);
    pass_ms(scene, 16000);
    assert_int_equal(fake_sys_open_fds(), fds);
    scene_close(scene);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        struct scene *scene = open_events_site();
        assert_answer(scene, "/plain", "plain"); /* the pools have what they need */
        struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
        fake_peer_send_text(peer, "GET /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        fake_mem_fail_after(n, false);
        settle(scene);
        pass_ms(scene, 1000);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(has_failed || got(peer, "data: end\n\n\r\n0\r\n\r\n"));
        assert_answer(scene, "/plain", "plain");
        scene_close(scene);
    }
}

/* Topics. */

static struct scene *open_topics_site(void)
{
    static const char site[] = APP "app.events('/news', { topic = 'news', replay = 5, heartbeat = '1s' })\n"
                                   "app.get('/say', function()\n"
                                   "    return tostring(app.publish('news', 'one', { event = 'e' }))\n"
                                   "end)\n"
                                   "app.get('/next', function()\n"
                                   "    local news = app.subscribe('news', { replay = 5, queue = 2 })\n"
                                   "    for i = 1, 3 do app.publish('news', i) end\n"
                                   "    local got = {}\n"
                                   "    for text in news:messages '10ms' do got[#got + 1] = text end\n"
                                   "    return table.concat(got, ' ')\n"
                                   "end)\n"
                                   "app.get('/wait', function() return (app.subscribe('other'):receive()) end)\n"
                                   "app.get('/plain', function() return 'plain' end)\n";
    return scene_open(site);
}

static void a_route_is_a_subscriber(void **state)
{
    (void)state;
    struct scene *scene = open_topics_site();
    struct fake_peer *peer = ask(scene, "/news");
    assert_true(got(peer, "Content-Type: text/event-stream\r\n"));
    assert_answer(scene, "/say", "true");
    assert_true(got(peer, "\nevent: e\ndata: one\n\n"));
    pass_ms(scene, 1000);
    assert_true(got(peer, "\r\n:\n\n\r\n"));
    assert_int_equal(hub_subscribers(scene->hub, "news", 4), 1);
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_int_equal(hub_subscribers(scene->hub, "news", 4), 0);
    peer = ask(scene, "/news?lastEventId=earliest");
    assert_true(got(peer, "\ndata: one\n\n"));
    scene_close(scene); /* with a client */
}

static void subscriptions_end_with_their_coroutine_and_with_the_script(void **state)
{
    (void)state;
    struct scene *scene = open_topics_site();
    struct fake_peer *peer = ask(scene, "/wait");
    assert_int_equal(hub_subscribers(scene->hub, "other", 5), 1);
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_int_equal(hub_subscribers(scene->hub, "other", 5), 0);
    peer = ask(scene, "/wait");
    const struct message_parts message = {.topic = "other", .topic_len = 5, .data = "there", .len = 5};
    assert_int_equal(hub_publish(scene->hub, &message), 0);
    settle(scene);
    assert_true(got(peer, "there"));
    assert_int_equal(hub_subscribers(scene->hub, "other", 5), 0);
    ask(scene, "/wait"); /* it waits until the end */
    assert_int_equal(hub_publish(scene->hub, &message), 0);
    scene_close(scene); /* with a message that was not delivered */
}

static void topics_without_memory_leave_nothing(void **state)
{
    (void)state;
    static const char *const targets[] = {"/news?lastEventId=earliest", "/next", "/say"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        bool has_failed = true;
        for (size_t n = 1; has_failed; n++) {
            struct scene *scene = open_topics_site();
            assert_answer(scene, "/say", "true");
            assert_answer(scene, "/plain", "plain");
            struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
            char request[128];
            snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
            fake_peer_send_text(peer, request);
            fake_mem_fail_after(n, false);
            settle(scene);
            pass_ms(scene, 1000);
            pass_ms(scene, 1000);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            assert_answer(scene, "/plain", "plain");
            assert_answer(scene, "/say", "true");
            fake_peer_reset(peer, ECONNRESET);
            settle(scene);
            assert_int_equal(hub_subscribers(scene->hub, "news", 4), 0);
            scene_close(scene);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_stream_has_a_comment_every_15_seconds),
        cmocka_unit_test(a_client_that_leaves_and_the_end_of_the_script_end_comments),
        cmocka_unit_test(comments_notice_lost_clients),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(a_route_is_a_subscriber),
        cmocka_unit_test(subscriptions_end_with_their_coroutine_and_with_the_script),
        cmocka_unit_test(topics_without_memory_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
