/* handler_cpu: what ends a run that takes too much processor time. Scripts spend time on the fake clocks, so each case
 * says to the millisecond when a run ends. */

#include "tests/lib/lua_scene.h"

#include <pthread.h>

/* spend(ms): work for so long. */
static int spend(lua_State *L)
{
    fake_sys_spend_ns((int64_t)lua_tointeger(L, 1) * 1000000);
    return 0;
}

/* idle(ms): time passes in which the thread does not run. */
static int idle(lua_State *L)
{
    fake_sys_advance_ms(lua_tointeger(L, 1));
    return 0;
}

static const char *read_by_calling(lua_State *L, void *arg, size_t *len)
{
    (void)arg;
    lua_pushvalue(L, 1);
    lua_call(L, 0, 0);
    *len = 0;
    return NULL;
}

/* swallow(fn): call fn as a C module might that loads code from where a Lua function reads it. */
static int swallow(lua_State *L)
{
    return lua_load(L, read_by_calling, NULL, "x") == 0;
}

static int add_functions(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "spend", spend);
    lua_register(L, "idle", idle);
    lua_register(L, "swallow", swallow);
    return 0;
}

/* work(ms) and rest(ms) end with enough instructions for a look at the clock. forever() never ends, but for the
 * clock. */
#define SITE                                                                                                           \
    APP "local function look() for i = 1, 1100 do end end\n"                                                           \
        "local function work(ms) spend(ms) look() end\n"                                                               \
        "local function rest(ms) idle(ms) look() end\n"                                                                \
        "local function forever() while true do spend(1) end end\n"                                                    \
        "app.get('/ok', function() return 'ok' end)\n"

static struct scene *open_site(const char *text)
{
    return scene_open_with(text, add_functions);
}

static void run_is_stopped_when_its_time_is_used_up_and_not_before(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/at', function() work(0) work(7) work(42) return 'x' end)\n"
                                         "app.get('/past', function() work(0) work(7) work(43) return 'x' end)\n"
                                         "app.get('/parts', function()\n"
                                         "    work(0) work(7) for i = 1, 42 do work(1) end return 'x'\n"
                                         "end)\n"
                                         "app.get('/parts-past', function()\n"
                                         "    work(0) work(7) for i = 1, 43 do work(1) end return 'x'\n"
                                         "end)\n");
    fake_sys_advance_ms(10); /* the mark of the start is too old */
    assert_status(scene, "/at", "200");
    assert_status(scene, "/parts", "200");
    assert_string_equal(scene->logged, "");
    assert_status(scene, "/past", "503");
    assert_status(scene, "/parts-past", "503");
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void log_says_which_line_was_at_work(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "\napp.get('/x', function()\n  forever()\nend)");
    char expected[512];
    assert_status(scene, "/x", "503");
    snprintf(
        expected, sizeof expected,
        "GET /x (route at %s:8): %s:5: stopped: more than 50 ms of processor time without a wait (handler_cpu) [client ",
        scene->path, scene->path);
    assert_memory_equal(scene->logged, expected, strlen(expected));
    assert_non_null(strstr(scene->logged, "]\nstack traceback:\n"));
    snprintf(expected, sizeof expected, "%s:9: in function", scene->path);
    assert_non_null(strstr(scene->logged, expected));
    assert_null(strstr(scene->logged, "evserve:"));
    scene_close(scene);
}

