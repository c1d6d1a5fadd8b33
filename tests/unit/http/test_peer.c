/* http/peer.c: addresses from text and back. */

#include "http/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void addresses_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text, *whole, *host; /* whole: NULL if it is none */
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", "127.0.0.1"},
        {"127.0.0.1:40312", "127.0.0.1:40312", "127.0.0.1"},
        {"127.0.0.1:00080", "127.0.0.1:80", "127.0.0.1"},
        {"::1", "::1", "::1"},
        {"[::1]", "::1", "::1"},
        {"[::1]:65535", "[::1]:65535", "::1"},
        {"2001:DB8:0:0::7", "2001:db8::7", "2001:db8::7"},
        {"0000:0000:0000:0000:0000:ffff:192.168.100.200", "192.168.100.200", "192.168.100.200"},
        {"[::ffff:192.0.2.7]:80", "192.0.2.7:80", "192.0.2.7"},
        {"unix:", "unix:", "unix:"},
        {"", NULL, NULL},
        {":", NULL, NULL},
        {":80", NULL, NULL},
        {"[", NULL, NULL},
        {"[]", NULL, NULL},
        {"[]:80", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[::1]80", NULL, NULL},
        {"[::1]:", NULL, NULL},
        {"[::1]:65536", NULL, NULL},
        {"[::1]:000080", NULL, NULL},
        {"[127.0.0.1]", NULL, NULL},
        {"::1:80000", NULL, NULL},
        {"127.0.0.1:", NULL, NULL},
        {"127.0.0.1:+8", NULL, NULL},
        {"127.0.0.1:65536", NULL, NULL},
        {"127.0.0.1 ", NULL, NULL},
        {" 127.0.0.1", NULL, NULL},
        {"127.0.0", NULL, NULL},
        {"127.0.0.256", NULL, NULL},
        {"127.0.0.01", NULL, NULL},
        {"localhost", NULL, NULL},
        {"fe80::1%eth0", NULL, NULL},
        {"unix:/run/x.sock", NULL, NULL},
        {"UNIX:", NULL, NULL},
        {"00000000000000000000000000000000000000000000000000000000000000000000000000000000", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[128], beyond[130];
        struct peer peer = {.family = 99};
        bool is_one = peer_parse(&peer, rows[i].text, strlen(rows[i].text));
        assert_int_equal(is_one, rows[i].whole != NULL);
        if (!is_one) {
            assert_int_equal(peer.family, 99);
            continue;
        }
        peer_format(&peer, text, sizeof text);
        assert_string_equal(text, rows[i].whole);
        peer_format_host(&peer, text, sizeof text);
        assert_string_equal(text, rows[i].host);
        strcpy(beyond, rows[i].text); /* what is behind it does not count */
        strcat(beyond, "9");
        assert_true(peer_parse(&peer, beyond, strlen(rows[i].text)));
        peer_format_host(&peer, text, sizeof text);
        assert_string_equal(text, rows[i].host);
    }
    struct peer peer;
    assert_false(peer_parse(&peer, "127.0.0.1\0", 10));
    assert_false(peer_parse(&peer, "::1\0:2", 6));
}

static void text_is_cut_where_there_is_no_room(void **state)
{
    (void)state;
    char text[6];
    struct peer peer;
    assert_true(peer_parse(&peer, "127.0.0.1:80", 12));
    peer_format_host(&peer, text, sizeof text);
    assert_string_equal(text, "127.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(text_is_cut_where_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
