/* Tasks of the reactor on the fake kernel (R4): those that an owner embeds, those that are deferred, those that are
 * posted. What happens when they take long is in test_reactor_spells.c. */

#include "tests/lib/reactor_scene.h"

static void deferred_tasks_run_after_all_io_of_the_tick_in_order(void **state)
{
    struct scene *scene = *state;
    struct actor first = {.scene = scene, .name = "first"};
    struct actor second = {.scene = scene, .name = "second"};
    struct actor third = {.scene = scene, .name = "third"};
    struct actor timer = {.scene = scene, .name = "timer", .act = defer_other, .other = &first};
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = b.act = defer_other;
    a.other = &second;
    b.other = &third;
    actor_watch(&a, REACTOR_READABLE);
    actor_watch(&b, REACTOR_READABLE);
    actor_set_timeout(&timer, 0);
    fake_peer_send_text(a.peer, "x");
    fake_peer_send_text(b.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 6);
    assert_book(scene, "timer a:R b:R first second third ");
}

static void task_deferred_by_a_task_runs_in_the_next_tick(void **state)
{
    struct scene *scene = *state;
    struct actor child = {.scene = scene, .name = "child"};
    struct actor parent = {.scene = scene, .name = "parent", .act = defer_other, .other = &child};
    struct actor sibling = {.scene = scene, .name = "sibling"};
    actor_defer(&parent);
    actor_defer(&sibling);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "parent sibling ");
    int64_t before_ms = reactor_now_ms(scene->reactor);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1); /* at once: a waiting task ends the wait */
    assert_book(scene, "child ");
    assert_int_equal(reactor_now_ms(scene->reactor), before_ms);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void defer_self(struct actor *actor)
{
    actor_defer(actor);
}

static void task_that_defers_itself_for_ever_does_not_starve_io(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "t", .act = defer_self};
    struct actor io = actor_connect(scene, "io");
    io.act = drain;
    actor_defer(&task);
    actor_watch(&io, REACTOR_READABLE);
    reactor_run_once(scene->reactor, -1);
    fake_peer_send_text(io.peer, "x");
    reactor_run_once(scene->reactor, -1);
    reactor_run_once(scene->reactor, -1);
    assert_book(scene, "t io:R t t ");
    task.act = NULL;
}

struct numbered {
    struct scene *scene;
    int next;     /* number expected next */
    int to_defer; /* tasks that the next one defers */
    int deferred; /* so far */
};

static struct numbered *numbered;

static void on_numbered(struct reactor *reactor, void *arg)
{
    assert_int_equal((intptr_t)arg, numbered->next);
    numbered->next++;
    for (; numbered->to_defer > 0; numbered->to_defer--) {
        assert_int_equal(reactor_defer(reactor, on_numbered, (void *)(intptr_t)numbered->deferred++), 0);
    }
}

static void tasks_keep_their_order_while_their_memory_grows(void **state)
{
    struct scene *scene = *state;
    struct numbered numbers = {.scene = scene};
    numbered = &numbers;
    for (int round = 1; round < 40; round++) {
        for (int i = 0; i < 7 * round; i++) {
            assert_int_equal(reactor_defer(scene->reactor, on_numbered, (void *)(intptr_t)numbers.deferred++), 0);
        }
        numbers.to_defer = 3 * round; /* the queue grows while it is being run */
        int left = numbers.deferred + numbers.to_defer;
        assert_int_equal(reactor_run_once(scene->reactor, -1), 7 * round + (round == 1 ? 0 : 3 * (round - 1)));
        assert_int_equal(numbers.next, left - 3 * round);
    }
    assert_int_equal(reactor_run_once(scene->reactor, -1), 3 * 39);
    assert_int_equal(reactor_counts(scene->reactor).tasks, numbers.deferred);
}

static void post_other(struct actor *actor)
{
    assert_int_equal(reactor_post(actor->scene->reactor, on_task, actor->other), 0);
}

