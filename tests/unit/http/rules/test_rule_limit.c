/* http/rules/rule_limit.c: each limit at the limit and one past it, on the fake clock; whom requests are counted by; and
 * that whatever ends a request, its place is free again. */

#include "http/rules/rule_limit.h"

#include "core/limiter.h"
#include "http/rules/basic_auth.h"
#include "http/rules/rule_access.h"
#include "tests/lib/server_scene.h"

#include <arpa/inet.h>
#include <sys/un.h>

static struct limiter *limiter;

static int set_up(void **state)
{
    return scene_set_up(state) < 0 ? -1 : limiter_create(&limiter, 64);
}

static int tear_down(void **state)
{
    limiter_destroy(limiter);
    return scene_tear_down(state);
}

#define LIMIT_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static void add(const char *prefix, const struct rule_limit *limit)
{
    char err[256] = "";
    scene.site->limiter = limiter;
    if (rule_limit_add(&scene.site->default_host.rules, prefix, limit, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static void add_rate(const char *prefix, const char *rate, uint64_t burst, const char *by)
{
    const struct rule_limit limit = {.rate = rate, .burst = burst, .by = by};
    add(prefix, &limit);
}

static void add_concurrency(const char *prefix, uint64_t concurrency, const char *by)
{
    const struct rule_limit limit = {.concurrency = concurrency, .by = by};
    add(prefix, &limit);
}

static struct fake_peer *client_from(const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        fake_peer_set_address(peer, (const struct sockaddr *)&v4, sizeof v4);
    } else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        fake_peer_set_address(peer, (const struct sockaddr *)&v6, sizeof v6);
    } else {
        fake_peer_set_address(peer, (const struct sockaddr *)&un, sizeof(sa_family_t));
    }
    return peer;
}

/* The status that a client of an address gets. */
static int status_from(const char *address, const char *request)
{
    struct fake_peer *peer = client_from(address);
    say(peer, request);
    int status = atoi(statuses(peer));
    fake_peer_close(peer);
    settle();
    return status;
}

static int status_of(const char *request)
{
    return status_from("192.0.2.1", request);
}

static void a_burst_passes_and_the_next_request_gets_429(void **state)
{
    (void)state;
    add_rate("/hello", "1/s", 3, NULL);
    scene_begin();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(status_of(GET("/hello")), 200);
        }
        assert_int_equal(status_of(GET("/hello")), 429);
        assert_int_equal(status_of(GET("/helloo")), 404);
        pass_ms(999);
        assert_int_equal(status_of(GET("/hello")), 429);
        pass_ms(1);
        assert_int_equal(status_of(GET("/hello")), 200);
        assert_int_equal(status_of(GET("/hello")), 429);
        pass_ms(3000);
    }
    assert_int_equal(stats().limited, 6);
}

static void a_rate_alone_lets_its_number_come_at_once(void **state)
{
    (void)state;
    add_rate("/", "5/h", 0, NULL);
    scene_begin();
    for (int i = 0; i < 5; i++) {
        assert_int_equal(status_of(GET("/hello")), 200);
    }
    struct fake_peer *peer = client_from("192.0.2.1");
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "HTTP/1.1 429 "));
    assert_true(output_has(peer, "\r\nRetry-After: 720\r\n"));
    pass_ms(1);
    say(peer, GET("/hello"));
    assert_int_equal(count_in_output(peer, "\r\nRetry-After: 720\r\n"), 2); /* rounded up */
    pass_ms(719998);
    assert_int_equal(status_of(GET("/hello")), 429);
    pass_ms(1);
    assert_int_equal(status_of(GET("/hello")), 200);
}

static void requests_are_counted_by_what_the_rule_says(void **state)
{
    (void)state;
    static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1", "unix:"};
    add_rate("/hello", "1/m", 1, "client");
    add_rate("/hold", "1/m", 1, "all");
    add_rate("/by/key", "1/m", 1, "header:X-Api-Key");
    add_rate("/by/host", "1/m", 1, "host");
    scene_begin();
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_int_equal(status_from(addresses[i], GET("/hello")), 200);
        assert_int_equal(status_from(addresses[i], GET("/hello")), 429);
    }
    assert_int_equal(status_from("2001:db8::2", GET("/hello")), 429); /* of the same /64 */
    assert_int_equal(status_from("::ffff:192.0.2.2", GET("/hello")), 429);

    struct fake_peer *peer = client_from("192.0.2.9");
    say(peer, GET("/hold"));
    reply_held(0, "x");
    assert_int_equal(status_from("192.0.2.8", GET("/hold")), 429);

