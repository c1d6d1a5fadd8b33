/* Stores in Redis on the fake kernel: what a call costs, replies in any pieces, and that nothing is left of a call,
 * whatever fails on its way. */

#include "core/sys.h"
#include "tests/lib/lua_scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct fake_server *redis;

static struct scene *open_redis_site(void)
{
    static const char site[] = APP "local s = app.store('s', { redis = 'redis://:secret@127.0.0.1/2' })\n"
                                   "local function try(fn, ...)\n"
                                   "    local ok, value = pcall(fn, s, ...)\n"
                                   "    if not ok then return 'failed: ' .. tostring(value) end\n"
                                   "    return type(value) == 'table' and app.json.encode(value) or tostring(value)\n"
                                   "end\n"
                                   "app.get('/get', function() return try(s.get, 'k') end)\n"
                                   "app.get('/set', function() return try(s.set, 'k', { 1, 'two' }, '1m') end)\n"
                                   "app.get('/keys', function() return try(s.keys) end)\n"
                                   "app.get('/idle', function() return 'idle' end)\n";
    struct scene *scene = scene_open(site);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(6379)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    redis = fake_server_create((struct sockaddr *)&address, sizeof address);
    return scene;
}

static void assert_sent(struct fake_peer *peer, const char *text)
{
    assert_string_equal(fake_peer_output(peer, NULL), text);
    fake_peer_forget_output(peer);
}

static void reply(struct scene *scene, struct fake_peer *peer, const char *text)
{
    fake_peer_send_text(peer, text);
    settle(scene);
}

#define AUTH   "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"
#define SELECT "*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
#define GET    "*2\r\n$3\r\nGET\r\n$3\r\ns:k\r\n"

/* The first call on a new connection. Returns the far end, which has got the command. */
static struct fake_peer *greet(struct scene *scene)
{
    struct fake_peer *peer = fake_server_next(redis);
    assert_non_null(peer);
    assert_sent(peer, AUTH);
    reply(scene, peer, "+OK\r\n");
    assert_sent(peer, SELECT);
    reply(scene, peer, "+OK\r\n");
    assert_sent(peer, GET);
    return peer;
}

static void kept_call_costs_one_send_and_one_receive(void **state)
{
    (void)state;
    struct scene *scene = open_redis_site();
    struct fake_peer *client = ask(scene, "/get");
    struct fake_peer *peer = greet(scene);
    reply(scene, peer, "$5\r\nhello\r\n");
    assert_true(got(client, "hello"));
    int fd = fake_peer_fd(peer);
    for (int i = 0; i < 3; i++) {
        fake_sys_clear_trace();
        client = ask(scene, "/get");
        assert_sent(peer, GET);
        reply(scene, peer, "$-1\r\n");
        assert_true(got(client, "nil"));
        size_t count, mine = 0;
        const struct fake_call *calls = fake_sys_trace(&count);
        for (size_t n = 0; n < count; n++) {
            mine += calls[n].fd == fd;
        }
        assert_int_equal(mine, 2);
    }
    pass_ms(scene, 60000); /* it is not kept any longer */
    assert_int_equal(fake_peer_fd(peer), -1);
    scene_close(scene);
}

static void replies_may_come_in_any_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *target, *reply, *answer;
    } cases[] = {
        {"/get", "$5\r\nhe\r\no\r\n", "he\r\no"},
        {"/get", "$0\r\n\r\n", "\r\n\r\n"},
        {"/get", "$2\r\n42\r\n", "42"},
        {"/get", "-ERR no\r\n", "Redis at 127.0.0.1:6379: ERR no"},
        {"/get", "+x\r\n", "x"},
        {"/keys", "*2\r\n$1\r\n0\r\n*2\r\n$3\r\ns:a\r\n$3\r\ns:b\r\n", "[\"a\",\"b\"]"},
        {"/keys", "*2\r\n$1\r\n0\r\n*0\r\n", "{}"},
        {"/get", "$5\r\nhelloxx", "this is not what Redis would reply"},
    };
    struct scene *scene = open_redis_site();
    struct fake_peer *client = ask(scene, "/get");
    struct fake_peer *peer = greet(scene);
    reply(scene, peer, "$-1\r\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].reply);
        for (size_t split = 0; split < len; split++) {
            client = ask(scene, cases[i].target);
            if (fake_peer_fd(peer) < 0) { /* after what was no reply */
                peer = greet(scene);
            }
            fake_peer_send_split(peer, cases[i].reply, len, split);
            settle(scene);
            if (!got(client, cases[i].answer)) {
                fail_msg("%s split at %zu: %s", cases[i].reply, split, fake_peer_output(client, NULL));
            }
            fake_peer_close(client);
            settle(scene);
        }
    }
    scene_close(scene);
}

static void a_call_that_takes_too_long_ends_and_its_late_reply_is_nobodys(void **state)
{
    (void)state;
    struct scene *scene = open_redis_site();
    struct fake_peer *client = ask(scene, "/get");
    struct fake_peer *peer = greet(scene);
    pass_ms(scene, 1000);
    assert_true(got(client, "Redis at 127.0.0.1:6379: timeout"));
    assert_int_equal(fake_peer_fd(peer), -1);
    client = ask(scene, "/get");
    reply(scene, greet(scene), "$3\r\nnew\r\n");
    assert_true(got(client, "new"));
    scene_close(scene);
}

/* "/set" on a new connection while the n-th allocation fails. Returns whether it did. */
static bool set_without_memory(struct scene *scene, size_t n)
{
    static const char *const replies[] = {"+OK\r\n", "+OK\r\n", "+OK\r\n"};
    struct fake_peer *client = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(client, "GET /set HTTP/1.1\r\nHost: x\r\n\r\n");
    fake_mem_fail_after(n, false);
    settle(scene);
    struct fake_peer *peer = fake_server_next(redis);
    for (size_t i = 0; i < sizeof replies / sizeof replies[0] && peer != NULL && fake_peer_fd(peer) >= 0; i++) {
        reply(scene, peer, replies[i]);
    }
    pass_ms(scene, 5000);
    bool has_failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    fake_peer_close(client);
    settle(scene);
    return has_failed;
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    bool has_failed = true;
    size_t n = 1;
    for (; has_failed; n++) {
        struct scene *scene = open_redis_site();
        assert_answer(scene, "/idle", "idle"); /* the pools have what they need */
        has_failed = set_without_memory(scene, n);
        assert_answer(scene, "/idle", "idle");
        scene_close(scene);
    }
    assert_true(n > 20);
}

static void a_store_that_cannot_be_loaded_leaves_nothing(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 1; has_failed; n += 7) {
        struct scene scene = {.path = ""};
        write_script(&scene, APP "app.store('s', { redis = 'redis://h' })\n");
        fake_mem_fail_after(n, false);
        int rv = start(&scene, NULL, NULL);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || has_failed);
        stop(&scene);
        unlink(scene.path);
        assert_int_equal(fake_mem_live(), 0);
        fake_sys_reset();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_call_costs_one_send_and_one_receive),
        cmocka_unit_test(replies_may_come_in_any_pieces),
        cmocka_unit_test(a_call_that_takes_too_long_ends_and_its_late_reply_is_nobodys),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(a_store_that_cannot_be_loaded_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
