/* core/decoder.c, and the decoders of each kind below it: content as it comes, in pieces of every size, damaged, cut,
 * followed by more. test_gunzip.c has more of gzip. */

#include "core/decoder.h"
#include "core/unzstd.h"
#include "tests/lib/coded_texts.h"
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

static const struct coded {
    const char *hello, *many; /* hello_text, and 300,000 times "x" */
    size_t hello_len, many_len;
    bool repeats;      /* one may follow another */
    bool has_checksum; /* a changed byte shows */
} coded[DECODER_KINDS] = {
    [DECODER_GZIP] = {gzip_hello, gzip_many, sizeof gzip_hello - 1, sizeof gzip_many - 1, true, true},
    [DECODER_BR] = {brotli_hello, brotli_many, sizeof brotli_hello - 1, sizeof brotli_many - 1, false, false},
    [DECODER_ZSTD] = {zstd_hello, zstd_many, sizeof zstd_hello - 1, sizeof zstd_many - 1, true, true},
};

/* The kind of the test that runs. */
static enum decoder_kind kind_at(void **state)
{
    return (enum decoder_kind)(uintptr_t)*state;
}

/* Decode with in_step bytes of input and out_step bytes of room at a time. Returns the length, or -errno. */
static ssize_t decode(enum decoder_kind kind, const char *in, size_t len, size_t in_step, size_t out_step,
                      bool *is_whole)
{
    struct content_decoder *decoder;
    size_t got = 0;
    ssize_t rv = 0;
    assert_int_equal(decoder_create(&decoder, kind), 0);
    for (size_t at = 0; rv >= 0 && at < len; at += in_step) {
        const char *piece = in + at;
        size_t piece_len = len - at < in_step ? len - at : in_step;
        do {
            rv = decoder_run(decoder, &piece, &piece_len, text + got, out_step);
            got += rv > 0 ? (size_t)rv : 0;
        } while (rv == (ssize_t)out_step);
        assert_true(rv < 0 || piece_len == 0);
    }
    *is_whole = rv >= 0 && decoder_is_whole(decoder);
    decoder_destroy(decoder);
    return rv < 0 ? rv : (ssize_t)got;
}

static void content_is_decoded_however_it_comes(void **state)
{
    enum decoder_kind kind = kind_at(state);
    const struct coded *of = &coded[kind];
    bool is_whole;
    for (size_t in_step = 1; in_step <= of->hello_len; in_step++) {
        for (size_t out_step = 1; out_step <= sizeof hello_text; out_step++) {
            assert_int_equal(decode(kind, of->hello, of->hello_len, in_step, out_step, &is_whole),
                             sizeof hello_text - 1);
            assert_memory_equal(text, hello_text, sizeof hello_text - 1);
            assert_true(is_whole);
        }
    }
    for (size_t out_step = 1; out_step <= 70000; out_step = out_step * 3 + 1) {
        assert_int_equal(decode(kind, of->many, of->many_len, 7, out_step, &is_whole), 300000);
        assert_true(is_whole && text[0] == 'x' && text[299999] == 'x');
    }
    assert_int_equal(decode(kind, of->many, 0, 1, 1, &is_whole), 0);
    assert_true(is_whole);
}

static void what_follows_is_another_one_or_no_content(void **state)
{
    enum decoder_kind kind = kind_at(state);
    const struct coded *of = &coded[kind];
    char twice[200];
    size_t len = of->hello_len, text_len = sizeof hello_text - 1;
    bool is_whole;
    memcpy(twice, of->hello, len);
    memcpy(twice + len, of->hello, len);
    for (size_t in_step = 1; in_step <= 2 * len; in_step++) {
        ssize_t got = decode(kind, twice, 2 * len, in_step, 100, &is_whole);
        assert_int_equal(got, of->repeats ? (ssize_t)(2 * text_len) : -EPROTO);
        assert_true(is_whole == of->repeats);
    }
    twice[len] = 'x';
    twice[len + 1] = 'y';
    assert_int_equal(decode(kind, twice, 2 * len, 2 * len, 100, &is_whole), -EPROTO);
}

