/* Failures under the whole server: one day of it is played again and again, and each time another allocation or another
 * system call fails. Whatever fails, nothing crashes, hangs or leaks; a connection that is not closed has all its
 * answers, and what was answered is well-formed; and when the fault is gone the server serves as if nothing had
 * been. */

#include "tests/lib/server_scene.h"

enum {
    LARGE = 100000,
    PIPELINED = 20,
    DRAIN_MS = 1000,
    TICKS_MAX = 5000, /* of one settling */
};

/* One client of the day. */
struct visitor {
    const char *name;
    const char *says[6]; /* its segments, one after the other */
    int64_t window;      /* bytes it takes a tick, and in all if it hangs up; or FAKE_NO_LIMIT */
    bool hangs_up;       /* in the end it resets the connection, though it has no whole answer yet */
    int wanted;          /* answers, when nothing fails */
    struct fake_peer *peer;
};

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static struct visitor visitors[] = {
    {"small file", {GET("/small"), HEAD("/small"), GET("/small")}, FAKE_NO_LIMIT, false, 3, NULL},
    {"large file, slow", {GET("/large") GET("/hello")}, 7000, false, 2, NULL},
    {"missing file", {GET("/missing"), GET("/dir")}, FAKE_NO_LIMIT, false, 2, NULL},
    {"body in pieces", {POST("/echo", "Content-Length: 9\r\n"), "one", "two", "six" GET("/hello")}, -1, false, 2, NULL},
    {"chunks",
     {POST("/echo", "Transfer-Encoding: chunked\r\n"), "3\r\non", "e\r\n3\r\ntwo\r\n", "0\r\n\r\n"},
     -1,
     false,
     1,
     NULL},
    {"expectation", {POST("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n"), "yes"}, -1, false, 1, NULL},
    {"taken body", {POST("/take", "Content-Length: 9\r\n") "o", "netwo", "six" GET("/hello")}, -1, false, 2, NULL},
    {"taken chunks",
     {POST("/take", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"), "3\r\non", "e\r\n3\r\ntwo\r\n0\r\n\r\n"},
     -1,
     false,
     1,
     NULL},
    {"body sent back", {POST("/back", "Content-Length: 9\r\n") "o", "netwo", "six" GET("/hello")}, -1, false, 2, NULL},
    {"lost body", {POST("/take", "Content-Length: 9\r\n") "one"}, FAKE_NO_LIMIT, true, 0, NULL},
    {"unwanted body", {POST("/hello", "Content-Length: 6\r\n"), "one", "two" GET("/hello")}, -1, false, 2, NULL},
    {"stream", {GET("/stream") GET("/hello")}, 5000, false, 2, NULL},
    {"stream to 1.0", {"GET /stream HTTP/1.0\r\n\r\n"}, -1, false, 1, NULL},
    {"late answer", {GET("/hello") GET("/later") GET("/hello"), GET("/hello")}, -1, false, 4, NULL},
    {"borrowed", {GET("/borrowed") GET("/hello")}, 9000, false, 2, NULL},
    {"long copy", {GET("/long"), GET("/long")}, -1, false, 2, NULL},
    {"head in pieces", {"GET /he", "llo HTTP/1.1\r\nHost", ": a\r\n\r\n"}, -1, false, 1, NULL},
    {"bad", {"BAD\r\n\r\n", "and more"}, -1, false, 1, NULL},
    {"last", {GET_CLOSE("/small")}, -1, false, 1, NULL},
    {"lost", {GET("/never")}, FAKE_NO_LIMIT, true, 0, NULL},
    {"lost while sent to", {GET("/borrowed")}, 10, true, 0, NULL},
    {"pipelined", {NULL}, 300, false, PIPELINED, NULL},
    {"half a head", {"GET /hello HTTP/1.1\r\n"}, -1, false, 0, NULL}, /* it gets its 408 at the end of the day */
    {"silent", {NULL}, -1, false, 0, NULL},
};

enum { VISITORS = sizeof visitors / sizeof visitors[0] };

/* What fails. */
static struct {
    const char *what; /* for messages */
    int error;        /* of the system call; 0: an allocation */
    bool forever;     /* every allocation from then on */
    uint64_t n;       /* which one */
} failing;

static int gones, releases, borrows, drained_calls;
static unsigned drained_cut;
static char text[LARGE];

#define check(condition, who)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail_msg("%s: %s, when %s %d fails (%d)", who, #condition, failing.what, (int)failing.n, failing.error);   \
        }                                                                                                              \
    } while (0)

/* Handlers. */

