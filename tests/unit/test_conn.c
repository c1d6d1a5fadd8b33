/* The connection state machine, with the whole server around it, on the fake kernel: what a request costs, how answers
 * wait for slow clients, handlers that answer later, and what becomes of a connection that goes wrong. Deadlines are in
 * test_conn_deadline.c, limits on connections and the shutdown in test_server.c. */

#include "tests/lib/server_scene.h"

#include "http/file_cache.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

/* Costs. */

static uint64_t count_epoll_changes(void)
{
    return fake_sys_count(FAKE_EPOLL_ADD) + fake_sys_count(FAKE_EPOLL_MODIFY) + fake_sys_count(FAKE_EPOLL_DELETE);
}

/* Send text, and run one tick: the answer must be there. */
static void ask_in_one_tick(struct fake_peer *peer, const char *text)
{
    size_t before = output_len(peer);
    fake_peer_send_text(peer, text);
    run_once();
    assert_true(output_len(peer) > before);
}

static void assert_request_costs_one_recv_and_one_send(const char *request)
{
    enum { COUNT = 100 };
    struct fake_peer *peer = client();
    ask_in_one_tick(peer, request);
    fake_sys_clear_trace();
    uint64_t before = fake_sys_total();
    for (int i = 0; i < COUNT; i++) {
        ask_in_one_tick(peer, request);
    }
    assert_int_equal(fake_sys_count(FAKE_RECV), COUNT);
    assert_int_equal(fake_sys_count(FAKE_SEND), COUNT);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT), COUNT);
    assert_int_equal(fake_sys_total() - before, 3 * COUNT); /* and nothing else */
}

static void request_for_a_handler_costs_one_recv_and_one_send(void **state)
{
    (void)state;
    scene_begin();
    assert_request_costs_one_recv_and_one_send(GET("/hello"));
    assert_request_costs_one_recv_and_one_send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
}

static void request_for_a_small_file_costs_one_recv_and_one_send(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "small", 's', 1000);
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    scene_begin();
    assert_request_costs_one_recv_and_one_send(GET("/small"));
    assert_request_costs_one_recv_and_one_send(HEAD("/small"));
}

static void pipelined_requests_cost_one_recv_and_one_send_together(void **state)
{
    (void)state;
    enum { DEPTH = 16 };
    static const char request[] = GET("/hello");
    char batch[DEPTH * sizeof request] = "";
    scene_begin();
    for (int i = 0; i < DEPTH; i++) {
        strcat(batch, request);
    }
    struct fake_peer *peer = client();
    ask_in_one_tick(peer, batch);
    fake_peer_forget_output(peer);
    fake_sys_clear_trace();
    uint64_t before = fake_sys_total();
    for (int i = 0; i < 8; i++) {
        ask_in_one_tick(peer, batch);
    }
    assert_int_equal(fake_sys_count(FAKE_RECV), 8);
    assert_int_equal(fake_sys_count(FAKE_SEND), 8);
    assert_int_equal(fake_sys_total() - before, 8 * 3); /* and eight waits */
    assert_int_equal(count_in_output(peer, "hello\n"), 8 * DEPTH);
}

static void request_that_comes_with_the_connection_is_answered_in_the_tick_of_accept(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(peer, GET("/hello"));
    run_once();
    assert_string_equal(statuses(peer), "200");
}

static void connection_that_ends_with_its_first_request_is_never_watched(void **state)
{
    (void)state;
    scene_begin();
    fake_sys_clear_trace();
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(peer, GET_CLOSE("/hello"));
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_true(is_closed(peer));
    assert_int_equal(count_epoll_changes(), 0);
}

/* R7. */
static void thousand_requests_do_not_allocate(void **state)
{
    (void)state;
    static const char *const requests[] = {
        GET("/hello"),
        GET("/small"),
        GET("/large"),
        GET("/nowhere"),
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        GET("/hello") GET("/small") GET("/hello") GET("/small") GET("/hello") GET("/small") GET("/hello") GET("/small"),
    };
    tree_add_filled(&scene.tree, "small", 's', 1000);
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    tree_set_mtime(&scene.tree, "large", 784080000, 0);
    scene_begin();
    struct fake_peer *peer = client();
    for (size_t n = 0; n < sizeof requests / sizeof requests[0]; n++) {
        ask_in_one_tick(peer, requests[n]);
        settle();
        uint64_t before = fake_mem_calls();
        for (int i = 0; i < 1000; i++) {
            ask_in_one_tick(peer, requests[n]);
            fake_peer_forget_output(peer);
        }
        settle();
        if (fake_mem_calls() != before) {
            fail_msg("%d allocations for %s", (int)(fake_mem_calls() - before), requests[n]);
        }
    }
    assert_false(is_closed(peer));
}

