/* core/destinations.c and core/address_form.c: from the text of a setting to the servers that it fits. */

#include "core/destinations.h"

#include "core/address_form.h"
#include "tests/lib/fake_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static struct sockaddr_storage made_address;

/* "127.0.0.1:80", "[::1]:80", "unix:/x", "unix:@x"; before it, "name=" for one that was resolved. */
static struct destination destination_of(const char *text, char *copy)
{
    struct sockaddr_un *un = (void *)&made_address;
    struct sockaddr_in *ipv4 = (void *)&made_address;
    struct sockaddr_in6 *ipv6 = (void *)&made_address;
    struct destination to = {.name = NULL};
    strcpy(copy, text);
    memset(&made_address, 0, sizeof made_address);
    char *equals = strchr(copy, '=');
    if (equals != NULL) {
        *equals = '\0';
        to.name = copy;
        copy = equals + 1;
    }
    to.address = (const struct sockaddr *)&made_address;
    if (strncmp(copy, "unix:", 5) == 0) {
        size_t len = strlen(copy + 5);
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, copy + 5, len);
        bool is_abstract = copy[5] == '@';
        if (is_abstract) {
            un->sun_path[0] = '\0';
        }
        to.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + !is_abstract);
        return to;
    }
    char *colon = strrchr(copy, ':');
    *colon = '\0';
    to.port = (uint16_t)atoi(colon + 1);
    if (copy[0] == '[') {
        colon[-1] = '\0';
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(to.port);
        to.len = sizeof *ipv6;
        assert_int_equal(inet_pton(AF_INET6, copy + 1, &ipv6->sin6_addr), 1);
    } else {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(to.port);
        to.len = sizeof *ipv4;
        if (inet_pton(AF_INET, copy, &ipv4->sin_addr) != 1) { /* a name that is not resolved yet */
            to.name = copy;
            to.address = NULL;
        }
    }
    return to;
}