static void slow_function_of_c_counts_at_the_first_look(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE
                                    "app.get('/at', function() spend(49) look() return 'x' end)\n"
                                    "app.get('/past', function() spend(50) look() app.log('info', 'on') end)\n"
                                    "app.get('/idle', function() idle(40) look() spend(49) look() return 'x' end)\n"
                                    "app.get('/after', function() app.sleep(20) spend(50) look() return 'x' end)\n"
                                    "app.after(1000, function() spend(50) look() app.log('info', 'on') end)\n");
    fake_sys_advance_ms(10);
    assert_status(scene, "/at", "200");
    assert_status(scene, "/idle", "200");
    assert_string_equal(scene->logged, "");
    assert_status(scene, "/past", "503");
    struct fake_peer *peer = ask(scene, "/after");
    pass_ms(scene, 20);
    assert_true(got(peer, "503"));
    assert_null(strstr(scene->logged, "timer"));
    pass_ms(scene, 1000);
    assert_non_null(strstr(scene->logged, "timer: "));
    assert_null(strstr(scene->logged, "on\n"));
    scene_close(scene);
}

/* What ran since the mark, and the error of the coarse clock. */
static void time_that_may_be_of_the_run_before_does_not_count(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/before', function() spend(9) return 'x' end)\n"
                                         "app.get('/at', function() spend(59) look() return 'x' end)\n"
                                         "app.get('/past', function() spend(60) look() return 'x' end)\n");
    static const struct {
        const char *target, *status;
    } cases[] = {{"/at", "200"}, {"/past", "503"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_sys_advance_ms(10);
        assert_status(scene, "/before", "200");
        assert_status(scene, cases[i].target, cases[i].status);
    }
    scene_close(scene);
}

/* Each thread has a processor time of its own: a mark of another one says nothing. */
static void *ask_elsewhere(void *arg)
{
    (void)ask(arg, "/ok");
    return NULL;
}

static void mark_of_another_thread_is_not_used(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE);
    pthread_t thread;
    uint64_t before = fake_sys_count(FAKE_THREAD_CPU_NS);
    assert_status(scene, "/ok", "200");
    assert_true(fake_sys_count(FAKE_THREAD_CPU_NS) <= before + 1);
    before = fake_sys_count(FAKE_THREAD_CPU_NS);
    assert_int_equal(pthread_create(&thread, NULL, ask_elsewhere, scene), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(fake_sys_count(FAKE_THREAD_CPU_NS), before + 1);
    assert_status(scene, "/ok", "200");
    assert_int_equal(fake_sys_count(FAKE_THREAD_CPU_NS), before + 2);
    scene_close(scene);
}

static void time_in_which_others_run_does_not_count(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "spend(500)\n"
                                         "app.get('/x', function()\n"
                                         "    work(0) for i = 1, 48 do work(1) rest(1000) end return 'x'\n"
                                         "end)");
    assert_status(scene, "/x", "200");
    scene_close(scene);
}

static void each_wait_begins_anew(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/x', function()\n"
                                         "    for i = 1, 10 do work(7) work(40) app.sleep(1) end return 'x'\n"
                                         "end)");
    struct fake_peer *peer = ask(scene, "/x");
    for (int i = 0; i < 20; i++) {
        pass_ms(scene, 1);
    }
    assert_true(got(peer, "200 OK"));
    scene_close(scene);
}

static void small_handlers_ask_for_processor_time_each_10_ms(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE);
    assert_status(scene, "/ok", "200");
    uint64_t before = fake_sys_count(FAKE_THREAD_CPU_NS);
    for (int i = 0; i < 300; i++) {
        assert_status(scene, "/ok", "200");
    }
    assert_int_equal(fake_sys_count(FAKE_THREAD_CPU_NS), before);
    for (int i = 0; i < 300; i++) {
        fake_sys_advance_ms(1);
        assert_status(scene, "/ok", "200");
    }
    assert_int_equal(fake_sys_count(FAKE_THREAD_CPU_NS), before + 30);
    scene_close(scene);
}

