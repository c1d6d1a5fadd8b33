/* Addresses to listen on, from text and back. */

#include "core/net_address.h"

#include "core/sys.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void good_addresses_are_parsed_and_formatted_back(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int family;
        int port;
        const char *formatted; /* NULL: as text */
    } rows[] = {
        {"127.0.0.1:8080", AF_INET, 8080, NULL},
        {"0.0.0.0:80", AF_INET, 80, NULL},
        {"255.255.255.255:65535", AF_INET, 65535, NULL},
        {"127.0.0.1:0", AF_INET, 0, NULL},
        {"127.0.0.1:00080", AF_INET, 80, "127.0.0.1:80"},
        {"localhost:8080", AF_INET, 8080, "127.0.0.1:8080"},
        {":8080", AF_INET6, 8080, "[::]:8080"},
        {":0", AF_INET6, 0, "[::]:0"},
        {"[::]:8080", AF_INET6, 8080, NULL},
        {"[::1]:443", AF_INET6, 443, NULL},
        {"[2001:db8:0:0:0:0:0:1]:1", AF_INET6, 1, "[2001:db8::1]:1"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", AF_INET6, 65535, NULL},
        {"[::ffff:10.0.0.1]:8080", AF_INET6, 8080, NULL},
        {"unix:/run/x.sock", AF_UNIX, 0, NULL},
        {"unix:relative", AF_UNIX, 0, NULL},
        {"unix:/a:b/c]:80", AF_UNIX, 0, NULL},
        {"unix:@name", AF_UNIX, 0, NULL},
        {"unix:./@file", AF_UNIX, 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_address address;
        char err[256] = "untouched";
        char text[NET_TEXT_MAX];
        assert_int_equal(net_address_parse(&address, rows[i].text, err, sizeof err), 0);
        assert_string_equal(err, "untouched");
        const struct sockaddr *socket = (const struct sockaddr *)&address.socket;
        assert_int_equal(socket->sa_family, rows[i].family);
        assert_int_equal(address.inherited_fd, -1);
        assert_int_equal(net_port(socket), rows[i].port);
        net_address_format(socket, address.len, text);
        assert_string_equal(text, rows[i].formatted == NULL ? rows[i].text : rows[i].formatted);

        struct net_address again; /* what is formatted can be parsed */
        assert_int_equal(net_address_parse(&again, text, err, sizeof err), 0);
        assert_int_equal(again.len, address.len);
        assert_memory_equal(&again.socket, &address.socket, address.len);
    }
}

static void options_follow_any_address(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bare; /* the same without options */
        bool tls;
        int mode;
    } rows[] = {
        {"127.0.0.1:8443", "127.0.0.1:8443", false, -1},
        {"127.0.0.1:8443?tls", "127.0.0.1:8443", true, -1},
        {"[::]:443?tls", "[::]:443", true, -1},
        {":443?tls", "[::]:443", true, -1},
        {"localhost:0?tls", "127.0.0.1:0", true, -1},
        {"unix:/run/x.sock?tls", "unix:/run/x.sock", true, -1},
        {"unix:/run/x.sock?tls&mode=660", "unix:/run/x.sock", true, 0660},
        {"unix:/run/x.sock?mode=600&tls", "unix:/run/x.sock", true, 0600},
        {"unix:/run/x.sock?mode=0", "unix:/run/x.sock", false, 0},
        {"unix:@x?tls", "unix:@x", true, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_address address;
        char text[NET_TEXT_MAX];
        assert_int_equal(net_address_parse(&address, rows[i].text, NULL, 0), 0);
        net_address_format((const struct sockaddr *)&address.socket, address.len, text);
        assert_string_equal(text, rows[i].bare);
        assert_int_equal(address.tls, rows[i].tls);
        assert_int_equal(address.mode, rows[i].mode);
    }
    struct net_address address;
    assert_int_equal(net_address_parse(&address, "fd:3?tls", NULL, 0), 0);
    assert_int_equal(address.inherited_fd, 3);
    assert_true(address.tls);
}

static void proxies_may_be_required_on_any_address(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool tls, redirects;
        int mode;
    } rows[] = {
        {"127.0.0.1:80?proxy", false, false, -1},
        {"fd:3?proxy", false, false, -1},
        {":443?tls&proxy", true, false, -1},
        {":80?proxy&redirect_https=443", false, true, -1},
        {"unix:/x?mode=660&proxy&tls", true, false, 0660},
        {"unix:@x?proxy", false, false, -1},
    };
    struct net_address address;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(net_address_parse(&address, rows[i].text, NULL, 0), 0);
        assert_true(address.proxy);
        assert_int_equal(address.tls, rows[i].tls);
        assert_int_equal(address.redirects, rows[i].redirects);
        assert_int_equal(address.mode, rows[i].mode);
    }
    assert_int_equal(net_address_parse(&address, ":80?tls", NULL, 0), 0);
    assert_false(address.proxy);
}

