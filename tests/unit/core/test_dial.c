/* core/dial.c on the fake kernel: when each attempt begins, to the millisecond, and what is left when the n-th system
 * call or allocation fails. socket_dial.c has the real kernel. */

#include "core/dial.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PORT = 80, SERVERS = 10 };

struct fake_dial_scene {
    struct reactor *reactor;
    struct fake_server *servers[SERVERS]; /* that were made; of addresses "0" to "9" */
    struct dial *dial;
    int calls, fd;
    struct name_address address;
};

static struct fake_dial_scene dial_scene; /* there is one test at a time */

/* A digit: the last byte of an address, of IPv6 from '5' on. */
static struct name_address address_of_digit(char digit)
{
    struct name_address address = {.family = AF_INET, .bytes = {192, 0, 2, (uint8_t)(digit - '0')}};
    if (digit >= '5') {
        address = (struct name_address){.family = AF_INET6,
                                        .bytes = {0x20, 1, 0x0d, 0xb8, [15] = (uint8_t)(digit - '0')}};
    }
    return address;
}

static void make_server(char digit, enum fake_server_way way, int error)
{
    struct sockaddr_storage address;
    const struct name_address name = address_of_digit(digit);
    socklen_t len = dial_fill_address(&address, &name, PORT);
    struct fake_server *server = fake_server_create((const struct sockaddr *)&address, len);
    fake_server_set(server, way, error);
    dial_scene.servers[digit - '0'] = server;
}

static void on_dial_over(void *arg, int fd, const struct name_address *address)
{
    assert_ptr_equal(arg, &dial_scene);
    dial_scene.calls++;
    dial_scene.fd = fd;
    dial_scene.address = address == NULL ? (struct name_address){.family = 0} : *address;
    dial_end(dial_scene.dial);
    dial_scene.dial = NULL;
}

static int set_up_fake_dial(void **state)
{
    (void)state;
    fake_sys_reset();
    memset(&dial_scene, 0, sizeof dial_scene);
    return reactor_create(&dial_scene.reactor, NULL);
}

