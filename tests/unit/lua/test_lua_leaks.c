/* Nothing is left behind by requests, whatever becomes of them. Each form is asked for again and again; then the Lua
 * state after a full collection, the memory of C and the fds must be what they were. */

#include "lua/state.h"
#include "tests/lib/lua_scene.h"

enum {
    REQUESTS = 3000, /* about; tests/e2e/test_lua_safety.py has more of them */
    WARM_ROUNDS = 3, /* until caches and pools have what they keep */
    SLACK = 2048,    /* bytes of the Lua state: where tables and its string table happen to have grown to */
};

static int spend(lua_State *L)
{
    fake_sys_spend_ns((int64_t)lua_tointeger(L, 1) * 1000000);
    return 0;
}

static int add_functions(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "spend", spend);
    return 0;
}

static const char site[] = APP
    "app.set { lua_memory = '4M' }\n"
    "app.static('/files', '/tmp')\n"
    "app.get('/string', function() return 'text' end)\n"
    "app.get('/long', function(req) return ('x'):rep(20000) .. req.id end)\n"
    "app.get('/table', function(req) return { req.headers, req.query, req.peer, req.id } end)\n"
    "app.get('/number', function() return 404 end)\n"
    "app.get('/nothing', function() end)\n"
    "app.get('/triple/:x', function(req) return 201, req.params.x, { ['x-a'] = { '1', '2' } } end)\n"
    "app.get('/html', function() return app.html '<p>' end)\n"
    "app.get('/redirect', function() return app.redirect '/string' end)\n"
    "app.get('/files/*rest', function() return app.pass end)\n"
    "app.get('/stream', function() return function(out)\n"
    "    for i = 1, 3 do out:write(('y'):rep(3000)) app.sleep(1) end\n"
    "end end)\n"
    "app.get('/endless-stream', function() return function(out)\n"
    "    while out:write(('y'):rep(30000)) do end\n"
    "end end)\n"
    "app.get('/asleep', function() app.sleep '1h' end)\n"
    "app.get('/error', function(req) error('wrong ' .. req.id) end)\n"
    "app.get('/error-object', function(req) error(setmetatable({ req }, {})) end)\n"
    "app.get('/raised', function() app.error(404, 'none') end)\n"
    "app.get('/error-in-stream', function() return function(out) out:write('begun') error('late') end end)\n"
    "app.get('/bad-answer', function() return io.stdout end)\n"
    "app.get('/yield', function() coroutine.yield() end)\n"
    "app.get('/own', function() return coroutine.wrap(function() coroutine.yield('own') end)() end)\n"
    "app.get('/deadline', function() pcall(function() while true do spend(1) end end) end)\n"
    "app.get('/deadline-in-stream', function() return function(out)\n"
    "    out:write('begun') while true do spend(1) end\n"
    "end end)\n"
    "app.get('/memory', function() return ('x'):rep(10000000) end)\n"
    "app.get('/timer', function() app.after(1, function() end) app.every('1h', function() end):cancel() end)\n"
    "local function nap() app.sleep(1) return 'x' end\n"
    "local function long() app.sleep '1h' end\n"
    "local function bad() app.sleep(1) error('bad') end\n"
    "app.get('/task', function() local task = app.spawn(nap) return task:wait() .. task:wait() end)\n"
    "app.get('/task-error', function() app.spawn(bad):wait() end)\n"
    "app.get('/task-lost', function() app.spawn(bad) app.spawn(long) app.sleep(2) return 'x' end)\n"
    "app.get('/task-cancel', function() local task = app.spawn(long) task:cancel() pcall(task.wait, task) return 'x' end)\n"
    "app.get('/task-timeout', function() local task = app.spawn(long) return select(2, task:wait(1)) end)\n"
    "app.get('/task-stopped', function() app.spawn(function() while true do spend(1) end end):wait() end)\n"
    "app.get('/task-detached', function() app.spawn({ detached = true }, nap) return 'x' end)\n"
    "app.get('/task-stubborn', function() app.spawn(function() while true do pcall(long) end end) return 'x' end)\n"
    "app.get('/all', function() return { app.all(nap, nap) } end)\n"
    "app.get('/all-error', function() app.all(long, bad) end)\n"
    "app.get('/race', function() return app.race(long, nap) end)\n"
    "local sem, channel = app.semaphore(0), app.channel(1)\n"
    "app.get('/semaphore', function()\n"
    "    app.spawn(function() app.sleep(1) sem:post() end)\n"
    "    sem:wait(1000)\n"
    "    return select(2, sem:wait(1))\n"
    "end)\n"
    "local gate = app.semaphore(1)\n"
    "app.get('/with', function() return gate:with(function() app.sleep(1) return 'x' end) end)\n"
    "app.get('/with-error', function() return gate:with(error, 'x') end)\n"
    "app.get('/with-yield', function() return gate:with(coroutine.yield) end)\n"
    "app.get('/with-asleep', function() gate:with(function() pcall(app.sleep, 1000) app.sleep(1000) end) end)\n"
    "app.get('/channel', function()\n"
    "    app.spawn(function() for i = 1, 3 do channel:send('x') end end)\n"
    "    return channel:receive() .. channel:receive() .. channel:receive()\n"
    "end)\n"
    "app.get('/shield', function() return app.shield(nap) end)\n"
    "local store = app.store('data', { size = '64K' })\n"
    "app.get('/store', function(req)\n"
    "    store:set(req.id, { list = { 1, { req.id } } }, 3)\n"
    "    store:set('long', ('x'):rep(9000))\n"
    "    store:incr('n', 1, 0, 2)\n"
    "    store:once('once', 2)\n"
    "    return { store:get(req.id).list[2], #store:get 'long', store:keys '', store:ttl(req.id) }\n"
    "end)\n"
    "app.get('/store-type', function() store:incr 'long' end)\n"
    "app.get('/store-value', function() store:set('f', { a = { print } }) end)\n"
    "app.get('/store-large', function() store:set('l', ('x'):rep(100000)) end)\n"
    "app.get('/store-flush', function() store:flush() store:delete 'none' return 'x' end)\n"
    "app.get('/shield-asleep', function() app.shield(nap) sem:wait() end)\n"
    "app.get('/tasks-asleep', function() app.all(long, function() app.spawn(long):wait() end) end)\n"
    "app.get('/events', function() return app.events(function(events)\n"
    "    events:send { data = { 1 }, id = 1 } app.sleep(1) events:comment 'x'\n"
    "end, { retry = 1 }) end)\n"
    "app.get('/events-asleep', function() return app.events(function() app.sleep '1h' end) end)\n"
    "app.get('/events-error', function() return app.events(function(events) events:send(print) end) end)\n"
    "app.events('/topic', { topic = 'news', replay = 3 })\n"
    "app.get('/publish', function() return tostring(app.publish('news', { 1 })) end)\n"
    "app.get('/subscribe', function()\n"
    "    local news = app.subscribe('news', { replay = 3, after = 'earliest' })\n"
    "    for i = 1, 5 do app.publish('news', i) end\n"
    "    app.sleep(1)\n"
    "    return (news:receive()) .. news:lost()\n"
    "end)\n"
    "app.get('/subscribe-asleep', function() app.subscribe('news'):receive() app.subscribe('others'):receive() end)\n"
    "app.get('/collect', function() collectgarbage() collectgarbage() return 'x' end)\n";

