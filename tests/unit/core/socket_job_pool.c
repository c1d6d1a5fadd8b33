/* core/job_pool.c on real threads: what runs, what is refused at the limits, what is dropped, and who frees what. */

#include "core/crew.h"
#include "core/job_pool.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { WAIT_MS = 10000 }; /* for a thread, at most */

struct pool_scene {
    struct reactor *reactor;
    struct crew *crew;
    struct job_pool *pool;
    struct job_desk *desk;
    sem_t go;         /* what slow jobs wait for */
    sem_t has_begun;  /* a slow job has */
    sem_t is_over;    /* the pool, or the crew, is */
    atomic_int ends;  /* of pools */
    atomic_int drops; /* of jobs */
    int done;         /* jobs that were reported */
    char order[32];   /* of them, a letter each */
    pthread_t thread; /* of the test */
};

struct test_job {
    struct job job;
    char letter;     /* what it is called in the order; upper case: slow */
    unsigned thread; /* that has run it */
};

static struct pool_scene pool_scene; /* there is one test at a time */

static void end_pool(void *arg)
{
    assert_ptr_equal(arg, &pool_scene);
    pool_scene.ends++;
    sem_post(&pool_scene.is_over);
}

static void make_pool(unsigned threads, unsigned queue)
{
    const struct job_pool_plan plan = {.threads = threads, .queue = queue, .arg = &pool_scene, .on_end = end_pool};
    assert_int_equal(job_pool_create(&pool_scene.pool, pool_scene.crew, &plan), 0);
    assert_int_equal(job_desk_open(&pool_scene.desk, pool_scene.pool, pool_scene.reactor), 0);
    assert_ptr_equal(job_pool_arg(pool_scene.pool), &pool_scene);
}

static int set_up_pool(void **state)
{
    (void)state;
    memset(&pool_scene, 0, sizeof pool_scene);
    pool_scene.thread = pthread_self();
    sem_init(&pool_scene.go, 0, 0);
    sem_init(&pool_scene.has_begun, 0, 0);
    sem_init(&pool_scene.is_over, 0, 0);
    int rv = reactor_create(&pool_scene.reactor, NULL);
    return rv < 0 ? rv : crew_create(&pool_scene.crew);
}

static void forget_crew(void *owner)
{
    (void)owner;
}

static int tear_down_pool(void **state)
{
    (void)state;
    job_desk_close(pool_scene.desk);
    job_pool_put(pool_scene.pool);
    crew_release(pool_scene.crew, forget_crew, NULL);
    reactor_destroy(pool_scene.reactor);
    return fake_mem_live() == 0 ? 0 : -1;
}

/* Close desk and pool now; the tear-down then has nothing left to close. */
static void close_pool(void)
{
    job_desk_close(pool_scene.desk);
    job_pool_put(pool_scene.pool);
    pool_scene.desk = NULL;
    pool_scene.pool = NULL;
}

static void run_test_job(struct job *job, void *arg, unsigned thread)
{
    struct test_job *mine = (struct test_job *)job;
    assert_ptr_equal(arg, &pool_scene);
    assert_false(pthread_equal(pthread_self(), pool_scene.thread));
    if (mine->letter < 'a') {
        sem_post(&pool_scene.has_begun);
        while (sem_wait(&pool_scene.go) != 0) {
        }
    }
    mine->thread = thread;
}

static void free_test_job(struct job *job)
{
    (void)job;
    pool_scene.drops++;
}

static void note_done(struct job *job)
{
    const struct test_job *mine = (struct test_job *)job;
    assert_true(pthread_equal(pthread_self(), pool_scene.thread));
    pool_scene.order[pool_scene.done++] = mine->letter;
}

static struct test_job job_named(char letter)
{
    return (struct test_job){.job = {.run = run_test_job, .on_done = note_done, .drop = free_test_job},
                             .letter = letter};
}

static void submit(struct test_job *job)
{
    assert_int_equal(job_submit(pool_scene.desk, &job->job), 0);
}

/* Submit a slow job, and wait until it runs. */
static void submit_slow(struct test_job *job)
{
    submit(job);
    while (sem_wait(&pool_scene.has_begun) != 0) {
    }
}

static void wait_until_done(int count)
{
    for (int i = 0; i < WAIT_MS && pool_scene.done < count; i++) {
        assert_true(reactor_run_once(pool_scene.reactor, 1) >= 0);
    }
    assert_int_equal(pool_scene.done, count);
}

/* Until so many jobs have run and none runs any more, with nothing reported. */
static void wait_until_run(uint64_t count)
{
    bool is_over = false;
    for (int i = 0; i < WAIT_MS && !is_over; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        is_over = job_pool_counts(pool_scene.pool).run == count && job_desk_running(pool_scene.desk) == 0;
    }
    assert_true(is_over);
}