static void stream_on(struct exchange *exchange)
{
    int rv = 1;
    while (rv == 1 && exchange->user != NULL) {
        exchange->user = (char *)exchange->user - 1;
        rv = response_write(exchange, text, 1000);
    }
    if (exchange->user == NULL && rv >= 0) {
        response_end(exchange);
    }
}

static void serve_stream(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->user = (void *)(uintptr_t)100;
    exchange->on_drain = stream_on;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    stream_on(exchange);
}

static void on_later(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    response_send(exchange, 200, "text/plain", "later\n", 6);
}

static void on_later_gone(struct exchange *exchange)
{
    gones++;
    reactor_cancel_timer(scene.reactor, exchange->evs.timer);
}

/* ctx is how much later. */
static void serve_later(struct exchange *exchange, void *ctx)
{
    uint64_t timer = reactor_set_timeout(scene.reactor, *(uint32_t *)ctx, on_later, exchange);
    if (timer == 0) {
        response_error(exchange, 503, NULL);
        return;
    }
    exchange->evs.timer = timer;
    exchange->on_gone = on_later_gone;
}

static void count_release(void *arg)
{
    (void)arg;
    releases++;
}

static void serve_borrowed(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    borrows++;
    response_send_borrowed(exchange, 200, "text/plain", text, sizeof text, count_release, NULL);
}

static void serve_long(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "text/plain", text, 40000);
}

/* Sends its body back piece by piece. */
static void send_back(struct exchange *exchange)
{
    const char *data;
    size_t len;
    int verdict;
    while ((verdict = exchange_read_body(exchange, &data, &len)) == BODY_DATA) {
        if (response_write(exchange, data, len) < 0) {
            return;
        }
    }
    if (verdict == BODY_END) {
        response_end(exchange);
    } else if (verdict != BODY_WAIT) {
        response_abort(exchange);
    }
}

static void serve_back(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = send_back;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    send_back(exchange);
}

static uint32_t soon = 20, never = UINT32_MAX;
static const struct handler streaming = {.serve = serve_stream};
static const struct handler later = {.serve = serve_later, .ctx = &soon};
static const struct handler never_answering = {.serve = serve_later, .ctx = &never};
static const struct handler borrowing = {.serve = serve_borrowed};
static const struct handler taking = {.serve = serve_body_back, .body_mode = BODY_STREAM};
static const struct handler sending_back = {.serve = serve_back, .body_mode = BODY_STREAM};
static const struct handler copying = {.serve = serve_long};

/* The day. */

static int add_routes(void)
{
    static const struct {
        enum method method;
        const char *pattern;
        const struct handler *handler;
    } routes[] = {
        {METHOD_GET, "/hello", &hello},        {METHOD_POST, "/hello", &hello},
        {METHOD_POST, "/echo", &echo},         {METHOD_GET, "/stream", &streaming},
        {METHOD_GET, "/later", &later},        {METHOD_GET, "/never", &never_answering},
        {METHOD_GET, "/borrowed", &borrowing}, {METHOD_GET, "/long", &copying},
        {METHOD_POST, "/take", &taking},       {METHOD_POST, "/back", &sending_back},
    };
    int rv = 0;
    char err[256];
    for (size_t i = 0; rv >= 0 && i < sizeof routes / sizeof routes[0]; i++) {
        rv = router_add(scene.site->default_host.router, 1U << routes[i].method, routes[i].pattern, routes[i].handler,
                        "", err, sizeof err);
    }
    return rv;
}

/* Open for business. Returns 0, or -errno with what was made so far. */
static int open_server(void)
{
    char err[256] = "";
    int rv = reactor_create(&scene.reactor, &scene.log);
    rv = rv < 0 ? rv : site_create(&scene.site, &scene.log);
    rv = rv < 0 ? rv : static_mounts_add(scene.site->default_host.mounts, "/", scene.tree.path, NULL, err, sizeof err);
    rv = rv < 0 ? rv : add_routes();
    rv = rv < 0 ? rv : server_create(&scene.server, scene.reactor, scene.site, &scene.log);
    rv = rv < 0 ? rv : server_listen(scene.server, "127.0.0.1:0", err, sizeof err);
    scene.listener_fd = rv < 0 ? -1 : fake_sys_listener_fd();
    return rv < 0 ? rv : 0;
}

static void close_server(void)
{
    server_destroy(scene.server);
    site_destroy(scene.site);
    reactor_destroy(scene.reactor);
    scene.server = NULL;
    scene.site = NULL;
    scene.reactor = NULL;
    check(fake_sys_open_fds() == 0, "the end");
    check(fake_mem_live() == scene.live_at_start, "the end");
}

static void arm(void)
{
    if (failing.error != 0) {
        fake_sys_fail(failing.n, failing.error);
    } else {
        fake_mem_fail_after(failing.n, failing.forever);
    }
}

