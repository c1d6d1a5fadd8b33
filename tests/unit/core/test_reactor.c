/* The reactor on the fake kernel: the order of a tick, what is told of an fd, stopping. Tasks are in
 * test_reactor_tasks.c, registrations in test_reactor_registrations.c, timers in test_reactor_timers.c, the pollable fd
 * in test_reactor_fd.c, failures of the kernel and of memory in test_fault.c. */

#include "tests/lib/reactor_scene.h"

/* The order of a tick (R3). */

static void order_of_a_tick_is_timers_then_io_then_tasks_then_posts(void **state)
{
    struct scene *scene = *state;
    struct actor timer = {.scene = scene, .name = "timer"};
    struct actor task = {.scene = scene, .name = "task"};
    struct actor post = {.scene = scene, .name = "post"};
    struct actor io = actor_connect(scene, "io");
    assert_int_equal(reactor_post(scene->reactor, on_task, &post), 0);
    actor_defer(&task);
    actor_watch(&io, REACTOR_READABLE);
    fake_peer_send_text(io.peer, "x");
    actor_set_timeout(&timer, 3);
    fake_sys_advance_ms(3);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 4);
    assert_book(scene, "timer io:R task post ");
}

static void fds_are_called_in_the_kernels_order(void **state)
{
    struct scene *scene = *state;
    struct actor actors[5];
    static const char *const names[] = {"0", "1", "2", "3", "4"};
    static const int order[] = {3, 0, 4, 2, 1};
    for (int i = 0; i < 5; i++) {
        actors[i] = actor_connect(scene, names[i]);
        actor_watch(&actors[i], REACTOR_READABLE);
    }
    for (int i = 0; i < 5; i++) {
        fake_peer_send_text(actors[order[i]].peer, "x");
    }
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "3:R 0:R 4:R 2:R 1:R ");
}

/* What is told of an fd. */

static void hang_up_with_unread_data_delivers_the_data_first(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    a.act = read_once;
    actor_watch(&a, REACTOR_READABLE);
    fake_peer_send_in_pieces(a.peer, "three", 5, 2);
    fake_peer_hang_up(a.peer);
    for (int i = 0; i < 4; i++) { /* three pieces, then the end */
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
        assert_int_equal(fake_peer_unread(a.peer), i < 2 ? 3 - 2 * i : 0);
    }
    assert_book(scene, "a:R a:R a:R a:R ");
    char byte;
    assert_int_equal(sys_recv(a.fd, &byte, 1), 0);
}

static void hang_up_is_told_to_those_who_did_not_ask_for_readable(void **state)
{
    struct scene *scene = *state;
    struct actor writer = actor_connect(scene, "writer");
    struct actor nothing = actor_connect(scene, "nothing");
    actor_watch(&writer, REACTOR_WRITABLE);
    actor_watch(&nothing, 0);
    fake_peer_send_text(nothing.peer, "unread");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "writer:W ");
    fake_peer_hang_up(writer.peer);
    fake_peer_hang_up(nothing.peer);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "writer:WH nothing:H ");
}

static void end_of_the_stream_is_readable_and_no_hang_up(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_watch(&a, REACTOR_READABLE);
    fake_peer_shutdown(a.peer); /* half-closed: the peer still reads */
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R ");
    assert_int_equal(sys_send(a.fd, "x", 1, false), 1);
    actor_watch(&a, 0);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK); /* nobody asks, nobody is told */
}

static void socket_error_is_reported_with_its_so_error(void **state)
{
    struct scene *scene = *state;
    struct actor reset = actor_connect(scene, "reset");
    struct actor timed_out = actor_connect(scene, "timed_out");
    struct actor healthy = actor_connect(scene, "healthy");
    actor_watch(&reset, REACTOR_READABLE);
    actor_watch(&timed_out, 0);
    actor_watch(&healthy, REACTOR_READABLE);
    fake_peer_send_text(reset.peer, "sent before");
    fake_peer_reset(reset.peer, 0);
    fake_peer_reset(timed_out.peer, -ETIMEDOUT);
    fake_peer_send_text(healthy.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 3);
    assert_book(scene, "reset:RE timed_out:EH healthy:R ");
    assert_int_equal(reset.error, -ECONNRESET);
    assert_int_equal(timed_out.error, -ETIMEDOUT);
    assert_int_equal(healthy.error, 0);
    assert_int_equal(reactor_error(scene->reactor), 0);
    reset.act = drain;
    reactor_run_once(scene->reactor, 0);
    assert_int_equal(reset.events, REACTOR_READABLE); /* the error was taken; what came before it can be read */
    assert_int_equal(fake_peer_unread(reset.peer), 0);
}