static void addresses_are_denied_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *list, *to, *why; /* NULL: it is not denied */
    } rows[] = {
        {"private", "8.8.8.8:80", NULL},
        {"private", "0.0.0.0:80", "an address of this network"},
        {"private", "0.255.1.2:80", "an address of this network"},
        {"private", "9.255.255.255:80", NULL},
        {"private", "10.0.0.1:80", "a private address"},
        {"private", "11.0.0.0:80", NULL},
        {"private", "100.63.255.255:80", NULL},
        {"private", "100.64.0.1:80", "an address behind a carrier's NAT"},
        {"private", "100.127.255.255:80", "an address behind a carrier's NAT"},
        {"private", "100.128.0.0:80", NULL},
        {"private", "127.0.0.1:80", "a loopback address"},
        {"private", "127.255.255.254:80", "a loopback address"},
        {"private", "169.254.169.254:80", "a link-local address"}, /* where clouds keep credentials */
        {"private", "172.15.255.255:80", NULL},
        {"private", "172.16.0.0:80", "a private address"},
        {"private", "172.31.255.255:80", "a private address"},
        {"private", "172.32.0.0:80", NULL},
        {"private", "192.0.0.8:80", "a reserved address"},
        {"private", "192.168.1.1:80", "a private address"},
        {"private", "192.169.0.0:80", NULL},
        {"private", "198.18.0.1:80", "an address for benchmarks"},
        {"private", "198.19.255.255:80", "an address for benchmarks"},
        {"private", "223.255.255.255:80", NULL},
        {"private", "224.0.0.1:80", "a multicast address"},
        {"private", "240.0.0.1:80", "a reserved address"},
        {"private", "255.255.255.255:80", "a reserved address"},
        {"private", "[2606:4700::1111]:80", NULL},
        {"private", "[::]:80", "an address of this network"},
        {"private", "[::1]:80", "a loopback address"},
        {"private", "[::2]:80", "a reserved address"},
        {"private", "[::127.0.0.1]:80", "a reserved address"},
        {"private", "[::ffff:127.0.0.1]:80", "a loopback address"},
        {"private", "[::ffff:8.8.8.8]:80", NULL},
        {"private", "[64:ff9b::10.0.0.1]:80", "a private address"}, /* NAT64 */
        {"private", "[64:ff9b::8.8.8.8]:80", NULL},
        {"private", "[64:ff9b:1::8.8.8.8]:80", "a reserved address"},
        {"private", "[2002:7f00:1::]:80", "a loopback address"}, /* 6to4 */
        {"private", "[2002:808:808::1]:80", NULL},
        {"private", "[2001::1]:80", "a reserved address"}, /* Teredo */
        {"private", "[2001:1ff:ffff::]:80", "a reserved address"},
        {"private", "[2001:200::1]:80", NULL},
        {"private", "[100::1]:80", "a reserved address"},
        {"private", "[fc00::1]:80", "a private address"},
        {"private", "[fdff::1]:80", "a private address"},
        {"private", "[fe80::1]:80", "a link-local address"},
        {"private", "[fec0::1]:80", "a private address"},
        {"private", "[ff02::1]:80", "a multicast address"},
        {"private", "[4000::1]:80", "a reserved address"},
        {"private", "unix:/run/x", "a unix socket"},
        {"private", "unix:@x", "a unix socket"},
        {"private", "evil.example.org=127.0.0.1:80", "a loopback address"},
        {"1.2.3.0/24", "1.2.3.4:80", "1.2.3.0/24"},
        {"1.2.3.0/24", "1.2.4.4:80", NULL},
        {"1.2.3.0/24", "[::ffff:1.2.3.4]:80", "1.2.3.0/24"},
        {"1.2.3.0/24", "[64:ff9b::1.2.3.4]:80", "1.2.3.0/24"},
        {"1.2.3.0/24", "[2002:102:304::]:80", "1.2.3.0/24"},
        {"1.2.3.0/24", "unix:/run/x", NULL},
        {"1.2.3.4:25", "1.2.3.4:25", "1.2.3.4:25"},
        {"1.2.3.4:25", "1.2.3.4:26", NULL},
        {"2a00::/12", "[2a00::1]:80", "2a00::/12"},
        {"[2a00::/12]:25", "[2a00::1]:25", "[2a00::/12]:25"},
        {"[2a00::/12]:25", "[2a00::1]:80", NULL},
        {"localhost", "[::1]:80", "localhost"},
        {"localhost", "0.0.0.0:80", "localhost"}, /* which leads to 127.0.0.1 */
        {"localhost", "[::]:80", "localhost"},
        {"127.0.0.0/8", "0.0.0.0:80", "127.0.0.0/8"},
        {"127.0.0.1:6379", "[::ffff:0.0.0.0]:6379", "127.0.0.1:6379"},
        {"::1", "[::]:80", "::1"},
        {"127.0.0.0/8", "0.0.0.1:80", NULL},
        {"private, !127.0.0.1:6379", "0.0.0.0:6379", "an address of this network"},
        {"localhost", "[64:ff9b::127.0.0.1]:80", "localhost"},
        {"unix:", "unix:/run/x", "unix:"},
        {"unix:", "1.2.3.4:80", NULL},
        {"unix:/run/x", "unix:/run/x", "unix:/run/x"},
        {"unix:/run/x", "unix:/run/xy", NULL},
        {"unix:@x", "unix:@x", "unix:@x"},
        {"unix:@x", "unix:@xy", NULL},
        {"unix:@x", "unix:/x", NULL},
        {" 9.0.0.0/8 ,\tprivate", "10.0.0.1:80", "a private address"},
        {" 9.0.0.0/8 ,\tprivate", "9.0.0.1:80", "9.0.0.0/8"},
        {"private, !127.0.0.1:6379", "127.0.0.1:6379", NULL},
        {"!127.0.0.1:6379, private", "127.0.0.1:6379", NULL},
        {"private, !127.0.0.1:6379", "127.0.0.1:80", "a loopback address"},
        {"private, !127.0.0.1:6379", "127.0.0.2:6379", "a loopback address"},
        {"private, !127.0.0.1:6379", "[::ffff:127.0.0.1]:6379", NULL},
        {"private, !127.0.0.1", "127.0.0.1:80", NULL},
        {"private, !10.0.0.0/8", "[64:ff9b::10.0.0.1]:80", "a private address"}, /* not that one */
        {"private, !localhost:6379", "[::1]:6379", NULL},
        {"private, !localhost:6379", "localhost=127.0.0.1:6379", NULL},
        {"private, !redis.internal:6379", "redis.internal=10.0.0.1:6379", NULL},
        {"private, !redis.internal:6379", "Redis.Internal.=10.0.0.1:6379", NULL},
        {"private, !redis.internal:6379", "redis.internal=10.0.0.1:80", "a private address"},
        {"private, !redis.internal:6379", "10.0.0.1:6379", "a private address"},
        {"private, !*.internal:*", "redis.internal=10.0.0.1:6379", NULL},
        {"private, !*.internal:*", "internal=10.0.0.1:6379", "a private address"},
        {"private, !unix:/run/x", "unix:/run/x", NULL},
        {"private, !unix:/run/x", "unix:/run/y", "a unix socket"},
        {"private, !unix:", "unix:/run/y", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "", copy[256];
        struct destinations *list = NULL;
        struct destination to = destination_of(rows[i].to, copy);
        if (destinations_parse_denied(&list, rows[i].list, err, sizeof err) != 0) {
            fail_msg("%s: %s", rows[i].list, err);
        }
        const char *why = destinations_deny(list, &to);
        if ((why == NULL) != (rows[i].why == NULL) || (why != NULL && strcmp(why, rows[i].why) != 0)) {
            fail_msg("%s: %s: %s", rows[i].list, rows[i].to, why == NULL ? "not denied" : why);
        }
        assert_string_equal(destinations_text(list), rows[i].list);
        destinations_destroy(list);
    }
}

