/* core/net.c on the fake kernel: opening, and accepting when things go wrong. */

#include "core/log.h"
#include "core/net.h"
#include "core/net_unix.h"
#include "core/reactor.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PEERS_MAX = 4 * NET_ACCEPT_BUDGET };

/* What on_accept does besides counting. */
enum reaction { KEEP, CLOSE_FD, PAUSE_LISTENER, CLOSE_LISTENER };

struct stage {
    struct reactor *reactor;
    struct net_listener listener;
    struct log log;
    char lines[8][256];
    int line_count;
    enum reaction reaction;
    int64_t takes_ms; /* what on_accept() does with each connection */
    int accepted[PEERS_MAX];
    int accepted_count;
    char peer[NET_TEXT_MAX]; /* of the last one */
    char err[256];
    size_t blocks_before; /* alive at the start */
};

static void on_line(void *arg, int level, const char *line)
{
    struct stage *stage = arg;
    assert_int_equal(level, LOG_ERROR);
    assert_true(stage->line_count < 8);
    snprintf(stage->lines[stage->line_count++], sizeof stage->lines[0], "%s", line);
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    struct stage *stage = arg;
    assert_true(stage->accepted_count < PEERS_MAX);
    stage->accepted[stage->accepted_count++] = fd;
    net_address_format(peer, peer_len, stage->peer);
    fake_sys_advance_ms(stage->takes_ms);
    if (stage->reaction == CLOSE_FD) {
        reactor_close(stage->reactor, fd);
    } else if (stage->reaction == PAUSE_LISTENER) {
        net_listener_pause(&stage->listener);
    } else if (stage->reaction == CLOSE_LISTENER) {
        net_listener_close(&stage->listener);
    }
}

static int open_listener(struct stage *stage, const char *text, bool edge)
{
    struct net_address address;
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    return net_listener_open(&stage->listener, stage->reactor, &address, edge, on_accept, stage, &stage->log,
                             stage->err, sizeof stage->err);
}

static struct stage *stage_create(void)
{
    struct stage *stage = calloc(1, sizeof *stage);
    assert_non_null(stage);
    stage->log = (struct log){.sink = on_line, .arg = stage, .level = LOG_DEBUG};
    stage->listener.fd = -1;
    stage->blocks_before = fake_mem_live();
    return stage;
}

/* A stage with a listener. */
static struct stage *begin(bool edge)
{
    struct stage *stage = stage_create();
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    assert_int_equal(open_listener(stage, "127.0.0.1:8080", edge), 0);
    fake_sys_clear_trace();
    return stage;
}

static void close_accepted(struct stage *stage)
{
    while (stage->accepted_count > 0) {
        reactor_close(stage->reactor, stage->accepted[--stage->accepted_count]);
    }
}

/* Close everything and see that nothing is left. */
static void end(struct stage *stage)
{
    net_listener_close(&stage->listener);
    if (stage->reaction != CLOSE_FD) {
        close_accepted(stage);
    }
    reactor_destroy(stage->reactor);
    if (fake_sys_open_fds() != 0) {
        fake_sys_print_open_fds();
    }
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), stage->blocks_before);
    free(stage);
    fake_sys_reset();
}

/* A tick that does not wait. */
static void tick(struct stage *stage)
{
    int rv = reactor_run_once(stage->reactor, 0);
    assert_true(rv >= 0);
}

/* Run for so many milliseconds. */
static void run_for(struct stage *stage, int ms)
{
    for (int64_t end_ms = reactor_now_ms(stage->reactor) + ms; reactor_now_ms(stage->reactor) < end_ms;) {
        int left = (int)(end_ms - reactor_now_ms(stage->reactor));
        assert_true(reactor_run_once(stage->reactor, left) >= 0);
    }
}

/* Opening. */

