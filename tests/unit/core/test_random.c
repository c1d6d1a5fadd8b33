/* Random bytes with a kernel that interrupts and refuses, and the fields of UUIDs. */

#include "core/random.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int end(void **state)
{
    (void)state;
    fake_sys_reset();
    return 0;
}

/* The fake kernel gives 0, 1, 2 and so on with each call. */
static void pieces_fill_the_whole_buffer(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 255, 256, 257, 512, 1000};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        unsigned char buf[1001];
        memset(buf, 0xee, sizeof buf);
        assert_int_equal(random_fill(buf, lens[i]), 0);
        for (size_t n = 0; n < lens[i]; n++) {
            assert_int_equal(buf[n], n % 256);
        }
        assert_int_equal(buf[lens[i]], 0xee);
    }
}

static void interrupted_calls_are_made_again(void **state)
{
    (void)state;
    unsigned char buf[300];
    fake_sys_fail_op(FAKE_RANDOM, 0, 2, -EINTR);
    fake_sys_fail_op(FAKE_RANDOM, 1, 1, -EAGAIN);
    assert_int_equal(random_fill(buf, sizeof buf), 0);
    assert_int_equal(buf[255], 255);
    assert_int_equal(buf[299], 43);
}

static void a_refusal_leaves_no_bytes(void **state)
{
    (void)state;
    static const unsigned char zeros[300];
    unsigned char buf[300];
    char text[UUID_TEXT];
    memset(buf, 1, sizeof buf);
    fake_sys_fail_op(FAKE_RANDOM, 1, 1, -ENOSYS);
    assert_int_equal(random_fill(buf, sizeof buf), -ENOSYS);
    assert_memory_equal(buf, zeros, sizeof buf);
    fake_sys_fail_op(FAKE_RANDOM, 0, 1, -EPERM);
    assert_int_equal(uuid_write(text, 4, 0), -EPERM);
}

static void uuids_have_version_variant_and_time(void **state)
{
    (void)state;
    char text[UUID_TEXT + 1] = "";
    assert_int_equal(uuid_write(text, 4, 0x017F22E279B0), 0);
    assert_string_equal(text, "00010203-0405-4607-8809-0a0b0c0d0e0f");
    assert_int_equal(uuid_write(text, 7, 0x017F22E279B0), 0); /* the time of the example in RFC 9562, appendix A.6 */
    assert_string_equal(text, "017f22e2-79b0-7607-8809-0a0b0c0d0e0f");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pieces_fill_the_whole_buffer, end),
        cmocka_unit_test_teardown(interrupted_calls_are_made_again, end),
        cmocka_unit_test_teardown(a_refusal_leaves_no_bytes, end),
        cmocka_unit_test_teardown(uuids_have_version_variant_and_time, end),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
