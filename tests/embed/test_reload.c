/* Reloads: what changes, what stays, what fails, and that other threads may ask for them under load. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A script whose answers have a word in them. waits for the file "go" in /wait, leaves the file "closed" when it is
 * closed. */
static const char *write_site(const char *word, const char *more)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "local app = require 'evserve'\n"
             "app.get('/', function() return '%s' end)\n"
             "app.get('/wait', function()\n"
             "    while not io.open('%s/go') do app.sleep(1) end\n"
             "    return '%s'\n"
             "end)\n"
             "app.on('stop', function() app.log('info', 'stopped %s') end)\n"
             "closing = newproxy(true)\n"
             "getmetatable(closing).__gc = function() io.open('%s/closed-%s', 'w'):close() end\n"
             "%s",
             word, host.folder, word, word, host.folder, word, more);
    return host_write("site.lua", text);
}

static void use_site(const char *word)
{
    host_needs_lua();
    host.config.script = strdup(write_site(word, ""));
}

static void reload(void)
{
    if (evserve_reload(host.server, host.err, sizeof host.err) < 0) {
        fail_msg("%s", host.err);
    }
}

static void reload_must_fail(int error, const char *what)
{
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), error);
    if (strstr(host.err, what) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", what, host.err);
    }
}

static bool has_file(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", host.folder, name);
    return access(path, F_OK) == 0;
}

static void wait_for_file(const char *name)
{
    while (!has_file(name)) {
        usleep(1000);
    }
}

static void free_script(void)
{
    free((void *)(uintptr_t)host.config.script);
    host.config.script = NULL;
}

static void kept_connections_get_the_new_script_with_their_next_request(void **state)
{
    (void)state;
    use_site("one");
    host_serve();
    char answer[4096];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_until(fd, answer, sizeof answer, "one");
    write_site("two", "");
    host_expect("/", "one");
    reload();
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "two");
    close(fd);
    host_expect("/", "two");
    wait_for_file("closed-one");
    assert_true(host_has_logged("stopped one\n"));
    assert_false(host_has_logged("stopped two\n"));
    free_script();
}

static void request_in_flight_finishes_on_the_old_script(void **state)
{
    (void)state;
    use_site("one");
    host_serve();
    char answer[4096];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_until(fd, answer, sizeof answer, "one"); /* the second is at work */
    write_site("two", "");
    reload();
    write_site("three", "");
    reload();
    host_expect("/", "three");
    assert_false(has_file("closed-one"));
    wait_for_file("closed-two");
    host_write("go", "");
    client_read_until(fd, answer, sizeof answer, "one");
    assert_string_equal(client_body(answer), "one");
    assert_true(client_send(fd, "GET /wait HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "three");
    close(fd);
    wait_for_file("closed-one");
    free_script();
}

static void deferred_work_of_the_old_script_is_done(void **state)
{
    (void)state;
    char more[512];
    host_needs_lua();
    snprintf(more, sizeof more,
             "app.get('/defer', function()\n"
             "    while not io.open('%s/begin') do app.sleep(1) end\n"
             "    app.defer(function() while not io.open('%s/go') do app.sleep(1) end\n"
             "        io.open('%s/deferred', 'w'):close() end)\n"
             "    return 'deferred'\n"
             "end)\n",
             host.folder, host.folder, host.folder);
    host.config.script = strdup(write_site("one", more));
    host_serve();
    char answer[4096];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /defer HTTP/1.0\r\n\r\n"));
    client_read_until(fd, answer, sizeof answer, "one"); /* the second is at work */
    write_site("two", "");
    reload();
    host_write("begin", "");
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "deferred");
    close(fd);
    host_expect("/", "two");
    assert_false(has_file("closed-one"));
    host_write("go", "");
    wait_for_file("deferred");
    wait_for_file("closed-one");
    free_script();
}

static void broken_script_leaves_the_old_one_serving(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        use_site("one");
        host.config.reactors = reactors;
        host_serve();
        write_site("two", "local x = nil + 1\n");
        reload_must_fail(-EINVAL, "/site.lua:10: attempt to perform arithmetic on a nil value");
        write_site("two", "end\n");
        reload_must_fail(-EINVAL, "/site.lua:10: ");
        write_site("two", "app.on('start', function() error('no') end)\n");
        reload_must_fail(-EINVAL, "no");
        write_site("two", "app.listen '127.0.0.1:1'\n");
        host_expect("/", "one");
        write_site("two", "");
        reload();
        host_expect("/", "two");
        host_stop(1000);
        reload_must_fail(-ESHUTDOWN, "the server has stopped");
        evserve_free(host.server);
        host.server = NULL;
        free_script();
    }
}