static void a_listener_is_bound_with_its_options(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    assert_string_equal(stage->listener.name, "127.0.0.1:8080");
    assert_int_equal(stage->listener.port, 8080);
    assert_int_equal(fake_sys_option(stage->listener.fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_int_equal(fake_sys_option(stage->listener.fd, IPPROTO_TCP, TCP_NODELAY), 1);
    end(stage);
}

static int defer_option(struct stage *stage, const char *text, unsigned flags)
{
    struct net_address address;
    assert_int_equal(net_address_parse(&address, text, stage->err, sizeof stage->err), 0);
    assert_int_equal(net_listener_open(&stage->listener, stage->reactor, &address, flags, on_accept, stage, &stage->log,
                                       stage->err, sizeof stage->err),
                     0);
    int value = fake_sys_option(stage->listener.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT);
    net_listener_close(&stage->listener);
    return value;
}

static void silent_peers_are_left_to_the_kernel_where_that_is_asked_for(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    net_listener_close(&stage->listener);
    assert_int_equal(defer_option(stage, "127.0.0.1:0", NET_DEFER), NET_SILENT_S);
    assert_int_equal(defer_option(stage, "[::1]:0", NET_DEFER | NET_EDGE), NET_SILENT_S);
    assert_int_equal(defer_option(stage, "127.0.0.1:0", 0), -1);
    assert_int_equal(defer_option(stage, "unix:/run/x.sock", NET_DEFER), -1);
    end(stage);
}

static void port_0_is_named_by_the_port_that_the_kernel_chose(void **state)
{
    (void)state;
    struct stage *stage = stage_create();
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    assert_int_equal(open_listener(stage, "127.0.0.1:0", false), 0);
    assert_true(stage->listener.port > 0);
    char expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%d", stage->listener.port);
    assert_string_equal(stage->listener.name, expected);
    end(stage);
}

static void every_address_is_the_ipv4_half_on_a_machine_without_ipv6(void **state)
{
    (void)state;
    struct stage *stage = stage_create();
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    fake_sys_fail_op(FAKE_SOCKET, 0, 1, -EAFNOSUPPORT);
    assert_int_equal(open_listener(stage, ":8080", false), 0);
    assert_string_equal(stage->listener.name, "0.0.0.0:8080");
    assert_int_equal(fake_sys_option(stage->listener.fd, IPPROTO_IPV6, IPV6_V6ONLY), -1);
    net_listener_close(&stage->listener);

    fake_sys_fail_op(FAKE_SOCKET, 0, 1, -EAFNOSUPPORT); /* an address of its own is not replaced */
    assert_int_equal(open_listener(stage, "[::1]:8080", false), -EAFNOSUPPORT);
    assert_int_equal(open_listener(stage, "[::1]:8080", false), 0);
    assert_int_equal(fake_sys_option(stage->listener.fd, IPPROTO_IPV6, IPV6_V6ONLY), -1);
    net_listener_close(&stage->listener);

    assert_int_equal(open_listener(stage, ":8080", false), 0);
    assert_string_equal(stage->listener.name, "[::]:8080");
    assert_int_equal(fake_sys_option(stage->listener.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    end(stage);
}

static void failures_to_open_are_told_in_words(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int error;
        const char *text;
        const char *reason; /* NULL: what the C library says */
    } rows[] = {
        {FAKE_BIND, -EADDRINUSE, "127.0.0.1:80", "address already in use"},
        {FAKE_BIND, -EADDRINUSE, "0.0.0.0:80",
         "address already in use (\":PORT\" and \"[::]:PORT\" serve IPv4, too, without \"0.0.0.0:PORT\" beside them)"},
        {FAKE_BIND, -EADDRINUSE, "[::]:80",
         "address already in use (\":PORT\" and \"[::]:PORT\" serve IPv4, too, without \"0.0.0.0:PORT\" beside them)"},
        {FAKE_BIND, -EADDRINUSE, "[::1]:80", "address already in use"},
        {FAKE_BIND, -EADDRNOTAVAIL, "127.0.0.1:80", "no such address on this machine"},
        {FAKE_BIND, -EACCES, "127.0.0.1:80", "permission denied (ports below 1024 need privileges)"},
        {FAKE_BIND, -EACCES, "unix:/tmp/evserve-test-net-none", "permission denied"},
        {FAKE_BIND, -EINVAL, "127.0.0.1:80", "Invalid argument"},
        {FAKE_LISTEN, -EADDRINUSE, "127.0.0.1:80", "address already in use"},
        {FAKE_SOCKET, -EMFILE, "127.0.0.1:80", NULL},
        {FAKE_SOCKET, -EMFILE, "[::]:80", NULL},
        {FAKE_SET_OPTION, -ENOMEM, "127.0.0.1:80", NULL},
        {FAKE_OPEN, -EMFILE, "127.0.0.1:80", NULL},
        {FAKE_EPOLL_ADD, -ENOSPC, "127.0.0.1:80", "No space left on device"},
        {FAKE_GET_OPTION, -ENOTSOCK, "fd:0", "not a listening socket"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_create();
        assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
        int fds = fake_sys_open_fds();
        fake_sys_fail_op(rows[i].op, 0, 1, rows[i].error);
        assert_int_equal(open_listener(stage, rows[i].text, false), rows[i].error);
        char expected[256];
        snprintf(expected, sizeof expected, "cannot listen on %s: %s", rows[i].text,
                 rows[i].reason != NULL ? rows[i].reason : errno_text(-rows[i].error));
        assert_string_equal(stage->err, expected);
        assert_int_equal(fake_sys_open_fds(), fds);
        assert_int_equal(stage->line_count, 0); /* the caller has the text; nothing is logged */
        end(stage);
    }
}

static void a_machine_without_dev_null_is_served(void **state)
{
    (void)state;
    static const int errors[] = {-ENOENT, -EACCES, -ENXIO};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct stage *stage = stage_create();
        assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
        fake_sys_fail_op(FAKE_OPEN, 0, 1, errors[i]);
        assert_int_equal(open_listener(stage, "127.0.0.1:0", false), 0);
        end(stage);
    }
}

static void a_unix_socket_that_cannot_listen_leaves_no_file(void **state)
{
    (void)state;
    struct stage *stage = stage_create();
    char text[64] = "unix:/tmp/evserve-test-net-XXXXXX";
    close(mkstemp(text + 5));
    assert_int_equal(unlink(text + 5), 0);
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    enum fake_op ops[] = {FAKE_LISTEN, FAKE_EPOLL_ADD};
    for (size_t i = 0; i < 2; i++) {
        fake_sys_fail_op(ops[i], 0, 1, -ENOMEM);
        assert_int_equal(open_listener(stage, text, false), -ENOMEM);
        assert_int_equal(access(text + 5, F_OK), -1);
    }
    assert_int_equal(open_listener(stage, text, false), 0);
    assert_int_equal(access(text + 5, F_OK), 0);
    end(stage);
    assert_int_equal(access(text + 5, F_OK), -1);
}

/* Another server is about to listen in the same folder. */
static void the_lock_on_a_folder_is_waited_for_but_not_for_ever(void **state)
{
    (void)state;
    struct stage *stage = stage_create();
    char text[64] = "unix:/tmp/evserve-test-net-XXXXXX";
    close(mkstemp(text + 5));
    assert_int_equal(unlink(text + 5), 0);
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    fake_sys_fail_op(FAKE_LOCK, 0, 3, -EWOULDBLOCK);
    assert_int_equal(open_listener(stage, text, false), 0);
    assert_int_equal(fake_sys_count(FAKE_SLEEP_MS), 3);
    net_listener_close(&stage->listener);
    fake_sys_fail_op(FAKE_LOCK, 0, FAKE_FOREVER, -EWOULDBLOCK);
    assert_int_equal(open_listener(stage, text, false), 0);
    assert_int_equal(fake_sys_count(FAKE_SLEEP_MS), 3 + NET_UNIX_LOCK_TRIES - 1);
    net_listener_close(&stage->listener);
    end(stage);
}

static void a_unix_socket_whose_mode_cannot_be_set_leaves_no_file(void **state)
{
    (void)state;
    struct stage *stage = stage_create();
    char text[64] = "unix:/tmp/evserve-test-net-XXXXXX";
    close(mkstemp(text + 5));
    assert_int_equal(unlink(text + 5), 0);
    char with_mode[80];
    snprintf(with_mode, sizeof with_mode, "%s?mode=660", text);
    assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
    fake_sys_fail_op(FAKE_SET_MODE, 0, 1, -EPERM);
    assert_int_equal(open_listener(stage, with_mode, false), -EPERM);
    assert_int_equal(access(text + 5, F_OK), -1);
    end(stage);
}

static void closing_twice_or_what_was_never_open_is_no_harm(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    net_listener_close(&stage->listener);
    uint64_t calls = fake_sys_total();
    net_listener_close(&stage->listener);
    struct net_listener never = {.fd = -1};
    net_listener_close(&never);
    assert_int_equal(fake_sys_total(), calls);
    end(stage);
}

/* Accepting. */

static void a_connection_is_handed_on_with_its_peer(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(1234), .sin_addr.s_addr = htonl(0x0a000001)};
    struct fake_peer *peer = fake_peer_connect(stage->listener.fd);
    fake_peer_set_address(peer, (struct sockaddr *)&from, sizeof from);
    tick(stage);
    assert_int_equal(stage->accepted_count, 1);
    assert_int_equal(stage->accepted[0], fake_peer_fd(peer));
    assert_string_equal(stage->peer, "10.0.0.1:1234");
    assert_int_equal(fake_sys_option(stage->accepted[0], IPPROTO_TCP, TCP_NODELAY), 1);
    end(stage);
}

/* Errors that concern one connection: the next one is accepted in the same callback. */
static void errors_of_one_connection_are_skipped(void **state)
{
    (void)state;
    static const int errors[] = {-EINTR,  -ECONNABORTED, -EPROTO,     -ENETDOWN,    -ENOPROTOOPT, -EHOSTDOWN,
                                 -ENONET, -EHOSTUNREACH, -EOPNOTSUPP, -ENETUNREACH, -EPERM};
    for (int edge = 0; edge < 2; edge++) {
        for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
            struct stage *stage = begin(edge);
            fake_peer_connect(stage->listener.fd);
            fake_peer_connect(stage->listener.fd);
            fake_sys_fail_op(FAKE_ACCEPT, 0, 1, errors[i]);
            fake_sys_fail_op(FAKE_ACCEPT, 1, 2, errors[i]); /* and in between */
            tick(stage);
            assert_int_equal(stage->accepted_count, 2);
            assert_int_equal(stage->line_count, 0);
            end(stage);
        }
    }
}

static void an_error_that_never_ends_is_left_after_the_budget(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        fake_peer_connect(stage->listener.fd);
        fake_sys_fail_op(FAKE_ACCEPT, 0, FAKE_FOREVER, -ECONNABORTED);
        tick(stage);
        assert_int_equal(fake_sys_count(FAKE_ACCEPT), NET_ACCEPT_BUDGET);
        end(stage);
    }
}

