/* Tunnels on the fake kernel: a server whose route /go responds with a tunnel to a fake upstream. */

#include "http/proxy/tunnel.h"

#include "core/link.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#include <arpa/inet.h>

enum { IDLE_MS = 60000, WRITE_MS = 5000, KEPT_MAX = 65536, LONG = 100000 };

#define GO "GET /go HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

struct ends {
    int count;
    struct tunnel_counts counts; /* of the last one */
};

static struct links links;
static struct link *ready_link; /* open, for the next tunnel */
static struct fake_server *upstreams;
static struct ends ends;
static struct tunnel_plan plan;
static int opened; /* what tunnel_open() returned */
static char long_text[LONG + 1];

static void on_link_open(void *arg, int error)
{
    *(int *)arg = error;
}

static void on_link_ready(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
}

static const struct link_user user = {.on_open = on_link_open, .on_ready = on_link_ready};

static void note_end(void *arg, const struct tunnel_counts *counts)
{
    struct ends *all = arg;
    all->count++;
    all->counts = *counts;
}

static void serve_go(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    plan.link = ready_link;
    response_add_field(exchange, "X-Room", 6, "blue", 4);
    opened = tunnel_open(exchange, &plan);
    if (opened == 0) {
        ready_link = NULL;
    } else {
        response_send(exchange, 502, NULL, NULL, 0);
    }
}

static const struct handler go = {.serve = serve_go};

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    for (size_t i = 0; i < LONG; i++) {
        long_text[i] = (char)('a' + i % 23);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(3000)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    upstreams = fake_server_create((struct sockaddr *)&address, sizeof address);
    links = (struct links){.reactor = scene.reactor};
    ready_link = NULL;
    ends = (struct ends){0};
    plan = (struct tunnel_plan){
        .name = "echo", .idle_timeout_ms = IDLE_MS, .write_timeout_ms = WRITE_MS, .on_end = note_end, .arg = &ends};
    add_route(METHOD_GET, "/go", &go);
    scene_start();
    return rv;
}

static int tear_down(void **state)
{
    link_close(ready_link);
    ready_link = NULL;
    int rv = scene_tear_down(state); /* which closes all connections, and so their links */
    return links.count == 0 ? rv : -1;
}

#define TUNNEL_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* Connect with the upstream. Returns its end; NULL without memory, or after a failed call. */
static struct fake_peer *try_connect(void)
{
    char err[LINK_FAILURE_MAX];
    int error = 1;
    struct link_target target = {.host = "127.0.0.1", .port = 3000};
    if (link_open(&ready_link, &links, &target, &user, &error, err, sizeof err) < 0) {
        ready_link = NULL;
        return NULL;
    }
    settle();
    if (error != 0) {
        link_close(ready_link);
        ready_link = NULL;
        return NULL;
    }
    return fake_server_next(upstreams);
}

static struct fake_peer *connect_upstream(void)
{
    struct fake_peer *upstream = try_connect();
    assert_non_null(upstream);
    return upstream;
}

/* Both ends of a new tunnel, whose 101 is forgotten. */
static struct fake_peer *make_tunnel_of(struct fake_peer **upstream)
{
    *upstream = connect_upstream();
    struct fake_peer *peer = client();
    say(peer, GO);
    assert_int_equal(opened, 0);
    assert_true(output_has(peer, "HTTP/1.1 101 Switching Protocols\r\n"));
    fake_peer_forget_output(peer);
    return peer;
}

static void assert_got(const struct fake_peer *peer, const char *text)
{
    size_t len;
    assert_string_equal(fake_peer_output(peer, &len), text);
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    say(peer, "one ");
    say(upstream, "two ");
    say(peer, "three ");
    say(upstream, "four ");
    assert_got(upstream, "one three ");
    assert_got(peer, "two four ");
    assert_int_equal(stats().tunnels, 1);
    fake_peer_close(peer);
    settle();
    assert_true(fake_peer_saw_end(upstream));
    fake_peer_close(upstream);
    settle();
    assert_int_equal(stats().tunnels, 0);
    assert_true(is_closed(peer));
    assert_int_equal(ends.count, 1);
    assert_int_equal(ends.counts.up, 10);
    assert_int_equal(ends.counts.down, 9);
    assert_int_equal(stats().lost, 0);
}

