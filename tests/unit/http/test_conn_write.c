/* Connections on the fake kernel: how answers go out, whole, in pieces, from where they are, to clients that are
 * slow. */

#include "tests/lib/server_scene.h"

#include "http/file_cache.h"

#include <errno.h>

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

/* A write(2) that appends sets the time of the file first, and its size at the end. */
static struct fake_peer *begin_file_whose_time_changes(void)
{
    tree_add_filled(&scene.tree, "large", 'l', 200000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_set_mtime(&scene.tree, "large", 784111777, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    for (int i = 0; i < 10; i++) {
        run_once();
        assert_int_equal(output_len(peer), 100000); /* in doubt, nothing is sent */
        fake_sys_advance_ms(9);
    }
    assert_false(is_closed(peer));
    return peer;
}

static void file_seen_in_the_middle_of_an_append_is_sent_as_announced(void **state)
{
    (void)state;
    struct fake_peer *peer = begin_file_whose_time_changes();
    tree_add_filled(&scene.tree, "large", 'l', 204000);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), 200006);
}

static void file_whose_time_has_changed_and_nothing_else_cuts_the_connection(void **state)
{
    (void)state;
    struct fake_peer *peer = begin_file_whose_time_changes();
    fake_sys_advance_ms(20); /* no append takes that long: it may have been rewritten in its middle */
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 100000);
}

static void file_rewritten_while_it_is_sent_cuts_the_connection(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'o', 200000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'n', 200000);
    tree_set_mtime(&scene.tree, "large", 784111777, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 100000); /* one version, and cut */
    peer = client();
    say(peer, GET("/large"));
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 200000);
}

static void file_rewritten_longer_while_it_is_sent_cuts_the_connection(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'o', 200000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'n', 400000);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 100000);
}

/* Some file systems know no sendfile(2). */
static void file_that_the_kernel_does_not_send_is_read(void **state)
{
    (void)state;
    static const int errors[] = {-EINVAL, -ENOSYS, -EOPNOTSUPP};
    static const int64_t windows[] = {FAKE_NO_LIMIT, 50000, 777};
    enum { SIZE = 200000 };
    char *content = malloc(SIZE);
    assert_non_null(content);
    for (size_t i = 0; i < SIZE; i++) {
        content[i] = (char)(i * 7 + i / 251);
    }
    scene_begin();
    for (size_t i = 0; i < 3; i++) {
        char name[16];
        char request[64];
        snprintf(name, sizeof name, "large%zu", i);
        snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", name);
        tree_write(&scene.tree, name, content, SIZE);
        fake_sys_fail_op(FAKE_SENDFILE, 0, 1, errors[i]);
        uint64_t tried = fake_sys_count(FAKE_SENDFILE);
        struct fake_peer *peer = client();
        fake_peer_set_window(peer, windows[i]);
        say(peer, request);
        size_t most = 0; /* of what is held in memory: a piece of the file at a time */
        for (int turn = 0; turn < 600; turn++) {
            run_once();
            most = fake_mem_live_bytes() > most ? fake_mem_live_bytes() : most;
        }
        assert_in_range(most, 1, fake_mem_live_bytes() + 150000);
        say(peer, GET("/hello"));
        for (int turn = 0; turn < 10; turn++) {
            run_once();
        }
        assert_string_equal(statuses(peer), "200 200");
        assert_int_equal(content_len(peer), SIZE + 6);
        size_t len = 0;
        const char *output = fake_peer_output(peer, &len);
        assert_non_null(memmem(output, len, content, SIZE));
        assert_int_equal(fake_sys_count(FAKE_SENDFILE), tried + 1); /* it is not asked again for this file */
        fake_peer_close(peer);
        settle();
    }
    free(content);
}

static void file_that_is_read_and_truncated_cuts_the_connection(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    fake_sys_fail_op(FAKE_SENDFILE, 0, FAKE_FOREVER, -EINVAL);
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'x', 110000);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_true(is_closed(peer));
    assert_in_range(output_len(peer), 100000, 150000);
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

static void serve_pieces(struct exchange *exchange, void *ctx)
{
    response_send_borrowed(exchange, 200, "text/plain", borrowed_text, *(size_t *)ctx, count_release, NULL);
}

