/* core/stalls.c: ticks that take too long, in a reactor on the fake kernel. */

#include "core/stalls.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/tick_clock.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_MS = 100, RUNS_MAX = 8 };

/* What the callbacks of one tick do: run for so long each; those with a name note it. */
struct stall_scene {
    struct reactor *reactor;
    struct log log;
    struct run_plan {
        int64_t ms;
        const char *name;   /* NULL: it is not noted */
        bool knows_nothing; /* when it began is not known */
    } runs[RUNS_MAX];
    int count_of_runs; /* of runs */
    int next;          /* call of stop_loop() */
    uint64_t count;
    char logged[2048];
};

static void on_line(void *arg, int level, const char *line)
{
    struct stall_scene *scene = arg;
    size_t used = strlen(scene->logged);
    assert_int_equal(level, LOG_WARN);
    snprintf(scene->logged + used, sizeof scene->logged - used, "%s\n", line);
}

static int open_stalls(void **state)
{
    static struct stall_scene scene;
    scene = (struct stall_scene){.log = {.sink = on_line, .arg = &scene, .level = LOG_INFO}};
    fake_sys_reset();
    *state = &scene;
    return reactor_create(&scene.reactor, &scene.log);
}

static int close_stalls(void **state)
{
    struct stall_scene *scene = *state;
    reactor_destroy(scene->reactor);
    return 0;
}

static struct stalls *stalls_of(struct stall_scene *scene)
{
    return &reactor_clock(scene->reactor)->stalls;
}

static void run_one(struct stall_scene *scene, const struct run_plan *plan)
{
    fake_sys_advance_ms(plan->ms);
    char *name = plan->name == NULL    ? NULL
                 : plan->knows_nothing ? stalls_note_end(stalls_of(scene))
                                       : stalls_note(stalls_of(scene), plan->ms * 1000000);
    if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "%s", plan->name);
    }
}

static void run_all(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct stall_scene *scene = arg;
    for (int i = 0; i < scene->count_of_runs; i++) {
        run_one(scene, &scene->runs[i]);
    }
}

/* A tick with so many runs. */
static void tick(struct stall_scene *scene, int count)
{
    scene->count_of_runs = count;
    assert_int_equal(reactor_defer(scene->reactor, run_all, scene), 0);
    assert_int_equal(reactor_run_once(scene->reactor, 0), 1);
}

static void tick_of_the_limit_is_none_and_one_past_it_is(void **state)
{
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    scene->runs[0] = (struct run_plan){LIMIT_MS, "first", false};
    tick(scene, 1);
    assert_int_equal(scene->count, 0);
    scene->runs[0].ms++;
    tick(scene, 1);
    assert_int_equal(scene->count, 1);
    assert_string_equal(scene->logged, "the event loop stood still for 101 ms (stall_warning is 100 ms): first ran for "
                                       "101 ms without a wait\n");
}

static void nothing_is_counted_while_nobody_watches(void **state)
{
    struct stall_scene *scene = *state;
    scene->runs[0] = (struct run_plan){1000, "first", false};
    tick(scene, 1);
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    stalls_watch(stalls_of(scene), 0, &scene->count);
    tick(scene, 1);
    scene->runs[0].knows_nothing = true;
    tick(scene, 1);
    assert_int_equal(scene->count, 0);
    assert_string_equal(scene->logged, "");
}

