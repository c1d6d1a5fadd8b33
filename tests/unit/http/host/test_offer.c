/* http/host/offer.c, http/host/offer_describe.c and http/host/retired.c: what one thread serves, its addresses, and when a
 * replaced one is freed. */

#include "http/host/offer.h"
#include "http/host/offer_describe.h"
#include "http/host/retired.h"
#include "http/server.h"
#include "http/site.h"
#include "lua/script.h"
#include "tests/lib/lua_scene.h"

#include <errno.h>

static struct reactor *reactor;
static char text[4096]; /* what was described, a line each */

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    text[0] = '\0';
    return reactor_create(&reactor, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    reactor_destroy(reactor);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static void add_line(void *arg, const char *line)
{
    (void)arg;
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s\n", line);
}

/* An offer of a script. */
static struct offer *offer_with(const char *source, bool adds_tls, const struct log *log)
{
    struct scene file;
    struct offer *offer = NULL;
    char err[512] = "";
    write_script(&file, source);
    const struct offer_config config = {.script = file.path, .kind = &script_lua, .adds_tls = adds_tls};
    int rv = offer_create(&offer, &config, reactor, log, err, sizeof err);
    unlink(file.path);
    assert_string_equal(err, "");
    assert_int_equal(rv, 0);
    return offer;
}

static struct offer *offer_with_log(const char *source, const struct log *log)
{
    return offer_with(source, false, log);
}

static struct offer *offer_of(const char *source)
{
    return offer_with(source, false, NULL);
}

static struct offer *empty_offer(void)
{
    const struct offer_config config = {0};
    struct offer *offer = NULL;
    assert_int_equal(offer_create(&offer, &config, reactor, NULL, NULL, 0), 0);
    return offer;
}

/* For development: HTTPS where plain HTTP was, but only if nothing is HTTPS already. */
static void tls_is_added_where_no_address_has_it(void **state)
{
    (void)state;
    static const struct {
        const char *list, *script, *described;
        const char *remote; /* the address that other machines could connect to, or NULL */
    } rows[] = {
        {NULL, "", "listen  127.0.0.1:8080?tls\n", NULL},
        {NULL, "app.listen ':1' app.listen 'unix:/s'", "listen  :1?tls\nlisten  unix:/s?tls\n", "\":1?tls\""},
        {"unix:/s?mode=660,[::1]:4", "", "listen  unix:/s?mode=660&tls\nlisten  [::1]:4?tls\n", NULL},
        {"127.0.0.1:3?tls,:2", "", "listen  127.0.0.1:3?tls\nlisten  :2\n", NULL},
        {NULL, "app.listen '127.0.0.1:1' app.listen ':2?tls'", "listen  127.0.0.1:1\nlisten  :2?tls\n", "\":2?tls\""},
        {":1?redirect_https,127.0.0.1:2", "", "listen  :1?redirect_https\nlisten  127.0.0.1:2?tls\n", NULL},
        {"none", "app.listen ':1'", "", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char source[128], err[512] = "";
        snprintf(source, sizeof source, "local app = require 'evserve' %s", rows[i].script);
        struct offer *offer = offer_with(source, true, NULL);
        text[0] = '\0';
        assert_true(offer_describe(offer, rows[i].list, add_line, NULL, err, sizeof err) >= 0);
        assert_string_equal(text, rows[i].described);
        int rv = offer_check_local(offer, rows[i].list, err, sizeof err);
        assert_int_equal(rv, rows[i].remote == NULL ? 0 : -EINVAL);
        if (rv < 0 && (strstr(err, rows[i].remote) == NULL || strstr(err, "--tls-dev-anywhere") == NULL ||
                       (rows[i].list == NULL && strstr(err, ":1: listen address") == NULL))) {
            fail_msg("%s", err);
        }
        offer_destroy(offer);
    }
}

static void addresses_are_those_of_the_list_else_of_the_script_else_the_default(void **state)
{
    (void)state;
    static const struct {
        const char *list, *script, *described;
    } rows[] = {
        {NULL, "", "listen  127.0.0.1:8080\n"},
        {NULL, "app.listen ':1' app.listen 'unix:/s'", "listen  :1\nlisten  unix:/s\n"},
        {":2", "app.listen ':1'", "listen  :2\n"},
        {":2,127.0.0.1:3, [::1]:4,", "app.listen ':1'", "listen  :2\nlisten  127.0.0.1:3\nlisten  [::1]:4\n"},
        {"none", "app.listen ':1'", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char source[128];
        snprintf(source, sizeof source, "local app = require 'evserve' %s", rows[i].script);
        struct offer *offer = offer_of(source);
        text[0] = '\0';
        assert_true(offer_describe(offer, rows[i].list, add_line, NULL, NULL, 0) >= 0);
        assert_string_equal(text, rows[i].described);
        offer_destroy(offer);
    }
}

static void address_that_is_none_is_an_error(void **state)
{
    (void)state;
    static const char *const lists[] = {"", ",", ":1,what", ":70000"};
    struct offer *offer = empty_offer();
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char err[512] = "";
        assert_int_equal(offer_describe(offer, lists[i], add_line, NULL, err, sizeof err), -EINVAL);
        assert_true(strlen(err) > 0);
    }
    offer_destroy(offer);
}

static void limits_and_settings_that_were_set_are_described(void **state)
{
    (void)state;
    struct offer *offer = offer_of(
        "require 'evserve'.set { max_fields = 50, idle_timeout = '2s', handler_cpu = '7ms' }");
    assert_true(offer_describe(offer, "none", add_line, NULL, NULL, 0) >= 0);
    assert_string_equal(text, "set     idle_timeout = 2000 ms\nset     max_fields = 50\nset     handler_cpu = 7 ms\n");
    offer_destroy(offer);
}

static void offer_listens_where_the_script_says(void **state)
{
    (void)state;
    struct offer *offer = offer_of("local app = require 'evserve'\napp.listen '127.0.0.1:0'\napp.listen '[::1]:0'");
    struct server *server = NULL;
    char err[512] = "";
    assert_int_equal(server_create(&server, reactor, offer->site, NULL), 0);
    assert_true(offer_listen(offer, NULL, server, false, err, sizeof err) >= 0);
    assert_non_null(server_address(server, 1));
    assert_null(server_address(server, 2));
    fake_sys_fail_op(FAKE_BIND, 1, 1, -EACCES);
    assert_int_equal(offer_listen(offer, NULL, server, false, err, sizeof err), -EACCES);
    assert_non_null(strstr(err, ":3: cannot listen on [::1]:0")); /* the line of the script */
    server_destroy(server);
    offer_destroy(offer);
}

static void what_cannot_be_filled_leaves_nothing_behind(void **state)
{
    (void)state;
    struct offer *offer = NULL;
    char err[512] = "";
    const struct offer_config no_root = {.root = "/there/is/no/such/directory"};
    assert_true(offer_create(&offer, &no_root, reactor, NULL, err, sizeof err) < 0);
    assert_non_null(strstr(err, "/there/is/no/such/directory"));
    const struct offer_config no_script = {.root = "/tmp", .script = "/there/is/no/such.lua", .kind = &script_lua};
    assert_true(offer_create(&offer, &no_script, reactor, NULL, err, sizeof err) < 0);
    assert_non_null(strstr(err, "/there/is/no/such.lua"));
    const struct offer_config no_kind = {.root = "/tmp", .script = "site.lua"};
    assert_int_equal(offer_create(&offer, &no_kind, reactor, NULL, err, sizeof err), -ENOTSUP);
    assert_string_equal(err,
                        "site.lua: this evserve was built without Lua (EVSERVE_LUA=OFF), so it cannot run scripts");
    assert_null(offer);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        const struct offer_config config = {.root = "/tmp"};
        fake_mem_fail_after(n, false);
        int rv = offer_create(&offer, &config, reactor, NULL, err, sizeof err);
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, failed ? -ENOMEM : 0);
    }
    offer_destroy(offer);
}