static void the_response_has_the_name_and_the_fields(void **state)
{
    (void)state;
    connect_upstream();
    struct fake_peer *peer = client();
    say(peer, GO);
    assert_true(output_has(peer, "HTTP/1.1 101 Switching Protocols\r\n"));
    assert_true(output_has(peer, "X-Room: blue\r\n"));
    assert_true(output_has(peer, "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"));
}

/* Behind the request of the one and the 101 of the other, however they arrive. */
static void what_came_early_is_passed_on_first(void **state)
{
    (void)state;
    static const char text[] = GO "early up ";
    plan.early = "early down ";
    plan.early_len = strlen(plan.early);
    for (size_t split = 1; split < sizeof text; split++) {
        struct fake_peer *upstream = connect_upstream();
        struct fake_peer *peer = client();
        fake_peer_send_text(upstream, "more down ");
        fake_peer_send_split(peer, text, sizeof text - 1, split);
        settle();
        say(peer, "more up ");
        assert_got(upstream, "early up more up ");
        size_t len;
        assert_string_equal(strstr(fake_peer_output(peer, &len), "\r\n\r\n") + 4, "early down more down ");
        fake_peer_reset(peer, 0);
        settle();
        assert_true(fake_peer_saw_close(upstream));
    }
}

static void a_message_costs_one_read_and_one_write(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    say(peer, "warm");
    say(upstream, "warm");
    fake_sys_clear_trace();
    uint64_t calls = fake_mem_calls();
    for (int i = 0; i < 10; i++) {
        say(peer, "up");
        say(upstream, "down");
    }
    assert_int_equal(fake_sys_count(FAKE_RECV), 20);
    assert_int_equal(fake_sys_count(FAKE_SEND), 20);
    assert_int_equal(count_epoll_changes(), 0);
    assert_int_equal(fake_mem_calls() - calls, 0);
}

/* Back-pressure. */

static void an_upstream_that_takes_little_holds_up_its_client(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(upstream, 10);
    say(peer, "first of all");
    fake_peer_set_room(upstream, FAKE_NO_LIMIT);
    settle();
    fake_peer_forget_output(upstream);
    size_t live = fake_mem_live(); /* the reactor has what it needs */
    fake_peer_set_room(upstream, 10);
    fake_peer_send_in_pieces(peer, long_text, LONG, 1000);
    settle();
    assert_in_range(fake_peer_unread(peer), LONG - KEPT_MAX - 10, LONG - 11);
    fake_peer_set_room(upstream, 20000);
    settle();
    assert_in_range(fake_peer_unread(peer), LONG - KEPT_MAX - 20010, LONG - 20010);
    fake_peer_set_room(upstream, FAKE_NO_LIMIT);
    settle();
    assert_got(upstream, long_text);
    assert_int_equal(fake_mem_live(), live); /* nothing is kept */
    say(upstream, "thanks");
    assert_got(peer, "thanks");
}

static void a_client_that_takes_little_holds_up_its_upstream(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(peer, 10);
    say(upstream, "first of all");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    fake_peer_forget_output(peer);
    size_t live = fake_mem_live(); /* the reactor has what it needs */
    fake_peer_set_room(peer, 10);
    fake_peer_send_in_pieces(upstream, long_text, LONG, 1000);
    settle();
    assert_in_range(fake_peer_unread(upstream), LONG - KEPT_MAX - 10, LONG - 11);
    say(peer, "up"); /* the other way is not held up */
    assert_got(upstream, "up");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_got(peer, long_text);
    assert_int_equal(fake_mem_live(), live);
}

static void a_client_that_takes_nothing_has_the_time_to_write(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(peer, 0);
    fake_peer_set_unsent(peer, 1000);
    say(upstream, "down");
    pass_ms(WRITE_MS - 1);
    assert_false(is_closed(peer));
    pass_ms(WRITE_MS / 4);
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
}

/* Ends. */

static void the_end_of_the_client_goes_up_behind_all_it_sent(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(upstream, 10);
    fake_peer_send(peer, long_text, LONG);
    fake_peer_shutdown(peer);
    settle();
    assert_false(fake_peer_saw_end(upstream));
    fake_peer_set_room(upstream, FAKE_NO_LIMIT);
    settle();
    assert_got(upstream, long_text);
    assert_true(fake_peer_saw_end(upstream));
    assert_false(fake_peer_saw_end(peer));
    say(upstream, "bye");
    assert_got(peer, "bye");
    fake_peer_shutdown(upstream);
    settle();
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(ends.counts.up, LONG);
    assert_int_equal(ends.counts.down, 3);
}

