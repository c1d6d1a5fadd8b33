#ifndef EVSERVE_TESTS_SERVER_SCENE_H
#define EVSERVE_TESTS_SERVER_SCENE_H

/* What the tests of connections and the server share: a whole server with C routes and a directory of files on the fake
 * kernel, clients that are fake peers, and a handler that holds its exchange so that the test answers when it likes.
 *
 * A test sets limits and routes, calls scene_start(), and then plays clients. Nothing moves but in run_once(), settle()
 * and pass_ms(). When a test ends no memory and no fd may be left. */

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/router.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_files.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/handlers.h"
#include "tests/wire/wire_answers.c" /* NOLINT(bugprone-suspicious-include): the strict client, in each test program */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* GET that says it is the last one. */
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

enum { HELD_MAX = 16, SCENE_TICKS_MAX = 100000 };

struct scene {
    struct reactor *reactor;
    struct site *site;
    struct server *server; /* NULL before scene_start() */
    struct log log;        /* of everything in it */
    char log_text[16384];  /* what was logged, each line with its newline */
    struct file_tree tree; /* mounted at "/" */
    int listener_fd;       /* of the server's first listener */
    size_t live_at_start;  /* blocks of memory alive before all of it */
};

static struct scene scene; /* there is one test at a time */

/* What the handler that waits knows. */
struct held {
    struct exchange *exchange; /* NULL when it was answered or is gone */
    int drains, gones;         /* how often it was told */
};

static struct held held[HELD_MAX];
static int held_count; /* of held, in the order of arrival */

static inline void keep_line(void *arg, int level, const char *line)
{
    (void)arg;
    (void)level;
    size_t used = strlen(scene.log_text);
    snprintf(scene.log_text + used, sizeof scene.log_text - used, "%s\n", line);
}

static inline int scene_set_up(void **state)
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
                   static_mounts_add(scene.site->mounts, "/", scene.tree.path, NULL, err, sizeof err) < 0
               ? -1
               : 0;
}

static inline int scene_tear_down(void **state)
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

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

static inline void set_limit(const char *name, uint64_t value)
{
    char err[256] = "";
    const struct limit_info *info = limits_find(name);
    assert_non_null(info);
    if (limits_set(&scene.site->limits, info, value, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static inline void add_route(enum method method, const char *pattern, const struct handler *handler)
{
    char err[256] = "";
    if (router_add(scene.site->router, 1U << method, pattern, handler, "", err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/* The fd of the listening socket made last. */
static inline int find_listener_fd(void)
{
    size_t count;
    const struct fake_call *calls = fake_sys_trace(&count);
    while (count > 0 && calls[count - 1].op != FAKE_LISTEN) {
        count--;
    }
    return count == 0 ? -1 : calls[count - 1].fd;
}

static inline void scene_start(void)
{
    char err[256] = "";
    assert_int_equal(server_create(&scene.server, scene.reactor, scene.site, &scene.log), 0);
    if (server_listen(scene.server, "127.0.0.1:0", err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    scene.listener_fd = find_listener_fd();
}

static inline struct server_stats stats(void)
{
    struct server_stats numbers;
    server_get_stats(scene.server, &numbers);
    return numbers;
}

/* Moving. */

/* One tick that does not wait. Returns the number of callbacks. */
static inline int run_once(void)
{
    int calls = reactor_run_once(scene.reactor, 0);
    assert_true(calls >= 0);
    return calls;
}

/* Run ticks until nothing happens any more, without letting time pass. Returns how many callbacks ran. */
static inline int settle(void)
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

/* Let time pass as a loop sees it that has nothing else to do. */
static inline void pass_ms(int64_t ms)
{
    while (ms > 0) {
        int64_t piece = ms < 100 ? ms : 100;
        fake_sys_advance_ms(piece);
        settle();
        ms -= piece;
    }
}

/* Clients. */

static inline struct fake_peer *client(void)
{
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    settle();
    return peer;
}

static inline void say(struct fake_peer *peer, const char *text)
{
    fake_peer_send_text(peer, text);
    settle();
}

static inline size_t output_len(const struct fake_peer *peer)
{
    size_t len;
    fake_peer_output(peer, &len);
    return len;
}

/* Send text, and run one tick: the answer must be there. */
static inline void ask_in_one_tick(struct fake_peer *peer, const char *text)
{
    size_t before = output_len(peer);
    fake_peer_send_text(peer, text);
    run_once();
    assert_true(output_len(peer) > before);
}

static inline bool output_has(const struct fake_peer *peer, const char *text)
{
    return strstr(fake_peer_output(peer, NULL), text) != NULL;
}

static inline bool is_closed(const struct fake_peer *peer)
{
    return fake_peer_saw_close(peer);
}

/* The statuses of all answers so far, as in "200 404"; with "!" and a reason when they are malformed. No request was
 * HEAD. Valid until the next call. */
static inline const char *statuses(const struct fake_peer *peer)
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

/* How many bytes of content the answers have, framing taken off. */
static inline size_t content_len(const struct fake_peer *peer)
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

/* A client that sends no more sees its connection close in order: not with a reset, which could cost it answers. */
static inline void assert_closes_in_order(struct fake_peer *peer)
{
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

/* How often text stands in the output. */
static inline int count_in_output(const struct fake_peer *peer, const char *text)
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

/* Handlers. */

static inline void serve_echo(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "text/plain", exchange->body, exchange->body_len);
}

static inline void on_held_drain(struct exchange *exchange)
{
    ((struct held *)exchange->user)->drains++;
}

static inline void on_held_gone(struct exchange *exchange)
{
    struct held *one = exchange->user;
    one->gones++;
    one->exchange = NULL;
}

/* Keep the exchange: the test answers it. */
static inline void serve_held(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    assert_true(held_count < HELD_MAX);
    struct held *one = &held[held_count++];
    one->exchange = exchange;
    exchange->user = one;
    exchange->on_drain = on_held_drain;
    exchange->on_gone = on_held_gone;
}

static char hello_text[] = "hello\n";
static const struct handler hello = {.serve = serve_text, .ctx = hello_text};
static const struct handler echo = {.serve = serve_echo, .body_mode = BODY_WHOLE};
static const struct handler hold = {.serve = serve_held};
static const struct handler hold_whole = {.serve = serve_held, .body_mode = BODY_WHOLE};

/* GET /hello, POST /echo, GET /hold and POST /hold (which does not want the body), POST /hold-whole. */
static inline void add_usual_routes(void)
{
    add_route(METHOD_GET, "/hello", &hello);
    add_route(METHOD_POST, "/echo", &echo);
    add_route(METHOD_GET, "/hold", &hold);
    add_route(METHOD_POST, "/hold", &hold);
    add_route(METHOD_POST, "/hold-whole", &hold_whole);
}

/* The usual routes, and started. */
static inline void scene_begin(void)
{
    add_usual_routes();
    scene_start();
}

/* Answer what is held; callbacks may. */
static inline void answer_held(int n, const char *text)
{
    assert_true(n < held_count && held[n].exchange != NULL);
    struct exchange *exchange = held[n].exchange;
    held[n].exchange = NULL;
    response_send(exchange, 200, "text/plain", text, strlen(text));
}

/* Answer what is held, and let everybody go on. */
static inline void reply_held(int n, const char *text)
{
    answer_held(n, text);
    settle();
}

#endif
