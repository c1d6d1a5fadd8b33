/* The reactor on the fake kernel: registrations, the order of a tick, tasks, stopping. Timers are in
 * test_reactor_timers.c, the pollable fd in test_reactor_fd.c, failures of the kernel and of memory in test_fault.c. */

#include "tests/lib/reactor_scene.h"

#include <netinet/in.h>
#include <sys/epoll.h>

/* Stale events (R1). */

static void deregister_other(struct actor *actor)
{
    assert_int_equal(reactor_deregister(actor->scene->reactor, actor->other->fd), 0);
}

static void callback_deregisters_the_other_of_two_ready_fds_which_is_never_called(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = b.act = deregister_other;
    a.other = &b;
    b.other = &a;
    actor_watch(&a, REACTOR_READABLE);
    actor_watch(&b, REACTOR_READABLE);
    fake_peer_send_text(b.peer, "x"); /* b is first in the kernel's order, though younger */
    fake_peer_send_text(a.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "b:R ");
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 1);

    b.act = NULL;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "b:R "); /* and a is not called later either, though there is something to read */
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 1);
}

/* A server whose callbacks close one connection and accept another, which gets the same fd number. */
struct exchange {
    struct actor actor;    /* who acts */
    int listener_fd;       /* has a connection waiting */
    struct actor *victim;  /* whose fd is closed */
    struct actor *heir;    /* who gets the new connection */
    bool by_reactor_close; /* close with reactor_close() */
};

static void exchange_connection(struct actor *actor)
{
    struct exchange *exchange = (struct exchange *)actor;
    struct reactor *reactor = actor->scene->reactor;
    int old_fd = exchange->victim->fd;
    if (exchange->by_reactor_close) {
        reactor_close(reactor, old_fd);
    } else {
        assert_int_equal(reactor_deregister(reactor, old_fd), 0);
        sys_close(old_fd);
    }
    exchange->heir->fd = sys_accept(exchange->listener_fd, NULL, NULL);
    assert_int_equal(exchange->heir->fd, old_fd); /* the whole point */
    actor_watch(exchange->heir, REACTOR_READABLE);
    actor->act = NULL;
}

static int open_listener(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = sys_socket(AF_INET);
    assert_int_equal(sys_bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(sys_listen(fd, 16), 0);
    return fd;
}

static void reuse_number(struct scene *scene, bool own_fd, bool by_reactor_close, bool same_arg)
{
    struct exchange first = {.actor = actor_connect(scene, "first"), .listener_fd = open_listener()};
    struct actor second = actor_connect(scene, "second");
    struct actor heir = {.scene = scene, .name = "heir", .peer = fake_peer_connect(first.listener_fd)};
    first.victim = own_fd ? &first.actor : &second;
    first.heir = same_arg ? first.victim : &heir; /* as with connections that come from a pool */
    first.by_reactor_close = by_reactor_close;
    first.actor.act = exchange_connection;
    actor_watch(&first.actor, REACTOR_READABLE);
    actor_watch(&second, REACTOR_READABLE);
    fake_peer_send_text(first.actor.peer, "x");
    fake_peer_send_text(second.peer, "y");

    assert_int_equal(reactor_run_once(scene->reactor, 0), own_fd ? 2 : 1);
    assert_book(scene, own_fd ? "first:R second:R " : "first:R ");
    second.act = first.actor.act = drain;
    reactor_run_once(scene->reactor, 0); /* nothing is left of the old connection */
    assert_book(scene, own_fd ? "second:R " : "first:R ");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_book(scene, "");

    first.heir->act = drain;
    fake_peer_send_text(heir.peer, "z"); /* while the new one works */
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(first.heir->events, REACTOR_READABLE);
    assert_int_equal(fake_peer_unread(heir.peer), 0);
    scene->book[scene->book_len = 0] = '\0';
    reactor_deregister(scene->reactor, first.actor.fd);
    reactor_deregister(scene->reactor, second.fd);
    reactor_deregister(scene->reactor, heir.fd);
}

static void fd_number_that_is_reused_within_a_batch_gets_no_stale_event(void **state)
{
    for (int variant = 0; variant < 8; variant++) {
        reuse_number(*state, variant & 1, variant & 2, variant & 4);
        assert_int_equal(reactor_run_once(((struct scene *)*state)->reactor, 0), 0);
    }
}

static void new_callback_of_an_fd_gets_the_events_that_come_after_it(void **state)
{
    struct scene *scene = *state;
    struct exchange a = {.actor = actor_connect(scene, "a"), .listener_fd = open_listener()};
    struct actor heir = {.scene = scene, .name = "heir", .peer = fake_peer_connect(a.listener_fd)};
    a.victim = &a.actor;
    a.heir = &heir;
    a.actor.act = exchange_connection;
    actor_watch(&a.actor, REACTOR_READABLE);
    fake_peer_send_text(a.actor.peer, "old");
    fake_peer_send_text(heir.peer, "new"); /* was there before the registration */
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R heir:R ");
}

/* Hand the other's fd over to a new callback. */
static void replace_other(struct actor *actor)
{
    struct actor *heir = actor->other->other;
    heir->fd = actor->other->fd;
    actor_watch(heir, REACTOR_READABLE);
}

static void event_of_a_replaced_registration_does_not_reach_the_new_one(void **state)
{
    struct scene *scene = *state;
    struct actor heir = {.scene = scene, .name = "heir"};
    struct actor b = actor_connect(scene, "b");
    struct actor a = actor_connect(scene, "a");
    a.act = replace_other;
    a.other = &b;
    b.other = &heir;
    actor_give_input(&a);
    actor_give_input(&b);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R ");
    a.act = drain;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a:R heir:R "); /* the kernel says again what is still true */
}

static void widen_other(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE | REACTOR_WRITABLE);
}