/* Addresses that a reload changes. */

static bool can_connect(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    bool is_there = connect(fd, (struct sockaddr *)&name, sizeof name) == 0;
    close(fd);
    return is_there;
}

static void script_may_change_its_addresses(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        char answer[4096], more[512], path[128];
        host_needs_lua();
        snprintf(path, sizeof path, "%s/socket", host.folder);
        host.config.reactors = reactors;
        host.config.listen = NULL;
        host.config.script = strdup(write_site("one", "app.listen '127.0.0.1:0'\n"));
        host_serve();
        int old_port = host.port;
        int fd = client_connect(old_port);
        assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        client_read_until(fd, answer, sizeof answer, "one");

        snprintf(more, sizeof more, "app.listen '127.0.0.1:0'\napp.listen 'unix:%s'\n", path);
        write_site("two", more);
        reload();
        assert_true(can_connect(path));
        host_expect("/", "two"); /* the first one stays */
        assert_int_equal(evserve_port(host.server, 0), old_port);

        write_site("three", "app.listen '127.0.0.1:0'\napp.listen '127.0.0.2:0'\n");
        reload();
        assert_false(can_connect(path));
        assert_int_not_equal(access(path, F_OK), 0);
        assert_non_null(evserve_address(host.server, 2));
        assert_null(evserve_address(host.server, 3));

        write_site("four", "app.listen '[::1]:0'\n");
        reload();
        host.port = evserve_port(host.server, 3);
        assert_true(host.port > 0);
        assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        client_read_all(fd, answer, sizeof answer); /* its connection outlives the listener */
        assert_string_equal(client_body(answer), "four");
        close(fd);
        assert_true(host_has_logged("no longer listening on 127.0.0.1:"));
        assert_true(host_has_logged("listening on [::1]:"));
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        host.log[0] = '\0';
        free_script();
    }
}

static void address_that_cannot_be_opened_changes_nothing(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        char more[512];
        host_needs_lua();
        host.config.reactors = reactors;
        host.config.listen = NULL;
        host.config.script = strdup(write_site("one", "app.listen '127.0.0.1:0'\n"));
        host_serve();
        snprintf(more, sizeof more, "app.listen 'unix:%s/a'\napp.listen 'unix:%s/no/b'\n", host.folder, host.folder);
        write_site("two", more);
        reload_must_fail(-ENOENT, "no such directory");
        assert_false(has_file("a"));
        write_site("two", "app.listen '127.0.0.1:0?tls'\n");
        reload_must_fail(-EINVAL, "a reload cannot add HTTPS to a server without it: restart the server");
        write_site("two", "app.listen '127.0.0.1:0?redirect_https'\n");
        reload_must_fail(-EINVAL, "there is no HTTPS to redirect to: restart the server");
        write_site("two", "app.listen 'fd:3'\n");
        reload_must_fail(-EINVAL, "a reload cannot take a socket over: restart the server");
        host_expect("/", "one");
        assert_null(evserve_address(host.server, 1));
        write_site("two", "app.listen '127.0.0.1:0'\n");
        reload();
        host_expect("/", "two");
        snprintf(more, sizeof more, "app.listen '127.0.0.1:0'\napp.listen 'unix:%s/a'\n", host.folder);
        write_site("three", more);
        reload();
        snprintf(more, sizeof more, "app.listen '127.0.0.1:0'\napp.listen 'unix:%s/a?mode=600'\n", host.folder);
        write_site("four", more);
        reload_must_fail(-EINVAL, "a reload cannot change its options: restart the server");
        host_expect("/", "three");
        assert_true(has_file("a"));
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        free_script();
    }
}

