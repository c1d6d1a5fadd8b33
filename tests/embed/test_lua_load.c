/* Stores, workers and requests to other servers while several threads serve: clients count in one key, call functions
 * that block, have the server ask itself over app.fetch and sockets, and leave in the middle, while the script is reloaded again and again, and at the end stopped. Under ThreadSanitizer, too. */

#include "tests/lib/host.h"

#include <stdatomic.h>

enum { LOAD_REACTORS = 3, LOAD_CLIENTS = 4, LOAD_RELOADS = 8, LOAD_LEAVES = 5, REQUESTS_BETWEEN = 60 };

static const char load_module[] = "local app = require 'evserve'\n"
                                  "local ffi = require 'ffi'\n"
                                  "ffi.cdef 'int usleep(unsigned);'\n"
                                  "local store = app.store 'load'\n"
                                  "local m = {}\n"
                                  "function m.echo(...) return ... end\n"
                                  "function m.nap(ms) ffi.C.usleep(ms * 1000) return store:incr 'naps' end\n"
                                  "function m.fail() error { text = 'failed' } end\n"
                                  "return m\n";

/* /count counts once for each response that comes, so nothing may be lost: neither between threads nor in a reload. */
static const char load_script[] =
    "local app = require 'evserve'\n"
    "local store = app.store('load', { size = '64K' })\n"
    "local caches = app.store('caches', { size = '64K' })\n"
    "local work = app.worker('m.lua', { threads = 2 })\n"
    "local sem = app.semaphore(2)\n"
    "app.every('2ms', { once = true }, function() caches:incr('ticks') work.echo(1) end)\n"
    "app.get('/count', function() return tostring(store:incr 'n') end)\n"
    "app.get('/total', function() return tostring(store:get 'n') end)\n"
    "app.get('/cache', function(req)\n"
    "    caches:set(req.id, { req.id, { a = true } }, '5ms')\n"
    "    local found = caches:get(req.id)\n"
    "    caches:add('big', ('x'):rep(5000), 1)\n"
    "    caches:once('once', 1)\n"
    "    return tostring(#caches:keys('', 5) + (found and #found or 0) > 0)\n"
    "end)\n"
    "app.get('/flush', function() caches:flush() return 'ok' end)\n"
    "app.get('/call', function() return work.echo('ok') end)\n"
    "app.get('/nap', { finish = true }, function()\n" /* one that ended in the middle would not post */
    "    sem:wait() local n = work.nap(1) sem:post() return n and 'ok'\n"
    "end)\n"
    "app.get('/fail', function() return select(2, pcall(work.fail)).text end)\n"
    "app.get('/race', function() return app.race(function() work.nap(3) return 'ok' end,\n"
    "    function() app.sleep(1) return 'ok' end) end)\n"
    "app.get('/fetch/:port', function(req)\n"
    "    return assert(app.fetch('http://localhost:' .. req.params.port .. '/call')).body\n"
    "end)\n"
    "app.get('/socket/:port', function(req)\n"
    "    local sock = assert(app.connect('127.0.0.1:' .. req.params.port))\n"
    "    assert(sock:send 'GET /call HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
    "    repeat local line = assert(sock:receive()) until line == ''\n"
    "    local body = sock:receive(2)\n"
    "    sock:setkeepalive('1s', 4)\n"
    "    return body\n"
    "end)\n"
    "app.get('/shield', function() return app.shield(function() work.nap(1) return 'ok' end) end)\n";

static const struct {
    const char *path, *body; /* NULL: a number */
    bool has_port;           /* the server's port follows the path */
} load_forms[] = {
    {"/count", NULL, false}, {"/call", "ok", false},     {"/cache", "true", false}, {"/nap", "ok", false},
    {"/count", NULL, false}, {"/fail", "failed", false}, {"/race", "ok", false},    {"/shield", "ok", false},
    {"/flush", "ok", false}, {"/fetch/", "ok", true},    {"/socket/", "ok", true},
};

static atomic_int counted, answered, wrong, load_is_over;

static void leave_in_the_middle(const char *path)
{
    char text[128];
    int fd = client_connect(host.port);
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    client_send(fd, text);
    close(fd);
}

static void *visit_all(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&load_is_over); i++) {
        size_t form = i % (sizeof load_forms / sizeof load_forms[0]);
        char path[64];
        snprintf(path, sizeof path, "%s%.0d", load_forms[form].path, load_forms[form].has_port ? host.port : 0);
        const char *body = client_body(client_get(host.port, path));
        bool is_number = load_forms[form].body == NULL;
        bool is_good = is_number ? atoi(body) > 0 : strcmp(body, load_forms[form].body) == 0;
        atomic_fetch_add(&counted, is_good && is_number);
        atomic_fetch_add(is_good ? &answered : &wrong, 1);
        if (i % LOAD_LEAVES == 0 && !is_number) {
            leave_in_the_middle(path);
        }
    }
    return NULL;
}

static void scripts_are_reloaded_while_their_stores_and_workers_are_used(void **state)
{
    (void)state;
    pthread_t clients[LOAD_CLIENTS];
    host_needs_lua();
    host_write("m.lua", load_module);
    host.config.script = host_write("site.lua", load_script);
    host.config.reactors = LOAD_REACTORS;
    host.config.log_level = EVSERVE_LOG_ERROR;
    host_serve();
    for (int i = 0; i < LOAD_CLIENTS; i++) {
        assert_int_equal(pthread_create(&clients[i], NULL, visit_all, NULL), 0);
    }
    for (int i = 0; i < LOAD_RELOADS; i++) {
        int before = atomic_load(&answered);
        while (atomic_load(&answered) < before + REQUESTS_BETWEEN && atomic_load(&wrong) == 0) {
            usleep(1000);
        }
        if (evserve_reload(host.server, host.err, sizeof host.err) < 0) {
            fail_msg("%s", host.err);
        }
    }
    atomic_store(&load_is_over, 1);
    for (int i = 0; i < LOAD_CLIENTS; i++) {
        pthread_join(clients[i], NULL);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atoi(client_body(client_get(host.port, "/total"))), atomic_load(&counted));
    leave_in_the_middle("/nap");
    leave_in_the_middle("/race");
    host_stop(10000);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(host_threads(), host.threads_before);
    print_message("%d responses, %d reloads\n", atomic_load(&answered), LOAD_RELOADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(scripts_are_reloaded_while_their_stores_and_workers_are_used),
    };
    return cmocka_run_group_tests_name("lua_load", tests, NULL, NULL);
}