/* R7, for clients that come anew for each request. */
static void thousand_connections_one_after_the_other_do_not_allocate(void **state)
{
    (void)state;
    scene_begin();
    uint64_t before = 0;
    for (int i = 0; i < 1010; i++) {
        before = i == 10 ? fake_mem_calls() : before;
        struct fake_peer *peer = client();
        say(peer, i % 2 == 0 ? GET_CLOSE("/hello") : "GET /hello HTTP/1.0\r\n\r\n");
        assert_string_equal(statuses(peer), "200");
        assert_true(is_closed(peer));
    }
    assert_int_equal(fake_mem_calls() - before, 0);
}

static void idle_connection_costs_at_most_256_bytes(void **state)
{
    (void)state;
    enum { COUNT = 1000, BYTES_MAX = 256 };
    static struct fake_peer *peers[COUNT];
    scene_begin();
    struct fake_peer *first = client();
    say(first, GET("/hello")); /* what all connections share is there now */
    size_t before = fake_mem_live_bytes();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = client();
        say(peers[i], GET("/hello"));
        assert_string_equal(statuses(peers[i]), "200");
    }
    size_t bytes = (fake_mem_live_bytes() - before) / COUNT;
    print_message("%zu bytes an idle connection\n", bytes);
    assert_in_range(bytes, 1, BYTES_MAX);
    for (int i = 0; i < COUNT; i++) {
        assert_false(is_closed(peers[i]));
    }
}

/* Bodies that are sent from where they are. */

static void file_stops_at_a_full_socket_and_resumes_on_writable(void **state)
{
    (void)state;
    enum { SIZE = 300000, ROOM = 100000 };
    tree_add_filled(&scene.tree, "large", 'l', SIZE);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, ROOM);
    fake_sys_clear_trace();
    say(peer, GET("/large"));
    assert_int_equal(output_len(peer), ROOM);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_MODIFY), 1); /* asks for WRITABLE, once */

    fake_sys_clear_trace();
    assert_int_equal(settle(), 0); /* no room: nobody tries */
    assert_int_equal(fake_sys_count(FAKE_SENDFILE), 0);

    fake_peer_add_room(peer, ROOM);
    settle();
    assert_int_equal(output_len(peer), 2 * ROOM);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_MODIFY), 0); /* still asked for */

    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), SIZE);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_MODIFY), 1); /* stops asking */
    assert_int_equal(settle(), 0);

    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
}

static void head_of_a_file_is_held_back_for_its_first_bytes(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_sys_clear_trace();
    say(peer, GET("/large"));
    size_t count;
    const struct fake_call *calls = fake_sys_trace(&count);
    int sends = 0;
    for (size_t i = 0; i < count; i++) {
        if (calls[i].op == FAKE_SEND) {
            sends++;
            assert_true(calls[i].more);
        }
    }
    assert_int_equal(sends, 1);
    assert_int_equal(fake_sys_count(FAKE_SENDFILE), 1);
}

static void full_socket_before_the_head_of_a_file_loses_nothing(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_window(peer, 7);
    fake_peer_send_text(peer, GET("/large") GET("/hello"));
    for (int i = 0; i < 20000; i++) {
        run_once();
    }
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), 100006);
}

static void file_truncated_while_it_is_sent_cuts_the_connection(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'x', 150000);
    assert_int_equal(file_cache_fd_count(scene.site->cache), 1);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_true(is_closed(peer));
    assert_in_range(output_len(peer), 100000, 150500);
    assert_int_equal(stats().lost, 1);
    assert_int_equal(stats().connections, 0);

    struct fake_peer *other = client();
    say(other, GET("/hello"));
    assert_string_equal(statuses(other), "200");
}

static void file_that_grows_while_it_is_sent_is_sent_as_announced(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 200000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'l', 400000);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), 200006);
}

static int releases;

static void count_release(void *arg)
{
    (void)arg;
    releases++;
}