static void listeners_have_numbers_for_so_many_changes(void **state)
{
    (void)state;
    enum { NUMBERS = 16 }; /* SERVICE_LISTENERS_MAX */
    char more[256];
    host_needs_lua();
    host.config.listen = NULL;
    for (int i = 0; i <= NUMBERS; i++) {
        snprintf(more, sizeof more, "app.listen '127.0.0.%d:0'\n", i + 1);
        const char *path = write_site("one", more);
        if (i == 0) {
            host.config.script = strdup(path);
            host_serve();
        } else if (i < NUMBERS) {
            reload();
        } else {
            reload_must_fail(-ENOSPC,
                             "more than 16 addresses, counting those that reloads have closed: restart the server");
        }
    }
    free_script();
}

static void every_thread_serves_the_new_script(void **state)
{
    (void)state;
    use_site("one");
    host.config.reactors = 3;
    host_start();
    for (int i = 0; i < 60; i++) {
        host_expect("/", "one");
    }
    write_site("two", "");
    reload();
    for (int i = 0; i < 60; i++) {
        host_expect("/", "two");
    }
    free_script();
}

/* Fields beyond the old limit. The exchange that a connection holds was made for it. */
static void limits_of_the_new_script_are_in_force(void **state)
{
    (void)state;
    enum { FIELDS = 150 };
    use_site("one");
    host_serve();
    static char request[32768], answer[8192];
    size_t len = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    for (int i = 0; i < FIELDS; i++) {
        len += (size_t)snprintf(request + len, sizeof request - len, "X-%d: %d\r\n", i, i);
    }
    snprintf(request + len, sizeof request - len, "\r\n");
    assert_memory_equal(client_ask(host.port, request), "HTTP/1.1 431 ", 13);

    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
    write_site("two", "app.set { max_fields = 200, max_request_line = '16K' }\n");
    assert_true(client_send(fd, request)); /* waits behind the first one, in the same exchange */
    struct evs_stats stats = {.size = sizeof stats};
    reload();
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    host_write("go", "");
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(client_body(answer)), "two");
    close(fd);
    assert_string_equal(client_body(client_ask(host.port, request)), "two");
    write_site("three", "app.set { max_fields = 20 }\n");
    reload();
    assert_memory_equal(client_ask(host.port, request), "HTTP/1.1 431 ", 13);
    free_script();
}

static void timers_of_the_old_script_end(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = strdup(write_site("one", "app.every(1, function() app.log('info', 'tick one') end)\n"));
    host_serve();
    while (!host_has_logged("tick one")) {
        usleep(1000);
    }
    write_site("two", "local n = 0\n"
                      "app.every(1, function() n = n + 1; if n == 5 then app.log('info', 'five ticks') end end)\n");
    reload();
    host_stop(0); /* nobody logs any more */
    char *stopped = strstr(host.log, "stopped one");
    assert_non_null(stopped);
    assert_null(strstr(stopped, "tick one"));
    free_script();
}

/* Scripts that take long. */

static void serve_slowly_loaded(unsigned reactors, const char *more, uint64_t timeout_ms)
{
    host_needs_lua();
    host.config.reactors = reactors;
    host.config.reload_timeout_ms = timeout_ms;
    host.config.script = strdup(write_site("one", ""));
    host_serve();
    host_expect("/", "one"); /* its thread serves, or else the reload would load the script on ours */
    write_site("two", more);
}

static void endless_script_is_stopped_and_nobody_waits_for_it(void **state)
{
    (void)state;
    static const char *const endless[] = {
        "while true do end\n",
        "while true do pcall(function() while true do end end) end\n",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end\n",
        "app.on('start', function() while true do end end)\n",
        "local s = app.json.encode(('x'):rep(1000)) while true do app.json.encode(s) end\n",
    };
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) {
        serve_slowly_loaded((unsigned)(i % 3), endless[i], 50);
        reload_must_fail(-ETIMEDOUT, "stopped: loading took more than 50 ms (reload_timeout)");
        host_expect("/", "one");
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        free_script();
    }
}

