/* Request bodies with a Content-Encoding on the fake kernel: what handlers of both kinds get, what is refused, and what
 * it costs others. */

#include "core/gunzip.h"
#include "http/decoded_body.h"
#include "tests/lib/gzip_texts.h"
#include "tests/lib/server_scene.h"

#define CODED "Content-Encoding: gzip\r\n"

static const char plain[] = "hello, hello, hello\n"; /* in gzip_hello */

static char seen_fields[100]; /* of the last request that took_fields had */

static void serve_fields(struct exchange *exchange, void *ctx)
{
    size_t len;
    (void)ctx;
    snprintf(seen_fields, sizeof seen_fields, "%s %s %s",
             exchange_field(exchange, "content-encoding", &len) ? "coding" : "-",
             exchange_known_field(exchange, FIELD_CONTENT_LENGTH, &len) ? "length" : "-",
             exchange_known_field(exchange, FIELD_CONTENT_TYPE, &len)
                 ? exchange_text(exchange, exchange->head.fields[exchange->head.first[FIELD_CONTENT_TYPE] - 1].value)
                 : "-");
    response_send(exchange, 200, NULL, exchange->body, exchange->body_len);
}

/* Takes its body piece by piece, gives the second half of each piece back, and responds with the length. */
static size_t taken, pieces, longest;
static char first_bytes[64];

static void take_pieces(struct exchange *exchange)
{
    const char *data;
    size_t len;
    int verdict;
    while ((verdict = exchange_read_body(exchange, &data, &len)) == BODY_DATA) {
        size_t used = len - len / 2;
        assert_in_range(len, 1, DECODED_BODY_PIECE);
        for (size_t i = 0; i < used && taken + i < sizeof first_bytes; i++) {
            first_bytes[taken + i] = data[i];
        }
        taken += used;
        pieces++;
        longest = len > longest ? len : longest;
        exchange_unread_body(exchange, len - used);
    }
    if (verdict != BODY_WAIT) {
        assert_int_equal(exchange_read_body(exchange, &data, &len), verdict); /* it says so again */
        response_error(exchange, verdict == BODY_END ? 500 : -verdict, exchange->body_reason);
    }
}

static void serve_pieces(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    taken = pieces = longest = 0;
    exchange->on_data = take_pieces;
    take_pieces(exchange);
}

static const struct handler whole = {.serve = serve_fields, .body_mode = BODY_WHOLE};
static const struct handler collects = {.serve = serve_body_back, .body_mode = BODY_STREAM};
static const struct handler takes = {.serve = serve_pieces, .body_mode = BODY_STREAM};
static const struct handler keeps = {.serve = serve_fields, .body_mode = BODY_WHOLE, .keeps_coding = true};
static const struct handler held_stream = {.serve = serve_held, .body_mode = BODY_STREAM};

static void begin(void)
{
    add_route(METHOD_POST, "/whole", &whole);
    add_route(METHOD_POST, "/collect", &collects);
    add_route(METHOD_POST, "/pieces", &takes);
    add_route(METHOD_POST, "/keep", &keeps);
    add_route(METHOD_POST, "/held", &held_stream);
    scene_begin();
}

/* Send a request with a body, cut at a position unless that is 0. */
static void post(struct fake_peer *peer, const char *path, const char *fields, const char *body, size_t len, size_t cut)
{
    char request[4096];
    int head = snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n", path,
                        fields, len);
    assert_true((size_t)head + len <= sizeof request);
    memcpy(request + head, body, len);
    fake_peer_send_split(peer, request, (size_t)head + len, cut == 0 ? 0 : (size_t)head + cut);
    settle();
}

static void post_chunked(struct fake_peer *peer, const char *path, const char *body, size_t len, size_t step)
{
    char chunk[4096];
    int head = snprintf(chunk, sizeof chunk,
                        "POST %s HTTP/1.1\r\nHost: a\r\n" CODED "Transfer-Encoding: chunked\r\n\r\n", path);
    fake_peer_send(peer, chunk, (size_t)head);
    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;
        head = snprintf(chunk, sizeof chunk, "%zx\r\n", part);
        memcpy(chunk + head, body + at, part);
        memcpy(chunk + head + part, "\r\n", 2);
        fake_peer_send(peer, chunk, (size_t)head + part + 2);
        settle();
    }
    fake_peer_send_text(peer, "0\r\n\r\n");
    settle();
}

#define HELLO gzip_hello, sizeof gzip_hello - 1
#define MANY  gzip_many, sizeof gzip_many - 1

static void handlers_get_what_was_encoded(void **state)
{
    (void)state;
    begin();
    static const char *const paths[] = {"/whole", "/collect", "/pieces"};
    for (size_t i = 0; i < 3; i++) {
        for (size_t cut = 0; cut < sizeof gzip_hello - 1; cut++) {
            struct fake_peer *peer = client();
            post(peer, paths[i], CODED, HELLO, cut);
            assert_true(i == 2 || output_has(peer, plain));
            assert_true(i < 2 || (taken == sizeof plain - 1 && memcmp(first_bytes, plain, taken) == 0));
            post_chunked(peer, paths[i], HELLO, cut + 1);
            say(peer, GET("/hello"));
            assert_string_equal(statuses(peer), i < 2 ? "200 200 200" : "500 500 200");
            fake_peer_close(peer);
            settle();
        }
    }
}