/* Returns whether the fault has shown itself. */
static bool disarm(void)
{
    bool failed = failing.error != 0 ? fake_sys_failed() : fake_mem_failed();
    fake_sys_fail(0, 0);
    fake_mem_fail_after(0, false);
    return failed;
}

/* As settle(), but waiting may fail, too. */
static void come_to_rest(void)
{
    int quiet = 0;
    for (int tick = 0; quiet < 3; tick++) {
        check(tick < TICKS_MAX, "the loop");
        quiet = reactor_run_once(scene.reactor, 0) == 0 ? quiet + 1 : 0;
    }
}

static void let_pass(int64_t ms, int64_t step)
{
    for (; ms > 0; ms -= step) {
        fake_sys_advance_ms(step);
        come_to_rest();
    }
}

static void receive_visitors(void)
{
    static char pipelined[PIPELINED * sizeof GET("/hello")];
    pipelined[0] = '\0';
    for (int i = 0; i < PIPELINED; i++) {
        strcat(pipelined, GET("/hello"));
    }
    for (int i = 0; i < VISITORS; i++) {
        struct visitor *visitor = &visitors[i];
        visitor->peer = fake_peer_connect(scene.listener_fd);
        if (visitor->hangs_up) {
            fake_peer_set_room(visitor->peer, visitor->window);
        } else {
            fake_peer_set_window(visitor->peer, visitor->window);
        }
        if (visitor->wanted == PIPELINED) {
            fake_peer_send_text(visitor->peer, pipelined);
        }
        for (size_t n = 0; n < sizeof visitor->says / sizeof visitor->says[0] && visitor->says[n] != NULL; n++) {
            fake_peer_send_text(visitor->peer, visitor->says[n]);
            if (i % 2 == 0) {
                reactor_run_once(scene.reactor, 0); /* half of them are served one by one, half of them together */
            }
        }
    }
    come_to_rest();
    let_pass(500, 10); /* late answers; listeners that rest */
    for (int i = 0; i < VISITORS; i++) {
        if (visitors[i].hangs_up) {
            fake_peer_reset(visitors[i].peer, 0);
        }
    }
    come_to_rest();
}

static void check_visitor(const struct visitor *visitor, bool has_failed)
{
    static struct answers answers;
    static bool is_head[ANSWERS_MAX];
    size_t len;
    const char *output = fake_peer_output(visitor->peer, &len);
    bool is_open = !fake_peer_saw_end(visitor->peer);
    is_head[1] = strcmp(visitor->name, "small file") == 0;
    answers_read(&answers, output, len, is_head, !is_open);
    if (answers.error[0] != '\0' && (is_open || !has_failed || !answers_lack_their_end(answers.error)) &&
        !visitor->hangs_up) {
        fail_msg("%s: %s, when %s %d fails (%d)", visitor->name, answers.error, failing.what, (int)failing.n,
                 failing.error);
    }
    if (is_open || !has_failed) {
        check((int)answers.count == visitor->wanted || visitor->hangs_up, visitor->name);
    }
    for (size_t i = 0; i < answers.count; i++) {
        int status = answers.list[i].status;
        check(status != 503 || has_failed, visitor->name);
        check(status != 500 || has_failed, visitor->name);
    }
    answers_done(&answers);
}

static void check_visitors(bool has_failed)
{
    for (int i = 0; i < VISITORS; i++) {
        check_visitor(&visitors[i], has_failed);
    }
}

/* A request of each kind on a new connection: all as on the first day. */
static void check_serves_again(void)
{
    static const char requests[] = GET("/hello") GET("/small") GET("/large") GET("/stream") GET("/borrowed")
        GET("/long") GET("/later")
            POST("/echo", "Transfer-Encoding: chunked\r\n") "3\r\none\r\n0\r\n\r\n" GET_CLOSE("/small");
    let_pass(2000, 100); /* listeners have rested, the file cache looks again */
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(peer, requests);
    come_to_rest();
    let_pass(100, 10);
    if (strcmp(statuses(peer), "200 200 200 200 200 200 200 200 200") != 0) {
        fail_msg("afterwards: %s, when %s %d fails (%d)", statuses(peer), failing.what, (int)failing.n, failing.error);
    }
    check(is_closed(peer), "afterwards");
}

static void on_drained(void *arg, unsigned cut)
{
    (void)arg;
    drained_calls++;
    drained_cut = cut;
}