static atomic_int reloaded = 1;

static void on_reloaded(void *arg, int error, const char *err)
{
    assert_ptr_equal(arg, &reloaded);
    assert_true((error == 0) == (err[0] == '\0'));
    reloaded = error;
}

static int reload_later(void)
{
    reloaded = 1;
    return evserve_reload_later(host.server, on_reloaded, &reloaded, host.err, sizeof host.err);
}

static void wait_until_reloaded(void)
{
    while (reloaded == 1) {
        usleep(500);
    }
}

static void reload_may_go_on_beside_the_server(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        char more[256];
        snprintf(more, sizeof more, "while not io.open('%s/go') do end\n", host.folder);
        serve_slowly_loaded(reactors, more, 0);
        assert_int_equal(reload_later(), 0);
        for (int i = 0; i < 20; i++) {
            host_expect("/", "one");
        }
        assert_int_equal(reloaded, 1);
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), -EBUSY);
        assert_int_equal(evserve_reload_later(host.server, NULL, NULL, host.err, sizeof host.err), -EBUSY);
        host_write("go", "");
        wait_until_reloaded();
        assert_int_equal(reloaded, 0);
        host_expect("/", "two");
        write_site("three", "error 'no'\n");
        assert_int_equal(reload_later(), 0);
        wait_until_reloaded();
        assert_int_equal(reloaded, -EINVAL);
        struct evs_stats stats = {.size = sizeof stats};
        assert_int_equal(evserve_stats(host.server, &stats), 0);
        assert_int_equal(stats.reloads, 1);
        assert_int_equal(stats.reloads_failed, 1);
        assert_int_equal(stats.reload_has_failed, 1);
        host_expect("/", "two");
        host_stop(0);
        assert_int_equal(reload_later(), -ESHUTDOWN);
        evserve_free(host.server);
        host.server = NULL;
        char path[128];
        snprintf(path, sizeof path, "%s/go", host.folder);
        unlink(path);
        free_script();
    }
}

static void server_ends_while_a_script_loads(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        serve_slowly_loaded(reactors,
                            "app.log('info', 'loading') while true do pcall(function() while true do end end) end\n",
                            0);
        assert_int_equal(reload_later(), 0);
        while (!host_has_logged("loading")) {
            usleep(500);
        }
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        assert_int_equal(reloaded, -ESHUTDOWN);
        host.log[0] = '\0';
        free_script();
    }
}

/* The FIFO has no writer, until this test is one. */
static void stuck_script_is_left_behind(void **state)
{
    (void)state;
    char fifo[128], more[512];
    snprintf(fifo, sizeof fifo, "%s/fifo", host.folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(more, sizeof more, "io.open('%s'):read()\napp.log('info', 'goes on') while true do end\n", fifo);
    serve_slowly_loaded(1, more, 100); /* in which it comes as far as the FIFO */
    int stuck = 0, rv;
    while ((rv = evserve_reload(host.server, host.err, sizeof host.err)) == -ETIMEDOUT) {
        stuck += strstr(host.err, "cannot be stopped: it is in a C function") != NULL; /* not if it was not that far */
    }
    assert_int_equal(rv, -EBUSY);
    assert_int_equal(stuck, 2); /* LOADING_STUCK_MAX */
    assert_non_null(strstr(host.err, "2 reloads are still stuck in C functions"));
    host_expect("/", "one");
    int writer = open(fifo, O_WRONLY);
    assert_true(writer >= 0);
    host_stop(0);
    evserve_free(host.server); /* while the two still read */
    host.server = NULL;
    close(writer);
    usleep(100000); /* they free what is left; the sanitizers look at that */
    assert_null(strstr(host.log, "goes on"));
    free_script();
}

/* On the server's own thread. */

static void serve_reload(evs_request *request, void *arg)
{
    (void)arg;
    char err[EVSERVE_ERROR_MAX] = "ok";
    evserve_reload(evs_server(request), err, sizeof err);
    evs_reply(request, 200, "text/plain", err, strlen(err));
}

static void handler_may_reload_its_own_server(void **state)
{
    (void)state;
    struct evs_route *routes = calloc(2, sizeof *routes);
    char *route = strdup("GET /reload");
    routes[0] = (struct evs_route){.route = route, .serve = serve_reload};
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        use_site("one");
        host.config.reactors = reactors;
        host.config.routes = routes;
        host_serve();
        for (int i = 0; i < 10; i++) {
            host_expect("/reload", "ok");
        }
        write_site("two", "");
        host_expect("/reload", "ok");
        host_expect("/", "two");
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
        free_script();
    }
    free(route);
    free(routes);
}

