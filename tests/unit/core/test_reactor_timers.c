/* Timers of the reactor (R5) on the fake clock. The heap below them has test_timer_heap.c. */

#include "tests/lib/reactor_scene.h"

#define NS_PER_MS INT64_C(1000000)

static struct actor timer_actor(struct scene *scene, const char *name)
{
    return (struct actor){.scene = scene, .name = name};
}

/* Run ticks until the clock has moved by ms. */
static void run_for_ms(struct scene *scene, int ms)
{
    int64_t end_ms = reactor_now_ms(scene->reactor) + ms;
    while (reactor_now_ms(scene->reactor) < end_ms) {
        assert_true(reactor_run_once(scene->reactor, (int)(end_ms - reactor_now_ms(scene->reactor))) >= 0);
    }
}

static void without_timers_the_loop_waits_for_ever(void **state)
{
    struct scene *scene = *state;
    fake_sys_clear_trace();
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_int_equal(fake_sys_count(FAKE_NOW_NS), 0); /* nor does it look at the clock for it */
    struct actor a = timer_actor(scene, "a");
    actor_set_timeout(&a, 5);
    assert_int_equal(reactor_cancel_timer(scene->reactor, a.timer), 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_book(scene, "");
}

static void timeouts_fire_in_the_order_of_their_deadlines_and_on_time(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor b = timer_actor(scene, "b");
    struct actor c = timer_actor(scene, "c");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    actor_set_timeout(&a, 30);
    actor_set_timeout(&b, 10);
    fake_sys_advance_ms(15);
    actor_set_timeout(&c, 5);
    while (a.calls == 0) {
        assert_true(reactor_run_once(scene->reactor, -1) > 0);
    }
    assert_book(scene, "b c a ");
    assert_int_equal(b.when_ms, start_ms + 15); /* it was due while nobody ran the loop */
    assert_int_equal(c.when_ms, start_ms + 20);
    assert_int_equal(a.when_ms, start_ms + 30);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK); /* each fires once */
}

static void equal_deadlines_fire_in_the_order_they_were_set(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor b = timer_actor(scene, "b");
    struct actor c = timer_actor(scene, "c");
    struct actor d = timer_actor(scene, "d");
    actor_set_timeout(&d, 5);
    actor_set_timeout(&a, 10);
    actor_set_interval(&b, 10);
    fake_sys_advance_ms(5);
    actor_set_timeout(&c, 5);
    run_for_ms(scene, 5);
    assert_book(scene, "d a b c ");
}

static void wait_ends_neither_before_the_deadline_nor_a_millisecond_later(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    fake_sys_advance_ns(1234567); /* off the millisecond */
    int64_t start_ns = sys_now_ns();
    actor_set_timeout(&a, 7);
    assert_int_equal(reactor_run_once(scene->reactor, 6), 0);
    fake_sys_advance_ns(NS_PER_MS - 1);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_int_equal(reactor_run_once(scene->reactor, 1000), 1);
    assert_int_equal(sys_now_ns(), start_ns + 7 * NS_PER_MS);
}

static void longest_delay_is_kept(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    actor_set_timeout(&a, UINT32_MAX);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_int_equal(a.when_ms, start_ms + UINT32_MAX); /* 49 days */
}

static void clock_stands_still_within_a_tick(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor b = timer_actor(scene, "b");
    actor_set_timeout(&a, 1);
    actor_set_timeout(&b, 2);
    fake_sys_advance_ms(1);
    fake_sys_clear_trace();
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a ");
    assert_int_equal(fake_sys_count(FAKE_NOW_NS), 1);
    fake_sys_advance_ms(41);
    assert_int_equal(reactor_now_ms(scene->reactor), a.when_ms + 41); /* outside of a tick it is now */
}

/* Setting and cancelling inside callbacks. */

static void set_again_at_once(struct actor *actor)
{
    actor_set_timeout(actor, 0);
}

static void timer_set_in_its_own_callback_waits_a_tick(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor io = actor_connect(scene, "io");
    a.act = set_again_at_once;
    actor_give_input(&io);
    actor_set_timeout(&a, 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2); /* at once: no time passes */
    assert_book(scene, "a io:R a io:R ");
    assert_int_equal(a.when_ms, reactor_now_ms(scene->reactor));
}

