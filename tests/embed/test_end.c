/* What a server that stops waits for beside requests, and for how long: work that its scripts have begun. */

#include "tests/lib/host.h"

#include <poll.h>

/* A run of a timer that has begun when the start returns and lasts for a time, and says each step in the log. */
#define SCRIPT(time)                                                                                                   \
    "local app = require 'evserve'\n"                                                                                  \
    "app.on('stopping', function() app.log('info', 'stopping') end)\n"                                                 \
    "app.on('stop', function() app.log('info', 'stop') end)\n"                                                         \
    "app.after(0, function()\n"                                                                                        \
    "    app.log('info', 'begun')\n"                                                                                   \
    "    for i = 1, " time " do app.sleep(10) end\n"                                                                   \
    "    app.log('info', 'done')\n"                                                                                    \
    "end)\n"                                                                                                           \
    "app.get('/', function() return 'x' end)\n"

static void use_script(const char *text)
{
    host_needs_lua();
    host.config.script = host_write("site.lua", text);
}

static void wait_for_line(const char *text)
{
    for (int i = 0; !host_has_logged(text); i++) {
        assert_true(i < CLIENT_LIMIT_S * 1000);
        usleep(1000);
    }
}

/* The log is these lines, each with its newline. */
static void assert_log(const char *lines)
{
    pthread_mutex_lock(&host_log_lock);
    assert_string_equal(host.log, lines);
    pthread_mutex_unlock(&host_log_lock);
}

static void stop_waits_for_what_a_script_has_begun(void **state)
{
    (void)state;
    use_script(SCRIPT("20"));
    for (unsigned reactors = 0; reactors < 2; reactors++) {
        host.config.reactors = reactors;
        host.log[0] = '\0';
        host_serve();
        wait_for_line("begun\n");
        assert_int_equal(host_stop(60000), 0);
        assert_log("begun\nstopping\ndone\nstop\n");
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void loop_of_a_host_is_woken_until_the_end(void **state)
{
    (void)state;
    use_script(SCRIPT("20"));
    host_start();
    struct pollfd fd = {.fd = evserve_fd(host.server), .events = POLLIN};
    for (bool is_stopped = false; evserve_poll(host.server, 0) == 1;) {
        if (!is_stopped && host_has_logged("begun\n")) {
            evserve_stop(host.server, 60000);
            is_stopped = true;
        }
        assert_true(poll(&fd, 1, CLIENT_LIMIT_S * 1000) > 0);
    }
    assert_int_equal(evserve_wait(host.server), 0);
    assert_log("begun\nstopping\ndone\nstop\n");
}

static void what_is_not_done_at_the_deadline_is_cut_and_named(void **state)
{
    (void)state;
    char expected[512];
    use_script(SCRIPT("1e9"));
    host_serve();
    wait_for_line("begun\n");
    assert_int_equal(host_stop(100), 0); /* no connection was cut */
    snprintf(expected, sizeof expected,
             "begun\nstopping\ntimer: cut at %s:6, where it waits, because the script ends\nstop\n", host.path);
    assert_log(expected);
}

static void newer_deadline_counts(void **state)
{
    (void)state;
    use_script(SCRIPT("1e9"));
    host_serve();
    wait_for_line("begun\n");
    evserve_stop(host.server, 600000);
    wait_for_line("stopping\n");
    usleep(50000);
    assert_int_equal(host_stop(0), 0);
    assert_true(host_has_logged("timer: cut at "));
}

static void scripts_of_before_a_reload_are_waited_for(void **state)
{
    (void)state;
    use_script(SCRIPT("20"));
    host_serve();
    wait_for_line("begun\n");
    host_write("site.lua", "local app = require 'evserve'\n"
                           "app.on('stopping', function() app.log('info', 'new stopping') end)\n"
                           "app.on('stop', function() app.log('info', 'new stop') end)\n");
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    assert_int_equal(host_stop(60000), 0);
    pthread_mutex_lock(&host_log_lock);
    const char *done = strstr(host.log, "done\n");
    assert_non_null(done);
    assert_non_null(strstr(done, "\nstop\n"));
    assert_non_null(strstr(host.log, "begun\nstopping\nnew stopping\n"));
    assert_null(strstr(host.log, "cut"));
    assert_non_null(strstr(host.log, "new stop\n"));
    pthread_mutex_unlock(&host_log_lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(stop_waits_for_what_a_script_has_begun),
        HOST_TEST(loop_of_a_host_is_woken_until_the_end),
        HOST_TEST(what_is_not_done_at_the_deadline_is_cut_and_named),
        HOST_TEST(newer_deadline_counts),
        HOST_TEST(scripts_of_before_a_reload_are_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