static void addresses_that_redirect_may_name_a_port(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int port, mode;
    } rows[] = {
        {":80?redirect_https", 0, -1},
        {"fd:3?redirect_https=1", 1, -1},
        {"unix:@x?redirect_https=65535", 65535, -1},
        {"unix:/x?redirect_https=00443&mode=660", 443, 0660},
        {"unix:/x?mode=660&redirect_https", 0, 0660},
    };
    struct net_address address;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(net_address_parse(&address, rows[i].text, NULL, 0), 0);
        assert_true(address.redirects);
        assert_false(address.tls);
        assert_int_equal(address.redirect_port, rows[i].port);
        assert_int_equal(address.mode, rows[i].mode);
    }
    assert_int_equal(net_address_parse(&address, ":80", NULL, 0), 0);
    assert_false(address.redirects);
}

static void inherited_fds_are_parsed(void **state)
{
    (void)state;
    struct net_address address;
    assert_int_equal(net_address_parse(&address, "fd:3", NULL, 0), 0);
    assert_int_equal(address.inherited_fd, 3);
    assert_int_equal(net_address_parse(&address, "fd:0", NULL, 0), 0);
    assert_int_equal(address.inherited_fd, 0);
    assert_int_equal(net_address_parse(&address, "fd:2147483647", NULL, 0), 0);
    assert_int_equal(address.inherited_fd, 2147483647);
}

static void addresses_of_this_machine_are_local(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_local;
    } rows[] = {
        {"127.0.0.1:1", true},  {"127.9.8.7:1", true},    {"localhost:1", true}, {"[::1]:1", true},
        {"unix:/x", true},      {"unix:@x", true},        {":1", false},         {"0.0.0.0:1", false},
        {"128.0.0.1:1", false}, {"192.168.0.1:1", false}, {"[::]:1", false},     {"[::2]:1", false},
        {"[fe80::1]:1", false}, {"fd:2147483647", false},
    };
    struct net_address address;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(net_address_parse(&address, rows[i].text, NULL, 0), 0);
        if (net_address_is_local(&address) != rows[i].is_local) {
            fail_msg("%s", rows[i].text);
        }
    }
    for (int i = 0; i < 2; i++) { /* an inherited one is what it is bound to */
        char text[16];
        int fd = sys_socket(AF_INET);
        assert_int_equal(net_address_parse(&address, i == 0 ? "127.0.0.1:1" : "192.0.2.1:1", NULL, 0), 0);
        assert_int_equal(sys_bind(fd, (const struct sockaddr *)&address.socket, address.len), 0);
        snprintf(text, sizeof text, "fd:%d", fd);
        assert_int_equal(net_address_parse(&address, text, NULL, 0), 0);
        assert_int_equal(net_address_is_local(&address), i == 0);
        sys_close(fd);
    }
    fake_sys_reset();
}

static void a_unix_path_has_room_for_107_bytes(void **state)
{
    (void)state;
    struct net_address address;
    char text[5 + 108 + 1] = "unix:";
    char formatted[NET_TEXT_MAX];
    char err[256];
    memset(text + 5, 'p', 107);
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), 0);
    net_address_format((const struct sockaddr *)&address.socket, address.len, formatted);
    assert_string_equal(formatted, text);
    text[5 + 107] = 'p';
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, text));
    assert_non_null(strstr(err, "1 to 107 bytes"));
}

/* Its length says where the name of an abstract socket ends (unix(7)): zero bytes behind it would be a part of it. */
static void an_abstract_name_is_as_long_as_it_is_written(void **state)
{
    (void)state;
    struct net_address address;
    char err[256];
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address.socket;
    assert_int_equal(net_address_parse(&address, "unix:@ab", err, sizeof err), 0);
    assert_int_equal(address.len, offsetof(struct sockaddr_un, sun_path) + 3);
    assert_memory_equal(un->sun_path, "\0ab", 3);
    char text[5 + 108 + 1] = "unix:@";
    memset(text + 6, 'n', 106);
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), 0);
    text[6 + 106] = 'n';
    assert_int_equal(net_address_parse(&address, text, err, sizeof err), -EINVAL);
}

