/* Failures under a server with HTTPS: one day of it, from evserve_start() to evserve_free(), is played again and again,
 * and each time another allocation of ours fails, or one of OpenSSL's, or a system call. The day has handshakes of TLS
 * 1.2 and 1.3, whole and resumed, with server names, RSA and ECDSA and client certificates; requests of all kinds over
 * them; clients that send plain HTTP, that leave in every way, that are slow; certificates that are replaced, broken
 * and mended; and a stop with requests in flight.
 *
 * Whatever fails: nothing crashes, hangs or leaks, memory or fds; what a client received is what it receives on a good
 * day, or 500 or 503, or a part of it without close_notify; OpenSSL's queue of errors is empty after each call; and
 * when the fault is gone, everything is served as before.
 *
 *   test_tls_faults [STRIDE [FIRST [TEST]]]   every STRIDE-th place, from FIRST (1 to STRIDE) on; without arguments a
 *                                             sample. 1 is all of them: an hour. TEST: one test alone */

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/tls_day.h"
#include "tests/lib/tls_day_site.h"
#include "tests/lib/tls_faults.h"
#include "tests/lib/tls_scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    ERRORS_MAX = 6,   /* ways in which a system call fails */
    SAMPLE_DAYS = 12, /* of each kind, in a run without arguments */
};

/* What is played, of a day's places: those of our allocations, of OpenSSL's (each way to allocate once), of calls. */
static uint64_t stride, first_place; /* 0: a sample */
static uint64_t allocations_of_day;
static uint64_t *openssl_places;
static size_t openssl_place_count;

/* Whether OpenSSL has kept nothing of the last day. */
static bool has_openssl_left_nothing(void)
{
    size_t left = tls_faults_left();
    if (left > 0) {
        print_message("%zu blocks are left, when %s %d fails (%s)\n", left, tls_day_fault.what, (int)tls_day_fault.n,
                      tls_faults_place());
        tls_faults_print_left();
    }
    return left == 0;
}

/* Days without a fault: what others are compared with, and which places there are. */
static void learn_places(void)
{
    tls_day_fault = (struct tls_day_fault){.what = "nothing"};
    (void)tls_day_play();
    tls_day_fault.kind = FAULT_MEM; /* as others go, up to the failure */
    tls_day_fault.n = UINT32_MAX;
    uint64_t before = fake_mem_calls();
    tls_faults_record();
    assert_false(tls_day_play());
    openssl_places = tls_faults_end_record(&openssl_place_count);
    allocations_of_day = fake_mem_calls() - before;
}

static void day_without_a_fault_is_a_good_day(void **state)
{
    (void)state;
    tls_day_fault = (struct tls_day_fault){.what = "nothing"};
    (void)tls_day_play();
    assert_true(has_openssl_left_nothing());
}

/* Play the days of all places, or of some. place_of gives the number of the call that fails, from 0 to count - 1. */
static void play_places(uint64_t count, uint64_t (*place_of)(uint64_t n))
{
    uint64_t step = stride != 0 ? stride : count / SAMPLE_DAYS + 1;
    uint64_t played = 0, missed = 0, leaking = 0;
    for (uint64_t n = stride != 0 ? first_place - 1 : step / 2; n < count; n += step) {
        tls_day_fault.n = place_of(n);
        missed += !tls_day_play(); /* the sizes of signatures vary, and with them a few places at the end of the day */
        leaking += !has_openssl_left_nothing();
        played++;
    }
    print_message("%s: %llu days of %llu\n", tls_day_fault.what, (unsigned long long)played, (unsigned long long)count);
    assert_true(played > 0 && missed <= played / 20 + 1);
    assert_int_equal(leaking, 0);
}

static uint64_t next_number(uint64_t n)
{
    return n + 1;
}

static uint64_t openssl_place(uint64_t n)
{
    return openssl_places[n];
}

static void choose_fault(const char *what, enum tls_day_kind kind, bool forever)
{
    tls_day_fault.what = what;
    tls_day_fault.kind = kind;
    tls_day_fault.forever = forever;
    tls_day_fault.error = 0;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    choose_fault("allocation", FAULT_MEM, false);
    play_places(allocations_of_day, next_number);
}