static void nothing_a_handler_does_keeps_it_going(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "forever()",
        "pcall(forever) marker()",
        "while true do pcall(forever) end",
        "while true do xpcall(forever, forever) end",
        "while true do xpcall(error, forever) end",
        "local function again() pcall(forever) return again() end again()",
        "coroutine.wrap(forever)() marker()",
        "while true do pcall(coroutine.wrap(forever)) end",
        "local co = coroutine.create(forever) while true do coroutine.resume(co) end",
        "pcall(table.sort, { 1, 2, 3 }, function() pcall(forever) end) marker()",
        "table.sort({ 1, 2, 3 }, coroutine.wrap(function() while true do pcall(forever) end end)) marker()",
        "while true do pcall(string.gsub, 'xxx', 'x', function() pcall(forever) end) end",
        "return setmetatable({}, { __index = forever }).x",
        "app.log('info', setmetatable({}, { __tostring = forever }))",
        "error(setmetatable({}, { __tostring = forever }))",
        "return setmetatable({}, { __index = function() pcall(forever) end }).x",
        "return app.json.encode({ setmetatable({}, { __index = forever }) }) .. forever()",
        "for _ in forever do end",
        "load(function() forever() end) forever()",
        "assert(loadstring('while true do spend(1) end'))()",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char text[2048];
        snprintf(text, sizeof text,
                 SITE "local function marker() app.log('info', 'went on') end\n"
                      "app.get('/x', function()\n%s\nend)\n",
                 bodies[i]);
        struct scene *scene = open_site(text);
        struct fake_peer *peer = ask(scene, "/x");
        if (!got(peer, "HTTP/1.1 503 ")) {
            fail_msg("%s: %s", bodies[i], fake_peer_output(peer, NULL));
        }
        assert_null(strstr(scene->logged, "went on"));
        assert_non_null(strstr(scene->logged, "(handler_cpu)"));
        assert_null(strstr(strstr(scene->logged, "GET /x") + 1, "GET /x")); /* one line a failure */
        assert_status(scene, "/ok", "200");
        scene_close(scene);
    }
}

static void deadline_holds_again_after_c_swallowed_it(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/swallow', function() swallow(forever) return 'x' end)\n"
                                         "app.get('/x', forever)");
    assert_status(scene, "/swallow", "200");
    assert_non_null(strstr(scene->logged, "GET /swallow"));
    assert_status(scene, "/x", "503");
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void deadline_holds_in_middleware_and_error_functions(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.use(function(req, nxt)\n"
                                         "    if req.path == '/before' then forever() end\n"
                                         "    local res = nxt()\n"
                                         "    if req.path == '/after' then pcall(forever) end\n"
                                         "    return res\n"
                                         "end)\n"
                                         "app.on('error', function() pcall(forever) return 500, 'mine' end)\n"
                                         "app.get('/before', function() return 'x' end)\n"
                                         "app.get('/after', function() return 'x' end)\n"
                                         "app.get('/error', function() error('x') end)");
    assert_status(scene, "/before", "503");
    assert_status(scene, "/after", "503");
    assert_status(scene, "/error", "503");
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void others_have_their_turn_between_two_stopped_runs(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "local runs = 0\n"
                                         "app.get('/x', function() runs = runs + 1 forever() end)\n"
                                         "app.get('/runs', function() return tostring(runs) end)");
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    struct fake_peer *other = fake_peer_connect(scene->listener_fd);
    settle(scene);
    fake_peer_send_text(peer, "GET /x HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"
                              "GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    fake_peer_send_text(other, "GET /runs HTTP/1.1\r\nHost: x\r\n\r\n");
    settle(scene);
    assert_true(got(other, "\r\n\r\n1"));
    assert_answer(scene, "/runs", "3");
    scene_close(scene);
}

static void stream_that_is_stopped_is_cut(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/begun', function() return function(out)\n"
                                         "    out:write('begun') forever()\n"
                                         "end end)\n"
                                         "app.get('/not', function() return function(out) forever() end end)\n");
    struct fake_peer *peer = ask(scene, "/begun");
    assert_true(got(peer, "begun"));
    assert_false(got(peer, "\r\n0\r\n"));
    assert_true(fake_peer_saw_close(peer));
    assert_status(scene, "/not", "503");
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void timers_are_stopped_and_come_again(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "local runs = 0\n"
                                         "app.every('10s', function() runs = runs + 1 forever() end)\n"
                                         "app.get('/runs', function() return tostring(runs) end)");
    pass_ms(scene, 10000);
    assert_non_null(strstr(scene->logged, "timer: "));
    assert_non_null(strstr(scene->logged, "(handler_cpu)"));
    pass_ms(scene, 10000);
    assert_answer(scene, "/runs", "2");
    scene_close(scene);
}

