/* lua_memory: what a script may hold, what happens beyond it, and that the server goes on. */

#include "lua/anchor.h"
#include "lua/memory.h"
#include "tests/lib/lua_scene.h"

enum {
    CAP = 4 << 20,
    USERDATA_HEAD = 48, /* what LuaJIT puts before the bytes of a userdata (GC64) */
    OVERSHOOT = 655360, /* by which a block that may be a stack is allowed to exceed the cap */
};

static struct scene *open_capped(const char *text)
{
    char whole[4096];
    snprintf(whole, sizeof whole,
             "%sapp.get('/ok', function() return 'ok' end)\n"
             "app.get('/held', function() collectgarbage() collectgarbage() return 'x' end)\n",
             text);
    return scene_open(whole);
}

#define SITE APP "app.set { lua_memory = '4M', handler_cpu = '1h' }\n"

static size_t most_held; /* by any script of a test, as its handlers see it with note() */

/* fill(extra): a block that makes the state hold extra bytes more than the cap. */
static int fill(lua_State *L)
{
    const struct script *script = script_of(L);
    lua_gc(L, LUA_GCSTOP, 0);
    size_t room = CAP - script->memory_bytes - USERDATA_HEAD;
    lua_newuserdata(L, (size_t)((ptrdiff_t)room + lua_tointeger(L, 1)));
    assert_int_equal(script->memory_bytes, CAP + lua_tointeger(L, 1));
    return 1;
}

static int note(lua_State *L)
{
    size_t held = script_of(L)->memory_bytes;
    most_held = held > most_held ? held : most_held;
    return 0;
}

static int add_functions(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "fill", fill);
    lua_register(L, "note", note);
    return 0;
}

static struct scene *open_site(const char *text)
{
    return scene_open_with(text, add_functions);
}

static void cap_can_be_reached_and_not_exceeded(void **state)
{
    (void)state;
    struct scene *scene = open_site(SITE "app.get('/at', function() fill(0) return 'x' end)\n"
                                         "app.get('/past', function() fill(1) return 'x' end)\n"
                                         "app.get('/ok', function() collectgarbage 'restart' return 'x' end)\n");
    assert_status(scene, "/at", "200");
    assert_string_equal(scene->logged, "");
    assert_status(scene, "/ok", "200");
    assert_status(scene, "/past", "503");
    assert_non_null(strstr(scene->logged, "not enough memory: "));
    assert_non_null(strstr(scene->logged, "lua_memory is 4194304"));
    assert_non_null(strstr(scene->logged, "GET /past (route at "));
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void whatever_grows_without_end_is_a_503_and_is_let_go(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "local t = {} while true do t[#t + 1] = {} note() end",
        "local t = {} while true do t[#t + 1] = #t note() end",
        "local t, n = {}, 0 while true do n = n + 1 t['k' .. n] = true note() end",
        "local s = 'x' while true do s = s .. s note() end",
        "local s = 'x' while true do s = s:rep(2) note() end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t note() end",
        "local t = {} while true do t[#t + 1] = coroutine.create(note) note() end",
        "local t = {} while true do t[#t + 1] = function() return t end note() end",
        "local t = {} for i = 1, 2000 do t[i] = { i } end\n"
        "while true do for i = 1, #t do local u = t[i] for j = 1, 100 do u[#u + 1] = i end note() end end",
        "return ('x'):rep(1e9)",
        "local t = {} for i = 1, 1000 do t[i] = 'xxxxxxxxxx' end\n"
        "while true do t[1] = table.concat(t, t[1]) note() end",
        "local t = {} while true do t = { t, t } note() end",
        "return app.json.decode(('['):rep(100) .. ('[1],'):rep(200000) .. '1' .. (']'):rep(100))",
        "local t = {} t.t = t for i = 1, 100000 do t[i] = 'xxxxxxxxxx' .. i end return { t[1], t }",
        "local function f(...) return f('x', ...) end f()",
        "return function(out) local s = 'x' while true do s = s .. s note() end end",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char text[2048];
        snprintf(text, sizeof text,
                 SITE "app.get('/x', function()\n%s\nend)\n"
                      "app.get('/ok', function() return 'ok' end)\n",
                 bodies[i]);
        struct scene *scene = open_site(text);
        most_held = 0;
        for (int round = 0; round < 2; round++) {
            struct fake_peer *peer = ask(scene, "/x");
            bool is_overflow = strstr(bodies[i], "f(...)") != NULL; /* the stack ends first */
            if (!got(peer, is_overflow ? "HTTP/1.1 500 " : "HTTP/1.1 503 ")) {
                fail_msg("%s: %s\n%s", bodies[i], fake_peer_output(peer, NULL), scene->logged);
            }
            assert_non_null(strstr(scene->logged, is_overflow ? "stack overflow" : "lua_memory is 4194304"));
            assert_true(most_held <= CAP + OVERSHOOT);
            assert_status(scene, "/ok", "200");
            scene->logged[0] = '\0';
            pass_ms(scene, 1000); /* there is a line a second of it */
        }
        scene_close(scene);
    }
}