static void both_directions_are_told_in_one_call(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_watch(&a, REACTOR_READABLE | REACTOR_WRITABLE);
    fake_peer_send_text(a.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:RW ");
    fake_peer_set_room(a.peer, 0);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R ");
}

/* Both triggering modes. */

static void level_triggered_fd_is_told_as_long_as_it_holds(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_give_input(&a);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    }
    drain(&a);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
}

static void edge_triggered_fd_is_told_once_for_each_arrival(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_watch(&a, REACTOR_READABLE | REACTOR_WRITABLE | REACTOR_EDGE);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:W "); /* what held when it was registered */
    fake_peer_send_in_pieces(a.peer, "xyz", 3, 2);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_book(scene, "a:RW ");
    drain(&a);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1); /* the second piece */
    drain(&a);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    fake_peer_set_room(a.peer, 0);
    fake_peer_add_room(a.peer, 10);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:RW a:W ");
    fake_peer_shutdown(a.peer);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_book(scene, "a:RWM ");
}

static void end_behind_the_last_bytes_is_told_with_them(void **state)
{
    struct scene *scene = *state;
    struct actor edge = actor_connect(scene, "edge");
    struct actor level = actor_connect(scene, "level");
    actor_watch(&edge, REACTOR_READABLE | REACTOR_EDGE);
    actor_watch(&level, REACTOR_READABLE);
    fake_peer_send_text(edge.peer, "x");
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "edge:R ");
    drain(&edge);
    fake_peer_send_text(edge.peer, "y");
    fake_peer_send_text(level.peer, "y");
    fake_peer_shutdown(edge.peer);
    fake_peer_shutdown(level.peer);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "edge:RM level:R ");
    actor_watch(&edge, 0); /* who does not read has no use for it */
    fake_peer_close(edge.peer);
    drain(&level);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "level:R ");
}

static void end_is_told_to_those_who_do_not_read(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor reader = actor_connect(scene, "reader");
    actor_watch(&a, REACTOR_END);
    actor_watch(&reader, REACTOR_READABLE | REACTOR_END);
    fake_peer_send_text(a.peer, "unread");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    fake_peer_shutdown(a.peer);
    fake_peer_send_text(reader.peer, "unread");
    fake_peer_shutdown(reader.peer);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a:F reader:RF ");
}

static void watch_edge(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE | REACTOR_EDGE);
}

static void edge_that_came_while_reading_was_paused_is_told_when_it_resumes(void **state)
{
    struct scene *scene = *state;
    struct actor pauser = actor_connect(scene, "pauser");
    struct actor a = actor_connect(scene, "a");
    struct actor resumer = actor_connect(scene, "resumer");
    pauser.other = resumer.other = &a;
    pauser.act = ignore_other;
    resumer.act = watch_edge;
    actor_watch(&pauser, REACTOR_READABLE);
    actor_watch(&a, REACTOR_READABLE | REACTOR_EDGE);
    actor_watch(&resumer, REACTOR_READABLE);
    fake_peer_send_text(pauser.peer, "x");
    fake_peer_send_text(a.peer, "x"); /* fetched in one batch with the two, and dropped in between */
    fake_peer_send_text(resumer.peer, "x");
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "pauser:R resumer:R ");
    pauser.act = resumer.act = drain;
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "pauser:R resumer:R a:R ");
}

/* The loop. */

static void run_once_waits_no_longer_than_it_is_told(void **state)
{
    struct scene *scene = *state;
    int64_t start_ms = reactor_now_ms(scene->reactor);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_int_equal(reactor_now_ms(scene->reactor), start_ms);
    assert_int_equal(reactor_run_once(scene->reactor, 5), 0);
    assert_int_equal(reactor_now_ms(scene->reactor), start_ms + 5);
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK); /* would wait for ever */
}

static void interrupted_wait_is_an_empty_tick(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor task = {.scene = scene, .name = "task"};
    actor_give_input(&a);
    actor_defer(&task);
    fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, 1, -EINTR);
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "task ");
    assert_int_equal(reactor_run_once(scene->reactor, -1), 1);
    assert_book(scene, "a:R ");
}

static void failed_wait_ends_the_run(void **state)
{
    struct scene *scene = *state;
    fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, 1, -EINTR);
    fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, 1, -EBADF);
    assert_int_equal(reactor_run(scene->reactor), -EBADF);
    fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, 1, -ENOMEM);
    assert_int_equal(reactor_run_once(scene->reactor, 0), -ENOMEM);
}

