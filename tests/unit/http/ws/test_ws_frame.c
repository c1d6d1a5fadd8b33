/* http/ws/ws_frame.c: heads of frames. Each row is parsed with every number of its bytes, flush against a page that
 * must not be touched. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/ws/ws_frame.h"
#include "tests/lib/guard_page.h"

static struct guarded guarded;

static int set_up(void **state)
{
    (void)state;
    guarded_init(&guarded);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guarded_done(&guarded);
    return 0;
}

#define BYTES(text) (text), sizeof(text) - 1

static void whole_heads_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        struct ws_frame frame;
    } rows[] = {
        {BYTES("\x81\x85\x01\x02\x03\x04"), {5, {1, 2, 3, 4}, WS_OP_TEXT, true, false}},
        {BYTES("\x02\x80\x00\x00\x00\x00"), {0, {0}, WS_OP_BINARY, false, false}},
        {BYTES("\xc1\xfd\xff\xff\xff\xff"), {125, {255, 255, 255, 255}, WS_OP_TEXT, true, true}},
        {BYTES("\x42\xfe\x00\x7e\x01\x02\x03\x04"), {126, {1, 2, 3, 4}, WS_OP_BINARY, false, true}},
        {BYTES("\x80\xfe\xff\xff\x01\x02\x03\x04"), {65535, {1, 2, 3, 4}, WS_OP_CONTINUATION, true, false}},
        {BYTES("\x00\xff\0\0\0\0\0\x01\0\0\x01\x02\x03\x04"), {65536, {1, 2, 3, 4}, WS_OP_CONTINUATION, false, false}},
        {BYTES("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04"),
         {INT64_MAX, {1, 2, 3, 4}, WS_OP_BINARY, true, false}},
        {BYTES("\x88\xfd\x01\x02\x03\x04"), {125, {1, 2, 3, 4}, WS_OP_CLOSE, true, false}},
        {BYTES("\x89\x80\x01\x02\x03\x04"), {0, {1, 2, 3, 4}, WS_OP_PING, true, false}},
        {BYTES("\x8a\x81\x01\x02\x03\x04"), {1, {1, 2, 3, 4}, WS_OP_PONG, true, false}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= rows[i].size; len++) {
            struct ws_frame frame;
            const char *why = NULL;
            int rv = ws_frame_parse(&frame, true, guarded_at_end(&guarded, rows[i].bytes, len), len, &why);
            assert_int_equal(rv, len < rows[i].size ? 0 : (int)len);
            assert_null(why);
            if (rv > 0) {
                assert_int_equal(frame.len, rows[i].frame.len);
                assert_memory_equal(frame.mask, rows[i].frame.mask, 4);
                assert_int_equal(frame.opcode, rows[i].frame.opcode);
                assert_int_equal(frame.is_final, rows[i].frame.is_final);
                assert_int_equal(frame.is_deflated, rows[i].frame.is_deflated);
            }
        }
    }
}

/* The byte that is wrong is reported as soon as it is there, and as the same when more has come. */
static void malformed_heads_are_rejected_at_the_first_wrong_byte(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        size_t at; /* index of the wrong byte */
        bool allows_rsv1;
        const char *why;
    } rows[] = {
        {BYTES("\xc1\x80\0\0\0\0"), 0, false, "RSV1 is set, but no compression was agreed on"},
        {BYTES("\xc9\x80\0\0\0\0"), 0, true, "RSV1 is set in a frame that does not begin a message"},
        {BYTES("\xc0\x80\0\0\0\0"), 0, true, "RSV1 is set in a frame that does not begin a message"},
        {BYTES("\xa1\x80\0\0\0\0"), 0, true, "a reserved bit (RSV2, RSV3) is set"},
        {BYTES("\x91\x80\0\0\0\0"), 0, true, "a reserved bit (RSV2, RSV3) is set"},
        {BYTES("\x83\x80\0\0\0\0"), 0, false, "unknown opcode"},
        {BYTES("\x87\x80\0\0\0\0"), 0, false, "unknown opcode"},
        {BYTES("\x8b\x80\0\0\0\0"), 0, false, "unknown opcode"},
        {BYTES("\x8f\x80\0\0\0\0"), 0, false, "unknown opcode"},
        {BYTES("\x09\x80\0\0\0\0"), 0, false, "fragmented control frame"},
        {BYTES("\x08\x80\0\0\0\0"), 0, false, "fragmented control frame"},
        {BYTES("\x81\x05Hello"), 1, false, "frame without a mask"},
        {BYTES("\x89\xfe\x00\x7e\0\0\0\0"), 1, false, "control frame longer than 125 bytes"},
        {BYTES("\x88\xff\0\0\0\0\0\0\0\x7e\0\0\0\0"), 1, false, "control frame longer than 125 bytes"},
        {BYTES("\x81\xfe\x00\x7d\0\0\0\0"), 3, false, "length is not in its shortest form"},
        {BYTES("\x81\xfe\x00\x00\0\0\0\0"), 3, false, "length is not in its shortest form"},
        {BYTES("\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"), 9, false, "length is not in its shortest form"},
        {BYTES("\x81\xff\0\0\0\0\0\0\x00\x7e\0\0\0\0"), 9, false, "length is not in its shortest form"},
        {BYTES("\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0"), 9, false, "length of 2^63 or more"},
        {BYTES("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), 9, false, "length of 2^63 or more"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t len = 0; len <= rows[i].size; len++) {
            struct ws_frame frame;
            const char *why = NULL;
            int rv = ws_frame_parse(&frame, rows[i].allows_rsv1, guarded_at_end(&guarded, rows[i].bytes, len), len,
                                    &why);
            assert_int_equal(rv, len <= rows[i].at ? 0 : -1);
            if (rv < 0) {
                assert_string_equal(why, rows[i].why);
                assert_true(strlen(why) <= WS_REASON_MAX);
            }
        }
    }
}

