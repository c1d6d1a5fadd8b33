/* http/rules/rule_cors.c: the fields of CORS in responses of all kinds, and preflights. */

#include "http/rules/rule_access.h"
#include "http/rules/rule_cors.h"
#include "http/rules/rule_fields.h"
#include "http/rules/rule_redirect.h"
#include "tests/lib/server_scene.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static struct rules **rules(void)
{
    return &scene.site->default_host.rules;
}

static void add(const char *prefix, const struct rule_cors *cors)
{
    char err[512] = "";
    if (rule_cors_add(rules(), prefix, cors, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

static void add_origins(const char *prefix, const char *origins)
{
    add(prefix, &(struct rule_cors){.origins = origins, .max_age = CORS_AGE_NONE});
}

/* A handler with fields of its own. */
static void serve_own(struct exchange *exchange, void *ctx)
{
    response_add_field(exchange, "Vary", 4, "Cookie, origin", 14);
    if (ctx != NULL) {
        response_add_field(exchange, "access-control-allow-origin", 27, "https://own.example", 19);
    }
    response_send(exchange, 200, "text/plain", "own\n", 4);
}

static const struct handler varies = {.serve = serve_own};
static const struct handler own = {.serve = serve_own, .ctx = (void *)(uintptr_t) "own"};

static void begin(void)
{
    char err[256] = "";
    assert_int_equal(rule_access_add(rules(), "/denied", false, "all", err, sizeof err), 0);
    assert_int_equal(rule_redirect_add(rules(), "/old", "/hello", 301, "", err, sizeof err), 0);
    add_route(METHOD_GET, "/own", &own);
    add_route(METHOD_GET, "/varies", &varies);
    tree_add_file(&scene.tree, "a.txt", "file\n");
    scene_begin();
}

static struct fake_peer *ask(const char *method, const char *path, const char *fields)
{
    char request[512];
    struct fake_peer *peer = client();
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, fields);
    say(peer, request);
    return peer;
}

#define ORIGIN       "Origin: https://app.example\r\n"
#define OTHER_ORIGIN "Origin: https://other.example\r\n"
#define FOR_PUT      "Access-Control-Request-Method: PUT\r\n"
#define ALLOWS       "Access-Control-Allow-Origin: https://app.example\r\n"

static void responses_of_all_kinds_have_the_origin(void **state)
{
    (void)state;
    add("/", &(struct rule_cors){.origins = "https://app.example",
                                 .expose = "X-Total, x-page",
                                 .credentials = true,
                                 .max_age = CORS_AGE_NONE});
    begin();
    static const struct {
        const char *method, *path, *status;
    } cases[] = {
        {"GET", "/hello", "200"},   {"HEAD", "/hello", "200"},   {"GET", "/a.txt", "200"},
        {"GET", "/nothing", "404"}, {"DELETE", "/hello", "405"}, {"GET", "/denied", "403"},
        {"GET", "/old", "301"},     {"OPTIONS", "*", "204"},     {"GET", "/varies", "200"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fake_peer *peer = ask(cases[i].method, cases[i].path, ORIGIN);
        if (strcmp(cases[i].method, "HEAD") != 0) {
            assert_string_equal(statuses(peer), cases[i].status);
        }
        assert_int_equal(count_in_output(peer, ALLOWS), 1);
        assert_int_equal(count_in_output(peer, "Access-Control-Allow-Credentials: true\r\n"), 1);
        assert_int_equal(count_in_output(peer, "Access-Control-Expose-Headers: X-Total, x-page\r\n"), 1);
        assert_int_equal(count_in_output(peer, "Vary: "), 1);
        assert_true(output_has(peer, "Vary: Origin\r\n") != (strcmp(cases[i].path, "/varies") == 0));
    }
    static const char *const others[] = {"", OTHER_ORIGIN, "Origin: null\r\n", "Origin: \r\n"};
    for (size_t i = 0; i < COUNT(others); i++) {
        struct fake_peer *peer = ask("GET", "/hello", others[i]);
        assert_string_equal(statuses(peer), "200");
        assert_false(output_has(peer, "Access-Control"));
        assert_true(output_has(peer, "Vary: Origin\r\n"));
    }
}

static void all_origins_get_the_same_response(void **state)
{
    (void)state;
    add_origins("/", "*");
    begin();
    static const char *const origins[] = {"", ORIGIN, "Origin: null\r\n"};
    for (size_t i = 0; i < COUNT(origins); i++) {
        struct fake_peer *peer = ask("GET", "/hello", origins[i]);
        assert_true(output_has(peer, "Access-Control-Allow-Origin: *\r\n"));
        assert_false(output_has(peer, "Vary"));
        assert_false(output_has(peer, "Credentials"));
    }
}

static void what_a_handler_says_itself_stands(void **state)
{
    (void)state;
    char err[256];
    static const struct rule_field field = {"Access-Control-Allow-Origin", "https://rule.example"};
    add("/", &(struct rule_cors){.origins = "https://app.example", .credentials = true, .max_age = CORS_AGE_NONE});
    assert_int_equal(rule_fields_add(rules(), "/", &field, 1, false, err, sizeof err), 0);
    begin();
    struct fake_peer *peer = ask("GET", "/own", ORIGIN);
    assert_true(output_has(peer, "access-control-allow-origin: https://own.example\r\n"));
    assert_false(output_has(peer, "Access-Control"));
    peer = ask("GET", "/hello", ORIGIN);
    assert_true(output_has(peer, ALLOWS));
    assert_false(output_has(peer, "rule.example"));
}

static void the_longest_prefix_decides_alone(void **state)
{
    (void)state;
    add("/", &(struct rule_cors){.origins = "https://app.example", .credentials = true, .max_age = CORS_AGE_NONE});
    add_origins("/hello", "https://other.example");
    add_origins("/a.txt", "");
    begin();
    struct fake_peer *peer = ask("GET", "/hello", ORIGIN);
    assert_false(output_has(peer, "Access-Control"));
    peer = ask("GET", "/hello", OTHER_ORIGIN);
    assert_true(output_has(peer, "Access-Control-Allow-Origin: https://other.example\r\n"));
    assert_false(output_has(peer, "Credentials"));
    peer = ask("GET", "/a.txt", ORIGIN);
    assert_false(output_has(peer, "Access-Control"));
    assert_false(output_has(peer, "Vary"));
    peer = ask("OPTIONS", "/a.txt", ORIGIN FOR_PUT);
    assert_false(output_has(peer, "Access-Control"));
}

static void preflights_are_answered_before_all_else(void **state)
{
    (void)state;
    add("/",
        &(struct rule_cors){.origins = "https://app.example, null", .headers = "X-Key,content-type", .max_age = 600});
    begin();
    static const char *const paths[] = {"/hello", "/a.txt", "/nothing", "/denied", "/old", "*"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct fake_peer *peer = ask("OPTIONS", paths[i],
                                     ORIGIN FOR_PUT "Access-Control-Request-Headers: x-key\r\n"
                                                    "Access-Control-Request-Private-Network: true\r\n");
        assert_string_equal(statuses(peer), "204");
        assert_int_equal(count_in_output(peer, ALLOWS), 1);
        assert_true(output_has(peer, "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n"));
        assert_true(output_has(peer, "Access-Control-Allow-Headers: X-Key, content-type\r\n"));
        assert_true(output_has(peer, "Access-Control-Max-Age: 600\r\n"));
        assert_true(output_has(peer, "Vary: Origin\r\n"));
        assert_false(output_has(peer, "Private-Network"));
        assert_false(output_has(peer, "Allow: "));
    }
    struct fake_peer *peer = ask("OPTIONS", "/hello", "Origin: null\r\n" FOR_PUT);
    assert_true(output_has(peer, "Access-Control-Allow-Origin: null\r\n"));
    peer = ask("OPTIONS", "/hello", OTHER_ORIGIN FOR_PUT);
    assert_string_equal(statuses(peer), "403");
    assert_false(output_has(peer, "Access-Control"));
    assert_true(output_has(peer, "Vary: Origin\r\n"));
    static const char *const none[] = {ORIGIN, FOR_PUT, ""}; /* not a preflight */
    for (size_t i = 0; i < COUNT(none); i++) {
        peer = ask("OPTIONS", "/hello", none[i]);
        assert_string_equal(statuses(peer), "204");
        assert_true(output_has(peer, "Allow: "));
        assert_false(output_has(peer, "Access-Control-Allow-Methods"));
    }
    peer = client();
    say(peer, "OPTIONS /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n" ORIGIN FOR_PUT "\r\nbody" GET("/hello"));
    assert_string_equal(statuses(peer), "204 200");
}

static void mistakes_name_the_member(void **state)
{
    (void)state;
    static const struct {
        struct rule_cors cors;
        const char *text;
    } cases[] = {
        {{.origins = "app.example"},
         "origins: \"app.example\" is no origin: write one such as \"https://app.example\""},
        {{.origins = "*", .credentials = true},
         "origins: \"*\" lets every site act as the user, so browsers refuse it with credentials: list the origins, or "
         "leave out credentials"},
        {{.origins = "https://a.example, null", .credentials = true},
         "origins: every site can have the origin \"null\", and would act as the user: leave it out, or credentials"},
        {{.origins = "*", .methods = "GET,"}, "methods: \"GET,\" is no list of methods, separated by commas"},
        {{.origins = "*", .methods = "get"}, "methods: \"get\": methods are written in capitals"},
        {{.origins = "*", .headers = "X Y"}, "headers: \"X Y\" is no list of names of fields, separated by commas"},
        {{.origins = "*", .expose = "X\r\nY: 1"},
         "expose: \"X\r\nY: 1\" is no list of names of fields, separated by commas"},
        {{.origins = "https://a.example", .headers = "*", .credentials = true},
         "headers: with credentials, browsers take \"*\" for a name: name each"},
        {{.origins = "*", .max_age = CORS_AGE_MAX + 1}, "max_age: 31536001 is out of range: 0 to 31536000 seconds"},
        {{.origins = "*", .max_age = -2}, "max_age: -2 is out of range: 0 to 31536000 seconds"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char err[512] = "";
        assert_int_equal(rule_cors_add(rules(), "/", &cases[i].cors, err, sizeof err), -EINVAL);
        assert_string_equal(err, cases[i].text);
    }
}

static void a_list_has_a_limit(void **state)
{
    (void)state;
    char err[256] = "", list[CORS_LIST_MAX + 2];
    memset(list, 'x', CORS_LIST_MAX);
    list[CORS_LIST_MAX] = '\0';
    add("/", &(struct rule_cors){.origins = "*", .headers = list, .max_age = CORS_AGE_MAX});
    memcpy(list + CORS_LIST_MAX, "x", 2);
    const struct rule_cors cors = {.origins = "*", .headers = list};
    assert_int_equal(rule_cors_add(rules(), "/", &cors, err, sizeof err), -ENOSPC);
    assert_string_equal(err, "headers: 4097 bytes: at most 4096");
}

static void without_memory_nothing_is_added_and_the_response_is_cut(void **state)
{
    (void)state;
    const struct rule_cors cors = {.origins = "https://app.example",
                                   .expose = "X-A",
                                   .credentials = true,
                                   .max_age = 5};
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        char err[256] = "";
        fake_mem_fail_after(n, false);
        rv = rule_cors_add(rules(), "/", &cors, err, sizeof err);
        fake_mem_fail_after(0, false);
    }
    assert_int_equal(rv, 0);
    begin();
    static const char *const requests[] = {"GET /hello HTTP/1.1\r\nHost: a\r\n" ORIGIN "\r\n",
                                           "OPTIONS /hello HTTP/1.1\r\nHost: a\r\n" ORIGIN FOR_PUT "\r\n"};
    for (size_t i = 0; i < COUNT(requests); i++) {
        bool has_failed = true;
        for (uint64_t n = 1; has_failed; n++) {
            struct fake_peer *peer = client();
            fake_mem_fail_after(n, false);
            say(peer, requests[i]);
            has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            assert_true(is_closed(peer) || output_has(peer, ALLOWS));
            assert_true(n < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(responses_of_all_kinds_have_the_origin),
        SCENE_TEST(all_origins_get_the_same_response),
        SCENE_TEST(what_a_handler_says_itself_stands),
        SCENE_TEST(the_longest_prefix_decides_alone),
        SCENE_TEST(preflights_are_answered_before_all_else),
        SCENE_TEST(mistakes_name_the_member),
        SCENE_TEST(a_list_has_a_limit),
        SCENE_TEST(without_memory_nothing_is_added_and_the_response_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
