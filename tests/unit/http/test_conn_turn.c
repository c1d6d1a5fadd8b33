/* How long one connection may hold the others up: a turn ends after TURN_NS, however few requests it has answered, and
 * a server that stops answers what has arrived in turns, too. Handlers here move the fake clock: time is work. */

#include "tests/lib/server_scene.h"

static int64_t work_ns; /* that a request for /work takes */

static void serve_work(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    fake_sys_advance_ns(work_ns);
    response_send(exchange, 200, "text/plain", "done\n", 5);
}

static const struct handler work = {.serve = serve_work};

static void append(char *batch, const char *request, int count)
{
    size_t used = strlen(batch), len = strlen(request);
    for (int i = 0; i < count; i++) {
        memcpy(batch + used, request, len + 1);
        used += len;
    }
}

static char batch[1 << 16];

static void pipeline(struct fake_peer *peer, const char *request, int count)
{
    batch[0] = '\0';
    append(batch, request, count);
    fake_peer_send_text(peer, batch);
}

static void begin_with_work(int64_t ns)
{
    work_ns = ns;
    add_route(METHOD_GET, "/work", &work);
    scene_begin();
}

static void slow_handler_ends_the_turn_at_once(void **state)
{
    (void)state;
    begin_with_work(30000000);
    struct fake_peer *busy = client();
    struct fake_peer *other = client();
    pipeline(busy, GET("/work"), 64);
    fake_peer_send_text(other, GET("/hello"));
    run_once();
    assert_string_equal(statuses(other), "200");
    assert_int_equal(count_in_output(busy, "done\n"), 2); /* one turn in the tick's I/O, one in its tasks */
    fake_peer_send_text(other, GET("/hello"));
    run_once();
    assert_string_equal(statuses(other), "200 200");
    assert_int_equal(count_in_output(busy, "done\n"), 3);
    settle();
    assert_int_equal(count_in_output(busy, "done\n"), 64);
}

static void turn_ends_with_the_request_that_passes_its_time(void **state)
{
    (void)state;
    begin_with_work(TURN_NS / 4 + 1);
    struct fake_peer *busy = client();
    pipeline(busy, GET("/work"), 12);
    run_once();
    assert_int_equal(count_in_output(busy, "done\n"), 8); /* two turns */
    run_once();
    assert_int_equal(count_in_output(busy, "done\n"), 12);
}

static void quick_handlers_have_the_budget_in_requests(void **state)
{
    (void)state;
    begin_with_work(0);
    struct fake_peer *busy = client();
    pipeline(busy, GET("/work"), 200);
    run_once();
    assert_int_equal(count_in_output(busy, "done\n"), 128); /* two turns of 64 */
}

static void requests_that_end_the_turn_anyway_read_no_clock(void **state)
{
    (void)state;
    begin_with_work(0);
    struct fake_peer *peer = client();
    ask_in_one_tick(peer, GET("/work"));
    fake_sys_clear_trace();
    run_once();
    uint64_t idle = fake_sys_count(FAKE_NOW_NS);
    fake_sys_clear_trace();
    ask_in_one_tick(peer, GET("/work"));
    assert_int_equal(fake_sys_count(FAKE_NOW_NS), idle);
}

static void pipelined_handlers_read_the_clock_once_each(void **state)
{
    (void)state;
    begin_with_work(0);
    struct fake_peer *peer = client();
    run_once();
    fake_sys_clear_trace();
    run_once();
    uint64_t idle = fake_sys_count(FAKE_NOW_NS);
    fake_sys_clear_trace();
    pipeline(peer, GET("/work"), 16);
    run_once();
    assert_int_equal(count_in_output(peer, "done\n"), 16);
    assert_int_equal(fake_sys_count(FAKE_NOW_NS), idle + 16); /* at the start, and after each but the last */
}

static void pipelined_files_from_the_cache_read_no_clock(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    scene_begin();
    struct fake_peer *peer = client();
    ask_in_one_tick(peer, GET("/small"));
    fake_sys_advance_ms(10);
    run_once();
    fake_sys_clear_trace();
    run_once();
    uint64_t idle = fake_sys_count(FAKE_NOW_NS);
    fake_sys_clear_trace();
    pipeline(peer, GET("/small"), 16);
    run_once();
    assert_int_equal(fake_sys_count(FAKE_NOW_NS), idle);
}