static void set_other_at_once(struct actor *actor)
{
    actor_set_timeout(actor->other, 0);
}

static void timer_set_in_a_callback_waits_a_tick_though_others_are_due(void **state)
{
    struct scene *scene = *state;
    struct actor first = timer_actor(scene, "first");
    struct actor fresh = timer_actor(scene, "fresh");
    struct actor last = timer_actor(scene, "last");
    first.act = last.act = set_other_at_once;
    first.other = &fresh;
    last.other = &(struct actor){.scene = scene, .name = "freshest"};
    actor_set_timeout(&first, 1);
    actor_set_timeout(&last, 3);
    fake_sys_advance_ms(3);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "first last ");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "fresh freshest ");
}

static void cancel_self(struct actor *actor)
{
    int expected = actor->events != 0 ? 0 : -ENOENT; /* events says whether the timer is alive in its callback */
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->timer), expected);
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->timer), -ENOENT);
}

static void timeout_is_gone_in_its_own_callback(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    a.act = cancel_self;
    actor_set_timeout(&a, 1);
    run_for_ms(scene, 10);
    assert_book(scene, "a ");
    assert_int_equal(reactor_cancel_timer(scene->reactor, a.timer), -ENOENT);
}

static void interval_cancels_itself_in_its_callback(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    a.act = cancel_self;
    a.events = 1;
    actor_set_interval(&a, 1);
    run_for_ms(scene, 10);
    assert_book(scene, "a ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void cancel_other(struct actor *actor)
{
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->other->timer), 0);
    actor->act = NULL;
}

static void timer_that_is_due_can_still_be_cancelled_by_an_earlier_one(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor b = timer_actor(scene, "b");
    struct actor c = timer_actor(scene, "c");
    struct actor d = timer_actor(scene, "d");
    a.act = c.act = cancel_other;
    a.other = &b; /* a timeout */
    c.other = &d; /* an interval */
    actor_set_timeout(&a, 1);
    actor_set_timeout(&b, 1);
    actor_set_timeout(&c, 1);
    actor_set_interval(&d, 1);
    run_for_ms(scene, 5);
    assert_book(scene, "a c ");
}

static void delay_other(struct actor *actor)
{
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->other->timer), 0);
    actor_set_timeout(actor->other, 20);
    actor->act = NULL;
}

static void timer_that_is_due_can_be_set_anew_by_an_earlier_one(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor b = timer_actor(scene, "b");
    a.act = delay_other;
    a.other = &b;
    actor_set_timeout(&a, 1);
    actor_set_timeout(&b, 1);
    run_for_ms(scene, 15);
    assert_book(scene, "a ");
    run_for_ms(scene, 6);
    assert_book(scene, "b ");
}

static void timer_can_be_cancelled_from_an_io_callback(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor io = actor_connect(scene, "io");
    io.act = cancel_other;
    io.other = &a;
    actor_watch(&io, REACTOR_READABLE | REACTOR_EDGE);
    actor_set_timeout(&a, 10);
    fake_peer_send_text(io.peer, "x");
    run_for_ms(scene, 50);
    assert_book(scene, "io:R ");
}

static void find_other_gone(struct actor *actor)
{
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->other->timer), -ENOENT);
}