static void the_end_of_the_upstream_goes_down_behind_all_it_sent(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(peer, 10);
    fake_peer_send(upstream, long_text, LONG);
    fake_peer_shutdown(upstream);
    settle();
    assert_false(fake_peer_saw_end(peer));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_got(peer, long_text);
    assert_true(fake_peer_saw_end(peer));
    assert_false(fake_peer_saw_end(upstream));
    say(peer, "bye");
    assert_got(upstream, "bye");
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(stats().lost, 0);
}

static void a_tunnel_of_one_way_may_be_silent_for_less_time(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
        fake_peer_shutdown(i == 0 ? upstream : peer);
        settle();
        pass_ms(TUNNEL_HALF_OPEN_MS - 1);
        say(i == 0 ? peer : upstream, "x");
        pass_ms(TUNNEL_HALF_OPEN_MS - 1);
        assert_false(is_closed(peer));
        pass_ms(1);
        assert_true(is_closed(peer));
        assert_true(fake_peer_saw_close(upstream));
    }
}

static void silence_of_both_ends_a_tunnel(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    pass_ms(IDLE_MS - 1);
    say(peer, "x");
    pass_ms(IDLE_MS - 1);
    say(upstream, "y");
    pass_ms(IDLE_MS - 1);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(ends.count, 1);
    assert_non_null(strstr(scene.log_text, "timed out while a tunnel to an upstream was open"));
}

static void without_a_limit_it_may_be_silent_for_ever(void **state)
{
    (void)state;
    plan.idle_timeout_ms = 0;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    pass_ms((int64_t)3 * 3600 * 1000);
    say(peer, "x");
    assert_got(upstream, "x");
}

static void a_stop_ends_it_once_it_is_quiet(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    server_drain(scene.server, 10000, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        pass_ms(TUNNEL_DRAIN_QUIET_MS - 1);
        say(peer, "x");
        assert_false(is_closed(peer));
    }
    assert_got(upstream, "xxxx");
    pass_ms(TUNNEL_DRAIN_QUIET_MS);
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
}

static void the_end_of_a_stop_ends_those_that_are_not_quiet(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    server_drain(scene.server, 2000, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        pass_ms(500);
        say(upstream, "x");
    }
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(ends.count, 1);
}

static void an_upstream_that_is_lost_ends_it_behind_what_it_sent(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_peer_set_room(peer, 2);
    say(upstream, "last words");
    fake_peer_reset(upstream, 0);
    settle();
    assert_false(is_closed(peer));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_got(peer, "last words");
    assert_true(fake_peer_saw_end(peer));
    assert_int_equal(ends.count, 1);
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
}

/* It has closed, and what the client sends after that is answered by a reset. */
static void an_upstream_that_takes_no_more_is_still_read(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    fake_sys_fail_op(FAKE_SEND, 0, 1, -EPIPE);
    say(peer, "x");
    assert_false(is_closed(peer));
    say(upstream, "because");
    fake_peer_shutdown(upstream);
    settle();
    assert_got(peer, "because");
    assert_true(fake_peer_saw_end(peer));
}

static void a_client_that_is_lost_ends_it(void **state)
{
    (void)state;
    struct fake_peer *upstream, *peer = make_tunnel_of(&upstream);
    say(peer, "x");
    fake_peer_reset(peer, 0);
    settle();
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(ends.count, 1);
    assert_int_equal(ends.counts.up, 1);
}

/* Its begin. */

static void a_client_may_be_lost_before_it_begins(void **state)
{
    (void)state;
    struct fake_peer *upstream = connect_upstream();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 20); /* of the response */
    say(peer, GO);
    say(upstream, "x");
    assert_int_equal(opened, 0);
    fake_peer_reset(peer, 0);
    settle();
    assert_true(fake_peer_saw_close(upstream));
    assert_int_equal(ends.count, 1);
    assert_int_equal(ends.counts.down, 0);
}

static void what_cannot_begin_leaves_the_link_alone(void **state)
{
    (void)state;
    char name[TUNNEL_NAME_MAX + 2];
    memset(name, 'x', sizeof name - 1);
    name[TUNNEL_NAME_MAX + 1] = '\0';
    connect_upstream();
    say(client(), "GET /go HTTP/1.0\r\n\r\n");
    assert_int_equal(opened, -EPROTO);
    plan.name = name;
    say(client(), GO);
    assert_int_equal(opened, -EINVAL);
    name[TUNNEL_NAME_MAX] = '\0';
    say(client(), GO);
    assert_int_equal(opened, 0);
    assert_int_equal(ends.count, 0);
}

