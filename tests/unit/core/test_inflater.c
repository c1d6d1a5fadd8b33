/* core/inflater.c: DEFLATE as it comes, in pieces of every size, behind final blocks, damaged, and cut. */

#include "core/inflater.h"
#include "core/zlib_calls.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* "Hello" as RFC 7692 section 7.2.3 has it, with the tail: one block; a final block with an empty one behind it; two
 * blocks; stored. */
static const struct {
    const char *bytes;
    size_t len;
} hellos[] = {
    {"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11},
    {"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00\x00\xff\xff", 12},
    {"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00\x00\x00\xff\xff", 17},
    {"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00\x00\x00\xff\xff", 15},
};

static struct inflater *open_inflater(unsigned bits)
{
    struct inflater *inflater;
    assert_int_equal(inflater_create(&inflater, bits), 0);
    return inflater;
}

/* Decode in pieces of in_step bytes, with out_step bytes of room. Returns the length, or -errno. */
static ssize_t inflate_in_steps(struct inflater *inflater, const char *bytes, size_t len, size_t in_step,
                                size_t out_step, char *out)
{
    size_t got = 0;
    ssize_t rv = 0;
    for (size_t at = 0; rv >= 0 && at < len; at += in_step) {
        const char *piece = bytes + at;
        size_t piece_len = len - at < in_step ? len - at : in_step;
        do {
            rv = inflater_run(inflater, &piece, &piece_len, out + got, out_step);
            got += rv > 0 ? (size_t)rv : 0;
        } while (rv == (ssize_t)out_step);
        assert_true(rv < 0 || piece_len == 0);
    }
    return rv < 0 ? rv : (ssize_t)got;
}

static void it_is_decoded_however_it_comes(void **state)
{
    char out[32];
    (void)state;
    for (size_t i = 0; i < sizeof hellos / sizeof *hellos; i++) {
        struct inflater *inflater = open_inflater(15);
        for (size_t in_step = 1; in_step <= hellos[i].len; in_step++) {
            for (size_t out_step = 1; out_step <= 6; out_step++) {
                ssize_t got = inflate_in_steps(inflater, hellos[i].bytes, hellos[i].len, in_step, out_step, out);
                assert_int_equal(got, 5);
                assert_memory_equal(out, "Hello", 5);
                assert_true(inflater_is_whole(inflater));
            }
        }
        inflater_destroy(inflater);
    }
}

static void a_message_may_refer_to_those_before_it_even_behind_a_final_block(void **state)
{
    static const char again[] = "\xf2\x00\x11\x00\x00\x00\x00\xff\xff"; /* section 7.2.3.2 */
    char out[32];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct inflater *inflater = open_inflater(9);
        assert_int_equal(inflate_in_steps(inflater, hellos[i].bytes, hellos[i].len, 20, 20, out), 5);
        assert_int_equal(inflate_in_steps(inflater, again, 9, 1, 1, out), 5);
        assert_memory_equal(out, "Hello", 5);
        inflater_reset(inflater);
        assert_int_equal(inflate_in_steps(inflater, again, 9, 9, 20, out), -EPROTO);
        inflater_destroy(inflater);
    }
}

static void what_is_cut_is_not_whole(void **state)
{
    char out[32];
    (void)state;
    for (size_t len = 1; len < hellos[0].len; len++) {
        struct inflater *inflater = open_inflater(15);
        assert_true(inflate_in_steps(inflater, hellos[0].bytes, len, len, 20, out) >= 0);
        assert_false(inflater_is_whole(inflater));
        inflater_destroy(inflater);
    }
}

static void what_is_no_deflate_is_rejected_and_a_reset_forgets_it(void **state)
{
    static const char *const wrong[] = {"\x06", "\x07", "\x00\x01\x00\x01\x00", "\x04\xff\xff\xff\xff"};
    char out[32];
    (void)state;
    struct inflater *inflater = open_inflater(15);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t len = i < 2 ? 1 : 5;
        assert_int_equal(inflate_in_steps(inflater, wrong[i], len, 1, 20, out), -EPROTO);
        inflater_reset(inflater);
        assert_int_equal(inflate_in_steps(inflater, hellos[0].bytes, hellos[0].len, 20, 20, out), 5);
    }
    inflater_destroy(inflater);
}

static void it_takes_no_more_memory_than_it_says(void **state)
{
    char out[32];
    (void)state;
    for (unsigned bits = INFLATE_BITS_LEAST; bits <= INFLATE_BITS_MOST; bits++) {
        struct inflater *inflater = open_inflater(bits);
        assert_int_equal(inflate_in_steps(inflater, hellos[0].bytes, hellos[0].len, 20, 20, out), 5);
        assert_in_range(fake_mem_live_bytes(), 1, inflater_memory(bits));
        inflater_destroy(inflater);
    }
}

static void without_memory_nothing_is_decoded(void **state)
{
    char out[32];
    uint64_t n = 0;
    (void)state;
    do {
        struct inflater *inflater;
        fake_mem_fail_after(++n, false);
        int rv = inflater_create(&inflater, 15);
        if (rv == 0) {
            ssize_t got = inflate_in_steps(inflater, hellos[0].bytes, hellos[0].len, 20, 20, out);
            assert_true(got == 5 || (fake_mem_failed() && got == -ENOMEM));
            inflater_destroy(inflater);
        } else {
            assert_int_equal(rv, -ENOMEM);
        }
        assert_int_equal(fake_mem_live(), 0);
    } while (fake_mem_failed());
    fake_mem_fail_after(0, false);
    inflater_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_decoded_however_it_comes),
        cmocka_unit_test(a_message_may_refer_to_those_before_it_even_behind_a_final_block),
        cmocka_unit_test(what_is_cut_is_not_whole),
        cmocka_unit_test(what_is_no_deflate_is_rejected_and_a_reset_forgets_it),
        cmocka_unit_test(it_takes_no_more_memory_than_it_says),
        cmocka_unit_test(without_memory_nothing_is_decoded),
    };
    if (zlib_load() == NULL) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