static void heads_are_written_in_their_shortest_form(void **state)
{
    static const struct {
        enum ws_opcode opcode;
        bool is_deflated;
        uint64_t len;
        const char *bytes;
        size_t size;
    } rows[] = {
        {WS_OP_TEXT, false, 0, BYTES("\x81\x00")},
        {WS_OP_TEXT, true, 125, BYTES("\xc1\x7d")},
        {WS_OP_BINARY, false, 126, BYTES("\x82\x7e\x00\x7e")},
        {WS_OP_BINARY, false, 65535, BYTES("\x82\x7e\xff\xff")},
        {WS_OP_BINARY, true, 65536, BYTES("\xc2\x7f\0\0\0\0\0\x01\0\0")},
        {WS_OP_TEXT, false, UINT64_C(0x0102030405060708), BYTES("\x81\x7f\x01\x02\x03\x04\x05\x06\x07\x08")},
        {WS_OP_CLOSE, false, 2, BYTES("\x88\x02")},
        {WS_OP_PING, false, 0, BYTES("\x89\x00")},
        {WS_OP_PONG, false, 125, BYTES("\x8a\x7d")},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char head[WS_SERVER_HEAD_MAX];
        assert_int_equal(ws_frame_write(head, rows[i].opcode, rows[i].is_deflated, rows[i].len), rows[i].size);
        assert_memory_equal(head, rows[i].bytes, rows[i].size);
    }
}

static void codes_that_may_be_sent(void **state)
{
    (void)state;

    for (unsigned code = 0; code <= 65535; code++) {
        bool expected = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                        (code >= 3000 && code <= 4999);
        assert_int_equal(ws_code_is_valid(code), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_heads_are_read),
        cmocka_unit_test(malformed_heads_are_rejected_at_the_first_wrong_byte),
        cmocka_unit_test(heads_are_written_in_their_shortest_form),
        cmocka_unit_test(codes_that_may_be_sent),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