static void longest_run_of_the_tick_is_named(void **state)
{
    static const struct {
        struct run_plan runs[4];
        const char *name;
    } cases[] = {
        {{{60, "a", false}, {70, "b", false}, {50, "c", false}}, "b ran for 70 ms"},
        {{{60, "a", true}, {70, "b", true}, {50, "c", true}}, "b ran for 70 ms"},
        {{{20, "a", true}, {80, NULL, false}, {10, "c", true}}, "c ran for 90 ms"}, /* whose it was is not known */
        {{{20, "a", false}, {80, "b", true}, {10, "c", false}}, "b ran for 80 ms"},
        {{{9, "a", true}, {1, "b", true}, {95, NULL, false}}, "b ran for 10 ms"},
        {{{50, NULL, false}, {50, NULL, false}, {5, NULL, false}}, "nothing that is timed ran for 10 ms"},
        {{{4, "a", true}, {5, "b", true}, {96, NULL, false}}, "nothing that is timed ran for 10 ms"},
    };
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(scene->runs, cases[i].runs, sizeof cases[i].runs);
        scene->logged[0] = '\0';
        tick(scene, 3);
        if (strstr(scene->logged, cases[i].name) == NULL) {
            fail_msg("%s: %s", cases[i].name, scene->logged);
        }
        fake_sys_advance_ms(1000);
    }
    assert_int_equal(scene->count, sizeof cases / sizeof cases[0]);
}

static void run_of_an_earlier_tick_is_not_blamed(void **state)
{
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    scene->runs[0] = (struct run_plan){90, "before", false};
    tick(scene, 1);
    scene->runs[0] = (struct run_plan){200, NULL, false};
    tick(scene, 1);
    assert_int_equal(scene->count, 1);
    assert_null(strstr(scene->logged, "before"));
}

static void there_is_a_line_a_second(void **state)
{
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    for (int i = 0; i < 8; i++) {
        scene->runs[0] = (struct run_plan){200, "x", false};
        tick(scene, 1);
    }
    assert_int_equal(scene->count, 8);
    const char *second = strchr(scene->logged, '\n') + 1;
    assert_null(strstr(scene->logged, "more since the last such line)\nthe"));
    assert_non_null(strstr(second, "(and 4 more since the last such line)\n"));
    assert_string_equal(strchr(second, '\n'), "\n");
}

/* The host has the thread between two ticks. */
static void time_between_ticks_of_a_host_does_not_count(void **state)
{
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    for (int i = 0; i < 3; i++) {
        scene->runs[0] = (struct run_plan){10, "x", false};
        tick(scene, 1);
        fake_sys_advance_ms(5000);
    }
    assert_int_equal(scene->count, 0);
}

static void stop_loop(struct reactor *reactor, void *arg)
{
    struct stall_scene *scene = arg;
    scene->next++;
    if (scene->next == 4) {
        reactor_stop(reactor);
    } else if (scene->next == 2) {
        fake_sys_advance_ms(300);
        assert_int_equal(reactor_defer(reactor, stop_loop, arg), 0); /* the next tick does not wait */
    }
}

static void on_due(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct stall_scene *scene = arg;
    if (scene->next == 3) {
        fake_sys_advance_ms(400); /* the next one waits for a timer */
    }
    stop_loop(reactor, arg);
}

static void loop_of_its_own_counts_ticks_but_not_what_was_before_or_its_waits(void **state)
{
    struct stall_scene *scene = *state;
    stalls_watch(stalls_of(scene), LIMIT_MS, &scene->count);
    fake_sys_advance_ms(700); /* the script is loaded, for example */
    assert_true(reactor_set_interval(scene->reactor, 1000, on_due, scene) != 0);
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_int_equal(scene->count, 1);
    fake_sys_advance_ms(700);
    scene->next = 1;
    assert_int_equal(reactor_run(scene->reactor), 0);
    assert_int_equal(scene->count, 2);
}

int main(void)
{
#define STALL_TEST(fn) cmocka_unit_test_setup_teardown(fn, open_stalls, close_stalls)
    const struct CMUnitTest tests[] = {
        STALL_TEST(tick_of_the_limit_is_none_and_one_past_it_is),
        STALL_TEST(nothing_is_counted_while_nobody_watches),
        STALL_TEST(longest_run_of_the_tick_is_named),
        STALL_TEST(run_of_an_earlier_tick_is_not_blamed),
        STALL_TEST(there_is_a_line_a_second),
        STALL_TEST(time_between_ticks_of_a_host_does_not_count),
        STALL_TEST(loop_of_its_own_counts_ticks_but_not_what_was_before_or_its_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
