/* lua/bind_fetch.c and what lies below it, with real sockets: requests of a timer to another server, with memory that
 * fails, with a script that ends in the middle, and with responses that nobody reads. */

#include "core/log.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/units.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "lua/script.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, BACKLOG = 64, STRIDE = 29 }; /* between two allocations that fail; 1 takes a minute */

static const char whole[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a\r\nX: 1\r\nx: 2\r\n\r\nok";
static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";

struct fetch_scene {
    struct reactor *reactor;
    struct site *site;
    struct script *script;
    struct outbound outbound;
    struct log log;
    int listener, port; /* of the other server */
    pthread_t acceptor;
    atomic_int connections; /* to it */
    int fds;                /* that were open before */
    int done;               /* lines that say "done" */
    char path[64];
    char err[512];
    char logged[16384];
    size_t logged_len;
};

static struct fetch_scene fetch_scene; /* there is one test at a time */
static uint64_t fetch_stride;

static void note_fetch_line(void *arg, int level, const char *line)
{
    struct fetch_scene *scene = arg;
    (void)level;
    int len = snprintf(scene->logged + scene->logged_len, sizeof scene->logged - scene->logged_len, "%s\n", line);
    scene->logged_len += (size_t)len < sizeof scene->logged - scene->logged_len ? (size_t)len : 0;
    scene->done += strncmp(line, "done", 4) == 0;
}

/* The other server: a thread for each connection, which knows what to send by the path's first letter. */

static void send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        text += sent;
        len -= (size_t)sent;
    }
}

static void respond_as_asked(int fd, char what)
{
    char piece[1024];
    switch (what) {
    case 'w':
        send_all(fd, whole, sizeof whole - 1);
        break;
    case 'c':
        send_all(fd, chunked, sizeof chunked - 1);
        break;
    case 'h': /* holds: a part of the body, and nothing more */
        send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 41);
        break;
    case 'n': /* never */
        break;
    case 'b': /* breaks off */
        send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", 41);
        shutdown(fd, SHUT_WR);
        break;
    default: /* long: half a megabyte */
        send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 524288\r\n\r\n", 44);
        memset(piece, 'x', sizeof piece);
        for (int i = 0; i < 512; i++) {
            send_all(fd, piece, sizeof piece);
        }
    }
}

/* The bodies of requests are chunked or short, and end in "0\r\n\r\n", or there are none. */
static void *serve_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char text[65536];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (got <= 0) {
            close(fd);
            fetch_scene.connections--;
            return NULL;
        }
        len += (size_t)got;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        bool is_whole = end != NULL && (strncmp(text, "PUT", 3) != 0 || strstr(end, "0\r\n\r\n") != NULL);
        if (is_whole) {
            respond_as_asked(fd, strchr(text, '/')[1]);
        }
        if (is_whole || len == sizeof text - 1) {
            len = 0;
        }
    }
}

static void *accept_connections(void *arg)
{
    struct fetch_scene *scene = arg;
    for (int fd = accept(scene->listener, NULL, NULL); fd >= 0; fd = accept(scene->listener, NULL, NULL)) {
        pthread_t thread;
        scene->connections++;
        assert_int_equal(pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static void begin_other_server(struct fetch_scene *scene)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    scene->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(scene->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(scene->listener, BACKLOG), 0);
    assert_int_equal(getsockname(scene->listener, (struct sockaddr *)&address, &len), 0);
    scene->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&scene->acceptor, NULL, accept_connections, scene), 0);
}

/* No connection to it is open any more. */
static void end_other_server(struct fetch_scene *scene)
{
    shutdown(scene->listener, SHUT_RDWR);
    pthread_join(scene->acceptor, NULL);
    close(scene->listener);
    for (int i = 0; i < PATIENCE_MS && scene->connections > 0; i++) {
        sys_sleep_ms(1);
    }
    assert_int_equal(scene->connections, 0);
}

static int set_up_fetch(void **state)
{
    (void)state;
    struct fetch_scene *scene = &fetch_scene;
    memset(scene, 0, sizeof *scene);
    scene->fds = open_fds();
    snprintf(scene->path, sizeof scene->path, "/tmp/evserve-fetch-XXXXXX");
    int fd = mkstemp(scene->path);
    if (fd < 0) {
        return -1;
    }
    close(fd);
    scene->log = (struct log){.sink = note_fetch_line, .arg = scene, .level = LOG_INFO};
    begin_other_server(scene);
    return 0;
}

static int tear_down_fetch(void **state)
{
    (void)state;
    end_other_server(&fetch_scene);
    unlink(fetch_scene.path);
    return fake_mem_live() == 0 && open_fds() == fetch_scene.fds ? 0 : -1;
}