static void listings_end_the_turn(void **state)
{
    (void)state;
    struct static_options options = {.list = true};
    char err[256];
    assert_int_equal(static_mounts_add(scene.site->default_host.mounts, "/list", scene.tree.path, &options, err,
                                       sizeof err),
                     0);
    scene_begin();
    struct fake_peer *busy = client();
    fake_sys_set_cost_ns(FAKE_OPEN_BENEATH, 10000000);
    pipeline(busy, HEAD("/list/"), 8);
    run_once();
    assert_int_equal(count_in_output(busy, "HTTP/1.1 200"), 2); /* one turn in the tick's I/O, one in its tasks */
    settle();
    assert_int_equal(count_in_output(busy, "HTTP/1.1 200"), 8);
}

/* The first of them begins the time: it is not known before that the disk must be asked. */
static void files_that_are_not_ready_end_the_turn(void **state)
{
    (void)state;
    scene_begin();
    batch[0] = '\0';
    for (int i = 0; i < 16; i++) {
        char name[16], request[64];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(request, sizeof request, GET("/f%d"), i);
        tree_add_filled(&scene.tree, name, 'f', 100);
        append(batch, request, 1);
    }
    struct fake_peer *busy = client();
    fake_sys_set_cost_ns(FAKE_OPEN_BENEATH, 10000000);
    fake_peer_send_text(busy, batch);
    run_once();
    assert_in_range(count_in_output(busy, "HTTP/1.1 200"), 2, 4);
    settle();
    assert_int_equal(count_in_output(busy, "HTTP/1.1 200"), 16);
}

/* Stopping. */

static void on_drained(void *arg, unsigned cut)
{
    *(int *)arg = (int)cut;
}

static void stop_leaves_what_has_arrived_to_turns_when_it_takes_long(void **state)
{
    (void)state;
    enum { CLIENTS = 10 };
    begin_with_work(6000000);
    struct fake_peer *kept[CLIENTS], *fresh[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        kept[i] = client();
        say(kept[i], GET("/hello"));
    }
    for (int i = 0; i < CLIENTS; i++) {
        fake_peer_send_text(kept[i], GET("/work"));
        fresh[i] = fake_peer_connect(scene.listener_fd);
        fake_peer_send_text(fresh[i], GET("/work"));
    }
    int cut = -1;
    int64_t before_ns = sys_now_ns();
    server_drain(scene.server, 60000, on_drained, &cut);
    assert_in_range(sys_now_ns() - before_ns, 6000000, 12000000); /* two of them */
    before_ns = sys_now_ns();
    run_once();
    assert_in_range(sys_now_ns() - before_ns, 6000000, 12000000);
    settle();
    assert_int_equal(cut, 0);
    for (int i = 0; i < CLIENTS; i++) {
        assert_string_equal(statuses(kept[i]), "200 200");
        assert_string_equal(statuses(fresh[i]), "200");
        assert_true(is_closed(kept[i]) && is_closed(fresh[i]));
    }
}

static void stop_ends_at_its_deadline_though_requests_take_long(void **state)
{
    (void)state;
    enum { CLIENTS = 40 };
    begin_with_work(6000000);
    struct fake_peer *peers[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        peers[i] = fake_peer_connect(scene.listener_fd);
        fake_peer_send_text(peers[i], GET("/work"));
    }
    int cut = -1;
    server_drain(scene.server, 50, on_drained, &cut);
    int64_t before_ns = sys_now_ns();
    settle();
    assert_in_range(sys_now_ns() - before_ns, 0, 100000000);
    assert_in_range(cut, 20, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        assert_true(is_closed(peers[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(slow_handler_ends_the_turn_at_once),
        SCENE_TEST(turn_ends_with_the_request_that_passes_its_time),
        SCENE_TEST(quick_handlers_have_the_budget_in_requests),
        SCENE_TEST(requests_that_end_the_turn_anyway_read_no_clock),
        SCENE_TEST(pipelined_handlers_read_the_clock_once_each),
        SCENE_TEST(pipelined_files_from_the_cache_read_no_clock),
        SCENE_TEST(listings_end_the_turn),
        SCENE_TEST(files_that_are_not_ready_end_the_turn),
        SCENE_TEST(stop_leaves_what_has_arrived_to_turns_when_it_takes_long),
        SCENE_TEST(stop_ends_at_its_deadline_though_requests_take_long),
    };
    return cmocka_run_group_tests_name("conn_turn", tests, NULL, NULL);
}