static void fields_that_tell_of_the_coding_are_gone(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    post(peer, "/whole", CODED "Content-Type: a/b\r\n", HELLO, 0);
    assert_memory_equal(seen_fields, "- - a/b", 7);
    post(peer, "/whole", "Content-Encoding: identity\r\nContent-Type: a/b\r\n", HELLO, 0);
    assert_memory_equal(seen_fields, "coding length a/b", 17);
    post(peer, "/keep", CODED "Content-Type: a/b\r\n", HELLO, 0);
    assert_memory_equal(seen_fields, "coding length a/b", 17);
    assert_int_equal(content_len(peer), sizeof plain - 1 + 2 * (sizeof gzip_hello - 1));
    post(peer, "/keep", "Content-Encoding: whatever\r\n", HELLO, 0);
    assert_string_equal(statuses(peer), "200 200 200 200");
}

static void names_of_codings_are_compared_without_case(void **state)
{
    (void)state;
    static const char *const good[] = {"GZip", "x-gzip", "identity, gzip", " , gzip ,",
                                       "gzip\r\nContent-Encoding: identity"};
    begin();
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct fake_peer *peer = client();
        char fields[100];
        snprintf(fields, sizeof fields, "Content-Encoding: %s\r\n", good[i]);
        post(peer, "/whole", fields, HELLO, 0);
        assert_true(output_has(peer, plain));
    }
}

static void other_codings_are_415_and_the_connection_goes_on(void **state)
{
    (void)state;
    static const char *const bad[] = {"compress", "deflate", "gzip, gzip", "gzip;q=1", "gzip\r\nContent-Encoding: gzip",
                                      "*"};
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fake_peer *peer = client();
        char fields[100];
        snprintf(fields, sizeof fields, "Content-Encoding: %s\r\n", bad[i]);
        post(peer, i % 2 == 0 ? "/whole" : "/collect", fields, HELLO, 5);
        say(peer, GET("/hello"));
        assert_string_equal(statuses(peer), "415 200");
        assert_true(output_has(peer, "Accept-Encoding: gzip"));
    }
}

static void client_that_waits_for_a_hundred_is_refused_at_once(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer,
        "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Encoding: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_string_equal(statuses(peer), "415");
    peer = client();
    say(peer, "POST /whole HTTP/1.1\r\nHost: a\r\n" CODED "Expect: 100-continue\r\nContent-Length: 37\r\n\r\n");
    assert_true(output_has(peer, "100 Continue"));
}

static void what_is_broken_or_cut_is_400(void **state)
{
    (void)state;
    static const char *const paths[] = {"/whole", "/collect", "/pieces"};
    begin();
    for (size_t i = 0; i < 3; i++) {
        for (size_t len = 1; len < sizeof gzip_hello - 1; len += 3) {
            struct fake_peer *peer = client();
            post(peer, paths[i], CODED, gzip_hello, len, 0);
            assert_string_equal(statuses(peer), "400");
            assert_true(fake_peer_saw_end(peer));
        }
        struct fake_peer *peer = client();
        post(peer, paths[i], CODED, plain, sizeof plain - 1, 0);
        assert_string_equal(statuses(peer), "400");
    }
}

static void empty_content_is_empty(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    post(peer, "/whole", CODED, "", 0, 0);
    post_chunked(peer, "/whole", "", 0, 1);
    post_chunked(peer, "/collect", "", 0, 1);
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(content_len(peer), 0);
}

static void max_body_holds_for_what_comes_out(void **state)
{
    (void)state;
    static const char *const paths[] = {"/whole", "/collect", "/pieces"};
    set_limit("max_body", 300000);
    begin();
    for (size_t i = 0; i < 3; i++) {
        struct fake_peer *peer = client();
        post(peer, paths[i], CODED, MANY, 0);
        assert_string_equal(statuses(peer), i < 2 ? "200" : "500");
        assert_true(i < 2 ? content_len(peer) == 300000 : taken == 300000 && longest == DECODED_BODY_PIECE);
    }
}

static void one_byte_more_is_413(void **state)
{
    (void)state;
    static const char *const paths[] = {"/whole", "/collect", "/pieces"};
    set_limit("max_body", 299999);
    begin();
    for (size_t i = 0; i < 3; i++) {
        struct fake_peer *peer = client();
        post(peer, paths[i], CODED, MANY, 0);
        assert_string_equal(statuses(peer), "413");
        assert_true(fake_peer_saw_end(peer));
        peer = client();
        post_chunked(peer, paths[i], MANY, 100);
        assert_string_equal(statuses(peer), "413");
    }
}

static int turns_between; /* calls of on_data for a body that was all there */

static void count_and_collect(struct exchange *exchange)
{
    turns_between++;
    int verdict = exchange_collect_body(exchange);
    if (verdict != BODY_WAIT) {
        response_send(exchange, 200, NULL, NULL, 0);
    }
}