static const char *const targets[] = {
    "/string",
    "/long",
    "/table?a=1&a=2",
    "/number",
    "/nothing",
    "/triple/z",
    "/html",
    "/redirect",
    "/files/no-such",
    "/stream",
    "/error",
    "/error-object",
    "/raised",
    "/error-in-stream",
    "/bad-answer",
    "/yield",
    "/own",
    "/deadline",
    "/deadline-in-stream",
    "/memory",
    "/timer",
    "/task",
    "/task-error",
    "/task-lost",
    "/task-cancel",
    "/task-timeout",
    "/task-stopped",
    "/task-detached",
    "/task-stubborn",
    "/all",
    "/all-error",
    "/race",
    "/semaphore",
    "/with",
    "/with-error",
    "/with-yield",
    "/channel",
    "/shield",
    "/store",
    "/store-type",
    "/store-value",
    "/store-large",
    "/store-flush",
    "/events",
    "/events-error",
    "/publish",
    "/topic?lastEventId=earliest",
    "/subscribe",
    "/no-route",
};

enum { TARGETS = sizeof targets / sizeof targets[0], LEAVERS = 8, A_ROUND = TARGETS + LEAVERS };

/* Each form once, and clients that leave in the middle. */
static void play_round(struct scene *scene)
{
    for (size_t i = 0; i < TARGETS; i++) {
        struct fake_peer *peer = ask(scene, targets[i]);
        for (int ms = 0; ms < 4; ms++) {
            pass_ms(scene, 1);
        }
        if (!got(peer, "HTTP/1.1 ")) {
            fail_msg("%s: no answer", targets[i]);
        }
        fake_peer_close(peer);
        settle(scene);
        fake_peer_forget_output(peer);
    }
    static const char *const left[LEAVERS] = {"/endless-stream", "/asleep",          "/tasks-asleep",
                                              "/shield-asleep",  "/with-asleep",     "/events-asleep",
                                              "/topic",          "/subscribe-asleep"};
    for (size_t i = 0; i < LEAVERS; i++) {
        struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
        char text[64];
        fake_peer_set_room(peer, 1000);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", left[i]);
        fake_peer_send_text(peer, text);
        settle(scene);
        fake_peer_reset(peer, 0);
        settle(scene);
        fake_peer_forget_output(peer);
    }
    scene->logged[0] = '\0';
    fake_sys_clear_trace();
}

