/* What the line about a stall says of the Lua code that held the loop. */

#include "core/reactor.h"
#include "core/tick_clock.h"
#include "tests/lib/lua_scene.h"

static int hold(lua_State *L)
{
    fake_sys_advance_ms(lua_tointeger(L, 1));
    return 0;
}

static int add_functions(lua_State *L, void *arg)
{
    (void)arg;
    lua_register(L, "hold", hold);
    return 0;
}

static uint64_t stall_count;

/* Open a script whose stalls are those of more than 100 ms. */
static struct scene *open_watched(const char *text)
{
    struct scene *scene = scene_open_with(text, add_functions);
    stall_count = 0;
    stalls_watch(&reactor_clock(scene->reactor)->stalls, 100, &stall_count);
    return scene;
}

static void line_names_the_route_timer_or_task_that_ran(void **state)
{
    (void)state;
    static const struct {
        const char *target, *name;
        int line; /* of the script, whose path comes before it; 0: without it */
    } cases[] = {
        {"/users/7?secret=1", "route GET /users/:id at ", 2}, {"/many", "route GET, POST /many at ", 3},
        {"/defer", "app.defer of the route at ", 4},          {"/task", "task of the route at ", 5},
        {"/after", "timer (function at line 7)", 0},          {"/late", "route GET /late at ", 9},
        {"/failing", "route GET /failing at ", 10},
    };
    struct scene *scene = open_watched(
        APP "app.get('/users/:id', function() hold(150) return 'x' end)\n"
            "app.route({ 'GET', 'POST' }, '/many', function() hold(150) return 'x' end)\n"
            "app.get('/defer', function() app.defer(function() hold(150) end) hold(20) return 'x' end)\n"
            "app.get('/task', function() app.spawn(function() hold(150) end):wait() return 'x' end)\n"
            "app.get('/after', function()\n"
            "    app.after(1, function() hold(150) end) return 'x'\n"
            "end)\n"
            "app.get('/late', function() app.sleep(1) hold(150) return 'x' end)\n"
            "app.get('/failing', function() hold(150) error('x') end)\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[256];
        scene->logged[0] = '\0';
        struct fake_peer *peer = ask(scene, cases[i].target);
        pass_ms(scene, 1);
        pass_ms(scene, 1);
        assert_non_null(peer);
        if (cases[i].line > 0) {
            snprintf(name, sizeof name, "%s%s:%d ran", cases[i].name, scene->path, cases[i].line);
        } else {
            snprintf(name, sizeof name, "%s ran", cases[i].name);
        }
        if (strstr(scene->logged, name) == NULL || strstr(scene->logged, " ran for 150 ms without a wait\n") == NULL) {
            fail_msg("%s: %s", name, scene->logged);
        }
        assert_int_equal(stall_count, i + 1);
        assert_null(strstr(scene->logged, "could not be stopped")); /* it would say the same once more */
        fake_sys_advance_ms(1000);
    }
    scene_close(scene);
}

static void line_names_the_function_of_an_interval(void **state)
{
    (void)state;
    struct scene *scene = open_watched(APP "app.every('10s',\n    function() hold(150) end)");
    char name[256];
    pass_ms(scene, 10000);
    snprintf(name, sizeof name, "timer (function at %s:3) ran for 150 ms without a wait\n", scene->path);
    if (strstr(scene->logged, name) == NULL) {
        fail_msg("%s: %s", name, scene->logged);
    }
    scene_close(scene);
}

static void many_short_runs_are_nobodys_fault(void **state)
{
    (void)state;
    struct scene *scene = open_watched(APP "app.get('/x', function() for i = 1, 30 do app.spawn(hold, 9) end end)");
    assert_status(scene, "/x", "204");
    settle(scene);
    assert_null(strstr(scene->logged, "route"));
    scene_close(scene);
}

static void run_that_is_no_stall_is_logged_as_before(void **state)
{
    (void)state;
    struct scene *scene = open_watched(APP "app.set { handler_cpu = '20ms' }\n"
                                           "app.get('/x', function() hold(90) return 'x' end)");
    assert_status(scene, "/x", "200");
    assert_non_null(strstr(scene->logged, "a run took 90 ms and could not be stopped"));
    assert_int_equal(stall_count, 0);
    scene_close(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_names_the_route_timer_or_task_that_ran),
        cmocka_unit_test(line_names_the_function_of_an_interval),
        cmocka_unit_test(many_short_runs_are_nobodys_fault),
        cmocka_unit_test(run_that_is_no_stall_is_logged_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