static void a_callback_accepts_a_budget_and_the_next_tick_the_rest(void **state)
{
    (void)state;
    static const int counts[] = {NET_ACCEPT_BUDGET - 1, NET_ACCEPT_BUDGET, NET_ACCEPT_BUDGET + 1,
                                 2 * NET_ACCEPT_BUDGET + 1};
    for (int edge = 0; edge < 2; edge++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct stage *stage = begin(edge);
            for (int n = 0; n < counts[i]; n++) {
                fake_peer_connect(stage->listener.fd);
            }
            for (int left = counts[i]; left > 0; left -= NET_ACCEPT_BUDGET) {
                int before = stage->accepted_count;
                int expected = left < NET_ACCEPT_BUDGET ? left : NET_ACCEPT_BUDGET;
                tick(stage);
                assert_int_equal(stage->accepted_count - before, expected);
                if (edge && expected == NET_ACCEPT_BUDGET) {
                    tick(stage); /* to be watched anew */
                    assert_int_equal(stage->accepted_count - before, expected);
                }
            }
            assert_int_equal(stage->accepted_count, counts[i]);
            run_for(stage, 1);
            fake_peer_connect(stage->listener.fd); /* and it goes on listening */
            tick(stage);
            assert_int_equal(stage->accepted_count, counts[i] + 1);
            assert_int_equal(stage->line_count, 0);
            end(stage);
        }
    }
}