static void posts_run_in_order_and_those_of_a_post_in_the_next_tick(void **state)
{
    struct scene *scene = *state;
    struct actor child = {.scene = scene, .name = "child"};
    struct actor first = {.scene = scene, .name = "first", .act = post_other, .other = &child};
    struct actor second = {.scene = scene, .name = "second"};
    assert_int_equal(reactor_post(scene->reactor, on_task, &first), 0);
    assert_int_equal(reactor_post(scene->reactor, on_task, &second), 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "first second ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "child ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_int_equal(reactor_counts(scene->reactor).tasks, 3);
}

static void task_deferred_by_a_post_runs_in_the_next_tick(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    struct actor post = {.scene = scene, .name = "post", .act = defer_other, .other = &task};
    assert_int_equal(reactor_post(scene->reactor, on_task, &post), 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "post ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "task ");
}

/* Tasks that their owner embeds. */

static void scheduled_and_deferred_tasks_run_in_one_order(void **state)
{
    struct scene *scene = *state;
    struct actor first = {.scene = scene, .name = "first"};
    struct actor second = {.scene = scene, .name = "second"};
    struct actor third = {.scene = scene, .name = "third"};
    struct actor io = actor_connect(scene, "io");
    actor_watch(&io, REACTOR_READABLE);
    fake_peer_send_text(io.peer, "x");
    actor_schedule(&first);
    actor_defer(&second);
    actor_schedule(&third);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 4);
    assert_book(scene, "io:R first second third ");
    assert_int_equal(reactor_counts(scene->reactor).tasks, 3);
    assert_false(reactor_is_scheduled(&first.task));
}

static void task_that_is_scheduled_twice_runs_once_in_its_first_place(void **state)
{
    struct scene *scene = *state;
    struct actor first = {.scene = scene, .name = "first"};
    struct actor second = {.scene = scene, .name = "second"};
    actor_schedule(&first);
    actor_schedule(&second);
    actor_schedule(&first);
    actor_schedule(&second);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "first second ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void schedule_self(struct actor *actor)
{
    assert_false(reactor_is_scheduled(&actor->task));
    actor_schedule(actor);
    actor_schedule(actor);
}

static void task_that_schedules_itself_runs_in_the_next_tick(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task", .act = schedule_self};
    struct actor sibling = {.scene = scene, .name = "sibling"};
    actor_schedule(&task);
    actor_schedule(&sibling);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "task sibling ");
    actor_schedule(&sibling);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "task sibling ");
    task.act = NULL;
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void unscheduled_task_is_not_called(void **state)
{
    struct scene *scene = *state;
    struct actor actors[3];
    static const char *const names[] = {"0", "1", "2"};
    for (int i = 0; i < 3; i++) { /* the first, one in the middle, and the last */
        for (int k = 0; k < 3; k++) {
            actors[k] = (struct actor){.scene = scene, .name = names[k]};
            actor_schedule(&actors[k]);
        }
        reactor_unschedule(scene->reactor, &actors[i].task);
        assert_false(reactor_is_scheduled(&actors[i].task));
        reactor_unschedule(scene->reactor, &actors[i].task);
        assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
        assert_int_equal(actors[i].calls, 0);
    }
    assert_book(scene, "1 2 0 2 0 1 ");
    actor_schedule(&actors[0]);
    reactor_unschedule(scene->reactor, &actors[0].task);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK); /* nothing is left that ends the wait */
}

static void unschedule_others(struct actor *actor)
{
    for (struct actor *other = actor->other; other != NULL; other = other->other) {
        reactor_unschedule(other->scene->reactor, &other->task);
    }
}

static void task_unschedules_those_that_are_due_with_it(void **state)
{
    struct scene *scene = *state;
    struct actor last = {.scene = scene, .name = "last"};
    struct actor middle = {.scene = scene, .name = "middle", .other = &last};
    struct actor first = {.scene = scene, .name = "first", .act = unschedule_others, .other = &middle};
    struct actor kept = {.scene = scene, .name = "kept"};
    actor_schedule(&first);
    actor_schedule(&middle);
    actor_schedule(&kept);
    actor_schedule(&last);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "first kept ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
}

static void schedule_self_and_unschedule_others(struct actor *actor)
{
    actor_schedule(actor);
    unschedule_others(actor);
}