/* Failures. */

/* A tunnel from its begin to its end, of which anything may fail. Returns whether all went well. */
static bool play_tunnel(void)
{
    struct fake_peer *upstream = ready_link == NULL ? try_connect() : NULL;
    struct fake_peer *peer = upstream == NULL ? NULL : fake_peer_connect(scene.listener_fd);
    if (peer == NULL) {
        return false;
    }
    fake_peer_send_text(peer, GO "early");
    settle();
    fake_peer_set_room(upstream, 10);
    fake_peer_set_room(peer, 10);
    fake_peer_send(peer, long_text, LONG);
    fake_peer_send(upstream, long_text, LONG);
    settle();
    fake_peer_set_room(upstream, FAKE_NO_LIMIT);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    size_t up_len, down_len;
    fake_peer_output(upstream, &up_len);
    fake_peer_output(peer, &down_len);
    bool is_whole = up_len == LONG + 5 && down_len > LONG;
    fake_peer_shutdown(peer);
    settle();
    fake_peer_close(upstream);
    fake_peer_close(peer);
    settle();
    return is_whole;
}

/* What a failure may have left open. */
static void end_play(void)
{
    fake_mem_fail_after(0, false);
    fake_sys_fail(0, 0);
    pass_ms(IDLE_MS * 2);
    link_close(ready_link);
    ready_link = NULL;
    while (fake_server_next(upstreams) != NULL) {
    }
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(play_tunnel());
    bool is_whole = false;
    for (uint64_t n = 1; !is_whole; n++) {
        fake_mem_fail_after(n, false);
        is_whole = play_tunnel();
        end_play();
        assert_int_equal(links.count, 0);
        assert_in_range(n, 1, 200);
    }
}

static void each_system_call_may_fail(void **state)
{
    (void)state;
    static const enum fake_op ops[] = {FAKE_RECV,         FAKE_SEND,           FAKE_SENDV,   FAKE_EPOLL_ADD,
                                       FAKE_EPOLL_MODIFY, FAKE_SHUTDOWN_WRITE, FAKE_SHUTDOWN};
    assert_true(play_tunnel());
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (int n = 0; n < 8; n++) {
            fake_sys_fail_op(ops[i], n, 1, ops[i] == FAKE_EPOLL_ADD ? -ENOMEM : -ECONNRESET);
            play_tunnel();
            end_play();
            assert_int_equal(links.count, 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TUNNEL_TEST(bytes_go_both_ways),
        TUNNEL_TEST(the_response_has_the_name_and_the_fields),
        TUNNEL_TEST(what_came_early_is_passed_on_first),
        TUNNEL_TEST(a_message_costs_one_read_and_one_write),
        TUNNEL_TEST(an_upstream_that_takes_little_holds_up_its_client),
        TUNNEL_TEST(a_client_that_takes_little_holds_up_its_upstream),
        TUNNEL_TEST(a_client_that_takes_nothing_has_the_time_to_write),
        TUNNEL_TEST(the_end_of_the_client_goes_up_behind_all_it_sent),
        TUNNEL_TEST(the_end_of_the_upstream_goes_down_behind_all_it_sent),
        TUNNEL_TEST(a_tunnel_of_one_way_may_be_silent_for_less_time),
        TUNNEL_TEST(silence_of_both_ends_a_tunnel),
        TUNNEL_TEST(without_a_limit_it_may_be_silent_for_ever),
        TUNNEL_TEST(a_stop_ends_it_once_it_is_quiet),
        TUNNEL_TEST(the_end_of_a_stop_ends_those_that_are_not_quiet),
        TUNNEL_TEST(an_upstream_that_is_lost_ends_it_behind_what_it_sent),
        TUNNEL_TEST(an_upstream_that_takes_no_more_is_still_read),
        TUNNEL_TEST(a_client_that_is_lost_ends_it),
        TUNNEL_TEST(a_client_may_be_lost_before_it_begins),
        TUNNEL_TEST(what_cannot_begin_leaves_the_link_alone),
        TUNNEL_TEST(each_allocation_may_fail),
        TUNNEL_TEST(each_system_call_may_fail),
    };
    return cmocka_run_group_tests_name("tunnel", tests, NULL, NULL);
}
