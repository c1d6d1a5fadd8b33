/* Names, passwords and error pages of a host: config.rules and config.error_pages. */

#include "tests/lib/host.h"

#include <stdatomic.h>

#define ADAM "Authorization: Basic YWRhbTpzZWNyZXQ=\r\n" /* adam:secret */
#define EVE  "Authorization: Basic ZXZlOng=\r\n"         /* eve:x */

static atomic_int asked; /* calls of authenticate() */

static void serve_user(evs_request *request, void *arg)
{
    char name[1024];
    (void)arg;
    const char *user = evs_user(request, name, sizeof name);
    user = user == NULL ? "nobody" : user;
    evs_reply(request, 200, "text/plain", user, strlen(user));
}

static void serve_short_user(evs_request *request, void *arg)
{
    char name[3];
    (void)arg;
    evs_reply(request, 200, "text/plain", evs_user(request, name, sizeof name), 2);
}

static void serve_nothing(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 418, NULL, NULL, 0);
}

static const struct evs_route routes[] = {
    {.route = "GET /file/user", .serve = serve_user},        {.route = "GET /fn/user", .serve = serve_user},
    {.route = "GET /file/short", .serve = serve_short_user}, {.route = "GET /open/user", .serve = serve_user},
    {.route = "GET /teapot", .serve = serve_nothing},        {.route = NULL},
};

static int authenticate(evs_request *request, const char *user, const char *password, void *arg)
{
    assert_ptr_equal(arg, &asked);
    asked++;
    if (strcmp(user, "eve") == 0) {
        evs_reply(request, 402, "text/plain", "pay", 3);
        return 1;
    }
    return strcmp(user, "adam") == 0 && strcmp(password, "secret") == 0;
}

static const char *ask(const char *path, const char *fields)
{
    char request[512];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", path, fields);
    return client_ask(host.port, request);
}

static void expect(const char *path, const char *fields, const char *status, const char *body)
{
    const char *response = ask(path, fields);
    if (strncmp(response + strlen("HTTP/1.1 "), status, 3) != 0) {
        fail_msg("%s: no %s in\n%s", path, status, response);
    }
    assert_string_equal(client_body(response), body);
}

static void files_and_functions_know_passwords(void **state)
{
    (void)state;
    char file[256], realm[] = "Staff";
    snprintf(file, sizeof file, "%s", host_write("users", "adam:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"));
    struct evs_rule rules[] = {
        {.prefix = "/file", .basic_auth = file, .realm = realm},
        {.prefix = "/fn", .authenticate = authenticate, .authenticate_arg = &asked},
        {.prefix = "/", .basic_auth = file},
        {.prefix = "/open", .basic_auth = ""},
        {.prefix = NULL},
    };
    host.config.routes = routes;
    host.config.rules = rules;
    host.config.reactors = 2;
    host_start();
    memset(file, 'x', sizeof file - 1);
    memset(realm, 'x', sizeof realm - 1);
    memset(rules, 0xa5, sizeof rules);
    for (int i = 0; i < 2; i++) {
        asked = 0;
        expect("/file/user", "", "401", "401 Unauthorized\n");
        assert_non_null(
            strstr(ask("/file/user", ""), "\r\nWWW-Authenticate: Basic realm=\"Staff\", charset=\"UTF-8\"\r\n"));
        expect("/file/user", ADAM, "200", "adam");
        expect("/file/user", ADAM, "200", "adam");
        expect("/file/short", ADAM, "200", "ad");
        expect("/file/user", EVE, "401", "401 Unauthorized\n");
        expect("/fn/user", "", "401", "401 Unauthorized\n");
        assert_int_equal(asked, 0);
        expect("/fn/user", ADAM, "200", "adam");
        expect("/fn/user", EVE, "402", "pay");
        assert_int_equal(asked, 2);
        expect("/open/user", ADAM, "200", "nobody");
        expect("/other", "", "401", "401 Unauthorized\n");
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static void error_pages_are_files(void **state)
{
    (void)state;
    char folder[256], own[300], sorry[300];
    snprintf(folder, sizeof folder, "%s", host.folder);
    snprintf(own, sizeof own, "%s", host_write("404.html", "<p>lost"));
    snprintf(sorry, sizeof sorry, "%s", host_write("4xx.txt", "sorry"));
    struct evs_error_page pages[] = {{.statuses = "404", .file = own},
                                     {.statuses = "4xx", .file = sorry},
                                     {.statuses = NULL}};
    host.config.routes = routes;
    host.config.error_pages = pages;
    host.config.reactors = 1;
    host_start();
    memset(pages, 0xa5, sizeof pages);
    memset(own, 'x', sizeof own - 1);
    for (int i = 0; i < 2; i++) {
        expect("/nothing", "", "404", "<p>lost");
        assert_non_null(strstr(ask("/nothing", ""), "\r\nContent-Type: text/html; charset=utf-8\r\n"));
        expect("/teapot", "", "418", "sorry");
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static void mistakes_are_refused_with_the_name_of_the_member(void **state)
{
    (void)state;
    const char *broken = host_write("broken", "adam\n");
    char text[512];
    const struct evs_rule missing[] = {{.prefix = "/", .basic_auth = "/nowhere/users"}, {.prefix = NULL}};
    host.config.rules = missing;
    host_must_not_start("evserve_config.rules[0].basic_auth: /nowhere/users: No such file or directory; "
                        "make it with: htpasswd -cB /nowhere/users NAME");
    const struct evs_rule no_hash[] = {{.prefix = "/", .basic_auth = broken}, {.prefix = NULL}};
    host.config.rules = no_hash;
    snprintf(text, sizeof text, "evserve_config.rules[0].basic_auth: %s: line 1: a name, a colon", broken);
    host_must_not_start(text);
    const struct evs_rule both[] = {{.prefix = "/", .basic_auth = broken, .authenticate = authenticate},
                                    {.prefix = NULL}};
    host.config.rules = both;
    host_must_not_start("evserve_config.rules[0].authenticate: it cannot be combined with basic_auth");
    const struct evs_rule realm[] = {{.prefix = "/", .authenticate = authenticate, .realm = "a\nb"}, {.prefix = NULL}};
    host.config.rules = realm;
    host_must_not_start("evserve_config.rules[0].authenticate: realm: a text");
    host.config.rules = NULL;
    const struct evs_error_page status[] = {{.statuses = "200", .file = "a.html"}, {.statuses = NULL}};
    host.config.error_pages = status;
    host_must_not_start("evserve_config.error_pages[0]: a status from 400 to 599");
    const struct evs_error_page no_file[] = {{.statuses = "404"}, {.statuses = NULL}};
    host.config.error_pages = no_file;
    host_must_not_start("evserve_config.error_pages[0]: no file is given");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(files_and_functions_know_passwords),
        HOST_TEST(error_pages_are_files),
        HOST_TEST(mistakes_are_refused_with_the_name_of_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
