#ifndef EVSERVE_TESTS_SERVER_SCENE_H
#define EVSERVE_TESTS_SERVER_SCENE_H

/* What the tests of connections and the server share: a whole server with C routes and a directory of files on the fake
 * kernel, clients that are fake peers, and a handler that holds its exchange until the test responds.
 *
 * A test sets limits and routes, calls scene_start(), and then plays clients. Nothing moves except in run_once(),
 * settle() and pass_ms(). When a test ends, no memory and no fd may be left. tests/CMakeLists.txt links the scene to
 * every program whose source includes this header. */

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/response.h"
#include "http/router.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "http/static_files.h"
#include "http/static_mounts.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/handlers.h"
#include "tests/wire/wire_answers.h"

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

extern struct scene scene; /* there is one test at a time */

/* An exchange that serve_held() keeps. */
struct held {
    struct exchange *exchange; /* NULL once the test has responded, or the client is gone */
    int drains, gones;         /* calls of on_drain and on_gone */
};

extern struct held held[HELD_MAX];
extern int held_count; /* of held, in the order of arrival */

void keep_line(void *arg, int level, const char *line); /* the sink of scene.log */

/* Before and after each test: an empty scene with a reactor and a site; everything given back, or the test fails. */
int scene_set_up(void **state);
int scene_tear_down(void **state);

#define SCENE_TEST(fn) cmocka_unit_test_setup_teardown(fn, scene_set_up, scene_tear_down)

/* Set up the site, before scene_start(). What is refused fails the test. */
void set_limit(const char *name, uint64_t value);
void add_route(enum method method, const char *pattern, const struct handler *handler);

/* Makes the server, which listens on 127.0.0.1. */
void scene_start(void);
struct server_stats stats(void); /* of the server */

/* Moving. */

/* One tick that does not wait. Returns the number of callbacks. */
int run_once(void);

/* Run ticks until nothing happens any more, without letting time pass. Returns how many callbacks ran. */
int settle(void);

/* Let time pass as a loop sees it that has nothing else to do. */
void pass_ms(int64_t ms);

/* Clients. */

/* A new connection, accepted. */
struct fake_peer *client(void);

/* Send text, and run until the server has nothing left to do. */
void say(struct fake_peer *peer, const char *text);
/* What has come from the server so far. */
size_t output_len(const struct fake_peer *peer);

/* Send text, and run one tick: the response must be there. */
void ask_in_one_tick(struct fake_peer *peer, const char *text);
bool output_has(const struct fake_peer *peer, const char *text);
bool is_closed(const struct fake_peer *peer);

/* The statuses of all responses so far, as in "200 404", and "!" with a reason if they are malformed. No request may be
 * HEAD. The text is valid until the next call. */
const char *statuses(const struct fake_peer *peer);

/* How many bytes of content the responses have, without framing. */
size_t content_len(const struct fake_peer *peer);

/* A client that sends no more sees its connection close in order: a reset could cost it responses. */
void assert_closes_in_order(struct fake_peer *peer);

/* How often text occurs in the output. */
int count_in_output(const struct fake_peer *peer, const char *text);

/* Handlers. */

/* Responds with the whole body of the request. */
void serve_echo(struct exchange *exchange, void *ctx);

/* Keeps the exchange in held[]: the test responds. on_held_gone() counts the call, and forgets the exchange. */
void serve_held(struct exchange *exchange, void *ctx);
void on_held_gone(struct exchange *exchange);

extern char hello_text[]; /* "hello" and a newline */
extern const struct handler hello, echo, hold, hold_whole;

/* GET /hello, POST /echo, GET /hold and POST /hold (which does not want the body), POST /hold-whole. */
void add_usual_routes(void);

/* The usual routes, and started. */
void scene_begin(void);

/* Respond to what is held; callbacks may call it. */
void answer_held(int n, const char *text);

/* Respond to what is held, and run until nothing is left to do. */
void reply_held(int n, const char *text);

#endif
