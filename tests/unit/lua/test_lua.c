/* The Lua layer on the fake kernel: time, clients that are slow or leave, and memory that runs out, each at the moment
 * of the test's choice. What scripts may say and handlers may return is tested end to end (tests/e2e/test_lua.py). */

#include "tests/lib/lua_scene.h"

/* Time. */

static void sleep_ends_when_its_time_has_come(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "app.get('/', function() app.sleep '100ms' return 'awake' end)");
    struct fake_peer *peer = ask(scene, "/");
    pass_ms(scene, 99);
    assert_false(got(peer, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(peer, "awake"));
    scene_close(scene);
}

static void sleepers_wake_in_the_order_of_their_deadlines(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP
                                     "local order = ''\n"
                                     "app.get('/sleep/:ms', function(req)\n"
                                     "    app.sleep(tonumber(req.params.ms)) order = order .. req.params.ms .. ' '\n"
                                     "    return 'x'\n"
                                     "end)\n"
                                     "app.get('/order', function() return order end)");
    ask(scene, "/sleep/30");
    ask(scene, "/sleep/10");
    ask(scene, "/sleep/20");
    for (int i = 0; i < 30; i++) {
        pass_ms(scene, 1);
    }
    assert_answer(scene, "/order", "10 20 30 ");
    scene_close(scene);
}

static void interval_fires_without_drift_until_cancelled(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "local ticks, timer = 0\n"
                                         "timer = app.every('10ms', function() ticks = ticks + 1 end)\n"
                                         "app.get('/cancel', function() return tostring(timer:cancel()) end)\n"
                                         "app.get('/', function() return tostring(ticks) end)");
    for (int i = 0; i < 1000; i++) {
        pass_ms(scene, 1);
    }
    assert_answer(scene, "/", "100");
    assert_answer(scene, "/cancel", "true");
    assert_answer(scene, "/cancel", "false");
    pass_ms(scene, 100);
    assert_answer(scene, "/", "100");
    scene_close(scene);
}

static void interval_lets_turns_pass_while_its_run_sleeps(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "local runs = 0\n"
                                         "app.every('10ms', function() runs = runs + 1 app.sleep '35ms' end)\n"
                                         "app.get('/', function() return tostring(runs) end)");
    for (int i = 0; i < 89; i++) {
        pass_ms(scene, 1);
    }
    assert_answer(scene, "/", "2"); /* at 10 and 50: what was due at 20, 30, 40 and at 60, 70, 80 has passed */
    pass_ms(scene, 1);
    assert_answer(scene, "/", "3");
    scene_close(scene);
}

static void timers_end_with_the_script_and_sleepers_leak_nothing(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "app.every('10ms', function() app.sleep '1h' end)\n"
                                         "app.after('1h', function() end)\n"
                                         "app.get('/', function() app.sleep '1h' end)");
    pass_ms(scene, 50);
    ask(scene, "/");
    ask(scene, "/");
    scene_close(scene);
}

/* Clients that are slow. */

static const char stream_site[] = APP
    "local block, written, result = ('0123456789abcdef'):rep(1024), 0, 'none'\n"
    "app.get('/stream', function() return function(out)\n"
    "    for i = 1, 64 do\n"
    "        local ok, err = out:write(block)\n"
    "        if not ok then result = 'write says ' .. err return end\n"
    "        written = written + 1\n"
    "    end\n"
    "end end)\n"
    "app.get('/one', function() return function(out)\n"
    "    result = tostring(out:write(block:rep(64))) written = 64\n"
    "end end)\n"
    "app.get('/written', function() return tostring(written) end)\n"
    "app.get('/result', function() return result end)\n"
    "app.get('/sleeper', function() return function(out)\n"
    "    out:write('begun') local ok, err = pcall(app.sleep, '1h') result = 'sleep says ' .. tostring(err)\n"
    "    error(err, 0)\n"
    "end end)\n"
    "app.get('/blind', function() return function(out)\n"
    "    local ok, err = pcall(function() while true do out:write(block) end end)\n"
    "    result = 'ended by ' .. tostring(err)\n"
    "end end)\n";

