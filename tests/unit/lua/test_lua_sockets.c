/* Sockets of scripts on the fake kernel: what a round trip costs, and that nothing is left of one, however it ends and
 * whatever fails on its way. */

#include "core/sys.h"
#include "tests/lib/lua_scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct fake_server *server;

static struct scene *open_socket_site(void)
{
    static const char site[] = APP "local function failed(what, err) return what .. ': ' .. err end\n"
                                   "local function ping()\n"
                                   "    local s, err = app.connect('127.0.0.1:6379', { timeout = '1s' })\n"
                                   "    if not s then return failed('connect', err) end\n"
                                   "    local count, problem = s:send { 'PI', 'NG\\n' }\n"
                                   "    if not count then return failed('send', problem) end\n"
                                   "    local line, trouble, partial = s:receive()\n"
                                   "    if not line then return failed('receive', trouble .. ' ' .. partial) end\n"
                                   "    s:setkeepalive(5000)\n"
                                   "    return line\n"
                                   "end\n"
                                   "app.get('/ping', ping)\n"
                                   "app.get('/own', function() return coroutine.wrap(ping)() end)\n"
                                   "app.get('/until', function()\n"
                                   "    local s = assert(app.connect '127.0.0.1:6379')\n"
                                   "    return s:receiveuntil '--end'()\n"
                                   "end)\n"
                                   "app.get('/large', function()\n"
                                   "    local s = assert(app.connect('127.0.0.1:6379', { timeout = '1s' }))\n"
                                   "    assert(s:receive())\n"
                                   "    local list = { ('x'):rep(100000), { ('y'):rep(100000) } }\n"
                                   "    return tostring(s:send(list)) .. ' ' .. tostring(s:send(list[1]))\n"
                                   "end)\n"
                                   "app.get('/idle', function() return 'idle' end)\n";
    struct scene *scene = scene_open(site);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(6379)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = fake_server_create((struct sockaddr *)&address, sizeof address);
    return scene;
}

/* Answer what "/ping" has sent on a new connection. Returns the far end of that. */
static struct fake_peer *answer_ping(struct scene *scene, const char *answer)
{
    struct fake_peer *peer = fake_server_next(server);
    assert_non_null(peer);
    assert_string_equal(fake_peer_output(peer, NULL), "PING\n");
    fake_peer_send_text(peer, answer);
    settle(scene);
    return peer;
}

static void kept_round_trip_costs_one_send_and_one_receive(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    struct fake_peer *client = ask(scene, "/ping");
    struct fake_peer *peer = answer_ping(scene, "PONG\r\n");
    assert_true(got(client, "PONG"));

    int fd = fake_peer_fd(peer);
    for (int i = 0; i < 3; i++) {
        fake_sys_clear_trace();
        client = ask(scene, i == 1 ? "/own" : "/ping");
        fake_peer_send_text(peer, "PONG\r\n");
        settle(scene);
        assert_true(got(client, "PONG"));
        size_t count, mine = 0;
        const struct fake_call *calls = fake_sys_trace(&count);
        for (size_t n = 0; n < count; n++) {
            mine += calls[n].fd == fd;
        }
        assert_int_equal(mine, 2);
    }
    pass_ms(scene, 5000); /* it is not kept any longer */
    assert_int_equal(fake_peer_fd(peer), -1);
    scene_close(scene);
}