static void nothing_is_denied_by_no_list(void **state)
{
    (void)state;
    char err[256] = "", copy[256];
    struct destinations *list = (void *)err;
    struct destination to = destination_of("127.0.0.1:80", copy);
    assert_int_equal(destinations_parse_denied(&list, "none", err, sizeof err), 0);
    assert_null(list);
    assert_null(destinations_deny(list, &to));
    destinations_destroy(list);
}

static void destinations_are_allowed_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *list, *to; /* what has no address is a name */
        bool is_allowed;
    } rows[] = {
        {"", "127.0.0.1:80", false},
        {"", "example.org:80", false},
        {"", "unix:/run/x", false},
        {"example.org:443", "example.org:443", true},
        {"example.org:443", "Example.ORG.:443", true},
        {"example.org:443", "example.org:80", false},
        {"example.org:443", "www.example.org:443", false},
        {"example.org:443", "1.2.3.4:443", false},
        {"example.org:*", "example.org:80", true},
        {"*.example.org:443", "www.example.org:443", true},
        {"*.example.org:443", "a.b.example.org:443", true},
        {"*.example.org:443", "example.org:443", false},
        {"*.example.org:443", "xexample.org:443", false},
        {"*:443", "example.org:443", true},
        {"*:443", "1.2.3.4:443", true},
        {"*:443", "example.org:80", false},
        {"*:443", "unix:/run/x", false},
        {"*:*", "[::1]:80", true},
        {"*:*", "unix:/run/x", false},
        {"1.2.3.4:80", "1.2.3.4:80", true},
        {"1.2.3.4:80", "[::ffff:1.2.3.4]:80", true},
        {"1.2.3.4:80", "1.2.3.5:80", false},
        {"1.2.3.4:80", "example.org:80", false},
        {"1.2.3.4:80", "example.org=1.2.3.4:80", false}, /* the name counts */
        {"10.0.0.0/8:5432", "10.1.2.3:5432", true},
        {"10.0.0.0/8:5432", "[64:ff9b::10.1.2.3]:5432", false},
        {"[::1]:80", "[::1]:80", true},
        {"[fd00::/8]:*", "[fd12::1]:80", true},
        {"localhost:80", "localhost:80", true},
        {"localhost:80", "127.0.0.1:80", true},
        {"localhost:80", "[::1]:80", true},
        {"localhost:80", "1.2.3.4:80", false},
        {"localhost:80", "0.0.0.0:80", false}, /* write it, if that is meant */
        {"unix:/run/x", "unix:/run/x", true},
        {"unix:/run/x", "unix:/run/y", false},
        {"unix:", "unix:/run/y", true},
        {"unix:", "unix:@y", true},
        {"1.2.3.4:80, example.org:443,unix:@x", "unix:@x", true},
        {"1.2.3.4:80, example.org:443,unix:@x", "example.org:443", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "", copy[256];
        struct destinations *list = NULL;
        struct destination to = destination_of(rows[i].to, copy);
        if (destinations_parse_allowed(&list, rows[i].list, err, sizeof err) != 0) {
            fail_msg("%s: %s", rows[i].list, err);
        }
        if (destinations_allow(list, &to) != rows[i].is_allowed) {
            fail_msg("%s: %s", rows[i].list, rows[i].to);
        }
        destinations_destroy(list);
    }
}