static void ignore_other(struct actor *actor)
{
    actor_watch(actor->other, 0);
}

static void changed_interest_keeps_the_events_of_the_same_registration(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = widen_other;
    a.other = &b;
    actor_give_input(&a);
    actor_give_input(&b);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a:R b:R ");
    a.act = ignore_other;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R "); /* b had READABLE and WRITABLE, but nobody wants them now */
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 0);
}

static void deregister_and_register_other(struct actor *actor)
{
    deregister_other(actor);
    actor_watch(actor->other, REACTOR_READABLE);
}

static void registering_again_after_deregistering_starts_afresh(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = deregister_and_register_other;
    a.other = &b;
    actor_give_input(&a);
    actor_give_input(&b);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R ");
    a.act = drain;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a:R b:R ");
}

/* Changes of registrations (R2). */

static void deregister_unknown_fd_is_refused(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    assert_int_equal(reactor_register(scene->reactor, -1, REACTOR_READABLE, on_event, &a), -EBADF);
    assert_int_equal(reactor_deregister(scene->reactor, -1), -ENOENT);
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), -ENOENT);
    assert_int_equal(reactor_deregister(scene->reactor, 1 << 30), -ENOENT);
    actor_watch(&a, REACTOR_READABLE);
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), 0);
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), -ENOENT);
    fake_peer_send_text(a.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
}

static void toggle_writable(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE | REACTOR_WRITABLE);
    actor_watch(actor, REACTOR_READABLE);
}

static void toggle_writable_thrice(struct actor *actor)
{
    toggle_writable(actor);
    toggle_writable(actor);
    actor_watch(actor, REACTOR_READABLE | REACTOR_WRITABLE);
}

static void register_and_deregister_other(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE);
    deregister_other(actor);
}

static void changes_that_cancel_out_cost_no_system_call(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor stranger = actor_connect(scene, "stranger");
    a.other = &stranger;
    actor_give_input(&a);
    fake_sys_clear_trace();

    a.act = toggle_writable;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(count_epoll_changes(), 0);

    a.act = register_and_deregister_other;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(count_epoll_changes(), 0);

    a.act = toggle_writable_thrice;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(count_epoll_changes(), 1);
    assert_int_equal(fake_sys_count(FAKE_EPOLL_MODIFY), 1);
    assert_book(scene, "a:R a:R a:R ");
    a.act = NULL;
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:RW ");

    actor_watch(&a, REACTOR_READABLE | REACTOR_WRITABLE); /* outside of a callback, too */
    assert_int_equal(count_epoll_changes(), 1);
}