static void serve_counted(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    turns_between = -1;
    exchange->on_data = count_and_collect;
    count_and_collect(exchange);
}

static void long_content_lets_others_have_their_turn(void **state)
{
    (void)state;
    static const struct handler counted = {.serve = serve_counted, .body_mode = BODY_STREAM};
    char twice[2 * sizeof gzip_many];
    size_t len = sizeof gzip_many - 1;
    memcpy(twice, gzip_many, len);
    memcpy(twice + len, gzip_many, len);
    add_route(METHOD_POST, "/counted", &counted);
    begin();
    struct fake_peer *peer = client();
    post(peer, "/counted", CODED, twice, 2 * len, 0);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(turns_between, 600000 / DECODED_BODY_TURN);
}

static void handler_that_asks_outside_of_a_turn_is_called_again(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    post(peer, "/held", CODED, MANY, 0);
    struct exchange *exchange = held[0].exchange;
    assert_int_equal(exchange_collect_body(exchange), BODY_WAIT);
    exchange->on_data = count_and_collect;
    turns_between = 0;
    settle();
    assert_int_equal(turns_between, 1);
    assert_string_equal(statuses(peer), "200");
}

static void as_many_are_decoded_as_the_limit_says(void **state)
{
    (void)state;
    set_limit("decode_streams", 2);
    begin();
    struct fake_peer *peers[3];
    for (int i = 0; i < 3; i++) {
        peers[i] = client();
        post(peers[i], i == 1 ? "/held" : "/hold-whole", CODED, gzip_hello, sizeof gzip_hello - 1, 5);
    }
    assert_string_equal(statuses(peers[2]), "503");
    assert_int_equal(held_count, 2);
    struct fake_peer *peer = client();
    post(peer, "/echo", "", "x", 1, 0);
    assert_string_equal(statuses(peer), "200");
    reply_held(0, "ok\n");
    fake_peer_reset(peers[1], ECONNRESET);
    settle();
    post(peers[0], "/whole", CODED, HELLO, 0);
    post(peer, "/whole", CODED, HELLO, 0);
    assert_string_equal(statuses(peers[0]), "200 200");
    assert_string_equal(statuses(peer), "200 200");
}

static void slow_body_is_408(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, "POST /whole HTTP/1.1\r\nHost: a\r\n" CODED "Content-Length: 37\r\n\r\n");
    pass_ms(30001);
    assert_string_equal(statuses(peer), "408");
}

static void client_that_leaves_takes_everything_along(void **state)
{
    (void)state;
    begin();
    static const char *const paths[] = {"/whole", "/collect", "/pieces", "/held"};
    for (size_t i = 0; i < 8; i++) {
        struct fake_peer *peer = client();
        post_chunked(peer, "/whole", HELLO, 40);
        say(peer, "POST ");
        say(peer, paths[i % 4]);
        say(peer, " HTTP/1.1\r\nHost: a\r\n" CODED "Content-Length: 37\r\n\r\n\x1f\x8b");
        if (i < 4) {
            fake_peer_reset(peer, ECONNRESET);
        } else {
            fake_peer_close(peer);
        }
        settle();
    }
    assert_int_equal(stats().connections, 0);
}

static void failing_allocations_are_503_or_the_end(void **state)
{
    (void)state;
    static const char *const paths[] = {"/whole", "/collect"};
    begin();
    for (size_t i = 0; i < 2; i++) {
        int failures = 0;
        for (uint64_t n = 1; n < 30; n++) {
            struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
            settle();
            fake_mem_fail_after(n, false);
            post(peer, paths[i], CODED, MANY, 100);
            failures += fake_mem_failed() ? 1 : 0;
            fake_mem_fail_after(0, false);
            bool is_answered = output_has(peer, "200 OK") || output_has(peer, "503 Service") ||
                               output_has(peer, "500 Internal"); /* the response has no room */
            assert_true(is_answered || is_closed(peer));
            fake_peer_close(peer);
            settle();
        }
        assert_true(failures >= 5);
    }
    assert_int_equal(stats().connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(handlers_get_what_was_encoded),
        SCENE_TEST(fields_that_tell_of_the_coding_are_gone),
        SCENE_TEST(names_of_codings_are_compared_without_case),
        SCENE_TEST(other_codings_are_415_and_the_connection_goes_on),
        SCENE_TEST(client_that_waits_for_a_hundred_is_refused_at_once),
        SCENE_TEST(what_is_broken_or_cut_is_400),
        SCENE_TEST(empty_content_is_empty),
        SCENE_TEST(max_body_holds_for_what_comes_out),
        SCENE_TEST(one_byte_more_is_413),
        SCENE_TEST(long_content_lets_others_have_their_turn),
        SCENE_TEST(handler_that_asks_outside_of_a_turn_is_called_again),
        SCENE_TEST(as_many_are_decoded_as_the_limit_says),
        SCENE_TEST(slow_body_is_408),
        SCENE_TEST(client_that_leaves_takes_everything_along),
        SCENE_TEST(failing_allocations_are_503_or_the_end),
    };
    if (!gunzip_is_there()) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests_name("decoded_body", tests, NULL, NULL);
}
