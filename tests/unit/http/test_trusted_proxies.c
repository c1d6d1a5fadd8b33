/* http/trusted_proxies.c: from the text of a setting to the clients that it fits. */

#include "http/trusted_proxies.h"

#include "core/mem.h"
#include "http/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static struct peer peer_of(const char *text)
{
    struct peer peer = {.family = AF_UNIX};
    if (text[0] != '\0') {
        peer.family = strchr(text, ':') == NULL ? AF_INET : AF_INET6;
        assert_int_equal(inet_pton(peer.family, text, peer.address), 1);
    }
    return peer;
}

static void clients_are_in_networks_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *list, *peer; /* peer: an address, "" of a unix socket */
        bool is_trusted;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "", false},
        {"unix:", "", true},
        {"unix:", "127.0.0.1", false},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.128.0.0/9", "10.127.255.255", false},
        {"10.128.0.0/9", "10.128.0.0", true},
        {"192.0.2.4/31", "192.0.2.5", true},
        {"192.0.2.4/31", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "203.0.113.9", false},
        {"::1", "::1", true},
        {"fd00::/8", "fdff:1::2", true},
        {"fd00::/8", "fe00::", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true}, /* as a listener for both shows its IPv4 clients */
        {"::ffff:10.0.0.1", "10.0.0.2", false},
        {"::ffff:10.0.0.0/104", "10.255.0.1", true},
        {"::ffff:10.0.0.0/104", "11.0.0.1", false},
        {"::ffff:0:0/96", "203.0.113.9", true},
        {"::ffff:0:0/96", "::1", false},
        {"::fffe:0:0/96", "203.0.113.9", false},
        {"::/95", "203.0.113.9", false},
        {" 127.0.0.1 ,\t10.0.0.0/8,unix: ", "10.1.2.3", true},
        {" 127.0.0.1 ,\t10.0.0.0/8,unix: ", "", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "";
        struct trusted_proxies *proxies = NULL;
        struct peer peer = peer_of(rows[i].peer);
        if (trusted_proxies_parse(&proxies, rows[i].list, err, sizeof err) != 0) {
            fail_msg("%s: %s", rows[i].list, err);
        }
        if (trusted_proxies_have(proxies, &peer) != rows[i].is_trusted) {
            fail_msg("%s: %s", rows[i].list, rows[i].peer);
        }
        assert_string_equal(trusted_proxies_text(proxies), rows[i].list);
        trusted_proxies_destroy(proxies);
    }
}

static void none_is_nobody(void **state)
{
    (void)state;
    struct trusted_proxies *proxies = NULL;
    struct peer peer = peer_of("127.0.0.1");
    assert_int_equal(trusted_proxies_parse(&proxies, "none", NULL, 0), 0);
    assert_null(proxies);
    assert_false(trusted_proxies_have(NULL, &peer));
}

static void mistakes_are_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *list, *reason;
    } rows[] = {
        {"", "an address is missing in \"\""},
        {"127.0.0.1,", "an address is missing in \"127.0.0.1,\""},
        {",127.0.0.1", "an address is missing"},
        {"localhost", "\"localhost\" is no address or network, such as"},
        {"127.0.0.1, 10.0.0/8", "\"10.0.0/8\" is no address"},
        {"10.0.0.0/33", "\"10.0.0.0/33\" is no"},
        {"10.0.0.0/", "\"10.0.0.0/\" is no"},
        {"10.0.0.0/-1", "\"10.0.0.0/-1\" is no"},
        {"10.0.0.0/0008", "is no"},
        {"::/129", "\"::/129\" is no"},
        {"unix:/run/x", "\"unix:/run/x\" is no"},
        {"127.0.0.1:80", "\"127.0.0.1:80\" is no"},
        {"127.0.0.1, none", "\"none\" is no"},
        {"10.1.2.3/8", "\"10.1.2.3/8\" is an address within a network: write 10.0.0.0/8"},
        {"2001:db8::1/32", "write 2001:db8::/32"},
        {"::ffff:10.0.0.1/104", "write ::ffff:10.0.0.0/104"},
        {"1111111111111111111111111111111111111111111111111111111111111111", "is no address or network"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "";
        struct trusted_proxies *proxies = NULL;
        assert_int_equal(trusted_proxies_parse(&proxies, rows[i].list, err, sizeof err), -EINVAL);
        assert_null(proxies);
        if (strstr(err, rows[i].reason) == NULL) {
            fail_msg("%s: %s", rows[i].list, err);
        }
    }
}

static void there_is_room_for_64(void **state)
{
    (void)state;
    char text[2048] = "", err[256] = "";
    struct trusted_proxies *proxies = NULL;
    struct peer last = peer_of("10.0.0.63");
    for (int i = 0; i < TRUSTED_PROXIES_MAX; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s10.0.0.%d", i == 0 ? "" : ",", i);
    }
    assert_int_equal(trusted_proxies_parse(&proxies, text, err, sizeof err), 0);
    assert_true(trusted_proxies_have(proxies, &last));
    trusted_proxies_destroy(proxies);
    strcat(text, ",unix:");
    assert_int_equal(trusted_proxies_parse(&proxies, text, err, sizeof err), -EINVAL);
    assert_string_equal(err, "\"unix:\" is one too many: at most 64 addresses and networks");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_are_in_networks_or_not),
        cmocka_unit_test(none_is_nobody),
        cmocka_unit_test(mistakes_are_quoted),
        cmocka_unit_test(there_is_room_for_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