#define KEYED(key)  "GET /by/key HTTP/1.1\r\nHost: a\r\nx-api-key: " key "\r\n\r\n"
#define HOSTED(key) "GET /by/host HTTP/1.1\r\nHost: " key "\r\n\r\n"
    assert_int_equal(status_from("192.0.2.1", KEYED("one")), 404);
    assert_int_equal(status_from("192.0.2.2", KEYED("one")), 429);
    assert_int_equal(status_from("192.0.2.2", KEYED("two")), 404);
    assert_int_equal(status_from("192.0.2.1", GET("/by/key")), 404); /* without one by client */
    assert_int_equal(status_from("192.0.2.1", GET("/by/key")), 429);
    assert_int_equal(status_from("192.0.2.1", KEYED("")), 429);
    assert_int_equal(status_from("192.0.2.2", GET("/by/key")), 404);
    assert_int_equal(status_of(HOSTED("a.example")), 404);
    assert_int_equal(status_of(HOSTED("A.example.:80")), 429);
    assert_int_equal(status_of(HOSTED("b.example")), 404);
}

/* Who may come is asked by a test. */
static enum rules_verdict accept_all(struct exchange *exchange, const struct credentials *credentials, void *arg)
{
    (void)exchange, (void)credentials, (void)arg;
    return RULES_PASS;
}

static void users_are_known_after_basic_auth(void **state)
{
    (void)state;
    char err[256];
    const struct basic_auth_asked asked = {.ask = accept_all};
    const struct basic_auth_options options = {.asked = &asked};
    add_rate("/", "1/m", 1, "user");
    assert_int_equal(basic_auth_add(&scene.site->default_host.rules, "/", &options, err, sizeof err), 0);
    scene_begin();
#define BY_USER(text) "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " text "\r\n\r\n"
    assert_int_equal(status_from("192.0.2.1", BY_USER("YTp4")), 200);
    assert_int_equal(status_from("192.0.2.2", BY_USER("YTp4")), 429);
    assert_int_equal(status_from("192.0.2.2", BY_USER("Yjp4")), 200);
    assert_int_equal(status_from("192.0.2.2", GET("/hello")), 401); /* which is not counted */
    assert_int_equal(status_from("192.0.2.2", GET("/hello")), 401);
}

static void so_many_requests_at_a_time_and_one_more(void **state)
{
    (void)state;
    add_concurrency("/hold", 2, NULL);
    scene_begin();
    struct fake_peer *peers[3];
    for (int i = 0; i < 2; i++) {
        peers[i] = client_from("192.0.2.1");
        say(peers[i], GET("/hold"));
    }
    assert_int_equal(held_count, 2);
    peers[2] = client_from("192.0.2.1");
    say(peers[2], GET("/hold"));
    assert_true(output_has(peers[2], "HTTP/1.1 429 "));
    assert_true(output_has(peers[2], "\r\nRetry-After: 1\r\n"));
    reply_held(0, "done");
    say(peers[2], GET("/hold"));
    assert_int_equal(held_count, 3);
    assert_int_equal(status_of(GET("/hold")), 429);
    reply_held(1, "done");
    reply_held(2, "done");
}

/* However a request ends, the next one finds its place free. */
static void assert_is_free(void)
{
    struct fake_peer *peer = client_from("192.0.2.1");
    int before = held_count;
    say(peer, GET("/hold"));
    assert_int_equal(held_count, before + 1);
    assert_int_equal(status_of(GET("/hold")), 429);
    reply_held(before, "done");
    assert_string_equal(statuses(peer), "200");
}