/* A script in which $ stands for the other server. */
static void write_script(const char *text)
{
    FILE *file = fopen(fetch_scene.path, "w");
    assert_non_null(file);
    fputs("local app = require 'evserve'\n", file);
    for (; *text != '\0'; text++) {
        if (*text == '$') {
            fprintf(file, "http://127.0.0.1:%d", fetch_scene.port);
        } else {
            fputc(*text, file);
        }
    }
    assert_int_equal(fclose(file), 0);
}

static int open_fetch_scene(void)
{
    struct fetch_scene *scene = &fetch_scene;
    int rv = reactor_create(&scene->reactor, &scene->log);
    if (rv == 0) {
        outbound_init(&scene->outbound, scene->reactor, NULL, &scene->log);
    }
    rv = rv < 0 ? rv : site_create(&scene->site, &scene->log);
    const struct script_host host = {.outbound = &scene->outbound};
    rv = rv < 0 ? rv
                : script_open(&scene->script, scene->path, scene->site, scene->reactor, &scene->log, &host, scene->err,
                              sizeof scene->err);
    return rv < 0 ? rv : script_start(scene->script, NULL, scene->err, sizeof scene->err);
}

static void close_fetch_scene(void)
{
    struct fetch_scene *scene = &fetch_scene;
    if (scene->script != NULL) {
        script_stop(scene->script);
    }
    script_close(scene->script);
    site_destroy(scene->site);
    if (scene->reactor != NULL) {
        outbound_done(&scene->outbound);
    }
    reactor_destroy(scene->reactor);
    scene->script = NULL;
    scene->site = NULL;
    scene->reactor = NULL;
}

static void begin_fetch_scene(const char *text)
{
    write_script(text);
    if (open_fetch_scene() < 0) {
        fail_msg("%s", fetch_scene.err);
    }
}

/* Turn the loop until so many lines say "done", or until the script has nothing left to do. */
static void run_fetch_scene(int done)
{
    struct fetch_scene *scene = &fetch_scene;
    int64_t end_ns = sys_now_ns() + (int64_t)PATIENCE_MS * NS_PER_MS;
    for (int quiet = 0; scene->done < done && quiet < 20; quiet++) {
        assert_true(reactor_run_once(scene->reactor, 1) >= 0);
        quiet = script_is_busy(scene->script, INT64_MAX) ? 0 : quiet;
        assert_true(sys_now_ns() < end_ns);
    }
}

static void check_logged(const char *text)
{
    if (strstr(fetch_scene.logged, text) == NULL) {
        fail_msg("not \"%s\" but: %s", text, fetch_scene.logged);
    }
}

#define FETCH_DAY                                                                                                      \
    "local function read(res) local text = '' for piece in res:chunks() do text = text .. piece end return text end\n" \
    "app.after(0, function()\n"                                                                                        \
    "    local a = app.fetch('$/w', { method = 'POST', headers = { a = 'b', list = { 1, 2 } }, body = { 1 } })\n"      \
    "    local b = app.fetch('$/c', { stream = true })\n"                                                              \
    "    local text = b and read(b)\n"                                                                                 \
    "    local n = 0\n"                                                                                                \
    "    local function body() n = n + 1 app.sleep(1) return n < 3 and 'xy' or nil end\n"                              \
    "    local c = app.fetch('$/w', { method = 'PUT', body = body })\n"                                                \
    "    local d = app.fetch('$/l')\n"                                                                                 \
    "    local e = app.fetch('$/l', { stream = true })\n"                                                              \
    "    local long = e and read(e)\n"                                                                                 \
    "    local held = app.fetch('$/h', { stream = true })\n"                                                           \
    "    local task = app.spawn(app.fetch, '$/n')\n"                                                                   \
    "    local _, _, kind = app.fetch('$/b')\n"                                                                        \
    "    app.sleep(1)\n"                                                                                               \
    "    task:cancel()\n"                                                                                              \
    "    app.log('info', 'done', a and a.body .. a.headers.x .. a.headers['set-cookie'][1], text, c and c.status,\n"   \
    "            d and #d.body, long and #long, held and held:read(), kind)\n"                                         \
    "end)\n"

static void day_of_fetches_passes(void **state)
{
    (void)state;
    begin_fetch_scene(FETCH_DAY);
    run_fetch_scene(1);
    close_fetch_scene();
    check_logged("done ok1, 2a abcdef 200 524288 524288 abc closed");
}