static bool other_ran;

static void on_other(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    (void)events;
    const struct stage *stage = arg;
    assert_int_equal(stage->accepted_count, NET_ACCEPT_BUDGET);
    other_ran = true;
}

/* R6: others are served between two budgets, edge-triggered too. */
static void others_are_served_between_two_budgets(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        for (int n = 0; n < 2 * NET_ACCEPT_BUDGET; n++) {
            fake_peer_connect(stage->listener.fd);
        }
        struct fake_peer *other = fake_peer_create(-1);
        int fd = fake_peer_fd(other);
        fake_peer_send_text(other, "x");
        assert_int_equal(reactor_register(stage->reactor, fd, REACTOR_READABLE, on_other, stage), 0);
        other_ran = false;
        tick(stage);
        assert_true(other_ran);
        reactor_close(stage->reactor, fd);
        run_for(stage, 1);
        tick(stage);
        assert_int_equal(stage->accepted_count, 2 * NET_ACCEPT_BUDGET);
        end(stage);
    }
}

static void a_callback_that_takes_long_accepts_no_more(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        stage->takes_ms = NET_ACCEPT_MS / 2;
        for (int n = 0; n < 5; n++) {
            fake_peer_connect(stage->listener.fd);
        }
        tick(stage);
        assert_int_equal(stage->accepted_count, 2);
        stage->takes_ms = NET_ACCEPT_MS / 2 - 1;
        for (int n = 0; n < 3; n++) {
            tick(stage);
        }
        assert_int_equal(stage->accepted_count, 5);
        end(stage);
    }
}

