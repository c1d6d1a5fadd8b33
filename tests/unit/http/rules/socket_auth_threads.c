/* http/rules/auth_threads.c on real threads: two pools for all rules of a server, and how many may wait. */

#include "core/job_pool.h"
#include "core/job_pools.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/rules/auth_threads.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MORE = 16 };

struct threads_scene {
    struct job_pools *pools;
    struct reactor *reactor;
    sem_t go, has_begun; /* what jobs wait for; one of them has begun */
    sem_t is_over;       /* the last thread has ended */
    int done;            /* jobs that were reported */
};

static struct threads_scene threads_scene; /* there is one test at a time */

static void wait_for_go(struct job *job, void *arg, unsigned thread)
{
    (void)job, (void)arg, (void)thread;
    sem_post(&threads_scene.has_begun);
    while (sem_wait(&threads_scene.go) != 0) {
    }
}

static void note_done(struct job *job)
{
    (void)job;
    threads_scene.done++;
}

static void drop_nothing(struct job *job)
{
    (void)job;
}

static struct job auth_job(void)
{
    return (struct job){.run = wait_for_go, .on_done = note_done, .drop = drop_nothing};
}

static void forget_pools(void *owner)
{
    (void)owner;
    sem_post(&threads_scene.is_over);
}

static int set_up(void **state)
{
    (void)state;
    memset(&threads_scene, 0, sizeof threads_scene);
    sem_init(&threads_scene.go, 0, 0);
    sem_init(&threads_scene.has_begun, 0, 0);
    sem_init(&threads_scene.is_over, 0, 0);
    assert_int_equal(job_pools_create(&threads_scene.pools), 0);
    return reactor_create(&threads_scene.reactor, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    reactor_destroy(threads_scene.reactor);
    job_pools_release(threads_scene.pools, forget_pools, NULL);
    while (sem_wait(&threads_scene.is_over) != 0) { /* threads that were left behind */
    }
    return fake_mem_live() == 0 ? 0 : -1;
}

static unsigned hashers(void)
{
    unsigned half = sys_processors() / 2;
    return half < 1 ? 1 : half > AUTH_HASHERS_MAX ? AUTH_HASHERS_MAX : half;
}

/* Submit jobs until all threads have one, and then until waiting more wait. */
static void fill(struct auth_threads *threads, struct job *jobs, unsigned busy, unsigned waiting)
{
    for (unsigned i = 0; i < busy + waiting; i++) {
        jobs[i] = auth_job();
        assert_int_equal(auth_threads_submit(threads, threads_scene.pools, threads_scene.reactor, &jobs[i]), 0);
        if (i < busy) {
            while (sem_wait(&threads_scene.has_begun) != 0) {
            }
        }
    }
}

static void so_many_hashes_wait_and_not_one_more(void **state)
{
    (void)state;
    static struct job jobs[AUTH_HASHERS_MAX + AUTH_HASHES_WAITING];
    struct auth_threads first = {.hashes = true}, second = {.hashes = true}, looker = {.hashes = false};
    struct job more = auth_job(), look = auth_job();
    unsigned count = hashers() + AUTH_HASHES_WAITING;
    fill(&first, jobs, hashers(), AUTH_HASHES_WAITING);
    assert_int_equal(auth_threads_submit(&first, threads_scene.pools, threads_scene.reactor, &more), -EAGAIN);
    assert_int_equal(auth_threads_submit(&second, threads_scene.pools, threads_scene.reactor, &more),
                     -EAGAIN); /* the pool is shared */
    assert_int_equal(auth_threads_submit(&looker, threads_scene.pools, threads_scene.reactor, &look),
                     0); /* this one is another */
    for (unsigned i = 0; i < count + 1; i++) {
        sem_post(&threads_scene.go);
    }
    while (threads_scene.done < (int)count + 1) {
        assert_true(reactor_run_once(threads_scene.reactor, 10000) >= 0);
    }
    assert_int_equal(auth_threads_submit(&second, threads_scene.pools, threads_scene.reactor, &more), 0);
    sem_post(&threads_scene.go);
    while (threads_scene.done < (int)count + 2) {
        assert_true(reactor_run_once(threads_scene.reactor, 10000) >= 0);
    }
    auth_threads_close(&first);
    auth_threads_close(&second);
    auth_threads_close(&looker);
}

static void jobs_that_wait_are_dropped_at_the_end(void **state)
{
    (void)state;
    static struct job jobs[AUTH_HASHERS_MAX + MORE];
    struct auth_threads threads = {.hashes = true};
    fill(&threads, jobs, hashers(), MORE);
    auth_threads_close(&threads);
    for (unsigned i = 0; i < hashers(); i++) {
        sem_post(&threads_scene.go);
    }
    assert_int_equal(threads_scene.done, 0);
}

static void without_pools_or_memory_there_are_no_threads(void **state)
{
    (void)state;
    struct auth_threads threads = {.hashes = true};
    struct job job = auth_job();
    assert_int_equal(auth_threads_submit(&threads, NULL, threads_scene.reactor, &job), -ENOSYS);
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = auth_threads_submit(&threads, threads_scene.pools, threads_scene.reactor, &job);
        fake_mem_fail_after(0, false);
    }
    assert_int_equal(rv, 0);
    sem_post(&threads_scene.go);
    while (threads_scene.done == 0) {
        assert_true(reactor_run_once(threads_scene.reactor, 10000) >= 0);
    }
    auth_threads_close(&threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(so_many_hashes_wait_and_not_one_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(jobs_that_wait_are_dropped_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_pools_or_memory_there_are_no_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("auth_threads", tests, NULL, NULL);
}
