/* http/route_table.c: what a site serves, as text. */

#include "tests/lib/server_scene.h"

#include "http/error_pages.h"
#include "http/route_table.h"
#include "http/rules/rule_access.h"
#include "http/rules/rule_redirect.h"

static char table[4096];
static int line_count;

static void keep(void *arg, const char *text)
{
    assert_ptr_equal(arg, &scene);
    line_count++;
    snprintf(table + strlen(table), sizeof table - strlen(table), "%s\n", text);
}

static int write_table(void)
{
    table[0] = '\0';
    line_count = 0;
    return route_table_write(scene.site, keep, &scene);
}

static void add(uint64_t methods, const char *pattern, const struct handler *handler, const char *where)
{
    char err[256] = "";
    assert_int_equal(router_add(scene.site->default_host.router, methods, pattern, handler, where, err, sizeof err), 0);
}

static void columns_are_aligned_and_paths_in_order(void **state)
{
    (void)state;
    static const struct handler named = {.serve = serve_text, .name = "a-name"};
    char expected[1024];
    add(1U << METHOD_GET, "/b/:id{int}", &hello, "site.lua:7");
    add(1U << METHOD_POST | 1U << METHOD_GET, "/a", &named, "site.lua:12");
    add(1U << METHOD_PUT, "/a", &hello, "");
    assert_int_equal(write_table(), 0);
    snprintf(expected, sizeof expected,
             "static    /            -       %s\n"
             "GET,POST  /a           a-name  site.lua:12\n"
             "PUT       /a           -       \n"
             "GET       /b/:id{int}  -       site.lua:7\n",
             scene.tree.path);
    assert_string_equal(table, expected);
}

static void a_handler_with_a_row_and_error_pages_are_told_in_short(void **state)
{
    (void)state;
    static const struct handler_row row = {"proxy", "/api", "http://a:1, http://b:2"};
    static const struct handler proxied = {.serve = serve_text, .row = &row};
    char expected[1024], err[256];
    struct vhost *host = &scene.site->default_host;
    add(METHODS_ALL, "/api", &proxied, "site.lua:3");
    add(METHODS_ALL, "/api/*rest", &proxied, "site.lua:3");
    add(1U << METHOD_GET, "/z", &hello, "site.lua:4");
    assert_int_equal(error_pages_add(&host->error_pages, scene.site->cache, -1, "404 5xx", "e.html", false, err,
                                     sizeof err),
                     0);
    assert_int_equal(write_table(), 0);
    snprintf(expected, sizeof expected,
             "static  /     -  %s\n"
             "proxy   /api  -  http://a:1, http://b:2  site.lua:3\n"
             "GET     /z    -  site.lua:4\n"
             "error   404   -  e.html\n"
             "error   5xx   -  e.html\n",
             scene.tree.path);
    assert_string_equal(table, expected);
}

static void rules_are_among_the_routes(void **state)
{
    (void)state;
    char expected[1024], err[256];
    struct rules **rules = &scene.site->default_host.rules;
    add(1U << METHOD_GET, "/admin", &hello, "site.lua:7");
    assert_int_equal(rule_access_add(rules, "/admin/", true, "10.0.0.0/8", err, sizeof err), 0);
    assert_int_equal(rule_access_add(rules, "/", false, "192.0.2.1", err, sizeof err), 0);
    assert_int_equal(rule_redirect_add(rules, "/old/:id", "/new/:id", 308, "", err, sizeof err), 0);
    assert_int_equal(rule_redirect_add(rules, "/gone", NULL, 410, "", err, sizeof err), 0);
    assert_int_equal(write_table(), 0);
    snprintf(expected, sizeof expected,
             "static  /         -  %s\n"
             "rule    /         -  app.deny\n"
             "GET     /admin    -  site.lua:7\n"
             "rule    /admin    -  app.allow\n"
             "410     /gone     -  \n"
             "308     /old/:id  -  /new/:id\n",
             scene.tree.path);
    assert_string_equal(table, expected);
}

static void methods_are_written_as_routes_say_them(void **state)
{
    (void)state;
    char err[256];
    uint64_t methods = 1U << METHOD_GET;
    assert_int_equal(route_methods_add(router_method_names(scene.site->default_host.router), "PROPFIND", 8, &methods,
                                       err, sizeof err),
                     0);
    add(methods, "/dav", &hello, "site.lua:1");
    add(METHODS_ALL, "/all", &hello, "site.lua:2");
    assert_int_equal(write_table(), 0);
    assert_non_null(strstr(table, "\n*             /all  -  site.lua:2\nGET,PROPFIND  /dav  -  site.lua:1\n"));
}

static void table_without_memory_is_told_and_empty(void **state)
{
    (void)state;
    add(1U << METHOD_GET, "/a", &hello, "");
    fake_mem_fail_after(1, false);
    assert_int_equal(write_table(), -ENOMEM);
    assert_int_equal(line_count, 0);
    fake_mem_fail_after(0, false);
    assert_int_equal(write_table(), 0);
    assert_int_equal(line_count, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(columns_are_aligned_and_paths_in_order),
        SCENE_TEST(rules_are_among_the_routes),
        SCENE_TEST(a_handler_with_a_row_and_error_pages_are_told_in_short),
        SCENE_TEST(methods_are_written_as_routes_say_them),
        SCENE_TEST(table_without_memory_is_told_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
