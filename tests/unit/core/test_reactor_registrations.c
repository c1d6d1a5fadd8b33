/* The reactor on the fake kernel: what becomes of registrations that change while events are being delivered, and of
 * events that nobody wants any more. */

#include "tests/lib/reactor_scene.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