static char borrowed_text[200000];

static void serve_borrowed(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    memset(borrowed_text, 'b', sizeof borrowed_text);
    response_send_borrowed(exchange, 200, "text/plain", borrowed_text, sizeof borrowed_text, count_release, NULL);
}

static const struct handler borrowing = {.serve = serve_borrowed};

static void borrowed_memory_is_released_when_its_last_byte_is_sent(void **state)
{
    (void)state;
    releases = 0;
    add_route(METHOD_GET, "/borrowed", &borrowing);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/borrowed") GET("/hello"));
    assert_int_equal(releases, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(releases, 1);
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), sizeof borrowed_text + 6);
}

static void borrowed_memory_is_released_when_the_client_is_lost(void **state)
{
    (void)state;
    releases = 0;
    add_route(METHOD_GET, "/borrowed", &borrowing);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/borrowed"));
    fake_peer_reset(peer, 0);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(releases, 1);
}

/* Slow clients. */

static int served;
static char filler[20000];

/* 20,000 bytes that are copied behind their head. */
static void serve_filler(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    served++;
    memset(filler, 'f', sizeof filler);
    response_send(exchange, 200, "text/plain", filler, sizeof filler);
}

static const struct handler filling = {.serve = serve_filler};

static void queue_above_the_high_mark_stops_parsing_until_it_has_gone_down(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    static const char request[] = GET("/filler");
    served = 0;
    add_route(METHOD_GET, "/filler", &filling);
    scene_begin(); /* high mark 65,536 */
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    for (int i = 0; i < COUNT; i++) {
        fake_peer_send(peer, request, sizeof request - 1); /* each in a segment of its own */
    }
    settle();
    assert_int_equal(served, 4); /* the fourth makes 80,000 bytes */
    assert_int_equal(output_len(peer), 0);
    assert_true(fake_peer_unread(peer) > 0);

    fake_sys_clear_trace();
    assert_int_equal(settle(), 0); /* what it has not read does not wake it */
    assert_int_equal(fake_sys_count(FAKE_RECV), 0);

    fake_peer_add_room(peer, 10000); /* 70,000 are left */
    settle();
    assert_int_equal(served, 4);
    fake_peer_add_room(peer, 10000);
    settle();
    assert_int_equal(served, 5);

    int rounds = 0;
    while (served < COUNT && rounds++ < 1000) {
        fake_peer_add_room(peer, 7000);
        settle();
    }
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(served, COUNT);
    assert_int_equal(content_len(peer), COUNT * sizeof filler);
    assert_false(is_closed(peer));
}

/* All requests in one segment: what waits is in the connection's own memory, and no event will tell of it. */
static void requests_that_were_read_already_are_answered_when_the_queue_has_gone_down(void **state)
{
    (void)state;
    static const char request[] = GET("/filler");
    char batch[10 * sizeof request] = "";
    served = 0;
    add_route(METHOD_GET, "/filler", &filling);
    scene_begin();
    for (int i = 0; i < 10; i++) {
        strcat(batch, request);
    }
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, batch);
    assert_int_equal(served, 4);
    assert_int_equal(fake_peer_unread(peer), 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(served, 10);
    assert_int_equal(content_len(peer), 10 * sizeof filler);
}