/* Kernels before 5.11, and filters of system calls that are older, do not know the call that waits for nanoseconds. */
static void kernel_without_ns_waits_is_asked_once(void **state)
{
    (void)state;
    static const int errors[] = {-ENOSYS, -EPERM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct reactor *reactor = NULL;
        assert_int_equal(reactor_create(&reactor, NULL), 0);
        fake_sys_clear_trace();
        fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, 1, errors[i]);
        for (int n = 0; n < 3; n++) {
            int64_t start_ms = reactor_now_ms(reactor);
            assert_int_equal(reactor_run_once(reactor, 5), 0);
            assert_int_equal(reactor_now_ms(reactor), start_ms + 5);
        }
        assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT), 1);
        assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT_MS), 3);
        reactor_destroy(reactor);
    }
}

/* The wait is rounded up: a timer is late by less than a millisecond, and the loop does not spin until then. */
static void timer_of_a_kernel_without_ns_waits_fires_at_the_next_millisecond(void **state)
{
    struct scene *scene = *state;
    fake_sys_fail_op(FAKE_EPOLL_WAIT, 0, FAKE_FOREVER, -ENOSYS);
    struct actor timer = {.scene = scene, .name = "timer"};
    actor_set_timeout(&timer, 3);
    fake_sys_advance_ns(500000);
    fake_sys_clear_trace();
    while (scene->book[0] == '\0') {
        assert_true(reactor_run_once(scene->reactor, -1) >= 0);
    }
    assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT_MS), 1);
}

static void stop_before_run_is_honoured(void **state)
{
    struct scene *scene = *state;
    struct actor task = {.scene = scene, .name = "task"};
    actor_defer(&task);
    reactor_stop(scene->reactor);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_book(scene, "");
    assert_int_equal(reactor_counts(scene->reactor).ticks, 0);
    assert_int_equal(reactor_run(scene->reactor), -EDEADLK); /* it counts once */
    assert_book(scene, "task ");
}

static void stop(struct actor *actor)
{
    reactor_stop(actor->scene->reactor);
    if (actor->other != NULL) {
        actor_defer(actor->other);
    }
}

static void stop_from_a_callback_ends_the_run_after_its_tick(void **state)
{
    struct scene *scene = *state;
    struct actor never = {.scene = scene, .name = "never"};
    struct actor task = {.scene = scene, .name = "task", .act = defer_other, .other = &never};
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = stop;
    a.other = &task;
    actor_give_input(&a);
    actor_give_input(&b);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_book(scene, "a:R b:R task ");
    assert_int_equal(reactor_counts(scene->reactor).ticks, 1);
}

static void stop_from_timers_and_tasks_works_and_the_loop_can_run_again(void **state)
{
    struct scene *scene = *state;
    struct actor timer = {.scene = scene, .name = "timer", .act = stop};
    struct actor task = {.scene = scene, .name = "task", .act = stop};
    actor_set_timeout(&timer, 10);
    assert_int_equal(reactor_run(scene->reactor), 0);
    actor_defer(&task);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_int_equal(reactor_post(scene->reactor, on_task, &task), 0);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_book(scene, "timer task task ");
    assert_int_equal(reactor_run(scene->reactor), -EDEADLK);
}

static void idle_reactor_makes_no_wake_up_in_a_second(void **state)
{
    struct scene *scene = *state;
    struct actor server = {.scene = scene, .name = "server", .fd = open_listener()};
    struct actor idle = actor_connect(scene, "idle");
    struct actor second = {.scene = scene, .name = "second", .act = stop};
    actor_watch(&server, REACTOR_READABLE);
    actor_watch(&idle, REACTOR_READABLE);
    reactor_stop(scene->reactor); /* one wake-up that is still under way, as after the start of a server */
    assert_int_equal(reactor_run(scene->reactor), 0);
    reactor_run_once(scene->reactor, 0);

    uint64_t ticks = reactor_counts(scene->reactor).ticks;
    fake_sys_clear_trace();
    actor_set_timeout(&second, 1000);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_book(scene, "second ");
    assert_int_equal(reactor_counts(scene->reactor).ticks, ticks + 1);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_WAIT), 1);
}

static void writable_wakes_the_loop_only_while_it_is_asked_for(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_watch(&a, REACTOR_READABLE | REACTOR_WRITABLE);
    assert_int_equal(reactor_run_once(scene->reactor, 1000), 1);
    actor_watch(&a, REACTOR_READABLE);
    assert_int_equal(reactor_run_once(scene->reactor, 1000), 0);
}

