/* app.wait on the fake kernel: nothing is left of a wait, however it ends and whatever fails on its way. */

#include "core/sys.h"
#include "lua/state.h"
#include "tests/lib/lua_scene.h"

static struct fake_peer *other_end; /* of the socket that a library would have */

static int push_library_fd(lua_State *L)
{
    lua_pushinteger(L, fake_peer_fd(other_end));
    return 1;
}

static int add_library(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "library_fd", push_library_fd);
    return 0;
}

static struct scene *open_wait_site(void)
{
    static const char site[] = APP "local function wait(...)\n"
                                   "    local ok, err = app.wait(...)\n"
                                   "    return tostring(ok) .. ' ' .. tostring(err)\n"
                                   "end\n"
                                   "app.get('/read', function() return wait(library_fd(), 'read', '1s') end)\n"
                                   "app.get('/forever', function() return wait(library_fd(), 'read') end)\n"
                                   "app.get('/write', function() return wait(library_fd(), 'write', '1s') end)\n"
                                   "app.get('/now', function() return wait(library_fd(), 'read', 0) end)\n";
    struct scene *scene = scene_open_with(site, add_library);
    other_end = fake_peer_create(-1);
    return scene;
}

static void close_wait_site(struct scene *scene)
{
    sys_close(fake_peer_fd(other_end));
    scene_close(scene);
}

static void waits_end_when_the_fd_is_ready_or_the_time_is_over(void **state)
{
    (void)state;
    struct scene *scene = open_wait_site();
    int fds = fake_sys_open_fds();
    assert_answer(scene, "/now", "nil timeout");
    assert_answer(scene, "/write", "true nil");
    assert_int_equal(fake_sys_open_fds(), fds);

    struct fake_peer *late = ask(scene, "/read");
    pass_ms(scene, 999);
    assert_false(got(late, "HTTP"));
    pass_ms(scene, 1);
    assert_true(got(late, "nil timeout"));

    struct fake_peer *first = ask(scene, "/read"), *second = ask(scene, "/forever");
    pass_ms(scene, 500);
    fake_peer_send_text(other_end, "x");
    settle(scene);
    assert_true(got(first, "true nil") && got(second, "true nil"));
    pass_ms(scene, 1000); /* no timer is left */
    assert_answer(scene, "/now", "true nil");
    close_wait_site(scene);
}

static void a_client_that_leaves_and_the_end_of_the_script_end_waits(void **state)
{
    (void)state;
    struct scene *scene = open_wait_site();
    int fds = fake_sys_open_fds();
    fake_peer_reset(ask(scene, "/forever"), ECONNRESET);
    fake_peer_reset(ask(scene, "/read"), ECONNRESET);
    settle(scene);
    assert_int_equal(fake_sys_open_fds(), fds);
    ask(scene, "/forever");
    ask(scene, "/read");
    close_wait_site(scene);
}

/* "/read" is asked for while something fails; what it waits for comes later. */
static void read_with_fault(struct scene *scene, size_t allocation, enum fake_op op, int skip, int error)
{
    int fds = fake_sys_open_fds();
    struct fake_peer *peer = fake_peer_connect(scene->listener_fd);
    fake_peer_send_text(peer, "GET /read HTTP/1.1\r\nHost: x\r\n\r\n");
    if (error != 0) {
        fake_sys_fail_op(op, skip, 1, error);
    }
    fake_mem_fail_after(allocation, false);
    settle(scene);
    fake_mem_fail_after(0, false);
    fake_peer_send_text(other_end, "x");
    settle(scene);
    pass_ms(scene, 2000);
    char byte;
    assert_int_equal(sys_recv(fake_peer_fd(other_end), &byte, 1), 1);
    fake_peer_close(peer);
    settle(scene);
    pass_ms(scene, 2000);
    assert_int_equal(fake_sys_open_fds(), fds);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        struct scene *scene = open_wait_site();
        assert_answer(scene, "/now", "nil timeout"); /* the pools have what they need */
        read_with_fault(scene, n, FAKE_OP_COUNT, 0, 0);
        has_failed = fake_mem_failed();
        assert_answer(scene, "/now", "nil timeout");
        close_wait_site(scene);
    }
}

static void failures_of_the_system_are_told_and_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int skip, error;
        const char *text;
    } faults[] = {
        {FAKE_EPOLL_CREATE, 0, -EMFILE, "nil Too many open files"},
        {FAKE_EPOLL_ADD, 0, -ENOSPC, "nil No space left on device"},
        {FAKE_EPOLL_ADD, 1, -ENOSPC, "nil No space left on device"}, /* the reactor's, at the end of its tick */
        {FAKE_EPOLL_ADD, 0, -EPERM, "true nil"},
        {FAKE_EPOLL_WAIT_MS, 0, -EINTR, NULL},
    };
    struct scene *scene = open_wait_site();
    assert_answer(scene, "/now", "nil timeout");
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        read_with_fault(scene, 0, faults[i].op, faults[i].skip, faults[i].error);
        fake_sys_fail_op(faults[i].op, faults[i].skip, 1, faults[i].error);
        struct fake_peer *peer = ask(scene, "/read");
        if (!got(peer, faults[i].text == NULL ? "" : faults[i].text)) {
            fail_msg("%s expected, got %s", faults[i].text, fake_peer_output(peer, NULL));
        }
        fake_peer_reset(peer, ECONNRESET);
        settle(scene);
    }
    close_wait_site(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_end_when_the_fd_is_ready_or_the_time_is_over),
        cmocka_unit_test(a_client_that_leaves_and_the_end_of_the_script_end_waits),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(failures_of_the_system_are_told_and_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
