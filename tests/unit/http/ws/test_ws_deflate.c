/* http/ws/ws_deflate.c: messages there and back, with context and without, its memory, and what many connections
 * share. */

#include "core/deflater.h"
#include "core/inflater.h"
#include "http/ws/ws_deflate.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MEMORY = 200 * 1024 };

static char words[70000]; /* of which messages are parts */

static struct ws_codecs *codecs;

static int set_up(void **state)
{
    (void)state;
    size_t at = 0;
    for (unsigned n = 0; at < sizeof words - 16; n++) {
        at += (size_t)snprintf(words + at, sizeof words - at, "{\"n\":%u},", n * n % 977);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_null(codecs); /* it went with its last connection */
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static struct ws_deflate *open_deflate(const char *value, struct ws_deflate_terms *terms)
{
    struct ws_offer offer = {0};
    struct ws_deflate *deflate;
    assert_true(ws_extension_read(&offer, value, strlen(value)) && offer.is_there);
    assert_int_equal(ws_deflate_create(&deflate, &codecs, MEMORY, &offer, terms), 0);
    return deflate;
}

/* The client's side of what we send: an inflater, NULL for one message alone. */
static void assert_client_reads(struct inflater *kept, const char *in, size_t len, const char *text, size_t text_len)
{
    static char out[sizeof words];
    struct inflater *inflater = kept;
    const char *tail = "\0\0\xff\xff";
    size_t tail_len = 4;
    if (kept == NULL) {
        assert_int_equal(inflater_create(&inflater, 15), 0);
    }
    ssize_t got = inflater_run(inflater, &in, &len, out, sizeof out);
    assert_in_range(got, 0, sizeof out);
    assert_int_equal(inflater_run(inflater, &tail, &tail_len, out + got, sizeof out - (size_t)got),
                     text_len - (size_t)got);
    assert_true(inflater_is_whole(inflater));
    assert_memory_equal(out, text, text_len);
    if (kept == NULL) {
        inflater_destroy(inflater);
    }
}

/* Inflate a piece as a reader does. Returns the length, or -errno. */
static ssize_t read_piece(struct ws_deflate *deflate, const char *in, size_t len, bool ends, size_t out_step, char *out)
{
    size_t got = 0;
    ssize_t rv = 0;
    while (rv >= 0 && (len > 0 || rv == (ssize_t)out_step)) {
        rv = ws_deflate_inflate(deflate, &in, &len, ends, out + got, out_step);
        got += rv > 0 ? (size_t)rv : 0;
    }
    return rv < 0 ? rv : (ssize_t)got;
}

/* The same with a message, in pieces. */
static ssize_t read_message(struct ws_deflate *deflate, const char *bytes, size_t len, size_t in_step, size_t out_step,
                            char *out)
{
    ssize_t got = 0;
    ssize_t rv = 0;
    for (size_t at = 0; rv >= 0 && at < len; at += in_step) {
        rv = read_piece(deflate, bytes + at, len - at < in_step ? len - at : in_step, false, out_step, out + got);
        got += rv;
    }
    if (rv >= 0) {
        rv = read_piece(deflate, "\0\0\xff\xff", 4, true, out_step, out + got);
        got += rv;
    }
    return rv < 0 ? rv : got;
}

static void messages_are_inflated_however_they_come(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00"; /* RFC 7692 section 7.2.3.1 */
    static const char final[] = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    struct ws_deflate_terms terms;
    char out[32];
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct ws_deflate *deflate = open_deflate(keeps ? "permessage-deflate"
                                                        : "permessage-deflate; client_no_context_takeover",
                                                  &terms);
        for (size_t in_step = 1; in_step <= 8; in_step++) {
            for (size_t out_step = 1; out_step <= 6; out_step++) {
                assert_int_equal(read_message(deflate, hello, 7, in_step, out_step, out), 5);
                assert_memory_equal(out, "Hello", 5);
                assert_int_equal(read_message(deflate, final, 8, in_step, out_step, out), 5);
                assert_memory_equal(out, "Hello", 5);
                assert_int_equal(read_message(deflate, "\0", 1, in_step, out_step, out), 0);
                assert_int_equal(read_message(deflate, "", 0, in_step, out_step, out), 0);
            }
        }
        ws_deflate_destroy(deflate);
    }
}

static void only_with_context_a_message_refers_to_the_one_before(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00", again[] = "\xf2\x00\x11\x00\x00";
    struct ws_deflate_terms terms;
    char out[32];
    (void)state;
    struct ws_deflate *deflate = open_deflate("permessage-deflate", &terms);
    assert_int_equal(read_message(deflate, hello, 7, 7, 20, out), 5);
    assert_int_equal(read_message(deflate, again, 5, 5, 20, out), 5);
    ws_deflate_destroy(deflate);
    deflate = open_deflate("permessage-deflate; client_no_context_takeover", &terms);
    assert_int_equal(read_message(deflate, hello, 7, 7, 20, out), 5);
    assert_int_equal(read_message(deflate, again, 5, 5, 20, out), -EPROTO);
    ws_deflate_destroy(deflate);
}

static void a_message_that_ends_within_a_block_is_rejected(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07";
    struct ws_deflate_terms terms;
    char out[32];
    (void)state;
    for (size_t len = 1; len <= 6; len++) {
        struct ws_deflate *deflate = open_deflate("permessage-deflate", &terms);
        assert_int_equal(read_message(deflate, hello, len, 1, 20, out), -EPROTO);
        ws_deflate_destroy(deflate);
    }
}

static void parts_of_messages_of_many_connections_come_in_turns(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00";
    enum { COUNT = 9 };
    struct ws_deflate *deflates[COUNT];
    struct ws_deflate_terms terms;
    char out[COUNT][32];
    size_t got[COUNT] = {0};
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        deflates[i] = open_deflate("permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                                   &terms);
    }
    assert_int_equal(ws_codecs_reserved(codecs), 0);
    for (size_t at = 0; at < 7; at++) {
        for (size_t i = 0; i < COUNT; i++) {
            got[i] += (size_t)read_piece(deflates[i], hello + at, 1, false, 20, out[i] + got[i]);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        got[i] += (size_t)read_piece(deflates[i], "\0\0\xff\xff", 4, true, 20, out[i] + got[i]);
        assert_int_equal(got[i], 5);
        assert_memory_equal(out[i], "Hello", 5);
        ws_deflate_destroy(deflates[i]);
    }
}

static void messages_are_compressed_for_every_window(void **state)
{
    static const size_t lens[] = {256, 300, 4000, 40000, sizeof words - 32};
    struct ws_deflate_terms terms;
    const char *out;
    (void)state;
    for (int forgets = 0; forgets < 2; forgets++) {
        for (int bits = 9; bits <= 15; bits++) {
            char offer[128];
            struct inflater *client;
            snprintf(offer, sizeof offer, "permessage-deflate; server_max_window_bits=%d%s", bits,
                     forgets ? "; server_no_context_takeover" : "");
            struct ws_deflate *deflate = open_deflate(offer, &terms);
            assert_int_equal(inflater_create(&client, (unsigned)bits), 0); /* a larger distance is an error */
            for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
                size_t len = ws_deflate_message(deflate, words, lens[i], &out);
                assert_in_range(len, 1, lens[i] - 1);
                assert_client_reads(client, out, len, words, lens[i]);
            }
            inflater_destroy(client);
            ws_deflate_destroy(deflate);
        }
    }
}

/* Bytes that do not get shorter. */
static void fill_noise(char *noise, size_t len)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525U + 1013904223U;
        noise[i] = (char)(seed >> 24);
    }
}

