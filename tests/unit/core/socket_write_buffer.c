/* core/write_buffer.c on real sockets, driven by the reactor the way a connection does it: send at once, queue what the
 * kernel does not take, ask for WRITABLE only while something is queued. */

#include "core/reactor.h"
#include "core/sys.h"
#include "core/write_buffer.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/open_fds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    TOTAL = 1 << 20,    /* bytes to get through */
    CAP = 32 * 1024,    /* of the write buffer */
    PORTION = 5000,     /* bytes appended at once */
    BUDGET = 12 * 1024, /* of one flush */
    SIP = 1021,         /* bytes that the slow reader takes at once */
    SIPS = 4,           /* before it looks away */
};

struct pipe_line {
    struct reactor *reactor;
    struct write_buffer out; /* bytes on their way */
    int writer, reader;      /* the two sockets */
    bool edge;               /* how the writer is registered */
    bool asks_writable;      /* what the writer is registered for */
    size_t appended;         /* bytes of the text put into out */
    size_t received;         /* bytes of the text that arrived */
    uint64_t writables;      /* callbacks for WRITABLE */
    uint64_t idle_writables; /* of them, with nothing queued */
    uint64_t pendings;       /* flushes that left something */
};

/* Byte number offset of an endless text in which every gap, repetition and swap shows. */
static char byte_at(size_t offset)
{
    size_t word = offset / 4;
    return (char)(word >> (8 * (offset % 4)) ^ word * 31);
}

static void on_writable(struct reactor *reactor, int fd, unsigned events, void *arg);

static void ask(struct pipe_line *line, bool writable)
{
    if (line->edge || line->asks_writable == writable) {
        return;
    }
    line->asks_writable = writable;
    assert_int_equal(reactor_register(line->reactor, line->writer, writable ? REACTOR_WRITABLE : 0U, on_writable, line),
                     0);
}

/* Put more of the text into the buffer, as far as it has room. */
static void top_up(struct pipe_line *line)
{
    char data[PORTION];
    while (line->appended < TOTAL) {
        size_t len = TOTAL - line->appended < PORTION ? TOTAL - line->appended : PORTION;
        for (size_t i = 0; i < len; i++) {
            data[i] = byte_at(line->appended + i);
        }
        int rv = write_buffer_append(&line->out, data, len, CAP);
        if (rv == -ENOBUFS) {
            return;
        }
        assert_int_equal(rv, 0);
        line->appended += len;
    }
}

static void on_turn(struct reactor *reactor, void *arg);

/* Send. What the budget left is for the next turn, what the kernel left for WRITABLE. */
static void pump(struct pipe_line *line)
{
    top_up(line);
    size_t before = write_buffer_len(&line->out);
    int rv = write_buffer_flush(&line->out, line->writer, BUDGET, false);
    assert_true(rv == WRITE_DRAINED || rv == WRITE_PENDING);
    assert_true((rv == WRITE_DRAINED) == (write_buffer_len(&line->out) == 0));
    size_t sent = before - write_buffer_len(&line->out);
    assert_true(sent <= BUDGET);
    line->pendings += rv == WRITE_PENDING;
    ask(line, write_buffer_len(&line->out) > 0);
    bool out_of_budget = line->edge && sent == BUDGET;
    if (out_of_budget || (rv == WRITE_DRAINED && line->appended < TOTAL)) {
        assert_int_equal(reactor_defer(line->reactor, on_turn, line), 0);
    }
}

static void on_turn(struct reactor *reactor, void *arg)
{
    (void)reactor;
    pump(arg);
}

static void on_writable(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    struct pipe_line *line = arg;
    assert_int_equal(events & (unsigned)~REACTOR_WRITABLE, 0);
    line->writables++;
    line->idle_writables += write_buffer_len(&line->out) == 0;
    pump(line);
}

static void on_readable(struct reactor *reactor, int fd, unsigned events, void *arg);

static void on_rested(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct pipe_line *line = arg;
    assert_int_equal(reactor_register(reactor, line->reader, REACTOR_READABLE, on_readable, line), 0);
}

