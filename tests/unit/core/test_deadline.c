/* Deadlines that move with every sign of life, on the reactor's fake clock. */

#include "core/deadline.h"

#include "tests/lib/reactor_scene.h"

/* Somebody whose time is limited. */
struct owner {
    struct scene *scene;      /* where it lives */
    struct deadline deadline; /* its own */
    int calls;                /* of the timer */
    int64_t ended_ms;         /* when its time was over, 0 before */
    int64_t look_ms;          /* when it wants to look before that, 0 for never */
    int looks;                /* how often it did */
};

static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    struct owner *owner = arg;
    int64_t now_ms = reactor_now_ms(reactor);
    owner->calls++;
    assert_int_equal(timer, owner->deadline.timer);
    if (deadline_fired(&owner->deadline, reactor)) {
        owner->ended_ms = now_ms;
        return;
    }
    int64_t look_ms = owner->deadline.at_ms;
    if (owner->look_ms > now_ms) {
        look_ms = owner->look_ms;
    } else if (owner->look_ms > 0) {
        owner->looks++;
        owner->look_ms = 0;
    }
    deadline_set_look(&owner->deadline, reactor, look_ms, owner->deadline.at_ms, on_deadline, owner);
}

static int64_t now_ms(const struct owner *owner)
{
    return reactor_now_ms(owner->scene->reactor);
}

/* Give it ms from now. */
static void limit(struct owner *owner, int64_t ms)
{
    deadline_set(&owner->deadline, owner->scene->reactor, now_ms(owner) + ms, on_deadline, owner);
}

/* Run until nothing is left to wait for. */
static void run_out(const struct owner *owner)
{
    int rv;
    do {
        rv = reactor_run_once(owner->scene->reactor, -1);
    } while (rv >= 0);
    assert_int_equal(rv, -EDEADLK);
}

static void deadline_that_does_not_move_fires_on_time(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 30);
    assert_false(deadline_is_over(&owner.deadline, start_ms + 29));
    assert_true(deadline_is_over(&owner.deadline, start_ms + 30));
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 30);
    assert_int_equal(owner.calls, 1);
    assert_int_equal(owner.deadline.timer, 0);
}

static void later_deadline_leaves_the_timer_which_fires_early_and_is_set_again(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 30);
    uint64_t timer = owner.deadline.timer;
    for (int i = 0; i < 20; i++) {
        fake_sys_advance_ms(1);
        limit(&owner, 30);
        assert_int_equal(owner.deadline.timer, timer);
    }
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 50);
    assert_int_equal(owner.calls, 2);
}

static void earlier_deadline_moves_the_timer_at_once(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 1000);
    uint64_t timer = owner.deadline.timer;
    limit(&owner, 10);
    assert_int_not_equal(owner.deadline.timer, timer);
    assert_int_equal(reactor_timer_due_ms(owner.scene->reactor, timer), -ENOENT);
    assert_int_equal(reactor_timer_due_ms(owner.scene->reactor, owner.deadline.timer), start_ms + 10);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 10);
    assert_int_equal(owner.calls, 1);
}

static void earlier_deadline_leaves_a_timer_that_is_earlier_still(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 10);
    uint64_t timer = owner.deadline.timer;
    limit(&owner, 100);
    limit(&owner, 50);
    limit(&owner, 10);
    assert_int_equal(owner.deadline.timer, timer);
    limit(&owner, 50);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 50);
    assert_int_equal(owner.calls, 2);
}

static void deadline_in_the_past_is_over_in_the_next_tick(void **state)
{
    struct owner owner = {.scene = *state};
    limit(&owner, -5);
    assert_int_equal(reactor_run_once(owner.scene->reactor, -1), 1);
    assert_int_not_equal(owner.ended_ms, 0);
}

static void never_ends_the_waiting_and_a_deadline_after_it_is_kept(void **state)
{
    struct owner owner = {.scene = *state};
    deadline_set(&owner.deadline, owner.scene->reactor, DEADLINE_NEVER, on_deadline, &owner);
    assert_int_equal(owner.deadline.timer, 0);
    limit(&owner, 10);
    deadline_set(&owner.deadline, owner.scene->reactor, DEADLINE_NEVER, on_deadline, &owner);
    run_out(&owner);
    assert_int_equal(owner.calls, 1);
    assert_int_equal(owner.ended_ms, 0);
    assert_false(deadline_is_over(&owner.deadline, INT64_MAX));

    int64_t start_ms = now_ms(&owner);
    limit(&owner, 20);
    deadline_set(&owner.deadline, owner.scene->reactor, DEADLINE_NEVER, on_deadline, &owner);
    limit(&owner, 7); /* earlier than the timer, which is still there */
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 7);
}

