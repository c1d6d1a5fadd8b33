/* core/crew.c: threads that end are joined, those that do not are left behind, and the last one says so. */

#include "core/crew.h"
#include "core/sys.h"
#include "core/units.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

struct crew_scene {
    struct crew *crew;
    sem_t go;         /* what stuck threads wait for */
    sem_t is_over;    /* on_last() was called */
    atomic_int run;   /* threads that have run */
    atomic_int lasts; /* calls of on_last() */
};

static struct crew_scene crew_scene; /* there is one test at a time */

static int set_up_crew(void **state)
{
    (void)state;
    crew_scene.run = 0;
    crew_scene.lasts = 0;
    sem_init(&crew_scene.go, 0, 0);
    sem_init(&crew_scene.is_over, 0, 0);
    return crew_create(&crew_scene.crew);
}

static int tear_down_crew(void **state)
{
    (void)state;
    sem_destroy(&crew_scene.go);
    sem_destroy(&crew_scene.is_over);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void run_briefly(void *arg)
{
    (void)arg;
    crew_scene.run++;
}

static void run_until_told(void *arg)
{
    (void)arg;
    while (sem_wait(&crew_scene.go) != 0) {
    }
    crew_scene.run++;
}

static void note_last(void *owner)
{
    assert_ptr_equal(owner, &crew_scene);
    crew_scene.lasts++;
    sem_post(&crew_scene.is_over);
}

static int64_t release_takes_ms(void)
{
    int64_t start_ns = sys_now_ns();
    crew_release(crew_scene.crew, note_last, &crew_scene);
    return (sys_now_ns() - start_ns) / NS_PER_MS;
}

static void threads_that_end_are_waited_for(void **state)
{
    (void)state;
    struct crew_member *member;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(crew_start(crew_scene.crew, run_briefly, NULL, &member), 0);
    }
    crew_release(crew_scene.crew, note_last, &crew_scene);
    assert_int_equal(crew_scene.run, 20);
    assert_int_equal(crew_scene.lasts, 1);
}

static void crew_without_threads_is_over_at_once(void **state)
{
    (void)state;
    crew_release(crew_scene.crew, note_last, &crew_scene);
    assert_int_equal(crew_scene.lasts, 1);
}

static void last_thread_that_was_left_behind_says_that_it_was_the_last(void **state)
{
    (void)state;
    struct crew_member *members[2];
    assert_int_equal(crew_start(crew_scene.crew, run_until_told, NULL, &members[0]), 0);
    assert_int_equal(crew_start(crew_scene.crew, run_until_told, NULL, &members[1]), 0);
    assert_int_equal(crew_count(crew_scene.crew), 2);
    crew_leave_behind(members[0]);
    crew_leave_behind(members[0]); /* once is enough */
    crew_leave_behind(members[1]);
    assert_true(release_takes_ms() < CREW_END_MS / 2);
    assert_int_equal(crew_scene.lasts, 0);
    sem_post(&crew_scene.go);
    sem_post(&crew_scene.go);
    sem_wait(&crew_scene.is_over);
    assert_int_equal(crew_scene.run, 2);
    assert_int_equal(crew_scene.lasts, 1);
}

static void thread_that_does_not_end_is_waited_for_a_second(void **state)
{
    (void)state;
    struct crew_member *member;
    assert_int_equal(crew_start(crew_scene.crew, run_until_told, NULL, &member), 0);
    assert_true(release_takes_ms() >= CREW_END_MS);
    assert_int_equal(crew_scene.lasts, 0);
    sem_post(&crew_scene.go);
    sem_wait(&crew_scene.is_over);
}

static void without_memory_no_thread_starts(void **state)
{
    (void)state;
    struct crew_member *member;
    struct crew *crew;
    fake_mem_fail_after(1, false);
    assert_int_equal(crew_start(crew_scene.crew, run_briefly, NULL, &member), -ENOMEM);
    fake_mem_fail_after(1, false);
    assert_int_equal(crew_create(&crew), -ENOMEM);
    assert_int_equal(crew_count(crew_scene.crew), 0);
    crew_release(crew_scene.crew, note_last, &crew_scene);
    assert_int_equal(crew_scene.run, 0);
}

#define CREW_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_crew, tear_down_crew)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CREW_TEST(threads_that_end_are_waited_for),
        CREW_TEST(crew_without_threads_is_over_at_once),
        CREW_TEST(last_thread_that_was_left_behind_says_that_it_was_the_last),
        CREW_TEST(thread_that_does_not_end_is_waited_for_a_second),
        CREW_TEST(without_memory_no_thread_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