static void all_allocations_from_one_on_may_fail(void **state)
{
    (void)state;
    choose_fault("every allocation from", FAULT_MEM, true);
    play_places(allocations_of_day, next_number);
}

static void any_allocation_of_openssl_may_fail(void **state)
{
    (void)state;
    choose_fault("OpenSSL's allocation", FAULT_OPENSSL, false);
    play_places(openssl_place_count, openssl_place);
}

static void all_allocations_of_openssl_from_one_on_may_fail(void **state)
{
    (void)state;
    choose_fault("every allocation of OpenSSL's from", FAULT_OPENSSL, true);
    play_places(openssl_place_count, openssl_place);
}

/* Ways in which a call fails in earnest. recv(2) finds bytes after the edge that told of them, so EAGAIN is none. */
static const struct {
    enum fake_op op;
    int errors[ERRORS_MAX]; /* up to a 0 */
} legal[] = {
    {FAKE_ACCEPT, {EAGAIN, EMFILE, ENFILE, ENOMEM, ECONNABORTED, EINTR}},
    {FAKE_RECV, {EINTR, ENOMEM, ECONNRESET, ETIMEDOUT}},
    {FAKE_SEND, {EAGAIN, EINTR, ENOMEM, EPIPE, ECONNRESET}},
    {FAKE_SENDV, {EAGAIN, EINTR, ENOMEM, EPIPE, ECONNRESET}},
    {FAKE_EPOLL_ADD, {ENOMEM, ENOSPC}},
    {FAKE_EPOLL_MODIFY, {ENOMEM}},
    {FAKE_EPOLL_WAIT, {EINTR}},
    {FAKE_SHUTDOWN_WRITE, {ENOTCONN}},
    {FAKE_SHUTDOWN, {ENOTCONN}},
    {FAKE_SET_OPTION, {ENOMEM}},
    {FAKE_GET_OPTION, {ENOMEM}},
    {FAKE_OPEN, {EMFILE, ENFILE, ENOMEM, EINTR, EIO}},
    {FAKE_OPEN_BENEATH, {EMFILE, ENFILE, ENOMEM, EINTR, EIO, EAGAIN}},
    {FAKE_STAT, {EIO, ENOMEM}},
    {FAKE_READ, {EIO, EINTR, ENOMEM}},
    {FAKE_PREAD, {EIO, EINTR, ENOMEM}},
};

/* The n-th pair of a call and an error is chosen. */
static uint64_t choose_call(uint64_t n)
{
    for (size_t row = 0; row < sizeof legal / sizeof legal[0]; row++) {
        for (int e = 0; e < ERRORS_MAX && legal[row].errors[e] != 0; e++) {
            if (n < tls_day_calls[legal[row].op]) {
                tls_day_fault.what = fake_op_name(legal[row].op);
                tls_day_fault.op = legal[row].op;
                tls_day_fault.error = -legal[row].errors[e];
                return n + 1;
            }
            n -= tls_day_calls[legal[row].op];
        }
    }
    fail_msg("there is no such call");
    return 0;
}

static void any_system_call_may_fail(void **state)
{
    (void)state;
    uint64_t count = 0;
    for (size_t row = 0; row < sizeof legal / sizeof legal[0]; row++) {
        for (int e = 0; e < ERRORS_MAX && legal[row].errors[e] != 0; e++) {
            count += tls_day_calls[legal[row].op];
        }
    }
    choose_fault("system call", FAULT_CALL, false);
    play_places(count, choose_call);
}

static int make_day(void **state)
{
    (void)state;
    tls_day_make();
    learn_places();
    return 0;
}

static int remove_day(void **state)
{
    (void)state;
    free(openssl_places);
    tls_day_remove();
    return 0;
}

int main(int argc, char **argv)
{
    tls_faults_install();
    stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    first_place = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (argc > 3) {
        cmocka_set_test_filter(argv[3]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(day_without_a_fault_is_a_good_day),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(all_allocations_from_one_on_may_fail),
        cmocka_unit_test(any_allocation_of_openssl_may_fail),
        cmocka_unit_test(all_allocations_of_openssl_from_one_on_may_fail),
        cmocka_unit_test(any_system_call_may_fail),
    };
    return cmocka_run_group_tests_name("tls_faults", tests, make_day, remove_day);
}
