/* Request bodies in Lua on the fake kernel: what stays in the kernel, whose time it is, clients that leave in the
 * middle, and memory that runs out. What scripts can say is tested end to end (tests/e2e/test_lua_bodies.py). */

#include "tests/lib/lua_scene.h"

enum { BODY_MS = 30000 };

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: test\r\n" fields "\r\n"
#define CHUNKED            "Transfer-Encoding: chunked\r\n"
#define MULTIPART          "Content-Type: multipart/form-data; boundary=XYZ\r\n"
#define PART(name)         "--XYZ\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static const char site[] = APP
    "app.set { max_body = 1000000, handler_timeout = 0 }\n"
    "app.post('/body', function(req) return #req.body .. ' ' .. req.body:sub(1, 20) end)\n"
    "app.post('/chunks', function(req)\n"
    "    local all = {} for chunk in req:chunks() do all[#all + 1] = chunk end return table.concat(all, '|')\n"
    "end)\n"
    "app.post('/lazy', function(req)\n"
    "    local total = 0 for chunk in req:chunks() do total = total + #chunk app.sleep '1s' end return total .. ''\n"
    "end)\n"
    "app.post('/late', function(req) app.sleep '1h' return #req.body .. '' end)\n"
    "app.post('/form', function(req) return req:form().a .. '&' .. #req:form_all('a') end)\n"
    "app.post('/json', function(req) return { got = req:json() } end)\n"
    "app.post('/parts', function(req)\n"
    "    local names = {}\n"
    "    for part in req:parts() do names[#names + 1] = part.name .. '=' .. part:text() end\n"
    "    return table.concat(names, ',')\n"
    "end)\n"
    "app.get('/cookies', function(req) return req.cookies.a end)\n"
    "local result = 'none'\n"
    "app.post('/catch', function(req)\n"
    "    local ok, err = pcall(function() return req.body end)\n"
    "    result = tostring(err) error(err, 0)\n"
    "end)\n"
    "app.get('/result', function() return result end)\n";

static struct fake_peer *connect_to(struct scene *scene)
{
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    settle(scene);
    return peer;
}

static void say(struct scene *scene, struct fake_peer *peer, const char *text)
{
    fake_peer_send_text(peer, text);
    settle(scene);
}

/* Ends the answer's head, then this body. */
static bool answered(const struct fake_peer *peer, const char *body)
{
    const char *end = strstr(fake_peer_output(peer, NULL), "\r\n\r\n");
    return end != NULL && strcmp(end + 4, body) == 0;
}

static void small_body_costs_one_read_and_one_write(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    struct fake_peer *peer = connect_to(scene);
    say(scene, peer, POST("/body", "Content-Length: 5\r\n") "hello");
    fake_peer_forget_output(peer);
    fake_sys_clear_trace();
    say(scene, peer, POST("/body", "Content-Length: 5\r\n") "hello");
    assert_true(answered(peer, "5 hello"));
    assert_int_equal(fake_sys_count(FAKE_RECV), 1);
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_MODIFY), 0);
    scene_close(scene);
}