static void without_memory_for_a_timer_an_edge_is_not_lost(void **state)
{
    (void)state;
    struct stage *stage = begin(true);
    for (int n = 0; n < 3 * NET_ACCEPT_BUDGET; n++) {
        fake_peer_connect(stage->listener.fd);
    }
    fake_mem_fail_after(1, true);
    tick(stage);
    fake_mem_fail_after(0, false);
    assert_int_equal(stage->accepted_count, 3 * NET_ACCEPT_BUDGET);
    end(stage);
}

/* Out of fds. */

static void out_of_fds_the_reserve_turns_peers_away_and_accepting_resumes(void **state)
{
    (void)state;
    static const int errors[] = {-EMFILE, -ENFILE};
    for (int edge = 0; edge < 2; edge++) {
        for (int i = 0; i < 2; i++) {
            struct stage *stage = begin(edge);
            struct fake_peer *first = fake_peer_connect(stage->listener.fd);
            struct fake_peer *second = fake_peer_connect(stage->listener.fd);
            int fds = fake_sys_open_fds();
            fake_sys_fail_op(FAKE_ACCEPT, 0, 1, errors[i]);
            tick(stage);
            assert_true(fake_peer_saw_close(first));
            assert_int_equal(stage->accepted_count, 1);
            assert_int_equal(stage->accepted[0], fake_peer_fd(second));
            assert_true(stage->listener.reserve_fd >= 0);
            assert_int_equal(fake_sys_open_fds(), fds + 1);
            assert_int_equal(stage->line_count, 1);
            assert_string_equal(stage->lines[0], "out of file descriptors while accepting on 127.0.0.1:8080: "
                                                 "turning connections away");
            fake_peer_connect(stage->listener.fd);
            tick(stage);
            assert_int_equal(stage->accepted_count, 2);
            end(stage);
        }
    }
}

/* The limit as the process has it: each accept(2) and each reopened reserve runs into it. */
static void at_the_limit_of_fds_everyone_else_is_turned_away_with_one_line(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        struct fake_peer *peers[40];
        fake_sys_set_fd_limit(fake_sys_open_fds() + 10);
        for (int i = 0; i < 40; i++) {
            peers[i] = fake_peer_connect(stage->listener.fd);
        }
        tick(stage);
        assert_int_equal(stage->accepted_count, 10);
        for (int i = 10; i < 40; i++) {
            assert_true(fake_peer_saw_close(peers[i]));
        }
        assert_int_equal(stage->line_count, 1);
        assert_int_equal(stage->listener.pause_timer, 0);
        close_accepted(stage);
        for (int i = 0; i < 5; i++) {
            fake_peer_connect(stage->listener.fd);
        }
        tick(stage);
        assert_int_equal(stage->accepted_count, 5);
        assert_int_equal(stage->line_count, 1);
        end(stage);
    }
}

/* A server that lives at its limit, one connection leaving for each that comes, does not fill the log. */
static void a_server_at_its_limit_logs_once_until_it_has_fds_again(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    fake_sys_set_fd_limit(fake_sys_open_fds() + 10);
    for (int i = 0; i < 50; i++) {
        fake_peer_connect(stage->listener.fd);
        fake_peer_connect(stage->listener.fd);
        tick(stage);
        if (stage->accepted_count == 10) {
            reactor_close(stage->reactor, stage->accepted[--stage->accepted_count]);
        }
    }
    assert_int_equal(stage->line_count, 1);
    close_accepted(stage);
    fake_peer_connect(stage->listener.fd);
    tick(stage);
    for (int i = 0; i < 20; i++) {
        fake_peer_connect(stage->listener.fd);
    }
    tick(stage);
    assert_int_equal(stage->line_count, 2); /* a new shortage is news */
    end(stage);
}

