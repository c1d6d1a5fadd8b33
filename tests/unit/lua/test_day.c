/* Failures under the whole of evserve, Lua included: one day of a server, from evserve_start() to evserve_free(), is
 * played again and again, and each time another allocation fails (of C or of Lua, once or from there on), or another
 * system call, with each error that it can give in earnest. The day has all that a server does: it starts, serves
 * files, answers in Lua and in C, takes uploads, streams, answers pipelines, lets the slow and the silent wait until
 * their deadlines, reloads its script, refuses a broken one, and stops with requests in flight.
 *
 * Whatever fails: nothing crashes, hangs or leaks, memory or fds; each answer that came whole is that of a day without
 * failures, or 500 or 503; one that is cut comes with the end of its connection; an open connection has all of its
 * answers; and when the fault is gone, everything is served as before.
 *
 *   test_day [STRIDE [FIRST]]   every STRIDE-th place, from FIRST (1 to STRIDE) on; without arguments a sample. 1 is all
 *                               of them: some minutes.
 *
 * A legal error is one that the manual names or that the kernel's source gives; epoll_wait(2) for example never says
 * ENOMEM. What a call that cannot fail would do is not asked. test_server_fault.c lets any call fail with anything. */

#include "evserve.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/open_fds.h"
#include "tests/wire/wire_answers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    LARGE = 100000,
    PIPELINED = 20,
    SEGMENTS_MAX = 6,   /* of a visitor */
    POLLS_MAX = 5000,   /* of one settling */
    DRAIN_MS = 1000,    /* for requests in flight when the server stops */
    SAMPLE_CALLS = 61,  /* strides of a run without arguments */
    SAMPLE_BLOCKS = 83, /* likewise */
    FDS_MAX = 200,      /* looked at, when some are left */
    ERRORS_MAX = 6,     /* ways in which a system call fails */
};

#define REQUEST(method, path, fields) method " " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define GET(path)                     REQUEST("GET", path, "")

/* The site, as printf() has it: the folder twice, a word that tells one version from the next. */
static const char site_text[] =
    "local app = require 'evserve'\n"
    "local tool = require 'tool'\n"
    "app.set { idle_timeout = '5s', header_timeout = '10s', body_timeout = '5s', write_timeout = '5s',\n"
    "    max_body = '64K' }\n"
    "app.tls { name = 'a', cert = 'a.pem', key = 'a-key.pem', client_ca = 'ca.pem', min_version = '1.3' }\n"
    "app.set { hsts = '365d' }\n"
    "app.acme 'www/sub'\n"
    "app.redirect_https('127.0.0.1:0', { port = 443 })\n"
    "app.static('/', '%s/www', { list = true, cache = '1h', headers = { ['X-Site'] = 'day' } })\n"
    "app.use(function(req, nxt) local res = nxt() res.headers['X-Used'] = 'yes' return res end)\n"
    "app.on('error', function(req, err) return 500, 'sorry\\n' end)\n"
    "app.on('start', function() app.log('info', 'started') end)\n"
    "app.on('stop', function() app.log('info', 'stopped') end)\n"
    "app.every('1s', function() app.sleep '1ms' end)\n"
    "app.get('/lua/text/:name', function(req) return tool.greet(req.params.name), { ['X-B'] = { '1', '2' } } end)\n"
    "app.get('/lua/json', function(req) return { req.query.a, req.headers.host, app.json.decode('[1]')[1] } end)\n"
    "app.get('/lua/long', function() return ('x'):rep(20000) end)\n"
    "app.get('/lua/error', function() error {} end)\n"
    "app.get('/lua/file', function() return app.file('small', { root = '%s/www' }) end)\n"
    "app.get('/large', function() return app.pass end)\n"
    "app.get('/lua/redirect', function() return app.redirect '/small' end)\n"
    "local function nap() app.sleep(1) return 'nap' end\n"
    "local function long() app.sleep '1h' end\n"
    "app.get('/lua/tasks', function()\n"
    "    local task = app.spawn(nap)\n"
    "    app.spawn(long)\n"
    "    local sem = app.semaphore(0)\n"
    "    app.spawn(function() sem:post() end)\n"
    "    app.shield(sem.wait, sem)\n"
    "    return task:wait() .. table.concat({ app.all(nap, nap) }) .. app.race(nap, long)\n"
    "end)\n"
    "local store = app.store('day', { size = '64K' })\n"
    "store:set('at the start', { list = { 1, 2 } })\n"
    "app.every('1s', { once = true }, function() store:incr 'ticks' end)\n"
    "app.get('/lua/store', function()\n"
    "    store:set('long', { text = ('x'):rep(5000), list = app.json.array { app.json.null } }, '1h')\n"
    "    store:once('job', '1ms')\n"
    "    local sum, list = store:incr('sum') - store:incr('sum', -1), store:keys 'lo'\n"
    "    return { sum, #list, #store:get('long').text, store:get('at the start').list, store:stats().size }\n"
    "end)\n"
    "app.get('/lua/defer', function() app.defer(function() app.sleep '1ms' end) return 'deferred' end)\n"
    "app.get('/lua/sleep', function() app.sleep '50ms' return 'slept %s' end)\n"
    "app.get('/lua/word', function() return '%s' end)\n"
    "app.post('/lua/form', function(req) return req.body .. '|' end)\n"
    "app.put('/lua/upload', { max_body = '1M' }, function(req)\n"
    "    local n = 0\n"
    "    for chunk in req:chunks() do n = n + #chunk end\n"
    "    return 201, n .. ' bytes'\n"
    "end)\n"
    "app.get('/lua/stream', function() return function(out)\n"
    "    for i = 1, 20 do out:write(('y'):rep(1000)) app.sleep '1ms' end\n"
    "end end)\n";

