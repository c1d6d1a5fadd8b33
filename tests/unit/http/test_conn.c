/* The connection state machine, with the whole server around it, on the fake kernel: what a request costs, handlers
 * that answer later, and what becomes of a connection that goes wrong. How answers wait for slow clients is in
 * test_conn_write.c, bodies are in test_conn_body.c, deadlines in test_conn_deadline.c, limits on connections and the
 * shutdown in test_server.c. */

#include "http/peer.h"
#include "tests/lib/server_scene.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

static char filler[20000]; /* content that nobody looks at */

/* Costs. */

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

/* Whether the last change of a registration asked for edges. There was one. */
static bool is_edge_triggered(void)
{
    size_t count;
    const struct fake_call *trace = fake_sys_trace(&count);
    while (trace[count - 1].op != FAKE_EPOLL_ADD && trace[count - 1].op != FAKE_EPOLL_MODIFY) {
        assert_true(--count > 0);
    }
    return (trace[count - 1].arg & (int64_t)EPOLLET) != 0;
}

static void connection_that_waits_for_requests_is_edge_triggered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    assert_true(is_edge_triggered());
    fake_sys_clear_trace();
    for (int i = 0; i < 3; i++) {
        fake_peer_send_split(peer, GET("/hello"), strlen(GET("/hello")), 7);
        settle();
    }
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(count_epoll_changes(), 0);
}

/* Only of TCP is a read that does not fill its buffer known to have emptied the socket. */
static void connection_of_a_unix_socket_is_level_triggered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr un = {.sa_family = AF_UNIX};
    fake_peer_set_address(peer, &un, sizeof un.sa_family);
    settle();
    assert_false(is_edge_triggered());
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
}

static void reads_that_fill_the_buffer_are_told_by_level_until_the_connection_is_idle(void **state)
{
    (void)state;
    enum { BODY = 200000 }; /* some reads, and one turn to answer */
    static char request[BODY + 200];
    scene_begin();
    struct fake_peer *peer = client();
    int head = snprintf(request, sizeof request, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(request + head, 'b', BODY);
    fake_sys_clear_trace();
    fake_peer_send(peer, request, (size_t)head + BODY / 2);
    settle();
    assert_false(is_edge_triggered());
    assert_int_equal(count_epoll_changes(), 1);
    fake_peer_send(peer, request + head, BODY / 2);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_true(is_edge_triggered());
    assert_int_equal(count_epoll_changes(), 2);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(count_epoll_changes(), 2);
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
    enum { BUDGET = 256 << 10, SIZE = 10000000 };
    tree_add_filled(&scene.tree, "huge", 'h', SIZE);
    scene_begin();
    struct fake_peer *busy = client();
    struct fake_peer *other = client();
    fake_peer_send_text(busy, GET("/huge"));
    run_once();
    assert_in_range(output_len(busy), BUDGET, BUDGET + 1000);
    fake_peer_send_text(other, GET("/hello"));
    run_once();
    assert_string_equal(statuses(other), "200");
    assert_in_range(output_len(busy), 2 * BUDGET, 2 * BUDGET + 1000);
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
    peer_format(held[0].exchange->peer, text, sizeof text);
    assert_string_equal(text, "192.0.2.1:40312");

    peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    fake_peer_set_address(peer, (struct sockaddr *)&in6, sizeof in6);
    say(peer, GET("/hold"));
    peer_format(held[1].exchange->peer, text, sizeof text);
    assert_string_equal(text, "[::1]:1");

    peer = fake_peer_connect(scene.listener_fd);
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
    memcpy(&in6.sin6_addr, mapped, sizeof mapped);
    fake_peer_set_address(peer, (struct sockaddr *)&in6, sizeof in6);
    say(peer, GET("/hold"));
    peer_format(held[2].exchange->peer, text, sizeof text);
    assert_string_equal(text, "192.0.2.1:1"); /* it came over IPv4 to a listener of both families */

    peer = fake_peer_connect(scene.listener_fd);
    struct sockaddr un = {.sa_family = AF_UNIX};
    fake_peer_set_address(peer, &un, sizeof un.sa_family);
    say(peer, GET("/hold"));
    peer_format(held[3].exchange->peer, text, sizeof text);
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
        SCENE_TEST(connection_that_waits_for_requests_is_edge_triggered),
        SCENE_TEST(connection_of_a_unix_socket_is_level_triggered),
        SCENE_TEST(reads_that_fill_the_buffer_are_told_by_level_until_the_connection_is_idle),
        SCENE_TEST(request_that_comes_with_the_connection_is_answered_in_the_tick_of_accept),
        SCENE_TEST(connection_that_ends_with_its_first_request_is_never_watched),
        SCENE_TEST(thousand_requests_do_not_allocate),
        SCENE_TEST(thousand_connections_one_after_the_other_do_not_allocate),
        SCENE_TEST(idle_connection_costs_at_most_256_bytes),
        SCENE_TEST(answer_that_comes_later_keeps_its_place_among_pipelined_ones),
        SCENE_TEST(request_stays_readable_for_a_handler_that_answers_later),
        SCENE_TEST(handler_at_work_costs_no_epoll_change),
        SCENE_TEST(bytes_that_come_while_a_handler_works_stop_the_asking_for_readable),
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
        SCENE_TEST(bytes_read_in_small_portions_are_one_request),
        SCENE_TEST(head_at_its_limits_is_kept_however_it_arrives),
        SCENE_TEST(peer_is_told_as_text),
        SCENE_TEST(numbers_add_up),
        SCENE_TEST(registration_that_the_kernel_refuses_closes_the_connection),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