static void waits_end_in_time(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    int fds = fake_sys_open_fds();
    fake_server_set(server, FAKE_SERVER_HANGS, 0);
    struct fake_peer *client = ask(scene, "/ping");
    pass_ms(scene, 999);
    assert_false(got(client, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(client, "connect: timeout"));
    assert_int_equal(fake_sys_open_fds(), fds + 1); /* the client's */

    fake_server_set(server, FAKE_SERVER_ACCEPTS, 0);
    client = ask(scene, "/ping");
    (void)answer_ping(scene, "PO");
    pass_ms(scene, 999);
    assert_false(got(client, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(client, "receive: timeout PO"));
    scene_close(scene);
}

static void bytes_that_come_one_by_one_wake_it_once(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    struct fake_peer *client = ask(scene, "/until");
    struct fake_peer *peer = fake_server_next(server);
    static const char text[] = "abc--en--end";
    fake_peer_send_in_pieces(peer, text, sizeof text - 1, 1);
    settle(scene);
    assert_true(got(client, "abc--en"));
    client = ask(scene, "/ping");
    peer = fake_server_next(server);
    for (size_t i = 0; i < 6; i++) {
        assert_false(got(client, "HTTP"));
        fake_peer_send(peer, &"PONG\r\n"[i], 1);
        settle(scene);
    }
    assert_true(got(client, "PONG"));
    scene_close(scene);
}

static void sending_waits_for_room(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    struct fake_peer *client = ask(scene, "/large");
    struct fake_peer *peer = fake_server_next(server);
    size_t len = 0;
    fake_peer_set_window(peer, 30000);
    fake_peer_send_text(peer, "go\n");
    settle(scene);
    assert_true(got(client, "200000 100000"));
    const char *sent = fake_peer_output(peer, &len);
    assert_int_equal(len, 300000);
    assert_true(sent[99999] == 'x' && sent[100000] == 'y' && sent[199999] == 'y' && sent[299999] == 'x');

    client = ask(scene, "/large");
    peer = fake_server_next(server);
    fake_peer_set_room(peer, 70000);
    fake_peer_send_text(peer, "go\n");
    settle(scene);
    pass_ms(scene, 999);
    assert_false(got(client, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(client, "nil nil"));
    assert_int_equal(fake_peer_fd(peer), -1);
    scene_close(scene);
}

static void the_end_of_a_client_or_of_the_script_ends_waits(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    int fds = fake_sys_open_fds();
    fake_peer_reset(ask(scene, "/ping"), ECONNRESET);
    fake_peer_reset(ask(scene, "/until"), ECONNRESET);
    fake_peer_reset(ask(scene, "/own"), ECONNRESET);
    settle(scene);
    fake_server_set(server, FAKE_SERVER_HANGS, 0);
    fake_peer_reset(ask(scene, "/ping"), ECONNRESET);
    settle(scene);
    assert_int_equal(fake_sys_open_fds(), fds);
    ask(scene, "/ping");
    fake_server_set(server, FAKE_SERVER_ACCEPTS, 0);
    ask(scene, "/ping");
    ask(scene, "/until");
    ask(scene, "/own");
    scene_close(scene); /* whatever waits is cut */
}

static void what_waits_in_memory_is_bounded_together(void **state)
{
    (void)state;
    struct scene *scene = open_socket_site();
    scene->outbound.held_max = 300000; /* of blocks of 128 KiB */
    struct fake_peer *clients[3], *peers[3];
    static char text[100000];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < 3; i++) {
        clients[i] = ask(scene, "/ping");
        peers[i] = fake_server_next(server);
        fake_peer_send(peers[i], text, sizeof text);
        settle(scene);
    }
    assert_false(got(clients[0], "HTTP"));
    assert_false(got(clients[1], "HTTP"));
    assert_true(got(clients[2], "receive: no buffer space available aaaa"));
    fake_peer_send_text(peers[0], "\r\n");
    settle(scene);
    assert_true(got(clients[0], "aaaa"));
    pass_ms(scene, 70000);
    assert_int_equal(scene->outbound.held_bytes, 0);
    scene_close(scene);
}

static void failures_of_the_system_are_told(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int error;
        const char *text;
    } faults[] = {
        {FAKE_SOCKET, -EMFILE, "connect: "},
        {FAKE_CONNECT, -ENETUNREACH, "connect: network is unreachable"},
        {FAKE_CONNECT, -ECONNREFUSED, "connect: connection refused"},
    };
    struct scene *scene = open_socket_site();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        int fds = fake_sys_open_fds();
        struct fake_peer *client = fake_peer_connect(scene->listener_fd);
        fake_sys_fail_op(faults[i].op, 0, 1, faults[i].error);
        fake_peer_send_text(client, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n");
        settle(scene);
        if (!got(client, faults[i].text)) {
            fail_msg("%s expected, got %s", faults[i].text, fake_peer_output(client, NULL));
        }
        fake_peer_close(client);
        settle(scene);
        assert_int_equal(fake_sys_open_fds(), fds);
    }
    fake_server_set(server, FAKE_SERVER_FAILS, -EHOSTUNREACH);
    assert_true(got(ask(scene, "/ping"), "connect: no route to host"));
    fake_server_set(server, FAKE_SERVER_ACCEPTS, 0);
    struct fake_peer *client = ask(scene, "/ping");
    fake_peer_reset(fake_server_next(server), ECONNRESET);
    settle(scene);
    assert_true(got(client, "receive: "));
    scene_close(scene);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    static const char *const targets[] = {"/ping", "/own", "/until", "/large"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        bool has_failed = true;
        for (size_t n = 1; has_failed; n++) {
            struct scene *scene = open_socket_site();
            assert_answer(scene, "/idle", "idle"); /* the pools have what they need */
            int fds = fake_sys_open_fds();
            fake_mem_fail_after(n, false);
            struct fake_peer *client = ask(scene, targets[i]);
            struct fake_peer *peer = fake_server_next(server);
            if (peer != NULL) {
                fake_peer_set_window(peer, 50000);
                fake_peer_send_text(peer, "PONG--end\r\n");
                settle(scene);
            }
            fake_mem_fail_after(0, false);
            has_failed = fake_mem_failed();
            pass_ms(scene, 70000);
            fake_peer_close(client);
            settle(scene);
            assert_int_equal(fake_sys_open_fds(), fds);
            assert_answer(scene, "/idle", "idle");
            scene_close(scene);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_round_trip_costs_one_send_and_one_receive),
        cmocka_unit_test(waits_end_in_time),
        cmocka_unit_test(bytes_that_come_one_by_one_wake_it_once),
        cmocka_unit_test(sending_waits_for_room),
        cmocka_unit_test(the_end_of_a_client_or_of_the_script_ends_waits),
        cmocka_unit_test(what_waits_in_memory_is_bounded_together),
        cmocka_unit_test(failures_of_the_system_are_told),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
