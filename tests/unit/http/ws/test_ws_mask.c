/* http/ws/ws_mask.c: every variant that the CPU has, against a byte at a time, for each length and each split up to a
 * few vectors, flush against pages that must not be touched. */

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "http/ws/ws_mask.h"
#include "tests/lib/guard_page.h"

enum { LONGEST = 300 };

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

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

static void fill(char bytes[LONGEST], char masked[LONGEST])
{
    for (size_t i = 0; i < LONGEST; i++) {
        bytes[i] = (char)(i * 31 + 7);
        masked[i] = (char)(bytes[i] ^ mask[i % 4]);
    }
}

static void check_lengths(ws_unmask_fn *unmask)
{
    char bytes[LONGEST], masked[LONGEST];

    fill(bytes, masked);
    for (size_t len = 0; len <= LONGEST; len++) {
        uint8_t turned[4];
        memcpy(turned, mask, 4);
        char *at = guarded_at_end(&guarded, masked, len);
        unmask(at, len, turned);
        assert_memory_equal(at, bytes, len);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(turned[i], mask[(len + i) % 4]);
        }
        memcpy(turned, mask, 4);
        at = guarded_at_start(&guarded, masked, LONGEST);
        unmask(at, len, turned);
        assert_memory_equal(at, bytes, len);
        assert_memory_equal(at + len, masked + len, LONGEST - len);
    }
}

static void check_splits(ws_unmask_fn *unmask)
{
    char bytes[LONGEST], masked[LONGEST];

    fill(bytes, masked);
    for (size_t cut = 0; cut <= LONGEST; cut++) {
        uint8_t turned[4];
        memcpy(turned, mask, 4);
        char *at = guarded_at_end(&guarded, masked, LONGEST);
        unmask(at, cut, turned);
        unmask(at + cut, LONGEST - cut, turned);
        assert_memory_equal(at, bytes, LONGEST);
    }
}

static void every_variant_unmasks_every_length(void **state)
{
    ws_unmask_fn *unmask;
    const char *name;
    (void)state;

    for (unsigned n = 0; (unmask = ws_unmask_variant(n, &name)) != NULL; n++) {
        print_message("%s\n", name);
        check_lengths(unmask);
    }
    check_lengths(ws_unmask);
}

static void every_variant_goes_on_behind_a_split(void **state)
{
    ws_unmask_fn *unmask;
    const char *name;
    (void)state;

    for (unsigned n = 0; (unmask = ws_unmask_variant(n, &name)) != NULL; n++) {
        check_splits(unmask);
    }
    check_splits(ws_unmask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_unmasks_every_length),
        cmocka_unit_test(every_variant_goes_on_behind_a_split),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