static void watch_other(struct actor *actor)
{
    actor_watch(actor->other, REACTOR_READABLE);
    assert_int_equal(count_epoll_changes(), 0); /* not yet */
    actor->act = NULL;
}

static void check_one_change(struct actor *actor)
{
    (void)actor;
    assert_int_equal(count_epoll_changes(), 1);
}

static void queued_registrations_are_applied_after_io_and_before_tasks(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    struct actor task = {.scene = scene, .name = "task", .act = check_one_change};
    a.act = watch_other;
    a.other = &b;
    actor_watch(&a, REACTOR_READABLE);
    actor_defer(&task);
    fake_peer_send_text(a.peer, "x");
    fake_peer_send_text(b.peer, "x");
    fake_sys_clear_trace();
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R task ");
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R b:R ");
}

static void registrations_of_a_task_are_applied_in_its_tick(void **state)
{
    struct scene *scene = *state;
    struct actor b = actor_connect(scene, "b");
    struct actor task = {.scene = scene, .name = "task", .act = watch_other, .other = &b};
    fake_peer_send_text(b.peer, "x");
    actor_defer(&task);
    fake_sys_clear_trace();
    reactor_run_once(scene->reactor, -1);
    assert_int_equal(count_epoll_changes(), 1);
    reactor_run_once(scene->reactor, -1); /* would be a deadlock otherwise */
    assert_book(scene, "task b:R ");
}

static void deregister_and_close(struct actor *actor)
{
    assert_int_equal(reactor_deregister(actor->scene->reactor, actor->fd), 0);
    sys_close(actor->fd);
}

static void fd_may_be_closed_right_after_deregistering(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    a.act = deregister_and_close;
    actor_give_input(&a);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_true(fake_peer_saw_close(a.peer));
    assert_int_equal(reactor_run_once(scene->reactor, 0), 0);
    assert_int_equal(scene->log_lines, 0);
}

static void closed_fd_whose_duplicate_lives_on_does_not_wake_the_loop(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a"); /* like a listener inherited from the host, which keeps its own fd */
    int duplicate_fd = sys_duplicate(a.fd);
    a.act = deregister_and_close;
    actor_give_input(&a);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_int_equal(fake_peer_unread(a.peer), 1); /* ready for good */
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 0);
    sys_close(duplicate_fd);
}

static void close_self(struct actor *actor)
{
    reactor_close(actor->scene->reactor, actor->fd);
}

static void reactor_close_costs_no_epoll_call(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor stranger = actor_connect(scene, "stranger");
    a.act = close_self;
    actor_give_input(&a);
    fake_sys_clear_trace();
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    reactor_close(scene->reactor, stranger.fd); /* one that was never registered */
    assert_int_equal(count_epoll_changes(), 0);
    assert_true(fake_peer_saw_close(a.peer));
    assert_true(fake_peer_saw_close(stranger.peer));
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), -ENOENT);
    struct actor next = actor_connect(scene, "next");
    assert_int_equal(next.fd, a.fd);
    actor_watch(&next, REACTOR_READABLE);
    assert_int_equal(count_epoll_changes(), 1);
}

static void fd_that_the_kernel_still_knows_can_be_registered_again(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    int duplicate_fd = sys_duplicate(a.fd);
    actor_watch(&a, REACTOR_READABLE);
    reactor_close(scene->reactor, a.fd); /* epoll keeps it for the duplicate's sake */
    struct actor b = {.scene = scene, .name = "b", .fd = sys_duplicate(duplicate_fd)};
    assert_int_equal(b.fd, a.fd);
    actor_watch(&b, REACTOR_READABLE);
    fake_peer_send_text(a.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "b:R ");
}

static void fd_closed_behind_the_reactors_back_can_be_registered_again(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    actor_watch(&a, REACTOR_READABLE);
    sys_close(a.fd); /* without a word: the kernel has forgotten it, the reactor has not */
    struct actor b = actor_connect(scene, "b");
    assert_int_equal(b.fd, a.fd);
    actor_give_input(&b);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "b:R ");
}

/* Refused changes. */

