/* lua/bind_worker.c and what lies below it, on real threads: calls of a timer, with memory that fails, with a script that
 * ends in the middle, and with functions that never return in time. */

#include "core/job_pools.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/units.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "lua/script.h"
#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, STRIDE = 61 }; /* for what should happen; between two allocations that fail while loading */

static const char module[] = "local app = require 'evserve'\n"
                             "local m = {}\n"
                             "function m.add(a, b) return a + b end\n"
                             "function m.echo(...) return ... end\n"
                             "function m.nap(ms)\n" /* blocks its thread */
                             "    local start = app.now()\n"
                             "    while app.now() - start < ms / 1000 do end\n"
                             "    return ms\n"
                             "end\n"
                             "function m.fail(what) error({ what = what }) end\n"
                             "return m\n";

struct worker_scene {
    struct reactor *reactor;
    struct site *site;
    struct script *script;
    struct job_pools *jobs;
    struct log log;
    atomic_int done;     /* lines that say "done" */
    atomic_bool is_over; /* job_pools_release() has called back */
    char folder[64], script_path[96], module_path[96];
    char err[512];
    char logged[4096];
    size_t logged_len;
};

static struct worker_scene worker_scene; /* there is one test at a time */

static void note_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    struct worker_scene *scene = &worker_scene;
    int len = snprintf(scene->logged + scene->logged_len, sizeof scene->logged - scene->logged_len, "%s\n", line);
    scene->logged_len += (size_t)len < sizeof scene->logged - scene->logged_len ? (size_t)len : 0;
    scene->done += strncmp(line, "done", 4) == 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up_worker(void **state)
{
    (void)state;
    struct worker_scene *scene = &worker_scene;
    memset(scene, 0, sizeof *scene);
    snprintf(scene->folder, sizeof scene->folder, "/tmp/evserve-worker-XXXXXX");
    if (mkdtemp(scene->folder) == NULL) {
        return -1;
    }
    snprintf(scene->script_path, sizeof scene->script_path, "%.63s/site.lua", scene->folder);
    snprintf(scene->module_path, sizeof scene->module_path, "%.63s/m.lua", scene->folder);
    write_file(scene->module_path, module);
    scene->log = (struct log){.sink = note_line, .level = LOG_INFO};
    return 0;
}

static int tear_down_worker(void **state)
{
    (void)state;
    unlink(worker_scene.script_path);
    unlink(worker_scene.module_path);
    rmdir(worker_scene.folder);
    return fake_mem_live() == 0 ? 0 : -1;
}

static int open_scene(void)
{
    struct worker_scene *scene = &worker_scene;
    int rv = job_pools_create(&scene->jobs);
    rv = rv < 0 ? rv : reactor_create(&scene->reactor, &scene->log);
    rv = rv < 0 ? rv : site_create(&scene->site, &scene->log);
    const struct script_host host = {.jobs = scene->jobs};
    rv = rv < 0 ? rv
                : script_open(&scene->script, scene->script_path, scene->site, scene->reactor, &scene->log, &host,
                              scene->err, sizeof scene->err);
    return rv < 0 ? rv : script_start(scene->script, NULL, scene->err, sizeof scene->err);
}

static void note_over(void *owner)
{
    (void)owner;
    worker_scene.is_over = true;
}

/* Close all but the pools. */
static void close_script(void)
{
    struct worker_scene *scene = &worker_scene;
    if (scene->script != NULL) {
        script_stop(scene->script);
    }
    script_close(scene->script);
    site_destroy(scene->site);
    reactor_destroy(scene->reactor);
    scene->script = NULL;
    scene->site = NULL;
    scene->reactor = NULL;
}

static void close_worker_scene(void)
{
    close_script();
    worker_scene.is_over = false;
    job_pools_release(worker_scene.jobs, note_over, NULL);
    worker_scene.jobs = NULL;
    for (int i = 0; i < PATIENCE_MS && !worker_scene.is_over; i++) {
        sys_sleep_ms(1);
    }
    assert_true(worker_scene.is_over);
}

