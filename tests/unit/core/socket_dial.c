/* core/dial.c over real sockets: which address is tried when, who wins, and what is told when nobody answers. */

#include "core/dial.h"

#include "core/reactor.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct dial_scene {
    struct reactor *reactor;
    struct dial *dial;
    int listener; /* at 127.0.0.1 */
    int full;     /* at 127.0.0.2: nobody can connect, and nobody is refused */
    int filler[8];
    uint16_t port; /* of both */
    int calls;     /* of on_done */
    int fd;        /* of its last one */
    struct name_address address;
};

static struct dial_scene dial_scene; /* there is one test at a time */

static void on_dialled(void *arg, int fd, const struct name_address *address)
{
    assert_ptr_equal(arg, &dial_scene);
    dial_scene.calls++;
    dial_scene.fd = fd;
    if (address != NULL) {
        dial_scene.address = *address;
    }
    dial_end(dial_scene.dial);
    dial_scene.dial = NULL;
}

static int listen_at(uint32_t host, uint16_t port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host), .sin_port = htons(port)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        close(fd);
        return -1;
    }
    dial_scene.port = ntohs(address.sin_port);
    return fd;
}

/* Connect until there is no room for one more. */
static void fill_queue(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    address.sin_port = htons(dial_scene.port);
    for (int i = 0; i < 8; i++) {
        dial_scene.filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(dial_scene.filler[i], (struct sockaddr *)&address, sizeof address);
    }
}

static int set_up_dial(void **state)
{
    (void)state;
    memset(&dial_scene, 0, sizeof dial_scene);
    dial_scene.fd = -1;
    dial_scene.full = -1;
    for (int i = 0; i < 100 && dial_scene.full < 0; i++) {
        dial_scene.listener = listen_at(INADDR_LOOPBACK, 0, 8);
        dial_scene.full = listen_at(0x7f000002, dial_scene.port, 0);
        if (dial_scene.full < 0) {
            close(dial_scene.listener);
        }
    }
    fill_queue();
    return reactor_create(&dial_scene.reactor, NULL);
}

static int tear_down_dial(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    dial_end(dial_scene.dial);
    if (dial_scene.fd >= 0) {
        reactor_close(dial_scene.reactor, dial_scene.fd);
    }
    reactor_destroy(dial_scene.reactor);
    close(dial_scene.listener);
    close(dial_scene.full);
    for (int i = 0; i < 8; i++) {
        close(dial_scene.filler[i]);
    }
    return fake_mem_live() == 0 ? 0 : -1;
}

/* "6": an address of IPv6 that no stream can be connected with; n: 127.0.0.n. */
static struct name_address name_address_of(char c)
{
    struct name_address address = {.family = AF_INET, .bytes = {127, 0, 0, (uint8_t)(c - '0')}};
    if (c == '6') {
        address = (struct name_address){.family = AF_INET6, .bytes = {0xff, 0x0e, [15] = 6}}; /* of multicast */
    }
    return address;
}

static int dial_addresses(const char *text)
{
    struct name_address addresses[NAME_ADDRESSES_MAX];
    struct dial_plan plan = {.addresses = addresses,
                             .count = (unsigned)strlen(text),
                             .port = dial_scene.port,
                             .on_done = on_dialled,
                             .arg = &dial_scene};
    for (unsigned i = 0; i < plan.count; i++) {
        addresses[i] = name_address_of(text[i]);
    }
    return dial_begin(&dial_scene.dial, dial_scene.reactor, &plan);
}

/* Turn until on_done was called. Returns the milliseconds that took. */
static int64_t run_until_done(void)
{
    int64_t begun_ms = sys_now_ns() / 1000000;
    assert_int_equal(dial_scene.calls, 0);
    for (int i = 0; i < 100 && dial_scene.calls == 0; i++) {
        assert_true(reactor_run_once(dial_scene.reactor, 100) >= 0);
    }
    assert_int_equal(dial_scene.calls, 1);
    return sys_now_ns() / 1000000 - begun_ms;
}

static void assert_connected_with(int last)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    assert_true(dial_scene.fd >= 0);
    assert_int_equal(getpeername(dial_scene.fd, (struct sockaddr *)&peer, &len), 0);
    assert_int_equal(ntohl(peer.sin_addr.s_addr) & 0xff, last);
    assert_int_equal(dial_scene.address.bytes[3], last);
}