static void serve_text(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static void routes_and_texts_of_the_config_may_go_after_the_start(void **state)
{
    (void)state;
    char text[] = "hello";
    char *route = strdup("GET /hello");
    char *root = strdup(host.folder);
    struct evs_route *routes = calloc(2, sizeof *routes);
    routes[0] = (struct evs_route){.route = route, .serve = serve_text, .arg = text};
    host_write("file", "content");
    host.config.routes = routes;
    host.config.root = root;
    host_serve();
    free(route);
    free(root);
    free(routes);
    reload();
    host_expect("/hello", "hello");
    host_expect("/file", "content");
}

/* Before it runs, a server without threads belongs to the one who started it. */
static void server_that_does_not_run_yet_can_be_reloaded(void **state)
{
    (void)state;
    use_site("one");
    host_start();
    write_site("two", "");
    reload();
    host_serve();
    host_expect("/", "two");
    free_script();
}

static void change_of_the_script_or_a_module_is_seen(void **state)
{
    (void)state;
    host_needs_lua();
    host_write("module.lua", "return 'module'\n");
    host.config.script = strdup(write_site("one", "require 'module'\n"));
    host_start();
    assert_int_equal(evserve_changed(host.server), 0);
    write_site("a longer word", "require 'module'\n");
    assert_int_equal(evserve_changed(host.server), 1);
    assert_int_equal(evserve_changed(host.server), 0);
    host_write("module.lua", "return 'another module'\n");
    assert_int_equal(evserve_changed(host.server), 1);
    remove(host.path);
    assert_int_equal(evserve_changed(host.server), 0); /* it is being replaced, perhaps */
    host_write("broken.lua", "this is no Lua");
    write_site("two", "require 'broken'\n");
    assert_int_equal(evserve_changed(host.server), 1);
    reload_must_fail(-EINVAL, "broken.lua:1:");
    assert_int_equal(evserve_changed(host.server), 0);
    host_write("broken.lua", "return 'it is now'\n");
    assert_int_equal(evserve_changed(host.server), 1);
    reload();
    assert_int_equal(evserve_changed(host.server), 0);
    free_script();
}

/* Load. */

static atomic_bool is_over;
static atomic_int posts, failures;

static void *ask_on_and_on(void *arg)
{
    (void)arg;
    while (!is_over) {
        const char *body = client_body(client_get(host.port, "/"));
        if (strcmp(body, "one") != 0) {
            failures++;
        }
    }
    return NULL;
}

static void count_post(void *arg)
{
    (void)arg;
    posts++;
}

static void *look_and_post(void *arg)
{
    unsigned reactors = *(unsigned *)arg;
    uint64_t last = 0;
    for (unsigned i = 0; !is_over; i++) {
        struct evs_stats stats = {.size = sizeof stats};
        evserve_stats(host.server, &stats);
        failures += stats.requests < last;
        last = stats.requests;
        evserve_post_to(host.server, i % reactors, count_post, NULL);
        evserve_changed(host.server);
        usleep(200);
    }
    return NULL;
}

static void *reload_and_fail(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++) {
        char err[EVSERVE_ERROR_MAX];
        int rv = evserve_reload(host.server, err, sizeof err);
        failures += rv < 0 && rv != -EBUSY;
    }
    return NULL;
}

