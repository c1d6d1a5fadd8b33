/* http/access_memo.c: what lines of the access log share, above all their times where clocks change. */

#include "http/access_memo.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The first second of summer and of winter time in Central Europe in 2026. */
#define SUMMER 1774746000
#define WINTER 1792890000

static void set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static void assert_times(struct access_memo *memo, int64_t now_s, const char *local, const char *iso)
{
    access_memo_renew_times(memo, now_s);
    assert_int_equal(memo->local_len, strlen(local));
    assert_memory_equal(memo->local, local, memo->local_len);
    assert_int_equal(memo->iso_len, strlen(iso));
    assert_memory_equal(memo->iso, iso, memo->iso_len);
}

/* An hour is left out, and half a year later one comes twice: the offset tells which of the two it is. */
static void times_follow_the_clocks_of_the_zone(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *local, *iso;
        int64_t now_s;
    } cases[] = {
        {"CET-1CEST,M3.5.0,M10.5.0/3", "29/Mar/2026:01:59:59 +0100", "2026-03-29T01:59:59+01:00", SUMMER - 1},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "29/Mar/2026:03:00:00 +0200", "2026-03-29T03:00:00+02:00", SUMMER},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "25/Oct/2026:02:59:59 +0200", "2026-10-25T02:59:59+02:00", WINTER - 1},
        {"CET-1CEST,M3.5.0,M10.5.0/3", "25/Oct/2026:02:00:00 +0100", "2026-10-25T02:00:00+01:00", WINTER},
        {"UTC0", "25/Oct/2026:01:00:00 +0000", "2026-10-25T01:00:00+00:00", WINTER},
        {"NST3:30", "24/Oct/2026:21:30:00 -0330", "2026-10-24T21:30:00-03:30", WINTER},
        {"XXX-13:45", "25/Oct/2026:14:45:00 +1345", "2026-10-25T14:45:00+13:45", WINTER},
        {"XXX12", "24/Oct/2026:13:00:00 -1200", "2026-10-24T13:00:00-12:00", WINTER},
    };
    struct access_memo memo = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_zone(cases[i].zone);
        assert_times(&memo, cases[i].now_s, cases[i].local, cases[i].iso);
    }
}

static struct peer peer_of(uint8_t family, const uint8_t address[16])
{
    struct peer peer = {.family = family};
    memcpy(peer.address, address, 16);
    return peer;
}

static void assert_begin(struct access_memo *memo, const struct peer *peer, int64_t now_s, const char *text)
{
    access_memo_renew_begin(memo, peer, now_s);
    assert_int_equal(memo->begin_len, strlen(text));
    assert_memory_equal(memo->combined_begin, text, memo->begin_len);
    assert_int_equal(memo->begin_second, now_s);
    assert_true(access_memo_has_peer(memo, peer));
}

/* The clocks change while the memo has a begin of a line: the next line has the new time, for either client. */
static void begin_of_a_line_follows_the_clock_and_the_client(void **state)
{
    (void)state;
    static const uint8_t one[16] = {10, 0, 0, 255}, two[16] = {0x20, 1, 0xd, 0xb8, [15] = 1};
    struct access_memo memo = {0};
    struct peer v4 = peer_of(AF_INET, one), v6 = peer_of(AF_INET6, two);
    set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    assert_begin(&memo, &v4, SUMMER - 1, "10.0.0.255 - - [29/Mar/2026:01:59:59 +0100] \"");
    assert_false(access_memo_has_peer(&memo, &v6));
    assert_begin(&memo, &v6, SUMMER - 1, "2001:db8::1 - - [29/Mar/2026:01:59:59 +0100] \"");
    assert_begin(&memo, &v6, SUMMER, "2001:db8::1 - - [29/Mar/2026:03:00:00 +0200] \"");
    assert_begin(&memo, &v4, SUMMER, "10.0.0.255 - - [29/Mar/2026:03:00:00 +0200] \"");
    access_memo_renew_times(&memo, WINTER);
    assert_int_equal(memo.begin_second, -1); /* shows another second */
    assert_begin(&memo, &v4, WINTER, "10.0.0.255 - - [25/Oct/2026:02:00:00 +0100] \"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_follow_the_clocks_of_the_zone),
        cmocka_unit_test(begin_of_a_line_follows_the_clock_and_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
