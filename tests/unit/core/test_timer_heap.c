/* The timer heap by itself: what comes out in which order, and what ids mean after their timer is gone. */

#include "core/timer_heap.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void never_called(struct reactor *reactor, timer_id id, void *arg)
{
    (void)reactor;
    (void)id;
    (void)arg;
    fail();
}

static int set_up(void **state)
{
    static struct timer_heap heap;
    timer_heap_init(&heap);
    *state = &heap;
    return 0;
}

static int tear_down(void **state)
{
    fake_mem_fail_after(0, false);
    timer_heap_done(*state);
    return fake_mem_live() == 0 ? 0 : -1;
}

static timer_id set(struct timer_heap *heap, int64_t deadline_ns)
{
    timer_id id = 0;
    assert_int_equal(timer_heap_set(heap, deadline_ns, 0, never_called, NULL, &id), 0);
    assert_int_not_equal(id, 0);
    return id;
}

/* Take the first timer out of the heap. */
static timer_id pop(struct timer_heap *heap)
{
    const struct timer_entry *first = timer_heap_first(heap);
    assert_non_null(first);
    timer_id id = timer_heap_id(heap, first);
    assert_true(timer_heap_cancel(heap, id));
    return id;
}

static void empty_heap_has_no_first_timer(void **state)
{
    struct timer_heap *heap = *state;
    assert_null(timer_heap_first(heap));
    assert_true(timer_heap_is_valid(heap));
    assert_true(timer_heap_cancel(heap, set(heap, 1)));
    assert_null(timer_heap_first(heap));
    assert_int_equal(heap->count, 0);
}

static void timer_keeps_what_it_was_set_with(void **state)
{
    struct timer_heap *heap = *state;
    int arg;
    timer_id id;
    assert_int_equal(timer_heap_set(heap, 70, 30, never_called, &arg, &id), 0);
    const struct timer_entry *first = timer_heap_first(heap);
    assert_int_equal(first->deadline_ns, 70);
    assert_int_equal(timer_heap_id(heap, first), id);
    assert_ptr_equal(timer_heap_find(heap, id), first);
    const struct timer *timer = timer_heap_timer(heap, first);
    assert_ptr_equal(timer->fn, never_called);
    assert_ptr_equal(timer->arg, &arg);
    assert_int_equal(timer->interval_ns, 30);
}

static void timers_come_out_by_deadline(void **state)
{
    struct timer_heap *heap = *state;
    static const int64_t deadlines[] = {50, 10, 40, INT64_MAX, 30, -5, 20, 0};
    static const int order[] = {5, 7, 1, 6, 4, 2, 0, 3};
    timer_id ids[8];
    for (int i = 0; i < 8; i++) {
        ids[i] = set(heap, deadlines[i]);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pop(heap), ids[order[i]]);
        assert_true(timer_heap_is_valid(heap));
    }
    assert_null(timer_heap_first(heap));
}

static void equal_deadlines_come_out_in_the_order_they_were_set(void **state)
{
    struct timer_heap *heap = *state;
    timer_id ids[1000];
    for (int i = 0; i < 1000; i++) {
        ids[i] = set(heap, 7);
    }
    for (int i = 0; i < 1000; i += 3) { /* holes, filled from the end, must not disturb the order */
        assert_true(timer_heap_cancel(heap, ids[i]));
    }
    for (int i = 0; i < 1000; i++) {
        if (i % 3 != 0) {
            assert_int_equal(pop(heap), ids[i]);
        }
    }
}

static void moved_timer_is_the_youngest_among_equals(void **state)
{
    struct timer_heap *heap = *state;
    timer_id first = set(heap, 5);
    timer_id second = set(heap, 5);
    timer_id third = set(heap, 9);
    assert_true(timer_heap_move(heap, first, 5));
    assert_true(timer_heap_move(heap, third, 5));
    assert_int_equal(pop(heap), second);
    assert_int_equal(pop(heap), first);
    assert_int_equal(pop(heap), third);
}

