/* Rules that decide before a request is routed, and those that need time: http/rules/rules.c, http/rules/decide.c, and
 * dispatch_go_on(). The slow rule keeps its exchange in held[], as a handler would. */

#include "http/dispatch.h"
#include "http/rules/rules.h"
#include "tests/lib/server_scene.h"

enum { SHORT_MS = 2000 };

static char order[64]; /* which rules were asked, by a letter each */
static struct site *next_site;

static void note(const struct rule *first)
{
    size_t len = strlen(order);
    order[len] = *(const char *)first->data;
    order[len + 1] = '\0';
}

static enum rules_verdict pass(struct exchange *exchange, const struct rule *first)
{
    for (; first != NULL; first = rule_next(first, exchange->path, exchange->path_len)) {
        note(first);
    }
    return RULES_PASS;
}

static enum rules_verdict hold_it(struct exchange *exchange, const struct rule *first)
{
    note(first);
    serve_held(exchange, NULL);
    return RULES_HELD;
}

static enum rules_verdict refuse(struct exchange *exchange, const struct rule *first)
{
    note(first);
    response_error(exchange, 403, NULL);
    return RULES_ANSWERED;
}

static void keep(void *data)
{
    (void)data;
}

static const struct rules_kind access_kind = {.order = RULE_ACCESS, .decide = pass, .destroy = keep, .name = "access"};
static const struct rules_kind limit_kind = {.order = RULE_LIMIT, .decide = hold_it, .destroy = keep, .name = "limit"};
static const struct rules_kind auth_kind = {.order = RULE_AUTH, .decide = hold_it, .destroy = keep, .name = "auth"};
static const struct rules_kind refuse_kind = {.order = RULE_AUTH, .decide = refuse, .destroy = keep, .name = "refuse"};

static struct rules **rules_of(struct site *site)
{
    return &site->default_host.rules;
}

static void add(const struct rules_kind *kind, const char *prefix, char *letter)
{
    char err[256];
    int error = 0;
    assert_non_null(rules_add(rules_of(scene.site), kind, prefix, letter, &error, err, sizeof err));
}

static int set_up(void **state)
{
    order[0] = '\0';
    next_site = NULL;
    return scene_set_up(state);
}

static int tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    site_destroy(next_site);
    return scene_tear_down(state);
}

#define RULES_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static void go_on(int n)
{
    struct exchange *exchange = held[n].exchange;
    held[n].exchange = NULL;
    dispatch_go_on(exchange);
    settle();
}

static void prefixes_are_whole_segments_and_longer_ones_come_first(void **state)
{
    (void)state;
    add(&access_kind, "/", "0");
    add(&access_kind, "/a", "1");
    add(&access_kind, "/a//b//", "2");
    add(&access_kind, "/a", "3");
    add(&access_kind, "/\xC3\xA4", "4");
    scene_begin();
    static const struct {
        const char *path, *order;
    } cases[] = {
        {"/", "0"},          {"/a", "130"},    {"/a/", "130"},       {"/ab", "0"},       {"/a/b", "2130"},
        {"/a/b/c", "2130"},  {"/a/bc", "130"}, {"/A", "0"},          {"/%61", "130"},    {"/x/../a", "130"},
        {"/%C3%A4/x", "40"}, {"//a", "130"},   {"///a///b", "2130"}, {"/a/./b", "2130"}, {"/a?/a/b", "130"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[128];
        order[0] = '\0';
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].path);
        say(client(), request);
        assert_string_equal(order, cases[i].order);
    }
    order[0] = '\0';
    struct fake_peer *peer = client();
    say(peer, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(order, "0");
    assert_string_equal(statuses(peer), "204");
}

/* The next segment of a path: its length, with *path at its begin; 0 at the end. */
static size_t next_segment(const char **path)
{
    *path += strspn(*path, "/");
    return strcspn(*path, "/");
}

/* What "below a prefix" means, in other words than those of the library. */
static bool is_below(const char *prefix, const char *path)
{
    size_t len;
    while ((len = next_segment(&prefix)) > 0) {
        if (next_segment(&path) != len || strncmp(path, prefix, len) != 0) {
            return false;
        }
        prefix += len;
        path += len;
    }
    return true;
}