static int tear_down_fake_dial(void **state)
{
    (void)state;
    dial_end(dial_scene.dial);
    reactor_destroy(dial_scene.reactor);
    int open_fds = fake_sys_open_fds();
    fake_sys_reset();
    return open_fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static int begin_dial(const char *digits)
{
    struct name_address addresses[NAME_ADDRESSES_MAX];
    const struct dial_plan plan = {.addresses = addresses,
                                   .count = (unsigned)strlen(digits),
                                   .port = PORT,
                                   .on_done = on_dial_over,
                                   .arg = &dial_scene};
    dial_scene.calls = 0;
    dial_scene.fd = -1;
    for (unsigned i = 0; i < plan.count; i++) {
        addresses[i] = address_of_digit(digits[i]);
    }
    return dial_begin(&dial_scene.dial, dial_scene.reactor, &plan);
}

static void turn(int timeout_ms)
{
    assert_true(reactor_run_once(dial_scene.reactor, timeout_ms) >= 0);
}

/* Until on_done was called. Returns after how many milliseconds. */
static int64_t turn_until_over(void)
{
    int64_t begun_ns = sys_now_ns();
    for (int i = 0; i < 100 && dial_scene.calls == 0; i++) {
        turn(1000);
    }
    assert_int_equal(dial_scene.calls, 1);
    return (sys_now_ns() - begun_ns) / 1000000;
}

static void close_winner(void)
{
    assert_true(dial_scene.fd >= 0);
    reactor_close(dial_scene.reactor, dial_scene.fd);
}

static void attempts_begin_a_quarter_of_a_second_apart(void **state)
{
    (void)state;
    make_server('1', FAKE_SERVER_HANGS, 0);
    make_server('2', FAKE_SERVER_HANGS, 0);
    make_server('5', FAKE_SERVER_HANGS, 0);
    make_server('6', FAKE_SERVER_ACCEPTS, 0);
    int fds = fake_sys_open_fds();
    assert_int_equal(begin_dial("5612"), 0); /* 5, 1, 6: families take turns */
    assert_int_equal(fake_sys_count(FAKE_CONNECT), 1);
    turn(DIAL_DELAY_MS - 1);
    assert_int_equal(fake_sys_count(FAKE_CONNECT), 1);
    turn(1);
    assert_int_equal(fake_sys_count(FAKE_CONNECT), 2);
    assert_int_equal(turn_until_over(), DIAL_DELAY_MS);
    assert_int_equal(fake_sys_count(FAKE_CONNECT), 3);
    assert_int_equal(dial_scene.address.family, AF_INET6);
    assert_int_equal(dial_scene.address.bytes[15], 6);
    assert_int_equal(fake_sys_open_fds(), fds + 1); /* the others are closed */
    close_winner();
}

static void a_late_first_one_wins_as_well(void **state)
{
    (void)state;
    make_server('1', FAKE_SERVER_HANGS, 0);
    make_server('2', FAKE_SERVER_HANGS, 0);
    assert_int_equal(begin_dial("12"), 0);
    turn(DIAL_DELAY_MS);
    fake_server_set(dial_scene.servers[1], FAKE_SERVER_ACCEPTS, 0);
    assert_int_equal(turn_until_over(), 0);
    assert_int_equal(dial_scene.address.bytes[3], 1);
    close_winner();
}

static void a_failure_begins_the_next_one_and_the_delay_anew(void **state)
{
    (void)state;
    make_server('1', FAKE_SERVER_HANGS, 0);
    make_server('2', FAKE_SERVER_FAILS, -ECONNREFUSED);
    make_server('3', FAKE_SERVER_HANGS, 0);
    make_server('4', FAKE_SERVER_ACCEPTS, 0);
    assert_int_equal(begin_dial("1234"), 0);
    assert_int_equal(turn_until_over(), 2 * DIAL_DELAY_MS); /* 1; 2 and 3; 4 */
    assert_int_equal(dial_scene.address.bytes[3], 4);
    close_winner();
}

static void the_first_error_that_says_something_is_told(void **state)
{
    (void)state;
    static const struct {
        int errors[3], told;
    } rows[] = {
        {{-ECONNREFUSED, -ETIMEDOUT, -ENETUNREACH}, -ECONNREFUSED},
        {{-ENETUNREACH, -ETIMEDOUT, -ECONNREFUSED}, -ETIMEDOUT},
        {{-EHOSTUNREACH, -ENETUNREACH, -EHOSTUNREACH}, -EHOSTUNREACH},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (char n = 0; n < 3; n++) {
            make_server((char)('1' + n), FAKE_SERVER_FAILS, rows[i].errors[(int)n]);
        }
        assert_int_equal(begin_dial("123"), 0);
        assert_int_equal(turn_until_over(), 0);
        assert_int_equal(dial_scene.fd, rows[i].told);
        reactor_destroy(dial_scene.reactor);
        fake_sys_reset();
        assert_int_equal(reactor_create(&dial_scene.reactor, NULL), 0);
    }
}

/* One dial with two servers, of which the second answers. */
static void dial_with_failures(void)
{
    int rv = begin_dial("12");
    if (rv == 0) {
        for (int i = 0; i < 100 && dial_scene.calls == 0; i++) {
            (void)reactor_run_once(dial_scene.reactor, 1000);
        }
        assert_int_equal(dial_scene.calls, 1);
        if (dial_scene.fd >= 0) {
            close_winner();
        }
    }
}

static void whatever_fails_nothing_is_left(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        make_server('1', FAKE_SERVER_FAILS, -ECONNREFUSED);
        make_server('2', FAKE_SERVER_ACCEPTS, 0);
        fake_sys_fail(n, -EMFILE);
        dial_with_failures();
        bool failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        reactor_destroy(dial_scene.reactor);
        assert_int_equal(fake_sys_open_fds(), 0);
        fake_sys_reset();
        assert_int_equal(reactor_create(&dial_scene.reactor, NULL), 0);
        if (!failed) {
            assert_true(n > 4);
            break;
        }
    }
    for (uint64_t n = 1;; n++) {
        make_server('1', FAKE_SERVER_FAILS, -ECONNREFUSED);
        make_server('2', FAKE_SERVER_ACCEPTS, 0);
        fake_mem_fail_after(n, false);
        dial_with_failures();
        bool failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        reactor_destroy(dial_scene.reactor);
        assert_int_equal(fake_sys_open_fds(), 0);
        assert_int_equal(fake_mem_live(), 0);
        fake_sys_reset();
        assert_int_equal(reactor_create(&dial_scene.reactor, NULL), 0);
        if (!failed) {
            break;
        }
    }
}

int main(void)
{
#define FAKE_DIAL_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_fake_dial, tear_down_fake_dial)
    const struct CMUnitTest tests[] = {
        FAKE_DIAL_TEST(attempts_begin_a_quarter_of_a_second_apart),
        FAKE_DIAL_TEST(a_late_first_one_wins_as_well),
        FAKE_DIAL_TEST(a_failure_begins_the_next_one_and_the_delay_anew),
        FAKE_DIAL_TEST(the_first_error_that_says_something_is_told),
        FAKE_DIAL_TEST(whatever_fails_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