/* Let the reactor work off what is due. */
static void tick(void)
{
    assert_true(reactor_run_once(reactor, 0) >= 0);
}

static void retired_offer_goes_at_the_end_of_the_tick(void **state)
{
    (void)state;
    struct retired retired;
    retired_init(&retired, reactor);
    retired_add(&retired, empty_offer());
    retired_add(&retired, empty_offer());
    assert_non_null(retired.first);
    tick();
    assert_null(retired.first);
}

static void retired_offer_stays_until_its_last_request_is_over(void **state)
{
    (void)state;
    struct retired retired;
    struct offer *used = empty_offer();
    retired_init(&retired, reactor);
    used->site->pins = 1;
    retired_add(&retired, used);
    retired_add(&retired, empty_offer());
    tick();
    assert_ptr_equal(retired.first, used);
    assert_null(used->next);
    assert_int_equal(retired.timer, 0); /* nobody asks: the request will tell */
    used->site->pins = 0;
    used->site->on_unpinned(used->site->on_unpinned_arg);
    assert_ptr_equal(retired.first, used); /* a function of its script may be what is running */
    tick();
    assert_null(retired.first);
}

static void pass(int64_t ms)
{
    for (int64_t i = 0; i < ms; i += 50) {
        fake_sys_advance_ms(50);
        assert_true(reactor_run_once(reactor, 0) >= 0);
    }
}