static void what_does_not_get_shorter_is_sent_as_it_is_and_not_referred_to(void **state)
{
    char noise[1000];
    struct ws_deflate_terms terms;
    struct inflater *client;
    const char *out;
    (void)state;
    fill_noise(noise, sizeof noise);
    struct ws_deflate *deflate = open_deflate("permessage-deflate", &terms);
    assert_int_equal(inflater_create(&client, 15), 0);
    size_t len = ws_deflate_message(deflate, words, 1000, &out);
    assert_client_reads(client, out, len, words, 1000);
    assert_int_equal(ws_deflate_message(deflate, noise, sizeof noise, &out), 0);
    memcpy(noise, words, 500); /* half of it could refer to what the client has not seen */
    len = ws_deflate_message(deflate, noise, sizeof noise, &out);
    assert_in_range(len, 1, sizeof noise - 1);
    assert_client_reads(client, out, len, noise, sizeof noise);
    assert_int_equal(ws_deflate_message(deflate, "", 0, &out), 0);
    inflater_destroy(client);
    ws_deflate_destroy(deflate);
}

static void a_shared_message_goes_between_those_of_a_connection(void **state)
{
    struct ws_deflate_terms terms;
    struct inflater *client;
    const char *out;
    (void)state;
    struct ws_deflate *deflate = open_deflate("permessage-deflate", &terms);
    assert_int_equal(inflater_create(&client, 15), 0);
    for (size_t i = 0; i < 4; i++) {
        size_t len = ws_deflate_message(deflate, words + i, 3000, &out);
        assert_client_reads(client, out, len, words + i, 3000);
        len = ws_deflate_shared(codecs, words + 20000, 20000, &out);
        assert_true(ws_deflate_takes_shared(deflate));
        assert_client_reads(client, out, len, words + 20000, 20000);
        assert_client_reads(NULL, out, len, words + 20000, 20000);
    }
    inflater_destroy(client);
    ws_deflate_destroy(deflate);
    deflate = open_deflate("permessage-deflate; server_max_window_bits=14", &terms);
    assert_false(ws_deflate_takes_shared(deflate));
    ws_deflate_destroy(deflate);
}