/* At the size of a piece and one byte past it: one call, and two. */
static void contents_are_sent_in_pieces(void **state)
{
    (void)state;
    enum { MEMORY_PIECE = 64 << 10, FILE_PIECE = 256 << 10 };
    tree_add_filled(&scene.tree, "one", 'f', FILE_PIECE);
    tree_add_filled(&scene.tree, "two", 'f', FILE_PIECE + 1);
    static size_t size;
    static const struct handler pieces = {.serve = serve_pieces, .ctx = &size};
    add_route(METHOD_GET, "/pieces", &pieces);
    scene_begin();
    struct fake_peer *peer = client();
    for (size_t more = 0; more < 2; more++) {
        size = MEMORY_PIECE + more;
        fake_sys_clear_trace();
        say(peer, GET("/pieces"));
        assert_int_equal(fake_sys_count(FAKE_SENDV), 1); /* with the head before it */
        assert_int_equal(fake_sys_count(FAKE_SEND), more);
        say(peer, more == 0 ? GET("/one") : GET("/two"));
        assert_int_equal(fake_sys_count(FAKE_SENDFILE), 1 + more);
    }
    assert_string_equal(statuses(peer), "200 200 200 200");
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

/* News for everybody. */

static void write_to_all(struct reactor *reactor, void *arg)
{
    (void)reactor;
    for (int i = 0; i < held_count; i++) {
        assert_int_equal(response_write(held[i].exchange, arg, strlen(arg)), 1);
        assert_int_equal(response_write(held[i].exchange, arg, strlen(arg)), 1);
    }
}

static void news_for_many_streams_cost_a_send_each_and_no_more(void **state)
{
    (void)state;
    char news[] = "data: what has happened\n\n";
    scene_begin();
    struct fake_peer *peers[HELD_MAX];
    for (int i = 0; i < HELD_MAX; i++) {
        peers[i] = client();
        say(peers[i], GET("/hold"));
        response_begin(held[i].exchange, 200, "text/event-stream", RESPONSE_LENGTH_UNKNOWN);
    }
    settle();
    size_t bytes_before = fake_mem_live_bytes();
    uint64_t allocations = fake_mem_calls();
    fake_sys_clear_trace();
    assert_int_equal(reactor_post(scene.reactor, write_to_all, news), 0);
    run_once(); /* all is queued */
    assert_int_equal(fake_sys_count(FAKE_SEND), 0);
    assert_true(fake_mem_live_bytes() - bytes_before <= HELD_MAX * 512); /* what short news take */
    run_once();                                                          /* all is sent */
    assert_int_equal(fake_sys_count(FAKE_SEND), HELD_MAX);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT), 2);
    assert_int_equal(count_epoll_changes(), 0);
    assert_true(fake_mem_calls() - allocations <= HELD_MAX + 1);
    assert_int_equal(fake_mem_live_bytes(), bytes_before);
    for (int i = 0; i < HELD_MAX; i++) {
        assert_int_equal(count_in_output(peers[i], news), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(file_stops_at_a_full_socket_and_resumes_on_writable),
        SCENE_TEST(head_of_a_file_is_held_back_for_its_first_bytes),
        SCENE_TEST(full_socket_before_the_head_of_a_file_loses_nothing),
        SCENE_TEST(file_truncated_while_it_is_sent_cuts_the_connection),
        SCENE_TEST(file_that_grows_while_it_is_sent_is_sent_as_announced),
        SCENE_TEST(file_seen_in_the_middle_of_an_append_is_sent_as_announced),
        SCENE_TEST(file_whose_time_has_changed_and_nothing_else_cuts_the_connection),
        SCENE_TEST(file_rewritten_while_it_is_sent_cuts_the_connection),
        SCENE_TEST(file_rewritten_longer_while_it_is_sent_cuts_the_connection),
        SCENE_TEST(file_that_the_kernel_does_not_send_is_read),
        SCENE_TEST(file_that_is_read_and_truncated_cuts_the_connection),
        SCENE_TEST(borrowed_memory_is_released_when_its_last_byte_is_sent),
        SCENE_TEST(contents_are_sent_in_pieces),
        SCENE_TEST(borrowed_memory_is_released_when_the_client_is_lost),
        SCENE_TEST(queue_above_the_high_mark_stops_parsing_until_it_has_gone_down),
        SCENE_TEST(requests_that_were_read_already_are_answered_when_the_queue_has_gone_down),
        SCENE_TEST(client_that_shuts_its_side_while_its_requests_wait_gets_all_answers),
        SCENE_TEST(stream_that_ignores_a_full_queue_is_cut_at_the_cap),
        SCENE_TEST(drain_is_told_when_the_queue_has_gone_down_by_half),
        SCENE_TEST(drain_is_told_though_the_socket_took_all_at_once),
        SCENE_TEST(endless_stream_to_a_willing_client_leaves_others_their_turns),
        SCENE_TEST(interrupted_calls_are_made_again),
        SCENE_TEST(news_for_many_streams_cost_a_send_each_and_no_more),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
