/* Rules that ask for a name and a password, on a whole server: who is asked, what clients read, who decides. Checks on
 * threads are in e2e/test_basic_auth.py. */

#include "http/dispatch.h"
#include "http/rules/basic_auth.h"
#include "http/vhost.h"
#include "tests/lib/server_scene.h"

#define ADAM "Authorization: Basic YWRhbTpzZWNyZXQ=\r\n" /* adam:secret */
#define EVE  "Authorization: Basic ZXZlOng=\r\n"         /* eve:x */

#define GET_WITH(path, fields) "GET " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static struct exchange *asked_exchange; /* held by ask_held() */
static int asked_gone, asked_destroyed;
static char asked_as[128]; /* the name and the password that came last */

static void note_asked(const struct credentials *credentials)
{
    snprintf(asked_as, sizeof asked_as, "%s/%s", credentials->name, credentials->password);
}

/* adam may come in. */
static enum rules_verdict ask_at_once(struct exchange *exchange, const struct credentials *credentials, void *arg)
{
    (void)exchange, (void)arg;
    note_asked(credentials);
    return strcmp(credentials->name, "adam") == 0 ? RULES_PASS : RULES_ANSWERED;
}

static void on_asked_gone(struct exchange *exchange)
{
    assert_ptr_equal(exchange, asked_exchange);
    asked_exchange = NULL;
    asked_gone++;
}

static enum rules_verdict ask_held(struct exchange *exchange, const struct credentials *credentials, void *arg)
{
    (void)arg;
    note_asked(credentials);
    asked_exchange = exchange;
    exchange->on_gone = on_asked_gone;
    return RULES_HELD;
}

static void destroy_asked(void *arg)
{
    (void)arg;
    asked_destroyed++;
}

static void serve_user(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    char name[CREDENTIALS_MAX] = "nobody";
    size_t len = basic_auth_user(exchange, name);
    response_send(exchange, 200, "text/plain", name, len == 0 ? strlen(name) : len);
}

static const struct handler user_handler = {.serve = serve_user};

static int add(const char *prefix, const struct basic_auth_options *options, char *err, size_t errlen)
{
    return basic_auth_add(&scene.site->default_host.rules, prefix, options, err, errlen);
}

static void add_asked(const char *prefix,
                      enum rules_verdict (*ask)(struct exchange *, const struct credentials *, void *),
                      const char *realm)
{
    char err[256];
    const struct basic_auth_asked asked = {.ask = ask, .destroy = destroy_asked};
    const struct basic_auth_options options = {.asked = &asked, .realm = realm};
    assert_int_equal(add(prefix, &options, err, sizeof err), 0);
}

static int set_up(void **state)
{
    asked_exchange = NULL;
    asked_gone = asked_destroyed = 0;
    int rv = scene_set_up(state);
    add_route(METHOD_GET, "/user", &user_handler);
    add_route(METHOD_GET, "/open/user", &user_handler);
    add_route(METHOD_GET, "/other", &user_handler);
    return rv;
}