static void timer_moves_both_ways(void **state)
{
    struct timer_heap *heap = *state;
    timer_id ids[100];
    for (int i = 0; i < 100; i++) {
        ids[i] = set(heap, 100 + i);
    }
    assert_true(timer_heap_move(heap, ids[99], 1));
    assert_int_equal(timer_heap_id(heap, timer_heap_first(heap)), ids[99]);
    assert_true(timer_heap_move(heap, ids[99], 1000));
    assert_true(timer_heap_move(heap, ids[0], 2000));
    assert_int_equal(timer_heap_id(heap, timer_heap_first(heap)), ids[1]);
    assert_true(timer_heap_is_valid(heap));
    for (int i = 1; i < 100; i++) {
        assert_int_equal(pop(heap), ids[i]);
    }
    assert_int_equal(pop(heap), ids[0]);
}

static void id_is_dead_after_cancel_whoever_uses_its_slot(void **state)
{
    struct timer_heap *heap = *state;
    timer_id dead[1000];
    for (int i = 0; i < 1000; i++) { /* all in one slot, in use while the next id is tried */
        dead[i] = set(heap, i);
        for (int j = 0; j < i; j++) {
            assert_int_not_equal(dead[j], dead[i]);
        }
        assert_int_equal((uint32_t)dead[i], 0);
        assert_true(timer_heap_cancel(heap, dead[i]));
        assert_false(timer_heap_cancel(heap, dead[i]));
        assert_false(timer_heap_move(heap, dead[i], 1));
        assert_null(timer_heap_find(heap, dead[i]));
    }
    timer_id alive = set(heap, 3);
    for (int i = 0; i < 1000; i++) {
        assert_false(timer_heap_cancel(heap, dead[i]));
        assert_false(timer_heap_move(heap, dead[i], 1));
    }
    assert_int_equal(timer_heap_first(heap)->deadline_ns, 3);
    assert_true(timer_heap_cancel(heap, alive));
}

static void slot_that_has_had_every_generation_is_not_used_again(void **state)
{
    struct timer_heap *heap = *state;
    timer_id first = set(heap, 1);
    assert_true(timer_heap_cancel(heap, first));
    heap->slots[0].generation = UINT32_MAX - 1; /* as after 2^31 uses */
    timer_id last = set(heap, 1);
    assert_int_equal(last, UINT64_C(0xffffffff) << 32);
    assert_true(timer_heap_cancel(heap, last));
    for (int i = 0; i < 1000; i++) { /* through a growth of the heap as well */
        timer_id id = set(heap, i);
        assert_int_not_equal((uint32_t)id, 0);
    }
    assert_false(timer_heap_cancel(heap, first));
    assert_false(timer_heap_cancel(heap, last));
    assert_true(timer_heap_is_valid(heap));
}

static void made_up_ids_name_no_timer(void **state)
{
    struct timer_heap *heap = *state;
    timer_id ids[] = {0, 1, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 32 | TIMER_HEAP_MAX, UINT64_C(2) << 32};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) { /* in a heap without memory */
        assert_false(timer_heap_cancel(heap, ids[i]));
        assert_false(timer_heap_move(heap, ids[i], 0));
    }
    timer_id alive = set(heap, 1);
    timer_id freed = set(heap, 2);
    assert_true(timer_heap_cancel(heap, freed));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (ids[i] != alive) {
            assert_false(timer_heap_cancel(heap, ids[i]));
        }
    }
    /* The generation of the free slot itself, and of its next use, are no ids either. */
    assert_false(timer_heap_cancel(heap, freed + (UINT64_C(1) << 32)));
    assert_false(timer_heap_cancel(heap, freed + (UINT64_C(2) << 32)));
    assert_int_equal(heap->count, 1);
}

/* The reference: timers in a sorted array. */

struct reference {
    struct {
        int64_t deadline_ns;
        timer_id id;
    } timers[4096];
    size_t count;
};