static void caught_error_leaves_the_handler_at_work(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE "app.get('/x', function()\n"
                                           "    local ok, err = pcall(string.rep, 'x', 5000000)\n"
                                           "    return tostring(ok) .. ' ' .. err\n"
                                           "end)\n"
                                           "app.on('error', function(req, err) return 507, 'mine: ' .. err end)\n"
                                           "app.get('/y', function() return ('x'):rep(5000000) end)\n");
    assert_answer(scene, "/x", "false not enough memory");
    assert_string_equal(scene->logged, "");
    assert_answer(scene, "/y", "mine: not enough memory");
    scene_close(scene);
}

static void garbage_is_collected_before_the_cap_is_felt(void **state)
{
    (void)state;
    /* 2.8 MB stay. LuaJIT itself would begin to collect at twice that. */
    struct scene *scene = open_capped(SITE "local kept = {}\n"
                                           "for i = 1, 280 do kept[i] = ('x'):rep(10000) .. i end\n"
                                           "collectgarbage() collectgarbage()\n"
                                           "app.get('/x', function()\n"
                                           "    for i = 1, 1000 do local s = ('y'):rep(10000) .. i end return 'x'\n"
                                           "end)\n"
                                           "app.get('/y', function() return { ('y'):rep(10000) } end)\n");
    assert_status(scene, "/x", "200");
    for (int i = 0; i < 300; i++) {
        assert_status(scene, "/y", "200");
    }
    assert_string_equal(scene->logged, "");
    scene_close(scene);
}

static void full_state_lets_nobody_in_until_something_is_let_go(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE
                                      "local kept = {}\n"
                                      "app.after('60s', function() kept = nil end)\n"
                                      "app.get('/keep', function()\n"
                                      "    for i = 1, 800 do\n"
                                      "        if not pcall(function() kept[i] = ('x'):rep(10000) .. i end) then\n"
                                      "            return 'full'\n"
                                      "        end\n"
                                      "    end\n"
                                      "end)\n"
                                      "app.get('/sleep', function() app.sleep '30s' kept = {} return 'woken' end)\n"
                                      "app.static('/files', '/tmp')\n");
    struct fake_peer *sleeper = ask(scene, "/sleep");
    assert_answer(scene, "/keep", "full");
    assert_status(scene, "/ok", "503");
    assert_non_null(strstr(scene->logged, "lua_memory is 4194304"));
    assert_status(scene, "/files/evserve-has-no-such-file", "404"); /* no Lua in it */
    pass_ms(scene, 30000);
    assert_true(got(sleeper, "woken"));
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static unsigned count(const char *text, const char *what)
{
    unsigned found = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        found++;
    }
    return found;
}

/* A cache that leaves no room for a handler: 15/16 of the cap are "full". */
#define CACHE                                                                                                          \
    "local cache\n"                                                                                                    \
    "app.get('/keep', function()\n"                                                                                    \
    "    cache = {}\n"                                                                                                 \
    "    pcall(function() for i = 1, 1000 do cache[i] = ('x'):rep(10000) .. i end end)\n"                              \
    "    return 'x'\n"                                                                                                 \
    "end)\n"