static void start_may_take_its_time_but_stop_may_not(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "for i = 1, 100 do work(10) end\n"
                                         "app.on('start', function() for i = 1, 100 do work(10) end end)\n"
                                         "app.on('stop', function() pcall(forever) app.log('info', 'went on') end)\n");
    assert_string_equal(scene->logged, "");
    script_stop(scene->script);
    assert_non_null(strstr(scene->logged, ":5: stopped: more than 50 ms"));
    assert_null(strstr(scene->logged, "went on"));
    scene_close(scene);
}

static void budget_is_the_routes_own_or_the_scripts(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE
                                    "app.set { handler_cpu = '20ms' }\n"
                                    "local function some() work(0) work(3) work(30) return 'x' end\n"
                                    "app.get('/default', some)\n"
                                    "app.get('/more', { handler_cpu = '40ms' }, some)\n"
                                    "app.get('/less', { handler_cpu = 1 }, function() work(0) work(1) work(1) end)\n"
                                    "app.get('/none', { jit = true }, function()\n"
                                    "    for i = 1, 100 do work(10) end return 'x'\n"
                                    "end)\n"
                                    "app.get('/plain', { jit = false }, some)\n");
    assert_status(scene, "/default", "503");
    assert_status(scene, "/more", "200");
    assert_status(scene, "/less", "503");
    assert_status(scene, "/none", "200");
    assert_status(scene, "/plain", "503");
    scene_close(scene);
}

/* The process may not make memory executable. */
static void compiler_stays_off_where_its_code_could_not_run(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_TRY_CODE, 0, FAKE_FOREVER, -EACCES);
    struct scene *scene = open_site(
        SITE "local sum = function() local n = 0 for i = 1, 1e5 do n = n + i end return n end\n"
             "jit.on(sum, true)\n"
             "app.get('/jit', { jit = true }, function() return sum() .. '' end)\n"
             "app.get('/other', { jit = true }, function() return tostring(jit.status()) end)\n");
    assert_answer(scene, "/jit", "5000050000");
    assert_answer(scene, "/other", "false");
    const char *line = strstr(scene->logged, ": jit has no effect, the code is interpreted: this process may not make "
                                             "memory executable (Permission denied)");
    assert_non_null(line);
    assert_null(strstr(line + strlen(": jit"), "jit has no effect"));
    scene_close(scene);
}

static void large_blocks_make_for_a_look_at_the_clock(void **state)
{
    (void)state;
    /* Fewer instructions than lie between two looks. */
    struct scene *scene = open_site(SITE
                                    "app.get('/x', function()\n"
                                    "    for i = 1, 100 do local s = ('x'):rep(20000 + i) spend(10) end return 'x'\n"
                                    "end)");
    assert_status(scene, "/x", "503");
    scene_close(scene);
}

static void slow_functions_make_for_a_look_when_they_return(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "text:find('y')",      "text:match('y')",   "text:gsub('y', '')",      "string.rep('', 1e6)",
        "table.concat(empty)", "table.sort(empty)", "collectgarbage('count')",
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 SITE "local text, empty = ('x'):rep(2000), {}\n"
                      "for i = 1, 2000 do empty[i] = '' end\n"
                      "app.get('/x', function() for i = 1, 50 do local _ = %s end return 'x' end)",
                 calls[i]);
        struct scene *scene = open_site(text);
        uint64_t before = fake_sys_count(FAKE_NOW_NS);
        assert_status(scene, "/x", "200");
        if (fake_sys_count(FAKE_NOW_NS) - before < 50) {
            fail_msg("%s: no look at the clock", calls[i]);
        }
        scene_close(scene);
    }
}

