/* Directories that a host mounts: config.mounts, with what app.static says of a directory. */

#include "tests/lib/host.h"

#include <sys/stat.h>

/* A directory of the test's folder. Lives until the next test. */
static const char *make_dir(char (*path)[128], const char *name)
{
    snprintf(*path, sizeof *path, "%s/%s", host.folder, name);
    assert_int_equal(mkdir(*path, 0755), 0);
    return *path;
}

static void several_directories_are_served_and_the_longer_prefix_wins(void **state)
{
    (void)state;
    char one[128], two[128];
    make_dir(&one, "one");
    make_dir(&two, "two");
    host_write("page.html", "root");
    host_write("one/a.txt", "one");
    host_write("two/a.txt", "two");
    const struct evs_mount mounts[] = {{.prefix = "/x", .dir = one},
                                       {.prefix = "/x/deep/", .dir = two},
                                       {.prefix = NULL}};
    host.config.root = host.folder;
    host.config.mounts = mounts;
    host_serve();
    host_expect("/page.html", "root");
    host_expect("/x/a.txt", "one");
    host_expect("/x/deep/a.txt", "two");
}

static void mount_has_every_option_of_app_static(void **state)
{
    (void)state;
    char app[128], plain[128], hidden[128];
    make_dir(&app, "app");
    make_dir(&plain, "plain");
    make_dir(&hidden, "plain/.git");
    host_write("app/start.htm", "start");
    host_write("app/lost.html", "lost");
    host_write("app/a.xyz", "xyz");
    host_write("app/b.txt", "original");
    host_write("app/b.txt.gz", "zipped");
    host_write("plain/.git/config", "secret");
    const char *const index[] = {"none.html", "start.htm", NULL}, *const no_index[] = {NULL};
    const struct evs_field headers[] = {{"X-One", "1"}, {"X-Two", "2"}, {NULL, NULL}};
    const struct evs_type types[] = {{".XYZ", "text/x-yz"}, {NULL, NULL}};
    const struct evs_mount mounts[] = {
        {.prefix = "/app",
         .dir = app,
         .index = index,
         .not_found = "lost.html",
         .headers = headers,
         .types = types,
         .cache_s = 60,
         .no_precompressed = 1},
        {.prefix = "/spa", .dir = app, .index = no_index, .fallback = "start.htm"},
        {.prefix = "/plain", .dir = plain, .list = 1, .dotfiles = 1},
        {.prefix = NULL},
    };
    host.config.mounts = mounts;
    host_serve();
    host_expect("/app/", "start");
    host_expect("/app/nothing", "lost");
    host_expect("/spa/nothing", "start");
    host_expect("/spa/", "start");
    host_expect("/plain/.git/config", "secret");
    assert_non_null(strstr(client_get(host.port, "/plain/"), "href=\"./.git/\""));
    const char *answer = client_get(host.port, "/app/a.xyz");
    assert_non_null(strstr(answer, "\r\nX-One: 1\r\nX-Two: 2\r\n"));
    assert_non_null(strstr(answer, "\r\nCache-Control: max-age=60\r\n"));
    assert_non_null(strstr(answer, "\r\nContent-Type: text/x-yz\r\n"));
    static const char zipped[] = "GET %s HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
    char request[128];
    snprintf(request, sizeof request, zipped, "/app/b.txt");
    assert_string_equal(client_body(client_ask(host.port, request)), "original");
    snprintf(request, sizeof request, zipped, "/spa/b.txt");
    assert_string_equal(client_body(client_ask(host.port, request)), "zipped");
}

static void mounts_may_go_after_the_start_and_survive_reloads(void **state)
{
    (void)state;
    char folder[64], prefix[] = "/x", value[] = "1";
    strcpy(folder, host.folder);
    host_write("a.txt", "a");
    struct evs_field headers[] = {{"X-One", value}, {NULL, NULL}};
    struct evs_mount mounts[] = {{.prefix = prefix, .dir = folder, .headers = headers}, {.prefix = NULL}};
    host.config.mounts = mounts;
    host_serve();
    memset(folder, 'x', sizeof folder);
    memset(value, 'x', sizeof value);
    memset(headers, 0xa5, sizeof headers);
    memset(mounts, 0xa5, sizeof mounts);
    assert_non_null(strstr(client_get(host.port, "/x/a.txt"), "\r\nX-One: 1\r\n"));
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    assert_non_null(strstr(client_get(host.port, "/x/a.txt"), "\r\nX-One: 1\r\n"));
}

static void mount_of_the_host_wins_over_the_scripts(void **state)
{
    (void)state;
    host_needs_lua();
    char mine[128], theirs[128], script[512];
    make_dir(&mine, "mine");
    make_dir(&theirs, "theirs");
    host_write("mine/a.txt", "mine");
    host_write("theirs/a.txt", "theirs");
    snprintf(script, sizeof script,
             "local app = require 'evserve'\napp.static('/x', '%s')\n"
             "app.static('/y', '%s')\n",
             theirs, theirs);
    const struct evs_mount mounts[] = {{.prefix = "/x", .dir = mine}, {.prefix = NULL}};
    host.config.mounts = mounts;
    host.config.script = host_write("site.lua", script);
    host_serve();
    host_expect("/x/a.txt", "mine");
    host_expect("/y/a.txt", "theirs");
}