/* Behind its equals. */
static void reference_insert(struct reference *reference, int64_t deadline_ns, timer_id id)
{
    size_t at = reference->count++;
    assert_true(reference->count <= 4096);
    while (at > 0 && reference->timers[at - 1].deadline_ns > deadline_ns) {
        reference->timers[at] = reference->timers[at - 1];
        at--;
    }
    reference->timers[at].deadline_ns = deadline_ns;
    reference->timers[at].id = id;
}

static timer_id reference_remove(struct reference *reference, size_t at)
{
    timer_id id = reference->timers[at].id;
    reference->count--;
    memmove(&reference->timers[at], &reference->timers[at + 1], (reference->count - at) * sizeof reference->timers[0]);
    return id;
}

/* xorshift64: the same numbers everywhere, each time. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void random_step(struct timer_heap *heap, struct reference *reference, uint64_t *seed, timer_id *dead)
{
    uint64_t dice = next_random(seed) % 100;
    size_t at = reference->count == 0 ? 0 : next_random(seed) % reference->count;
    int64_t deadline_ns = (int64_t)(next_random(seed) % 500); /* many equals */
    if (reference->count == 0 || (dice < 40 && reference->count < 4000)) {
        reference_insert(reference, deadline_ns, set(heap, deadline_ns));
    } else if (dice < 60) {
        timer_id id = reference_remove(reference, at);
        reference_insert(reference, deadline_ns, id);
        assert_true(timer_heap_move(heap, id, deadline_ns));
    } else if (dice < 80) {
        *dead = reference_remove(reference, at);
        assert_true(timer_heap_cancel(heap, *dead));
    } else if (dice < 95) {
        *dead = reference_remove(reference, 0);
        assert_int_equal(pop(heap), *dead);
    } else if (*dead != 0) {
        assert_false(timer_heap_cancel(heap, *dead));
        assert_false(timer_heap_move(heap, *dead, deadline_ns));
    }
}

static void assert_same_first(const struct timer_heap *heap, const struct reference *reference)
{
    const struct timer_entry *first = timer_heap_first(heap);
    assert_int_equal(heap->count, reference->count);
    if (reference->count == 0) {
        assert_null(first);
        return;
    }
    assert_int_equal(timer_heap_id(heap, first), reference->timers[0].id);
    assert_int_equal(first->deadline_ns, reference->timers[0].deadline_ns);
}

static void hundred_thousand_random_steps_agree_with_a_sorted_reference(void **state)
{
    struct timer_heap *heap = *state;
    static struct reference reference;
    uint64_t seed = UINT64_C(88172645463325252);
    timer_id dead = 0;
    for (int i = 0; i < 1500; i++) { /* start with a crowd: the steps keep it about as large */
        int64_t deadline_ns = (int64_t)(next_random(&seed) % 500);
        reference_insert(&reference, deadline_ns, set(heap, deadline_ns));
    }
    for (int i = 0; i < 100000; i++) {
        random_step(heap, &reference, &seed, &dead);
        assert_same_first(heap, &reference);
        if (i % 500 == 0) {
            assert_true(timer_heap_is_valid(heap));
        }
    }
    assert_true(reference.count > 100); /* else the end of this test would say little */
    while (reference.count > 0) {
        assert_same_first(heap, &reference);
        assert_int_equal(pop(heap), reference_remove(&reference, 0));
    }
    assert_null(timer_heap_first(heap));
}

static void assert_unchanged(struct timer_heap *heap, const timer_id *ids, uint32_t count)
{
    assert_int_equal(heap->count, count);
    assert_true(timer_heap_is_valid(heap));
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(heap->slots[(uint32_t)ids[i]].generation, ids[i] >> 32);
    }
}