static const char tool_text[] = "return { greet = function(name) return 'hello ' .. name .. '\\n' end }\n";

/* One client of the day. */
struct visitor {
    const char *name;
    const char *says[SEGMENTS_MAX]; /* its segments, one after the other */
    int64_t window;                 /* bytes it takes a tick, and in all if it hangs up or stalls; or FAKE_NO_LIMIT */
    enum { STAYS, HANGS_UP, STALLS } manner; /* HANGS_UP: resets in the end; STALLS: takes nothing more */
    const char *statuses; /* of its answers when nothing fails; NULL for those who do not take an answer whole */
    bool varies;          /* an answer may be another one when something is missing: a listing, what is compressed */
    unsigned heads;       /* set of 1 << n: the n-th request is HEAD */
    struct fake_peer *peer;
};

#define CHUNKED "Transfer-Encoding: chunked\r\n"

static struct visitor visitors[] = {
    {"files",
     {GET("/small"), REQUEST("HEAD", "/small", ""), GET("/"), GET("/sub")},
     -1,
     STAYS,
     "200 200 200 301",
     false,
     1 << 1,
     NULL},
    {"large file, slow", {GET("/big.bin") GET("/small")}, 7000, STAYS, "200 200", false, 0, NULL},
    {"passed file", {GET("/large"), GET("/small")}, -1, STAYS, "200 200", false, 0, NULL},
    {"conditions",
     {REQUEST("GET", "/small", "If-None-Match: *\r\n"), REQUEST("GET", "/big.bin", "Range: bytes=5-9\r\n"),
      REQUEST("GET", "/big.bin", "Range: bytes=0-1,7-9\r\n"), REQUEST("GET", "/small", "Range: bytes=900-\r\n")},
     -1,
     STAYS,
     "304 206 206 416",
     false,
     0,
     NULL},
    {"what is not there",
     {GET("/missing"), GET("/.hidden"), GET("/sub/missing/")},
     -1,
     STAYS,
     "404 404 404",
     false,
     0,
     NULL},
    {"listing", {GET("/sub/"), GET("/sub/")}, -1, STAYS, "200 200", true, 0, NULL},
    {"compressed",
     {REQUEST("GET", "/c.css", "Accept-Encoding: gzip\r\n"), GET("/c.css")},
     -1,
     STAYS,
     "200 200",
     true,
     0,
     NULL},
    {"lua",
     {GET("/lua/text/ann"), GET("/lua/json?a=1"), GET("/lua/long"), GET("/lua/error"), GET("/lua/file") GET("/small"),
      GET("/lua/redirect") GET("/lua/defer")},
     -1,
     STAYS,
     "200 200 200 500 200 200 302 200",
     false,
     0,
     NULL},
    {"lua, waiting",
     {GET("/lua/text/a") GET("/lua/sleep") GET("/small"), GET("/lua/word")},
     -1,
     STAYS,
     "200 200 200 200",
     false,
     0,
     NULL},
    {"lua, tasks", {GET("/lua/tasks") GET("/small"), GET("/lua/word")}, -1, STAYS, "200 200 200", false, 0, NULL},
    {"lua, a store", {GET("/lua/store") GET("/lua/store"), GET("/lua/word")}, -1, STAYS, "200 200 200", false, 0, NULL},
    {"form",
     {REQUEST("POST", "/lua/form", "Content-Length: 9\r\n"), "one", "two", "six" GET("/lua/word")},
     -1,
     STAYS,
     "200 200",
     false,
     0,
     NULL},
    {"form that is too long",
     {REQUEST("POST", "/lua/form", "Content-Length: 70000\r\n"), "one"},
     -1,
     STAYS,
     "413",
     false,
     0,
     NULL},
    {"upload to lua",
     {REQUEST("PUT", "/lua/upload", CHUNKED "Expect: 100-continue\r\n"), "3\r\non", "e\r\n3\r\ntwo\r\n",
      "0\r\n\r\n" GET("/lua/word")},
     -1,
     STAYS,
     "201 200",
     false,
     0,
     NULL},
    {"upload to lua that is lost",
     {REQUEST("PUT", "/lua/upload", "Content-Length: 9\r\n") "one"},
     -1,
     HANGS_UP,
     NULL,
     false,
     0,
     NULL},
    {"stream of lua", {GET("/lua/stream") GET("/lua/word")}, 5000, STAYS, "200 200", false, 0, NULL},
    {"stream of lua to 1.0", {"GET /lua/stream HTTP/1.0\r\n\r\n"}, -1, STAYS, "200", false, 0, NULL},
    {"stream of lua that is lost", {GET("/lua/stream")}, 3000, HANGS_UP, NULL, false, 0, NULL},
    {"upload to c",
     {REQUEST("PUT", "/c/upload", CHUNKED), "3\r\non", "e\r\n3\r\ntwo\r\n", "0\r\n\r\n" GET("/c/hello")},
     -1,
     STAYS,
     "200 200",
     false,
     0,
     NULL},
    {"stream of c", {GET("/c/stream") GET("/c/hello")}, 5000, STAYS, "200 200", false, 0, NULL},
    {"late answer of c", {GET("/c/hello") GET("/c/later") GET("/c/hello")}, -1, STAYS, "200 200 200", false, 0, NULL},
    {"lost in c", {GET("/c/never")}, -1, HANGS_UP, NULL, false, 0, NULL},
    {"file of c", {GET("/c/file") GET("/c/hello")}, -1, STAYS, "200 200", false, 0, NULL},
    {"head in pieces", {"GET /c/he", "llo HTTP/1.1\r\nHost", ": a\r\n\r\n"}, -1, STAYS, "200", false, 0, NULL},
    {"bad", {"BAD\r\n\r\n", "and more"}, -1, STAYS, "400", false, 0, NULL},
    {"last", {REQUEST("GET", "/small", "Connection: close\r\n")}, -1, STAYS, "200", false, 0, NULL},
    {"pipelined", {NULL}, 300, STAYS, "", false, 0, NULL}, /* receive_visitors() says what */
    {"half a head", {"GET /c/hello HTTP/1.1\r\n"}, -1, STAYS, "408", false, 0, NULL},
    {"half a body", {REQUEST("POST", "/lua/form", "Content-Length: 9\r\n") "one"}, -1, STAYS, "408", false, 0, NULL},
    {"silent", {NULL}, -1, STAYS, "", false, 0, NULL},
    {"who never reads", {GET("/big.bin")}, 500, STALLS, NULL, false, 0, NULL},
};