static void paths_and_prefixes_of_all_forms_are_compared_by_segments(void **state)
{
    (void)state;
    enum { PATH_MAX_LEN = 7, LETTERS = 3 };
    static char prefix[PATH_MAX_LEN + 2] = "/", path[PATH_MAX_LEN + 2] = "/";
    uint32_t random = 1;
    for (int i = 0; i < 20000; i++) {
        for (char *text = prefix; text != NULL; text = text == prefix ? path : NULL) {
            size_t len = 1 + (random = random * 1664525 + 1013904223) / 65536 % PATH_MAX_LEN;
            for (size_t at = 1; at < len; at++) {
                text[at] = "/ab"[(random = random * 1664525 + 1013904223) / 65536 % LETTERS];
            }
            text[len] = '\0';
        }
        struct rules *rules = NULL;
        int error = 0;
        const struct rule *rule = rules_add(&rules, &access_kind, prefix, "x", &error, NULL, 0);
        assert_non_null(rule);
        bool fits = rules_first(rules, RULE_ACCESS, path, strlen(path)) == rule;
        if (fits != is_below(prefix, path)) {
            fail_msg("%s below %s: %d", path, prefix, fits);
        }
        rules_destroy(rules);
    }
}

static void kinds_are_asked_in_their_order_until_one_responds(void **state)
{
    (void)state;
    add(&refuse_kind, "/no", "r");
    add(&access_kind, "/", "a");
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/no") GET("/hello"));
    assert_string_equal(order, "ara");
    assert_string_equal(statuses(peer), "403 200");
}

static void what_is_no_prefix_or_one_too_many_is_refused(void **state)
{
    (void)state;
    char err[256], text[RULE_PREFIX_MAX + 3];
    int error = 0;
    assert_null(rules_add(rules_of(scene.site), &access_kind, "", "", &error, err, sizeof err));
    assert_int_equal(error, -EINVAL);
    assert_string_equal(err, "a prefix such as \"/\" or \"/api\" expected, got \"\"");
    assert_null(rules_add(rules_of(scene.site), &access_kind, "api", "", &error, err, sizeof err));
    static const char *const patterns[] = {"/a/*", "/a*",    "/:id",  "/a/:id", "/a/{x}",   "/a?b",
                                           "/a#b", "/a%20b", "/a/..", "/./a",   "/a/../b/", "/a/."};
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        error = 0;
        assert_null(rules_add(rules_of(scene.site), &access_kind, patterns[i], "", &error, err, sizeof err));
        assert_int_equal(error, -EINVAL);
        assert_non_null(strstr(err, patterns[i]));
        assert_non_null(strstr(err, "\"/api\" holds for all that is below it, too"));
    }
    static const char *const plain[] = {"/.well-known", "/a/..b", "/a:b", "/100%", "/%zz", "/a/.../b"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        add(&access_kind, plain[i], "x");
    }
    memset(text, '/', sizeof text);
    text[RULE_PREFIX_MAX + 1] = '\0';
    assert_null(rules_add(rules_of(scene.site), &access_kind, text, "", &error, err, sizeof err));
    text[RULE_PREFIX_MAX] = '\0';
    add(&access_kind, text, "x");
    for (int i = 1 + (int)(sizeof plain / sizeof plain[0]); i < RULES_MAX; i++) {
        add(&access_kind, "/", "x");
    }
    assert_null(rules_add(rules_of(scene.site), &access_kind, "/one", "", &error, err, sizeof err));
    assert_int_equal(error, -ENOSPC);
    assert_string_equal(err, "\"/one\" is one too many: at most 1000 rules");
    assert_non_null(rules_get(*rules_of(scene.site), RULES_MAX - 1));
    assert_null(rules_get(*rules_of(scene.site), RULES_MAX));
}

static void a_held_request_goes_on_to_the_next_kind_and_its_route(void **state)
{
    (void)state;
    add(&access_kind, "/", "a");
    add(&limit_kind, "/", "l");
    add(&auth_kind, "/", "u");
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/none"));
    assert_string_equal(order, "al");
    assert_string_equal(statuses(peer), "");
    go_on(0);
    assert_string_equal(order, "alu");
    go_on(1);
    assert_string_equal(statuses(peer), "200"); /* and the one behind it has begun */
    assert_string_equal(order, "alual");
    go_on(2);
    go_on(3);
    assert_string_equal(statuses(peer), "200 404");
}