static void bad_addresses_are_refused_with_a_text_that_names_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason; /* part of the error */
    } rows[] = {
        {"", "expected HOST:PORT"},
        {"8080", "expected HOST:PORT"},
        {"127.0.0.1", "expected HOST:PORT"},
        {":", "port from 0 to 65535"},
        {"127.0.0.1:", "port from 0 to 65535"},
        {"127.0.0.1:65536", "port from 0 to 65535"},
        {"127.0.0.1:99999999999999999999", "port from 0 to 65535"},
        {"127.0.0.1:-1", "port from 0 to 65535"},
        {"127.0.0.1:+80", "port from 0 to 65535"},
        {"127.0.0.1: 80", "port from 0 to 65535"},
        {"127.0.0.1:80 ", "port from 0 to 65535"},
        {"127.0.0.1:0x50", "port from 0 to 65535"},
        {"127.0.0.1:http", "port from 0 to 65535"},
        {"[::1]", "expected HOST:PORT"},
        {"[::1]80", "expected HOST:PORT"},
        {"[::1]:", "port from 0 to 65535"},
        {"256.0.0.1:80", "IPv4 address"},
        {"1.2.3:80", "IPv4 address"},
        {"1.2.3.4.5:80", "IPv4 address"},
        {"127.0.0.01:80", "IPv4 address"},
        {" 127.0.0.1:80", "IPv4 address"},
        {"::1:80", "IPv6 address in brackets"},
        {"[::1:80", "IPv6 address in brackets"},
        {"::1]:80", "IPv6 address in brackets"},
        {"[]:80", "IPv6 address in brackets"},
        {"[127.0.0.1]:80", "IPv6 address in brackets"},
        {"[::g]:80", "IPv6 address in brackets"},
        {"[[::1]]:80", "IPv6 address in brackets"},
        {"[:80", "IPv6 address in brackets"},
        {"]:80", "IPv6 address in brackets"},
        {"example.org:80", "localhost"},
        {"LOCALHOST:80", "localhost"},
        {"http://127.0.0.1:80", "localhost"},
        {"tcp:127.0.0.1:80", "localhost"},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:80", "localhost"},
        {"[0000:0000:0000:0000:0000:ffff:255.255.255.255%123456789]:80", "IPv6 address in brackets"},
        {"unix:", "1 to 107 bytes"},
        {"unix:?mode=660", "1 to 107 bytes"},
        {"unix:@", "must be followed by a name"},
        {"unix:@x?mode=660", "an abstract socket has no file, and therefore no mode"},
        {"unix:/x?mode=", "the mode must be octal permissions, as in ?mode=660"},
        {"unix:/x?mode=8", "the mode must be octal"},
        {"unix:/x?mode=1000", "the mode must be octal"},
        {"unix:/x?mode=00000", "the mode must be octal"},
        {"unix:/x?mode=660,", "the mode must be octal"},
        {"unix:/x?mod=660",
         "unknown option \"mod\": there are ?tls, ?proxy, ?redirect_https, and ?mode=660 of a unix: address"},
        {"unix:/x?", "unknown option \"\""},
        {"unix:/x?mode", "unknown option \"mode\""},
        {"unix:/x?MODE=660", "unknown option \"MODE\""},
        {"unix:/x?a?mode=660", "unknown option \"a?mode\""},
        {"unix:/x?mode=660?mode=600", "the mode must be octal"},
        {"unix:/x?mode=660&mode=600", "the option \"mode\" occurs twice"},
        {"unix:/x?mode=660&", "unknown option \"\""},
        {"unix:/x?&mode=660", "unknown option \"\""},
        {"unix:/x?mode=660&tls&x", "unknown option \"x\""},
        {"unix:@x?tls&mode=660", "an abstract socket has no file, and therefore no mode"},
        {"127.0.0.1:80?", "unknown option \"\""},
        {":80?redirect", "unknown option \"redirect\""},
        {":80?redirect_httpsx", "unknown option \"redirect_httpsx\""},
        {":80?redirect_https&redirect_https", "the option \"redirect_https\" occurs twice"},
        {":80?redirect_https&redirect_https=1", "the option \"redirect_https\" occurs twice"},
        {":80?redirect_https=", "the port to redirect to must be 1 to 65535"},
        {":80?redirect_https=0", "the port to redirect to must be 1 to 65535"},
        {":80?redirect_https=65536", "the port to redirect to must be 1 to 65535"},
        {":80?redirect_https=x&tls", "the port to redirect to must be 1 to 65535"},
        {":80?redirect_https&tls", "contradict each other"},
        {"unix:/x?tls&mode=660&redirect_https=443", "contradict each other"},
        {"127.0.0.1:80?TLS", "unknown option \"TLS\""},
        {"127.0.0.1:80?tls=1", "unknown option \"tls=1\""},
        {"127.0.0.1:80?tlsx",
         "unknown option \"tlsx\": there are ?tls, ?proxy, ?redirect_https, and ?mode=660 of a unix: address"},
        {"127.0.0.1:80?tls&tls", "the option \"tls\" occurs twice"},
        {"127.0.0.1:80?tls&proxy=1", "unknown option \"proxy=1\""},
        {"127.0.0.1:80?PROXY", "unknown option \"PROXY\""},
        {"127.0.0.1:80?proxy&tls&proxy", "the option \"proxy\" occurs twice"},
        {"127.0.0.1:80?mode=660", "the option \"mode\" is for unix: addresses"},
        {"fd:3?mode=660", "the option \"mode\" is for unix: addresses"},
        {"127.0.0.1?tls", "expected HOST:PORT"},
        {"?tls", "expected HOST:PORT"},
        {":443 ?tls", "port from 0 to 65535"},
        {"fd:?tls", "must be followed by a number"},
        {"fd:", "must be followed by a number"},
        {"fd:-1", "must be followed by a number"},
        {"fd:x", "must be followed by a number"},
        {"fd:3x", "must be followed by a number"},
        {"fd: 3", "must be followed by a number"},
        {"fd:2147483648", "must be followed by a number"},
        {"fd:99999999999999999999", "must be followed by a number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct net_address address;
        char err[256] = "";
        char quoted[128];
        snprintf(quoted, sizeof quoted, "\"%s\"", rows[i].text);
        int rv = net_address_parse(&address, rows[i].text, err, sizeof err);
        if (rv != -EINVAL || strstr(err, quoted) == NULL || strstr(err, rows[i].reason) == NULL) {
            fail_msg("%s: %d %s", quoted, rv, err);
        }
        assert_int_equal(net_address_parse(&address, rows[i].text, NULL, 0), -EINVAL);
        char tiny[8];
        assert_int_equal(net_address_parse(&address, rows[i].text, tiny, sizeof tiny), -EINVAL);
        assert_string_equal(tiny, "listen ");
    }
}