enum { VISITORS = sizeof visitors / sizeof visitors[0] };

static char pipeline[PIPELINED * sizeof GET("/lua/text/pipe")];
static char pipeline_statuses[PIPELINED * 4 + 1];

/* The answers of a day without failures: what others are compared with. */
static struct answers expected[VISITORS];
static char *expected_output[VISITORS]; /* into which they point */

/* What fails. */
static struct {
    const char *what; /* for messages */
    int error;        /* of the system call; 0: an allocation */
    bool forever;     /* every allocation from then on */
    uint64_t n;       /* which one; 0: none */
    bool shown;       /* it has */
} failing;

static struct file_tree tree; /* the script, its module, and www/ */
static evserve *server;
static int listener_fd;
static char err[EVSERVE_ERROR_MAX];
static char logged[32768]; /* the day's log, as far as there is room */
static int requests_of_c;  /* begun and not yet answered or gone */

#define check(condition, who)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail_msg("%s: %s, when %s %d fails (%s). Log:\n%s", who, #condition, failing.what, (int)failing.n,         \
                     strerror(-failing.error), logged);                                                                \
        }                                                                                                              \
    } while (0)

static void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s\n", line);
}

/* Routes in C. */

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello\n", 6);
}

static void serve_file(evs_request *request, void *arg)
{
    (void)arg;
    char www[96];
    snprintf(www, sizeof www, "%s/www", tree.path);
    if (evs_file(request, www, "small") < 0) {
        evs_reply(request, 503, NULL, NULL, 0);
    }
}

/* The bytes of an upload are counted in arg. */
static void count_upload(evs_request *request, size_t *count)
{
    const void *data;
    size_t len;
    int rv;
    while ((rv = evs_read(request, &data, &len)) == EVS_PIECE) {
        *count += len;
    }
    if (rv != EVS_WAIT) {
        char text[32];
        snprintf(text, sizeof text, "%zu bytes", *count);
        requests_of_c--;
        evs_reply(request, rv == EVS_END ? 200 : -rv, "text/plain", text, strlen(text));
    }
}