/* The reserve is lost when somebody else takes the fd in between. */
static void without_a_reserve_the_listener_rests_100_ms_and_recovers(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        for (int i = 0; i < 3; i++) {
            fake_peer_connect(stage->listener.fd);
        }
        fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -EMFILE);
        fake_sys_fail_op(FAKE_ACCEPT, 1, 1, -EMFILE);
        fake_sys_fail_op(FAKE_OPEN, 0, 1, -EMFILE);
        tick(stage);
        assert_int_equal(stage->accepted_count, 0); /* one was turned away, for the others there is no reserve */
        assert_true(stage->listener.reserve_fd < 0);
        assert_int_equal(stage->line_count, 1);
        uint64_t accepts = fake_sys_count(FAKE_ACCEPT);
        uint64_t ticks = reactor_counts(stage->reactor).ticks;
        run_for(stage, NET_PAUSE_MS - 1);
        assert_int_equal(fake_sys_count(FAKE_ACCEPT), accepts);
        assert_int_equal(reactor_counts(stage->reactor).ticks, ticks + 1); /* and the loop sleeps */
        run_for(stage, 2);
        assert_int_equal(stage->accepted_count, 2);
        assert_true(stage->listener.reserve_fd >= 0);
        assert_int_equal(stage->line_count, 1);
        end(stage);
    }
}

/* Out of files in the whole system: giving up the reserve does not help either. */
static void when_the_reserve_does_not_help_the_listener_rests(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    struct fake_peer *peer = fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 6, -ENFILE);
    tick(stage);
    run_for(stage, 2 * NET_PAUSE_MS + 1);
    assert_int_equal(fake_sys_count(FAKE_ACCEPT), 6); /* with and without the reserve, three times */
    run_for(stage, NET_PAUSE_MS);
    assert_int_equal(stage->accepted_count, 1);
    assert_false(fake_peer_saw_close(peer));
    assert_int_equal(stage->line_count, 1);
    end(stage);
}

static void a_peer_that_vanished_while_it_was_turned_away_does_not_matter(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -EMFILE);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -ECONNABORTED);
    tick(stage);
    assert_int_equal(stage->accepted_count, 1);
    assert_int_equal(stage->listener.pause_timer, 0);
    end(stage);
}

static void other_failures_are_logged_once_and_tried_again(void **state)
{
    (void)state;
    static const int errors[] = {-ENOMEM, -ENOBUFS, -EINVAL};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct stage *stage = begin(i % 2 == 0);
        fake_peer_connect(stage->listener.fd);
        fake_sys_fail_op(FAKE_ACCEPT, 0, 5, errors[i]);
        tick(stage);
        assert_int_equal(fake_sys_count(FAKE_ACCEPT), 1);
        char expected[128];
        snprintf(expected, sizeof expected, "cannot accept on 127.0.0.1:8080: %s", strerror(-errors[i]));
        assert_string_equal(stage->lines[0], expected);
        run_for(stage, 5 * NET_PAUSE_MS + 1);
        assert_int_equal(stage->accepted_count, 1);
        assert_int_equal(stage->line_count, 1);
        end(stage);
    }
}

static void without_memory_for_a_rest_the_listener_stays_awake(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 3, -ENOMEM);
    fake_mem_fail_after(1, true);
    for (int i = 0; i < 4; i++) {
        tick(stage);
    }
    fake_mem_fail_after(0, false);
    assert_int_equal(stage->accepted_count, 1);
    end(stage);
}

/* Pausing. */

static void a_paused_listener_accepts_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        net_listener_pause(&stage->listener);
        fake_peer_connect(stage->listener.fd);
        run_for(stage, 1000);
        assert_int_equal(fake_sys_count(FAKE_ACCEPT), 0);
        assert_int_equal(reactor_counts(stage->reactor).ticks, 1);
        net_listener_resume(&stage->listener);
        tick(stage);
        assert_int_equal(stage->accepted_count, 1);
        end(stage);
    }
}

static void pausing_in_on_accept_stops_after_that_connection(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        stage->reaction = PAUSE_LISTENER;
        for (int i = 0; i < 3; i++) {
            fake_peer_connect(stage->listener.fd);
        }
        run_for(stage, 10);
        assert_int_equal(stage->accepted_count, 1);
        net_listener_resume(&stage->listener);
        run_for(stage, 10);
        assert_int_equal(stage->accepted_count, 2);
        stage->reaction = KEEP;
        net_listener_resume(&stage->listener);
        run_for(stage, 10);
        assert_int_equal(stage->accepted_count, 3);
        end(stage);
    }
}