/* Turn the loop until a line says that all is done, or until the script has nothing left to do. */
static void run_worker_scene(void)
{
    struct worker_scene *scene = &worker_scene;
    int64_t end_ns = sys_now_ns() + (int64_t)PATIENCE_MS * NS_PER_MS;
    for (int quiet = 0; scene->done == 0 && quiet < 20; quiet++) {
        assert_true(reactor_run_once(scene->reactor, 1) >= 0);
        quiet = script_is_busy(scene->script, INT64_MAX) ? 0 : quiet;
        assert_true(sys_now_ns() < end_ns);
    }
}

static void begin_with(const char *text)
{
    write_file(worker_scene.script_path, text);
    if (open_scene() < 0) {
        fail_msg("%s", worker_scene.err);
    }
}

#define DAY                                                                                                            \
    "local app = require 'evserve'\n"                                                                                  \
    "local m = app.worker('m.lua', { threads = 2, queue = 8 })\n"                                                      \
    "app.after(0, function()\n"                                                                                        \
    "    app.all(function() return m.nap(1) end, function() return m.add(1, 2) end, function() return m.nap(2) end)\n" \
    "    local t = m.echo({ 1, { x = 'y' } }, ('z'):rep(100000))\n"                                                    \
    "    local ok, err = pcall(m.fail, 'it')\n"                                                                        \
    "    local task = app.spawn(function() return m.nap(3) end)\n"                                                     \
    "    app.sleep(1)\n"                                                                                               \
    "    task:cancel()\n"                                                                                              \
    "    app.log('info', 'done ', m.add(20, 22), ' ', t[2].x, ' ', err.what)\n"                                        \
    "end)\n"

static void day_passes(void **state)
{
    (void)state;
    begin_with(DAY);
    run_worker_scene();
    close_worker_scene();
    if (strstr(worker_scene.logged, "done  42   y   it") == NULL) {
        fail_msg("%s", worker_scene.logged);
    }
}

/* Fail the n-th allocation, from the beginning or once the script has started. Returns whether there was one. */
static bool fail_day(uint64_t n, bool from_start)
{
    worker_scene.done = 0;
    worker_scene.logged_len = 0;
    if (from_start) {
        fake_mem_fail_after(n, false);
    }
    int rv = open_scene();
    if (rv == 0 && !from_start) {
        fake_mem_fail_after(n, false);
    }
    if (rv == 0) {
        run_worker_scene();
    }
    bool has_failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    if (worker_scene.jobs != NULL) {
        close_worker_scene();
    }
    if (fake_mem_live() != 0) {
        fail_msg("allocation %llu: %zu blocks are left: %s", (unsigned long long)n, fake_mem_live(), worker_scene.err);
    }
    return has_failed;
}

static void each_allocation_of_a_call_may_fail(void **state)
{
    (void)state;
    write_file(worker_scene.script_path, DAY);
    for (uint64_t n = 1; fail_day(n, false); n++) {
    }
}

static void allocations_while_it_loads_may_fail(void **state)
{
    (void)state;
    write_file(worker_scene.script_path, DAY);
    for (uint64_t n = 1; fail_day(n, true); n += STRIDE) {
    }
}

