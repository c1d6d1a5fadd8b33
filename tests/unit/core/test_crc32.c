#include "core/crc32.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The remainder of each bit by itself. */
static uint32_t bit_by_bit(const uint8_t *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

static void known_sums(void **state)
{
    (void)state;
    assert_int_equal(crc32_of("", 0), 0);
    assert_int_equal(crc32_of("123456789", 9), 0xcbf43926);
    assert_int_equal(crc32_of("\0", 1), 0xd202ef8d);
}

static void same_as_bit_by_bit(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 89 + i / 7);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        assert_int_equal(crc32_of(bytes, len), bit_by_bit(bytes, len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(same_as_bit_by_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
