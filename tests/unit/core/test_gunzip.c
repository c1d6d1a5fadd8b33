/* core/gunzip.c: gzip as it comes, in pieces of every size, damaged, and cut. */

#include "core/gunzip.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/gzip_texts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char hello_text[] = "hello, hello, hello\n";

static char text[400000];

/* Decode with in_step bytes of input and out_step bytes of room at a time. Returns the length, or -errno. */
static ssize_t decode(const char *in, size_t len, size_t in_step, size_t out_step, bool *is_whole)
{
    struct gunzip *gunzip;
    size_t got = 0;
    ssize_t rv = 0;
    assert_int_equal(gunzip_create(&gunzip), 0);
    for (size_t at = 0; rv >= 0 && at < len; at += in_step) {
        const char *piece = in + at;
        size_t piece_len = len - at < in_step ? len - at : in_step;
        do {
            rv = gunzip_run(gunzip, &piece, &piece_len, text + got, out_step);
            got += rv > 0 ? (size_t)rv : 0;
        } while (rv == (ssize_t)out_step);
        assert_true(rv < 0 || piece_len == 0);
    }
    *is_whole = gunzip_is_whole(gunzip);
    gunzip_destroy(gunzip);
    return rv < 0 ? rv : (ssize_t)got;
}

static void it_is_decoded_however_it_comes(void **state)
{
    bool is_whole;
    (void)state;
    for (size_t in_step = 1; in_step <= sizeof gzip_hello; in_step++) {
        for (size_t out_step = 1; out_step <= sizeof hello_text; out_step++) {
            assert_int_equal(decode(gzip_hello, sizeof gzip_hello - 1, in_step, out_step, &is_whole),
                             sizeof hello_text - 1);
            assert_memory_equal(text, hello_text, sizeof hello_text - 1);
            assert_true(is_whole);
        }
    }
    assert_int_equal(decode(gzip_many, sizeof gzip_many - 1, 7, 1000, &is_whole), 300000);
    assert_true(is_whole && text[0] == 'x' && text[299999] == 'x');
    assert_int_equal(decode(gzip_many, 0, 1, 1, &is_whole), 0);
    assert_true(is_whole);
}

static void members_follow_each_other(void **state)
{
    char twice[2 * sizeof gzip_hello];
    size_t len = sizeof gzip_hello - 1, text_len = sizeof hello_text - 1;
    bool is_whole;
    (void)state;
    memcpy(twice, gzip_hello, len);
    memcpy(twice + len, gzip_hello, len);
    for (size_t in_step = 1; in_step <= 2 * len; in_step++) {
        assert_int_equal(decode(twice, 2 * len, in_step, 100, &is_whole), 2 * text_len);
        assert_memory_equal(text + text_len, hello_text, text_len);
        assert_true(is_whole);
    }
    twice[len] = 'x';
    assert_int_equal(decode(twice, 2 * len, 2 * len, 100, &is_whole), -EPROTO);
}

static void what_is_damaged_is_no_gzip(void **state)
{
    char copy[sizeof gzip_hello];
    bool is_whole;
    (void)state;
    for (size_t i = 0; i < sizeof gzip_hello - 1; i++) {
        memcpy(copy, gzip_hello, sizeof gzip_hello);
        copy[i] = (char)(copy[i] ^ 0x40);
        ssize_t rv = decode(copy, sizeof gzip_hello - 1, sizeof gzip_hello, 100, &is_whole);
        bool is_harmless = i >= 3 && i <= 9; /* flags, time and system in the header */
        assert_true(is_harmless || rv == -EPROTO || !is_whole);
    }
    assert_int_equal(decode("hello", 5, 5, 100, &is_whole), -EPROTO);
}

static void what_is_cut_is_not_whole(void **state)
{
    bool is_whole;
    (void)state;
    for (size_t len = 1; len < sizeof gzip_hello - 1; len++) {
        assert_true(decode(gzip_hello, len, len, 100, &is_whole) >= 0);
        assert_false(is_whole);
    }
}

static void without_memory_nothing_is_decoded(void **state)
{
    struct gunzip *gunzip;
    uint64_t n = 0;
    (void)state;
    do {
        const char *in = gzip_many;
        size_t len = sizeof gzip_many - 1;
        fake_mem_fail_after(++n, false);
        int rv = gunzip_create(&gunzip);
        if (rv == 0) {
            ssize_t got = gunzip_run(gunzip, &in, &len, text, sizeof text);
            assert_true(got == 300000 || (fake_mem_failed() && got == -ENOMEM));
            gunzip_destroy(gunzip);
        } else {
            assert_int_equal(rv, -ENOMEM);
        }
        assert_int_equal(fake_mem_live(), 0);
    } while (fake_mem_failed());
    fake_mem_fail_after(0, false);
    gunzip_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_decoded_however_it_comes),    cmocka_unit_test(members_follow_each_other),
        cmocka_unit_test(what_is_damaged_is_no_gzip),        cmocka_unit_test(what_is_cut_is_not_whole),
        cmocka_unit_test(without_memory_nothing_is_decoded),
    };
    if (!gunzip_is_there()) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
