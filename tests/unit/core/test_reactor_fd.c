/* reactor_fd() (R8): a host with a loop of its own watches one fd and calls reactor_run_once(reactor, 0) when it is
 * readable. The host's loop is an epoll of the fake kernel here, where a wait that would hang fails. */

#include "tests/lib/reactor_scene.h"

#include <sys/epoll.h>

/* Begin to watch the reactor from outside. Returns the host's epoll. */
static int open_host(struct scene *scene)
{
    int host_fd = sys_epoll_create();
    int fd = reactor_fd(scene->reactor);
    assert_true(fd >= 0);
    assert_int_equal(reactor_fd(scene->reactor), fd); /* always the same */
    assert_int_equal(sys_epoll_add(host_fd, fd, EPOLLIN, 0), 0);
    return host_fd;
}

static bool is_readable(const struct scene *scene)
{
    return fake_sys_is_readable(reactor_fd(scene->reactor));
}

/* Serve the reactor as a host does, until it has nothing more to do. Returns how often it was called. */
static int serve(struct scene *scene, int host_fd)
{
    struct epoll_event event;
    for (int turns = 0;; turns++) {
        int ready = sys_epoll_wait(host_fd, &event, 1, -1);
        if (ready == -EDEADLK) {
            return turns;
        }
        assert_int_equal(ready, 1);
        assert_true(turns < 1000); /* readable without an end, and nothing to do */
        assert_true(reactor_run_once(scene->reactor, 0) >= 0);
    }
}

static void idle_reactor_is_not_readable(void **state)
{
    struct scene *scene = *state;
    struct actor io = actor_connect(scene, "io");
    actor_watch(&io, REACTOR_READABLE);
    assert_int_equal(serve(scene, open_host(scene)), 0);
    assert_false(is_readable(scene));
}

static void readable_for_io_until_it_is_served(void **state)
{
    struct scene *scene = *state;
    struct actor io = actor_connect(scene, "io");
    io.act = drain;
    actor_watch(&io, REACTOR_READABLE);
    int host_fd = open_host(scene);
    fake_peer_send_text(io.peer, "x");
    assert_true(is_readable(scene));
    assert_int_equal(serve(scene, host_fd), 1);
    assert_false(is_readable(scene));
    assert_book(scene, "io:R ");
}

static void readable_when_a_timer_is_due_and_not_before(void **state)
{
    struct scene *scene = *state;
    struct actor before = {.scene = scene, .name = "before"};
    struct actor after = {.scene = scene, .name = "after"};
    actor_set_timeout(&before, 10);
    open_host(scene); /* sees the timer that was there before it */
    fake_sys_advance_ns(10 * INT64_C(1000000) - 1);
    assert_false(is_readable(scene));
    fake_sys_advance_ns(1);
    assert_true(is_readable(scene));
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_false(is_readable(scene));
    actor_set_timeout(&after, 10);
    fake_sys_advance_ms(10);
    assert_true(is_readable(scene));
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "before after ");
    assert_false(is_readable(scene));
}

static void readable_for_a_task_deferred_outside_of_a_tick(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    int host_fd = open_host(scene);
    actor_defer(&task);
    assert_true(is_readable(scene));
    assert_int_equal(serve(scene, host_fd), 1);
    actor_defer(&task); /* once more, while the timerfd was not touched in between */
    assert_int_equal(serve(scene, host_fd), 1);
    assert_book(scene, "task task ");
}

static void readable_for_a_scheduled_task_until_it_is_taken_back(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    int host_fd = open_host(scene);
    actor_schedule(&task);
    assert_true(is_readable(scene));
    reactor_unschedule(scene->reactor, &task.task);
    assert_false(is_readable(scene));
    actor_schedule(&task);
    assert_int_equal(serve(scene, host_fd), 1);
    assert_false(is_readable(scene));
    assert_book(scene, "task ");
}

static void defer_while_others_wait(struct actor *actor)
{
    if (actor->calls < 5) {
        actor_defer(actor);
    }
}

static void readable_for_each_task_of_a_chain(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "t", .act = defer_while_others_wait};
    int host_fd = open_host(scene);
    actor_defer(&task);
    assert_int_equal(serve(scene, host_fd), 5);
    assert_book(scene, "t t t t t ");
}

static void set_again_at_once(struct actor *actor)
{
    if (actor->calls < 5) {
        actor_set_timeout(actor, 0);
    }
}

static void readable_for_a_timer_set_to_the_instant_of_the_one_that_fired(void **state)
{
    struct scene *scene = *state;
    struct actor timer = {.scene = scene, .name = "t", .act = set_again_at_once};
    int host_fd = open_host(scene);
    actor_set_timeout(&timer, 3);
    assert_int_equal(serve(scene, host_fd), 5);
    assert_book(scene, "t t t t t ");
}

static void readable_for_a_post(void **state)
{
    struct scene *scene = *state;
    struct actor post = {.scene = scene, .name = "post"};
    int host_fd = open_host(scene);
    for (int i = 0; i < 3; i++) {
        assert_false(is_readable(scene));
        assert_int_equal(reactor_post(scene->reactor, on_task, &post), 0);
        assert_true(is_readable(scene));
        assert_int_equal(serve(scene, host_fd), 1);
    }
    assert_book(scene, "post post post ");
}

static void watch_other(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE);
}

static void watch_self(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE);
    actor->act = drain;
}