static void on_upload(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        count_upload(request, arg);
    } else if (event == EVS_GONE) {
        requests_of_c--;
    }
}

static void serve_upload(evs_request *request, void *arg)
{
    requests_of_c++;
    *(size_t *)arg = 0;
    evs_on(request, on_upload, arg);
    count_upload(request, arg);
}

/* The lines left of a stream are counted in arg. */
static void go_on(evs_request *request, int *left)
{
    static const char line[1000] = "c";
    int rv = 1;
    while (rv > 0 && *left > 0) {
        --*left;
        rv = evs_write(request, line, sizeof line);
    }
    if (rv >= 0 && *left == 0) {
        requests_of_c--;
        evs_end(request);
    }
}

static void on_stream(evs_request *request, int event, void *arg)
{
    if (event == EVS_DRAIN) {
        go_on(request, arg);
    } else if (event == EVS_GONE) {
        requests_of_c--;
    }
}

static void serve_stream(evs_request *request, void *arg)
{
    requests_of_c++;
    *(int *)arg = 100;
    evs_on(request, on_stream, arg);
    evs_begin(request, 200, "text/plain", -1);
    go_on(request, arg);
}

static void on_later(evs_request *request, int event, void *arg)
{
    (void)arg;
    requests_of_c -= event == EVS_TIMER || event == EVS_GONE;
    if (event == EVS_TIMER) {
        evs_reply(request, 200, "text/plain", "later\n", 6);
    }
}

/* arg is how much later. */
static void serve_later(evs_request *request, void *arg)
{
    requests_of_c++;
    evs_on(request, on_later, NULL);
    if (evs_after(request, *(uint32_t *)arg) < 0) {
        requests_of_c--;
        evs_reply(request, 503, NULL, NULL, 0);
    }
}

static size_t upload_count;
static int stream_left;
static uint32_t soon = 20, never = UINT32_MAX;

static const struct evs_route routes[] = {
    {.route = "GET /c/hello", .serve = serve_hello},
    {.route = "GET /c/file", .serve = serve_file},
    {.route = "PUT /c/upload", .serve = serve_upload, .arg = &upload_count, .flags = EVS_STREAM_BODY},
    {.route = "GET /c/stream", .serve = serve_stream, .arg = &stream_left},
    {.route = "GET /c/later", .serve = serve_later, .arg = &soon},
    {.route = "GET /c/never", .serve = serve_later, .arg = &never},
    {.route = NULL},
};

/* The clock of the day. */

static void arm(void)
{
    if (failing.error != 0) {
        fake_sys_fail(failing.n, failing.error);
    } else {
        fake_mem_fail_after(failing.n, failing.forever);
    }
}

static bool has_failed(void)
{
    failing.shown = failing.shown || (failing.error != 0 ? fake_sys_failed() : fake_mem_failed());
    return failing.shown;
}

/* The fault is gone. */
static void disarm(void)
{
    (void)has_failed();
    fake_sys_fail(0, 0);
    fake_mem_fail_after(0, false);
}

/* For who wants to know why the loop turns. */
static void print_last_calls(void)
{
    size_t count;
    const struct fake_call *calls = fake_sys_trace(&count);
    for (size_t i = count > 40 ? count - 40 : 0; i < count; i++) {
        print_message("%s fd %d, %lld: %lld\n", fake_op_name(calls[i].op), calls[i].fd, (long long)calls[i].arg,
                      (long long)calls[i].result);
    }
}

static void print_open_fds(void)
{
    for (int fd = 0; fd < FDS_MAX; fd++) {
        char link[64], target[256];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, target, sizeof target);
        if (len >= 0) {
            print_message("fd %d is %.*s\n", fd, (int)len, target);
        }
    }
}

/* Turn the loop until nothing happens any more. A turn without events is one system call. */
static void come_to_rest(void)
{
    int quiet = 0;
    for (int polls = 0; quiet < 3; polls++) {
        uint64_t before = fake_sys_total();
        if (polls == POLLS_MAX) {
            print_last_calls();
        }
        check(polls < POLLS_MAX, "the loop");
        check(evserve_poll(server, 0) == 1, "the loop");
        quiet = fake_sys_total() - before <= 1 ? quiet + 1 : 0;
    }
}

static void let_pass(int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        fake_sys_advance_ms(step);
        come_to_rest();
    }
}

static void write_site(const char *word, const char *more)
{
    char text[sizeof site_text + 512];
    size_t len = (size_t)snprintf(text, sizeof text, site_text, tree.path, tree.path, word, word);
    snprintf(text + len, sizeof text - len, "%s", more);
    tree_replace_file(&tree, "site.lua", text);
}