static void failed_allocation_leaves_the_heap_unchanged(void **state)
{
    struct timer_heap *heap = *state;
    timer_id ids[300];
    uint32_t count = 0;
    int failures = 0;
    while (count < 300) {
        timer_id id = 4711;
        for (uint64_t n = 1; n <= 2; n++) { /* growing takes two allocations */
            fake_mem_fail_after(n, false);
            int rv = timer_heap_set(heap, 1000 - (int64_t)count, 0, never_called, NULL, &id);
            if (!fake_mem_failed()) {
                assert_int_equal(rv, 0);
                assert_true(timer_heap_cancel(heap, id));
                break;
            }
            failures++;
            assert_int_equal(rv, -ENOMEM);
            assert_int_equal(id, 4711);
            assert_unchanged(heap, ids, count);
        }
        fake_mem_fail_after(0, false);
        ids[count] = set(heap, 1000 - (int64_t)count);
        count++;
    }
    assert_true(failures >= 2 * 3); /* at 64, 128 and 256 timers, or more often */
    while (count > 0) {
        assert_int_equal(pop(heap), ids[--count]);
    }
}

static void full_heap_refuses_one_more(void **state)
{
    struct timer_heap *heap = *state;
    timer_id id = 4711;
    /* A heap of TIMER_HEAP_MAX timers takes a gigabyte: pretend, and look only at what does not read its arrays. */
    heap->capacity = heap->count = TIMER_HEAP_MAX;
    uint64_t calls = fake_mem_calls();
    assert_int_equal(timer_heap_set(heap, 1, 0, never_called, NULL, &id), -ENOSPC);
    assert_int_equal(id, 4711);
    assert_int_equal(heap->count, TIMER_HEAP_MAX);
    assert_int_equal(fake_mem_calls(), calls);
    timer_heap_init(heap);
}

static void steady_number_of_timers_does_not_allocate(void **state)
{
    struct timer_heap *heap = *state;
    timer_id ids[200];
    for (int i = 0; i < 200; i++) {
        ids[i] = set(heap, i);
    }
    uint64_t calls = fake_mem_calls();
    for (int i = 0; i < 10000; i++) {
        assert_true(timer_heap_cancel(heap, ids[i % 200]));
        ids[i % 200] = set(heap, i);
        assert_true(timer_heap_move(heap, ids[i * 7 % 200], i));
    }
    assert_int_equal(fake_mem_calls(), calls);
}

static void checker_of_these_tests_notices_a_broken_heap(void **state)
{
    struct timer_heap *heap = *state;
    for (int i = 0; i < 10; i++) {
        set(heap, i);
    }
    assert_true(timer_heap_is_valid(heap));
    heap->entries[9].deadline_ns = 0; /* less than its parent */
    assert_false(timer_heap_is_valid(heap));
    heap->entries[9].deadline_ns = 9;
    heap->slots[3].heap_index = 4; /* a wrong back-index */
    assert_false(timer_heap_is_valid(heap));
    heap->slots[3].heap_index = 3;
    assert_true(timer_heap_is_valid(heap));
}

static void entry_takes_at_most_24_bytes(void **state)
{
    (void)state;
    assert_true(sizeof(struct timer_entry) <= 24);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(empty_heap_has_no_first_timer),
        TEST(timer_keeps_what_it_was_set_with),
        TEST(timers_come_out_by_deadline),
        TEST(equal_deadlines_come_out_in_the_order_they_were_set),
        TEST(moved_timer_is_the_youngest_among_equals),
        TEST(timer_moves_both_ways),
        TEST(id_is_dead_after_cancel_whoever_uses_its_slot),
        TEST(slot_that_has_had_every_generation_is_not_used_again),
        TEST(made_up_ids_name_no_timer),
        TEST(hundred_thousand_random_steps_agree_with_a_sorted_reference),
        TEST(failed_allocation_leaves_the_heap_unchanged),
        TEST(full_heap_refuses_one_more),
        TEST(steady_number_of_timers_does_not_allocate),
        TEST(checker_of_these_tests_notices_a_broken_heap),
        TEST(entry_takes_at_most_24_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