static void resuming_does_not_cut_a_rest_short_nor_a_rest_a_pause(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -ENOMEM);
    tick(stage);
    net_listener_pause(&stage->listener);
    net_listener_resume(&stage->listener);
    run_for(stage, NET_PAUSE_MS - 1);
    assert_int_equal(stage->accepted_count, 0);
    net_listener_pause(&stage->listener);
    run_for(stage, NET_PAUSE_MS);
    assert_int_equal(stage->accepted_count, 0);
    net_listener_resume(&stage->listener);
    tick(stage);
    assert_int_equal(stage->accepted_count, 1);
    end(stage);
}

static void closing_in_on_accept_stops_after_that_connection(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        stage->reaction = CLOSE_LISTENER;
        for (int i = 0; i < 3; i++) {
            fake_peer_connect(stage->listener.fd);
        }
        run_for(stage, 10);
        assert_int_equal(stage->accepted_count, 1);
        assert_int_equal(stage->listener.fd, -1);
        end(stage);
    }
}

static void closing_during_a_rest_takes_the_timer_along(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_ACCEPT, 0, 1, -ENOMEM);
    tick(stage);
    assert_true(stage->listener.pause_timer != 0);
    net_listener_close(&stage->listener);
    run_for(stage, 2 * NET_PAUSE_MS);
    assert_int_equal(reactor_counts(stage->reactor).timers, 0);
    end(stage);
}

static void a_listener_that_cannot_be_watched_tries_again(void **state)
{
    (void)state;
    struct stage *stage = begin(false);
    net_listener_pause(&stage->listener);
    fake_peer_connect(stage->listener.fd);
    fake_sys_fail_op(FAKE_EPOLL_ADD, 0, 3, -ENOSPC); /* at once, and after a rest, where the reactor tells later */
    net_listener_resume(&stage->listener);
    run_for(stage, 3 * NET_PAUSE_MS);
    assert_int_equal(stage->accepted_count, 0);
    run_for(stage, 2);
    assert_int_equal(stage->accepted_count, 1);
    end(stage);
}

static void accepting_does_not_allocate(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        struct stage *stage = begin(edge);
        stage->reaction = CLOSE_FD;
        uint64_t calls = 0;
        for (int round = 0; round < 3; round++) {
            stage->accepted_count = 0;
            for (int i = 0; i < NET_ACCEPT_BUDGET + 2; i++) {
                fake_peer_connect(stage->listener.fd);
            }
            run_for(stage, 5);
            assert_int_equal(stage->accepted_count, NET_ACCEPT_BUDGET + 2);
            if (round == 0) {
                calls = fake_mem_calls(); /* the first round may find room for its timer */
            }
        }
        assert_int_equal(fake_mem_calls(), calls);
        end(stage);
    }
}

/* Failures one by one. */

static void nothing_leaks_when_any_allocation_fails(void **state)
{
    (void)state;
    for (int edge = 0; edge < 2; edge++) {
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            struct stage *stage = stage_create();
            assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
            int fds = fake_sys_open_fds();
            fake_mem_fail_after(n, false);
            int rv = open_listener(stage, "127.0.0.1:8080", edge);
            if (rv < 0) {
                assert_int_equal(rv, -ENOMEM);
                assert_non_null(strstr(stage->err, "cannot listen on 127.0.0.1:8080: "));
                assert_non_null(strstr(stage->err, errno_text(ENOMEM)));
                assert_int_equal(fake_sys_open_fds(), fds);
            } else {
                for (int i = 0; i < NET_ACCEPT_BUDGET + 1; i++) {
                    fake_peer_connect(stage->listener.fd);
                }
                run_for(stage, 2 * NET_PAUSE_MS);
                assert_int_equal(stage->accepted_count, NET_ACCEPT_BUDGET + 1);
            }
            failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            end(stage);
        }
    }
}

/* Each system call fails once, with errors of every kind (but EAGAIN, a statement that an edge relies on); the
 * listener opens or says why not, and one that is open accepts or turns away whoever comes, at the latest after a
 * rest. */