static void a_rule_that_holds_may_respond(void **state)
{
    (void)state;
    add(&auth_kind, "/", "u");
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hello"));
    response_error(held[0].exchange, 401, NULL);
    settle();
    assert_string_equal(statuses(peer), "401");
    go_on(1);
    assert_string_equal(statuses(peer), "401 200");
}

static const struct handler unwanted = {.serve = serve_text, .ctx = hello_text};
static const struct handler stream = {.serve = serve_body_back, .body_mode = BODY_STREAM};
static struct limits own;
static const struct handler roomy = {.serve = serve_echo, .body_mode = BODY_WHOLE, .limits = &own};

static void begin_with_bodies(void)
{
    limits_init(&own);
    add(&auth_kind, "/", "u");
    add_route(METHOD_POST, "/unwanted", &unwanted);
    add_route(METHOD_POST, "/stream", &stream);
    add_route(METHOD_POST, "/roomy", &roomy);
    scene_begin();
}

#define POST(path, body, len) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " len "\r\n\r\n" body

/* The body may come with the head, while the request is held, or afterwards. */
static void each_way_to_take_a_body_works_after_a_pause(void **state)
{
    (void)state;
    static const char *const paths[] = {"/unwanted", "/echo", "/stream"};
    begin_with_bodies();
    int n = 0;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        for (int when = 0; when < 4; when++) {
            char head[128];
            struct fake_peer *peer = client();
            snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n%s", paths[i],
                     when == 0   ? "hello\n"
                     : when == 1 ? "hel"
                                 : "");
            say(peer, head);
            say(peer, when == 1 ? "lo\n" : when == 2 ? "hello\n" : "");
            assert_string_equal(statuses(peer), "");
            go_on(n++);
            say(peer, when == 3 ? "hello\n" : "");
            assert_string_equal(statuses(peer), "200");
            assert_true(output_has(peer, "\r\n\r\nhello\n"));
            say(peer, GET("/hello"));
            go_on(n++);
            assert_string_equal(statuses(peer), "200 200");
            fake_peer_close(peer);
            settle();
            n = held_count = 0;
        }
    }
}

static void chunks_wait_as_well(void **state)
{
    (void)state;
    begin_with_bodies();
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    say(peer, "3\r\ndef\r\n0\r\n\r\n" GET("/hello"));
    go_on(0);
    assert_true(output_has(peer, "\r\n\r\nabcdef"));
    go_on(1);
    assert_string_equal(statuses(peer), "200 200");
}