static void timer_of_the_scripts_own_ends_a_full_state(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE CACHE "app.every('5s', function()\n"
                                                 "    local room = ('y'):rep(100000)\n" /* beyond the cap */
                                                 "    cache = #room < 0 and cache or nil\n"
                                                 "end)");
    assert_status(scene, "/keep", "200");
    assert_status(scene, "/ok", "503");
    for (int i = 0; i < 7; i++) {
        pass_ms(scene, 1000);
    }
    assert_answer(scene, "/ok", "ok");
    scene_close(scene);
}

static void reserve_is_for_timers_and_has_an_end(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE CACHE "local got = {}\n"
                                                 "app.after('5s', function()\n"
                                                 "    for i = 1, 100 do got[i] = ('y'):rep(100000) .. i end\n"
                                                 "end)\n");
    assert_status(scene, "/keep", "200");
    for (int i = 0; i < 6; i++) {
        pass_ms(scene, 1000);
    }
    assert_non_null(strstr(scene->logged, "timer: "));
    assert_non_null(strstr(scene->logged, "not enough memory"));
    assert_in_range(scene->script->memory_bytes, CAP, CAP + CAP / MEMORY_RESERVE_PART);
    assert_status(scene, "/ok", "503");
    scene_close(scene);
}

static void script_is_asked_to_let_go_before_anybody_is_refused(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE CACHE
                                      "app.on('memory', function() app.log('info', 'asked') error('oops') end)\n"
                                      "app.on('memory', function() cache = nil end)\n");
    assert_status(scene, "/keep", "200");
    assert_null(strstr(scene->logged, "asked"));
    assert_answer(scene, "/ok", "ok");
    assert_int_equal(count(scene->logged, "asked"), 1);
    assert_int_equal(count(scene->logged, "oops"), 1);
    scene_close(scene);
}

/* Entries that are larger than what is free when the state is not yet full. */
#define BIG_CACHE                                                                                                      \
    "local cache, n = {}, 0\n"                                                                                         \
    "app.get('/add', function() n = n + 1 cache[n] = ('x'):rep(900000) .. n return 'x' end)\n"                         \
    "app.get('/grow', function() n = n + 1 cache[n] = {} for i = 1, 100000 do cache[n][i] = i end return 'x' end)\n"

static void script_is_asked_when_a_run_wants_more_than_is_free(void **state)
{
    (void)state;
    static const char *const targets[] = {"/add", "/grow"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct scene *scene = open_capped(SITE BIG_CACHE
                                          "app.on('memory', function() app.log('info', 'asked') cache = {} end)\n");
        unsigned served = 0, refused = 0;
        for (int round = 0; round < 40; round++) {
            struct fake_peer *peer = ask(scene, targets[i]);
            if (got(peer, "HTTP/1.1 200 ")) {
                served++;
            } else {
                assert_true(got(peer, "HTTP/1.1 503 "));
                refused++;
            }
        }
        assert_int_equal(served + refused, 40);
        assert_true(served >= 25);
        assert_true(count(scene->logged, "asked") >= 5);
        scene_close(scene);
    }
}

static void runs_that_fail_for_want_of_memory_are_one_line_and_one_question_a_second(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE BIG_CACHE "app.on('memory', function() app.log('info', 'asked') end)\n"
                                                     "app.get('/never', function() return ('x'):rep(1e9) end)\n");
    for (int i = 0; i < 10; i++) {
        assert_status(scene, "/never", "503");
    }
    assert_int_equal(count(scene->logged, "asked"), 0); /* there would be no room for that in an empty state */
    assert_int_equal(count(scene->logged, "and lua_memory is 4194304"), 1);
    pass_ms(scene, 1000);
    for (int i = 0; i < 4; i++) {
        ask(scene, "/add");
    }
    for (int i = 0; i < 20; i++) {
        assert_status(scene, "/add", "503");
    }
    assert_int_equal(count(scene->logged, "asked"), 1);
    assert_int_equal(count(scene->logged, "lua_memory is 4194304 (and 9 more since the last such line)"), 1);
    assert_int_equal(count(scene->logged, "lua_memory is 4194304"), 2);
    assert_status(scene, "/ok", "200"); /* there is room for that */
    pass_ms(scene, 1000);
    assert_status(scene, "/add", "503");
    assert_int_equal(count(scene->logged, "asked"), 2);
    scene_close(scene);
}