static void registration_refused_in_a_callback_is_reported_as_error(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = watch_other;
    a.other = &b;
    actor_give_input(&a);
    fake_sys_clear_trace();
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -ENOSPC);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 2);
    assert_book(scene, "a:R b:E ");
    assert_int_equal(b.error, -ENOSPC);
    assert_int_equal(reactor_error(scene->reactor), 0);
    assert_int_equal(scene->log_lines, 1);
    assert_int_equal(reactor_counts(scene->reactor).events, 2);
    assert_int_equal(reactor_deregister(scene->reactor, b.fd), -ENOENT); /* it is gone */
}

static void refused_change_ends_the_old_registration_as_well(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    a.act = widen_other;
    a.other = &a;
    actor_give_input(&a);
    fake_sys_fail_op(FAKE_EPOLL_MODIFY, 0, 1, -ENOMEM);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R a:E ");
    /* What the kernel was told before must not wake the loop for ever. The callback has asked once more: that works. */
    a.act = drain;
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:RW ");
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), 0);
    fake_peer_send_text(a.peer, "y");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 0);
}

static void refused_change_leaves_nothing_in_the_kernel(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    a.act = widen_other;
    a.other = &b;
    actor_watch(&a, REACTOR_READABLE | REACTOR_EDGE);
    actor_watch(&b, REACTOR_READABLE);
    fake_peer_send_text(a.peer, "x");
    fake_sys_fail_op(FAKE_EPOLL_MODIFY, 0, 1, -ENOMEM);
    reactor_run_once(scene->reactor, 0);
    assert_book(scene, "a:R b:E ");
    fake_peer_send_text(b.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, -1), -EDEADLK);
    assert_int_equal(reactor_counts(scene->reactor).stale_events, 0);
}

static void insist(struct actor *actor)
{
    actor_watch(actor, REACTOR_READABLE);
}

static void callback_that_insists_on_a_refused_change_cannot_hold_the_loop(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = actor_connect(scene, "b");
    struct actor trigger = {.scene = scene, .name = "trigger", .act = watch_other, .other = &a};
    struct actor timer = {.scene = scene, .name = "timer"};
    a.act = insist;
    actor_give_input(&b);
    actor_set_timeout(&trigger, 0);
    actor_set_timeout(&timer, 5);
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, FAKE_FOREVER, -ENOMEM);
    fake_sys_clear_trace();
    int ticks = 0;
    for (; timer.calls == 0; ticks++) { /* each tick ends, and the others have their turns */
        assert_true(ticks < 10);
        assert_true(reactor_run_once(scene->reactor, -1) >= 0);
        assert_int_equal(b.calls, ticks + 1);
        fake_sys_advance_ms(1);
    }
    assert_in_range(a.calls, ticks, 2 * ticks); /* before the tasks and after them */
    assert_int_equal(a.error, -ENOMEM);
}

static void refused_change_that_is_asked_for_again_is_tried_without_waiting(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor trigger = {.scene = scene, .name = "trigger", .act = watch_other, .other = &a};
    a.act = insist;
    actor_set_timeout(&trigger, 0);
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 4, -ENOMEM);
    fake_sys_clear_trace();
    fake_peer_send_text(a.peer, "x");
    for (int i = 0; i < 3; i++) { /* with -1 a wait would be a deadlock */
        assert_true(reactor_run_once(scene->reactor, -1) >= 0);
    }
    reactor_run_once(scene->reactor, -1);
    assert_book(scene, "trigger a:E a:E a:E a:E a:R ");
}

static void registration_refused_outside_of_a_callback_changes_nothing(void **state)
{
    struct scene *scene = *state;
    struct actor a = actor_connect(scene, "a");
    struct actor b = {.scene = scene, .name = "b", .fd = a.fd};
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 1, -ENOMEM);
    assert_int_equal(reactor_register(scene->reactor, a.fd, REACTOR_READABLE, on_event, &a), -ENOMEM);
    assert_int_equal(reactor_deregister(scene->reactor, a.fd), -ENOENT);
    actor_watch(&a, REACTOR_READABLE);

    fake_sys_fail_op(FAKE_EPOLL_MODIFY, 0, 2, -ENOMEM);
    assert_int_equal(reactor_register(scene->reactor, a.fd, REACTOR_WRITABLE, on_event, &a), -ENOMEM);
    assert_int_equal(reactor_register(scene->reactor, a.fd, REACTOR_READABLE, on_event, &b), -ENOMEM);
    fake_peer_send_text(a.peer, "x");
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
    assert_book(scene, "a:R ");

    fake_mem_fail_after(1, false);
    assert_int_equal(reactor_register(scene->reactor, 100000, REACTOR_READABLE, on_event, &a), -ENOMEM);
    assert_int_equal(reactor_register(scene->reactor, 100000, REACTOR_READABLE, on_event, &a), -EBADF);
    assert_int_equal(scene->log_lines, 0); /* the caller knows */
}