static void collect_line(void *arg, const char *text)
{
    char *lines = arg;
    snprintf(lines + strlen(lines), 1024 - strlen(lines), "%s\n", text);
}

static void mounts_are_in_the_route_table(void **state)
{
    (void)state;
    char lines[1024] = "", wanted[128];
    const struct evs_mount mounts[] = {{.prefix = "/x/", .dir = host.folder}, {.prefix = NULL}};
    host.config.mounts = mounts;
    assert_int_equal(evserve_routes(&host.config, collect_line, lines, host.err, sizeof host.err), 0);
    snprintf(wanted, sizeof wanted, "static  /x  -  %s\n", host.folder);
    assert_string_equal(lines, wanted);
    lines[0] = '\0';
    assert_int_equal(evserve_check(&host.config, collect_line, lines, host.err, sizeof host.err), 0);
    assert_non_null(strstr(lines, wanted));
}

/* The array is the host's for as long as the server lives. */
static const struct evs_asset assets[] = {
    {.path = "index.html", .content = "start", .len = 5},
    {.path = "a.css", .content = "original", .len = 8, .type = "text/x-style", .etag = "1", .modified = 784111777},
    {.path = "a.css.gz", .content = "zipped", .len = 6},
    {.path = NULL},
};

static void files_in_memory_are_served_like_files(void **state)
{
    (void)state;
    char lines[1024] = "";
    const struct evs_mount mounts[] = {{.prefix = "/ui", .assets = assets, .fallback = "index.html"}, {.prefix = NULL}};
    host.config.mounts = mounts;
    assert_int_equal(evserve_routes(&host.config, collect_line, lines, host.err, sizeof host.err), 0);
    assert_string_equal(lines, "static  /ui  -  (in memory)\n");
    host_serve();
    for (int i = 0; i < 2; i++) {
        host_expect("/ui/", "start");
        host_expect("/ui/of/the/app", "start");
        const char *answer = client_get(host.port, "/ui/a.css");
        assert_string_equal(client_body(answer), "original");
        assert_non_null(strstr(answer, "\r\nContent-Type: text/x-style\r\n"));
        assert_non_null(strstr(answer, "\r\nETag: \"1\"\r\n"));
        assert_non_null(strstr(answer, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        static const char zipped[] = "GET /ui/a.css HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
        assert_string_equal(client_body(client_ask(host.port, zipped)), "zipped");
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static void bad_mounts_are_refused_with_the_name_of_the_member(void **state)
{
    (void)state;
    static const char *const two[] = {"a/b", NULL}, *const nine[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", NULL};
    static const struct evs_field no_name[] = {{"a b", "c"}, {NULL, NULL}},
                                  no_value[] = {{"X-One", NULL}, {NULL, NULL}};
    static const struct evs_asset none[] = {{.path = NULL}}, twice[] = {{.path = "a"}, {.path = "a"}, {.path = NULL}};
    static const struct evs_type no_type[] = {{"x", NULL}, {NULL, NULL}}, bad_type[] = {{"x", "text"}, {NULL, NULL}};
    static const struct {
        struct evs_mount mount;
        const char *what;
    } cases[] = {
        {{.prefix = "x", .dir = "/tmp"}, "evserve_config.mounts[1].prefix: static prefix \"x\" does not begin with"},
        {{.prefix = "/first", .dir = "/tmp"}, "evserve_config.mounts[1].prefix: static prefix \"/first\" already serves "},
        {{.prefix = "/x"}, "evserve_config.mounts[1].dir: \"/x\" has neither a directory nor assets"},
        {{.prefix = "/x", .dir = "/tmp", .assets = none},
         "evserve_config.mounts[1].assets: \"/x\" has a directory as well"},
        {{.prefix = "/x", .assets = twice}, "evserve_config.mounts[1].assets[1]: \"a\" occurs twice"},
        {{.prefix = "x", .assets = none}, "evserve_config.mounts[1].prefix: static prefix \"x\" does not begin with"},
        {{.prefix = "/x", .assets = none, .list = 1}, "evserve_config.mounts[1].list: files in memory are not listed"},
        {{.prefix = "/x", .assets = none, .fallback = "a"},
         "evserve_config.mounts[1].fallback: \"a\" is not among the files in memory"},
        {{.prefix = "/x", .dir = "/nowhere"}, "evserve_config.mounts[1].dir: cannot serve \"/nowhere\": "},
        {{.prefix = "/x", .dir = "/tmp", .index = two}, "evserve_config.mounts[1].index: \"a/b\" is not a file name"},
        {{.prefix = "/x", .dir = "/tmp", .index = nine}, "evserve_config.mounts[1].index: more than 8 names"},
        {{.prefix = "/x", .dir = "/tmp", .fallback = "../x"}, "evserve_config.mounts[1].fallback: \"../x\" is not the path"},
        {{.prefix = "/x", .dir = "/tmp", .not_found = ""}, "evserve_config.mounts[1].not_found: \"\" is not the path"},
        {{.prefix = "/x", .dir = "/tmp", .headers = no_name}, "evserve_config.mounts[1].headers: \"a b\" is not a field"},
        {{.prefix = "/x", .dir = "/tmp", .headers = no_value}, "evserve_config.mounts[1].headers: X-One has no value"},
        {{.prefix = "/x", .dir = "/tmp", .types = no_type}, "evserve_config.mounts[1].types: x has no type"},
        {{.prefix = "/x", .dir = "/tmp", .types = bad_type}, "evserve_config.mounts[1].types: \"text\", for x, is not a "},
        {{.prefix = "/x", .dir = "/tmp", .cache_s = 2147483648U}, "evserve_config.mounts[1].cache_s: 2147483648 is "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_mount mounts[] = {{.prefix = "/first", .dir = host.folder}, cases[i].mount, {.prefix = NULL}};
        host.config.mounts = mounts;
        host_must_not_start(cases[i].what);
    }
}

static void file_that_is_named_and_not_there_is_a_warning_at_the_start(void **state)
{
    (void)state;
    char text[512];
    host_write("lost.html", "lost");
    const struct evs_mount mounts[] = {
        {.prefix = "/there", .dir = host.folder, .not_found = "lost.html"},
        {.prefix = "/x", .dir = host.folder, .fallback = "nope.html", .not_found = "no/folder.html"},
        {.prefix = NULL},
    };
    host.config.mounts = mounts;
    host.config.reactors = 2;
    host_start();
    snprintf(text, sizeof text,
             "evserve_config.mounts[1].fallback: \"nope.html\" is not in \"%s\" now: until it is, a plain 404 is sent "
             "instead\n"
             "evserve_config.mounts[1].not_found: \"no/folder.html\" is not in \"%s\" now: ",
             host.folder, host.folder);
    assert_memory_equal(host.log, text, strlen(text));
    assert_null(strstr(host.log + strlen(text), "nope.html"));
    assert_null(strstr(host.log, "lost.html"));
    host_write("nope.html", "there now");
    host_expect("/x/y", "there now");
}

static void file_that_app_static_names_and_is_not_there_is_a_warning_with_its_place(void **state)
{
    (void)state;
    char script[256], text[512];
    host_needs_lua();
    snprintf(script, sizeof script,
             "local app = require 'evserve'\napp.static('/', '%s', { fallback = 'nope.html' })\n", host.folder);
    host.config.script = host_write("site.lua", script);
    host_start();
    snprintf(text, sizeof text,
             "%s/site.lua:2: app.static: fallback: \"nope.html\" is not in \"%s\" now: ", host.folder, host.folder);
    assert_non_null(strstr(host.log, text));
}

static void lists_of_a_mount_have_limits(void **state)
{
    (void)state;
    struct evs_field headers[34] = {{NULL, NULL}};
    struct evs_type types[258] = {{NULL, NULL}};
    const struct evs_mount mounts[] = {{.prefix = "/x", .dir = host.folder, .headers = headers, .types = types},
                                       {.prefix = NULL}};
    host.config.mounts = mounts;
    for (size_t i = 0; i < 32; i++) {
        headers[i] = (struct evs_field){"X-One", "1"};
    }
    for (size_t i = 0; i < 256; i++) {
        types[i] = (struct evs_type){"x", "text/plain"};
    }
    host_start();
    evserve_free(host.server);
    headers[32] = (struct evs_field){"X-One", "1"};
    host_must_not_start("evserve_config.mounts[0].headers: more than 32");
    headers[32] = (struct evs_field){NULL, NULL};
    types[256] = (struct evs_type){"x", "text/plain"};
    host_must_not_start("evserve_config.mounts[0].types: more than 256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(several_directories_are_served_and_the_longer_prefix_wins),
        HOST_TEST(mount_has_every_option_of_app_static),
        HOST_TEST(mounts_may_go_after_the_start_and_survive_reloads),
        HOST_TEST(mount_of_the_host_wins_over_the_scripts),
        HOST_TEST(mounts_are_in_the_route_table),
        HOST_TEST(files_in_memory_are_served_like_files),
        HOST_TEST(bad_mounts_are_refused_with_the_name_of_the_member),
        HOST_TEST(file_that_is_named_and_not_there_is_a_warning_at_the_start),
        HOST_TEST(file_that_app_static_names_and_is_not_there_is_a_warning_with_its_place),
        HOST_TEST(lists_of_a_mount_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