static void client_that_shuts_its_side_while_its_requests_wait_gets_all_answers(void **state)
{
    (void)state;
    static const char request[] = GET("/filler");
    char batch[10 * sizeof request] = "";
    served = 0;
    add_route(METHOD_GET, "/filler", &filling);
    scene_begin();
    for (int i = 0; i < 10; i++) {
        strcat(batch, request);
    }
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    fake_peer_send_text(peer, batch);
    fake_peer_shutdown(peer);
    settle();
    for (int i = 0; i < 100; i++) {
        fake_peer_add_room(peer, 5000);
        settle();
    }
    assert_int_equal(served, 10);
    assert_int_equal(content_len(peer), 10 * sizeof filler);
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

static int piece_count, first_full, verdict_at_end;

/* Writes without looking at the verdict until the client is gone. */
static void serve_flood(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    memset(filler, 'f', sizeof filler);
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    for (piece_count = 0, first_full = -1; piece_count < 1000; piece_count++) {
        verdict_at_end = response_write(exchange, filler, 1000);
        if (verdict_at_end == 0 && first_full < 0) {
            first_full = piece_count;
        }
        if (verdict_at_end < 0) {
            return;
        }
    }
}

static const struct handler flooding = {.serve = serve_flood};

static void stream_that_ignores_a_full_queue_is_cut_at_the_cap(void **state)
{
    (void)state;
    add_route(METHOD_GET, "/flood", &flooding);
    scene_begin(); /* high mark 65,536, cap 262,144 */
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/flood"));
    assert_int_equal(first_full, 65 - 1); /* 65 pieces are more than 65,536 bytes */
    assert_in_range(piece_count, 255, 262);
    assert_int_equal(verdict_at_end, -1);
    assert_true(is_closed(peer));
    assert_int_equal(stats().lost, 1);
    assert_int_equal(stats().connections, 0);
}

static void drain_is_told_when_the_queue_has_gone_down_by_half(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hold"));
    memset(filler, 'f', sizeof filler);
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, filler, 20000), 1);
    assert_int_equal(response_write(exchange, filler, 20000), 1);
    assert_int_equal(response_write(exchange, filler, 20000), 1);
    assert_int_equal(response_write(exchange, filler, 20000), 0);
    settle();
    assert_int_equal(held[0].drains, 0);
    fake_peer_add_room(peer, 40000);
    settle();
    assert_int_equal(held[0].drains, 0); /* 40,000 are left, half the high mark is 32,768 */
    fake_peer_add_room(peer, 10000);
    settle();
    assert_int_equal(held[0].drains, 1);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(held[0].drains, 1); /* once a time */
    response_end(exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 80000);
}

static void drain_is_told_though_the_socket_took_all_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    memset(filler, 'f', sizeof filler);
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    int rv = 1;
    while (rv == 1) {
        rv = response_write(held[0].exchange, filler, sizeof filler);
    }
    assert_int_equal(rv, 0);
    settle();
    assert_int_equal(held[0].drains, 1);
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
}

/* A stream that writes a piece whenever it is told to go on. */
static void write_on_drain(struct exchange *exchange)
{
    struct held *one = exchange->user;
    if (one->drains++ == 50) {
        one->exchange = NULL;
        response_end(exchange);
        return;
    }
    int rv = 1;
    while (rv == 1) {
        rv = response_write(exchange, filler, 10000);
    }
    assert_int_equal(rv, 0);
}

static void endless_stream_to_a_willing_client_leaves_others_their_turns(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    struct fake_peer *other = client();
    say(peer, GET("/hold"));
    held[0].exchange->on_drain = write_on_drain;
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    write_on_drain(held[0].exchange);
    run_once();
    int before = held[0].drains;
    ask_in_one_tick(other, GET("/hello"));
    assert_in_range(held[0].drains - before, 0, 2);
    settle();
    assert_int_equal(held[0].drains, 51);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 50 * 70000);
}

/* Handlers that answer later. */

static void answer_that_comes_later_keeps_its_place_among_pipelined_ones(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hold") GET("/hello") GET("/hold"));
    assert_string_equal(statuses(peer), "200"); /* what is ready does not wait */
    assert_int_equal(held_count, 1);
    reply_held(0, "first\n");
    assert_int_equal(held_count, 2);
    reply_held(1, "second\n");
    assert_string_equal(statuses(peer), "200 200 200 200");
    const char *output = fake_peer_output(peer, NULL);
    assert_true(strstr(output, "first\n") < strstr(output, "second\n"));
}

static void request_stays_readable_for_a_handler_that_answers_later(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /hold-whole?q=1 HTTP/1.1\r\nHost: a\r\nX-Word: kept\r\nContent-Length: 4\r\n\r\nbody");
    struct fake_peer *other = client();
    say(other,
        "POST /echo HTTP/1.1\r\nHost: b\r\nX-Word: other\r\nContent-Length: 5\r\n\r\nother"); /* same read block */
    struct exchange *exchange = held[0].exchange;
    size_t len;
    const char *value = exchange_field(exchange, "x-word", &len);
    assert_int_equal(len, 4);
    assert_memory_equal(value, "kept", 4);
    assert_int_equal(exchange->body_len, 4);
    assert_memory_equal(exchange->body, "body", 4);
    assert_string_equal(exchange->path, "/hold-whole");
    reply_held(0, "done\n");
    assert_string_equal(statuses(peer), "200");
}