/* The functions of lua/bind_crypto.c, bind_seal.c and bind_password.c; "{SHA}" needs no libcrypt. */
#define SECRETS                                                                                                        \
    "local app = require 'evserve'\n"                                                                                  \
    "local terms = { secret = ('s'):rep(32) }\n"                                                                       \
    "app.after(0, function()\n"                                                                                        \
    "    local hash = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='\n"                                                           \
    "    local right, wrong = app.password.verify('secret', hash), app.password.verify('Secret', hash)\n"              \
    "    local task = app.spawn(function() return app.password.verify('secret', hash) end)\n"                          \
    "    app.sleep(1)\n"                                                                                               \
    "    task:cancel()\n"                                                                                              \
    "    local has_tls, sealed = pcall(app.seal, app.base64(app.random(3000)), terms)\n"                               \
    "    local text = has_tls and app.open(sealed, terms) or ('x'):rep(4000)\n"                                        \
    "    app.log('info', 'done ', right, ' ', wrong, ' ', #text, ' ', #app.hex_decode(app.hex(app.uuid())))\n"         \
    "end)\n"

static void memory_may_fail_in_what_handles_secrets(void **state)
{
    (void)state;
    begin_with(SECRETS);
    run_worker_scene();
    close_worker_scene();
    if (strstr(worker_scene.logged, "done  true   false   4000   36") == NULL) {
        fail_msg("%s", worker_scene.logged);
    }
    for (uint64_t n = 1; fail_day(n, false); n++) {
    }
}

#define SLOW(timeout)                                                                                                  \
    "local app = require 'evserve'\n"                                                                                  \
    "local m = app.worker('m.lua', { threads = 1, queue = 8, timeout = '" timeout "' })\n"                             \
    "local function call() local ok, err = pcall(m.nap, 100) app.log('info', 'done ', tostring(err)) end\n"            \
    "for i = 1, 3 do app.after(0, call) end\n"

static void late_calls_end_and_their_thread_goes_on(void **state)
{
    (void)state;
    begin_with(SLOW("20ms"));
    while (worker_scene.done < 3) {
        assert_true(reactor_run_once(worker_scene.reactor, 1) >= 0);
    }
    assert_true(script_is_busy(worker_scene.script, INT64_MAX)); /* with the call that has begun */
    assert_non_null(strstr(worker_scene.logged, "m.lua: nap: no result within 20 ms (timeout)"));
    close_worker_scene();
}

static void script_that_ends_leaves_its_calls_behind(void **state)
{
    (void)state;
    begin_with(SLOW("1h"));
    for (int i = 0; i < 5; i++) {
        assert_true(reactor_run_once(worker_scene.reactor, 1) >= 0);
    }
    close_worker_scene();
    assert_int_equal(worker_scene.done, 0);
}

static void scripts_that_load_together_share_threads(void **state)
{
    (void)state;
    struct script *other;
    begin_with(DAY);
    uint64_t before = fake_mem_live_bytes();
    const struct script_host host = {.jobs = worker_scene.jobs};
    atomic_bool is_unwanted = false;
    const struct script_load load = {.end_ns = INT64_MAX, .is_unwanted = &is_unwanted, .number = 1};
    struct script_host later = host;
    later.load = &load;
    assert_int_equal(script_open(&other, worker_scene.script_path, worker_scene.site, worker_scene.reactor,
                                 &worker_scene.log, &host, worker_scene.err, sizeof worker_scene.err),
                     0);
    uint64_t shared = fake_mem_live_bytes() - before;
    script_close(other);
    assert_int_equal(script_open(&other, worker_scene.script_path, worker_scene.site, worker_scene.reactor,
                                 &worker_scene.log, &later, worker_scene.err, sizeof worker_scene.err),
                     0);
    assert_true(fake_mem_live_bytes() - before > shared + shared / 4); /* with two more states */
    script_close(other);
    close_worker_scene();
}

#define WORKER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_worker, tear_down_worker)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORKER_TEST(day_passes),
        WORKER_TEST(each_allocation_of_a_call_may_fail),
        WORKER_TEST(memory_may_fail_in_what_handles_secrets),
        WORKER_TEST(allocations_while_it_loads_may_fail),
        WORKER_TEST(late_calls_end_and_their_thread_goes_on),
        WORKER_TEST(script_that_ends_leaves_its_calls_behind),
        WORKER_TEST(scripts_that_load_together_share_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