static void task_unscheduled_in_the_tick_that_would_run_it_leaves_no_turn_to_later_ones(void **state)
{
    struct scene *scene = *state;
    struct actor last = {.scene = scene, .name = "last"};
    struct actor middle = {.scene = scene, .name = "middle", .other = &last};
    struct actor first = {.scene = scene,
                          .name = "first",
                          .act = schedule_self_and_unschedule_others,
                          .other = &middle};
    actor_schedule(&first);
    actor_schedule(&middle);
    actor_schedule(&last);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    first.act = NULL;
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "first first ");
}

static void on_task_frees(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct actor *actor = REACTOR_OWNER(arg, struct actor, task);
    note(actor->scene, "%s ", actor->name);
    free(actor);
}

static void task_may_free_its_owner(void **state)
{
    struct scene *scene = *state;
    struct actor next = {.scene = scene, .name = "next"};
    struct actor *actor = malloc(sizeof *actor);
    assert_non_null(actor);
    *actor = (struct actor){.scene = scene, .name = "freed", .task.fn = on_task_frees};
    reactor_schedule(scene->reactor, &actor->task);
    actor_schedule(&next);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "freed next ");
}

static void scheduling_needs_no_memory(void **state)
{
    struct scene *scene = *state;
    struct actor actors[300];
    fake_mem_fail_after(1, true);
    for (int i = 0; i < 300; i++) {
        actors[i] = (struct actor){.scene = scene, .name = "t"};
        actor_schedule(&actors[i]);
    }
    assert_int_equal(reactor_run_once(scene->reactor, -1), 300);
    assert_false(fake_mem_failed());
}

static void deferring_without_memory_fails_and_changes_nothing(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    struct actor scheduled = {.scene = scene, .name = "scheduled"};
    fake_mem_fail_after(1, true);
    assert_int_equal(reactor_defer(scene->reactor, on_task, &task), -ENOMEM);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    actor_schedule(&scheduled);
    assert_int_equal(reactor_defer(scene->reactor, on_task, &task), -ENOMEM);
    fake_mem_fail_after(0, false);
    actor_defer(&task);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 2);
    assert_book(scene, "scheduled task ");
}

static void tasks_that_are_still_scheduled_are_not_touched_by_destroy(void **state)
{
    (void)state;
    struct scene scene = {.log_lines = 0};
    assert_int_equal(reactor_create(&scene.reactor, NULL), 0);
    struct actor *actors = malloc(3 * sizeof *actors);
    assert_non_null(actors);
    for (int i = 0; i < 3; i++) {
        actors[i] = (struct actor){.scene = &scene, .name = "never"};
        actor_schedule(&actors[i]);
        actor_defer(&actors[i]);
    }
    free(actors); /* an owner may go before its reactor, if that does nothing but go, too */
    reactor_destroy(scene.reactor);
    assert_book(&scene, "");
    assert_int_equal(fake_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(deferred_tasks_run_after_all_io_of_the_tick_in_order),
        SCENE_TEST(task_deferred_by_a_task_runs_in_the_next_tick),
        SCENE_TEST(task_that_defers_itself_for_ever_does_not_starve_io),
        SCENE_TEST(tasks_keep_their_order_while_their_memory_grows),
        SCENE_TEST(posts_run_in_order_and_those_of_a_post_in_the_next_tick),
        SCENE_TEST(task_deferred_by_a_post_runs_in_the_next_tick),
        SCENE_TEST(scheduled_and_deferred_tasks_run_in_one_order),
        SCENE_TEST(task_that_is_scheduled_twice_runs_once_in_its_first_place),
        SCENE_TEST(task_that_schedules_itself_runs_in_the_next_tick),
        SCENE_TEST(unscheduled_task_is_not_called),
        SCENE_TEST(task_unschedules_those_that_are_due_with_it),
        SCENE_TEST(task_unscheduled_in_the_tick_that_would_run_it_leaves_no_turn_to_later_ones),
        SCENE_TEST(task_may_free_its_owner),
        SCENE_TEST(scheduling_needs_no_memory),
        SCENE_TEST(deferring_without_memory_fails_and_changes_nothing),
        cmocka_unit_test(tasks_that_are_still_scheduled_are_not_touched_by_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