/* Budgets (R6). */

static void crowd_of_ready_fds_is_served_in_turns_with_timers_in_between(void **state)
{
    enum { CROWD = 1200 };
    struct scene *scene = *state;
    struct actor *crowd = calloc(CROWD, sizeof *crowd);
    struct actor timer = {.scene = scene, .name = "timer"};
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = actor_connect(scene, "");
        actor_watch(&crowd[i], REACTOR_READABLE);
        fake_peer_send_text(crowd[i].peer, "x");
    }
    actor_set_interval(&timer, 1);
    int served = 0;
    int ticks = 0;
    while (served < CROWD) {
        fake_sys_advance_ms(1);
        int calls = reactor_run_once(scene->reactor, 0);
        scene->book[scene->book_len = 0] = '\0';
        assert_int_equal(timer.calls, ++ticks); /* the crowd does not keep timers waiting */
        assert_true(calls > 1 && calls < CROWD);
        served += calls - 1;
    }
    for (int i = 0; i < CROWD; i++) { /* nobody was served twice before all were served once, though all stay ready */
        assert_true(crowd[i].calls == 1 || crowd[i].calls == 2);
    }
    free(crowd);
}

/* Memory (R7). */

static void register_other(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE);
}

static void fd_numbers_may_be_high_and_far_apart(void **state)
{
    struct scene *scene = *state;
    static const int numbers[] = {70000, 255 + 256 * 8, 256 + 256 * 8, 1000000, 65536, 65535, 131072};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    struct actor actors[COUNT];
    for (int i = 0; i < COUNT; i++) {
        actors[i] = (struct actor){.scene = scene, .name = "", .peer = fake_peer_create(numbers[i])};
        actors[i].fd = numbers[i];
        actor_watch(&actors[i], REACTOR_READABLE);
    }
    for (int i = 0; i < COUNT; i++) {
        fake_peer_send_text(actors[i].peer, "x");
    }
    assert_int_equal(reactor_run_once(scene->reactor, 0), COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(actors[i].calls, 1);
        assert_int_equal(reactor_deregister(scene->reactor, numbers[i]), 0);
    }
    assert_int_equal(reactor_deregister(scene->reactor, 70001), -ENOENT);
    assert_true(fake_mem_live_bytes() < 1 << 18); /* a sparse table, though a number was a million */
}

static void table_may_grow_under_the_callback_that_makes_it_grow(void **state)
{
    struct scene *scene = *state;
    struct actor far = {.scene = scene, .name = "far", .peer = fake_peer_create(500000), .fd = 500000};
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = register_other; /* moves the list of chunks while a is being called and b's event waits */
    a.other = &far;
    actor_give_input(&a);
    actor_give_input(&b);
    fake_peer_send_text(far.peer, "x");
    reactor_run_once(scene->reactor, 0);
    a.act = NULL;
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R b:R a:R b:R far:R ");
}

/* What a busy server does in a tick. */
struct churn {
    struct actor actor; /* its connection */
    struct actor timer; /* its timer, set anew in each tick */
    struct actor task;  /* its task */
    int ticks;          /* so far */
};

static void on_churn_task(struct reactor *reactor, void *arg)
{
    struct churn *churn = arg;
    churn->ticks++;
    assert_int_equal(reactor_deregister(reactor, churn->actor.fd), 0);
    assert_int_equal(reactor_register(reactor, churn->actor.fd, REACTOR_READABLE, on_event, &churn->actor), 0);
}

static void churn_tick(struct actor *actor)
{
    struct churn *churn = (struct churn *)actor;
    struct reactor *reactor = actor->scene->reactor;
    actor->scene->book[actor->scene->book_len = 0] = '\0';
    reactor_cancel_timer(reactor, churn->timer.timer);
    actor_set_timeout(&churn->timer, (uint32_t)(churn->ticks % 3));
    toggle_writable(actor);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(reactor_defer(reactor, on_churn_task, churn), 0);
    }
}