static void readable_for_a_registration_that_was_refused_and_asked_for_again(void **state)
{
    struct scene *scene = *state;
    struct actor io = actor_connect(scene, "io");
    struct actor task = {.scene = scene, .name = "task", .act = watch_other, .other = &io};
    int host_fd = open_host(scene);
    io.act = watch_self;
    actor_defer(&task);
    fake_peer_send_text(io.peer, "x");
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -ENOMEM);
    serve(scene, host_fd);
    assert_book(scene, "task io:E io:R ");
}

static void host_loop_runs_intervals_without_drift(void **state)
{
    struct scene *scene = *state;
    struct actor interval = {.scene = scene, .name = "i"};
    struct actor io = actor_connect(scene, "io");
    int host_fd = open_host(scene);
    int64_t start_ms = reactor_now_ms(scene->reactor);
    io.act = drain;
    actor_watch(&io, REACTOR_READABLE);
    actor_set_interval(&interval, 100);
    struct epoll_event event;
    for (int i = 1; i <= 10; i++) {
        assert_int_equal(sys_epoll_wait(host_fd, &event, 1, -1), 1);
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
        assert_int_equal(interval.when_ms, start_ms + INT64_C(100) * i);
        fake_peer_send_text(io.peer, "x");
        assert_int_equal(sys_epoll_wait(host_fd, &event, 1, -1), 1);
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    }
    assert_book(scene, "i io:R i io:R i io:R i io:R i io:R i io:R i io:R i io:R i io:R i io:R ");
}

static void reactor_that_nobody_watches_sets_no_timerfd(void **state)
{
    struct scene *scene = *state;
    struct actor interval = {.scene = scene, .name = "i"};
    actor_set_interval(&interval, 1);
    for (int i = 0; i < 10; i++) {
        reactor_run_once(scene->reactor, -1);
    }
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_CREATE), 0);
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 0);
}

static void timerfd_is_set_only_when_the_next_deadline_changes(void **state)
{
    struct scene *scene = *state;
    struct actor first = {.scene = scene, .name = "first"};
    struct actor later = {.scene = scene, .name = "later"};
    struct actor io = actor_connect(scene, "io");
    open_host(scene);
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 0); /* no timer, nothing to set */
    actor_set_timeout(&first, 10);
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 1);
    actor_set_timeout(&later, 20);
    assert_int_equal(reactor_cancel_timer(scene->reactor, later.timer), 0);
    actor_give_input(&io);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    }
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 1);
    assert_int_equal(reactor_cancel_timer(scene->reactor, first.timer), 0);
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 2); /* disarmed: no wake-up for nothing */
    drain(&io);
    fake_sys_advance_ms(100);
    assert_false(is_readable(scene));
}

static void set_and_cancel_other(struct actor *actor)
{
    actor_set_timeout(actor->other, 1);
    assert_int_equal(reactor_cancel_timer(actor->scene->reactor, actor->other->timer), 0);
}

static void timer_set_and_cancelled_within_a_tick_costs_no_system_call(void **state)
{
    struct scene *scene = *state;
    struct actor io = actor_connect(scene, "io");
    struct actor timer = {.scene = scene, .name = "timer"};
    open_host(scene);
    io.act = set_and_cancel_other;
    io.other = &timer;
    actor_give_input(&io);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(fake_sys_count(FAKE_TIMERFD_SET), 0);
}

static void failure_to_get_a_timerfd_is_told_and_leaves_nothing(void **state)
{
    struct scene *scene = *state;
    int before = fake_sys_open_fds();
    fake_sys_fail_op(FAKE_TIMERFD_CREATE, 0, 1, -EMFILE);
    assert_int_equal(reactor_fd(scene->reactor), -EMFILE);
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -ENOMEM);
    assert_int_equal(reactor_fd(scene->reactor), -ENOMEM);
    assert_int_equal(fake_sys_open_fds(), before);
    assert_int_equal(serve(scene, open_host(scene)), 0); /* and then it works */
}

static void failure_to_set_the_timerfd_is_made_good_by_the_next_tick(void **state)
{
    struct scene *scene = *state;
    struct actor timer = {.scene = scene, .name = "timer"};
    int host_fd = open_host(scene);
    fake_sys_fail_op(FAKE_TIMERFD_SET, 0, 1, -ENOMEM);
    actor_set_timeout(&timer, 5);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_int_equal(serve(scene, host_fd), 1);
    assert_book(scene, "timer ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(idle_reactor_is_not_readable),
        SCENE_TEST(readable_for_io_until_it_is_served),
        SCENE_TEST(readable_when_a_timer_is_due_and_not_before),
        SCENE_TEST(readable_for_a_task_deferred_outside_of_a_tick),
        SCENE_TEST(readable_for_a_scheduled_task_until_it_is_taken_back),
        SCENE_TEST(readable_for_each_task_of_a_chain),
        SCENE_TEST(readable_for_a_timer_set_to_the_instant_of_the_one_that_fired),
        SCENE_TEST(readable_for_a_post),
        SCENE_TEST(readable_for_a_registration_that_was_refused_and_asked_for_again),
        SCENE_TEST(host_loop_runs_intervals_without_drift),
        SCENE_TEST(reactor_that_nobody_watches_sets_no_timerfd),
        SCENE_TEST(timerfd_is_set_only_when_the_next_deadline_changes),
        SCENE_TEST(timer_set_and_cancelled_within_a_tick_costs_no_system_call),
        SCENE_TEST(failure_to_get_a_timerfd_is_told_and_leaves_nothing),
        SCENE_TEST(failure_to_set_the_timerfd_is_made_good_by_the_next_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