static void who_has_no_credentials_is_asked_for_them(void **state)
{
    (void)state;
    add_asked("/user", ask_at_once, NULL);
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/user"));
    assert_string_equal(statuses(peer), "401");
    assert_true(output_has(peer, "\r\nWWW-Authenticate: Basic realm=\"Restricted\", charset=\"UTF-8\"\r\n"));
    say(peer, GET_WITH("/user", "Authorization: Bearer abc\r\n"));
    say(peer, GET_WITH("/user", EVE));
    say(peer, GET_WITH("/user", ADAM EVE));
    say(peer, GET_WITH("/user", ADAM ADAM));
    assert_string_equal(statuses(peer), "401 401 401 401 401");
    assert_string_equal(asked_as, "eve/x");
    say(peer, GET_WITH("/user", ADAM));
    assert_string_equal(asked_as, "adam/secret");
    assert_true(output_has(peer, "\r\n\r\nadam"));
    say(peer, GET("/other"));
    say(peer, GET_WITH("/other", ADAM));
    assert_int_equal(count_in_output(peer, "\r\n\r\nnobody"), 2); /* a name that nobody has asked for is none */
    say(peer, GET("/user/there-is-none"));
    say(peer, GET("/username"));
    say(peer, "DELETE /user HTTP/1.1\r\nHost: a\r\n\r\n");
    say(peer, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(statuses(peer), "401 401 401 401 401 200 200 200 401 404 401 204");
}

static void the_longest_prefix_decides_alone(void **state)
{
    (void)state;
    static const struct basic_auth_options everybody = {.file = NULL};
    add_asked("/", ask_at_once, NULL);
    assert_int_equal(add("/open", &everybody, NULL, 0), 0);
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/user"));
    say(peer, GET("/open/user"));
    say(peer, GET("/other/../open/user"));
    say(peer, GET("/open/../user"));
    say(peer, GET("/op%65n/user"));
    say(peer, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(statuses(peer), "401 200 200 401 200 401");
    assert_int_equal(count_in_output(peer, "\r\n\r\nnobody"), 3);
}

static void a_decision_may_take_its_time(void **state)
{
    (void)state;
    add_asked("/user", ask_held, "a \"b\" \\c");
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET_WITH("/user", ADAM) GET_WITH("/user", ADAM) GET("/other"));
    assert_int_equal(output_len(peer), 0);
    basic_auth_go_on(asked_exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
    basic_auth_refuse(asked_exchange);
    settle();
    assert_string_equal(statuses(peer), "200 401 200");
    assert_true(output_has(peer, "\r\nWWW-Authenticate: Basic realm=\"a \\\"b\\\" \\\\c\", charset=\"UTF-8\"\r\n"));
    say(peer, GET_WITH("/user", EVE));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_int_equal(asked_gone, 1);
}

static void without_threads_no_password_is_checked(void **state)
{
    (void)state;
    char err[256];
    tree_add_file(&scene.tree, "users", "adam:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    const struct basic_auth_options options = {.file = "users", .base_fd = scene.tree.fd};
    assert_int_equal(add("/user", &options, err, sizeof err), 0);
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET_WITH("/user", ADAM));
    say(peer, GET_WITH("/user", ADAM));
    assert_string_equal(statuses(peer), "503 503");
    const char *line = strstr(scene.log_text, "a password cannot be checked: there are no threads for that");
    assert_non_null(line);
    assert_null(strstr(line + 1, "a password cannot"));
    assert_null(strstr(scene.log_text, "secret"));
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    char err[512], realm[BASIC_AUTH_REALM_MAX + 2];
    memset(realm, 'r', sizeof realm);
    realm[BASIC_AUTH_REALM_MAX] = '\0';
    add_asked("/longest", ask_at_once, realm);
    strcpy(realm + BASIC_AUTH_REALM_MAX, "r");
    const struct basic_auth_asked asked = {.ask = ask_at_once, .destroy = destroy_asked};
    struct basic_auth_options options = {.asked = &asked, .realm = realm};
    static const char wrong[] = "realm: a text of at most 128 bytes without control characters expected";
    assert_int_equal(add("/", &options, err, sizeof err), -EINVAL);
    assert_string_equal(err, wrong);
    options.realm = "a\nb";
    assert_int_equal(add("/", &options, err, sizeof err), -EINVAL);
    assert_string_equal(err, wrong);
    options.realm = NULL;
    assert_int_equal(add("user", &options, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "\"user\""));
    options.asked = NULL;
    options.file = "missing";
    options.base_fd = scene.tree.fd;
    assert_int_equal(add("/", &options, err, sizeof err), -ENOENT);
    assert_string_equal(err, "missing: No such file or directory; make it with: htpasswd -cB missing NAME");
    tree_add_file(&scene.tree, "users", "adam\n");
    options.file = "users";
    assert_int_equal(add("/", &options, err, sizeof err), -EINVAL);
    assert_string_equal(err, "users: line 1: a name, a colon and a hash expected, as \"htpasswd\" writes them");
    assert_int_equal(asked_destroyed, 0); /* what was refused is still the caller's */
}

static int note_file(void *arg, const char *file)
{
    strcat(arg, file);
    return strcmp(file, "b") == 0 ? 7 : 0;
}

static void files_are_listed(void **state)
{
    (void)state;
    char all[64] = "";
    assert_int_equal(basic_auth_each_file(NULL, note_file, all), 0);
    add_asked("/x", ask_at_once, NULL);
    tree_add_file(&scene.tree, "a", "");
    tree_add_file(&scene.tree, "b", "");
    struct basic_auth_options options = {.file = "a", .base_fd = scene.tree.fd};
    assert_int_equal(add("/aaa", &options, NULL, 0), 0);
    assert_int_equal(basic_auth_each_file(scene.site->default_host.rules, note_file, all), 0);
    options.file = "b";
    assert_int_equal(add("/bb", &options, NULL, 0), 0);
    assert_int_equal(add("/", &options, NULL, 0), 0);
    assert_int_equal(basic_auth_each_file(scene.site->default_host.rules, note_file, all), 7);
    assert_string_equal(all, "aab");
}

static void no_memory_leaves_nothing(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "users", "adam:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    const struct basic_auth_options options = {.file = "users", .base_fd = scene.tree.fd};
    for (uint64_t n = 1;; n++) {
        size_t before = fake_mem_live();
        fake_mem_fail_after(n, false);
        int rv = add("/", &options, NULL, 0);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (!has_failed) {
            assert_int_equal(rv, 0);
            break;
        }
        assert_int_equal(rv, -ENOMEM);
        size_t lists = scene.site->default_host.rules != NULL ? 1 : 0; /* the empty list of rules may stay */
        assert_true(fake_mem_live() <= before + lists);
    }
}

#define AUTH_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUTH_TEST(who_has_no_credentials_is_asked_for_them),
        AUTH_TEST(the_longest_prefix_decides_alone),
        AUTH_TEST(a_decision_may_take_its_time),
        AUTH_TEST(without_threads_no_password_is_checked),
        AUTH_TEST(mistakes_are_refused),
        AUTH_TEST(files_are_listed),
        AUTH_TEST(no_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("basic_auth", tests, NULL, NULL);
}
