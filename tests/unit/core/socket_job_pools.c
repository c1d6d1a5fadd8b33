/* core/job_pools.c: one pool for all who ask for a name, made by one of them. */

#include "core/job_pool.h"
#include "core/job_pools.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/thread.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <cmocka.h>

struct pools_scene {
    struct job_pools *pools;
    sem_t go;        /* what making waits for, if is_slow */
    sem_t has_begun; /* making has */
    atomic_bool is_slow, fails, is_late;
    const char *label;             /* of the pools that are made */
    atomic_int makes, ends, lasts; /* calls of these functions */
};

static struct pools_scene pools_scene; /* there is one test at a time */

static void count_end(void *arg)
{
    (void)arg;
    pools_scene.ends++;
}

static int make_pool_plan(void *arg, struct job_pool_plan *plan, char *err, size_t errlen)
{
    pools_scene.makes++;
    sem_post(&pools_scene.has_begun);
    while (pools_scene.is_slow && sem_wait(&pools_scene.go) != 0) {
    }
    *plan = (struct job_pool_plan){.threads = 1, .label = pools_scene.label, .arg = arg, .on_end = count_end};
    return pools_scene.fails ? error_text(err, errlen, -EINVAL, "it cannot be made") : 0;
}

static bool is_late(void *arg)
{
    (void)arg;
    return pools_scene.is_late;
}

static const struct job_pool_maker pool_maker = {.make = make_pool_plan, .is_late = is_late};

static int set_up_pools(void **state)
{
    (void)state;
    pools_scene.label = NULL;
    pools_scene.is_slow = pools_scene.fails = pools_scene.is_late = false;
    pools_scene.makes = pools_scene.ends = pools_scene.lasts = 0;
    sem_init(&pools_scene.go, 0, 0);
    sem_init(&pools_scene.has_begun, 0, 0);
    return job_pools_create(&pools_scene.pools);
}

static void count_last(void *owner)
{
    (void)owner;
    pools_scene.lasts++;
}

static int tear_down_pools(void **state)
{
    (void)state;
    job_pools_release(pools_scene.pools, count_last, NULL);
    return pools_scene.lasts == 1 && fake_mem_live() == 0 ? 0 : -1;
}

static struct job_pool *get_pool(const char *name)
{
    struct job_pool *pool;
    char err[64] = "";
    assert_int_equal(job_pools_get(pools_scene.pools, name, &pool_maker, &pool, err, sizeof err), 0);
    return pool;
}

static void same_name_is_the_same_pool_until_nobody_has_it(void **state)
{
    (void)state;
    struct job_pool *first = get_pool("a");
    assert_ptr_equal(get_pool("a"), first);
    struct job_pool *other = get_pool("b");
    assert_ptr_not_equal(other, first);
    assert_int_equal(pools_scene.makes, 2);
    job_pools_put(pools_scene.pools, first);
    assert_int_equal(pools_scene.ends, 0);
    job_pools_put(pools_scene.pools, first);
    assert_int_equal(pools_scene.ends, 1);
    first = get_pool("a");
    assert_int_equal(pools_scene.makes, 3);
    job_pools_put(pools_scene.pools, first);
    job_pools_put(pools_scene.pools, other);
}

static void *get_a(void *arg)
{
    *(struct job_pool **)arg = get_pool("a");
    return NULL;
}

static void others_wait_for_the_one_who_makes_it(void **state)
{
    (void)state;
    struct job_pool *pools[3];
    pthread_t threads[3];
    pools_scene.is_slow = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(thread_start(&threads[i], get_a, &pools[i]), 0);
    }
    sem_wait(&pools_scene.has_begun);
    sem_post(&pools_scene.go);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_ptr_equal(pools[i], pools[0]);
    }
    assert_int_equal(pools_scene.makes, 1);
    for (int i = 0; i < 3; i++) {
        job_pools_put(pools_scene.pools, pools[i]);
    }
}

static void who_is_late_gives_up(void **state)
{
    (void)state;
    struct job_pool *pool = NULL, *other = NULL;
    pthread_t thread;
    char err[64] = "";
    pools_scene.is_slow = true;
    assert_int_equal(thread_start(&thread, get_a, &pool), 0);
    sem_wait(&pools_scene.has_begun);
    pools_scene.is_late = true;
    assert_int_equal(job_pools_get(pools_scene.pools, "a", &pool_maker, &other, err, sizeof err), -ETIMEDOUT);
    assert_string_equal(err, "another thread has not finished loading it");
    sem_post(&pools_scene.go);
    assert_int_equal(pthread_join(thread, NULL), 0);
    job_pools_put(pools_scene.pools, pool);
}

