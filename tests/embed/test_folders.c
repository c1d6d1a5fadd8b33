/* Relative paths are those of the folder in which the server was started, wherever its host goes afterwards. */

#include "tests/lib/host.h"

#include <fcntl.h>
#include <sys/stat.h>

static int home = -1; /* the folder that the tests were started in */

static void go(const char *folder)
{
    assert_int_equal(chdir(folder), 0);
}

static int go_back(void **state)
{
    if (fchdir(home) < 0) {
        return -1;
    }
    int rv = host_tear_down(state);
    close(home);
    return rv;
}

static int come(void **state)
{
    home = open(".", O_PATH | O_CLOEXEC);
    return home < 0 ? -1 : host_set_up(state);
}

/* The folder of the test is the working directory, with some files. */
static void move_in(void)
{
    go(host.folder);
    assert_int_equal(mkdir("www", 0755), 0);
    assert_int_equal(mkdir("lib", 0755), 0);
    host_write("www/page.txt", "page");
}

static void serve_file(evs_request *request, void *arg)
{
    (void)arg;
    if (evs_file(request, "www", "page.txt") < 0) {
        evs_reply(request, 500, "text/plain", "no root", 7);
    }
}

static const struct evs_route routes[] = {{.route = "GET /file", .serve = serve_file}, {.route = NULL}};

static void files_are_found_after_the_host_has_gone_elsewhere(void **state)
{
    (void)state;
    move_in();
    host.config.root = "www";
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 2; reactors++) {
        host.config.reactors = reactors;
        go(host.folder);
        host_start();
        go("/");
        if (reactors == 0) {
            host_serve();
        }
        host_expect("/page.txt", "page");
        host_expect("/file", "page"); /* a root that is used for the first time */
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
        host_expect("/page.txt", "page");
        host_expect("/file", "page");
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void socket_is_removed_after_the_host_has_gone_elsewhere(void **state)
{
    (void)state;
    move_in();
    host.config.listen = "unix:s";
    host_start();
    assert_int_equal(access("s", F_OK), 0);
    go("/");
    evserve_free(host.server);
    host.server = NULL;
    go(host.folder);
    assert_int_equal(access("s", F_OK), -1);
}

static void abstract_socket_is_shown_as_it_was_asked_for(void **state)
{
    (void)state;
    static char listen[64];
    snprintf(listen, sizeof listen, "unix:@evserve-embed-%ld", (long)getpid());
    host.config.listen = listen;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        host.config.reactors = reactors;
        host_start();
        assert_string_equal(evserve_address(host.server, 0), listen);
        assert_int_equal(evserve_port(host.server, 0), 0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

#define SCRIPT                                                                                                         \
    "local app = require 'evserve'\n"                                                                                  \
    "local own, other = require 'own', require 'lib.other'\n"                                                          \
    "app.static('/static', 'www')\n"                                                                                   \
    "app.get('/own', function() return own .. other end)\n"                                                            \
    "app.get('/late', function() return require('late') end)\n"                                                        \
    "app.get('/file', function() return app.file('page.txt', {root = 'www'}) end)\n"

/* Modules beside the script, modules of package.path, which begins with "./", directories, and the script itself. */
static void script_is_reloaded_after_the_host_has_gone_elsewhere(void **state)
{
    (void)state;
    host_needs_lua();
    move_in();
    assert_int_equal(mkdir("scripts", 0755), 0);
    host_write("scripts/site.lua", SCRIPT);
    host_write("scripts/own.lua", "return 'own'");
    host_write("scripts/late.lua", "return 'late'");
    host_write("lib/other.lua", "return 'other'");
    host.config.script = "scripts/site.lua";
    host_start();
    go("/");
    host_serve();
    assert_int_equal(evserve_changed(host.server), 0);
    host_expect("/own", "ownother");
    host_expect("/late", "late");
    host_expect("/file", "page");
    host_expect("/static/page.txt", "page");
    host_write("scripts/own.lua", "return 'new own '");
    assert_int_equal(evserve_changed(host.server), 1);
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    host_expect("/own", "new own other");
    host_expect("/late", "late");
    host_expect("/file", "page");
    host_expect("/static/page.txt", "page");
}

#define FOLDER_TEST(fn) cmocka_unit_test_setup_teardown(fn, come, go_back)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(files_are_found_after_the_host_has_gone_elsewhere),
        FOLDER_TEST(socket_is_removed_after_the_host_has_gone_elsewhere),
        FOLDER_TEST(abstract_socket_is_shown_as_it_was_asked_for),
        FOLDER_TEST(script_is_reloaded_after_the_host_has_gone_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