struct level {
    size_t state_bytes; /* of Lua */
    size_t blocks;      /* of C's and Lua's memory */
    uint32_t coros, timers, anchors, tasks;
    int fds;
};

static struct level measure(struct scene *scene)
{
    assert_answer(scene, "/collect", "x");
    assert_answer(scene, "/collect", "x");
    const struct script *script = scene->script;
    return (struct level){
        .state_bytes = script->memory_bytes,
        .blocks = fake_mem_live(),
        .coros = script->coro_count,
        .timers = script->timer_count,
        .anchors = script->anchor_count,
        .tasks = script->tasks_used,
        .fds = fake_sys_open_fds(),
    };
}

static void requests_leave_everything_where_it_was(void **state)
{
    (void)state;
    int rounds = REQUESTS / A_ROUND + 1;
    struct scene *scene = scene_open_with(site, add_functions);
    for (int i = 0; i < WARM_ROUNDS; i++) {
        play_round(scene);
    }
    assert_answer(scene, "/store-flush", "x");
    struct level before = measure(scene);
    for (int i = 0; i < rounds; i++) {
        play_round(scene);
    }
    assert_answer(scene, "/store-flush", "x");
    struct level after = measure(scene);
    print_message(
        "%d requests: Lua %zu -> %zu bytes, %zu -> %zu blocks, %u coroutines, %u timers, %u anchors, %d fds\n",
        rounds * A_ROUND, before.state_bytes, after.state_bytes, before.blocks, after.blocks, after.coros, after.timers,
        after.anchors, after.fds);
    assert_true(after.state_bytes <= before.state_bytes + SLACK);
    assert_true(after.blocks <= before.blocks + 8);
    assert_int_equal(after.coros, before.coros);
    assert_int_equal(after.timers, before.timers);
    assert_int_equal(after.anchors, before.anchors);
    assert_int_equal(after.tasks, 0);
    assert_int_equal(after.fds, before.fds);
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_leave_everything_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