/* The slow reader: a few sips, and then it looks away until the socket is full again. */
static void on_readable(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)events;
    struct pipe_line *line = arg;
    for (int i = 0; i < SIPS; i++) {
        char data[SIP];
        ssize_t len = sys_recv(fd, data, sizeof data);
        if (len == -EAGAIN) {
            break;
        }
        assert_true(len > 0);
        for (ssize_t j = 0; j < len; j++) {
            if (data[j] != byte_at(line->received + (size_t)j)) {
                fail_msg("byte %zu arrived wrong", line->received + (size_t)j);
            }
        }
        line->received += (size_t)len;
    }
    if (line->received == TOTAL) {
        reactor_stop(reactor);
    }
    reactor_deregister(reactor, fd);
    assert_true(reactor_set_timeout(reactor, line->received % 3 == 0, on_rested, line) != 0);
}

static void make_small(int fd)
{
    sys_set_option(fd, SOL_SOCKET, SO_SNDBUF, 1); /* the kernel makes it the least it allows */
    sys_set_option(fd, SOL_SOCKET, SO_RCVBUF, 1);
}

/* Two connected sockets with the smallest buffers there are. */
static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    make_small(listener);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    make_small(fds[0]);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&in, len), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    assert_int_equal(sys_set_option(fds[0], IPPROTO_TCP, TCP_NODELAY, 1), 0);
    close(listener);
}

static void make_unix_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    make_small(fds[0]);
    make_small(fds[1]);
}

static void line_open(struct pipe_line *line, bool tcp, bool edge)
{
    int fds[2];
    if (tcp) {
        make_tcp_pair(fds);
    } else {
        make_unix_pair(fds);
    }
    *line = (struct pipe_line){.writer = fds[0], .reader = fds[1], .edge = edge};
    sys_set_nonblocking(line->writer);
    sys_set_nonblocking(line->reader);
    write_buffer_init(&line->out);
    assert_int_equal(reactor_create(&line->reactor, NULL), 0);
    unsigned flags = edge ? REACTOR_WRITABLE | REACTOR_EDGE : 0U;
    assert_int_equal(reactor_register(line->reactor, line->writer, flags, on_writable, line), 0);
    assert_int_equal(reactor_register(line->reactor, line->reader, REACTOR_READABLE, on_readable, line), 0);
}

static void line_close(struct pipe_line *line)
{
    reactor_close(line->reactor, line->writer);
    reactor_close(line->reactor, line->reader);
    reactor_destroy(line->reactor);
    write_buffer_done(&line->out);
}

static void a_megabyte_through_tiny_buffers_and_a_slow_reader_arrives_intact(void **state)
{
    (void)state;
    int fds_before = open_fds();
    size_t blocks_before = fake_mem_live();
    for (int kind = 0; kind < 4; kind++) {
        struct pipe_line line;
        line_open(&line, kind & 1, kind & 2);
        pump(&line);
        assert_int_equal(reactor_run(line.reactor), 0);
        assert_int_equal(line.received, TOTAL);
        assert_int_equal(line.appended, TOTAL);
        assert_int_equal(write_buffer_len(&line.out), 0);
        assert_true(line.pendings > TOTAL / CAP); /* the socket was full many times: this was a slow reader */
        if (!line.edge) {
            assert_int_equal(line.idle_writables, 0); /* told only while bytes wait */
            assert_true(line.writables <= line.pendings);
        }
        line_close(&line);
        assert_int_equal(open_fds(), fds_before);
        assert_int_equal(fake_mem_live(), blocks_before);
    }
}

static void on_second_over(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    (void)arg;
    reactor_stop(reactor);
}

/* With everything sent and nothing coming, the one thing that wakes the loop in a second is the timer that ends it. */
static void an_idle_reactor_makes_no_wake_up_in_a_second(void **state)
{
    (void)state;
    struct pipe_line lines[2];
    for (int edge = 0; edge < 2; edge++) {
        line_open(&lines[edge], true, edge);
        pump(&lines[edge]);
        assert_int_equal(reactor_run(lines[edge].reactor), 0);
        while (reactor_run_once(lines[edge].reactor, 300) > 0) { /* the last acknowledgements */
        }
        struct reactor_counts before = reactor_counts(lines[edge].reactor);
        assert_true(reactor_set_timeout(lines[edge].reactor, 1000, on_second_over, NULL) != 0);
        assert_int_equal(reactor_run(lines[edge].reactor), 0);
        struct reactor_counts after = reactor_counts(lines[edge].reactor);
        assert_int_equal(after.ticks - before.ticks, 1);
        assert_int_equal(after.events - before.events, 0);
        line_close(&lines[edge]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_megabyte_through_tiny_buffers_and_a_slow_reader_arrives_intact),
        cmocka_unit_test(an_idle_reactor_makes_no_wake_up_in_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