static void what_is_damaged_fails_or_is_other_content(void **state)
{
    enum decoder_kind kind = kind_at(state);
    const struct coded *of = &coded[kind];
    char copy[100];
    bool is_whole;
    for (size_t i = 0; i < of->hello_len * 8; i++) {
        memcpy(copy, of->hello, of->hello_len);
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        ssize_t rv = decode(kind, copy, of->hello_len, 5, 100, &is_whole);
        bool is_same = rv == (ssize_t)sizeof hello_text - 1 && memcmp(text, hello_text, sizeof hello_text - 1) == 0;
        assert_true(rv == -EPROTO || !is_whole || is_same || !of->has_checksum);
    }
    assert_int_equal(decode(kind, "what is this?", 13, 13, 100, &is_whole), -EPROTO);
}

static void what_is_cut_is_not_whole(void **state)
{
    enum decoder_kind kind = kind_at(state);
    bool is_whole;
    for (size_t len = 1; len < coded[kind].hello_len; len++) {
        assert_true(decode(kind, coded[kind].hello, len, len, 100, &is_whole) >= 0);
        assert_false(is_whole);
    }
}

static void without_memory_nothing_is_decoded(void **state)
{
    enum decoder_kind kind = kind_at(state);
    const struct coded *of = &coded[kind];
    struct content_decoder *decoder;
    uint64_t n = 0;
    do {
        const char *in = of->many;
        size_t len = of->many_len;
        fake_mem_fail_after(++n, false);
        int rv = decoder_create(&decoder, kind);
        if (rv == 0) {
            ssize_t got = decoder_run(decoder, &in, &len, text, sizeof text);
            assert_true(got == 300000 || (fake_mem_failed() && got == -ENOMEM));
            decoder_destroy(decoder);
        } else {
            assert_int_equal(rv, -ENOMEM);
        }
        assert_int_equal(fake_mem_live(), 0);
    } while (fake_mem_failed());
    fake_mem_fail_after(0, false);
    assert_true(n > 2);
    decoder_destroy(NULL);
}

/* A frame that is empty, of a window of 1 << bits bytes. */
static ssize_t decode_window(unsigned bits)
{
    const char frame[] = {0x28, (char)0xb5, 0x2f, (char)0xfd, 0x00, (char)((bits - 10) << 3), 0x01, 0x00, 0x00};
    bool is_whole;
    return decode(DECODER_ZSTD, frame, sizeof frame, sizeof frame, 10, &is_whole);
}

static void window_of_zstd_has_a_limit(void **state)
{
    (void)state;
    assert_int_equal(decode_window(UNZSTD_WINDOW_BITS), 0);
    assert_int_equal(decode_window(UNZSTD_WINDOW_BITS + 1), -EPROTO);
}

#define KIND_TEST(fn, kind)                                                                                            \
    {                                                                                                                  \
#fn "_" #kind, fn, NULL, NULL, (void *)(uintptr_t)DECODER_##kind                                               \
    }
#define KIND_TESTS(kind)                                                                                               \
    KIND_TEST(content_is_decoded_however_it_comes, kind), KIND_TEST(what_follows_is_another_one_or_no_content, kind),  \
        KIND_TEST(what_is_damaged_fails_or_is_other_content, kind), KIND_TEST(what_is_cut_is_not_whole, kind),         \
        KIND_TEST(without_memory_nothing_is_decoded, kind)

int main(void)
{
    const struct CMUnitTest of_gzip[] = {KIND_TESTS(GZIP)};
    const struct CMUnitTest of_br[] = {KIND_TESTS(BR)};
    const struct CMUnitTest of_zstd[] = {KIND_TESTS(ZSTD), cmocka_unit_test(window_of_zstd_has_a_limit)};
    static const char *const packages[] = {"zlib1g", "libbrotli1", "libzstd1"};
    for (int kind = 0; kind < DECODER_KINDS; kind++) {
        if (!decoder_is_there((enum decoder_kind)kind)) {
            print_message("skipped: a library is not installed (Debian: %s)\n", packages[kind]);
        }
    }
    int failed = decoder_is_there(DECODER_GZIP) ? cmocka_run_group_tests(of_gzip, NULL, NULL) : 0;
    failed += decoder_is_there(DECODER_BR) ? cmocka_run_group_tests(of_br, NULL, NULL) : 0;
    return failed + (decoder_is_there(DECODER_ZSTD) ? cmocka_run_group_tests(of_zstd, NULL, NULL) : 0);
}