static void job_runs_on_a_thread_and_is_reported_on_the_reactors(void **state)
{
    (void)state;
    make_pool(1, 0);
    struct test_job job = job_named('a');
    for (int i = 1; i < (int)sizeof pool_scene.order; i++) {
        submit(&job);
        wait_until_done(i);
    }
    assert_int_equal(job_pool_counts(pool_scene.pool).threads, 1);
    assert_int_equal(pool_scene.drops, 0);
}

static void one_thread_keeps_the_order(void **state)
{
    (void)state;
    make_pool(1, 3);
    struct test_job jobs[] = {job_named('A'), job_named('b'), job_named('c'), job_named('d')};
    submit_slow(&jobs[0]);
    for (int i = 1; i < 4; i++) {
        submit(&jobs[i]);
    }
    sem_post(&pool_scene.go);
    wait_until_done(4);
    assert_string_equal(pool_scene.order, "Abcd");
}

static void threads_start_when_they_are_needed(void **state)
{
    (void)state;
    make_pool(2, 1);
    struct test_job jobs[] = {job_named('A'), job_named('B'), job_named('c')};
    assert_int_equal(crew_count(pool_scene.crew), 0);
    submit_slow(&jobs[0]);
    assert_int_equal(crew_count(pool_scene.crew), 1);
    submit_slow(&jobs[1]);
    assert_int_equal(crew_count(pool_scene.crew), 2);
    submit(&jobs[2]);
    struct job_pool_counts counts = job_pool_counts(pool_scene.pool);
    assert_int_equal(counts.threads, 2);
    assert_int_equal(counts.busy, 2);
    assert_int_equal(counts.waiting, 1);
    sem_post(&pool_scene.go);
    sem_post(&pool_scene.go);
    wait_until_done(3);
    assert_true(jobs[0].thread != jobs[1].thread);
    assert_int_equal(job_pool_counts(pool_scene.pool).run, 3);
}

static void job_beyond_the_queue_is_refused_at_once(void **state)
{
    (void)state;
    make_pool(1, 2);
    struct test_job jobs[] = {job_named('A'), job_named('b'), job_named('c'), job_named('d')};
    submit_slow(&jobs[0]);
    submit(&jobs[1]);
    submit(&jobs[2]); /* the queue is full */
    assert_int_equal(job_submit(pool_scene.desk, &jobs[3].job), -EAGAIN);
    assert_int_equal(job_pool_counts(pool_scene.pool).refused, 1);
    sem_post(&pool_scene.go);
    wait_until_done(3);
    submit(&jobs[3]); /* it was left as it was */
    wait_until_done(4);
}

static void queue_of_none_takes_what_can_run_at_once(void **state)
{
    (void)state;
    make_pool(1, 0);
    struct test_job jobs[] = {job_named('A'), job_named('b')};
    submit_slow(&jobs[0]);
    assert_int_equal(job_submit(pool_scene.desk, &jobs[1].job), -EAGAIN);
    sem_post(&pool_scene.go);
    wait_until_done(1);
    submit(&jobs[1]);
    wait_until_done(2);
}

static void job_dropped_in_the_queue_does_not_run(void **state)
{
    (void)state;
    make_pool(1, 3);
    struct test_job jobs[] = {job_named('A'), job_named('b'), job_named('c'), job_named('d')};
    submit_slow(&jobs[0]);
    for (int i = 1; i < 4; i++) {
        submit(&jobs[i]);
    }
    assert_false(job_drop(&jobs[2].job)); /* in the middle */
    assert_int_equal(pool_scene.drops, 1);
    assert_false(job_drop(&jobs[3].job)); /* at the end */
    assert_false(job_drop(&jobs[1].job)); /* the only one */
    assert_int_equal(pool_scene.drops, 3);
    sem_post(&pool_scene.go);
    wait_until_done(1);
    assert_int_equal(job_pool_counts(pool_scene.pool).run, 1);
}

static void job_dropped_while_it_runs_is_not_reported(void **state)
{
    (void)state;
    make_pool(1, 1);
    struct test_job jobs[] = {job_named('A'), job_named('b')};
    submit_slow(&jobs[0]);
    assert_true(job_drop(&jobs[0].job));
    assert_int_equal(pool_scene.drops, 0); /* it is still at work */
    assert_int_equal(job_desk_running(pool_scene.desk), 1);
    submit(&jobs[1]);
    sem_post(&pool_scene.go);
    wait_until_done(1);
    assert_string_equal(pool_scene.order, "b");
    assert_int_equal(pool_scene.drops, 1);
    wait_until_run(2);
}

/* The first job that is reported drops the next one. */
static struct test_job *to_drop;

static void drop_another(struct job *job)
{
    note_done(job);
    if (to_drop != NULL) {
        assert_true(job_drop(&to_drop->job));
        to_drop = NULL;
    }
}