static void full_state_is_one_line_and_one_question_a_second(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE CACHE "app.on('memory', function() app.log('info', 'asked') end)\n");
    assert_status(scene, "/keep", "200");
    for (int i = 0; i < 20; i++) {
        assert_status(scene, "/ok", "503");
    }
    assert_int_equal(count(scene->logged, "asked"), 1);
    assert_int_equal(count(scene->logged, "and lua_memory is 4194304\n"), 1);
    assert_int_equal(count(scene->logged, "and lua_memory is"), 1);
    pass_ms(scene, 1000);
    assert_status(scene, "/ok", "503");
    assert_int_equal(count(scene->logged, "asked"), 2);
    assert_non_null(strstr(scene->logged, "lua_memory is 4194304 (and 19 more since the last such line)"));
    scene_close(scene);
}

static unsigned full_reports, full_ends;

static void count_report(void *arg, bool ends)
{
    assert_ptr_equal(arg, &full_reports);
    full_reports++;
    full_ends += ends;
}

/* It is asked for once a second, and reported each time lua_full_timeout has passed. */
static void state_that_stays_full_is_reported(void **state)
{
    (void)state;
    static const char *const sites[] = {SITE CACHE "app.set { lua_full_timeout = '5s' }\n",
                                        SITE CACHE "app.set { lua_full_timeout = '5s', lua_full_exit = true }\n",
                                        SITE CACHE "app.set { lua_full_timeout = 0 }\n"};
    for (unsigned i = 0; i < sizeof sites / sizeof sites[0]; i++) {
        struct scene *scene = open_capped(sites[i]);
        server_service(scene->server)->on_full = count_report;
        server_service(scene->server)->on_full_arg = &full_reports;
        full_reports = full_ends = 0;
        assert_status(scene, "/keep", "200");
        assert_status(scene, "/ok", "503"); /* full from now on */
        for (unsigned ms = 0; ms < 12000; ms += 1000) {
            assert_int_equal(full_reports, i == 2 ? 0 : ms < 5000 ? 0 : ms < 10000 ? 1 : 2);
            pass_ms(scene, 1000);
            assert_status(scene, "/ok", "503");
        }
        assert_int_equal(full_ends, i == 1 ? full_reports : 0);
        scene_close(scene);
    }
}

static struct fake_peer *ask_and_not_read(struct scene *scene, const char *target)
{
    char text[128];
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_set_room(peer, 1000);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    fake_peer_send_text(peer, text);
    settle(scene);
    return peer;
}

/* Answers of 700,000 bytes: two of them are less than half of the cap, and a third one is too much. */
#define ANSWERS                                                                                                        \
    "local n = 0\n"                                                                                                    \
    "app.get('/own', function() n = n + 1 return ('x'):rep(700000 + n) end)\n"                                         \
    "app.get('/stream', function() return function(out) n = n + 1 out:write(('x'):rep(700000 + n)) end end)\n"         \
    "app.get('/shared', function() return ('s'):rep(700000) end)\n"

static void clients_that_do_not_read_are_cut_for_others(void **state)
{
    (void)state;
    static const char *const targets[] = {"/own", "/stream"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct scene *scene = open_capped(SITE ANSWERS);
        struct fake_peer *first = ask_and_not_read(scene, targets[i]);
        pass_ms(scene, 10);
        struct fake_peer *second = ask_and_not_read(scene, targets[i]);
        pass_ms(scene, 10);
        fake_peer_add_room(first, 1000); /* so it is the second one that has taken nothing for longest */
        settle(scene);
        assert_true(anchor_unsent_bytes(scene->script) > 1400000);
        pass_ms(scene, 10);
        assert_status(scene, "/own", "200");
        assert_true(fake_peer_saw_close(second));
        assert_false(fake_peer_saw_close(first));
        assert_non_null(strstr(scene->logged, "was cut because its client does not read it"));
        fake_peer_add_room(first, 1000000);
        settle(scene);
        assert_int_equal(anchor_unsent_bytes(scene->script), 0);
        assert_int_equal(scene->script->cut_bytes, 0);
        for (int round = 0; round < 20; round++) {
            ask_and_not_read(scene, targets[i]);
        }
        assert_true(anchor_unsent_bytes(scene->script) <= CAP / 2);
        assert_status(scene, "/ok", "200");
        scene_close(scene);
    }
}

