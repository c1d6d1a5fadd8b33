/* Streams whose pieces are sent from where they are: order, framing, what counts as queued, and that each piece is
 * released once, whatever the end. A whole server on the fake kernel; a test writes to the stream that its request
 * began. */

#include "tests/lib/server_scene.h"

#include "http/h1/h1.h"
#include "http/h1/h1_refs.h"

enum { PIECES_MAX = 400, CONTENT_MAX = 1 << 20 };

/* The stream. */
static struct exchange *stream; /* NULL when it is over */
static int64_t stream_length;   /* that is announced */
static int drains;

/* What was written: a run of bytes that never repeats at short distance, so that a gap or a swap shows. */
static char content[CONTENT_MAX];
static size_t written;

/* Pieces, and how often each of them was released. */
static int released[PIECES_MAX];
static int pieces;

static void on_release(void *arg)
{
    int *count = arg;
    ++*count;
}

static void on_drain(struct exchange *exchange)
{
    assert_ptr_equal(exchange, stream);
    drains++;
}

static void on_gone(struct exchange *exchange)
{
    assert_ptr_equal(exchange, stream);
    stream = NULL;
}

static void serve_stream(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    stream = exchange;
    exchange->on_drain = on_drain;
    exchange->on_gone = on_gone;
    response_begin(exchange, 200, NULL, stream_length);
}

static const struct handler streaming = {.serve = serve_stream};

/* A client whose request has begun the stream, and that takes room bytes at first. */
static struct fake_peer *begin(const char *request, int64_t room)
{
    if (scene.server == NULL) {
        add_route(METHOD_GET, "/stream", &streaming);
        scene_begin();
    }
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (char)(i * 2654435761U >> 13);
    }
    memset(released, 0, sizeof released);
    pieces = drains = 0;
    written = 0;
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, room);
    say(peer, request);
    assert_non_null(stream);
    return peer;
}

static struct fake_peer *begin_chunked(int64_t room)
{
    stream_length = RESPONSE_LENGTH_UNKNOWN;
    return begin(GET("/stream"), room);
}

static int write_ref(size_t len)
{
    assert_true(pieces < PIECES_MAX && written + len <= CONTENT_MAX);
    int rv = response_write_borrowed(stream, content + written, len, on_release, &released[pieces++]);
    written += rv < 0 ? 0 : len;
    return rv;
}

static int write_copy(size_t len)
{
    int rv = response_write(stream, content + written, len);
    written += rv < 0 ? 0 : len;
    return rv;
}

static void end_stream(void)
{
    stream->on_gone = NULL;
    response_end(stream);
    stream = NULL;
}

static void abort_stream(void)
{
    stream->on_gone = NULL;
    response_abort(stream);
    stream = NULL;
}

static void assert_all_released(void)
{
    for (int i = 0; i < pieces; i++) {
        if (released[i] != 1) {
            fail_msg("piece %d of %d was released %d times", i, pieces, released[i]);
        }
    }
}

static int count_released(void)
{
    int count = 0;
    for (int i = 0; i < pieces; i++) {
        count += released[i];
    }
    return count;
}

/* The content that a client got, its chunks put together. Returns its length. */
static size_t take_content(const struct fake_peer *peer, char *to)
{
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    const char *end = output + len;
    const char *at = memmem(output, len, "\r\n\r\n", 4);
    assert_non_null(at);
    bool is_chunked = memmem(output, (size_t)(at - output), "chunked", 7) != NULL;
    at += 4;
    if (!is_chunked) {
        memcpy(to, at, (size_t)(end - at));
        return (size_t)(end - at);
    }
    size_t got = 0, size = 1;
    while (size > 0) {
        char *line_end;
        assert_true(at < end);
        size = strtoul(at, &line_end, 16);
        assert_memory_equal(line_end, "\r\n", 2);
        at = line_end + 2;
        assert_true(size + 2 <= (size_t)(end - at));
        memcpy(to + got, at, size);
        got += size;
        at += size;
        assert_memory_equal(at, "\r\n", 2);
        at += 2;
    }
    assert_ptr_equal(at, end);
    return got;
}

static void assert_arrived(const struct fake_peer *peer)
{
    static char got[CONTENT_MAX];
    assert_int_equal(take_content(peer, got), written);
    assert_memory_equal(got, content, written);
}