static void the_first_address_is_connected_with(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("1"), 0);
    run_until_done();
    assert_connected_with(1);
}

static void a_refusal_begins_the_next_attempt_at_once(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("3451"), 0);
    assert_true(run_until_done() < DIAL_DELAY_MS);
    assert_connected_with(1);
}

static void silence_begins_it_after_a_quarter_of_a_second(void **state)
{
    (void)state;
    int fds = open_fds();
    assert_int_equal(dial_addresses("21"), 0);
    assert_true(run_until_done() >= DIAL_DELAY_MS - 20);
    assert_connected_with(1);
    assert_int_equal(open_fds(), fds + 1); /* the silent one is closed */
}

static void what_cannot_be_reached_at_once_takes_no_time(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("661"), 0);
    assert_true(run_until_done() < DIAL_DELAY_MS);
    assert_connected_with(1);
}

static void families_take_turns(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("2661"), 0); /* 2, 6, 1, 6: the silent one delays one attempt */
    assert_true(run_until_done() < 2 * DIAL_DELAY_MS);
    assert_connected_with(1);
}

static void the_error_that_says_most_is_told(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("6345"), 0);
    run_until_done();
    assert_int_equal(dial_scene.fd, -ECONNREFUSED);
}

static void an_address_alone_that_cannot_be_reached_is_told(void **state)
{
    (void)state;
    assert_int_equal(dial_addresses("6"), 0);
    assert_int_equal(dial_scene.calls, 0); /* never inside dial_begin() */
    run_until_done();
    assert_true(dial_scene.fd < 0);
}

static void an_end_closes_all(void **state)
{
    (void)state;
    int fds = open_fds();
    assert_int_equal(dial_addresses("22"), 0);
    for (int i = 0; i < 4; i++) {
        assert_true(reactor_run_once(dial_scene.reactor, DIAL_DELAY_MS / 3) >= 0);
    }
    assert_int_equal(open_fds(), fds + 2);
    dial_end(dial_scene.dial);
    dial_scene.dial = NULL;
    assert_int_equal(open_fds(), fds);
    assert_int_equal(dial_addresses("6"), 0);
    dial_end(dial_scene.dial); /* before it is told */
    dial_scene.dial = NULL;
    assert_true(reactor_run_once(dial_scene.reactor, 10) >= 0);
    assert_int_equal(dial_scene.calls, 0);
}

static void all_places_may_be_taken(void **state)
{
    (void)state;
    char text[NAME_ADDRESSES_MAX + 1];
    memset(text, '3', NAME_ADDRESSES_MAX);
    text[NAME_ADDRESSES_MAX - 1] = '1';
    text[NAME_ADDRESSES_MAX] = '\0';
    assert_int_equal(dial_addresses(text), 0);
    run_until_done();
    assert_connected_with(1);
}

static void memory_that_is_short_fails_or_delays(void **state)
{
    (void)state;
    fake_mem_fail_after(1, false);
    assert_int_equal(dial_addresses("31"), -ENOMEM);
    fake_mem_fail_after(2, true); /* no registration, no timer */
    assert_int_equal(dial_addresses("31"), 0);
    run_until_done();
    assert_true(dial_scene.fd == -ENOMEM || dial_scene.fd >= 0);
}

int main(void)
{
#define DIAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_dial, tear_down_dial)
    const struct CMUnitTest tests[] = {
        DIAL_TEST(the_first_address_is_connected_with),
        DIAL_TEST(a_refusal_begins_the_next_attempt_at_once),
        DIAL_TEST(silence_begins_it_after_a_quarter_of_a_second),
        DIAL_TEST(what_cannot_be_reached_at_once_takes_no_time),
        DIAL_TEST(families_take_turns),
        DIAL_TEST(the_error_that_says_most_is_told),
        DIAL_TEST(an_address_alone_that_cannot_be_reached_is_told),
        DIAL_TEST(an_end_closes_all),
        DIAL_TEST(all_places_may_be_taken),
        DIAL_TEST(memory_that_is_short_fails_or_delays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