static void handler_at_work_costs_no_epoll_change(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    for (int i = 0; i < HELD_MAX; i++) {
        fake_sys_clear_trace();
        say(peer, GET("/hold"));
        reply_held(i, "later\n");
        assert_int_equal(count_epoll_changes(), 0);
    }
    assert_int_equal(count_in_output(peer, "later\n"), HELD_MAX);
}

static void bytes_that_come_while_a_handler_works_stop_the_asking_for_readable(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_sys_clear_trace();
    say(peer, GET("/hello"));
    assert_int_equal(count_epoll_changes(), 1);
    say(peer, GET("/hello"));
    say(peer, GET("/hello"));
    assert_int_equal(count_epoll_changes(), 1); /* no more wake-ups */
    assert_int_equal(fake_sys_count(FAKE_RECV), 0);
    reply_held(0, "later\n");
    assert_int_equal(count_epoll_changes(), 2); /* asked for again, once */
    assert_string_equal(statuses(peer), "200 200 200 200");
    assert_int_equal(settle(), 0);
}

static void client_that_shuts_its_side_gets_the_answer_that_comes_later(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello") GET("/hold"));
    fake_peer_shutdown(peer);
    settle();
    assert_int_equal(held[0].gones, 0);
    fake_sys_clear_trace();
    assert_int_equal(settle(), 0); /* its end does not wake the loop for ever */
    reply_held(0, "later\n");
    assert_string_equal(statuses(peer), "200 200");
    assert_true(is_closed(peer));
}

static void gone_is_told_once_when_the_client_is_lost(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_peer_reset(peer, 0);
    settle();
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(peer));
    pass_ms(60000);
    assert_int_equal(held[0].gones, 1);
}

static void gone_is_not_told_after_the_answer_is_complete(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hold"));
    reply_held(0, "later\n");
    fake_peer_reset(peer, 0); /* before a byte of it is sent */
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 0);
}

static void answer_the_held(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    (void)arg;
    answer_held(0, "later\n");
}

/* The answer is complete, but the connection has not had its turn when the client turns out to be lost. */
static void gone_is_not_told_when_the_client_is_lost_in_the_tick_of_the_answer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    reactor_set_timeout(scene.reactor, 10, answer_the_held, NULL);
    fake_peer_reset(peer, 0);
    fake_sys_advance_ms(10);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 0);
}

static void gone_is_told_when_a_stream_is_cut_at_the_cap(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    while (response_write(held[0].exchange, filler, sizeof filler) >= 0) {
    }
    settle();
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(peer));
}

static void answers_before_one_that_is_cut_are_sent(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hello") GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", 10);
    response_write(held[0].exchange, "12345", 5);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    response_end(held[0].exchange); /* too short: the connection is cut */
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(count_in_output(peer, "hello\n"), 1);
    assert_true(output_has(peer, "Content-Length: 10\r\n\r\n12345"));
}

/* Bodies that nobody wants. */

static void unwanted_body_is_discarded_after_the_answer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    assert_int_equal(held_count, 1); /* it does not wait for the body */
    reply_held(0, "later\n");
    assert_string_equal(statuses(peer), "200");
    say(peer, "67890" GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
}

static void body_that_is_not_read_does_not_reset_the_answer(void **state)
{
    (void)state;
    set_limit("max_drain", 100);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    settle();
    reply_held(0, "no\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(fake_peer_saw_end(peer));
    for (int i = 0; i < 50; i++) {
        fake_peer_send(peer, filler, sizeof filler); /* it has not seen the answer yet */
        settle();
    }
    assert_closes_in_order(peer);
}

/* The connection was to close, and bytes had come that nobody read while the handler worked. */
static void bytes_that_come_after_the_last_request_do_not_reset_the_answer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET_CLOSE("/hold"));
    say(peer, GET("/hello"));
    reply_held(0, "last\n");
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer));
    assert_closes_in_order(peer);
}

/* The same while the answer is being sent. */
static void bytes_that_come_while_the_last_answer_is_sent_do_not_reset_it(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 200000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET_CLOSE("/large"));
    say(peer, GET("/hello"));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 200000);
    assert_false(fake_peer_saw_reset(peer));
}