static void every_end_of_a_request_makes_room(void **state)
{
    (void)state;
    set_limit("handler_timeout", 1000);
    set_limit("body_timeout", 1000);
    add_concurrency("/", 1, NULL);
    scene_begin();
    struct fake_peer *peer = client_from("192.0.2.1");
    say(peer, GET("/hold"));
    fake_peer_reset(peer, ECONNRESET); /* the client leaves */
    settle();
    assert_is_free();
    peer = client_from("192.0.2.1");
    say(peer, GET("/hold"));
    fake_peer_shutdown(peer);
    settle();
    assert_is_free();
    peer = client_from("192.0.2.1");
    say(peer, GET("/hold"));
    pass_ms(1000); /* its handler is late */
    assert_string_equal(statuses(peer), "503");
    assert_is_free();
    peer = client_from("192.0.2.1");
    say(peer, GET("/hold"));
    response_begin(held[held_count - 1].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_abort(held[held_count - 1].exchange); /* it is cut */
    settle();
    assert_true(is_closed(peer));
    assert_is_free();
    peer = client_from("192.0.2.1");
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"); /* its body does not come */
    assert_int_equal(status_of(GET("/hello")), 429);
    pass_ms(1000);
    assert_string_equal(statuses(peer), "408");
    assert_is_free();
    assert_int_equal(status_of(GET("/nowhere")), 404);
    assert_is_free();
    peer = client_from("192.0.2.1");
    say(peer, GET("/hello") GET("/hello") GET("/nowhere") GET("/hello"));
    assert_string_equal(statuses(peer), "200 200 404 200");
    assert_is_free();
}

static void all_rules_must_agree_and_a_refusal_costs_nothing(void **state)
{
    (void)state;
    add_rate("/", "2/m", 0, NULL);
    add_concurrency("/", 1, NULL);
    add_rate("/hold", "1/m", 1, "all");
    scene_begin();
    struct fake_peer *peer = client_from("192.0.2.1");
    say(peer, GET("/hold"));
    for (int i = 0; i < 5; i++) { /* refused by its number: that costs none of the rates anything */
        assert_int_equal(status_of(GET("/hello")), 429);
    }
    reply_held(0, "x");
    for (int i = 0; i < 5; i++) { /* refused by "all" of the longer prefix */
        assert_int_equal(status_of(GET("/hold")), 429);
    }
    assert_int_equal(status_of(GET("/hello")), 200);
    assert_int_equal(status_of(GET("/hello")), 429);
    assert_int_equal(status_from("192.0.2.2", GET("/hold")), 429);
    assert_int_equal(status_from("192.0.2.2", GET("/hello")), 200);
    assert_int_equal(status_from("192.0.2.2", GET("/hello")), 200);
    assert_int_equal(status_from("192.0.2.2", GET("/hello")), 429);
}

static void a_rule_has_a_status_of_its_own_and_one_line_of_the_log_in_a_while(void **state)
{
    (void)state;
    const struct rule_limit limit = {.rate = "1/m", .burst = 1, .status = 503};
    add("/hello", &limit);
    scene_begin();
    assert_int_equal(status_of(GET("/hello")), 200);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(status_of(GET("/hello")), 503);
    }
    const char *first = strstr(scene.log_text, "503 by app.limit \"/hello\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "503 by app.limit"));
    pass_ms(LIMIT_QUIET_MS);
    assert_int_equal(status_of(GET("/hello")), 503);
    assert_non_null(strstr(first + 1, "503 by app.limit \"/hello\", and 3 more since the last such line"));
}

static void what_was_counted_outlives_a_reload_and_other_limits_begin_anew(void **state)
{
    (void)state;
    add_rate("/", "1/m", 1, NULL);
    scene_begin();
    assert_int_equal(status_of(GET("/hello")), 200);
    struct site *former = scene.site;
    assert_int_equal(site_create(&scene.site, &scene.log), 0);
    add_usual_routes();
    add_rate("/", "1/m", 1, NULL);
    server_set_site(scene.server, scene.site);
    assert_int_equal(status_of(GET("/hello")), 429);
    site_destroy(former);
    former = scene.site;
    assert_int_equal(site_create(&scene.site, &scene.log), 0);
    add_usual_routes();
    add_rate("/", "2/m", 1, NULL);
    server_set_site(scene.server, scene.site);
    assert_int_equal(status_of(GET("/hello")), 200);
    assert_int_equal(status_of(GET("/hello")), 429);
    site_destroy(former);
}

static void equal_rules_count_apart(void **state)
{
    (void)state;
    add_rate("/", "2/m", 2, NULL);
    add_rate("/", "2/m", 2, NULL);
    scene_begin();
    assert_int_equal(status_of(GET("/hello")), 200);
    assert_int_equal(status_of(GET("/hello")), 200);
    assert_int_equal(status_of(GET("/hello")), 429);
}

static void a_full_table_is_a_line_of_the_log(void **state)
{
    (void)state;
    limiter_destroy(limiter);
    assert_int_equal(limiter_create(&limiter, LIMITER_LEAST), 0);
    add_rate("/", "2/m", 2, "header:key");
    scene_begin();
    for (int i = 0; i <= LIMITER_LEAST; i++) {
        char request[128];
        assert_null(strstr(scene.log_text, "raise limit_entries"));
        snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: a\r\nkey: %d\r\n\r\n", i);
        assert_int_equal(status_of(request), 200);
    }
    assert_non_null(
        strstr(scene.log_text, "there is room for 8 clients at a time, so 1 counts were lost: raise limit_entries"));
}

static void serve_long(struct exchange *exchange, void *ctx)
{
    static char content[100000];
    (void)ctx;
    response_send(exchange, 200, "text/plain", content, sizeof content);
}

static void responses_below_a_prefix_have_a_rate(void **state)
{
    (void)state;
    const struct rule_limit slow = {.rate_limit = 10000}, slower = {.rate_limit = 1000}, counted = {.rate = "2/m"};
    const struct handler serve = {.serve = serve_long};
    add("/long", &slow);
    add("/long/x", &slower);
    add("/long/x", &counted);
    scene.site->limiter = limiter;
    assert_true(rule_limit_has(scene.site->default_host.rules));
    tree_add_filled(&scene.tree, "file", 'f', 50000);
    add("/file", &slow);
    add_route(METHOD_GET, "/long", &serve);
    add_route(METHOD_GET, "/long/x", &serve);
    add_route(METHOD_GET, "/other", &serve);
    scene_begin();
    struct fake_peer *peer = client(), *other = client(), *third = client();
    say(peer, GET("/other") GET("/long"));
    say(other, GET("/long/x"));
    say(third, GET("/file"));
    pass_ms(1000);
    assert_in_range(output_len(peer), 100000 + 10000, 100000 + 13000);
    assert_in_range(output_len(other), 1000, 2100);
    assert_in_range(output_len(third), 10000, 12000);
}

static void the_longest_prefix_has_the_rate_whatever_its_rule_counts_by(void **state)
{
    (void)state;
    const struct rule_limit by_user = {.rate = "100/s", .by = "user", .rate_limit = 1000}, slow = {.rate_limit = 10000};
    const struct handler serve = {.serve = serve_long};
    add("/", &by_user);
    add("/long", &slow);
    add_route(METHOD_GET, "/long", &serve);
    add_route(METHOD_GET, "/other", &serve);
    scene_begin();
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/long"));
    say(other, GET("/other"));
    pass_ms(1000);
    assert_in_range(output_len(peer), 10000, 13000);
    assert_in_range(output_len(other), 1000, 2100);
}

static void a_rate_of_bytes_needs_no_table(void **state)
{
    (void)state;
    const struct rule_limit slow = {.rate_limit = 10000};
    add("/", &slow);
    scene.site->limiter = NULL;
    assert_false(rule_limit_has(scene.site->default_host.rules));
    assert_false(rule_limit_has(NULL));
    scene_begin();
    assert_int_equal(status_of(GET("/hello")), 200);
}

static void mistakes_are_quoted(void **state)
{
    (void)state;
    static const struct {
        struct rule_limit limit;
        const char *text; /* NULL: it is none */
    } cases[] = {
        {{.rate = "10/s"}, NULL},
        {{.rate = "1/d", .burst = 31}, NULL},
        {{.rate = "1/d", .burst = 32}, "burst: at \"1/d\", 32 requests take longer than 31 days to be free again"},
        {{.rate = "1000000000/s"}, NULL},
        {{.rate = "1000000001/s"}, "\"1000000001/s\""},
        {{.rate = "1000/s", .burst = LIMITER_BURST_MAX}, NULL},
        {{.rate = "1000/s", .burst = LIMITER_BURST_MAX + 1}, "burst: 1000001 is too large: at most 1000000"},
        {{.rate = "0/s"}, "rate: requests in a second, minute, hour or day expected"},
        {{.rate = "10"}, "got \"10\""},
        {{.rate = "10/"}, "got \"10/\""},
        {{.rate = "10/w"}, "got \"10/w\""},
        {{.rate = "10/s "}, "got \"10/s \""},
        {{.rate = "-1/s"}, "got \"-1/s\""},
        {{.rate = "/s"}, "got \"/s\""},
        {{.rate = ""}, "got \"\""},
        {{.rate = "99999999999999999999999/s"}, "got \"99999999999999999999999/s\""},
        {{.concurrency = LIMIT_CONCURRENCY_MAX}, NULL},
        {{.concurrency = LIMIT_CONCURRENCY_MAX + 1}, "concurrency: 1000001 is too large: at most 1000000"},
        {{.by = "client"}, "rate: one such as \"10/s\", or a concurrency, or a rate_limit, is missing"},
        {{.concurrency = 1, .burst = 2}, "burst: needs a rate"},
        {{.concurrency = 1, .by = "header:"}, "by: \"client\""},
        {{.concurrency = 1, .by = "header:a b"}, "got \"header:a b\""},
        {{.concurrency = 1, .by = "address"}, "got \"address\""},
        {{.concurrency = 1, .status = 399}, "status: 399 is none of a refusal: 400 to 599"},
        {{.concurrency = 1, .status = 600}, "status: 600"},
        {{.concurrency = 1, .status = 599}, NULL},
        {{.rate_limit = 1 << 30}, NULL},
        {{.rate_limit = (1 << 30) + 1}, "rate_limit: 1073741825 is out of range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char err[256] = "";
        int rv = rule_limit_add(&scene.site->default_host.rules, "/", &cases[i].limit, err, sizeof err);
        if (rv != (cases[i].text == NULL ? 0 : -EINVAL) || (rv < 0 && strstr(err, cases[i].text) == NULL)) {
            fail_msg("case %zu: %d %s", i, rv, err);
        }
    }
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    const struct rule_limit limit = {.rate = "1/s", .concurrency = 1};
    char err[256];
    int rv = -ENOMEM;
    scene.site->limiter = limiter;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = rule_limit_add(&scene.site->default_host.rules, "/", &limit, err, sizeof err);
        fake_mem_fail_after(0, false);
        assert_true(n < 10);
    }
    assert_int_equal(rv, 0);
    scene_begin();
    struct fake_peer *peer = client_from("192.0.2.1");
    int served = 0;
    for (uint64_t n = 1; n < 20; n++) { /* a request that fails leaves nothing behind */
        fake_mem_fail_after(n, false);
        say(peer, GET("/hello"));
        fake_mem_fail_after(0, false);
        if (is_closed(peer)) {
            peer = client_from("192.0.2.1");
        } else {
            served += output_has(peer, " 200 OK");
        }
        pass_ms(1000);
    }
    assert_true(served > 0);
    assert_int_equal(status_of(GET("/hello")), 200);
}

static void only_numbers_at_a_time_need_memory(void **state)
{
    (void)state;
    add_rate("/", "100/s", 100, NULL);
    scene_begin();
    struct fake_peer *peer = client();
    uint64_t before = 0;
    for (int i = 0; i < 10; i++) {
        say(peer, GET("/hello"));
        before = i == 1 ? fake_mem_calls() : before; /* what is kept for later is there by then */
    }
    assert_int_equal(fake_mem_calls(), before);
    assert_int_equal(count_in_output(peer, "HTTP/1.1 200"), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMIT_TEST(a_burst_passes_and_the_next_request_gets_429),
        LIMIT_TEST(a_rate_alone_lets_its_number_come_at_once),
        LIMIT_TEST(requests_are_counted_by_what_the_rule_says),
        LIMIT_TEST(users_are_known_after_basic_auth),
        LIMIT_TEST(so_many_requests_at_a_time_and_one_more),
        LIMIT_TEST(every_end_of_a_request_makes_room),
        LIMIT_TEST(all_rules_must_agree_and_a_refusal_costs_nothing),
        LIMIT_TEST(a_rule_has_a_status_of_its_own_and_one_line_of_the_log_in_a_while),
        LIMIT_TEST(what_was_counted_outlives_a_reload_and_other_limits_begin_anew),
        LIMIT_TEST(equal_rules_count_apart),
        LIMIT_TEST(a_full_table_is_a_line_of_the_log),
        LIMIT_TEST(responses_below_a_prefix_have_a_rate),
        LIMIT_TEST(the_longest_prefix_has_the_rate_whatever_its_rule_counts_by),
        LIMIT_TEST(a_rate_of_bytes_needs_no_table),
        LIMIT_TEST(mistakes_are_quoted),
        LIMIT_TEST(without_memory_nothing_changes),
        LIMIT_TEST(only_numbers_at_a_time_need_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
