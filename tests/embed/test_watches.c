/* Timers and fds of a host on the loops of its server: in each way to run it, from any thread, through a stop and a
 * reload. What each function does is in tests/unit/http/host/test_evs_calls.c. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

static atomic_int calls, strays; /* strays: on another thread than the one before */
static _Atomic(pthread_t) caller;

static void note_caller(void)
{
    pthread_t nobody = 0, self = pthread_self();
    atomic_compare_exchange_strong(&caller, &nobody, self);
    strays += pthread_equal(caller, self) ? 0 : 1;
    calls++;
}

static void on_time(void *arg)
{
    (void)arg;
    note_caller();
}

/* Take one byte; at the end of the stream cancel the watch whose id arg points to, and close. */
static void on_readable(int fd, unsigned events, int error, void *arg)
{
    char byte;
    assert_int_equal(error, 0);
    assert_true(events & (EVS_READABLE | EVS_HANGUP));
    note_caller();
    if (read(fd, &byte, 1) == 0) {
        assert_int_equal(evserve_cancel(host.server, atomic_load((_Atomic(int64_t) *)arg)), 0);
        close(fd);
    }
}

static void wait_for_calls(int count)
{
    while (calls < count) {
        usleep(1000);
    }
}

static void begin(unsigned reactors)
{
    host.config.root = host.folder;
    host.config.reactors = reactors;
    calls = strays = 0;
    caller = 0;
}

static void end(void)
{
    assert_int_equal(strays, 0);
    host_stop(1000);
    evserve_free(host.server);
    host.server = NULL;
}

static void threads_set_timers_and_watches_on_a_thread_of_the_server(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        begin(reactors);
        unsigned thread = reactors == 0 ? 0 : 2;
        int fds[2];
        _Atomic(int64_t) watch = 0;
        assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        host_serve();
        assert_true(evserve_after(host.server, thread, 1, on_time, NULL) > 0);
        int64_t every = evserve_every(host.server, thread, 1, on_time, NULL);
        assert_true(every > 0);
        wait_for_calls(5);
        assert_int_equal(evserve_cancel(host.server, every), 0);
        assert_int_equal(evserve_cancel(host.server, every), -ENOENT);
        usleep(10000);
        int before = calls;
        usleep(10000);
        assert_int_equal(calls, before);

        watch = evserve_watch(host.server, thread, fds[0], EVS_READABLE, on_readable, &watch);
        assert_true(watch > 0);
        assert_int_equal(write(fds[1], "abc", 3), 3);
        wait_for_calls(before + 3);
        close(fds[1]);
        wait_for_calls(before + 4);
        while (fcntl(fds[0], F_GETFD) >= 0) { /* it closes it */
            usleep(1000);
        }
        assert_int_equal(evserve_rewatch(host.server, watch, 0), -ENOENT);
        end();
    }
}

static void one_fd_of_a_hosts_loop_has_them_all(void **state)
{
    (void)state;
    begin(0);
    host_start();
    int fds[2];
    _Atomic(int64_t) watch = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    struct pollfd loop = {.fd = evserve_fd(host.server), .events = POLLIN};
    int64_t every = evserve_every(host.server, 0, 5, on_time, NULL); /* before the first turn */
    watch = evserve_watch(host.server, 0, fds[0], EVS_READABLE, on_readable, &watch);
    while (calls < 3) {
        assert_int_equal(poll(&loop, 1, CLIENT_LIMIT_S * 1000), 1);
        assert_int_equal(evserve_poll(host.server, 0), 1);
    }
    assert_int_equal(evserve_cancel(host.server, every), 0);
    while (poll(&loop, 1, 0) > 0) {
        assert_int_equal(evserve_poll(host.server, 0), 1);
    }
    assert_int_equal(poll(&loop, 1, 50), 0); /* nothing is left of the timer */
    int before = calls;
    assert_int_equal(write(fds[1], "a", 1), 1);
    while (calls == before) {
        assert_int_equal(poll(&loop, 1, CLIENT_LIMIT_S * 1000), 1);
        assert_int_equal(evserve_poll(host.server, 0), 1);
    }
    assert_int_equal(evserve_cancel(host.server, watch), 0);
    close(fds[0]);
    close(fds[1]);
    end();
}