/* Fail the n-th allocation, from the beginning or once the script has started. Returns whether there was one. */
static bool fail_day_of_fetches(uint64_t n)
{
    fetch_scene.done = 0;
    fetch_scene.logged_len = 0;
    int rv = open_fetch_scene();
    assert_int_equal(rv, 0);
    fake_mem_fail_after(n, false);
    run_fetch_scene(1);
    bool has_failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    close_fetch_scene();
    if (fake_mem_live() != 0) {
        fail_msg("allocation %llu: %zu blocks are left", (unsigned long long)n, fake_mem_live());
    }
    return has_failed;
}

static void each_allocation_of_a_fetch_may_fail(void **state)
{
    (void)state;
    write_script(FETCH_DAY);
    for (uint64_t n = 1; fail_day_of_fetches(n); n += fetch_stride) {
    }
}

static void script_that_ends_cuts_its_fetches(void **state)
{
    (void)state;
    begin_fetch_scene("local kept\n"
                      "app.after(0, function() app.log('info', 'done') app.fetch '$/n' end)\n"
                      "app.after(0, function() kept = app.fetch('$/h', { stream = true }) app.log('info', 'done')\n"
                      "    kept:read() kept:read() end)\n"
                      "app.after(0, function() app.fetch('$/n', { method = 'PUT', body = function()\n"
                      "    app.log('info', 'done') app.sleep '1h' end }) end)\n");
    run_fetch_scene(3);
    assert_true(script_is_busy(fetch_scene.script, INT64_MAX));
    close_fetch_scene();
    check_logged("where it waits, because the script ends");
}

static void response_that_is_garbage_is_closed(void **state)
{
    (void)state;
    begin_fetch_scene("app.after(0, function()\n"
                      "    for i = 1, 50 do assert(app.fetch('$/h', { stream = true })) end\n"
                      "    collectgarbage() collectgarbage()\n"
                      "    app.log('info', 'done')\n"
                      "    app.sleep '1h'\n"
                      "end)\n");
    run_fetch_scene(1);
    assert_in_range(fetch_scene.outbound.links.count, 0, 1); /* the last one may lie on the stack */
    close_fetch_scene();
}

/* Bodies for which Lua has no memory: nothing leads to their responses, and whoever asked goes on. */
static void response_that_is_lost_is_closed_by_the_next_request(void **state)
{
    (void)state;
    begin_fetch_scene("app.set { lua_memory = '8M' }\n"
                      "app.after(0, function()\n"
                      "    local full, failed, ok = {}, 0, true\n"
                      "    while ok do ok, full[#full + 1] = pcall(string.rep, #full .. ' ', 16384) end\n"
                      "    for i = 1, 10 do\n"
                      "        local _, err = pcall(app.fetch, '$/l')\n"
                      "        failed = failed + (type(err) == 'string' and err:find('not enough memory') and 1 or 0)\n"
                      "    end\n"
                      "    app.log('info', 'done', failed, #full)\n"
                      "    app.sleep '1h'\n"
                      "end)\n");
    run_fetch_scene(1);
    check_logged("done 10 ");
    assert_in_range(fetch_scene.outbound.held_bytes, 524288, 2 * 524288);
    close_fetch_scene();
    assert_int_equal(fetch_scene.outbound.held_bytes, 0);
}

static void response_ends_with_who_has_asked(void **state)
{
    (void)state;
    begin_fetch_scene("kept = {}\n"
                      "local function ask() table.insert(kept, assert(app.fetch('$/h', { stream = true }))) end\n"
                      "app.after(0, function()\n"
                      "    ask() app.all(ask, ask)\n"
                      "    app.log('info', 'done', kept[3]:read())\n"
                      "    app.sleep(50)\n"
                      "end)\n"
                      "app.after(0, function() while #kept < 3 do app.sleep(1) end app.sleep(80)\n"
                      "    app.log('info', 'done', select(2, kept[1]:read())) end)\n");
    run_fetch_scene(1);
    assert_int_equal(fetch_scene.outbound.links.count, 3);
    run_fetch_scene(2);
    assert_int_equal(fetch_scene.outbound.links.count, 0);
    check_logged("done abc");
    check_logged("done the response was closed");
    close_fetch_scene();
}

#define FETCH_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_fetch, tear_down_fetch)

/* socket_lua_fetch [STRIDE] */
int main(int argc, char **argv)
{
    fetch_stride = argc > 1 ? strtoull(argv[1], NULL, 10) : STRIDE;
    const struct CMUnitTest tests[] = {
        FETCH_TEST(day_of_fetches_passes),
        FETCH_TEST(each_allocation_of_a_fetch_may_fail),
        FETCH_TEST(script_that_ends_cuts_its_fetches),
        FETCH_TEST(response_that_is_garbage_is_closed),
        FETCH_TEST(response_that_is_lost_is_closed_by_the_next_request),
        FETCH_TEST(response_ends_with_who_has_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