static void contexts_are_kept_up_to_the_budget_and_come_back_to_it(void **state)
{
    enum { COUNT = 8 };
    struct ws_deflate *deflates[COUNT];
    struct ws_deflate_terms terms;
    size_t each = deflater_memory(12) + inflater_memory(12);
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        deflates[i] = open_deflate("permessage-deflate; client_max_window_bits", &terms);
        assert_int_equal(terms.server_keeps, i < MEMORY / each);
        assert_int_equal(terms.client_keeps, i < MEMORY / each);
    }
    assert_int_equal(ws_codecs_reserved(codecs), MEMORY / each * each);
    ws_deflate_destroy(deflates[0]);
    deflates[0] = open_deflate("permessage-deflate; client_max_window_bits", &terms);
    assert_true(terms.server_keeps);
    for (size_t i = 0; i < COUNT; i++) {
        ws_deflate_destroy(deflates[i]);
    }
}

static void a_connection_without_context_holds_nothing_between_messages(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00";
    struct ws_deflate_terms terms;
    const char *sent;
    char out[32];
    (void)state;
    struct ws_deflate *one = open_deflate("permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                                          &terms);
    assert_int_equal(read_message(one, hello, 7, 7, 20, out), 5);
    assert_true(ws_deflate_message(one, words, 1000, &sent) > 0);
    size_t before = fake_mem_live_bytes();
    for (int i = 0; i < 3; i++) {
        struct ws_deflate *other =
            open_deflate("permessage-deflate; client_no_context_takeover; server_no_context_takeover", &terms);
        size_t own = fake_mem_live_bytes() - before;
        assert_in_range(own, 1, 64);
        assert_int_equal(read_message(other, hello, 7, 7, 20, out), 5);
        assert_true(ws_deflate_message(other, words, 1000, &sent) > 0);
        assert_int_equal(fake_mem_live_bytes() - before, own);
        ws_deflate_destroy(other);
    }
    ws_deflate_destroy(one);
}

static void a_large_block_for_output_is_given_back(void **state)
{
    struct ws_deflate_terms terms;
    const char *out;
    (void)state;
    struct ws_deflate *deflate = open_deflate("permessage-deflate", &terms);
    assert_true(ws_deflate_message(deflate, words, 1000, &out) > 0);
    size_t before = fake_mem_live_bytes();
    assert_true(ws_deflate_message(deflate, words, sizeof words - 32, &out) > 0);
    assert_true(ws_deflate_message(deflate, words, 1000, &out) > 0);
    assert_int_equal(fake_mem_live_bytes(), before);
    ws_deflate_destroy(deflate);
}

/* Clients that begin messages of zeros and do not end them. */
static void unfinished_messages_swell_to_a_limit_together(void **state)
{
    enum { MESSAGE = 1 << 20, MOST = 100 };
    static char zeros[MESSAGE], out[MESSAGE + 1], bomb[8192];
    struct ws_deflate *deflates[MOST];
    struct ws_deflate_terms terms;
    struct deflater *deflater;
    size_t count = 0;
    ssize_t got = 0;
    (void)state;
    assert_int_equal(deflater_create(&deflater, 15), 0);
    ssize_t len = deflater_run(deflater, zeros, sizeof zeros, bomb, sizeof bomb);
    assert_in_range(len, 1, sizeof bomb);
    for (; got >= 0 && count < MOST; count++) {
        deflates[count] = open_deflate("permessage-deflate; client_no_context_takeover", &terms);
        got = read_piece(deflates[count], bomb, (size_t)len - DEFLATE_TAIL, false, sizeof out, out);
    }
    assert_int_equal(got, -ENOMEM);
    size_t least = WS_SWELL_MAX_BYTES / MESSAGE, each = MESSAGE - WS_SWELL_FREE_BYTES - WS_SWELL_TIMES * sizeof bomb;
    assert_in_range(count, least, WS_SWELL_MAX_BYTES / each + 2);
    /* Messages that hardly swell go on, and so do all others when one has ended. */
    struct ws_deflate *honest = open_deflate("permessage-deflate", &terms);
    assert_int_equal(read_message(honest, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 7, 20, out), 5);
    assert_int_equal(read_piece(deflates[0], "\0\0\xff\xff", 4, true, sizeof out, out), 0);
    ws_deflate_destroy(deflates[1]);
    assert_int_equal(read_message(honest, bomb, (size_t)len - DEFLATE_TAIL, sizeof bomb, sizeof out, out), MESSAGE);
    ws_deflate_destroy(honest);
    ws_deflate_destroy(deflates[0]);
    for (size_t i = 2; i < count; i++) {
        ws_deflate_destroy(deflates[i]);
    }
    deflater_destroy(deflater);
}

static void without_memory_messages_go_as_they_are_and_none_is_inflated(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07\x00";
    static const char *const offers[] = {"permessage-deflate",
                                         "permessage-deflate; client_no_context_takeover; server_no_context_takeover"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint64_t n = 0;
        do {
            struct ws_offer offer = {0};
            struct ws_deflate_terms terms;
            struct ws_deflate *deflate;
            const char *sent;
            char out[32];
            assert_true(ws_extension_read(&offer, offers[i], strlen(offers[i])));
            fake_mem_fail_after(++n, false);
            int rv = ws_deflate_create(&deflate, &codecs, MEMORY, &offer, &terms);
            if (rv < 0) {
                assert_int_equal(rv, -ENOMEM);
                continue;
            }
            size_t len = ws_deflate_message(deflate, words, 1000, &sent);
            assert_true(len > 0 || fake_mem_failed());
            ssize_t got = read_message(deflate, hello, 7, 7, 20, out);
            assert_true(got == 5 || (fake_mem_failed() && got == -ENOMEM));
            ws_deflate_destroy(deflate);
        } while (fake_mem_failed());
        fake_mem_fail_after(0, false);
    }
    ws_deflate_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_are_inflated_however_they_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_with_context_a_message_refers_to_the_one_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_ends_within_a_block_is_rejected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_of_messages_of_many_connections_come_in_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_are_compressed_for_every_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_get_shorter_is_sent_as_it_is_and_not_referred_to, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_shared_message_goes_between_those_of_a_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contexts_are_kept_up_to_the_budget_and_come_back_to_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_connection_without_context_holds_nothing_between_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_block_for_output_is_given_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unfinished_messages_swell_to_a_limit_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_messages_go_as_they_are_and_none_is_inflated, set_up, tear_down),
    };
    if (!ws_deflate_is_there()) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
