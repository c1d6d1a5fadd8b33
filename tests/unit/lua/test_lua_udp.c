/* app.udp on the fake kernel: nothing is left of a socket, however it ends and whatever fails on its way. */

#include "lua/state.h"
#include "lua/udp.h"
#include "tests/lib/lua_scene.h"

static const char udp_site[] = APP "local function text(a, b) return tostring(a) .. ' ' .. tostring(b) end\n"
                                   "local kept\n"
                                   "local function open(timeout)\n"
                                   "    local socket = app.udp()\n"
                                   "    socket:settimeout(timeout or '1s')\n"
                                   "    return socket, socket:setpeername('127.0.0.1', 53)\n"
                                   "end\n"
                                   "app.get('/ask', function()\n"
                                   "    local socket, ok, err = open()\n"
                                   "    if not ok then return err end\n"
                                   "    local sent, err = socket:send 'ask'\n"
                                   "    return text(socket:receive())\n"
                                   "end)\n"
                                   "app.get('/unix', function()\n"
                                   "    return text(app.udp():setpeername('unix:@x'))\n"
                                   "end)\n"
                                   "app.get('/twice', function()\n"
                                   "    local socket = open()\n"
                                   "    return socket:receive() .. socket:receive()\n"
                                   "end)\n"
                                   "app.get('/collect', function() collectgarbage() collectgarbage() return 'x' end)\n";

static struct scene *open_udp_site(void)
{
    return scene_open(udp_site);
}

/* The only socket for datagrams that is open. */
static struct fake_peer *find_resolver(const struct scene *scene)
{
    (void)scene;
    struct fake_peer *found = NULL;
    for (int fd = 0; fd < 256; fd++) {
        struct fake_peer *peer = fake_peer_of(fd);
        size_t len;
        if (peer != NULL && strstr(fake_peer_output(peer, &len), "HTTP") == NULL) {
            found = peer;
        }
    }
    return found;
}

static void a_datagram_wakes_its_reader_and_the_timeout_too(void **state)
{
    (void)state;
    struct scene *scene = open_udp_site();
    struct fake_peer *late = ask(scene, "/ask");
    pass_ms(scene, 999);
    assert_false(got(late, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(late, "nil timeout"));
    ask(scene, "/collect");
    scene_close(scene);
}

static void sockets_end_with_the_script_with_the_client_and_with_their_objects(void **state)
{
    (void)state;
    struct scene *scene = open_udp_site();
    ask(scene, "/collect");
    int fds = fake_sys_open_fds();
    struct fake_peer *peer = ask(scene, "/ask");
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    fake_peer_close(ask(scene, "/collect"));
    settle(scene);
    assert_int_equal(fake_sys_open_fds(), fds);
    ask(scene, "/ask");
    ask(scene, "/twice");
    scene_close(scene);
}

static void what_comes_is_received_one_by_one(void **state)
{
    (void)state;
    struct scene *scene = open_udp_site();
    struct fake_peer *client = ask(scene, "/twice");
    struct fake_peer *resolver = find_resolver(scene);
    assert_non_null(resolver);
    fake_peer_send_text(resolver, "one ");
    settle(scene);
    pass_ms(scene, 900);
    assert_false(got(client, "HTTP"));
    fake_peer_send_text(resolver, "two");
    settle(scene);
    assert_true(got(client, "one two"));
    scene_close(scene);
}

/* "/ask" while the n-th allocation fails. Returns whether it did. */
static bool ask_without_memory(struct scene *scene, size_t n)
{
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(peer, "GET /ask HTTP/1.1\r\nHost: x\r\n\r\n");
    fake_mem_fail_after(n, false);
    settle(scene);
    pass_ms(scene, 2000);
    bool has_failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    return has_failed;
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        struct scene *scene = open_udp_site();
        assert_answer(scene, "/collect", "x");
        has_failed = ask_without_memory(scene, n);
        assert_answer(scene, "/collect", "x");
        scene_close(scene);
    }
}

static void failures_of_the_system_are_told(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int skip, error;
        const char *text;
    } faults[] = {
        {FAKE_DATAGRAM_SOCKET, 0, -ENOMEM, "cannot allocate memory"},
        {FAKE_CONNECT, 0, -ENETUNREACH, "network is unreachable"},
    };
    struct scene *scene = open_udp_site();
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fake_sys_fail_op(faults[i].op, faults[i].skip, 1, faults[i].error);
        struct fake_peer *peer = ask(scene, "/ask");
        assert_true(got(peer, faults[i].text));
    }
    fake_sys_fail_op(FAKE_BIND, 0, 1, -EACCES);
    assert_answer(scene, "/unix", "nil permission denied");
    fake_sys_fail_op(FAKE_DATAGRAM_SOCKET, 0, 2, -EMFILE); /* again after the collection */
    assert_answer(scene, "/unix", "nil too many open files");
    scene_close(scene);
}

static int read_with_error(lua_State *L)
{
    (void)L;
    fake_sys_fail_op(FAKE_RECV, 0, 1, -ECONNREFUSED);
    return 0;
}

static int add_faults(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "fail_recv", read_with_error);
    return 0;
}

static void failures_of_receive_are_told(void **state)
{
    (void)state;
    struct scene *scene = scene_open_with(APP "app.get('/', function()\n"
                                              "    local socket = app.udp()\n"
                                              "    socket:setpeername('127.0.0.1', 53)\n"
                                              "    fail_recv()\n"
                                              "    return select(2, socket:receive())\n"
                                              "end)\n",
                                          add_faults);
    assert_answer(scene, "/", "connection refused");
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_datagram_wakes_its_reader_and_the_timeout_too),
        cmocka_unit_test(sockets_end_with_the_script_with_the_client_and_with_their_objects),
        cmocka_unit_test(what_comes_is_received_one_by_one),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(failures_of_the_system_are_told),
        cmocka_unit_test(failures_of_receive_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
