/* app.websocket on the fake kernel: what needs another moment than a real client can choose, and that nothing is left
 * of a WebSocket, however it ends and whatever fails on its way. */

#include "lua/state.h"
#include "tests/lib/lua_scene.h"

static const char hello[] = "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

static struct scene *open_websocket_site(void)
{
    static const char site[] = APP "local list = {}\n"
                                   "app.websocket('/echo', function(ws)\n"
                                   "    for text in ws:messages() do ws:send { text } end\n"
                                   "    list[#list + 1] = ws.code .. ws.reason\n"
                                   "end)\n"
                                   "app.websocket('/busy', function(ws)\n"
                                   "    app.sleep '100ms'\n"
                                   "    for text in ws:messages() do ws:send('got ' .. text) end\n"
                                   "end)\n"
                                   "app.websocket('/topic', { finish = true }, function(ws)\n"
                                   "    ws:subscribe 'x'\n"
                                   "    ws:send(ws:receive '1s' or 'late')\n"
                                   "    app.spawn(function() app.sleep '1h' end)\n"
                                   "    app.sleep '10ms'\n"
                                   "    ws:ping 'p'\n"
                                   "    ws:close(3000, 'bye')\n"
                                   "    list[#list + 1] = select(2, ws:receive())\n"
                                   "end)\n"
                                   "app.websocket('/tasks', function(ws)\n"
                                   "    for _ in ws:messages() do end\n"
                                   "    app.all(function() app.all(function() ws:send 'a' ws:send 'b' end) end)\n"
                                   "    list[1] = 'not ended'\n"
                                   "end)\n"
                                   "app.get('/list', function() return table.concat(list, ' ') end)\n"
                                   "app.get('/plain', function() return 'plain' end)\n";
    return scene_open(site);
}

/* A client that asks for a WebSocket, and sends frames of text behind its request. */
static struct fake_peer *connect_websocket(const struct scene *scene, const char *target)
{
    char text[512];
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    snprintf(text, sizeof text, hello, target);
    fake_peer_send_text(peer, text);
    return peer;
}

/* A final frame whose mask is zero. */
static void send_frame(struct fake_peer *peer, unsigned opcode, const char *data, size_t len)
{
    unsigned char frame[256] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | len)};
    assert_true(len <= 125);
    memcpy(frame + 6, data, len);
    fake_peer_send(peer, frame, len + 6);
}

/* Whether the output of a peer has these bytes behind its head, somewhere. */
static bool got_bytes(const struct fake_peer *peer, const char *bytes, size_t len)
{
    size_t size;
    const char *output = fake_peer_output(peer, &size);
    return memmem(output, size, bytes, len) != NULL;
}

#define GOT(peer, literal) got_bytes(peer, literal, sizeof(literal) - 1)

static void messages_wait_in_a_short_queue_while_the_script_is_at_something_else(void **state)
{
    (void)state;
    struct scene *scene = open_websocket_site();
    struct fake_peer *peer = connect_websocket(scene, "/busy");
    settle(scene);
    assert_true(got(peer, "101"));
    for (unsigned i = 0; i < 16; i++) {
        send_frame(peer, 1, &"abcdefghijklmnop"[i], 1);
    }
    settle(scene);
    assert_int_equal(fake_peer_unread(peer), 0); /* the 16th has paused the reader */
    send_frame(peer, 1, "q", 1);
    settle(scene);
    assert_int_equal(fake_peer_unread(peer), 7);
    assert_false(GOT(peer, "got "));
    pass_ms(scene, 200);
    assert_true(GOT(peer, "\x81\x05got a\x81\x05got b"));
    assert_true(GOT(peer, "\x81\x05got p\x81\x05got q"));
    assert_int_equal(fake_peer_unread(peer), 0);
    scene_close(scene);
}

static void a_client_that_leaves_before_the_101_is_sent(void **state)
{
    (void)state;
    struct scene *scene = open_websocket_site();
    struct fake_peer *peer = connect_websocket(scene, "/echo");
    fake_peer_set_room(peer, 10);
    settle(scene);
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_answer(scene, "/list", "");
    assert_answer(scene, "/plain", "plain");
    scene_close(scene);
}

static void a_close_reaches_the_function(void **state)
{
    (void)state;
    struct scene *scene = open_websocket_site();
    struct fake_peer *peer = connect_websocket(scene, "/echo");
    send_frame(peer, 1, "a", 1);
    send_frame(peer, 8,
               "\x0f\xa1"
               "enough",
               8);
    settle(scene);
    assert_true(GOT(peer, "\x81\x05[\"a\"]\x88\x02\x0f\xa1"));
    assert_answer(scene, "/list", "4001enough");
    scene_close(scene);
}

/* The server goes while WebSockets are open: stop() of the scene closes it before the script. */
/* Sending a second time after the end is no failure that belongs in the log, be it in a task. */
static void a_task_that_goes_on_sending_ends_the_function(void **state)
{
    (void)state;
    struct scene *scene = open_websocket_site();
    struct fake_peer *peer = connect_websocket(scene, "/tasks");
    send_frame(peer, 8, "", 0);
    settle(scene);
    assert_true(GOT(peer, "\x88\x00"));
    assert_answer(scene, "/list", "");
    assert_null(strstr(scene->logged, "gone"));
    scene_close(scene);
}

static void the_end_of_the_server_ends_them(void **state)
{
    (void)state;
    struct scene *scene = open_websocket_site();
    connect_websocket(scene, "/echo");
    connect_websocket(scene, "/busy");
    send_frame(connect_websocket(scene, "/topic"), 1, "x", 1);
    settle(scene);
    scene_close(scene);
}

static void converse(struct scene *scene, const char *target)
{
    struct fake_peer *peer = connect_websocket(scene, target);
    settle(scene);
    send_frame(peer, 1, "one", 3);
    send_frame(peer, 1, "two", 3);
    settle(scene);
    pass_ms(scene, 150);
    send_frame(peer, 8,
               "\x03\xe8"
               "bye",
               5);
    settle(scene);
    fake_peer_close(peer);
    settle(scene);
    pass_ms(scene, 20000);
}

static void without_memory_nothing_is_left(void **state)
{
    static const char *const targets[] = {"/echo", "/busy", "/topic"};
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        bool has_failed = true;
        for (size_t n = 1; has_failed; n++) {
            struct scene *scene = open_websocket_site();
            assert_answer(scene, "/plain", "plain"); /* the pools have what they need */
            fake_mem_fail_after(n, false);
            converse(scene, targets[i]);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            assert_answer(scene, "/plain", "plain");
            scene_close(scene);
        }
    }
}

static void nothing_is_left_when_the_connection_fails_anywhere(void **state)
{
    static const char *const targets[] = {"/echo", "/topic"};
    static const enum fake_op ops[] = {FAKE_RECV, FAKE_SEND};
    (void)state;
    for (int i = 0; i < 4 * 10; i++) {
        struct scene *scene = open_websocket_site();
        fake_sys_fail_op(ops[i & 1], i / 4, 1, -ECONNRESET);
        converse(scene, targets[i / 2 & 1]);
        scene_close(scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_wait_in_a_short_queue_while_the_script_is_at_something_else),
        cmocka_unit_test(a_client_that_leaves_before_the_101_is_sent),
        cmocka_unit_test(a_close_reaches_the_function),
        cmocka_unit_test(a_task_that_goes_on_sending_ends_the_function),
        cmocka_unit_test(the_end_of_the_server_ends_them),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(nothing_is_left_when_the_connection_fails_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