static void matches_in_long_text_are_as_in_short_text(void **state)
{
    (void)state;
    struct scene *scene = open_site(
        SITE "local long = ('ab '):rep(1000)\n"
             "app.get('/x', function()\n"
             "    local n, m = 0, 0\n"
             "    for a, b in long:gmatch('(a)(b)') do n = n + (a == 'a' and b == 'b' and 1 or 0) end\n"
             "    for at in long:gmatch('()b') do m = m + at end\n"
             "    return n .. ' ' .. m .. ' ' .. select(2, long:gsub('b', '')) .. ' ' .. long:find(' a')\n"
             "end)\n"
             "app.get('/error', function()\n    for _ in long:gmatch('(') do end\nend)");
    assert_answer(scene, "/x", "1000 1500500 1000 3");
    assert_status(scene, "/error", "500");
    assert_non_null(strstr(scene->logged, ":15: unfinished capture"));
    scene_close(scene);
}

/* Of a slow function that nobody knows there are few calls until the run is stopped, once a look has found it slow. */
static void looks_are_closer_together_behind_a_slow_function(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE
                                    "local calls = 0\n"
                                    "app.get('/x', function() while true do calls = calls + 1 spend(5) end end)\n"
                                    "app.get('/calls', function() return calls < 300 and 'few' or calls .. '' end)");
    assert_status(scene, "/x", "503");
    assert_answer(scene, "/calls", "few");
    scene_close(scene);
}

/* When a run began is known from a clock that is up to 10 ms late, which says nothing about its functions. */
static void looks_of_short_runs_stay_apart(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/x', function() rest(9) return 'x' end)");
    uint64_t before = fake_sys_count(FAKE_NOW_NS);
    for (int i = 0; i < 200; i++) {
        assert_status(scene, "/ok", "200");
    }
    uint64_t usual = fake_sys_count(FAKE_NOW_NS) - before;
    for (int i = 0; i < 200; i++) {
        assert_status(scene, "/x", "200");
    }
    assert_in_range(fake_sys_count(FAKE_NOW_NS) - before - usual, usual + 200, usual + 300); /* about one each */
    scene_close(scene);
}

static void run_that_could_not_be_stopped_is_logged(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE
                                    "\napp.get('/long', function() spend(230) return 'x' end)\n"
                                    "app.get('/short', function() spend(99) return 'x' end)\n"
                                    "app.get('/waits', function() spend(60) app.sleep(1) spend(60) return 'x' end)\n"
                                    "app.get('/jit', { jit = true }, function() spend(230) return 'x' end)\n"
                                    "app.get('/tick', { handler_cpu = 1 }, function() idle(10) return 'x' end)\n"
                                    "app.after(10, function() spend(150) end)\n");
    char expected[256];
    assert_status(scene, "/short", "200");
    assert_status(scene, "/jit", "200");
    assert_status(scene, "/tick", "200"); /* the coarse clock may say that of a run that takes no time */
    struct fake_peer *peer = ask(scene, "/waits");
    pass_ms(scene, 1);
    pass_ms(scene, 1);
    assert_true(got(peer, "200 OK"));
    assert_null(strstr(scene->logged, "route at"));
    assert_status(scene, "/long", "200");
    snprintf(expected, sizeof expected,
             "route at %s:8: a run took 230 ms and could not be stopped (handler_cpu is 50 ms)", scene->path);
    assert_non_null(strstr(scene->logged, expected));
    pass_ms(scene, 10);
    assert_non_null(strstr(scene->logged, "timer: a run took 150 ms"));
    scene_close(scene);
}