static void body_is_waited_for_in_every_split(void **state)
{
    (void)state;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {POST("/body", "Content-Length: 5\r\n") "hello", "5 hello"},
        {POST("/body", CHUNKED) "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "5 hello"},
        {POST("/form", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n") "a=1&a=2", "1&2"},
        {POST("/json", "Content-Type: application/json\r\nContent-Length: 5\r\n") "[1,2]", "{\"got\":[1,2]}"},
        {POST("/parts", MULTIPART "Content-Length: 119\r\n") PART("a") "1\r\n" PART("b") "\r\n--X\r\n--XYZ--",
         "a=1,b=\r\n--X"},
        {POST("/form", MULTIPART CHUNKED) "77\r\n" PART("a") "1\r\n" PART("a") "\r\n--X\r\n--XYZ--\r\n0\r\n\r\n",
         "1&2"},
    };
    struct scene *scene = scene_open(site);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = strlen(cases[i].request);
        for (size_t cut = 1; cut <= len; cut++) {
            struct fake_peer *peer = connect_to(scene);
            fake_peer_send_split(peer, cases[i].request, len, cut == len ? 0 : cut);
            settle(scene);
            if (!answered(peer, cases[i].answer)) {
                fail_msg("split at %zu of %s: %s", cut, cases[i].request, fake_peer_output(peer, NULL));
            }
            fake_peer_close(peer);
            settle(scene);
        }
    }
    scene_close(scene);
}

/* A handler that goes on for long holds the string, and nothing beside it. */
static void body_that_was_taken_is_not_kept_twice(void **state)
{
    (void)state;
    static char large[500000];
    memset(large, 'x', sizeof large);
    struct scene *scene = scene_open(APP "app.post('/', function(req) local body = req.body app.sleep '1h' end)\n");
    struct fake_peer *peer = connect_to(scene);
    size_t before = fake_mem_live_bytes();
    say(scene, peer, POST("/", "Content-Length: 500000\r\n"));
    fake_peer_send(peer, large, sizeof large);
    settle(scene);
    assert_int_equal(fake_peer_unread(peer), 0);
    assert_in_range(fake_mem_live_bytes() - before, 400000, 800000); /* garbage of the start may have been collected */
    scene_close(scene);
}

static void what_is_not_asked_for_stays_in_the_kernel(void **state)
{
    (void)state;
    static char large[300000];
    memset(large, 'x', sizeof large);
    struct scene *scene = scene_open(site);
    struct fake_peer *peer = connect_to(scene);
    say(scene, peer, POST("/lazy", "Content-Length: 300000\r\n"));
    fake_peer_send(peer, large, sizeof large);
    settle(scene);
    size_t before = fake_peer_unread(peer);
    assert_int_equal(before, sizeof large - 65536);
    pass_ms(scene, 999);
    assert_int_equal(fake_peer_unread(peer), before);
    pass_ms(scene, 1);
    assert_int_equal(fake_peer_unread(peer), before - 65536); /* one read a second */
    for (int i = 0; i < 10; i++) {
        pass_ms(scene, 1000);
    }
    assert_true(answered(peer, "300000"));
    scene_close(scene);
}

static void time_of_the_handler_is_not_the_clients(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    struct fake_peer *peer = connect_to(scene);
    say(scene, peer, POST("/late", "Content-Length: 5\r\n") "he");
    for (int i = 0; i < 60; i++) {
        pass_ms(scene, 60000);
    }
    assert_int_equal(fake_peer_saw_end(peer), false);
    pass_ms(scene, BODY_MS - 1);
    say(scene, peer, "llo");
    assert_true(answered(peer, "5"));
    scene_close(scene);
}

static void client_that_is_too_slow_is_408(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    struct fake_peer *peer = connect_to(scene);
    say(scene, peer, POST("/catch", "Content-Length: 5\r\n") "he");
    pass_ms(scene, BODY_MS);
    assert_true(got(peer, "HTTP/1.1 408 "));
    assert_true(answered(peer, "the request body arrived too slowly\n"));
    assert_true(fake_peer_saw_end(peer));
    assert_answer(scene, "/result", "408: the request body arrived too slowly");
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void client_that_leaves_ends_the_wait_and_is_not_logged(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    for (int i = 0; i < 2; i++) {
        struct fake_peer *peer = connect_to(scene);
        say(scene, peer, POST("/catch", "Content-Length: 5\r\n") "he");
        assert_answer(scene, "/result", i == 0 ? "none" : "the client has gone");
        if (i == 0) {
            fake_peer_shutdown(peer);
        } else {
            fake_peer_reset(peer, 0);
        }
        settle(scene);
        assert_true(fake_peer_saw_close(peer));
        assert_answer(scene, "/result", "the client has gone");
    }
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void server_that_ends_leaves_no_waiting_handler_behind(void **state)
{
    (void)state;
    static const char *const targets[] = {"/body", "/chunks", "/form", "/parts", "/catch", "/json"};
    struct scene *scene = scene_open(site);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "POST %s HTTP/1.1\r\nHost: test\r\n" MULTIPART "Content-Length: 1000\r\n\r\n--XYZ\r\n", targets[i]);
        say(scene, connect_to(scene), request);
    }
    scene_close(scene); /* checks that no memory is left */
}

/* Each request gets an answer, or its connection is cut; the next one is not harmed. */
static void memory_that_fails_at_any_step_harms_nobody_else(void **state)
{
    (void)state;
    static const char *const requests[][2] = {
        {POST("/body", CHUNKED) "5\r\nhel", "lo\r\n0\r\n\r\n"},
        {POST("/chunks", CHUNKED) "5\r\nhel", "lo\r\n0\r\n\r\n"},
        {POST("/form", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n") "a=1", "&a=2"},
        {POST("/form", MULTIPART CHUNKED) "77\r\n" PART("a"), "1\r\n" PART("a") "\r\n--X\r\n--XYZ--\r\n0\r\n\r\n"},
        {POST("/json", "Content-Type: application/json\r\nContent-Length: 5\r\n") "[1", ",2]"},
        {POST("/json", "Content-Type: application/json\r\nContent-Length: 5\r\n") "[1", ",2["},
        {"GET /cookies HTTP/1.1\r\nHost: test\r\nCookie: a=b; ", "c=d\r\n\r\n"},
    };
    enum { COUNT = sizeof requests / sizeof requests[0] };
    int failures = 0;
    for (size_t i = 0; i < COUNT; i++) {
        bool has_failed = true;
        for (uint64_t n = 1; has_failed; n++) {
            struct scene *scene = scene_open(site);
            struct fake_peer *peer = connect_to(scene);
            fake_mem_fail_after(n, false);
            say(scene, peer, requests[i][0]);
            say(scene, peer, requests[i][1]);
            has_failed = fake_mem_failed();
            failures += has_failed ? 1 : 0;
            fake_mem_fail_after(0, false);
            assert_true(got(peer, "HTTP/1.1 ") || fake_peer_saw_close(peer));
            peer = connect_to(scene);
            say(scene, peer, POST("/body", "Content-Length: 5\r\n"));
            say(scene, peer, "hello");
            assert_true(answered(peer, "5 hello"));
            scene_close(scene);
        }
    }
    assert_true(failures > 10 * COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_body_costs_one_read_and_one_write),
        cmocka_unit_test(body_is_waited_for_in_every_split),
        cmocka_unit_test(body_that_was_taken_is_not_kept_twice),
        cmocka_unit_test(what_is_not_asked_for_stays_in_the_kernel),
        cmocka_unit_test(time_of_the_handler_is_not_the_clients),
        cmocka_unit_test(client_that_is_too_slow_is_408),
        cmocka_unit_test(client_that_leaves_ends_the_wait_and_is_not_logged),
        cmocka_unit_test(server_that_ends_leaves_no_waiting_handler_behind),
        cmocka_unit_test(memory_that_fails_at_any_step_harms_nobody_else),
    };
    return cmocka_run_group_tests_name("lua_body", tests, NULL, NULL);
}