static void text_that_many_wait_for_is_held_once(void **state)
{
    (void)state;
    struct scene *scene = open_capped(SITE ANSWERS);
    struct fake_peer *peers[10];
    for (int i = 0; i < 10; i++) {
        peers[i] = ask_and_not_read(scene, "/shared");
    }
    assert_int_equal(anchor_unsent_bytes(scene->script), 700000);
    for (int i = 0; i < 10; i++) {
        assert_false(fake_peer_saw_close(peers[i]));
        fake_peer_add_room(peers[i], 1000000);
    }
    settle(scene);
    assert_int_equal(anchor_unsent_bytes(scene->script), 0);
    scene_close(scene);
}

static void stacks_grow_beyond_the_cap(void **state)
{
    (void)state;
    /* Full but for a little, a deep recursion still has its stack, and is stopped only then. */
    struct scene *scene = open_site(SITE
                                    "local function deep(n) if n == 0 then return 0 end return 1 + deep(n - 1) end\n"
                                    "app.get('/x', function()\n"
                                    "    local block = fill(-20000)\n"
                                    "    local ok, err = pcall(deep, 7000)\n"
                                    "    return tostring(block and err)\n"
                                    "end)\n"
                                    "app.get('/ok', function() collectgarbage 'restart' return 'x' end)\n");
    assert_status(scene, "/x", "503");
    assert_non_null(strstr(scene->logged, "lua_memory is 4194304"));
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void start_up_is_held_to_the_cap(void **state)
{
    (void)state;
    struct scene scene = {.path = ""};
    write_script(&scene, SITE "local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1000) .. #t end\n");
    assert_int_equal(start(&scene, NULL, NULL), -ENOMEM);
    assert_non_null(strstr(scene.err, ": not enough memory: "));
    assert_non_null(strstr(scene.err, "lua_memory is 4194304"));
    stop(&scene);
    unlink(scene.path);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
}

static void finalizers_that_fail_harm_no_handler(void **state)
{
    (void)state;
    struct scene *scene = open_capped(
        SITE "app.get('/x', function()\n"
             "    for i = 1, 20 do\n"
             "        local u = newproxy(true) getmetatable(u).__gc = function() error('gc') end\n"
             "    end\n"
             "    local s for i = 1, 300 do s = ('x'):rep(20000) .. i end return 'x'\n"
             "end)\n");
    for (int i = 0; i < 20; i++) {
        struct fake_peer *peer = ask(scene, "/x");
        assert_true(got(peer, "HTTP/1.1 "));
        fake_peer_close(peer);
        settle(scene);
    }
    for (int i = 0; i < 40; i++) { /* the errors of those that are left */
        struct fake_peer *peer = ask(scene, "/held");
        fake_peer_close(peer);
        settle(scene);
    }
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

static void finalizers_are_held_to_a_cap_while_everything_is_collected(void **state)
{
    (void)state;
    most_held = 0;
    struct scene *scene = open_site(
        SITE "app.get('/x', function()\n"
             "    for i = 1, 5 do\n"
             "        getmetatable(newproxy(true)).__gc = function()\n"
             "            local t = {}\n"
             "            for k = 1, 400000 do t[k] = { k } if k % 1000 == 0 then note() end end\n"
             "        end\n"
             "    end\n"
             "    local s for i = 1, 300 do s = ('x'):rep(20000) .. i end return 'x'\n"
             "end)\n"
             "app.get('/ok', function() return 'ok' end)\n");
    fake_peer_close(ask(scene, "/x"));
    settle(scene);
    for (int i = 0; i < 10; i++) { /* those that are left */
        fake_sys_advance_ms(1000);
        settle(scene);
        fake_peer_close(ask(scene, "/ok"));
        settle(scene);
    }
    assert_in_range(most_held, 1, CAP + CAP / 2 + OVERSHOOT);
    assert_status(scene, "/ok", "200");
    scene_close(scene);
}

/* More request objects than there is memory set aside for: each is another one, and is over when its request is. */
static void requests_that_a_script_keeps_are_all_different(void **state)
{
    (void)state;
    enum { KEPT = 2100 };
    struct scene *scene = scene_open(APP
                                     "local kept = {}\n"
                                     "app.get('/keep', function(req) kept[#kept + 1] = req return 'x' end)\n"
                                     "app.get('/look', function(req)\n"
                                     "    local seen, over = {}, 0\n"
                                     "    for _, old in ipairs(kept) do\n"
                                     "        if seen[old] or old == req then return 'twice' end\n"
                                     "        seen[old] = true\n"
                                     "        if not pcall(function() return old.method end) then over = over + 1 end\n"
                                     "    end\n"
                                     "    return tostring(over)\n"
                                     "end)\n"
                                     "app.get('/drop', function() kept = {} collectgarbage() return 'x' end)\n");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < KEPT; i++) {
            struct fake_peer *peer = ask(scene, "/keep");
            assert_true(got(peer, "\r\n\r\nx"));
            fake_peer_close(peer);
            settle(scene);
            fake_peer_forget_output(peer);
        }
        assert_answer(scene, "/look", "2100");
        assert_answer(scene, "/drop", "x");
        assert_answer(scene, "/look", "0");
    }
    scene_close(scene);
}