/* Few values with many bytes each are as much work as many values. */
static void json_looks_at_the_clock_by_bytes_too(void **state)
{
    (void)state;
    struct scene *scene = open_site(
        SITE "local text = ('\\n'):rep(100000)\n"
             "local plain = ('x'):rep(100000)\n"
             "local read = '[\"' .. ('x'):rep(1000000) .. '\",\"' .. ('\\\\n'):rep(500000) .. '\"]'\n"
             "app.get('/escapes', function() return #app.json.encode { text, text, text, text } .. '' end)\n"
             "app.get('/plain', function() return #app.json.encode { plain, plain, plain, plain } .. '' end)\n"
             "app.get('/read', function() return #app.json.decode(read)[2] .. '' end)\n");
    static const struct {
        const char *target;
        unsigned looks; /* one each 64 KiB */
    } cases[] = {{"/escapes", 12}, {"/plain", 6}, {"/read", 30}};
    assert_status(scene, "/ok", "200");
    uint64_t before = fake_sys_count(FAKE_NOW_NS);
    assert_status(scene, "/ok", "200");
    uint64_t usual = fake_sys_count(FAKE_NOW_NS) - before + 10;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        before = fake_sys_count(FAKE_NOW_NS);
        assert_status(scene, cases[i].target, "200");
        assert_in_range(fake_sys_count(FAKE_NOW_NS) - before, cases[i].looks, 2 * cases[i].looks + usual);
    }
    scene_close(scene);
}

static void what_is_stopped_leaves_nothing_behind(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/x', function() pcall(forever) end)\n"
                                         "app.get('/collect', function()\n"
                                         "    collectgarbage() collectgarbage() return 'x'\n"
                                         "end)\n");
    size_t blocks = 0;
    size_t bytes = 0;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 50; i++) {
            assert_status(scene, "/x", "503");
            scene->logged[0] = '\0';
        }
        assert_answer(scene, "/collect", "x");
        if (round > 0) {
            assert_true(fake_mem_live() <= blocks);
            assert_true(fake_mem_live_bytes() <= bytes);
        }
        blocks = fake_mem_live();
        bytes = fake_mem_live_bytes();
    }
    scene_close(scene);
}

static void memory_that_fails_while_a_run_is_stopped_harms_nobody_else(void **state)
{
    (void)state;
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        struct scene *scene = open_site(SITE "app.get('/x', function() pcall(forever) end)");
        fake_mem_fail_after(n, true);
        struct fake_peer *peer = ask(scene, "/x");
        assert_true(got(peer, "HTTP/1.1 503 ") || got(peer, "HTTP/1.1 500 ") || fake_peer_saw_close(peer));
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_status(scene, "/ok", "200");
        scene_close(scene);
    }
}

/* 600 ms of work for 20 bytes: the client waits for each of them, the deadline does not come. */
static void write_of_a_stream_counts_as_a_wait(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/x', function() return 200, function(out)\n"
                                         "    for i = 1, 20 do work(7) work(23) out:write('x') end\n"
                                         "    work(40) out:write('y') work(40)\n"
                                         "end end)");
    struct fake_peer *peer = ask(scene, "/x");
    assert_true(got(peer, "200 OK"));
    assert_true(got(peer, "1\r\ny\r\n0\r\n\r\n"));
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void stream_is_stopped_when_it_works_too_long_between_two_writes(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "out:write('a') work(0) work(7) work(50) out:write('b')",
        "work(0) work(7) while true do work(1) out:write('') end", /* nothing was handed on */
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%sapp.get('/x', function() return 200, function(out) %s end end)", SITE,
                 bodies[i]);
        struct scene *scene = open_site(text);
        struct fake_peer *peer = ask(scene, "/x");
        assert_false(got(peer, "b\r\n"));
        assert_true(fake_peer_saw_close(peer));
        assert_non_null(strstr(scene->logged, "handler_cpu"));
        scene_close(scene);
    }
}

