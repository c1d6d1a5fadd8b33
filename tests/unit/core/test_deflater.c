/* core/deflater.c: what it writes is what an inflater reads, message after message. */

#include "core/deflater.h"
#include "core/inflater.h"
#include "core/zlib_calls.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char text[100000], packed[120000], back[sizeof text + 1];

/* A text that gets shorter, and that is another one for each seed. */
static void fill_text(size_t len, unsigned seed)
{
    for (size_t at = 0; at < len;) {
        seed = seed * 1103515245U + 12345U;
        at += (size_t)snprintf(text + at, len - at + 1 < 12 ? len - at + 1 : 12, "%u,", seed >> 20);
        at = at < len ? at : len;
    }
}

static void assert_comes_back(struct inflater *inflater, size_t packed_len, size_t len)
{
    const char *in = packed;
    assert_int_equal(inflater_run(inflater, &in, &packed_len, back, sizeof back), (ssize_t)len);
    assert_memory_equal(back, text, len);
    assert_true(inflater_is_whole(inflater));
}

static void messages_come_back_from_every_window(void **state)
{
    static const size_t lens[] = {0, 1, 2, 255, 256, 257, 4000, sizeof text - 1};
    (void)state;
    for (unsigned bits = DEFLATE_BITS_LEAST; bits <= DEFLATE_BITS_MOST; bits++) {
        struct deflater *deflater;
        struct inflater *inflater;
        assert_int_equal(deflater_create(&deflater, bits), 0);
        assert_int_equal(inflater_create(&inflater, bits), 0);
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            fill_text(lens[i], bits);
            ssize_t len = deflater_run(deflater, text, lens[i], packed, sizeof packed);
            if (lens[i] == 0 && len == -ENOBUFS) { /* nothing behind nothing: zlib has no progress to make */
                deflater_reset(deflater);
                continue;
            }
            assert_true(len >= DEFLATE_TAIL);
            assert_memory_equal(packed + len - DEFLATE_TAIL, "\0\0\xff\xff", DEFLATE_TAIL);
            assert_comes_back(inflater, (size_t)len, lens[i]);
        }
        deflater_destroy(deflater);
        inflater_destroy(inflater);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void a_second_message_refers_to_the_first_one_until_a_reset(void **state)
{
    struct deflater *deflater;
    (void)state;
    assert_int_equal(deflater_create(&deflater, 12), 0);
    fill_text(1000, 7);
    ssize_t first = deflater_run(deflater, text, 1000, packed, sizeof packed);
    ssize_t second = deflater_run(deflater, text, 1000, packed, sizeof packed);
    assert_true(first > 0 && second > 0 && second < first / 4);
    deflater_reset(deflater);
    assert_int_equal(deflater_run(deflater, text, 1000, packed, sizeof packed), first);
    deflater_destroy(deflater);
}

static void too_little_room_is_reported_at_each_size(void **state)
{
    struct deflater *deflater;
    (void)state;
    assert_int_equal(deflater_create(&deflater, 12), 0);
    fill_text(1000, 7);
    ssize_t needed = deflater_run(deflater, text, 1000, packed, sizeof packed);
    for (size_t room = 1; room < (size_t)needed + 3; room++) {
        deflater_reset(deflater);
        memset(packed, 'x', sizeof packed);
        ssize_t got = deflater_run(deflater, text, 1000, packed, room);
        assert_int_equal(got, room > (size_t)needed ? needed : -ENOBUFS); /* one more says that it is all */
        assert_int_equal(packed[room], 'x');
    }
    deflater_destroy(deflater);
}

static void it_takes_no_more_memory_than_it_says(void **state)
{
    (void)state;
    for (unsigned bits = DEFLATE_BITS_LEAST; bits <= DEFLATE_BITS_MOST; bits++) {
        struct deflater *deflater;
        assert_int_equal(deflater_create(&deflater, bits), 0);
        fill_text(sizeof text - 1, bits);
        assert_true(deflater_run(deflater, text, sizeof text - 1, packed, sizeof packed) > 0);
        assert_in_range(fake_mem_live_bytes(), 1, deflater_memory(bits));
        deflater_destroy(deflater);
    }
}

static void without_memory_there_is_none(void **state)
{
    struct deflater *deflater = NULL;
    uint64_t n = 0;
    (void)state;
    do {
        fake_mem_fail_after(++n, false);
        int rv = deflater_create(&deflater, 12);
        if (rv == 0) {
            deflater_destroy(deflater);
        } else {
            assert_int_equal(rv, -ENOMEM);
        }
        assert_int_equal(fake_mem_live(), 0);
    } while (fake_mem_failed());
    fake_mem_fail_after(0, false);
    deflater_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back_from_every_window),
        cmocka_unit_test(a_second_message_refers_to_the_first_one_until_a_reset),
        cmocka_unit_test(too_little_room_is_reported_at_each_size),
        cmocka_unit_test(it_takes_no_more_memory_than_it_says),
        cmocka_unit_test(without_memory_there_is_none),
    };
    if (zlib_load() == NULL) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
