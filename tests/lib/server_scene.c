#include "tests/lib/server_scene.h"

struct scene scene;
struct held held[HELD_MAX];
int held_count;

char hello_text[] = "hello\n";
const struct handler hello = {.serve = serve_text, .ctx = hello_text};
const struct handler echo = {.serve = serve_echo, .body_mode = BODY_WHOLE};
const struct handler hold = {.serve = serve_held};
const struct handler hold_whole = {.serve = serve_held, .body_mode = BODY_WHOLE};

void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(scene.log_text);
    snprintf(scene.log_text + used, sizeof scene.log_text - used, "%s\n", line);
}

int scene_set_up(void **state)
{
    *state = NULL;
    fake_sys_reset();
    scene = (struct scene){.live_at_start = fake_mem_live(), .listener_fd = -1};
    scene.log = (struct log){.sink = keep_line, .level = LOG_DEBUG};
    memset(held, 0, sizeof held);
    held_count = 0;
    tree_make(&scene.tree);
    char err[256];
    return reactor_create(&scene.reactor, &scene.log) < 0 || site_create(&scene.site, &scene.log) < 0 ||
                   static_mounts_add(scene.site->default_host.mounts, "/", scene.tree.path, NULL, err, sizeof err) < 0
               ? -1
               : 0;
}

int scene_tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fake_sys_fail(0, 0);
    server_destroy(scene.server);
    site_destroy(scene.site);
    reactor_destroy(scene.reactor);
    int fds = fake_sys_open_fds();
    if (fds != 0) {
        fake_sys_print_open_fds();
    }
    fake_sys_reset();
    tree_remove(&scene.tree);
    if (fake_mem_live() != scene.live_at_start) {
        fprintf(stderr, "%zu blocks of memory are left\n", fake_mem_live() - scene.live_at_start);
    }
    return fds == 0 && fake_mem_live() == scene.live_at_start ? 0 : -1;
}

void set_limit(const char *name, uint64_t value)
{
    char err[256] = "";
    const struct limit_info *info = limits_find(name);
    assert_non_null(info);
    if (limits_set(&scene.site->limits, info, value, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

void add_route(enum method method, const char *pattern, const struct handler *handler)
{
    char err[256] = "";
    if (router_add(scene.site->default_host.router, 1U << method, pattern, handler, "", err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

void scene_start(void)
{
    char err[256] = "";
    assert_int_equal(server_create(&scene.server, scene.reactor, scene.site, &scene.log), 0);
    if (server_listen(scene.server, "127.0.0.1:0", err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    scene.listener_fd = fake_sys_listener_fd();
}

struct server_stats stats(void)
{
    struct server_stats numbers;
    server_get_stats(scene.server, &numbers);
    return numbers;
}

int run_once(void)
{
    int calls = reactor_run_once(scene.reactor, 0);
    assert_true(calls >= 0);
    return calls;
}

int settle(void)
{
    int sum = 0;
    int quiet = 0; /* a segment that waits for the one before arrives in a tick of its own */
    for (int tick = 0; quiet < 3; tick++) {
        assert_true(tick < SCENE_TICKS_MAX);
        int calls = run_once();
        quiet = calls == 0 ? quiet + 1 : 0;
        sum += calls;
    }
    return sum;
}

void pass_ms(int64_t ms)
{
    while (ms > 0) {
        int64_t piece = ms < 100 ? ms : 100;
        fake_sys_advance_ms(piece);
        settle();
        ms -= piece;
    }
}

struct fake_peer *client(void)
{
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    settle();
    return peer;
}

void say(struct fake_peer *peer, const char *text)
{
    fake_peer_send_text(peer, text);
    settle();
}

size_t output_len(const struct fake_peer *peer)
{
    size_t len;
    fake_peer_output(peer, &len);
    return len;
}

void ask_in_one_tick(struct fake_peer *peer, const char *text)
{
    size_t before = output_len(peer);
    fake_peer_send_text(peer, text);
    run_once();
    assert_true(output_len(peer) > before);
}

bool output_has(const struct fake_peer *peer, const char *text)
{
    return strstr(fake_peer_output(peer, NULL), text) != NULL;
}

bool is_closed(const struct fake_peer *peer)
{
    return fake_peer_saw_close(peer);
}

const char *statuses(const struct fake_peer *peer)
{
    static bool is_head[ANSWERS_MAX];
    static struct answers answers;
    static char text[ANSWERS_MAX * 4 + sizeof answers.error + 2];
    size_t len, used = 0;
    const char *output = fake_peer_output(peer, &len);
    answers_read(&answers, output, len, is_head, fake_peer_saw_end(peer));
    text[0] = '\0';
    for (size_t i = 0; i < answers.count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i == 0 ? "" : " ", answers.list[i].status);
    }
    if (answers.error[0] != '\0') {
        snprintf(text + used, sizeof text - used, "!%s", answers.error);
    }
    answers_done(&answers);
    return text;
}

size_t content_len(const struct fake_peer *peer)
{
    static bool is_head[ANSWERS_MAX];
    static struct answers answers;
    size_t len, sum = 0;
    const char *output = fake_peer_output(peer, &len);
    answers_read(&answers, output, len, is_head, fake_peer_saw_end(peer));
    for (size_t i = 0; i < answers.count; i++) {
        sum += answers.list[i].body_len;
    }
    answers_done(&answers);
    return sum;
}

void assert_closes_in_order(struct fake_peer *peer)
{
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

int count_in_output(const struct fake_peer *peer, const char *text)
{
    int count = 0;
    size_t len, text_len = strlen(text);
    const char *at = fake_peer_output(peer, &len);
    const char *end = at + len;
    /* Not strstr(): the sanitizer measures all that is left of the output in each call. */
    while ((at = memmem(at, (size_t)(end - at), text, text_len)) != NULL) {
        at += text_len;
        count++;
    }
    return count;
}

void serve_echo(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "text/plain", exchange->body, exchange->body_len);
}

static void on_held_drain(struct exchange *exchange)
{
    ((struct held *)exchange->user)->drains++;
}

void on_held_gone(struct exchange *exchange)
{
    struct held *one = exchange->user;
    one->gones++;
    one->exchange = NULL;
}

void serve_held(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    assert_true(held_count < HELD_MAX);
    struct held *one = &held[held_count++];
    one->exchange = exchange;
    exchange->user = one;
    exchange->on_drain = on_held_drain;
    exchange->on_gone = on_held_gone;
}

void add_usual_routes(void)
{
    add_route(METHOD_GET, "/hello", &hello);
    add_route(METHOD_POST, "/echo", &echo);
    add_route(METHOD_GET, "/hold", &hold);
    add_route(METHOD_POST, "/hold", &hold);
    add_route(METHOD_POST, "/hold-whole", &hold_whole);
}

void scene_begin(void)
{
    add_usual_routes();
    scene_start();
}

void answer_held(int n, const char *text)
{
    assert_true(n < held_count && held[n].exchange != NULL);
    struct exchange *exchange = held[n].exchange;
    held[n].exchange = NULL;
    response_send(exchange, 200, "text/plain", text, strlen(text));
}

void reply_held(int n, const char *text)
{
    answer_held(n, text);
    settle();
}