static void others_have_their_turn_after_a_millisecond_of_writing(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "local n = 0\n"
                                         "app.get('/stream', function() return 200, function(out)\n"
                                         "    for i = 1, 100 do n = i out:write('x') spend(1) end\n"
                                         "end end)\n"
                                         "app.get('/n', function() return 'n=' .. n end)");
    struct fake_peer *stream = fake_peer_connect(scene->listener_fd);
    struct fake_peer *other = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(stream, "GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
    fake_peer_send_text(other, "GET /n HTTP/1.1\r\nHost: test\r\n\r\n");
    settle(scene);
    assert_true(got(stream, "0\r\n\r\n"));
    assert_true(got(other, "n=2"));
    scene_close(scene);
}

/* What it writes goes out as it is made, and it ends when its client leaves. */
static void endless_stream_is_served_in_turns(void **state)
{
    (void)state;
    struct scene *scene = open_site(
        SITE "app.get('/x', function() return 200, function(out)\n"
             "    while true do spend(1) if not out:write('x') then app.log('info', 'end') return end end\n"
             "end end)");
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    struct fake_peer *other = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(peer, "GET /x HTTP/1.1\r\nHost: test\r\n\r\n");
    fake_peer_send_text(other, "GET /ok HTTP/1.1\r\nHost: test\r\n\r\n");
    for (int i = 0; i < 200; i++) { /* it never settles */
        assert_true(reactor_run_once(scene->reactor, 0) >= 0);
    }
    assert_true(got(peer, "1\r\nx\r\n"));
    assert_true(got(other, "200 OK"));
    fake_peer_close(peer);
    settle(scene);
    assert_string_equal(scene->logged, "end\n");
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_is_stopped_when_its_time_is_used_up_and_not_before),
        cmocka_unit_test(log_says_which_line_was_at_work),
        cmocka_unit_test(time_in_which_others_run_does_not_count),
        cmocka_unit_test(each_wait_begins_anew),
        cmocka_unit_test(slow_function_of_c_counts_at_the_first_look),
        cmocka_unit_test(time_that_may_be_of_the_run_before_does_not_count),
        cmocka_unit_test(mark_of_another_thread_is_not_used),
        cmocka_unit_test(small_handlers_ask_for_processor_time_each_10_ms),
        cmocka_unit_test(nothing_a_handler_does_keeps_it_going),
        cmocka_unit_test(deadline_holds_again_after_c_swallowed_it),
        cmocka_unit_test(deadline_holds_in_middleware_and_error_functions),
        cmocka_unit_test(others_have_their_turn_between_two_stopped_runs),
        cmocka_unit_test(stream_that_is_stopped_is_cut),
        cmocka_unit_test(write_of_a_stream_counts_as_a_wait),
        cmocka_unit_test(stream_is_stopped_when_it_works_too_long_between_two_writes),
        cmocka_unit_test(others_have_their_turn_after_a_millisecond_of_writing),
        cmocka_unit_test(endless_stream_is_served_in_turns),
        cmocka_unit_test(timers_are_stopped_and_come_again),
        cmocka_unit_test(start_may_take_its_time_but_stop_may_not),
        cmocka_unit_test(budget_is_the_routes_own_or_the_scripts),
        cmocka_unit_test(compiler_stays_off_where_its_code_could_not_run),
        cmocka_unit_test(large_blocks_make_for_a_look_at_the_clock),
        cmocka_unit_test(slow_functions_make_for_a_look_when_they_return),
        cmocka_unit_test(matches_in_long_text_are_as_in_short_text),
        cmocka_unit_test(looks_are_closer_together_behind_a_slow_function),
        cmocka_unit_test(looks_of_short_runs_stay_apart),
        cmocka_unit_test(run_that_could_not_be_stopped_is_logged),
        cmocka_unit_test(json_looks_at_the_clock_by_bytes_too),
        cmocka_unit_test(what_is_stopped_leaves_nothing_behind),
        cmocka_unit_test(memory_that_fails_while_a_run_is_stopped_harms_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