/* Check a whole chunked answer: its content is the 16 digits again and again, len bytes of them. */
static void assert_content(const struct fake_peer *peer, size_t len)
{
    size_t left;
    const char *at = fake_peer_output(peer, &left);
    const char *end = at + left;
    size_t got_len = 0;
    at = (const char *)memmem(at, left, "\r\n\r\n", 4) + 4;
    for (;;) {
        char *data;
        size_t size = strtoul(at, &data, 16);
        if (size == 0) {
            assert_memory_equal(at, "0\r\n\r\n", 5);
            assert_ptr_equal(at + 5, end);
            break;
        }
        data += 2;
        for (size_t i = 0; i < size; i++, got_len++) {
            if (data[i] != "0123456789abcdef"[got_len % 16]) {
                fail_msg("byte %zu is wrong", got_len);
            }
        }
        at = data + size + 2;
    }
    assert_int_equal(got_len, len);
}

static void stream_waits_for_its_client(void **state)
{
    (void)state;
    for (int variant = 0; variant < 2; variant++) {
        struct scene *scene = scene_open(stream_site);
        struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
        fake_peer_set_room(peer, 1000);
        fake_peer_send_text(peer, variant == 0 ? "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
                                               : "GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
        settle(scene);
        struct fake_peer *other = ask(scene, "/written");
        assert_true(got(other, variant == 0 ? "\r\n\r\n3" : "\r\n\r\n0")); /* the fourth 16 KiB cross the high mark */
        for (int i = 0; i < 1200; i++) {
            fake_peer_add_room(peer, 1000);
            settle(scene);
        }
        assert_content(peer, 64 * 16384);
        assert_answer(scene, "/written", "64");
        scene_close(scene);
    }
}

static void stream_fits_into_any_limits(void **state)
{
    (void)state;
    static const char *const limits[] = {"write_cap = 4096, write_high_mark = 4096",
                                         "write_cap = 4096, write_high_mark = 1024",
                                         "write_cap = '1M', write_high_mark = '1M'"};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char text[sizeof stream_site + 128];
        snprintf(text, sizeof text, "%sapp.set { %s }", stream_site, limits[i]);
        struct scene *scene = scene_open(text);
        struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
        fake_peer_set_window(peer, 700);
        fake_peer_send_text(peer, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        settle(scene);
        assert_content(peer, 64 * 16384);
        scene_close(scene);
    }
}

static void stream_fits_into_the_limits_of_its_route(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "app.get('/stream', { write_cap = '8K', write_high_mark = '4K' }, function()\n"
                                         "    return function(out) out:write(('0123456789abcdef'):rep(6250)) end\n"
                                         "end)\n");
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_window(peer, 700);
    fake_peer_send_text(peer, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    assert_content(peer, 100000);
    scene_close(scene);
}

static void write_says_closed_when_the_client_leaves(void **state)
{
    (void)state;
    struct scene *scene = scene_open(stream_site);
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, 1000);
    fake_peer_send_text(peer, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    assert_answer(scene, "/result", "none");
    fake_peer_reset(peer, 0);
    settle(scene);
    assert_answer(scene, "/result", "write says closed");
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void second_write_after_closed_ends_the_stream(void **state)
{
    (void)state;
    struct scene *scene = scene_open(stream_site);
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, 1000);
    fake_peer_send_text(peer, "GET /blind HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    fake_peer_reset(peer, 0);
    settle(scene);
    assert_answer(scene, "/result", "ended by the client has gone");
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void sleep_is_cut_short_when_the_client_leaves(void **state)
{
    (void)state;
    struct scene *scene = scene_open(stream_site);
    struct fake_peer *peer = ask(scene, "/sleeper");
    assert_true(got(peer, "begun"));
    fake_peer_reset(peer, 0);
    settle(scene);
    assert_answer(scene, "/result", "sleep says the client has gone");
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void long_string_is_sent_from_where_it_is_and_then_let_go(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "local live = setmetatable({}, { __mode = 'v' })\n"
                                         "app.get('/long', function(req)\n"
                                         "    return ('x'):rep(1000000) .. req.id\n"
                                         "end)\n"
                                         "app.get('/memory', function()\n"
                                         "    collectgarbage() collectgarbage()\n"
                                         "    return collectgarbage('count') > 1000 and 'held' or 'free'\n"
                                         "end)\n");
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, 1000);
    fake_peer_send_text(peer, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    assert_answer(scene, "/memory", "held");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle(scene);
    size_t len;
    fake_peer_output(peer, &len);
    assert_true(len > 1000000);
    assert_answer(scene, "/memory", "free");

    peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, 1000);
    fake_peer_send_text(peer, "GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    fake_peer_reset(peer, 0);
    settle(scene);
    assert_answer(scene, "/memory", "free");
    scene_close(scene);
}

/* Requests. */

static void kept_request_never_sees_the_next_one(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "local kept\n"
                                         "app.get('/keep', function(req) kept = req return 'x' end)\n"
                                         "app.get('/secret', function(req)\n"
                                         "    local ok, path = pcall(function() return kept.path end)\n"
                                         "    return tostring(ok)\n"
                                         "end)");
    assert_answer(scene, "/keep", "x");
    assert_answer(scene, "/secret", "false");
    assert_answer(scene, "/secret", "false");
    scene_close(scene);
}

static void server_that_is_destroyed_ends_its_handlers(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "app.get('/', function()\n"
                                         "    local ok, err = pcall(app.sleep, '1h')\n"
                                         "    app.log('info', 'unwound', ok, err)\n"
                                         "end)");
    ask(scene, "/");
    script_stop(scene->script);
    server_destroy(scene->server);
    scene->server = NULL;
    assert_non_null(strstr(scene->logged, "cut, since the server stops; it waits at "));
    assert_non_null(strstr(scene->logged, "\nunwound false the client has gone\n"));
    scene_close(scene);
}

/* Hosts. */

static int add_number(lua_State *L, void *arg)
{
    lua_pushinteger(L, *(int *)arg);
    lua_setglobal(L, "number_of_host");
    return 0;
}

static int refuse(lua_State *L, void *arg)
{
    (void)L;
    (void)arg;
    return -EACCES;
}

static int raise(lua_State *L, void *arg)
{
    (void)arg;
    return luaL_error(L, "the host raised");
}

static void host_adds_to_the_state_before_the_script_runs(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    int number = 42;
    write_script(&scene, "assert(number_of_host == 42)");
    assert_int_equal(start(&scene, add_number, &number), 0);
    stop(&scene);
    assert_int_equal(start(&scene, refuse, NULL), -EINVAL);
    assert_non_null(strstr(scene.err, "lua_init of the host failed (-13)"));
    stop(&scene);
    assert_int_equal(start(&scene, raise, NULL), -EINVAL);
    assert_non_null(strstr(scene.err, "the host raised"));
    stop(&scene);
    unlink(scene.path);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
}

static void settings_of_the_host_win_over_the_scripts(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    struct script_host host = {.handler_cpu_ms = 7, .lua_memory_bytes = 1 << 26};
    write_script(&scene, APP "app.set { handler_cpu = '2s', lua_memory = '1M', debug = true }");
    assert_int_equal(reactor_create(&scene.reactor, NULL), 0);
    assert_int_equal(site_create(&scene.site, NULL), 0);
    assert_int_equal(script_open(&scene.script, scene.path, scene.site, scene.reactor, NULL, &host, NULL, 0), 0);
    assert_int_equal(script_settings(scene.script)->handler_cpu_ms, 7);
    assert_int_equal(script_settings(scene.script)->lua_memory_bytes, 1 << 26);
    assert_int_equal(script_settings(scene.script)->debug, 1);
    script_close(scene.script);

    assert_int_equal(script_open(&scene.script, scene.path, scene.site, scene.reactor, NULL, NULL, NULL, 0), 0);
    assert_int_equal(script_settings(scene.script)->handler_cpu_ms, 2000);
    script_close(scene.script);

    host.lua_memory_bytes = 1;
    assert_int_equal(script_open(&scene.script, scene.path, scene.site, scene.reactor, NULL, &host, scene.err,
                                 sizeof scene.err),
                     -ERANGE);
    assert_string_equal(scene.err, "lua_memory: 1 is out of range (1048576 to 1099511627776 bytes)");
    scene.script = NULL;
    stop(&scene);
    unlink(scene.path);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
}

static void two_scripts_live_side_by_side(void **state)
{
    (void)state;
    struct scene *first = scene_open(APP "n = 0 app.get('/', function() n = n + 1 return 'first ' .. n end)");
    struct scene *second = scene_open(APP "n = 10 app.get('/', function() n = n + 1 return 'second ' .. n end)");
    assert_answer(first, "/", "first 1");
    assert_answer(second, "/", "second 11");
    assert_answer(first, "/", "first 2");
    stop(second);
    unlink(second->path);
    free(second);
    assert_answer(first, "/", "first 3");
    scene_close(first);
}

static void listens_are_told_in_order(void **state)
{
    (void)state;
    struct scene *scene = scene_open(APP "app.listen '127.0.0.1:1' app.listen 'unix:/tmp/x'");
    assert_string_equal(script_listen(scene->script, 0), "127.0.0.1:1");
    assert_string_equal(script_listen(scene->script, 1), "unix:/tmp/x");
    assert_null(script_listen(scene->script, 2));
    scene_close(scene);
}

/* Through core/sys.h, and with the results of Lua's own loadfile(). */
static void files_are_loaded_as_lua_loads_them(void **state)
{
    (void)state;
    struct scene *scene = scene_open(
        APP "local path = os.tmpname()\n"
            "local function write(text) local file = io.open(path, 'w') file:write(text) file:close() end\n"
            "write '#!/usr/bin/env evserve\\nreturn x, ...\\n'\n"
            "local a, b = assert(loadfile(path, 't', { x = 1 }))(2)\n"
            "assert(a == 1 and b == 2)\n"
            "write 'return 3'\n"
            "assert(dofile(path) == 3)\n"
            "assert(debug.getinfo(loadfile(path)).source == '@' .. path)\n"
            "local chunk, err = loadfile(path, 'b')\n"
            "assert(chunk == nil and err:find 'attempt to load chunk with wrong mode')\n"
            "write 'return +'\n"
            "chunk, err = loadfile(path)\n"
            "assert(chunk == nil and err:find(path .. ':1: ', 1, true))\n"
            "os.remove(path)\n"
            "chunk, err = loadfile(path)\n"
            "assert(chunk == nil and err == 'cannot open ' .. path .. ': No such file or directory')\n"
            "chunk, err = loadfile '/'\n"
            "assert(chunk == nil and err == 'cannot open /: Is a directory')\n"
            "assert(not pcall(loadfile, {}))\n"
            "assert(not pcall(require, 'no.such.module'))\n");
    scene_close(scene);
}

static void error_text_is_cut_to_its_room(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    char err[16];
    write_script(&scene, "error('a long text that has no room')");
    assert_int_equal(reactor_create(&scene.reactor, NULL), 0);
    assert_int_equal(site_create(&scene.site, NULL), 0);
    assert_int_equal(script_open(&scene.script, scene.path, scene.site, scene.reactor, NULL, NULL, err, sizeof err),
                     -EINVAL);
    assert_int_equal(strlen(err), sizeof err - 1);
    assert_int_equal(script_open(&scene.script, scene.path, scene.site, scene.reactor, NULL, NULL, NULL, 0), -EINVAL);
    scene.script = NULL;
    stop(&scene);
    unlink(scene.path);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
}

/* Memory that runs out. */

static const char rich_site[] = APP
    "app.listen '127.0.0.1:0'\n"
    "app.set { max_body = '1M', idle_timeout = '5s' }\n"
    "app.static('/files', '/tmp', { cache = '1h' })\n"
    "app.use(function(req, nxt) local res = nxt() res.headers['x-a'] = 'b' return res end)\n"
    "app.on('error', function(req, err) return 500, 'sorry' end)\n"
    "app.on('start', function() end)\n"
    "app.every('10ms', function() app.sleep '1ms' end)\n"
    "app.after('1ms', function() error('timer') end)\n"
    "app.get('/text/:name', function(req) return 'text ' .. req.params.name, { ['x-b'] = { '1', '2' } } end)\n"
    "app.get('/json', function(req)\n"
    "    return { req.headers, req.query, req:query_all('a'), req.peer, req.id, app.json.decode('[1,\"\\\\n\"]') }\n"
    "end)\n"
    "app.get('/long', function(req) return ('x'):rep(20000) .. req.id end)\n"
    "app.get('/error', function(req) error({}) end)\n"
    "app.get('/yield', function(req) coroutine.yield() end)\n"
    "app.get('/stats', function(req) return app.stats() end)\n"
    "app.get('/sleep', function(req) app.sleep '1ms' app.log('info', 'slept', req) return 'slept' end)\n"
    "app.get('/redirect', function(req) return app.redirect('/text/x') end)\n"
    "app.redirect_from('/old/*rest', '/text/*rest')\n"
    "app.headers('/', { ['x-rule'] = { 'one', 'two' }, etag = false })\n"
    "app.cache('/', { ['*.css'] = '1y, immutable', ['text/html'] = 0 })\n"
    "app.deny('/closed', { '192.0.2.0/24', 'all' })\n"
    "app.get('/files/nope', function(req) return app.pass end)\n"
    "app.get('/stream', function(req) return function(out)\n"
    "    out:write(('y'):rep(100000)) app.sleep '1ms' out:write('end')\n"
    "end end)\n";

static void memory_that_fails_at_any_step_of_the_start_leaks_nothing(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    uint64_t n = 0;
    write_script(&scene, rich_site);
    do {
        fake_mem_fail_after(++n, false);
        scene.err[0] = '\0';
        int rv = start(&scene, NULL, NULL);
        if (rv < 0 && scene.script == NULL && scene.site != NULL) {
            assert_true(rv == -ENOMEM || rv == -EINVAL);
            assert_true(scene.err[0] != '\0');
        }
        stop(&scene);
        assert_int_equal(fake_mem_live(), 0);
        assert_int_equal(fake_sys_open_fds(), 0);
    } while (fake_mem_failed());
    assert_true(n > 100);
    fake_mem_fail_after(0, false);
    unlink(scene.path);
    fake_sys_reset();
}

/* Requests of every kind while the n-th allocation fails. Each gets an answer, or its connection is cut. */
static void play_requests(struct scene *scene)
{
    static const char *const targets[] = {"/text/ann?x=1", "/json?a=1&a=2", "/long",     "/error",      "/yield",
                                          "/stats",        "/sleep",        "/redirect", "/files/nope", "/stream"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct fake_peer *peer = ask(scene, targets[i]);
        for (int ms = 0; ms < 4; ms++) {
            pass_ms(scene, 1);
        }
        assert_true(got(peer, "HTTP/1.1 ") || fake_peer_saw_close(peer));
        fake_peer_close(peer);
        settle(scene);
    }
}

static void memory_that_fails_at_any_step_of_a_request_harms_nobody_else(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        bool has_failed = true;
        uint64_t n = 1;
        for (; has_failed; n += forever == 0 ? 1 : 13) {
            struct scene *scene = scene_open(rich_site);
            fake_mem_fail_after(n, forever == 1);
            play_requests(scene);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            struct fake_peer *peer = ask(scene, "/text/bob");
            assert_true(got(peer, "text bob"));
            peer = ask(scene, "/stream");
            for (int ms = 0; ms < 4; ms++) {
                pass_ms(scene, 1);
            }
            assert_true(got(peer, "end\r\n0\r\n\r\n"));
            scene_close(scene);
        }
        assert_true(n > 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sleep_ends_when_its_time_has_come),
        cmocka_unit_test(sleepers_wake_in_the_order_of_their_deadlines),
        cmocka_unit_test(interval_fires_without_drift_until_cancelled),
        cmocka_unit_test(interval_lets_turns_pass_while_its_run_sleeps),
        cmocka_unit_test(timers_end_with_the_script_and_sleepers_leak_nothing),
        cmocka_unit_test(stream_waits_for_its_client),
        cmocka_unit_test(stream_fits_into_any_limits),
        cmocka_unit_test(stream_fits_into_the_limits_of_its_route),
        cmocka_unit_test(write_says_closed_when_the_client_leaves),
        cmocka_unit_test(second_write_after_closed_ends_the_stream),
        cmocka_unit_test(sleep_is_cut_short_when_the_client_leaves),
        cmocka_unit_test(long_string_is_sent_from_where_it_is_and_then_let_go),
        cmocka_unit_test(kept_request_never_sees_the_next_one),
        cmocka_unit_test(server_that_is_destroyed_ends_its_handlers),
        cmocka_unit_test(host_adds_to_the_state_before_the_script_runs),
        cmocka_unit_test(settings_of_the_host_win_over_the_scripts),
        cmocka_unit_test(two_scripts_live_side_by_side),
        cmocka_unit_test(listens_are_told_in_order),
        cmocka_unit_test(error_text_is_cut_to_its_room),
        cmocka_unit_test(files_are_loaded_as_lua_loads_them),
        cmocka_unit_test(memory_that_fails_at_any_step_of_the_start_leaks_nothing),
        cmocka_unit_test(memory_that_fails_at_any_step_of_a_request_harms_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