static bool start_server(void)
{
    char script[96];
    snprintf(script, sizeof script, "%s/site.lua", tree.path);
    const struct evserve_config config = {
        .size = sizeof config, .listen = "127.0.0.1:0", .script = script, .routes = routes, .log = keep_line};
    err[0] = '\0';
    server = evserve_start(&config, err, sizeof err);
    listener_fd = server == NULL ? -1 : fake_sys_listener_fd();
    return server != NULL;
}

/* The hours of the day. Each returns with what it began having come to rest. */

static void begin_the_day(size_t blocks)
{
    write_site("one", "");
    if (!start_server()) {
        check(has_failed(), "the start");
        check(err[0] != '\0', "the start");
        check(fake_mem_live() == blocks, "the start");
        check(fake_sys_open_fds() == 0, "the start");
        disarm();
        check(start_server(), "the second start");
    }
    if (evserve_fd(server) < 0) {
        check(has_failed(), "the loop's fd");
    }
}

static void receive_visitors(void)
{
    for (int i = 0; i < VISITORS; i++) {
        struct visitor *visitor = &visitors[i];
        visitor->peer = fake_peer_connect(listener_fd);
        if (visitor->manner == STAYS) {
            fake_peer_set_window(visitor->peer, visitor->window);
        } else {
            fake_peer_set_room(visitor->peer, visitor->window);
        }
        for (int n = 0; n < SEGMENTS_MAX && visitor->says[n] != NULL; n++) {
            fake_peer_send_text(visitor->peer, visitor->says[n]);
            if (i % 2 == 0) { /* half of them are served one by one, half of them together */
                check(evserve_poll(server, 0) == 1, visitor->name);
            }
        }
    }
    come_to_rest();
    let_pass(200, 10); /* what waits, streams, and listeners that rest */
    for (int i = 0; i < VISITORS; i++) {
        if (visitors[i].manner == HANGS_UP) {
            fake_peer_reset(visitors[i].peer, 0);
        }
    }
    come_to_rest();
    let_pass(400, 20);
    let_pass(14000, 500); /* deadlines */
}

/* The script changes while one of its handlers waits, and after that to one that does not load. */
static void reload_the_script(struct fake_peer **sleeper, struct fake_peer **next)
{
    *sleeper = fake_peer_connect(listener_fd);
    fake_peer_send_text(*sleeper, GET("/lua/sleep"));
    come_to_rest();
    write_site("two", "");
    check(evserve_changed(server) == 1 || has_failed(), "the change");
    err[0] = '\0';
    int rv = evserve_reload(server, err, sizeof err);
    if (rv < 0) {
        check(has_failed() && err[0] != '\0', "the reload");
        come_to_rest();
        disarm();
        err[0] = '\0';
        check(evserve_reload(server, err, sizeof err) == 0, "the second reload");
    }
    come_to_rest();
    fake_peer_send_text(*sleeper, GET("/lua/word"));
    *next = fake_peer_connect(listener_fd);
    fake_peer_send_text(*next, GET("/lua/word"));
    let_pass(200, 10);
    write_site("three", "error 'broken'\n");
    err[0] = '\0';
    check(evserve_reload(server, err, sizeof err) < 0, "the broken script");
    check(has_failed() || strstr(err, "broken") != NULL, "the broken script");
    check(err[0] != '\0', "the broken script");
    come_to_rest();
}

static void stop_the_server(bool is_good_day)
{
    static const char *const late[] = {GET("/lua/sleep"), GET("/c/never"),   "GET /hel", "",
                                       GET("/large"),     GET("/lua/stream")};
    enum { LATE = sizeof late / sizeof late[0] };
    struct fake_peer *peers[LATE];
    for (int i = 0; i < LATE; i++) {
        peers[i] = fake_peer_connect(listener_fd);
        fake_peer_set_window(peers[i], i == 4 ? 3000 : FAKE_NO_LIMIT);
        fake_peer_send_text(peers[i], late[i]);
        check(evserve_poll(server, 0) == 1, "the evening");
    }
    come_to_rest();
    evserve_stop(server, DRAIN_MS);
    int rv = 1;
    for (int ms = 0; rv == 1 && ms < 3 * DRAIN_MS; ms += 5) {
        for (int i = 0; i < 10 && rv == 1; i++) {
            rv = evserve_poll(server, 0);
        }
        fake_sys_advance_ms(5);
    }
    check(rv == 0, "the stop");
    int cut = evserve_wait(server);
    check(cut >= 0, "the stop");
    if (is_good_day) {
        check(cut == 2, "the stop"); /* who never gets an answer, and half a head */
    }
    for (int i = 0; i < LATE; i++) {
        check(fake_peer_saw_close(peers[i]) || fake_peer_fd(peers[i]) < 0, "the stop");
    }
}

/* Judging. */

