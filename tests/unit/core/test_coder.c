/* core/coder.c: what it writes is what the decoders of the libraries read, in pieces of every size, flushed and not. */

#include "core/coder.h"
#include "core/gunzip.h"
#include "tests/lib/fake_mem.h"

#include <dlfcn.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char text[300000], packed[400000], back[sizeof text + 1];

static void fill_text(size_t len)
{
    unsigned seed = 1;
    for (size_t at = 0; at + 12 < len;) {
        seed = seed * 1103515245U + 12345U;
        at += (size_t)snprintf(text + at, 12, "%u,", seed >> 20);
    }
}

/* The function called name of a library, which the tests that get here have. */
static void find_call(const char *library, const char *name, void *call)
{
    void *handle = dlopen(library, RTLD_NOW);
    assert_non_null(handle);
    void *found = dlsym(handle, name);
    assert_non_null(found);
    memcpy(call, &found, sizeof found);
}

/* Decode all of it. Returns its length. */
static size_t decode(enum coder_kind kind, const char *in, size_t len)
{
    if (kind == CODER_GZIP) {
        struct gunzip *gunzip;
        assert_int_equal(gunzip_create(&gunzip), 0);
        ssize_t got = gunzip_run(gunzip, &in, &len, back, sizeof back);
        assert_true(got >= 0 && gunzip_is_whole(gunzip));
        gunzip_destroy(gunzip);
        return (size_t)got;
    }
    if (kind == CODER_BROTLI) {
        int (*call)(size_t, const uint8_t *, size_t *, uint8_t *);
        size_t got = sizeof back;
        find_call("libbrotlidec.so.1", "BrotliDecoderDecompress", &call);
        assert_int_equal(call(len, (const uint8_t *)in, &got, (uint8_t *)back), 1);
        return got;
    }
    size_t (*call)(void *, size_t, const void *, size_t);
    find_call("libzstd.so.1", "ZSTD_decompress", &call);
    return call(back, sizeof back, in, len);
}

/* All of a step, with room bytes at a time. Returns how much was written, or -ENOMEM. */
static ssize_t run_step(struct coder *coder, enum coder_step step, const char *in, size_t len, char *out, size_t room)
{
    ssize_t got, all = 0;
    do {
        got = coder_run(coder, step, &in, &len, out + all, room);
        all += got;
    } while (got == (ssize_t)room);
    assert_true(got < 0 || len == 0);
    return got < 0 ? got : all;
}

static void pieces_of_every_size_come_back(void **state)
{
    static const size_t lens[] = {0, 1, 1000, sizeof text};
    static const size_t steps[] = {1, 7, 1000, 65536};
    (void)state;
    fill_text(sizeof text);
    for (enum coder_kind kind = CODER_GZIP; kind < CODER_KINDS; kind++) {
        struct coder *coder;
        if (!coder_is_there(kind)) {
            continue;
        }
        assert_int_equal(coder_create(&coder, kind, 4), 0);
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            for (size_t j = lens[i] > 1000 ? 2 : 0; j < sizeof steps / sizeof *steps; j++) {
                size_t out = 0;
                for (size_t at = 0; at < lens[i]; at += steps[j]) {
                    size_t len = lens[i] - at < steps[j] ? lens[i] - at : steps[j];
                    ssize_t got = run_step(coder, CODER_GO_ON, text + at, len, packed + out, steps[j]);
                    assert_true(got >= 0);
                    out += (size_t)got;
                }
                ssize_t got = run_step(coder, CODER_END, NULL, 0, packed + out, steps[j]);
                assert_true(got >= 0);
                assert_int_equal(decode(kind, packed, out + (size_t)got), lens[i]);
                assert_memory_equal(back, text, lens[i]);
                assert_int_equal(coder_reset(coder), 0);
            }
        }
        coder_destroy(coder);
    }
    assert_int_equal(fake_mem_live(), 0);
}

static void a_flush_gives_all_that_was_taken(void **state)
{
    static const char hello[] = "hello, hello, hello\n";
    (void)state;
    struct coder *coder;
    struct gunzip *gunzip;
    if (!coder_is_there(CODER_GZIP)) {
        skip();
    }
    assert_int_equal(coder_create(&coder, CODER_GZIP, 9), 0);
    assert_int_equal(gunzip_create(&gunzip), 0);
    for (int i = 0; i < 3; i++) {
        ssize_t len = run_step(coder, CODER_FLUSH, hello, sizeof hello - 1, packed, 1000);
        size_t left = (size_t)len;
        const char *in = packed;
        assert_true(len > 0);
        assert_int_equal(gunzip_run(gunzip, &in, &left, back, sizeof back), sizeof hello - 1);
        assert_memory_equal(back, hello, sizeof hello - 1);
        assert_int_equal(run_step(coder, CODER_FLUSH, NULL, 0, packed, 1000), 0); /* there is nothing more */
    }
    gunzip_destroy(gunzip);
    coder_destroy(coder); /* in the middle of a content */
    assert_int_equal(fake_mem_live(), 0);
}

static void memory_that_fails_is_no_fault(void **state)
{
    (void)state;
    for (enum coder_kind kind = CODER_GZIP; kind < CODER_ZSTD; kind++) { /* zstd allocates by itself */
        struct coder *coder = NULL;
        unsigned n = 1;
        for (bool is_done = !coder_is_there(kind); !is_done; n++) {
            fake_mem_fail_after(n, false);
            ssize_t rv = coder_create(&coder, kind, 4);
            if (rv == 0) {
                rv = run_step(coder, CODER_END, text, 10000, packed, 65536);
                coder_destroy(coder);
            }
            is_done = rv >= 0;
            assert_true(is_done || rv == -ENOMEM);
            fake_mem_fail_after(0, false);
            assert_int_equal(fake_mem_live(), 0);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_every_size_come_back),
        cmocka_unit_test(a_flush_gives_all_that_was_taken),
        cmocka_unit_test(memory_that_fails_is_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
