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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_stream_has_a_comment_every_15_seconds),
        cmocka_unit_test(a_client_that_leaves_and_the_end_of_the_script_end_comments),
        cmocka_unit_test(comments_notice_lost_clients),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
