/* http/rules/rule_fields.c and http/rules/rule_head.c: fields of all responses below a prefix. */

#include "http/rules/rule_fields.h"
#include "tests/lib/server_scene.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static struct rules **rules(void)
{
    return &scene.site->default_host.rules;
}

static void add(const char *prefix, const char *name, const char *value, bool replaces)
{
    char err[256] = "";
    const struct rule_field field = {name, value};
    if (rule_fields_add(rules(), prefix, &field, 1, replaces, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/* A handler with fields of its own. */
static void serve_own(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_add_field(exchange, "X-Own", 5, "mine", 4);
    response_add_field(exchange, "x-frame-options", 15, "SAMEORIGIN", 10);
    response_send(exchange, 200, "text/plain", "own\n", 4);
}

static void serve_stream(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    response_write(exchange, "piece", 5);
    response_end(exchange);
}

static const struct handler own = {.serve = serve_own};
static const struct handler streamed = {.serve = serve_stream};

static void begin(void)
{
    add_route(METHOD_GET, "/own", &own);
    add_route(METHOD_GET, "/stream", &streamed);
    tree_add_file(&scene.tree, "a.txt", "file\n");
    scene_begin();
}

static struct fake_peer *ask(const char *path)
{
    char request[256];
    struct fake_peer *peer = client();
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    say(peer, request);
    assert_int_not_equal(strncmp(statuses(peer), "!", 1), 0);
    return peer;
}

static void all_responses_have_them(void **state)
{
    (void)state;
    add("/", "X-Frame-Options", "DENY", false);
    begin();
    static const char *const paths[] = {"/hello", "/a.txt", "/none", "/stream"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(count_in_output(ask(paths[i]), "X-Frame-Options: DENY\r\n"), 1);
    }
    struct fake_peer *peer = ask("/own");
    assert_true(output_has(peer, "x-frame-options: SAMEORIGIN\r\n"));
    assert_false(output_has(peer, "DENY"));
    peer = client();
    say(peer, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nDELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    assert_string_equal(statuses(peer), "204 405 200");
    assert_int_equal(count_in_output(peer, "X-Frame-Options: DENY\r\n"), 3);
    peer = client();
    say(peer, "HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(output_has(peer, "X-Frame-Options: DENY\r\n"));
}

static void the_longer_prefix_decides_about_a_name(void **state)
{
    (void)state;
    add("/", "X-A", "root", false);
    add("/own", "X-A", "own", false);
    add("/none", "x-a", NULL, false);
    add("/", "X-A", "second", false);
    begin();
    assert_true(output_has(ask("/hello"), "X-A: root\r\n"));
    assert_false(output_has(ask("/hello"), "second"));
    assert_true(output_has(ask("/own"), "X-A: own\r\n"));
    assert_false(output_has(ask("/own"), "root"));
    assert_false(output_has(ask("/none"), "root"));
}

static void fields_can_be_replaced_and_dropped(void **state)
{
    (void)state;
    add("/own", "X-Frame-Options", "DENY", true);
    add("/own", "X-Own", NULL, false);
    add("/a.txt", "etag", NULL, false);
    add("/a.txt", "Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT", true);
    begin();
    struct fake_peer *peer = ask("/own");
    assert_true(output_has(peer, "X-Frame-Options: DENY\r\n"));
    assert_false(output_has(peer, "SAMEORIGIN"));
    assert_false(output_has(peer, "X-Own"));
    peer = ask("/a.txt");
    assert_string_equal(statuses(peer), "200");
    assert_false(output_has(peer, "ETag"));
    assert_int_equal(count_in_output(peer, "Last-Modified:"), 1);
    assert_true(output_has(peer, "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n"));
    assert_int_equal(count_in_output(peer, "Content-Type: text/plain"), 1);
    assert_int_equal(count_in_output(peer, "Content-Length: 5\r\n"), 1);
    assert_true(output_has(peer, "\r\n\r\nfile\n"));
    peer = client();
    say(peer, "GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n" GET("/a.txt"));
    assert_string_equal(statuses(peer), "304 200");
    assert_false(output_has(peer, "ETag"));
    peer = client();
    say(peer, "HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_false(output_has(peer, "ETag"));
    assert_true(output_has(peer, "Content-Length: 5\r\n\r\n"));
}

static void vary_is_added_to_that_of_a_response(void **state)
{
    (void)state;
    add("/", "Vary", "Origin", false);
    tree_add_file(&scene.tree, "b.txt", "original");
    tree_add_file(&scene.tree, "b.txt.gz", "zipped");
    begin();
    assert_int_equal(count_in_output(ask("/hello"), "Vary: Origin\r\n"), 1);
    struct fake_peer *peer = ask("/b.txt");
    assert_true(output_has(peer, "Vary: Accept-Encoding\r\n"));
    assert_true(output_has(peer, "Vary: Origin\r\n"));
}

static void several_lines_of_a_name_stand_together(void **state)
{
    (void)state;
    char err[256];
    static const struct rule_field links[] = {{"Link", "</a>"}, {"X-B", "1"}, {"link", "</b>"}};
    assert_int_equal(rule_fields_add(rules(), "/", links, COUNT(links), false, err, sizeof err), 0);
    assert_int_equal(rule_fields_add(rules(), "/own", links, COUNT(links), true, err, sizeof err), 0);
    begin();
    struct fake_peer *peer = ask("/hello");
    assert_true(output_has(peer, "Link: </a>\r\nX-B: 1\r\nlink: </b>\r\n"));
    peer = ask("/own");
    assert_true(output_has(peer, "Link: </a>\r\nX-B: 1\r\nlink: </b>\r\n"));
}

static void mistakes_name_the_field(void **state)
{
    (void)state;
    static const struct {
        struct rule_field fields[2];
        size_t count;
        const char *text;
    } cases[] = {
        {{{"X Y", "1"}}, 1, "\"X Y\": no valid name or value of a field"},
        {{{"", "1"}}, 1, "\"\": no valid name or value of a field"},
        {{{"X", "a\r\nb: c"}}, 1, "\"X\": no valid name or value of a field"},
        {{{"Content-Length", "1"}}, 1, "\"Content-Length\": the server writes this field itself"},
        {{{"Date", NULL}}, 1, "\"Date\": the server writes this field itself"},
        {{{"content-type", NULL}}, 1, "\"content-type\" describes the content: its handler or mount says it"},
        {{{"strict-transport-security", NULL}},
         1,
         "\"strict-transport-security\": the setting hsts says whether it is sent: \"off\""},
        {{{"X", "1"}, {"x", NULL}}, 2, "\"x\" is both added and dropped"},
        {{{"Server", "a"}, {"server", "b"}}, 2, "\"server\": a response has one field of this name at most"},
        {{{NULL, NULL}}, 0, "0 fields: 1 to 64 are possible"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char err[256] = "";
        assert_int_equal(rule_fields_add(rules(), "/", cases[i].fields, cases[i].count, false, err, sizeof err),
                         -EINVAL);
        assert_string_equal(err, cases[i].text);
    }
}

static void a_rule_has_limits(void **state)
{
    (void)state;
    char err[256] = "", value[RULE_FIELDS_TEXT_MAX];
    struct rule_field fields[RULE_FIELDS_MAX + 1];
    for (size_t i = 0; i < COUNT(fields); i++) {
        fields[i] = (struct rule_field){"X", "1"};
    }
    assert_int_equal(rule_fields_add(rules(), "/", fields, RULE_FIELDS_MAX, false, err, sizeof err), 0);
    assert_int_equal(rule_fields_add(rules(), "/", fields, RULE_FIELDS_MAX + 1, false, err, sizeof err), -ENOSPC);
    memset(value, 'v', sizeof value);
    value[RULE_FIELDS_TEXT_MAX - 4] = '\0';
    fields[0].value = value;
    assert_int_equal(rule_fields_add(rules(), "/hello", fields, 1, false, err, sizeof err), -ENOSPC);
    assert_string_equal(err, "8193 bytes of fields: at most 8192");
    value[RULE_FIELDS_TEXT_MAX - 5] = '\0';
    assert_int_equal(rule_fields_add(rules(), "/hello", fields, 1, false, err, sizeof err), 0);
    begin();
    assert_true(output_has(ask("/hello"), "vvvv\r\n"));
}

static void without_memory_the_response_is_cut(void **state)
{
    (void)state;
    char err[256];
    const struct rule_field field = {"ETag", NULL};
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = rule_fields_add(rules(), "/a.txt", &field, 1, false, err, sizeof err);
        fake_mem_fail_after(0, false);
    }
    assert_int_equal(rv, 0);
    add("/", "X-A", "1", false);
    begin();
    for (uint64_t n = 1;; n++) {
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        say(peer, GET("/a.txt"));
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(is_closed(peer) || output_has(peer, "X-A: 1\r\n"));
        assert_false(output_has(peer, "ETag"));
        if (!has_failed) {
            assert_string_equal(statuses(peer), "200");
            break;
        }
        assert_true(n < 1000);
    }
}

/* A head that never comes leaves nothing behind for the next request with the same memory. */
static void a_lost_request_leaves_no_rule_behind(void **state)
{
    (void)state;
    add("/hold", "X-A", "1", false);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    peer = ask("/hello");
    assert_string_equal(statuses(peer), "200");
    assert_false(output_has(peer, "X-A"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(all_responses_have_them),
        SCENE_TEST(the_longer_prefix_decides_about_a_name),
        SCENE_TEST(fields_can_be_replaced_and_dropped),
        SCENE_TEST(vary_is_added_to_that_of_a_response),
        SCENE_TEST(several_lines_of_a_name_stand_together),
        SCENE_TEST(mistakes_name_the_field),
        SCENE_TEST(a_rule_has_limits),
        SCENE_TEST(without_memory_the_response_is_cut),
        SCENE_TEST(a_lost_request_leaves_no_rule_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