/* A client that waits for 100 gets it when the route wants the body, and never for a request that is refused. */
static void continue_is_said_after_the_pause(void **state)
{
    (void)state;
    begin_with_bodies();
    struct fake_peer *peer = client(), *refused = client();
    static const char head[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n";
    say(peer, head);
    assert_int_equal(output_len(peer), 0);
    go_on(0);
    assert_true(output_has(peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    say(peer, "hello\n");
    assert_true(output_has(peer, "\r\n\r\nhello\n"));
    say(refused, head);
    response_error(held[1].exchange, 401, NULL);
    settle();
    assert_string_equal(statuses(refused), "401");
    assert_true(output_has(refused, "Connection: close\r\n"));
}

/* How long a body may be is known when the route is. */
static void max_body_is_that_of_the_route(void **state)
{
    (void)state;
    set_limit("max_body", 4);
    begin_with_bodies();
    struct fake_peer *peer = client(), *other = client();
    say(peer, POST("/roomy", "hello\n", "6"));
    say(other, POST("/echo", "hello\n", "6"));
    go_on(0);
    go_on(1);
    assert_string_equal(statuses(peer), "200");
    assert_string_equal(statuses(other), "413");
}

static void a_client_that_leaves_is_told_to_the_rule(void **state)
{
    (void)state;
    begin_with_bodies();
    struct fake_peer *shut = client(), *reset = client();
    say(shut, GET("/hello"));
    say(reset, POST("/echo", "hel", "6"));
    fake_peer_shutdown(shut);
    settle();
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(shut));
    fake_peer_reset(reset, ECONNRESET);
    settle();
    assert_int_equal(held[1].gones, 1);
    struct fake_peer *late = client();
    say(late, GET("/hello"));
    dispatch_go_on(held[2].exchange); /* in the tick in which the client leaves */
    held[2].exchange = NULL;
    fake_peer_reset(late, ECONNRESET);
    settle();
    assert_int_equal(held[2].gones, 0);
}

static void a_rule_that_takes_too_long_is_503(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin_with_bodies();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    pass_ms(SHORT_MS - 1);
    assert_int_equal(held[0].gones, 0);
    pass_ms(1);
    assert_int_equal(held[0].gones, 1);
    assert_string_equal(statuses(peer), "503");
    assert_non_null(strstr(scene.log_text, "auth, for /hello: 503, since it did not decide within 2000 ms"));
    say(peer, GET("/hello"));
    go_on(1);
    assert_string_equal(statuses(peer), "503 200");
}

static void a_decision_in_the_tick_of_the_deadline_counts(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin_with_bodies();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_sys_advance_ms(SHORT_MS);
    go_on(0);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(stats().timeouts, 0);
}

/* Time in which the rule was at work is not that of the handler. */
static void the_handler_has_its_time_of_its_own(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin_with_bodies();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(SHORT_MS - 1);
    go_on(0);
    pass_ms(SHORT_MS - 1);
    reply_held(1, "in time\n");
    assert_string_equal(statuses(peer), "200");
}

static void a_stop_waits_for_held_requests(void **state)
{
    (void)state;
    begin_with_bodies();
    struct fake_peer *peer = client(), *cut = client();
    say(peer, POST("/echo", "hel", "6"));
    say(cut, GET("/hello"));
    server_drain(scene.server, SHORT_MS, NULL, NULL);
    settle();
    go_on(0);
    say(peer, "lo\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    pass_ms(SHORT_MS);
    assert_int_equal(held[1].gones, 1);
    assert_true(is_closed(cut));
}

static void a_held_request_keeps_its_site(void **state)
{
    (void)state;
    static char other_text[] = "other\n";
    static const struct handler other = {.serve = serve_text, .ctx = other_text};
    char err[256];
    begin_with_bodies();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hello"));
    assert_int_equal(site_create(&next_site, &scene.log), 0);
    assert_int_equal(router_add(next_site->default_host.router, 1U << METHOD_GET, "/hello", &other, "", err,
                                sizeof err),
                     0);
    server_set_site(scene.server, next_site);
    go_on(0);
    assert_true(output_has(peer, "hello\n"));
    assert_true(output_has(peer, "other\n"));
    assert_int_equal(scene.site->pins, 0);
    assert_int_equal(held_count, 1);
}

/* The n-th allocation fails, for each n. */
static void without_memory_clients_get_503_or_are_cut(void **state)
{
    (void)state;
    begin_with_bodies();
    for (uint64_t n = 1;; n++) {
        held_count = 0;
        held[0] = (struct held){0};
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        say(peer, POST("/echo", "hel", "6"));
        if (held_count == 1 && held[0].exchange != NULL) {
            go_on(0);
        }
        say(peer, "lo\n");
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(is_closed(peer) || output_has(peer, "\r\n\r\nhello\n") || output_has(peer, "503"));
        if (!has_failed) {
            assert_string_equal(statuses(peer), "200");
            break;
        }
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULES_TEST(prefixes_are_whole_segments_and_longer_ones_come_first),
        RULES_TEST(paths_and_prefixes_of_all_forms_are_compared_by_segments),
        RULES_TEST(kinds_are_asked_in_their_order_until_one_responds),
        RULES_TEST(what_is_no_prefix_or_one_too_many_is_refused),
        RULES_TEST(a_held_request_goes_on_to_the_next_kind_and_its_route),
        RULES_TEST(a_rule_that_holds_may_respond),
        RULES_TEST(each_way_to_take_a_body_works_after_a_pause),
        RULES_TEST(chunks_wait_as_well),
        RULES_TEST(continue_is_said_after_the_pause),
        RULES_TEST(max_body_is_that_of_the_route),
        RULES_TEST(a_client_that_leaves_is_told_to_the_rule),
        RULES_TEST(a_rule_that_takes_too_long_is_503),
        RULES_TEST(a_decision_in_the_tick_of_the_deadline_counts),
        RULES_TEST(the_handler_has_its_time_of_its_own),
        RULES_TEST(a_stop_waits_for_held_requests),
        RULES_TEST(a_held_request_keeps_its_site),
        RULES_TEST(without_memory_clients_get_503_or_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