static void failure_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    struct job_pool *pool = NULL;
    char err[64] = "";
    pools_scene.fails = true;
    assert_int_equal(job_pools_get(pools_scene.pools, "a", &pool_maker, &pool, err, sizeof err), -EINVAL);
    assert_string_equal(err, "it cannot be made");
    pools_scene.fails = false;
    job_pools_put(pools_scene.pools, get_pool("a"));
    assert_int_equal(pools_scene.makes, 2);
}

static void run_nothing(struct job *job, void *arg, unsigned thread)
{
    (void)job;
    (void)arg;
    (void)thread;
}

static void post_done(struct job *job)
{
    (void)job;
    sem_post(&pools_scene.has_begun);
}

static void run_job_in(struct job_pool *pool)
{
    struct reactor *reactor;
    struct job_desk *desk;
    struct job job = {.run = run_nothing, .on_done = post_done};
    assert_int_equal(reactor_create(&reactor, NULL), 0);
    assert_int_equal(job_desk_open(&desk, pool, reactor), 0);
    assert_int_equal(job_submit(desk, &job), 0);
    while (sem_trywait(&pools_scene.go) != 0) {
        assert_true(reactor_run_once(reactor, 1) >= 0);
        if (sem_trywait(&pools_scene.has_begun) == 0) {
            sem_post(&pools_scene.go);
        }
    }
    job_desk_close(desk);
    reactor_destroy(reactor);
}

static void counts_of_a_label_go_on_when_its_pools_end(void **state)
{
    (void)state;
    struct job_pool_counts counts;
    assert_null(job_pools_count(pools_scene.pools, 0, &counts));
    struct job_pool *unnamed = get_pool("none");
    pools_scene.label = "db.lua";
    struct job_pool *first = get_pool("a"), *second = get_pool("b");
    while (sem_trywait(&pools_scene.has_begun) == 0) { /* of making them */
    }
    run_job_in(unnamed);
    run_job_in(first);
    run_job_in(second);
    assert_string_equal(job_pools_count(pools_scene.pools, 0, &counts), "db.lua");
    assert_int_equal(counts.run, 2);
    assert_int_equal(counts.threads, 2);
    job_pools_put(pools_scene.pools, first);
    run_job_in(second);
    assert_string_equal(job_pools_count(pools_scene.pools, 0, &counts), "db.lua");
    assert_int_equal(counts.run, 3);
    assert_int_equal(counts.threads, 1);
    assert_null(job_pools_count(pools_scene.pools, 1, &counts));
    job_pools_put(pools_scene.pools, second);
    job_pools_put(pools_scene.pools, unnamed);
    assert_string_equal(job_pools_count(pools_scene.pools, 0, &counts), "db.lua");
    assert_int_equal(counts.run, 3);
}

static void labels_beyond_the_limit_are_not_shown(void **state)
{
    (void)state;
    struct job_pool_counts counts;
    char label[16];
    for (int i = 0; i <= JOB_LABELS_MAX; i++) {
        snprintf(label, sizeof label, "%d", i);
        pools_scene.label = label;
        job_pools_put(pools_scene.pools, get_pool(label));
    }
    assert_string_equal(job_pools_count(pools_scene.pools, JOB_LABELS_MAX - 1, &counts), "99");
    assert_null(job_pools_count(pools_scene.pools, JOB_LABELS_MAX, &counts));
}

static void allocations_may_fail(void **state)
{
    (void)state;
    pools_scene.label = "db.lua";
    struct job_pool *pool = NULL;
    char err[64];
    struct job_pools *pools;
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv < 0; n++) {
        fake_mem_fail_after(n, false);
        rv = job_pools_get(pools_scene.pools, "a", &pool_maker, &pool, err, sizeof err);
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || rv == -ENOMEM);
    }
    job_pools_put(pools_scene.pools, pool);
    assert_int_equal(pools_scene.ends, pools_scene.makes); /* what was made is freed */
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(job_pools_create(&pools), -ENOMEM);
    }
    fake_mem_fail_after(0, false);
}

#define POOLS_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_pools, tear_down_pools)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOLS_TEST(same_name_is_the_same_pool_until_nobody_has_it),
        POOLS_TEST(others_wait_for_the_one_who_makes_it),
        POOLS_TEST(who_is_late_gives_up),
        POOLS_TEST(failure_is_told_and_leaves_nothing),
        POOLS_TEST(counts_of_a_label_go_on_when_its_pools_end),
        POOLS_TEST(labels_beyond_the_limit_are_not_shown),
        POOLS_TEST(allocations_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