/* Bytes that waited for their turn and were read then are no reason to linger at the end. */
static void bytes_that_were_read_later_do_not_delay_the_close(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    say(peer, GET_CLOSE("/hello"));
    reply_held(0, "first\n");
    assert_string_equal(statuses(peer), "200 200");
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

static void collected_body_is_not_touched_after_the_last_answer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345");
    say(peer, "67890 and more");
    assert_int_equal(output_len(peer), 10);
    uint64_t before = fake_mem_calls();
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(fake_mem_calls(), before);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "1234567890"));
}

/* R6. */

static void append(char *batch, const char *request, int count)
{
    size_t used = strlen(batch), len = strlen(request);
    for (int i = 0; i < count; i++) {
        memcpy(batch + used, request, len + 1);
        used += len;
    }
}

static char batch_text[1 << 20];

static void pipelining_client_gives_way_to_another_after_its_budget(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *busy = client();
    struct fake_peer *other = client();
    batch_text[0] = '\0';
    append(batch_text, GET("/hello"), 1000);
    fake_peer_send_text(busy, batch_text);
    fake_peer_send_text(other, GET("/hello"));
    fake_sys_clear_trace();
    run_once();
    assert_string_equal(statuses(other), "200");
    assert_in_range(count_in_output(busy, "hello\n"), 64, 128); /* one turn in the tick's I/O, one in its tasks */
    fake_peer_send_text(other, GET("/hello"));
    run_once();
    assert_string_equal(statuses(other), "200 200");
    assert_in_range(count_in_output(busy, "hello\n"), 128, 256);
    settle();
    assert_int_equal(count_in_output(busy, "hello\n"), 1000);
    assert_int_equal(count_epoll_changes(), 0);
}

static void client_that_shuts_its_side_after_more_than_a_turn_gets_all_answers(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    scene_begin();
    struct fake_peer *peer = client();
    batch_text[0] = '\0';
    append(batch_text, GET("/hello"), COUNT);
    fake_peer_send_text(peer, batch_text);
    fake_peer_shutdown(peer);
    settle();
    assert_int_equal(count_in_output(peer, "hello\n"), COUNT);
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

/* Requests are read no faster than they are answered. */
static void client_that_pipelines_without_end_does_not_grow_the_server(void **state)
{
    (void)state;
    enum { SEGMENTS = 64, BYTES_MAX = 300000 };
    scene_begin();
    struct fake_peer *peer = client();
    batch_text[0] = '\0';
    append(batch_text, GET("/hello"), 2000); /* 64,000 bytes: about one read */
    size_t len = strlen(batch_text);
    say(peer, batch_text);
    fake_peer_forget_output(peer);
    size_t before = fake_mem_live_bytes();
    size_t most = before;
    for (int i = 0; i < SEGMENTS; i++) {
        fake_peer_send(peer, batch_text, len);
    }
    while (fake_peer_unread(peer) > 0) {
        run_once();
        most = fake_mem_live_bytes() > most ? fake_mem_live_bytes() : most;
    }
    settle();
    print_message("%zu bytes at most\n", most - before);
    assert_in_range(most - before, 1, BYTES_MAX);
    assert_int_equal(count_in_output(peer, "hello\n"), SEGMENTS * 2000);
    assert_int_equal(fake_mem_live_bytes(), before);
}

static void large_file_gives_way_after_its_budget(void **state)
{
    (void)state;
    enum { SIZE = 5000000 };
    tree_add_filled(&scene.tree, "huge", 'h', SIZE);
    scene_begin();
    struct fake_peer *busy = client();
    struct fake_peer *other = client();
    fake_peer_send_text(busy, GET("/huge"));
    run_once();
    assert_in_range(output_len(busy), 1 << 20, (1 << 20) + 1000);
    fake_peer_send_text(other, GET("/hello"));
    run_once();
    assert_string_equal(statuses(other), "200");
    assert_in_range(output_len(busy), 2 << 20, (2 << 20) + 1000);
    settle();
    assert_string_equal(statuses(busy), "200");
    assert_in_range(output_len(busy), SIZE, SIZE + 1000);
}

/* Odd ends. */

static void client_lost_while_it_is_sent_to_takes_nobody_along(void **state)
{
    (void)state;
    static const int errors[] = {-ECONNRESET, -EPIPE, -ETIMEDOUT, -EHOSTUNREACH};
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    scene_begin();
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct fake_peer *other = client();
        struct fake_peer *peer = client();
        fake_sys_fail_op(FAKE_SEND, 0, 1, errors[i]);
        say(peer, GET("/hello"));
        assert_true(is_closed(peer));
        peer = client();
        fake_sys_fail_op(FAKE_SENDFILE, 0, 1, errors[i]);
        say(peer, GET("/large"));
        assert_true(is_closed(peer));
        peer = client();
        fake_sys_fail_op(FAKE_RECV, 0, 1, errors[i]);
        say(peer, GET("/hello"));
        assert_true(is_closed(peer));
        say(other, GET("/hello"));
        assert_string_equal(statuses(other), "200");
        assert_int_equal(stats().lost, 3 * (i + 1));
    }
}