static void stop_does_not_wait_for_timers_and_fds(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        begin(reactors);
        int fds[2];
        _Atomic(int64_t) watch = 0;
        assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
        host_start();
        watch = evserve_watch(host.server, 0, fds[0], EVS_READABLE, on_readable, &watch);
        int64_t every = evserve_every(host.server, 0, 1, on_time, NULL);
        assert_true(evserve_after(host.server, 0, 3600 * 1000, on_time, NULL) > 0);
        host_serve();
        wait_for_calls(2);
        assert_int_equal(host_stop(1000000), 0);
        int before = calls;
        assert_int_equal(evserve_cancel(host.server, every), -ENOENT);
        assert_int_equal(evserve_after(host.server, 0, 0, on_time, NULL), -ESHUTDOWN);
        assert_int_equal(evserve_every(host.server, 0, 1, on_time, NULL), -ESHUTDOWN);
        assert_int_equal(evserve_watch(host.server, 0, fds[0], EVS_READABLE, on_readable, &watch), -ESHUTDOWN);
        assert_int_equal(write(fds[1], "a", 1), 1);
        evserve_free(host.server);
        host.server = NULL;
        assert_int_equal(calls, before);
        close(fds[0]);
        close(fds[1]);
    }
}

static void server_that_never_ran_drops_them(void **state)
{
    (void)state;
    begin(0);
    host_start();
    assert_true(evserve_after(host.server, 0, 0, on_time, NULL) > 0);
    assert_true(evserve_watch(host.server, 0, STDIN_FILENO, 0, on_readable, NULL) > 0);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(calls, 0);
}

static void reload_leaves_them_alone(void **state)
{
    (void)state;
    begin(2);
    host_serve();
    int64_t every = evserve_every(host.server, 1, 1, on_time, NULL);
    wait_for_calls(2);
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    wait_for_calls(calls + 2);
    assert_int_equal(evserve_cancel(host.server, every), 0);
    end();
}

/* Many threads set and cancel on all threads of the server. */

enum { SETTERS = 4, ROUNDS = 400, REACTORS = 4 };

static atomic_int living[SETTERS]; /* 1 while calls for it are allowed */
static atomic_int forbidden;

static void on_allowed(void *arg)
{
    forbidden += atomic_load((atomic_int *)arg) == 0 ? 1 : 0;
}

static void on_allowed_fd(int fd, unsigned events, int error, void *arg)
{
    (void)fd;
    (void)events;
    (void)error;
    on_allowed(arg);
}

struct fence {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    bool is_passed;
};

static void pass(void *arg)
{
    struct fence *fence = arg;
    pthread_mutex_lock(&fence->lock);
    fence->is_passed = true;
    pthread_cond_signal(&fence->passed);
    pthread_mutex_unlock(&fence->lock);
}

/* When this returns, no call that began before is running on that thread. */
static void wait_for_thread(unsigned thread)
{
    struct fence fence = {.lock = PTHREAD_MUTEX_INITIALIZER, .passed = PTHREAD_COND_INITIALIZER};
    assert_int_equal(evserve_post_to(host.server, thread, pass, &fence), 0);
    pthread_mutex_lock(&fence.lock);
    while (!fence.is_passed) {
        pthread_cond_wait(&fence.passed, &fence.lock);
    }
    pthread_mutex_unlock(&fence.lock);
    pthread_cond_destroy(&fence.passed);
    pthread_mutex_destroy(&fence.lock);
}

static void *set_and_cancel(void *arg)
{
    int number = *(int *)arg;
    atomic_int *is_living = &living[number];
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    for (int i = 0; i < ROUNDS; i++) {
        unsigned thread = (unsigned)(number + i) % REACTORS;
        *is_living = 1;
        int64_t ids[] = {evserve_every(host.server, thread, 1, on_allowed, is_living),
                         evserve_after(host.server, thread, (uint32_t)i % 3, on_allowed, is_living),
                         evserve_watch(host.server, thread, fds[1], EVS_WRITABLE, on_allowed_fd, is_living)};
        for (int k = 0; k < 3; k++) {
            assert_true(ids[k] > 0);
        }
        usleep((useconds_t)(i % 4) * 300);
        evserve_rewatch(host.server, ids[2], i % 2 == 0 ? 0 : EVS_READABLE);
        for (int k = 0; k < 3; k++) {
            int rv = evserve_cancel(host.server, ids[k]);
            assert_true(rv == 0 || (k == 1 && rv == -ENOENT));
        }
        wait_for_thread(thread);
        *is_living = 0;
    }
    close(fds[0]);
    close(fds[1]);
    return NULL;
}

static void many_threads_set_and_cancel(void **state)
{
    (void)state;
    begin(REACTORS);
    host_serve();
    pthread_t setters[SETTERS];
    int numbers[SETTERS];
    for (int i = 0; i < SETTERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&setters[i], NULL, set_and_cancel, &numbers[i]), 0);
    }
    for (int i = 0; i < SETTERS; i++) {
        pthread_join(setters[i], NULL);
    }
    assert_int_equal(forbidden, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(threads_set_timers_and_watches_on_a_thread_of_the_server),
        HOST_TEST(one_fd_of_a_hosts_loop_has_them_all),
        HOST_TEST(stop_does_not_wait_for_timers_and_fds),
        HOST_TEST(server_that_never_ran_drops_them),
        HOST_TEST(reload_leaves_them_alone),
        HOST_TEST(many_threads_set_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
