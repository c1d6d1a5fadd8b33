/* http/rules/rule_access.c: who may ask. */

#include "http/rules/rule_access.h"
#include "tests/lib/server_scene.h"

#include <arpa/inet.h>
#include <sys/un.h>

static void add(const char *prefix, bool allows, const char *list)
{
    char err[256] = "";
    if (rule_access_add(&scene.site->default_host.rules, prefix, allows, list, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
}

/* The status that a client of an address gets, "unix:" or numeric. */
static int status_of(const char *address, const char *path)
{
    char request[128];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1) {
        fake_peer_set_address(peer, (const struct sockaddr *)&v4, sizeof v4);
    } else if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1) {
        fake_peer_set_address(peer, (const struct sockaddr *)&v6, sizeof v6);
    } else {
        fake_peer_set_address(peer, (const struct sockaddr *)&un, sizeof(sa_family_t));
    }
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    say(peer, request);
    int status = atoi(statuses(peer));
    fake_peer_close(peer);
    settle();
    return status;
}

static void the_narrowest_network_of_the_longest_prefix_decides(void **state)
{
    (void)state;
    add("/", false, "192.0.2.0/24, 2001:db8::/32");
    add("/", true, "192.0.2.7,all");
    add("/admin", true, "10.0.0.0/8, ::1, unix:");
    add("/admin", false, "10.1.0.0/16");
    add("/admin/open", true, "all");
    add("/admin/open", false, "127.0.0.1");
    add("/even", true, "10.0.0.0/8");
    add("/even", false, "10.0.0.0/8");
    add("/closed", false, "all");
    add("/closed", true, "10.0.0.1");
    add("/deny-only", false, "10.0.0.1");
    scene_begin();
    static const struct {
        const char *address, *path;
        int status;
    } cases[] = {
        {"198.51.100.1", "/hello", 200},
        {"192.0.2.8", "/hello", 403},
        {"192.0.2.7", "/hello", 200},
        {"2001:db8::1", "/hello", 403},
        {"2001:db9::1", "/hello", 200},
        {"unix:", "/hello", 200},
        {"::ffff:192.0.2.8", "/hello", 403},
        {"10.2.3.4", "/admin", 404},
        {"10.1.3.4", "/admin", 403},
        {"11.2.3.4", "/admin/x", 403},
        {"::1", "/admin/x", 404},
        {"unix:", "/admin/x", 404},
        {"11.2.3.4", "/administrator", 404},
        {"11.2.3.4", "/admin/open", 404},
        {"127.0.0.1", "/admin/open/x", 403},
        {"10.2.3.4", "/even", 403},
        {"10.0.0.1", "/closed", 404},
        {"10.0.0.2", "/closed", 403},
        {"10.0.0.1", "/deny-only", 403},
        {"10.0.0.2", "/deny-only", 404},
        {"192.0.2.8", "/deny-only", 403},  /* it says nothing, so "/" does */
        {"192.0.2.8", "/admin/open", 404}, /* it allows all */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = status_of(cases[i].address, cases[i].path);
        if (status != cases[i].status) {
            fail_msg("%s from %s: %d", cases[i].path, cases[i].address, status);
        }
    }
}

static void mistakes_are_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *list, *text;
    } cases[] = {
        {"/", "", "an address is missing in \"\""},
        {"/", "10.0.0.1,", "an address is missing in \"10.0.0.1,\""},
        {"/", "example.org", "example.org"},
        {"/", "10.0.0.0/33", "10.0.0.0/33"},
        {"/", "10.0.0.1; 10.0.0.2", "10.0.0.1; 10.0.0.2"},
        {"a", "all", "\"a\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char err[256] = "";
        assert_int_equal(rule_access_add(&scene.site->default_host.rules, cases[i].prefix, true, cases[i].list, err,
                                         sizeof err),
                         -EINVAL);
        assert_non_null(strstr(err, cases[i].text));
    }
}

static void a_list_has_a_limit(void **state)
{
    (void)state;
    static char list[ACCESS_NETWORKS_MAX * 4 + 8];
    char err[256] = "";
    for (int i = 0; i < ACCESS_NETWORKS_MAX; i++) {
        strcat(list, i == 0 ? "all" : ",all");
    }
    add("/", true, list);
    strcat(list, ",all");
    assert_int_equal(rule_access_add(&scene.site->default_host.rules, "/", true, list, err, sizeof err), -ENOSPC);
    assert_string_equal(err, "1001 addresses and networks: at most 1000 in one list");
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    char err[256];
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = rule_access_add(&scene.site->default_host.rules, "/", true, "all", err, sizeof err);
        fake_mem_fail_after(0, false);
        assert_true(n < 10);
    }
    assert_int_equal(rv, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(the_narrowest_network_of_the_longest_prefix_decides),
        SCENE_TEST(mistakes_are_quoted),
        SCENE_TEST(a_list_has_a_limit),
        SCENE_TEST(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
