/* core/slabs.c: objects lie close together, are zeroed, and a slab goes with its last object. */

#include "core/slabs.h"
#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 100, COUNT = 3 * SLAB_OBJECTS };

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void check_and_fill(unsigned char *object)
{
    for (int i = 0; i < SIZE; i++) {
        assert_int_equal(object[i], 0);
    }
    memset(object, 0xff, SIZE);
}

static void objects_lie_close_together(void **state)
{
    struct slabs slabs = {0};
    void *taken[COUNT];
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        taken[i] = slabs_take(&slabs, SIZE);
        assert_int_equal((uintptr_t)taken[i] % sizeof(uint64_t), 0);
        check_and_fill(taken[i]);
        if (i % SLAB_OBJECTS != 0) {
            assert_in_range((char *)taken[i] - (char *)taken[i - 1], SIZE, SIZE + 16);
        }
    }
    assert_int_equal(fake_mem_live(), COUNT / SLAB_OBJECTS);
    for (int i = 0; i < COUNT; i++) {
        slabs_put(taken[i]);
    }
    assert_null(slabs.first);
    slabs_put(NULL);
}

static void what_is_given_back_is_used_again_and_zeroed(void **state)
{
    struct slabs slabs = {0};
    void *taken[COUNT];
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        taken[i] = slabs_take(&slabs, SIZE);
        check_and_fill(taken[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = round; i < COUNT; i += 2) {
            slabs_put(taken[i]);
        }
        fake_mem_fail_after(1, true); /* no other slab is asked for */
        for (int i = round; i < COUNT; i += 2) {
            taken[i] = slabs_take(&slabs, SIZE);
            assert_non_null(taken[i]);
            check_and_fill(taken[i]);
        }
        assert_null(slabs_take(&slabs, SIZE));
        fake_mem_fail_after(0, false);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        slabs_put(taken[i]);
    }
}

static void a_slab_is_freed_with_its_last_object(void **state)
{
    struct slabs slabs = {0};
    void *taken[COUNT];
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        taken[i] = slabs_take(&slabs, SIZE);
    }
    for (int i = 0; i < SLAB_OBJECTS; i++) { /* those in the middle */
        assert_int_equal(fake_mem_live(), 3);
        slabs_put(taken[SLAB_OBJECTS + i]);
    }
    assert_int_equal(fake_mem_live(), 2);
    slabs_put(taken[0]);
    assert_ptr_equal(slabs_take(&slabs, SIZE), taken[0]);
    for (int i = 0; i < SLAB_OBJECTS; i++) {
        slabs_put(taken[i]);
        slabs_put(taken[2 * SLAB_OBJECTS + i]);
    }
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(objects_lie_close_together, tear_down),
        cmocka_unit_test_teardown(what_is_given_back_is_used_again_and_zeroed, tear_down),
        cmocka_unit_test_teardown(a_slab_is_freed_with_its_last_object, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