/* What must be of an open connection's output, or of one that has ended: framing, and that only its end cuts. */
static void read_answers(struct answers *answers, const struct fake_peer *peer, unsigned heads, bool may_be_cut,
                         const char *who)
{
    bool is_head[ANSWERS_MAX] = {false};
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    bool is_open = !fake_peer_saw_end(peer);
    for (unsigned n = 0; heads >> n != 0; n++) {
        is_head[n] = heads >> n & 1;
    }
    answers_read(answers, output, len, is_head, !is_open);
    if (answers->error[0] != '\0' && (is_open || !may_be_cut || !answers_lack_their_end(answers->error))) {
        fail_msg("%s: %s, when %s %d fails (%s). Log:\n%s", who, answers->error, failing.what, (int)failing.n,
                 strerror(-failing.error), logged);
    }
}

static void describe_statuses(const struct answers *answers, char text[ANSWERS_MAX * 4 + 1])
{
    text[0] = '\0';
    for (size_t i = 0, used = 0; i < answers->count; i++) {
        used += (size_t)sprintf(text + used, "%s%d", i == 0 ? "" : " ", answers->list[i].status);
    }
}

static bool is_same(const struct answer *one, const struct answer *other)
{
    return one->status == other->status && one->body_len == other->body_len &&
           (one->body_len == 0 || memcmp(one->body, other->body, one->body_len) == 0);
}

static void judge_visitor(int i, bool is_bad_day)
{
    const struct visitor *visitor = &visitors[i];
    struct answers answers;
    char statuses[ANSWERS_MAX * 4 + 1];
    read_answers(&answers, visitor->peer, visitor->heads, is_bad_day || visitor->statuses == NULL, visitor->name);
    describe_statuses(&answers, statuses);
    check(fake_peer_saw_end(visitor->peer) || fake_peer_saw_close(visitor->peer), visitor->name); /* idle, at least */
    if (!is_bad_day && visitor->statuses != NULL && strcmp(statuses, visitor->statuses) != 0) {
        fail_msg("%s got %s instead of %s", visitor->name, statuses, visitor->statuses);
    }
    for (size_t n = 0; n < answers.count; n++) {
        const struct answer *answer = &answers.list[n];
        bool is_last_cut = n + 1 == answers.count &&
                           (answers.is_cut || answers.error[0] != '\0' || fake_peer_saw_reset(visitor->peer));
        bool is_fault = is_bad_day && (answer->status == 500 || answer->status == 503);
        if (is_fault || is_last_cut || visitor->varies || failing.n == 0) {
            continue;
        }
        if (n >= expected[i].count || !is_same(answer, &expected[i].list[n])) {
            fail_msg("%s: the answer to request %zu is another one (%s), when %s %d fails (%s). Log:\n%s",
                     visitor->name, n + 1, statuses, failing.what, (int)failing.n, strerror(-failing.error), logged);
        }
    }
    answers_done(&answers);
}

static void judge_text(const struct fake_peer *peer, const char *wanted, bool is_bad_day, const char *who)
{
    struct answers answers;
    char text[1024] = "";
    read_answers(&answers, peer, 0, is_bad_day, who);
    for (size_t i = 0, used = 0; i < answers.count && used < sizeof text; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%d %.*s;", answers.list[i].status,
                                 (int)answers.list[i].body_len, answers.list[i].body);
    }
    if (!is_bad_day) {
        assert_string_equal(text, wanted);
    }
    answers_done(&answers);
}

/* A request of each kind on a new connection, when the fault is gone: all as on a good day. */
static void check_serves_again(void)
{
    static const char requests[] = GET("/small") GET("/big.bin") GET("/lua/text/bob") GET("/lua/sleep")
        GET("/lua/stream") GET("/c/stream") GET("/c/later")
            REQUEST("POST", "/lua/form", "Content-Length: 3\r\n") "one" REQUEST(
                "PUT", "/lua/upload", CHUNKED) "3\r\none\r\n0\r\n\r\n" REQUEST("GET", "/sub/", "Connection: close\r\n");
    struct answers answers;
    char statuses[ANSWERS_MAX * 4 + 1];
    let_pass(2000, 100); /* listeners have rested, the file cache looks again */
    struct fake_peer *peer = fake_peer_connect(listener_fd);
    fake_peer_send_text(peer, requests);
    come_to_rest();
    let_pass(300, 5);
    read_answers(&answers, peer, 0, false, "afterwards");
    describe_statuses(&answers, statuses);
    if (strcmp(statuses, "200 200 200 200 200 200 200 200 201 200") != 0) {
        fail_msg("afterwards: %s, when %s %d fails (%s). Log:\n%s", statuses, failing.what, (int)failing.n,
                 strerror(-failing.error), logged);
    }
    check(fake_peer_saw_close(peer), "afterwards");
    answers_done(&answers);
}

