/* Answers of Lua sites on the fake kernel: what is deferred until they are sent, and memory that runs out while they
 * are made. */

#include "lua/coro_pool.h"
#include "tests/lib/lua_scene.h"

static const char defer_site[] = APP
    "local said = ''\n"
    "local function say(text) said = said .. text .. ' ' end\n"
    "app.get('/said', function() return said end)\n"
    "app.get('/big', function() app.defer(function() say 'big' end) return ('x'):rep(200000) end)\n"
    "app.get('/waits', function() app.defer(function() app.sleep '1h' end) return 'x' end)\n"
    "app.get('/logs', function()\n"
    "    app.defer(function() coroutine.yield() end) app.defer(function() app.log('info', 'deferred') end) return 'x'\n"
    "end)\n"
    "app.get('/two', function(req)\n"
    "    app.defer(function() app.sleep '10ms' say('first' .. req.query.n) end)\n"
    "    app.defer(function() say('second' .. req.query.n) end)\n"
    "    return 'x'\n"
    "end)\n"
    "app.get('/sleeps', function() app.defer(function() say 'gone' end) app.sleep '1h' end)\n"
    "app.get('/goes-on', function()\n"
    "    app.defer(function() say 'after' end) pcall(app.sleep, '1h') say 'end'\n"
    "end)\n";

static struct fake_peer *ask_slowly(struct scene *scene, const char *target, int64_t room)
{
    char text[128];
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, room);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    fake_peer_send_text(peer, text);
    settle(scene);
    return peer;
}

static void deferred_functions_wait_until_the_answer_is_sent(void **state)
{
    (void)state;
    struct scene *scene = scene_open(defer_site);
    struct fake_peer *peer = ask_slowly(scene, "/big", 1000);
    pass_ms(scene, 100);
    assert_answer(scene, "/said", "");
    fake_peer_add_room(peer, 198000);
    settle(scene);
    assert_answer(scene, "/said", "");
    fake_peer_add_room(peer, 2000);
    settle(scene);
    assert_answer(scene, "/said", "big ");
    scene_close(scene);
}

static void deferred_functions_run_when_the_answer_is_lost(void **state)
{
    (void)state;
    struct scene *scene = scene_open(defer_site);
    struct fake_peer *peer = ask_slowly(scene, "/big", 1000);
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_answer(scene, "/said", "big ");
    peer = ask(scene, "/sleeps");
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_answer(scene, "/said", "big gone ");
    peer = ask(scene, "/goes-on");
    fake_peer_reset(peer, ECONNRESET);
    settle(scene);
    assert_answer(scene, "/said", "big gone end after ");
    scene_close(scene);
}

static void deferred_functions_of_one_request_run_in_turn_and_hold_up_no_other(void **state)
{
    (void)state;
    struct scene *scene = scene_open(defer_site);
    ask(scene, "/two?n=1");
    pass_ms(scene, 5);
    ask(scene, "/two?n=2");
    assert_answer(scene, "/said", "");
    pass_ms(scene, 5);
    assert_answer(scene, "/said", "first1 second1 ");
    pass_ms(scene, 5);
    assert_answer(scene, "/said", "first1 second1 first2 second2 ");
    scene_close(scene);
}

static void what_is_due_when_the_script_stops_runs_and_the_rest_leaks_nothing(void **state)
{
    (void)state;
    struct scene *scene = scene_open(defer_site);
    ask(scene, "/waits");
    ask_slowly(scene, "/big", 1000);
    ask(scene, "/sleeps");
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(peer, "GET /logs HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!got(peer, "HTTP")) {
        assert_true(reactor_run_once(scene->reactor, 0) >= 0);
    }
    assert_null(
        strstr(scene->logged, "deferred")); /* the one before it has ended its coroutine, so it is for the next tick */
    script_stop(scene->script);
    assert_non_null(strstr(scene->logged, "deferred"));
    scene_close(scene);
}

/* Where deferred functions may run. */

static bool is_in_response_end; /* the server is inside exchange_clear(), which calls exchange->on_end */
static unsigned deferred_calls; /* so far */

static int note_deferred(lua_State *L)
{
    (void)L;
    assert_false(is_in_response_end);
    deferred_calls++;
    return 0;
}

static void (*script_on_end)(void *arg);

static void on_watched_end(void *arg)
{
    is_in_response_end = true;
    script_on_end(arg);
    is_in_response_end = false;
}

/* From now on note_deferred() knows whether it is called where the response ends. */
static int watch_end(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    script_on_end = coro->exchange->on_end;
    coro->exchange->on_end = on_watched_end;
    return 0;
}

/* No allocation succeeds any more until the response has ended and what is deferred had its chance. */
static int fail_memory(lua_State *L)
{
    (void)L;
    fake_mem_fail_after(1, true);
    return 0;
}