static void interrupted_calls_are_made_again(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    add_route(METHOD_GET, "/borrowed", &borrowing);
    scene_begin();
    struct fake_peer *peer = client();
    fake_sys_fail_op(FAKE_RECV, 0, 2, -EINTR);
    fake_sys_fail_op(FAKE_SEND, 0, 2, -EINTR);
    fake_sys_fail_op(FAKE_SENDFILE, 0, 2, -EINTR);
    fake_sys_fail_op(FAKE_SENDV, 0, 2, -EINTR);
    say(peer, GET("/hello") GET("/large") GET("/borrowed"));
    assert_string_equal(statuses(peer), "200 200 200");
}

static void bytes_read_in_small_portions_are_one_request(void **state)
{
    (void)state;
    scene_begin();
    fake_sys_set_recv_max(3);
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
}

static void head_at_its_limits_is_kept_however_it_arrives(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    batch_text[0] = '\0';
    strcat(batch_text, "GET /hello?");
    append(batch_text, "q", 8000);
    strcat(batch_text, " HTTP/1.1\r\nHost: a\r\nX: ");
    append(batch_text, "x", 16000);
    strcat(batch_text, "\r\n\r\n");
    size_t live = fake_mem_live();
    fake_peer_send_in_pieces(peer, batch_text, strlen(batch_text), 100);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_in_range(fake_mem_live(), 1, live + 2); /* the exchange and what it learned, in the pool */
}

static void peer_is_told_as_text(void **state)
{
    (void)state;
    char text[64];
    scene_begin();
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(40312), .sin_addr.s_addr = htonl(0xc0000201)};
    fake_peer_set_address(peer, (struct sockaddr *)&in, sizeof in);
    say(peer, GET("/hold"));
    exchange_peer(held[0].exchange, text, sizeof text);
    assert_string_equal(text, "192.0.2.1:40312");

    peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    fake_peer_set_address(peer, (struct sockaddr *)&in6, sizeof in6);
    say(peer, GET("/hold"));
    exchange_peer(held[1].exchange, text, sizeof text);
    assert_string_equal(text, "[::1]:1");

    peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr un = {.sa_family = AF_UNIX};
    fake_peer_set_address(peer, &un, sizeof un.sa_family);
    say(peer, GET("/hold"));
    exchange_peer(held[2].exchange, text, sizeof text);
    assert_string_equal(text, "unix:");
}

static void numbers_add_up(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    scene_begin();
    struct fake_peer *peer = client();
    struct fake_peer *other = client();
    static const char requests[] = GET("/hello") GET("/nowhere") GET("/large") "BAD\r\n\r\n";
    say(peer, requests);
    assert_string_equal(statuses(peer), "200 404 200 400");
    struct server_stats numbers = stats();
    assert_int_equal(numbers.accepted, 2);
    assert_int_equal(numbers.connections, 2); /* one of them lingers */
    assert_int_equal(numbers.requests, 4);
    assert_int_equal(numbers.by_class[2], 2);
    assert_int_equal(numbers.by_class[4], 2);
    assert_int_equal(numbers.bytes_received, sizeof requests - 1);
    assert_int_equal(numbers.bytes_sent, output_len(peer));
    assert_int_equal(numbers.lost, 0);
    assert_int_equal(numbers.timeouts, 0);
    fake_peer_shutdown(peer);
    fake_peer_shutdown(other);
    settle();
    assert_int_equal(stats().connections, 0);
    assert_int_equal(stats().lost, 0); /* nobody was */
}