/* Ways in which a call fails in earnest. */
static const struct {
    enum fake_op op;
    int errors[ERRORS_MAX]; /* up to a 0 */
} legal[] = {
    {FAKE_RANDOM, {ENOSYS, EINTR}},
    {FAKE_EPOLL_CREATE, {EMFILE, ENFILE, ENOMEM}},
    {FAKE_EPOLL_ADD, {ENOMEM, ENOSPC}},
    {FAKE_EPOLL_MODIFY, {ENOMEM}},
    {FAKE_EPOLL_WAIT, {EINTR}},
    {FAKE_EVENTFD_CREATE, {EMFILE, ENFILE, ENOMEM}},
    {FAKE_TIMERFD_CREATE, {EMFILE, ENFILE, ENOMEM}},
    {FAKE_SOCKET, {EMFILE, ENFILE, ENOMEM, EAFNOSUPPORT}},
    {FAKE_BIND, {EADDRINUSE, EACCES, ENOMEM}},
    {FAKE_LISTEN, {EADDRINUSE}},
    {FAKE_ACCEPT, {EAGAIN, EMFILE, ENFILE, ENOMEM, ECONNABORTED, EINTR}},
    {FAKE_SOCKET_NAME, {ENOBUFS}},
    {FAKE_SET_OPTION, {ENOMEM}},
    {FAKE_GET_OPTION, {ENOMEM}},
    {FAKE_SHUTDOWN_WRITE, {ENOTCONN}},
    {FAKE_SHUTDOWN, {ENOTCONN}},
    {FAKE_RECV, {EAGAIN, EINTR, ENOMEM, ECONNRESET, ETIMEDOUT}},
    {FAKE_SEND, {EAGAIN, EINTR, ENOMEM, EPIPE, ECONNRESET}},
    {FAKE_SENDV, {EAGAIN, EINTR, ENOMEM, EPIPE, ECONNRESET}},
    {FAKE_SENDFILE, {EAGAIN, EINTR, ENOMEM, EIO, EPIPE, ECONNRESET}},
    {FAKE_OPEN, {EMFILE, ENFILE, ENOMEM, EINTR, EIO}},
    {FAKE_OPEN_BENEATH, {EMFILE, ENFILE, ENOMEM, EINTR, EIO, EAGAIN}},
    {FAKE_READ_LINK, {EIO, ENOMEM}},
    {FAKE_STAT, {EIO, ENOMEM}},
    {FAKE_STAT_AT, {EIO, ENOMEM}},
    {FAKE_READ_DIR, {EIO, ENOMEM}},
    {FAKE_PREAD, {EIO, EINTR, ENOMEM}},
    {FAKE_DUPLICATE, {EMFILE}},
};

/* The calls of a day, in their order, without those that cannot fail. */
static enum fake_op *calls_of_day;
static size_t call_count;

static void keep_calls(void)
{
    size_t count;
    const struct fake_call *calls = fake_sys_trace(&count);
    calls_of_day = malloc(count * sizeof *calls_of_day);
    assert_non_null(calls_of_day);
    for (size_t i = 0; i < count; i++) {
        enum fake_op op = calls[i].op;
        if (op != FAKE_CLOSE && op != FAKE_PROCESS_ID && op != FAKE_NOW_NS && op != FAKE_WALL_TIME_S &&
            op != FAKE_THREAD_CPU_NS) {
            calls_of_day[call_count++] = op;
        }
    }
}

static void keep_answers(void)
{
    for (int i = 0; i < VISITORS; i++) {
        bool is_head[ANSWERS_MAX] = {false};
        size_t len;
        const char *output = fake_peer_output(visitors[i].peer, &len);
        is_head[1] = (visitors[i].heads & 2) != 0;
        expected_output[i] = malloc(len + 1);
        assert_non_null(expected_output[i]);
        memcpy(expected_output[i], output, len + 1);
        answers_read(&expected[i], expected_output[i], len, is_head, true);
    }
}

/* The day. Returns whether the fault has shown itself. */
static bool play(void)
{
    disarm();
    fake_sys_reset();
    logged[0] = '\0';
    requests_of_c = 0;
    size_t blocks = fake_mem_live();
    int fds = open_fds();
    struct fake_peer *sleeper, *next;

    failing.shown = false;
    arm();
    begin_the_day(blocks);
    receive_visitors();
    bool is_bad_morning = has_failed();
    reload_the_script(&sleeper, &next);
    bool is_bad_noon = has_failed();
    if (is_bad_noon || failing.n == 0) {
        disarm();
        check_serves_again();
    }
    stop_the_server(failing.n == 0);
    disarm();
    for (int i = 0; i < VISITORS; i++) {
        judge_visitor(i, is_bad_morning);
    }
    if (failing.n == 0) {
        keep_answers();
    } else if (calls_of_day == NULL && !has_failed()) {
        keep_calls();
    }
    judge_text(sleeper, "200 slept one;200 two;", is_bad_noon, "the sleeper");
    judge_text(next, "200 two;", is_bad_noon, "the first after the reload");
    evserve_free(server);
    check(requests_of_c == 0, "the end");
    check(fake_mem_live() == blocks, "the end");
    check(fake_sys_open_fds() == 0, "the end");
    fake_sys_reset();
    if (open_fds() != fds) {
        print_open_fds();
    }
    check(open_fds() == fds, "the end");
    return has_failed();
}