/* The order of a tick (R3) and tasks (R4). */

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

static void defer_other(struct actor *actor)
{
    actor_defer(actor->other);
}

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

static void tasks_keep_their_order_while_their_queue_grows_and_wraps(void **state)
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
    assert_book(scene, "a:RW ");
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
        SCENE_TEST(callback_deregisters_the_other_of_two_ready_fds_which_is_never_called),
        SCENE_TEST(fd_number_that_is_reused_within_a_batch_gets_no_stale_event),
        SCENE_TEST(new_callback_of_an_fd_gets_the_events_that_come_after_it),
        SCENE_TEST(event_of_a_replaced_registration_does_not_reach_the_new_one),
        SCENE_TEST(changed_interest_keeps_the_events_of_the_same_registration),
        SCENE_TEST(registering_again_after_deregistering_starts_afresh),
        SCENE_TEST(deregister_unknown_fd_is_refused),
        SCENE_TEST(changes_that_cancel_out_cost_no_system_call),
        SCENE_TEST(queued_registrations_are_applied_after_io_and_before_tasks),
        SCENE_TEST(registrations_of_a_task_are_applied_in_its_tick),
        SCENE_TEST(fd_may_be_closed_right_after_deregistering),
        SCENE_TEST(closed_fd_whose_duplicate_lives_on_does_not_wake_the_loop),
        SCENE_TEST(reactor_close_costs_no_epoll_call),
        SCENE_TEST(fd_that_the_kernel_still_knows_can_be_registered_again),
        SCENE_TEST(fd_closed_behind_the_reactors_back_can_be_registered_again),
        SCENE_TEST(registration_refused_in_a_callback_is_reported_as_error),
        SCENE_TEST(refused_change_ends_the_old_registration_as_well),
        SCENE_TEST(refused_change_leaves_nothing_in_the_kernel),
        SCENE_TEST(callback_that_insists_on_a_refused_change_cannot_hold_the_loop),
        SCENE_TEST(refused_change_that_is_asked_for_again_is_tried_without_waiting),
        SCENE_TEST(registration_refused_outside_of_a_callback_changes_nothing),
        SCENE_TEST(order_of_a_tick_is_timers_then_io_then_tasks_then_posts),
        SCENE_TEST(fds_are_called_in_the_kernels_order),
        SCENE_TEST(deferred_tasks_run_after_all_io_of_the_tick_in_order),
        SCENE_TEST(task_deferred_by_a_task_runs_in_the_next_tick),
        SCENE_TEST(task_that_defers_itself_for_ever_does_not_starve_io),
        SCENE_TEST(tasks_keep_their_order_while_their_queue_grows_and_wraps),
        SCENE_TEST(posts_run_in_order_and_those_of_a_post_in_the_next_tick),
        SCENE_TEST(task_deferred_by_a_post_runs_in_the_next_tick),
        SCENE_TEST(hang_up_with_unread_data_delivers_the_data_first),
        SCENE_TEST(hang_up_is_told_to_those_who_did_not_ask_for_readable),
        SCENE_TEST(end_of_the_stream_is_readable_and_no_hang_up),
        SCENE_TEST(socket_error_is_reported_with_its_so_error),
        SCENE_TEST(both_directions_are_told_in_one_call),
        SCENE_TEST(level_triggered_fd_is_told_as_long_as_it_holds),
        SCENE_TEST(edge_triggered_fd_is_told_once_for_each_arrival),
        SCENE_TEST(edge_that_came_while_reading_was_paused_is_told_when_it_resumes),
        SCENE_TEST(run_once_waits_no_longer_than_it_is_told),
        SCENE_TEST(interrupted_wait_is_an_empty_tick),
        SCENE_TEST(failed_wait_ends_the_run),
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