static void registration_that_the_kernel_refuses_closes_the_connection(void **state)
{
    (void)state;
    scene_begin();
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -ENOSPC);
    struct fake_peer *peer = client();
    assert_true(is_closed(peer));
    peer = client();
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(request_for_a_handler_costs_one_recv_and_one_send),
        SCENE_TEST(request_for_a_small_file_costs_one_recv_and_one_send),
        SCENE_TEST(pipelined_requests_cost_one_recv_and_one_send_together),
        SCENE_TEST(request_that_comes_with_the_connection_is_answered_in_the_tick_of_accept),
        SCENE_TEST(connection_that_ends_with_its_first_request_is_never_watched),
        SCENE_TEST(thousand_requests_do_not_allocate),
        SCENE_TEST(thousand_connections_one_after_the_other_do_not_allocate),
        SCENE_TEST(idle_connection_costs_at_most_256_bytes),
        SCENE_TEST(file_stops_at_a_full_socket_and_resumes_on_writable),
        SCENE_TEST(head_of_a_file_is_held_back_for_its_first_bytes),
        SCENE_TEST(full_socket_before_the_head_of_a_file_loses_nothing),
        SCENE_TEST(file_truncated_while_it_is_sent_cuts_the_connection),
        SCENE_TEST(file_that_grows_while_it_is_sent_is_sent_as_announced),
        SCENE_TEST(borrowed_memory_is_released_when_its_last_byte_is_sent),
        SCENE_TEST(borrowed_memory_is_released_when_the_client_is_lost),
        SCENE_TEST(queue_above_the_high_mark_stops_parsing_until_it_has_gone_down),
        SCENE_TEST(requests_that_were_read_already_are_answered_when_the_queue_has_gone_down),
        SCENE_TEST(client_that_shuts_its_side_while_its_requests_wait_gets_all_answers),
        SCENE_TEST(stream_that_ignores_a_full_queue_is_cut_at_the_cap),
        SCENE_TEST(drain_is_told_when_the_queue_has_gone_down_by_half),
        SCENE_TEST(drain_is_told_though_the_socket_took_all_at_once),
        SCENE_TEST(endless_stream_to_a_willing_client_leaves_others_their_turns),
        SCENE_TEST(answer_that_comes_later_keeps_its_place_among_pipelined_ones),
        SCENE_TEST(request_stays_readable_for_a_handler_that_answers_later),
        SCENE_TEST(handler_at_work_costs_no_epoll_change),
        SCENE_TEST(bytes_that_come_while_a_handler_works_stop_the_asking_for_readable),
        SCENE_TEST(client_that_shuts_its_side_gets_the_answer_that_comes_later),
        SCENE_TEST(gone_is_told_once_when_the_client_is_lost),
        SCENE_TEST(gone_is_not_told_after_the_answer_is_complete),
        SCENE_TEST(gone_is_not_told_when_the_client_is_lost_in_the_tick_of_the_answer),
        SCENE_TEST(gone_is_told_when_a_stream_is_cut_at_the_cap),
        SCENE_TEST(answers_before_one_that_is_cut_are_sent),
        SCENE_TEST(unwanted_body_is_discarded_after_the_answer),
        SCENE_TEST(body_that_is_not_read_does_not_reset_the_answer),
        SCENE_TEST(bytes_that_come_after_the_last_request_do_not_reset_the_answer),
        SCENE_TEST(bytes_that_come_while_the_last_answer_is_sent_do_not_reset_it),
        SCENE_TEST(bytes_that_were_read_later_do_not_delay_the_close),
        SCENE_TEST(collected_body_is_not_touched_after_the_last_answer),
        SCENE_TEST(pipelining_client_gives_way_to_another_after_its_budget),
        SCENE_TEST(client_that_shuts_its_side_after_more_than_a_turn_gets_all_answers),
        SCENE_TEST(client_that_pipelines_without_end_does_not_grow_the_server),
        SCENE_TEST(large_file_gives_way_after_its_budget),
        SCENE_TEST(client_lost_while_it_is_sent_to_takes_nobody_along),
        SCENE_TEST(interrupted_calls_are_made_again),
        SCENE_TEST(bytes_read_in_small_portions_are_one_request),
        SCENE_TEST(head_at_its_limits_is_kept_however_it_arrives),
        SCENE_TEST(peer_is_told_as_text),
        SCENE_TEST(numbers_add_up),
        SCENE_TEST(registration_that_the_kernel_refuses_closes_the_connection),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