static int add_watchers(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "note_deferred", note_deferred);
    lua_register(L, "watch_end", watch_end);
    lua_register(L, "fail_memory", fail_memory);
    return 0;
}

static void without_any_memory_deferred_functions_run_once_and_not_where_the_response_ends(void **state)
{
    (void)state;
    struct scene *scene = scene_open_with(APP "app.get('/', function(req)\n"
                                              "    app.defer(function() note_deferred() end) watch_end()\n"
                                              "    if req.query.fail then fail_memory() end\n"
                                              "    return 'x'\n"
                                              "end)\n",
                                          add_watchers);
    deferred_calls = 0;
    assert_answer(scene, "/", "x"); /* the pools have what they need */
    assert_int_equal(deferred_calls, 1);
    struct fake_peer *peer = ask(scene, "/?fail=1");
    pass_ms(scene, 1);
    fake_mem_fail_after(0, false);
    assert_true(got(peer, "HTTP/1.1 200"));
    assert_int_equal(deferred_calls, 2);
    settle(scene);
    pass_ms(scene, 1000);
    assert_int_equal(deferred_calls, 2);
    scene_close(scene);
}

/* Memory. */

static const char rich_site[] = APP
    "app.set { debug = true }\n"
    "app.get('/defer', function(req)\n"
    "    app.defer(function() app.log('info', req.path) end) app.defer(function() error 'x' end) return 'x'\n"
    "end)\n"
    "app.get('/file', function() return app.file('%s', { root = '/tmp', download = 'a\\226\\130\\172', cache = '1h' }) end)\n"
    "app.get('/typed', function() return app.file('%s', { root = '/tmp', type = 'text/x' }) end)\n"
    "app.get('/cookie', function()\n"
    "    return app.html('x'):set_cookie('a', 'b', { max_age = '1h', expires = 1 }):set_cookie('c', 'd')\n"
    "end)\n"
    "app.get('/page', function(req) local x = req.nothing.at_all end)\n"
    "app.get('/relay', function()\n"
    "    local text = ''\n"
    "    for i in coroutine.wrap(function() for i = 1, 2 do app.sleep '1ms' coroutine.yield(i) end end) do\n"
    "        text = text .. i\n"
    "    end\n"
    "    return text\n"
    "end)\n";

static struct fake_peer *ask_json(struct scene *scene, const char *target)
{
    char text[128];
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n", target);
    fake_peer_send_text(peer, text);
    settle(scene);
    return peer;
}

static void play(struct scene *scene, bool must_answer)
{
    static const struct {
        const char *target, *text;
    } requests[] = {
        {"/defer", "\r\n\r\nx"}, {"/file", "attachment; "},    {"/typed", "Content-Type: text/x"}, {"/cookie", "c=d"},
        {"/page", "<h1>"},       {"/page", "\"traceback\":["}, {"/relay", "\r\n\r\n12"},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        bool is_json = requests[i].text[0] == '"';
        struct fake_peer *peer = is_json ? ask_json(scene, requests[i].target) : ask(scene, requests[i].target);
        for (int ms = 0; ms < 3; ms++) {
            pass_ms(scene, 1);
        }
        assert_true(got(peer, "HTTP/1.1 ") || fake_peer_saw_close(peer));
        if (must_answer && !got(peer, requests[i].text)) {
            fail_msg("%s: %s", requests[i].target, fake_peer_output(peer, NULL));
        }
        fake_peer_close(peer);
        settle(scene);
    }
}

static void memory_that_fails_at_any_step_harms_nobody_else(void **state)
{
    (void)state;
    char name[] = "/tmp/evserve-file-XXXXXX";
    char site[sizeof rich_site + 2 * sizeof name];
    int fd = mkstemp(name);
    assert_true(fd >= 0 && write(fd, "content", 7) == 7);
    close(fd);
    snprintf(site, sizeof site, rich_site, strrchr(name, '/') + 1, strrchr(name, '/') + 1);
    for (int forever = 0; forever < 2; forever++) {
        bool has_failed = true;
        uint64_t n = 1;
        for (; has_failed; n += forever == 0 ? 1 : 13) {
            struct scene *scene = scene_open(site);
            fake_mem_fail_after(n, forever == 1);
            play(scene, false);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            play(scene, true);
            scene_close(scene);
        }
        assert_true(n > 50);
    }
    unlink(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deferred_functions_wait_until_the_answer_is_sent),
        cmocka_unit_test(deferred_functions_run_when_the_answer_is_lost),
        cmocka_unit_test(without_any_memory_deferred_functions_run_once_and_not_where_the_response_ends),
        cmocka_unit_test(deferred_functions_of_one_request_run_in_turn_and_hold_up_no_other),
        cmocka_unit_test(what_is_due_when_the_script_stops_runs_and_the_rest_leaks_nothing),
        cmocka_unit_test(memory_that_fails_at_any_step_harms_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