#define BUSY_SCRIPT(time) "local app = require 'evserve' app.every('1s', function() app.sleep('" time "') end)"

static void script_with_work_left_is_asked_again(void **state)
{
    (void)state;
    struct retired retired;
    retired_init(&retired, reactor);
    struct offer *offer = offer_of(BUSY_SCRIPT("5s"));
    pass(1000);
    int64_t now_ms = reactor_now_ms(reactor);
    assert_true(script_is_busy(offer->script, now_ms + 5000));
    assert_false(script_is_busy(offer->script, now_ms + 4900)); /* it sleeps longer */
    retired_add(&retired, offer);
    pass(4000);
    assert_ptr_equal(retired.first, offer);
    pass(1200);
    assert_null(retired.first);
}

static void script_has_a_minute_for_what_is_left(void **state)
{
    (void)state;
    struct retired retired;
    retired_init(&retired, reactor);
    struct offer *offer = offer_of("local app = require 'evserve'\n"
                                   "app.after('1s', function() while true do app.sleep('1s') end end)");
    pass(1000);
    retired_add(&retired, offer);
    pass(59500);
    assert_ptr_equal(retired.first, offer);
    pass(1500);
    assert_null(retired.first);
}

static void script_that_sleeps_beyond_its_minute_is_not_waited_for(void **state)
{
    (void)state;
    struct retired retired;
    retired_init(&retired, reactor);
    struct offer *offer = offer_of(BUSY_SCRIPT("1h"));
    pass(1000);
    retired_add(&retired, offer);
    pass(100);
    assert_null(retired.first);
}

static unsigned lines; /* that were logged */

static void count_line(void *arg, int level, const char *line)
{
    (void)arg, (void)level, (void)line;
    lines++;
}

/* The last request lets go of an offer deep inside the server: its script must not run there. */
static void without_any_memory_an_unpinned_script_is_stopped_once_at_the_end_of_the_tick(void **state)
{
    (void)state;
    const struct log log = {.sink = count_line, .level = LOG_INFO};
    struct retired retired;
    struct offer *offer = offer_with_log("print 'a buffer for lines' "
                                         "require('evserve').on('stop', function() print 'stopped' end)",
                                         &log);
    lines = 0;
    retired_init(&retired, reactor);
    offer->site->pins = 1;
    retired_add(&retired, offer);
    tick();
    offer->site->pins = 0;
    fake_mem_fail_after(1, true);
    offer->site->on_unpinned(offer->site->on_unpinned_arg);
    assert_int_equal(lines, 0);
    assert_ptr_equal(retired.first, offer);
    tick();
    fake_mem_fail_after(0, false);
    assert_null(retired.first);
    assert_int_equal(lines, 1);
    pass(1000);
    assert_int_equal(lines, 1);
    retired_done(&retired);
}

static void what_is_retired_to_the_end_goes_with_the_rest(void **state)
{
    (void)state;
    struct retired retired;
    retired_init(&retired, reactor);
    struct offer *used = empty_offer();
    used->site->pins = 1;
    retired_add(&retired, used);
    retired_add(&retired, empty_offer());
    retired_done(&retired);
    assert_null(retired.first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tls_is_added_where_no_address_has_it),
        TEST(addresses_are_those_of_the_list_else_of_the_script_else_the_default),
        TEST(address_that_is_none_is_an_error),
        TEST(limits_and_settings_that_were_set_are_described),
        TEST(offer_listens_where_the_script_says),
        TEST(what_cannot_be_filled_leaves_nothing_behind),
        TEST(retired_offer_goes_at_the_end_of_the_tick),
        TEST(retired_offer_stays_until_its_last_request_is_over),
        TEST(script_with_work_left_is_asked_again),
        TEST(script_has_a_minute_for_what_is_left),
        TEST(script_that_sleeps_beyond_its_minute_is_not_waited_for),
        TEST(without_any_memory_an_unpinned_script_is_stopped_once_at_the_end_of_the_tick),
        TEST(what_is_retired_to_the_end_goes_with_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