/* Returns whether the fault has shown itself. is_drain_hit: it is for the shutdown, not for the day. */
static bool play(bool is_drain_hit)
{
    fake_sys_reset();
    scene.log_text[0] = '\0';
    gones = releases = borrows = drained_calls = 0;
    bool has_failed = false;

    if (!is_drain_hit) {
        arm();
    }
    int rv = open_server();
    if (rv < 0) {
        check(disarm(), "the start");
        close_server();
        check(open_server() == 0, "the second start");
        has_failed = true;
    }
    receive_visitors();
    if (!is_drain_hit) {
        has_failed = disarm() || has_failed;
        come_to_rest();
    }
    check_visitors(has_failed);
    check_serves_again();
    check(releases == borrows, "borrowed memory"); /* one of them is lost, one is slow, both are over */
    check(has_failed || gones == 1, "the lost");

    let_pass(70000, 1000); /* deadlines */
    check(stats().connections == 0, "the evening");
    check(has_failed || strcmp(statuses(visitors[VISITORS - 2].peer), "408") == 0, "half a head");

    if (is_drain_hit) {
        arm();
    }
    static const char *const late[] = {GET("/later"), GET("/never"), "GET /hel", "", GET("/large"), GET("/hello")};
    struct fake_peer *peers[6];
    for (int i = 0; i < 6; i++) {
        peers[i] = fake_peer_connect(scene.listener_fd);
        fake_peer_set_window(peers[i], i == 4 ? 3000 : FAKE_NO_LIMIT);
        fake_peer_send_text(peers[i], late[i]);
        if (i < 5) {
            reactor_run_once(scene.reactor, 0);
        }
    }
    server_drain(scene.server, DRAIN_MS, on_drained, NULL);
    let_pass(DRAIN_MS, 10);
    if (is_drain_hit) {
        has_failed = disarm();
        let_pass(100, 10); /* a failed wait costs a tick */
    }
    check(drained_calls == 1, "the shutdown");
    check(stats().connections == 0, "the shutdown");
    if (!has_failed) {
        check(drained_cut == 2, "the shutdown");
        check(strcmp(statuses(peers[0]), "200") == 0, "the shutdown");
        check(strcmp(statuses(peers[4]), "200") == 0, "the shutdown");
        check(strcmp(statuses(peers[5]), "200") == 0, "the shutdown");
    }
    close_server();
    return has_failed;
}

/* Every n until the fault does not show any more. */
static void play_all(const char *what, int error, bool forever, bool is_drain_hit)
{
    failing.what = what;
    failing.error = error;
    failing.forever = forever;
    failing.n = 1;
    while (play(is_drain_hit)) {
        failing.n++;
        assert_true(failing.n < 5000);
    }
    print_message("%s (%d): %d places%s\n", what, error, (int)failing.n - 1, is_drain_hit ? " in the shutdown" : "");
    assert_true(failing.n > 10);
}

static void day_without_a_fault_is_a_good_day(void **state)
{
    (void)state;
    failing.what = "nothing";
    failing.n = 0;
    failing.error = 0;
    assert_false(play(false));
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    play_all("allocation", 0, false, false);
}

static void all_allocations_from_one_on_may_fail(void **state)
{
    (void)state;
    play_all("every allocation from", 0, true, false);
}

static void any_system_call_may_fail(void **state)
{
    (void)state;
    static const int errors[] = {-ENOMEM, -EIO, -ECONNRESET, -EMFILE};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        play_all("system call", errors[i], false, false);
    }
}

static void shutdown_survives_any_failure(void **state)
{
    (void)state;
    play_all("system call", -ENOMEM, false, true);
    play_all("system call", -ECONNRESET, false, true);
    failing.error = 0;
    for (int forever = 0; forever <= 1; forever++) {
        failing.what = "allocation";
        failing.forever = forever;
        for (failing.n = 1; play(true); failing.n++) {
        }
    }
}

static int make_files(void **state)
{
    (void)state;
    memset(text, 't', sizeof text);
    scene = (struct scene){.live_at_start = fake_mem_live()};
    scene.log = (struct log){.sink = keep_line, .level = LOG_DEBUG};
    tree_make(&scene.tree);
    tree_add_file(&scene.tree, "small", "small\n");
    tree_add_filled(&scene.tree, "large", 'l', LARGE);
    tree_add_dir(&scene.tree, "dir");
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    tree_set_mtime(&scene.tree, "large", 784080000, 0);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    fake_sys_reset();
    tree_remove(&scene.tree);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(day_without_a_fault_is_a_good_day),    cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(all_allocations_from_one_on_may_fail), cmocka_unit_test(any_system_call_may_fail),
        cmocka_unit_test(shutdown_survives_any_failure),
    };
    return cmocka_run_group_tests_name("server_fault", tests, make_files, remove_files);
}
