/* core/spare_blocks.c: what is given back is given out again, up to a limit. */

#include "core/spare_blocks.h"
#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void block_is_used_again(void **state)
{
    struct spare_blocks blocks = {0};
    (void)state;
    void *block = spare_block_take(&blocks);
    assert_non_null(block);
    memset(block, 'x', SPARE_BLOCK_BYTES);
    spare_block_put(&blocks, block);
    fake_mem_fail_after(1, true);
    assert_ptr_equal(spare_block_take(&blocks), block);
    assert_null(spare_block_take(&blocks));
    fake_mem_fail_after(0, false);
    spare_block_put(&blocks, block);
    spare_blocks_done(&blocks);
}

static void only_so_many_are_kept(void **state)
{
    struct spare_blocks blocks = {0};
    void *taken[SPARE_BLOCKS_MAX + 1];
    (void)state;
    for (unsigned i = 0; i <= SPARE_BLOCKS_MAX; i++) {
        taken[i] = spare_block_take(&blocks);
        assert_non_null(taken[i]);
    }
    for (unsigned i = 0; i <= SPARE_BLOCKS_MAX; i++) {
        assert_int_equal(blocks.count, i);
        spare_block_put(&blocks, taken[i]);
    }
    assert_int_equal(blocks.count, SPARE_BLOCKS_MAX);
    assert_int_equal(fake_mem_live(), SPARE_BLOCKS_MAX);
    spare_blocks_done(&blocks);
    assert_int_equal(blocks.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(block_is_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_so_many_are_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