static void reload_post_stats_and_stop_from_other_threads_under_load(void **state)
{
    (void)state;
    enum { ASKERS = 3, RELOADERS = 2 };
    static unsigned reactors = 3;
    static int reloads = 20;
    use_site("one");
    host.config.reactors = reactors;
    host_start();
    is_over = false;
    failures = posts = 0;
    pthread_t askers[ASKERS], reloaders[RELOADERS], looker;
    for (int i = 0; i < ASKERS; i++) {
        pthread_create(&askers[i], NULL, ask_on_and_on, NULL);
    }
    pthread_create(&looker, NULL, look_and_post, &reactors);
    for (int i = 0; i < RELOADERS; i++) {
        pthread_create(&reloaders[i], NULL, reload_and_fail, &reloads);
    }
    for (int i = 0; i < RELOADERS; i++) {
        pthread_join(reloaders[i], NULL);
    }
    is_over = true;
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(askers[i], NULL);
    }
    evserve_stop(host.server, 10000);
    pthread_join(looker, NULL);
    assert_int_equal(evserve_wait(host.server), 0);
    assert_int_equal(failures, 0);
    assert_true(posts > 0);
    free_script();
}

static void *reload_until_stopped(void *arg)
{
    (void)arg;
    char err[EVSERVE_ERROR_MAX];
    int rv = 0;
    while (rv == 0 || rv == -EBUSY) {
        rv = evserve_reload(host.server, err, sizeof err);
    }
    failures += rv != -ESHUTDOWN;
    return NULL;
}

static void stop_comes_in_the_middle_of_reloads(void **state)
{
    (void)state;
    enum { ROUNDS = 10, ASKERS = 2, RELOADERS = 2 };
    host_needs_lua();
    host.config.script = strdup(host_write("site.lua", "local app = require 'evserve'\n"
                                                       "app.get('/', function() return 'one' end)\n"
                                                       "app.every('1h', function() end)\n"));
    failures = 0;
    for (int round = 0; round < ROUNDS; round++) {
        host.config.reactors = round % 2 == 0 ? 3 : 0;
        host_serve();
        pthread_t askers[ASKERS], reloaders[RELOADERS];
        is_over = false;
        for (int i = 0; i < RELOADERS; i++) {
            pthread_create(&reloaders[i], NULL, reload_until_stopped, NULL);
        }
        for (int i = 0; i < ASKERS; i++) {
            pthread_create(&askers[i], NULL, ask_on_and_on, NULL);
        }
        host_expect("/", "one");
        is_over = true;
        for (int i = 0; i < ASKERS; i++) {
            pthread_join(askers[i], NULL);
        }
        usleep((useconds_t)(round * 700)); /* now here, now there */
        assert_int_equal(host_stop(10000), 0);
        for (int i = 0; i < RELOADERS; i++) {
            pthread_join(reloaders[i], NULL);
        }
        evserve_free(host.server);
        host.server = NULL;
    }
    assert_int_equal(failures, 0);
    free_script();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(kept_connections_get_the_new_script_with_their_next_request),
        HOST_TEST(request_in_flight_finishes_on_the_old_script),
        HOST_TEST(deferred_work_of_the_old_script_is_done),
        HOST_TEST(broken_script_leaves_the_old_one_serving),
        HOST_TEST(script_may_change_its_addresses),
        HOST_TEST(address_that_cannot_be_opened_changes_nothing),
        HOST_TEST(listeners_have_numbers_for_so_many_changes),
        HOST_TEST(every_thread_serves_the_new_script),
        HOST_TEST(limits_of_the_new_script_are_in_force),
        HOST_TEST(timers_of_the_old_script_end),
        HOST_TEST(endless_script_is_stopped_and_nobody_waits_for_it),
        HOST_TEST(reload_may_go_on_beside_the_server),
        HOST_TEST(server_ends_while_a_script_loads),
        HOST_TEST(stuck_script_is_left_behind),
        HOST_TEST(handler_may_reload_its_own_server),
        HOST_TEST(routes_and_texts_of_the_config_may_go_after_the_start),
        HOST_TEST(server_that_does_not_run_yet_can_be_reloaded),
        HOST_TEST(change_of_the_script_or_a_module_is_seen),
        HOST_TEST(reload_post_stats_and_stop_from_other_threads_under_load),
        HOST_TEST(stop_comes_in_the_middle_of_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