static void an_address_of_an_unknown_family_is_a_question_mark(void **state)
{
    (void)state;
    struct sockaddr address = {.sa_family = AF_UNSPEC};
    char text[NET_TEXT_MAX];
    net_address_format(&address, sizeof address, text);
    assert_string_equal(text, "?");
    assert_int_equal(net_port(&address), 0);
}

static void a_unix_address_without_a_path_has_an_empty_one(void **state)
{
    (void)state;
    struct sockaddr_un un;
    memset(&un, 'x', sizeof un); /* what lies beyond len is not looked at */
    un.sun_family = AF_UNIX;
    char text[NET_TEXT_MAX];
    net_address_format((struct sockaddr *)&un, sizeof un.sun_family, text);
    assert_string_equal(text, "unix:");
    net_address_format((struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path) + 3, text);
    assert_string_equal(text, "unix:xxx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_parsed_and_formatted_back),
        cmocka_unit_test(options_follow_any_address),
        cmocka_unit_test(proxies_may_be_required_on_any_address),
        cmocka_unit_test(addresses_that_redirect_may_name_a_port),
        cmocka_unit_test(inherited_fds_are_parsed),
        cmocka_unit_test(an_abstract_name_is_as_long_as_it_is_written),
        cmocka_unit_test(addresses_of_this_machine_are_local),
        cmocka_unit_test(a_unix_path_has_room_for_107_bytes),
        cmocka_unit_test(bad_addresses_are_refused_with_a_text_that_names_them),
        cmocka_unit_test(an_address_of_an_unknown_family_is_a_question_mark),
        cmocka_unit_test(a_unix_address_without_a_path_has_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