static void io_comes_too_late_to_cancel_a_timer_that_is_due(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor io = actor_connect(scene, "io");
    io.act = find_other_gone;
    io.other = &a;
    actor_watch(&io, REACTOR_READABLE);
    actor_set_timeout(&a, 10);
    fake_sys_advance_ms(10);
    fake_peer_send_text(io.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a io:R ");
}

static void cancel_of_a_dead_timer_is_refused(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    assert_int_equal(reactor_cancel_timer(scene->reactor, 0), -ENOENT);
    assert_int_equal(reactor_cancel_timer(scene->reactor, UINT64_MAX), -ENOENT);
    actor_set_timeout(&a, 1);
    uint64_t old = a.timer;
    assert_int_equal(reactor_cancel_timer(scene->reactor, old), 0);
    assert_int_equal(reactor_cancel_timer(scene->reactor, old), -ENOENT);
    actor_set_timeout(&a, 1); /* in the same slot */
    assert_int_not_equal(a.timer, old);
    assert_int_equal(reactor_cancel_timer(scene->reactor, old), -ENOENT);
    run_for_ms(scene, 1);
    assert_book(scene, "a ");
}

static void short_memory_gives_timer_zero(void **state)
{
    struct scene *scene = *state;
    fake_mem_fail_after(1, true);
    assert_int_equal(reactor_set_timeout(scene->reactor, 1, on_timer, NULL), 0);
    assert_int_equal(reactor_set_interval(scene->reactor, 1, on_timer, NULL), 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

/* Intervals. */

static void check_grid(struct actor *actor)
{
    assert_int_equal(actor->when_ms % 100, 0); /* the clock starts at a full second */
}

static void interval_of_100_ms_fires_10_times_in_a_second(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    a.act = check_grid;
    actor_set_interval(&a, 100);
    uint64_t ticks = reactor_counts(scene->reactor).ticks;
    run_for_ms(scene, 1000);
    assert_int_equal(a.calls, 10);
    assert_int_equal(reactor_counts(scene->reactor).ticks, ticks + 10);
}

static void interval_does_not_drift_when_ticks_are_late(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    actor_set_interval(&a, 100);
    for (int i = 1; i <= 1000; i++) { /* each wait ends 1 to 99 ms late, each in a way of its own */
        int64_t late_ms = i * 37 % 99 + 1;
        fake_sys_set_wait_overshoot_ns(late_ms * NS_PER_MS);
        assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
        assert_int_equal(a.calls, i);
        assert_int_equal(a.when_ms, start_ms + INT64_C(100) * i + late_ms);
    }
}

static void stall(struct actor *actor)
{
    fake_sys_advance_ms(350);
    actor->act = NULL;
}

static void interval_skips_what_a_stall_missed_and_keeps_its_grid(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor stalled = timer_actor(scene, "stall");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    stalled.act = stall;
    actor_set_interval(&a, 100);
    actor_set_timeout(&stalled, 110); /* until 460 */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
        note(scene, "at %d, ", (int)(a.when_ms - start_ms));
    }
    assert_book(scene, "a at 100, stall at 100, a at 460, a at 500, a at 600, ");
}

static void interval_that_stalls_in_its_own_callback_is_not_called_in_a_row(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    a.act = stall;
    actor_set_interval(&a, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
        note(scene, "at %d, ", (int)(a.when_ms - start_ms));
    }
    assert_book(scene, "a at 100, a at 450, a at 500, ");
}

static void interval_of_zero_is_one_millisecond(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    actor_set_interval(&a, 0);
    run_for_ms(scene, 5);
    assert_int_equal(a.calls, 5);
}

/* Timers and the rest of the tick (R3). */

static void timer_says_when_it_is_due_next(void **state)
{
    struct scene *scene = *state;
    struct actor once = timer_actor(scene, "once");
    struct actor again = timer_actor(scene, "again");
    int64_t start_ms = reactor_now_ms(scene->reactor);
    assert_int_equal(reactor_next_due_ms(scene->reactor), -ENOENT);
    actor_set_timeout(&once, 30);
    actor_set_interval(&again, 20);
    assert_int_equal(reactor_next_due_ms(scene->reactor), start_ms + 20);
    assert_int_equal(reactor_timer_due_ms(scene->reactor, once.timer), start_ms + 30);
    assert_int_equal(reactor_timer_due_ms(scene->reactor, again.timer), start_ms + 20);
    run_for_ms(scene, 35);
    assert_int_equal(reactor_timer_due_ms(scene->reactor, once.timer), -ENOENT);
    assert_int_equal(reactor_timer_due_ms(scene->reactor, again.timer), start_ms + 40);
    assert_int_equal(reactor_timer_due_ms(scene->reactor, 0), -ENOENT);
    scene->book[scene->book_len = 0] = '\0';
}

static void timers_do_not_wait_for_a_busy_fd(void **state)
{
    struct scene *scene = *state;
    struct actor a = timer_actor(scene, "a");
    struct actor io = actor_connect(scene, "io");
    actor_give_input(&io); /* nobody reads it: always ready */
    actor_set_timeout(&a, 2);
    for (int i = 0; i < 3; i++) {
        reactor_run_once(scene->reactor, -1);
        fake_sys_advance_ms(1);
    }
    assert_book(scene, "io:R io:R a io:R ");
}

/* A connection with an idle limit, as a server has it. */
struct idler {
    struct actor actor;  /* its connection */
    int64_t deadline_ms; /* when it has been idle too long */
    bool closed;         /* it was cut */
};

static void on_idle_task(struct reactor *reactor, void *arg)
{
    struct idler *idler = arg;
    idler->closed = reactor_now_ms(reactor) >= idler->deadline_ms; /* look again, now that I/O has had its turn */
}

static void on_idle_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    assert_int_equal(reactor_defer(reactor, on_idle_task, arg), 0);
}

static void stay_alive(struct actor *actor)
{
    ((struct idler *)actor)->deadline_ms = reactor_now_ms(actor->scene->reactor) + 30;
}

static void timer_that_defers_its_decision_sees_data_that_came_while_the_loop_was_busy(void **state)
{
    struct scene *scene = *state;
    struct idler idler = {.actor = actor_connect(scene, "io")};
    idler.actor.act = stay_alive;
    stay_alive(&idler.actor);
    actor_watch(&idler.actor, REACTOR_READABLE | REACTOR_EDGE);
    assert_int_not_equal(reactor_set_timeout(scene->reactor, 30, on_idle_timer, &idler), 0);
    fake_sys_advance_ms(20);
    fake_peer_send_text(idler.actor.peer, "in time");
    fake_sys_advance_ms(20); /* the loop is late: timer and data are met in one tick */
    assert_int_equal(reactor_run_once(scene->reactor, 0), 3);
    assert_false(idler.closed);
    assert_int_not_equal(reactor_set_timeout(scene->reactor, 30, on_idle_timer, &idler), 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_true(idler.closed); /* and without data it is cut */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(without_timers_the_loop_waits_for_ever),
        SCENE_TEST(timeouts_fire_in_the_order_of_their_deadlines_and_on_time),
        SCENE_TEST(equal_deadlines_fire_in_the_order_they_were_set),
        SCENE_TEST(wait_ends_neither_before_the_deadline_nor_a_millisecond_later),
        SCENE_TEST(longest_delay_is_kept),
        SCENE_TEST(clock_stands_still_within_a_tick),
        SCENE_TEST(timer_set_in_its_own_callback_waits_a_tick),
        SCENE_TEST(timer_set_in_a_callback_waits_a_tick_though_others_are_due),
        SCENE_TEST(timeout_is_gone_in_its_own_callback),
        SCENE_TEST(interval_cancels_itself_in_its_callback),
        SCENE_TEST(timer_that_is_due_can_still_be_cancelled_by_an_earlier_one),
        SCENE_TEST(timer_that_is_due_can_be_set_anew_by_an_earlier_one),
        SCENE_TEST(timer_can_be_cancelled_from_an_io_callback),
        SCENE_TEST(io_comes_too_late_to_cancel_a_timer_that_is_due),
        SCENE_TEST(cancel_of_a_dead_timer_is_refused),
        SCENE_TEST(short_memory_gives_timer_zero),
        SCENE_TEST(interval_of_100_ms_fires_10_times_in_a_second),
        SCENE_TEST(interval_does_not_drift_when_ticks_are_late),
        SCENE_TEST(interval_skips_what_a_stall_missed_and_keeps_its_grid),
        SCENE_TEST(interval_that_stalls_in_its_own_callback_is_not_called_in_a_row),
        SCENE_TEST(interval_of_zero_is_one_millisecond),
        SCENE_TEST(timer_says_when_it_is_due_next),
        SCENE_TEST(timers_do_not_wait_for_a_busy_fd),
        SCENE_TEST(timer_that_defers_its_decision_sees_data_that_came_while_the_loop_was_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
