/* Workers of a script in a host: threads that end with the server, and functions that outlive it. */

#include "tests/lib/host.h"

enum { END_LIMIT_MS = 10000 };

static const char nap_module[] = "local app = require 'evserve'\n"
                                 "return { nap = function(ms)\n"
                                 "    local start = app.now()\n"
                                 "    app.log('info', 'begun')\n"
                                 "    while app.now() - start < ms / 1000 do end\n"
                                 "    app.log('info', 'over')\n"
                                 "    return ms\n"
                                 "end }\n";

static const char nap_script[] = "local app = require 'evserve'\n"
                                 "local m = app.worker('nap.lua', { threads = 2 })\n"
                                 "app.after(0, function() m.nap(400) app.log('info', 'done') end)\n";

static void begin_nap(unsigned reactors)
{
    host_needs_lua();
    host_write("nap.lua", nap_module);
    host.config.script = host_write("site.lua", nap_script);
    host.config.reactors = reactors;
    host_serve();
    for (int i = 0; !host_has_logged("begun\n"); i++) {
        assert_true(i < END_LIMIT_MS);
        usleep(1000);
    }
}

static void free_server(void)
{
    evserve_free(host.server);
    host.server = NULL;
}

static void wait_for_threads(int count)
{
    for (int i = 0; host_threads() > count; i++) {
        assert_true(i < END_LIMIT_MS);
        usleep(1000);
    }
}

static void stop_waits_for_a_call_and_frees_its_thread(void **state)
{
    (void)state;
    begin_nap(2);
    assert_int_equal(host_stop(60000), 0);
    assert_true(host_has_logged("done\n"));
    free_server();
    assert_int_equal(host_threads(), host.threads_before);
}

static void function_that_outlives_the_server_logs_nothing(void **state)
{
    (void)state;
    begin_nap(0);
    host_stop(0);
    free_server();
    assert_false(host_has_logged("over\n"));
    assert_int_equal(host_threads(), host.threads_before + 1);
    wait_for_threads(host.threads_before);
    assert_false(host_has_logged("over\n"));
}

static void note_entry(void *arg, const struct evs_log_entry *entry)
{
    host_keep_line(arg, entry->level, entry->text);
}

static void nor_does_it_where_lines_are_taken_in_parts(void **state)
{
    (void)state;
    host.config.log_entry = note_entry;
    begin_nap(0);
    host_stop(0);
    free_server();
    wait_for_threads(host.threads_before);
    assert_false(host_has_logged("over\n"));
}

static void reload_in_the_middle_of_a_call_leaves_it_to_its_end(void **state)
{
    (void)state;
    char err[EVSERVE_ERROR_MAX];
    begin_nap(2);
    assert_int_equal(evserve_reload(host.server, err, sizeof err), 0);
    for (int i = 0; !host_has_logged("done\n"); i++) {
        assert_true(i < END_LIMIT_MS);
        usleep(1000);
    }
    host_stop(60000);
    free_server();
    assert_int_equal(host_threads(), host.threads_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(stop_waits_for_a_call_and_frees_its_thread),
        HOST_TEST(function_that_outlives_the_server_logs_nothing),
        HOST_TEST(nor_does_it_where_lines_are_taken_in_parts),
        HOST_TEST(reload_in_the_middle_of_a_call_leaves_it_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