static void job_dropped_after_it_has_run_is_not_reported(void **state)
{
    (void)state;
    make_pool(1, 3);
    struct test_job jobs[] = {job_named('a'), job_named('b'), job_named('c')};
    jobs[0].job.on_done = drop_another;
    to_drop = &jobs[1];
    for (int i = 0; i < 3; i++) {
        submit(&jobs[i]);
    }
    wait_until_run(3); /* all lie on the desk */
    wait_until_done(2);
    assert_string_equal(pool_scene.order, "ac");
    assert_int_equal(pool_scene.drops, 1);
}

static void desks_share_threads_but_not_reports(void **state)
{
    (void)state;
    struct job_desk *other;
    make_pool(1, 2);
    assert_int_equal(job_desk_open(&other, pool_scene.pool, pool_scene.reactor), 0);
    struct test_job jobs[] = {job_named('A'), job_named('b'), job_named('c')};
    submit_slow(&jobs[0]);
    assert_int_equal(job_submit(other, &jobs[1].job), 0);
    submit(&jobs[2]);
    assert_int_equal(job_desk_running(other), 0);
    job_desk_close(other); /* with its job */
    assert_int_equal(pool_scene.drops, 1);
    sem_post(&pool_scene.go);
    wait_until_done(2);
    assert_string_equal(pool_scene.order, "Ac");
}

static void pool_ends_when_nobody_has_it(void **state)
{
    (void)state;
    make_pool(2, 2);
    struct test_job job = job_named('a');
    submit(&job);
    wait_until_done(1);
    close_pool();
    sem_wait(&pool_scene.is_over);
    assert_int_equal(pool_scene.ends, 1);
}

static void pool_that_never_ran_ends_at_once(void **state)
{
    (void)state;
    make_pool(2, 2);
    close_pool();
    assert_int_equal(pool_scene.ends, 1);
}

static void busy_pool_is_left_behind_and_frees_itself(void **state)
{
    (void)state;
    make_pool(1, 5);
    struct test_job jobs[] = {job_named('A'), job_named('b')};
    submit_slow(&jobs[0]);
    submit(&jobs[1]);
    close_pool();
    assert_int_equal(pool_scene.drops, 1); /* the job that waited */
    assert_int_equal(pool_scene.ends, 0);
    assert_true(reactor_run_once(pool_scene.reactor, 0) >= 0);
    sem_post(&pool_scene.go);
    sem_wait(&pool_scene.is_over);
    assert_int_equal(pool_scene.ends, 1);
    assert_int_equal(pool_scene.drops, 2);
    assert_int_equal(pool_scene.done, 0);
    while (crew_count(pool_scene.crew) > 0) { /* then all its memory is free */
    }
}

static void jobs_on_a_closed_desk_are_dropped(void **state)
{
    (void)state;
    make_pool(1, 5);
    struct test_job job = job_named('a');
    submit(&job);
    while (job_pool_counts(pool_scene.pool).run == 0 || job_desk_running(pool_scene.desk) > 0) {
    }
    close_pool(); /* before the reactor has looked */
    assert_int_equal(pool_scene.drops, 1);
    assert_int_equal(pool_scene.done, 0);
}

static void without_memory_nothing_is_submitted(void **state)
{
    (void)state;
    const struct job_pool_plan plan = {.threads = 1, .on_end = end_pool};
    struct job_pool *pool;
    struct job_desk *desk;
    struct test_job job = job_named('a');
    make_pool(1, 1);
    fake_mem_fail_after(1, false);
    assert_int_equal(job_pool_create(&pool, pool_scene.crew, &plan), -ENOMEM);
    fake_mem_fail_after(1, false);
    assert_int_equal(job_desk_open(&desk, pool_scene.pool, pool_scene.reactor), -ENOMEM);
    fake_mem_fail_after(1, true); /* for the thread */
    assert_int_equal(job_submit(pool_scene.desk, &job.job), -ENOMEM);
    fake_mem_fail_after(0, false);
    submit(&job);
    fake_mem_fail_after(1, true); /* from here on nothing needs any */
    wait_until_done(1);
    submit(&job);
    wait_until_done(2);
    fake_mem_fail_after(0, false);
}

#define POOL_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_pool, tear_down_pool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(job_runs_on_a_thread_and_is_reported_on_the_reactors),
        POOL_TEST(one_thread_keeps_the_order),
        POOL_TEST(threads_start_when_they_are_needed),
        POOL_TEST(job_beyond_the_queue_is_refused_at_once),
        POOL_TEST(queue_of_none_takes_what_can_run_at_once),
        POOL_TEST(job_dropped_in_the_queue_does_not_run),
        POOL_TEST(job_dropped_while_it_runs_is_not_reported),
        POOL_TEST(job_dropped_after_it_has_run_is_not_reported),
        POOL_TEST(desks_share_threads_but_not_reports),
        POOL_TEST(pool_ends_when_nobody_has_it),
        POOL_TEST(pool_that_never_ran_ends_at_once),
        POOL_TEST(busy_pool_is_left_behind_and_frees_itself),
        POOL_TEST(jobs_on_a_closed_desk_are_dropped),
        POOL_TEST(without_memory_nothing_is_submitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