static void day_without_a_fault_is_a_good_day(void **state)
{
    (void)state;
    failing.what = "nothing";
    failing.error = 0;
    failing.n = 0;
    assert_false(play()); /* to compare others with */
    failing.n = UINT32_MAX;
    assert_false(play()); /* as they go, up to the failure */
}

/* Places that are played, of all of them. */
static uint64_t stride, first;

static void play_blocks(const char *what, bool forever)
{
    uint64_t step = stride != 0 ? stride : SAMPLE_BLOCKS;
    failing.what = what;
    failing.error = 0;
    failing.forever = forever;
    uint64_t played = 0;
    for (failing.n = stride != 0 ? first : 1 + forever * step / 2; play(); failing.n += step) {
        played++;
    }
    failing.forever = false;
    print_message("%s: %llu days of %llu places\n", what, (unsigned long long)played, (unsigned long long)failing.n);
    assert_true(played * step > 1000);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    play_blocks("allocation", false);
}

static void all_allocations_from_one_on_may_fail(void **state)
{
    (void)state;
    play_blocks("every allocation from", true);
}

static void any_system_call_may_fail(void **state)
{
    (void)state;
    uint64_t step = stride != 0 ? stride : SAMPLE_CALLS;
    uint64_t place = 0, played = 0;
    for (size_t n = 0; n < call_count; n++) {
        for (size_t row = 0; row < sizeof legal / sizeof legal[0]; row++) {
            for (int e = 0; legal[row].op == calls_of_day[n] && e < ERRORS_MAX && legal[row].errors[e] != 0; e++) {
                if (++place % step != (stride != 0 ? first : 1) % step) {
                    continue;
                }
                failing.what = fake_op_name(calls_of_day[n]);
                failing.error = -legal[row].errors[e];
                failing.n = n + 1;
                check(play(), "a call that is not made");
                played++;
            }
        }
    }
    print_message("system calls: %zu, with all errors %llu days, %llu of them played\n", call_count,
                  (unsigned long long)place, (unsigned long long)played);
    assert_true(place > 1000);
}

static int make_files(void **state)
{
    (void)state;
    tree_make(&tree);
    tree_add_file(&tree, "tool.lua", tool_text);
    tree_add_dir(&tree, "www");
    tree_add_dir(&tree, "www/sub");
    tree_add_file(&tree, "www/small", "small\n");
    tree_add_file(&tree, "www/index.html", "index\n");
    tree_add_file(&tree, "www/.hidden", "hidden\n");
    tree_add_file(&tree, "www/c.css", "a style that is longer than what gzip makes of it\n");
    tree_add_file(&tree, "www/c.css.gz", "gzip\n");
    tree_add_file(&tree, "www/sub/one.txt", "one\n");
    tree_add_file(&tree, "www/sub/two.txt", "two\n");
    tree_add_filled(&tree, "www/large", 'l', LARGE);
    tree_add_filled(&tree, "www/big.bin", 'b', LARGE);
    static const char *const files[] = {"www/small",       "www/index.html",  "www/c.css", "www/c.css.gz", "www/large",
                                        "www/sub/one.txt", "www/sub/two.txt", "www/sub",   "www/big.bin",  "tool.lua"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        tree_set_mtime(&tree, files[i], 784080000, 0);
    }
    for (int i = 0; i < PIPELINED; i++) {
        strcat(pipeline, i % 2 == 0 ? GET("/lua/text/pipe") : GET("/small"));
        strcat(pipeline_statuses, i == 0 ? "200" : " 200");
    }
    for (int i = 0; i < VISITORS; i++) {
        if (strcmp(visitors[i].name, "pipelined") == 0) {
            visitors[i].says[0] = pipeline;
            visitors[i].statuses = pipeline_statuses;
        }
    }
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    for (int i = 0; i < VISITORS; i++) {
        answers_done(&expected[i]);
        free(expected_output[i]);
    }
    free(calls_of_day);
    disarm();
    fake_sys_reset();
    tree_remove(&tree);
    return 0;
}

int main(int argc, char **argv)
{
    stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(day_without_a_fault_is_a_good_day),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(all_allocations_from_one_on_may_fail),
        cmocka_unit_test(any_system_call_may_fail),
    };
    return cmocka_run_group_tests_name("day", tests, make_files, remove_files);
}