static void short_content_is_copied_and_long_content_is_not(void **state)
{
    (void)state;
    struct fake_peer *peer = begin_chunked(0);
    assert_int_equal(write_ref(REF_COPY_MAX), 1);
    assert_int_equal(released[0], 1);
    assert_int_equal(write_ref(REF_COPY_MAX + 1), 1);
    assert_int_equal(write_ref(0), 1); /* nothing to send */
    assert_int_equal(released[2], 1);
    settle();
    assert_int_equal(released[1], 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(released[1], 1); /* though the stream goes on */
    assert_int_equal(write_copy(10), 1);
    end_stream();
    settle();
    assert_arrived(peer);
    assert_all_released();
}

static void pieces_that_wait_leave_in_one_system_call(void **state)
{
    (void)state;
    struct fake_peer *peer = begin_chunked(FAKE_NO_LIMIT);
    fake_sys_clear_trace();
    for (int i = 0; i < 4; i++) {
        write_ref(5000);
        write_copy(100);
    }
    settle();
    assert_int_equal(fake_sys_count(FAKE_SENDV), 1);
    assert_int_equal(fake_sys_count(FAKE_SEND), 0);
    assert_all_released();
    end_stream();
    settle();
    assert_arrived(peer);
}

static void borrowed_bytes_hold_the_stream_up_and_drain(void **state)
{
    (void)state;
    set_limit("write_high_mark", 20000);
    set_limit("write_cap", 40000);
    struct fake_peer *peer = begin_chunked(0);
    assert_int_equal(write_ref(10000), 1);
    assert_int_equal(write_copy(5000), 1);
    assert_int_equal(write_ref(10000), 0);
    settle();
    assert_int_equal(drains, 0);
    fake_peer_add_room(peer, 10000);
    settle();
    assert_int_equal(drains, 0);
    fake_peer_add_room(peer, 10000); /* less than half of the mark is left */
    settle();
    assert_int_equal(drains, 1);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    end_stream();
    settle();
    assert_arrived(peer);
    assert_all_released();
}

static void a_client_that_owes_more_than_the_cap_is_cut(void **state)
{
    (void)state;
    set_limit("write_high_mark", 20000);
    set_limit("write_cap", 40000);
    struct fake_peer *peer = begin_chunked(0);
    size_t head_len = write_buffer_len(&h1_of(stream)->out);
    assert_int_equal(write_ref(20000), 0);
    size_t left = 40000 - head_len - (size_t)(20000 + 8) -
                  20; /* two framings: "4e20\r\n" and "\r\n", and room for one */
    assert_int_equal(write_ref(left), 0);
    assert_int_equal(released[0] + released[1], 0);
    assert_int_equal(write_ref(5000), -1);
    assert_int_equal(released[2], 1);
    settle();
    assert_true(is_closed(peer));
    assert_all_released();
    peer = begin_chunked(0);
    assert_int_equal(write_ref(40001), -1); /* by itself */
    settle();
    assert_true(is_closed(peer));
    assert_all_released();
}

static void pieces_beyond_those_that_may_be_in_line_are_copied(void **state)
{
    (void)state;
    set_limit("write_cap", CONTENT_MAX);
    set_limit("write_high_mark", CONTENT_MAX / 2);
    struct fake_peer *peer = begin_chunked(0);
    for (int i = 0; i < 1 + REFS_MAX; i++) {
        write_ref(REF_COPY_MAX + 1);
    }
    assert_int_equal(count_released(), 0);
    write_ref(REF_COPY_MAX + 1);
    assert_int_equal(count_released(), 1);
    assert_int_equal(released[1 + REFS_MAX], 1);
    fake_peer_add_room(peer, 2 * REF_COPY_MAX);
    settle();
    assert_int_equal(count_released(), 2);
    write_ref(REF_COPY_MAX + 1); /* behind bytes that were copied */
    assert_int_equal(count_released(), 2);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    end_stream();
    settle();
    assert_arrived(peer);
    assert_all_released();
}

static void more_than_announced_is_refused_and_released(void **state)
{
    (void)state;
    stream_length = 30000;
    struct fake_peer *peer = begin(GET("/stream"), 0);
    assert_int_equal(write_ref(20000), 1);
    assert_int_equal(write_ref(10001), -1);
    assert_int_equal(released[1], 1);
    settle();
    assert_true(is_closed(peer));
    assert_all_released();
}

static void head_and_what_is_given_up_release_at_once(void **state)
{
    (void)state;
    stream_length = RESPONSE_LENGTH_UNKNOWN;
    struct fake_peer *peer = begin(HEAD("/stream"), FAKE_NO_LIMIT);
    assert_int_equal(write_ref(10000), 1);
    assert_all_released();
    end_stream();
    settle();
    assert_true(output_has(peer, "HTTP/1.1 200 "));

    peer = begin_chunked(0);
    write_ref(10000);
    write_ref(10000);
    abort_stream();
    settle();
    assert_true(is_closed(peer));
    assert_all_released();
}

static uint64_t random_state = 1;

static size_t random_below(size_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % limit;
}

/* Write pieces of all sorts until the stream is full or has gone. */
static void write_some(void)
{
    int rv = 1;
    while (stream != NULL && rv == 1 && pieces < PIECES_MAX && written < CONTENT_MAX / 2) {
        size_t len = 1 + random_below(random_below(4) == 0 ? 20000 : 6000);
        rv = random_below(3) == 0 ? write_copy(len) : write_ref(len);
        if (random_below(4) == 0) {
            break;
        }
    }
}

static void any_mixture_arrives_in_order_at_any_pace(void **state)
{
    (void)state;
    static const int64_t lengths[] = {RESPONSE_LENGTH_UNKNOWN, RESPONSE_LENGTH_UNKNOWN, CONTENT_MAX};
    static const char *const requests[] = {GET("/stream"), "GET /stream HTTP/1.0\r\n\r\n", GET("/stream")};
    for (int round = 0; round < 60; round++) {
        stream_length = lengths[round % 3];
        struct fake_peer *peer = begin(requests[round % 3], 1);
        bool is_cut = round % 3 == 2 || round % 7 == 0;
        for (int i = 0; i < 12; i++) {
            write_some();
            settle();
            fake_peer_add_room(peer, (int64_t)(1 + random_below(30000)));
            settle();
        }
        if (is_cut) {
            fake_peer_reset(peer, ECONNRESET);
            settle();
            assert_null(stream);
        } else {
            fake_peer_set_room(peer, FAKE_NO_LIMIT);
            end_stream();
            settle();
            assert_arrived(peer);
        }
        assert_all_released();
    }
}

/* Each allocation fails once, and from each one on. */
static void without_memory_each_piece_is_still_released_once(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 60; n++) {
        struct fake_peer *peer = begin_chunked(3000);
        fake_mem_fail_after(1 + n / 2, n % 2 == 0);
        for (int i = 0; i < 6 && stream != NULL; i++) {
            int rv = i % 3 == 2 ? write_copy(3000) : write_ref(6000);
            if (rv < 0) {
                abort_stream();
            }
            run_once();
            fake_peer_add_room(peer, 4000);
        }
        fake_mem_fail_after(0, false);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        if (stream != NULL) {
            end_stream();
            settle();
            if (!is_closed(peer)) {
                assert_arrived(peer);
            }
        }
        settle();
        assert_all_released();
    }
}

static void releases_come_with_the_server_too(void **state)
{
    (void)state;
    begin_chunked(0);
    write_ref(10000);
    write_ref(10000);
    settle();
    assert_int_equal(count_released(), 0);
    server_destroy(scene.server);
    scene.server = NULL;
    assert_all_released();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(short_content_is_copied_and_long_content_is_not),
        SCENE_TEST(pieces_that_wait_leave_in_one_system_call),
        SCENE_TEST(borrowed_bytes_hold_the_stream_up_and_drain),
        SCENE_TEST(a_client_that_owes_more_than_the_cap_is_cut),
        SCENE_TEST(pieces_beyond_those_that_may_be_in_line_are_copied),
        SCENE_TEST(more_than_announced_is_refused_and_released),
        SCENE_TEST(head_and_what_is_given_up_release_at_once),
        SCENE_TEST(any_mixture_arrives_in_order_at_any_pace),
        SCENE_TEST(without_memory_each_piece_is_still_released_once),
        SCENE_TEST(releases_come_with_the_server_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