static void steady_state_does_not_allocate(void **state)
{
    struct scene *scene = *state;
    struct churn churn = {.actor = actor_connect(scene, "a"), .timer = {.scene = scene, .name = "timer"}};
    churn.actor.act = churn_tick;
    actor_watch(&churn.actor, REACTOR_READABLE);
    fake_peer_send_text(churn.actor.peer, "x");
    struct actor interval = {.scene = scene, .name = "interval"};
    actor_set_interval(&interval, 2);
    for (int i = 0; i < 100; i++) { /* to its size */
        fake_sys_advance_ms(1);
        assert_true(reactor_run_once(scene->reactor, 0) > 0);
    }
    uint64_t calls = fake_mem_calls();
    for (int i = 0; i < 10000; i++) {
        fake_sys_advance_ms(1);
        assert_true(reactor_run_once(scene->reactor, 0) > 0);
        fake_sys_clear_trace();
    }
    assert_int_equal(fake_mem_calls(), calls);
    assert_int_equal(churn.actor.calls, 10100);
    assert_int_equal(churn.ticks, 101000);
    assert_true(churn.timer.calls > 1000);
    assert_int_equal(interval.calls, 5050);
}

/* The end. */

static void destroy_with_everything_still_there_leaks_nothing(void **state)
{
    (void)state;
    struct scene scene = {.log_lines = 0};
    struct reactor *reactor;
    assert_int_equal(reactor_create(&reactor, NULL), 0);
    scene.reactor = reactor;
    int before = fake_sys_open_fds();
    struct actor actors[100];
    for (int i = 0; i < 100; i++) {
        actors[i] = actor_connect(&scene, "never");
        actor_watch(&actors[i], REACTOR_READABLE | REACTOR_WRITABLE);
        actor_set_timeout(&actors[i], (uint32_t)i);
        actor_set_interval(&actors[i], 1);
        actor_defer(&actors[i]);
        assert_int_equal(reactor_post(reactor, on_task, &actors[i]), 0);
    }
    assert_true(reactor_fd(reactor) >= 0);
    reactor_destroy(reactor);
    assert_string_equal(scene.book, "");
    assert_int_equal(fake_sys_open_fds(), before + 100 - 2); /* the fds belong to their owners */
    reactor_destroy(NULL);
}

static void two_reactors_do_not_know_of_each_other(void **state)
{
    struct scene *scene = *state;
    struct scene other = {.log_lines = 0};
    assert_int_equal(reactor_create(&other.reactor, NULL), 0);
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(&other, "b");
    actor_give_input(&a);
    actor_give_input(&b);
    assert_int_equal(reactor_run_once(other.reactor, 0), 1);
    assert_book(scene, "");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R ");
    assert_book(&other, "b:R ");
    reactor_destroy(other.reactor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(order_of_a_tick_is_timers_then_io_then_tasks_then_posts),
        SCENE_TEST(fds_are_called_in_the_kernels_order),
        SCENE_TEST(hang_up_with_unread_data_delivers_the_data_first),
        SCENE_TEST(hang_up_is_told_to_those_who_did_not_ask_for_readable),
        SCENE_TEST(end_of_the_stream_is_readable_and_no_hang_up),
        SCENE_TEST(socket_error_is_reported_with_its_so_error),
        SCENE_TEST(both_directions_are_told_in_one_call),
        SCENE_TEST(level_triggered_fd_is_told_as_long_as_it_holds),
        SCENE_TEST(edge_triggered_fd_is_told_once_for_each_arrival),
        SCENE_TEST(end_behind_the_last_bytes_is_told_with_them),
        SCENE_TEST(end_is_told_to_those_who_do_not_read),
        SCENE_TEST(edge_that_came_while_reading_was_paused_is_told_when_it_resumes),
        SCENE_TEST(run_once_waits_no_longer_than_it_is_told),
        SCENE_TEST(interrupted_wait_is_an_empty_tick),
        SCENE_TEST(failed_wait_ends_the_run),
        SCENE_TEST(kernel_without_ns_waits_is_asked_once),
        SCENE_TEST(timer_of_a_kernel_without_ns_waits_fires_at_the_next_millisecond),
        SCENE_TEST(stop_before_run_is_honoured),
        SCENE_TEST(stop_from_a_callback_ends_the_run_after_its_tick),
        SCENE_TEST(stop_from_timers_and_tasks_works_and_the_loop_can_run_again),
        SCENE_TEST(idle_reactor_makes_no_wake_up_in_a_second),
        SCENE_TEST(writable_wakes_the_loop_only_while_it_is_asked_for),
        SCENE_TEST(crowd_of_ready_fds_is_served_in_turns_with_timers_in_between),
        SCENE_TEST(fd_numbers_may_be_high_and_far_apart),
        SCENE_TEST(table_may_grow_under_the_callback_that_makes_it_grow),
        SCENE_TEST(steady_state_does_not_allocate),
        SCENE_TEST(destroy_with_everything_still_there_leaks_nothing),
        SCENE_TEST(two_reactors_do_not_know_of_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
