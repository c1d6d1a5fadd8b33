/* What takes long does not hold the loop (R6): a tick begins timers, tasks and posts for 10 ms each, and the next tick
 * goes on with those that are left, after the fds that are ready have had their turn. */

#include "tests/lib/reactor_scene.h"

enum { BUSY_MS = 4 }; /* of one callback: the third of a spell begins after 8 ms, a fourth would after 12 */

static void be_busy(struct actor *actor)
{
    (void)actor;
    fake_sys_advance_ms(BUSY_MS);
}

/* Five actors that are busy when they are called, "0" to "4", and a connection with input. */
struct crowd {
    struct actor actors[5];
    struct actor io;
};

static void make_crowd(struct scene *scene, struct crowd *crowd)
{
    static const char *const names[] = {"0", "1", "2", "3", "4"};
    for (int i = 0; i < 5; i++) {
        crowd->actors[i] = (struct actor){.scene = scene, .name = names[i], .act = be_busy};
    }
    crowd->io = actor_connect(scene, "io");
    crowd->io.act = drain;
    actor_watch(&crowd->io, REACTOR_READABLE);
}

/* Two ticks, with input before the second. */
static void run_two_ticks(struct scene *scene, struct crowd *crowd)
{
    assert_int_equal(reactor_run_once(scene->reactor, -1), 3);
    fake_peer_send_text(crowd->io.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, -1), 3);
}

static void tasks_that_take_long_let_io_in_between(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 5; i++) {
        actor_defer(&crowd.actors[i]);
    }
    run_two_ticks(scene, &crowd);
    assert_book(scene, "0 1 2 io:R 3 4 ");
}

static void tasks_that_are_left_over_run_before_those_deferred_since(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 4; i++) {
        actor_defer(&crowd.actors[i]);
    }
    assert_int_equal(reactor_run_once(scene->reactor, -1), 3);
    actor_defer(&crowd.actors[4]);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "0 1 2 3 4 ");
}

static void timers_that_take_long_let_io_in_between(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 5; i++) {
        actor_set_timeout(&crowd.actors[i], 0);
    }
    run_two_ticks(scene, &crowd);
    assert_book(scene, "0 1 2 3 4 io:R ");
}

static void posts_that_take_long_let_io_in_between(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(reactor_post(scene->reactor, on_task, &crowd.actors[i]), 0);
    }
    run_two_ticks(scene, &crowd);
    assert_book(scene, "0 1 2 io:R 3 4 ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void posts_that_are_left_over_are_freed_with_the_reactor(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(reactor_post(scene->reactor, on_task, &crowd.actors[i]), 0);
    }
    assert_int_equal(reactor_run_once(scene->reactor, -1), 3);
    assert_book(scene, "0 1 2 ");
}

static void be_very_busy(struct actor *actor)
{
    (void)actor;
    fake_sys_advance_ms(20);
}

static void callback_longer_than_a_spell_is_followed_by_no_other(void **state)
{
    struct scene *scene = *state;
    struct crowd crowd;
    make_crowd(scene, &crowd);
    for (int i = 0; i < 3; i++) {
        crowd.actors[i].act = be_very_busy;
        actor_defer(&crowd.actors[i]);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    }
    assert_book(scene, "0 1 2 ");
}

static void lone_task_reads_no_clock(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    reactor_run_once(scene->reactor, 0);
    uint64_t before = fake_sys_count(FAKE_NOW_NS);
    reactor_run_once(scene->reactor, 0);
    uint64_t idle = fake_sys_count(FAKE_NOW_NS) - before;
    actor_defer(&task);
    reactor_run_once(scene->reactor, 0);
    assert_int_equal(fake_sys_count(FAKE_NOW_NS) - before, 2 * idle);
    assert_book(scene, "task ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(tasks_that_take_long_let_io_in_between),
        SCENE_TEST(tasks_that_are_left_over_run_before_those_deferred_since),
        SCENE_TEST(timers_that_take_long_let_io_in_between),
        SCENE_TEST(posts_that_take_long_let_io_in_between),
        SCENE_TEST(posts_that_are_left_over_are_freed_with_the_reactor),
        SCENE_TEST(callback_longer_than_a_spell_is_followed_by_no_other),
        SCENE_TEST(lone_task_reads_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