static void mistakes_are_quoted(void **state)
{
    (void)state;
    static const struct {
        bool is_allowed;
        const char *list, *err;
    } rows[] = {
        {false, "", "the list is empty: write \"none\" to deny nothing"},
        {false, "private,", "an entry is missing in \"private,\""},
        {false, ",private", "an entry is missing in \",private\""},
        {false, "10.0.0.1/8", "\"10.0.0.1/8\" is an address within a network: write 10.0.0.0/8 for the network"},
        {false, "10.0.0", "\"10.0.0\" is no address or network, such as 127.0.0.1, 10.0.0.0/8, fd00::/8 or unix:"},
        {false, "1.2.3.4:0", "\"1.2.3.4:0\": the port must be 1 to 65535"},
        {false, "1.2.3.4:65536", "\"1.2.3.4:65536\": the port must be 1 to 65535"},
        {false, "example.org",
         "\"example.org\": a name cannot be denied, since its addresses would still be reached by other names: deny "
         "\"private\", an address or a network"},
        {false, "private !1.2.3.4:5", "\"private !1.2.3.4:5\": entries are separated by commas"},
        {true, "1.2.3.4:5 1.2.3.4:6", "\"1.2.3.4:5 1.2.3.4:6\": entries are separated by commas"},
        {false, "!a%b", "\"!a%b\": a name of a host has letters, digits, \"-\" and \".\""},
        {true, "example.org", "\"example.org\": expected HOST:PORT, [ADDRESS]:PORT for IPv6, or unix:PATH"},
        {true, "::1", "\"::1\": expected HOST:PORT, [ADDRESS]:PORT for IPv6, or unix:PATH"},
        {true, "[::1]", "\"[::1]\": expected HOST:PORT, [ADDRESS]:PORT for IPv6, or unix:PATH"},
        {true, "a:b", "\"a:b\": the port must be 1 to 65535, or * for every port"},
        {true, ":80", "\"\" is no address or network, such as 127.0.0.1, 10.0.0.0/8, fd00::/8 or unix:"},
        {true, "a*:80", "\"a*:80\": a name of a host has letters, digits, \"-\" and \".\""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "";
        struct destinations *list = (void *)err;
        int rv = rows[i].is_allowed ? destinations_parse_allowed(&list, rows[i].list, err, sizeof err)
                                    : destinations_parse_denied(&list, rows[i].list, err, sizeof err);
        assert_int_equal(rv, -EINVAL);
        assert_string_equal(err, rows[i].err);
        assert_null(list);
    }
}

static void lists_have_limits(void **state)
{
    (void)state;
    char text[DESTINATIONS_MAX * 16 + 16] = "", entry[DESTINATIONS_ENTRY_MAX + 16], err[256] = "";
    struct destinations *list = NULL;
    for (int i = 0; i < DESTINATIONS_MAX; i++) {
        sprintf(text + strlen(text), "%s1.2.3.%d:%d", i == 0 ? "" : ",", i, i + 1);
    }
    assert_int_equal(destinations_parse_allowed(&list, text, err, sizeof err), 0);
    struct destination_needs needs;
    destinations_get_needs(list, &needs);
    assert_int_equal(needs.port_count, DESTINATIONS_MAX);
    destinations_destroy(list);
    strcat(text, ",unix:@");
    assert_int_equal(destinations_parse_allowed(&list, text, err, sizeof err), -EINVAL);
    assert_string_equal(err, "\"unix:@\" is one too many: at most 100 entries");
    memset(entry, 'a', sizeof entry);
    memcpy(entry, "unix:/", 6);
    entry[DESTINATIONS_ENTRY_MAX] = '\0';
    assert_int_equal(destinations_parse_allowed(&list, entry, err, sizeof err), 0);
    destinations_destroy(list);
    entry[DESTINATIONS_ENTRY_MAX] = 'a';
    entry[DESTINATIONS_ENTRY_MAX + 1] = '\0';
    assert_int_equal(destinations_parse_allowed(&list, entry, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "is longer than 300 bytes"));
    fake_mem_fail_after(1, false);
    assert_int_equal(destinations_parse_denied(&list, "private", err, sizeof err), -ENOMEM);
    assert_int_equal(fake_mem_live(), 0);
}

static void lists_say_what_they_need(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool tcp, names, unix_files, unix_abstract, every_port;
        unsigned port_count;
    } rows[] = {
        {"", false, false, false, false, false, 0},
        {"1.2.3.4:80,[::1]:80,localhost:81", true, false, false, false, false, 2},
        {"example.org:80", true, true, false, false, false, 1},
        {"*.example.org:*", true, true, false, false, true, 0},
        {"*:80", true, true, false, false, false, 1},
        {"unix:/run/x", false, false, true, false, false, 0},
        {"unix:@x", false, false, false, true, false, 0},
        {"unix:", false, false, true, true, false, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char err[256] = "";
        struct destinations *list = NULL;
        struct destination_needs needs;
        assert_int_equal(destinations_parse_allowed(&list, rows[i].list, err, sizeof err), 0);
        destinations_get_needs(list, &needs);
        if (needs.tcp != rows[i].tcp || needs.names != rows[i].names || needs.unix_files != rows[i].unix_files ||
            needs.unix_abstract != rows[i].unix_abstract || needs.every_port != rows[i].every_port ||
            needs.port_count != rows[i].port_count) {
            fail_msg("%s", rows[i].list);
        }
        destinations_destroy(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_denied_or_not),
        cmocka_unit_test(nothing_is_denied_by_no_list),
        cmocka_unit_test(destinations_are_allowed_or_not),
        cmocka_unit_test(mistakes_are_quoted),
        cmocka_unit_test(lists_have_limits),
        cmocka_unit_test(lists_say_what_they_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