static void owner_can_look_before_its_time_is_over(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 100);
    owner.look_ms = start_ms + 25;
    deadline_set_look(&owner.deadline, owner.scene->reactor, owner.look_ms, start_ms + 200, on_deadline, &owner);
    assert_int_equal(reactor_run_once(owner.scene->reactor, -1), 1);
    assert_int_equal(now_ms(&owner), start_ms + 25);
    assert_int_equal(owner.looks, 1);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 200);
    assert_int_equal(owner.looks, 1);
    assert_int_equal(owner.calls, 2);
}

static void look_after_the_former_deadline_costs_nothing(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 10);
    uint64_t timer = owner.deadline.timer;
    owner.look_ms = start_ms + 40;
    deadline_set_look(&owner.deadline, owner.scene->reactor, owner.look_ms, start_ms + 90, on_deadline, &owner);
    assert_int_equal(owner.deadline.timer, timer);
    assert_int_equal(reactor_run_once(owner.scene->reactor, -1), 1);
    assert_int_equal(owner.looks, 0);
    assert_int_equal(reactor_run_once(owner.scene->reactor, -1), 1);
    assert_int_equal(owner.looks, 1);
    assert_int_equal(now_ms(&owner), start_ms + 40);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 90);
}

static void cancelled_deadline_leaves_no_timer(void **state)
{
    struct owner owner = {.scene = *state};
    limit(&owner, 10);
    deadline_cancel(&owner.deadline, owner.scene->reactor);
    assert_int_equal(owner.deadline.timer, 0);
    run_out(&owner);
    assert_int_equal(owner.calls, 0);
    deadline_cancel(&owner.deadline, owner.scene->reactor);
    limit(&owner, 10);
    run_out(&owner);
    assert_int_not_equal(owner.ended_ms, 0);
}

static void deadline_without_memory_for_its_timer_gets_one_later(void **state)
{
    struct owner owner = {.scene = *state};
    fake_mem_fail_after(1, true);
    limit(&owner, 10);
    assert_int_equal(owner.deadline.timer, 0);
    limit(&owner, 20);
    assert_int_equal(owner.deadline.timer, 0);
    fake_mem_fail_after(0, false);
    int64_t start_ms = now_ms(&owner);
    limit(&owner, 20);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + 20);
}

static void deadline_beyond_the_longest_timer_fires_on_time(void **state)
{
    struct owner owner = {.scene = *state};
    int64_t start_ms = now_ms(&owner);
    int64_t far_ms = 3 * (int64_t)UINT32_MAX / 2;
    limit(&owner, far_ms);
    run_out(&owner);
    assert_int_equal(owner.ended_ms, start_ms + far_ms);
    assert_int_equal(owner.calls, 2);
}

static uint32_t step(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 16;
}

static void random_moves_end_neither_early_nor_late(void **state)
{
    struct owner owner = {.scene = *state};
    uint32_t seed = 15;
    for (int round = 0; round < 2000; round++) {
        owner.ended_ms = 0;
        int64_t at_ms = 0;
        for (uint32_t moves = step(&seed) % 8 + 1; moves > 0; moves--) {
            at_ms = now_ms(&owner) + (step(&seed) % 2 == 0 ? 1 : 10) * (int64_t)(step(&seed) % 50);
            deadline_set(&owner.deadline, owner.scene->reactor, at_ms, on_deadline, &owner);
            fake_sys_advance_ms((int)(step(&seed) % 20));
            assert_true(reactor_run_once(owner.scene->reactor, 0) >= 0);
            if (owner.ended_ms != 0) {
                break;
            }
            assert_true(now_ms(&owner) < at_ms);
        }
        if (owner.ended_ms == 0) {
            run_out(&owner);
            assert_int_equal(owner.ended_ms, at_ms);
        } else {
            assert_true(owner.ended_ms >= at_ms);
        }
        assert_int_equal(owner.deadline.timer, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(deadline_that_does_not_move_fires_on_time),
        SCENE_TEST(later_deadline_leaves_the_timer_which_fires_early_and_is_set_again),
        SCENE_TEST(earlier_deadline_moves_the_timer_at_once),
        SCENE_TEST(earlier_deadline_leaves_a_timer_that_is_earlier_still),
        SCENE_TEST(deadline_in_the_past_is_over_in_the_next_tick),
        SCENE_TEST(never_ends_the_waiting_and_a_deadline_after_it_is_kept),
        SCENE_TEST(owner_can_look_before_its_time_is_over),
        SCENE_TEST(look_after_the_former_deadline_costs_nothing),
        SCENE_TEST(cancelled_deadline_leaves_no_timer),
        SCENE_TEST(deadline_without_memory_for_its_timer_gets_one_later),
        SCENE_TEST(deadline_beyond_the_longest_timer_fires_on_time),
        SCENE_TEST(random_moves_end_neither_early_nor_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