static void nothing_leaks_and_nobody_hangs_when_any_system_call_fails(void **state)
{
    (void)state;
    static const int errors[] = {-EIO, -ENOMEM, -EMFILE, -ENFILE, -EINTR, -ECONNABORTED, -ENOENT};
    static const char *const addresses[] = {"127.0.0.1:8080", ":8080"};
    for (size_t e = 0; e < 4 * (sizeof errors / sizeof errors[0]); e++) {
        bool edge = e & 1;
        const char *text = addresses[e >> 1 & 1];
        int error = errors[e >> 2];
        bool failed = true;
        for (uint64_t n = 1; failed; n++) {
            struct stage *stage = stage_create();
            assert_int_equal(reactor_create(&stage->reactor, &stage->log), 0);
            int fds = fake_sys_open_fds();
            fake_sys_fail(n, error);
            int rv = open_listener(stage, text, edge);
            if (rv < 0) {
                assert_int_equal(rv, error);
                assert_int_equal(strncmp(stage->err, "cannot listen on ", 17), 0);
                assert_int_equal(fake_sys_open_fds(), fds);
                assert_int_equal(stage->listener.fd, -1);
            } else {
                struct fake_peer *peers[3];
                for (int i = 0; i < 3; i++) {
                    peers[i] = fake_peer_connect(stage->listener.fd);
                }
                for (int i = 0; i < 10; i++) {
                    reactor_run_once(stage->reactor, NET_PAUSE_MS); /* the wait may be the one that fails */
                }
                for (int i = 0; i < 3; i++) {
                    if (fake_peer_fd(peers[i]) < 0 && !fake_peer_saw_close(peers[i])) {
                        fail_msg("%s, edge %d, call %d fails with %d: peer %d hangs", text, edge, (int)n, error, i);
                    }
                }
                assert_true(stage->accepted_count >= 2);
            }
            failed = fake_sys_failed();
            fake_sys_fail(0, 0);
            end(stage);
        }
    }
}

static int reset_after(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    fake_sys_reset();
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, reset_after)
    const struct CMUnitTest tests[] = {
        TEST(a_listener_is_bound_with_its_options),
        TEST(silent_peers_are_left_to_the_kernel_where_that_is_asked_for),
        TEST(port_0_is_named_by_the_port_that_the_kernel_chose),
        TEST(every_address_is_the_ipv4_half_on_a_machine_without_ipv6),
        TEST(failures_to_open_are_told_in_words),
        TEST(a_machine_without_dev_null_is_served),
        TEST(a_unix_socket_that_cannot_listen_leaves_no_file),
        TEST(the_lock_on_a_folder_is_waited_for_but_not_for_ever),
        TEST(a_unix_socket_whose_mode_cannot_be_set_leaves_no_file),
        TEST(closing_twice_or_what_was_never_open_is_no_harm),
        TEST(a_connection_is_handed_on_with_its_peer),
        TEST(errors_of_one_connection_are_skipped),
        TEST(an_error_that_never_ends_is_left_after_the_budget),
        TEST(a_callback_accepts_a_budget_and_the_next_tick_the_rest),
        TEST(others_are_served_between_two_budgets),
        TEST(a_callback_that_takes_long_accepts_no_more),
        TEST(without_memory_for_a_timer_an_edge_is_not_lost),
        TEST(out_of_fds_the_reserve_turns_peers_away_and_accepting_resumes),
        TEST(at_the_limit_of_fds_everyone_else_is_turned_away_with_one_line),
        TEST(a_server_at_its_limit_logs_once_until_it_has_fds_again),
        TEST(without_a_reserve_the_listener_rests_100_ms_and_recovers),
        TEST(when_the_reserve_does_not_help_the_listener_rests),
        TEST(a_peer_that_vanished_while_it_was_turned_away_does_not_matter),
        TEST(other_failures_are_logged_once_and_tried_again),
        TEST(without_memory_for_a_rest_the_listener_stays_awake),
        TEST(a_paused_listener_accepts_nothing_until_it_is_resumed),
        TEST(pausing_in_on_accept_stops_after_that_connection),
        TEST(resuming_does_not_cut_a_rest_short_nor_a_rest_a_pause),
        TEST(closing_in_on_accept_stops_after_that_connection),
        TEST(closing_during_a_rest_takes_the_timer_along),
        TEST(a_listener_that_cannot_be_watched_tries_again),
        TEST(accepting_does_not_allocate),
        TEST(nothing_leaks_when_any_allocation_fails),
        TEST(nothing_leaks_and_nobody_hangs_when_any_system_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
