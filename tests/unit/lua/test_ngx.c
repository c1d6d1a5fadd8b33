/* The module "ngx" on the fake kernel: it leaves nothing behind, and each allocation of it may fail. What it does is
 * tested end to end (tests/e2e/test_ngx*.py). */

#include "tests/lib/lua_scene.h"

static const char site[] = APP
    "local ngx = require 'ngx'\n"
    "local match, gsub, encode = ngx.re.match, ngx.re.gsub, ngx.encode_base64\n"
    "app.store('s', { size = '64K' })\n"
    "app.get('/text', function() return encode('hello') .. ngx.escape_uri('a b') .. ngx.crc32_short('x') end)\n"
    "app.get('/match', function()\n"
    "    local m = match('on 2026-11', [[(?<y>\\d+)-(\\d+)]], 'o')\n"
    "    return m and (m.y .. m[2] .. gsub('abc', 'b', '[$0]')) or 'none'\n"
    "end)\n"
    "app.get('/fields', function()\n"
    "    ngx.header['X-A'] = { 'one', 'two' }\n"
    "    ngx.ctx.n = #ngx.header.x_a\n"
    "    return ngx.ctx.n .. ngx.var.uri .. ngx.req.get_method()\n"
    "end)\n"
    "app.get('/dict', function()\n"
    "    local d = ngx.shared.s d:flush_all()\n"
    "    d:set('k', 1, 0, 5) local v, f = d:get('k')\n"
    "    return v .. f .. d:incr('n', 1, 0)\n"
    "end)\n"
    "app.get('/thread', function()\n"
    "    local t = ngx.thread.spawn(function() ngx.sleep(0) return ngx.var.uri end)\n"
    "    return select(2, ngx.thread.wait(t))\n"
    "end)\n"
    "local function call(depth, fn) if depth > 0 then return (call(depth - 1, fn)) end return fn() end\n"
    "local function uri() return ngx.var.uri end\n"
    "app.get('/deep', function() return call(100, uri) .. call(99, uri) end)\n"
    "app.get('/inside', function()\n"
    "    local a, b = coroutine.wrap(function() return 'a', call(20, coroutine.wrap(uri)) end)()\n"
    "    return a .. b .. uri()\n"
    "end)\n"
    "app.get('/raised', function() error({ at = 'once' }) end)\n"
    "app.on('error', function(req, err) return 200, err.at .. req.path .. uri() end)\n"
    "app.get('/timer', function() ngx.timer.at(3600, print, 1) return 'set' end)\n";

static const struct {
    const char *target, *answer;
} requests[] = {
    {"/text", "aGVsbG8=a%20b2363233923"},
    {"/match", "202611a[b]c"},
    {"/fields", "2/fieldsGET"},
    {"/dict", "151"},
    {"/deep", "/deep/deep"},
    {"/inside", "a/inside/inside"},
    {"/raised", "once/raised/raised"},
    {"/timer", "set"},
};

static void everything_is_given_back(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        assert_answer(scene, requests[i].target, requests[i].answer);
    }
    struct fake_peer *peer = ask(scene, "/thread");
    pass_ms(scene, 10);
    assert_true(got(peer, "/thread"));
    fake_peer_close(peer);
    settle(scene);
    scene_close(scene);
}

static void start_without_memory_fails_cleanly(void **state)
{
    (void)state;
    struct scene *scene = calloc(1, sizeof *scene);
    write_script(scene, APP "local ngx = require 'ngx' ngx.re.match('a', 'a') ngx.md5('x')\n");
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n += 43) { /* all of them would take long */
        fake_mem_fail_after(n, true);
        int rv = start(scene, NULL, NULL);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || has_failed);
        stop(scene);
    }
    unlink(scene->path);
    free(scene);
    assert_int_equal(fake_mem_live(), 0);
}

static void requests_without_memory_fail_cleanly(void **state)
{
    (void)state;
    struct scene *scene = scene_open(site);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        bool has_failed = true;
        for (uint64_t n = 1; has_failed && n < 300; n++) {
            struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
            settle(scene);
            fake_mem_fail_after(n, false);
            char text[128];
            snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", requests[i].target);
            fake_peer_send_text(peer, text);
            settle(scene);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            fake_peer_close(peer);
            settle(scene);
        }
        assert_answer(scene, requests[i].target, requests[i].answer);
    }
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_given_back),
        cmocka_unit_test(start_without_memory_fails_cleanly),
        cmocka_unit_test(requests_without_memory_fail_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
