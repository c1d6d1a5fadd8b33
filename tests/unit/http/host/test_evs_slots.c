/* Ids that outlive what they name. */

#include "http/host/evs_slots.h"

#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int set_up(void **state)
{
    static struct evs_slots slots;
    evs_slots_init(&slots);
    *state = &slots;
    return 0;
}

static int tear_down(void **state)
{
    fake_mem_fail_after(0, false);
    evs_slots_done(*state);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void id_is_dead_after_put_whoever_uses_its_slot(void **state)
{
    struct evs_slots *slots = *state;
    int first, second;
    uint64_t id = evs_slots_take(slots, &first);
    assert_int_not_equal(id, 0);
    assert_ptr_equal(evs_slots_find(slots, id), &first);
    evs_slots_put(slots, id);
    assert_null(evs_slots_find(slots, id));
    uint64_t other = evs_slots_take(slots, &second);
    assert_int_equal(other & (EVS_SLOTS_MAX - 1), id & (EVS_SLOTS_MAX - 1)); /* the same slot */
    assert_int_not_equal(other, id);
    assert_null(evs_slots_find(slots, id));
    assert_ptr_equal(evs_slots_find(slots, other), &second);
}

static void ids_that_never_were_find_nothing(void **state)
{
    struct evs_slots *slots = *state;
    int item;
    uint64_t id = evs_slots_take(slots, &item);
    assert_null(evs_slots_find(slots, 0));
    assert_null(evs_slots_find(slots, id + 1));                 /* a free slot */
    assert_null(evs_slots_find(slots, id | 0xffffff));          /* none */
    assert_null(evs_slots_find(slots, id | UINT64_C(1) << 63)); /* a generation that cannot be */
    assert_null(evs_slots_find(slots, UINT64_MAX));
}

static void table_grows_and_ids_stay_what_they_were(void **state)
{
    enum { ITEMS = 1000 };
    struct evs_slots *slots = *state;
    static char items[ITEMS];
    static uint64_t ids[ITEMS];
    for (int i = 0; i < ITEMS; i++) {
        ids[i] = evs_slots_take(slots, &items[i]);
    }
    for (int i = 0; i < ITEMS; i += 2) {
        evs_slots_put(slots, ids[i]);
    }
    for (int i = 0; i < ITEMS; i++) {
        assert_ptr_equal(evs_slots_find(slots, ids[i]), i % 2 == 0 ? NULL : &items[i]);
    }
    uint64_t calls = fake_mem_calls();
    for (int i = 0; i < ITEMS; i += 2) {
        ids[i] = evs_slots_take(slots, &items[i]);
    }
    assert_int_equal(fake_mem_calls(), calls); /* what was given back is used again */
}

static void slot_that_has_had_every_generation_is_not_used_again(void **state)
{
    struct evs_slots *slots = *state;
    int item;
    uint64_t id = evs_slots_take(slots, &item);
    slots->list[id & (EVS_SLOTS_MAX - 1)].generation = (1U << EVS_GENERATION_BITS) - 1; /* its last one */
    uint64_t last = (UINT64_C(1) << EVS_GENERATION_BITS) - 1;
    id = last << EVS_SLOT_BITS | (id & (EVS_SLOTS_MAX - 1));
    assert_ptr_equal(evs_slots_find(slots, id), &item);
    evs_slots_put(slots, id);
    assert_null(evs_slots_find(slots, id));
    uint64_t next = evs_slots_take(slots, &item);
    assert_int_not_equal(next & (EVS_SLOTS_MAX - 1), id & (EVS_SLOTS_MAX - 1));
}

static void without_memory_there_is_no_id_and_nothing_has_changed(void **state)
{
    struct evs_slots *slots = *state;
    int item;
    uint64_t id = evs_slots_take(slots, &item);
    fake_mem_fail_after(1, true);
    uint64_t next;
    while ((next = evs_slots_take(slots, &item)) != 0) {
        assert_int_not_equal(next, id);
    }
    fake_mem_fail_after(0, false);
    assert_ptr_equal(evs_slots_find(slots, id), &item);
    assert_int_not_equal(evs_slots_take(slots, &item), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(id_is_dead_after_put_whoever_uses_its_slot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_that_never_were_find_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(table_grows_and_ids_stay_what_they_were, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slot_that_has_had_every_generation_is_not_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_id_and_nothing_has_changed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