static int restart_collector(lua_State *L)
{
    lua_gc(L, LUA_GCRESTART, 0);
    return 0;
}

static int add_restart(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "restart", restart_collector);
    return 0;
}

/* LuaJIT's collector, which a function of the host has started, finds work wherever something is made: but not where C
 * makes a request object, outside of all Lua code. */
static void no_finalizer_runs_while_a_request_object_is_made(void **state)
{
    (void)state;
    struct scene *scene = scene_open_with(APP
                                          "local ended = 0\n"
                                          "app.get('/make', function()\n"
                                          "    for i = 1, 50 do\n"
                                          "        debug.getmetatable(newproxy(true)).__gc = function()\n"
                                          "            local made = {}\n"
                                          "            for k = 1, 40 do made[k] = ('x'):rep(k) .. ended end\n"
                                          "            ended = ended + 1\n"
                                          "        end\n"
                                          "    end\n"
                                          "    return 'x'\n"
                                          "end)\n"
                                          "app.get('/restart', function() restart() return 'x' end)\n"
                                          "app.get('/ended', function() return ended > 1000 and 'many' or 'few' end)\n",
                                          add_restart);
    for (int i = 0; i < 4000; i++) {
        struct fake_peer *peer = ask(scene, i % 10 == 0 ? "/make" : "/restart");
        assert_true(got(peer, "\r\n\r\nx"));
        fake_peer_close(peer);
        settle(scene);
        fake_peer_forget_output(peer);
    }
    assert_answer(scene, "/ended", "many");
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_finalizer_runs_while_a_request_object_is_made),
        cmocka_unit_test(requests_that_a_script_keeps_are_all_different),
        cmocka_unit_test(cap_can_be_reached_and_not_exceeded),
        cmocka_unit_test(whatever_grows_without_end_is_a_503_and_is_let_go),
        cmocka_unit_test(caught_error_leaves_the_handler_at_work),
        cmocka_unit_test(garbage_is_collected_before_the_cap_is_felt),
        cmocka_unit_test(full_state_lets_nobody_in_until_something_is_let_go),
        cmocka_unit_test(timer_of_the_scripts_own_ends_a_full_state),
        cmocka_unit_test(reserve_is_for_timers_and_has_an_end),
        cmocka_unit_test(script_is_asked_to_let_go_before_anybody_is_refused),
        cmocka_unit_test(script_is_asked_when_a_run_wants_more_than_is_free),
        cmocka_unit_test(runs_that_fail_for_want_of_memory_are_one_line_and_one_question_a_second),
        cmocka_unit_test(full_state_is_one_line_and_one_question_a_second),
        cmocka_unit_test(state_that_stays_full_is_reported),
        cmocka_unit_test(clients_that_do_not_read_are_cut_for_others),
        cmocka_unit_test(text_that_many_wait_for_is_held_once),
        cmocka_unit_test(stacks_grow_beyond_the_cap),
        cmocka_unit_test(start_up_is_held_to_the_cap),
        cmocka_unit_test(finalizers_that_fail_harm_no_handler),
        cmocka_unit_test(finalizers_are_held_to_a_cap_while_everything_is_collected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
