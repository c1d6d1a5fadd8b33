/* core/sys.c on the real kernel: the promises of core/sys.h that a fake cannot keep. */

#include "core/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NS_PER_MS INT64_C(1000000)

/* A thing that sends on fd to a peer that is gone. file_fd is there for sendfile(2). */
typedef ssize_t (*sender_fn)(int fd, int file_fd);

static ssize_t send_plain(int fd, int file_fd)
{
    (void)file_fd;
    return sys_send(fd, "data", 4, false);
}

static ssize_t send_more(int fd, int file_fd)
{
    (void)file_fd;
    return sys_send(fd, "data", 4, true);
}

static ssize_t send_vector(int fd, int file_fd)
{
    (void)file_fd;
    char data[] = "data";
    struct iovec parts[2] = {{.iov_base = data, .iov_len = 2}, {.iov_base = data + 2, .iov_len = 2}};
    return sys_sendv(fd, parts, 2);
}

static ssize_t send_file(int fd, int file_fd)
{
    off_t offset = 0;
    return sys_sendfile(fd, file_fd, &offset, 4);
}

static const struct {
    const char *name;
    sender_fn send;
} senders[] = {{"sys_send", send_plain},
               {"sys_send more", send_more},
               {"sys_sendv", send_vector},
               {"sys_sendfile", send_file}};

enum { SENDERS = sizeof senders / sizeof senders[0] };

/* A file with text, already removed from its folder. */
static int file_with(const char *text)
{
    char path[] = "/tmp/evserve-sys-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
}

/* A socket whose peer is gone. */
static int widow(void)
{
    int fds[2];
    make_pair(fds);
    close(fds[1]);
    return fds[0];
}

/* Returns when fd is readable; the kernel may need a moment even on the loopback. */
static void wait_readable(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (poll(&poller, 1, -1) != 1) {
    }
}

static bool sigpipe_is_pending(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    assert_int_equal(sigpending(&pending), 0);
    return sigismember(&pending, SIGPIPE) == 1;
}

static sigset_t thread_mask(void)
{
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    return mask;
}

static void set_sigpipe_blocked(bool blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    assert_int_equal(pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), 0);
}

static void assert_same_mask(const sigset_t *a, const sigset_t *b)
{
    for (int number = 1; number < NSIG; number++) {
        assert_int_equal(sigismember(a, number), sigismember(b, number));
    }
}

static volatile sig_atomic_t sigpipes;

static void on_sigpipe(int number)
{
    (void)number;
    sigpipes++;
}

/* The control: without the door's care this very peer raises SIGPIPE, so the tests below can fail. */
static void a_plain_write_to_a_lost_peer_raises_sigpipe(void **state)
{
    (void)state;
    signal(SIGPIPE, on_sigpipe);
    sigpipes = 0;
    int fd = widow();
    assert_int_equal(write(fd, "data", 4), -1);
    assert_int_equal(sigpipes, 1);
    close(fd);
    signal(SIGPIPE, SIG_DFL);
}

static void a_lost_peer_is_epipe_and_never_a_signal(void **state)
{
    (void)state;
    int file_fd = file_with("data");
    signal(SIGPIPE, on_sigpipe);
    sigpipes = 0;
    for (int i = 0; i < SENDERS; i++) {
        sigset_t before = thread_mask();
        int fd = widow();
        assert_int_equal(senders[i].send(fd, file_fd), -EPIPE);
        assert_int_equal(senders[i].send(fd, file_fd), -EPIPE);
        close(fd);
        sigset_t after = thread_mask();
        assert_same_mask(&before, &after);
        assert_false(sigpipe_is_pending());
        if (sigpipes != 0) {
            fail_msg("%s raised SIGPIPE", senders[i].name);
        }
    }
    signal(SIGPIPE, SIG_DFL);
    close(file_fd);
}

enum { LARGE_BYTES = 64 * 1024 * 1024 }; /* more than a socket takes */

/* A TCP socket whose peer closed it in an orderly way: the first bytes sent there bring a reset back. */
static int tcp_widow(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    close(listener);
    close(peer);
    wait_readable(fd);
    return fd;
}

/* The peer is lost in the middle of one call: sendfile() then tells how much it sent, and raises SIGPIPE all the
 * same. */
static void a_peer_lost_in_the_middle_of_a_sendfile_is_no_signal(void **state)
{
    (void)state;
    int file_fd = file_with("");
    assert_int_equal(ftruncate(file_fd, LARGE_BYTES), 0);
    signal(SIGPIPE, on_sigpipe);
    sigpipes = 0;
    int fd = tcp_widow();
    off_t offset = 0;
    ssize_t sent = sys_sendfile(fd, file_fd, &offset, LARGE_BYTES);
    assert_true(sent > 0 && sent < LARGE_BYTES);
    assert_int_equal(sigpipes, 0);
    assert_false(sigpipe_is_pending());
    signal(SIGPIPE, SIG_DFL);
    close(fd);
    close(file_fd);
}

static void a_host_that_blocks_sigpipe_finds_it_blocked_and_not_pending(void **state)
{
    (void)state;
    int file_fd = file_with("data");
    set_sigpipe_blocked(true);
    sigset_t before = thread_mask();
    for (int i = 0; i < SENDERS; i++) {
        int fd = widow();
        assert_int_equal(senders[i].send(fd, file_fd), -EPIPE);
        close(fd);
        sigset_t after = thread_mask();
        assert_same_mask(&before, &after);
        if (sigpipe_is_pending()) {
            fail_msg("%s left SIGPIPE pending", senders[i].name);
        }
    }
    set_sigpipe_blocked(false);
    close(file_fd);
}

static void a_sigpipe_that_was_pending_stays_pending(void **state)
{
    (void)state;
    int file_fd = file_with("data");
    signal(SIGPIPE, on_sigpipe);
    for (int i = 0; i < SENDERS; i++) {
        for (int directed = 0; directed < 2; directed++) { /* at the thread, at the process */
            set_sigpipe_blocked(true);
            sigpipes = 0;
            if (directed == 0) {
                pthread_kill(pthread_self(), SIGPIPE);
            } else {
                kill(getpid(), SIGPIPE);
            }
            assert_true(sigpipe_is_pending());
            int fd = widow();
            assert_int_equal(senders[i].send(fd, file_fd), -EPIPE);
            close(fd);
            if (!sigpipe_is_pending()) {
                fail_msg("%s took the host's own SIGPIPE away", senders[i].name);
            }
            set_sigpipe_blocked(false);
            assert_true(sigpipes >= 1);
        }
    }
    signal(SIGPIPE, SIG_DFL);
    close(file_fd);
}

static void other_signals_are_not_touched(void **state)
{
    (void)state;
    int file_fd = file_with("data");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    pthread_kill(pthread_self(), SIGUSR1);
    sigset_t before = thread_mask();
    int fd = widow();
    assert_int_equal(send_file(fd, file_fd), -EPIPE);
    close(fd);
    sigset_t after = thread_mask();
    sigset_t pending;
    assert_same_mask(&before, &after);
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGUSR1), 1);
    struct timespec zero = {0};
    assert_int_equal(sigtimedwait(&set, NULL, &zero), SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    close(file_fd);
}

static void sendfile_moves_the_offset_by_its_result_and_not_the_file_position(void **state)
{
    (void)state;
    int fds[2];
    make_pair(fds);
    int file_fd = file_with("0123456789");
    off_t offset = 2;
    assert_int_equal(lseek(file_fd, 7, SEEK_SET), 7);
    assert_int_equal(sys_sendfile(fds[0], file_fd, &offset, 3), 3);
    assert_int_equal(offset, 5);
    assert_int_equal(sys_sendfile(fds[0], file_fd, &offset, 100), 5);
    assert_int_equal(offset, 10);
    assert_int_equal(sys_sendfile(fds[0], file_fd, &offset, 100), 0); /* the file ends before the offset */
    assert_int_equal(lseek(file_fd, 0, SEEK_CUR), 7);
    char got[16];
    assert_int_equal(sys_recv(fds[1], got, sizeof got), 8);
    assert_memory_equal(got, "23456789", 8);
    close(fds[0]);
    close(fds[1]);
    close(file_fd);
}

static void failures_are_minus_errno(void **state)
{
    (void)state;
    char byte = 0;
    struct stat st;
    struct epoll_event event;
    off_t offset = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    assert_int_equal(sys_recv(-1, &byte, 1), -EBADF);
    assert_int_equal(sys_send(-1, &byte, 1, false), -EBADF);
    assert_int_equal(sys_sendv(-1, &part, 1), -EBADF);
    assert_int_equal(sys_sendfile(-1, -1, &offset, 1), -EBADF);
    assert_int_equal(sys_pread(-1, &byte, 1, 0), -EBADF);
    assert_int_equal(sys_stat(-1, &st), -EBADF);
    assert_int_equal(sys_stat_at(AT_FDCWD, "/no/such/file", &st), -ENOENT);
    assert_int_equal(sys_read_dir(-1, &byte, 1), -EBADF);
    assert_int_equal(sys_close(-1), -EBADF);
    assert_int_equal(sys_duplicate(-1), -EBADF);
    assert_int_equal(sys_set_nonblocking(-1), -EBADF);
    assert_int_equal(sys_shutdown_write(-1), -EBADF);
    assert_int_equal(sys_get_option(-1, SOL_SOCKET, SO_ERROR), -EBADF);
    assert_int_equal(sys_set_option(-1, SOL_SOCKET, SO_REUSEADDR, 1), -EBADF);
    assert_int_equal(sys_accept(-1, NULL, NULL), -EBADF);
    assert_int_equal(sys_listen(-1, 1), -EBADF);
    assert_int_equal(sys_epoll_add(-1, -1, 0, 0), -EBADF);
    assert_int_equal(sys_epoll_wait(-1, &event, 1, 0), -EBADF);
    assert_int_equal(sys_epoll_wait(-1, &event, 1, -1), -EBADF);
    assert_int_equal(sys_epoll_wait(-1, &event, 1, 1), -EBADF);
    assert_int_equal(sys_eventfd_wake(-1), -EBADF);
    assert_int_equal(sys_timerfd_set(-1, 1), -EBADF);
    assert_int_equal(sys_open(AT_FDCWD, "/no/such/file", O_RDONLY), -ENOENT);
    assert_int_equal(sys_read_link(AT_FDCWD, "/", &byte, 1), -EINVAL);
    assert_int_equal(sys_unlink(AT_FDCWD, "/no/such/file"), -ENOENT);
}

static void assert_close_on_exec(int fd)
{
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void assert_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

static void every_new_fd_is_close_on_exec_and_every_socket_non_blocking(void **state)
{
    (void)state;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int listener = sys_socket(AF_INET);
    assert_int_equal(sys_bind(listener, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(sys_listen(listener, 8), 0);
    assert_int_equal(sys_socket_name(listener, (struct sockaddr *)&any, &len), 0);
    assert_int_equal(len, sizeof any);
    int client = sys_socket(AF_INET);
    assert_int_equal(sys_connect(client, (struct sockaddr *)&any, len), -EINPROGRESS);
    struct sockaddr_in peer;
    len = sizeof peer;
    wait_readable(listener);
    int accepted = sys_accept(listener, (struct sockaddr *)&peer, &len);
    assert_int_equal(sys_accept(listener, NULL, NULL), -EAGAIN);
    struct sockaddr_in client_name;
    socklen_t client_len = sizeof client_name;
    assert_int_equal(sys_socket_name(client, (struct sockaddr *)&client_name, &client_len), 0);
    assert_int_equal(peer.sin_port, client_name.sin_port);

    int sockets[] = {listener, client, accepted, sys_socket(AF_INET6), sys_socket(AF_UNIX)};
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        if (sockets[i] == -EAFNOSUPPORT) {
            continue; /* a machine without IPv6 */
        }
        assert_close_on_exec(sockets[i]);
        assert_nonblocking(sockets[i]);
    }
    int eventfd = sys_eventfd_create();
    int timerfd = sys_timerfd_create();
    assert_nonblocking(eventfd);
    assert_nonblocking(timerfd);
    int dir = sys_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
    int others[] = {eventfd,
                    timerfd,
                    dir,
                    sys_epoll_create(),
                    sys_open(AT_FDCWD, "/dev/null", O_RDONLY),
                    sys_open_beneath(dir, "dev", O_RDONLY),
                    sys_duplicate(listener)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (others[i] != -ENOSYS) { /* openat2(2) is newer than some kernels */
            assert_close_on_exec(others[i]);
            close(others[i]);
        }
    }
    for (size_t i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
        close(sockets[i]);
    }
}

static void a_duplicate_is_above_the_standard_streams(void **state)
{
    (void)state;
    int fd = sys_duplicate(0);
    assert_true(fd >= 3);
    close(fd);
}

static void set_nonblocking_keeps_other_flags(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_APPEND), 0);
    assert_int_equal(sys_set_nonblocking(fds[1]), 0);
    assert_int_equal(fcntl(fds[1], F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);
    close(fds[0]);
    close(fds[1]);
}

static void recv_tells_nothing_yet_from_the_end(void **state)
{
    (void)state;
    int fds[2];
    make_pair(fds);
    char buf[8];
    assert_int_equal(sys_recv(fds[0], buf, sizeof buf), -EAGAIN);
    assert_int_equal(sys_send(fds[1], "abc", 3, false), 3);
    assert_int_equal(sys_shutdown_write(fds[1]), 0);
    assert_int_equal(sys_recv(fds[0], buf, sizeof buf), 3);
    assert_int_equal(sys_recv(fds[0], buf, sizeof buf), 0);
    assert_int_equal(sys_send(fds[0], "def", 3, false), 3); /* the other direction is open */
    assert_int_equal(sys_recv(fds[1], buf, sizeof buf), 3);
    close(fds[0]);
    close(fds[1]);
}

/* A wait for timeout_ns on epoll, in nanoseconds. */
static int64_t timed_wait(int epoll, int64_t timeout_ns, int expected)
{
    struct epoll_event events[4];
    int64_t start = sys_now_ns();
    assert_int_equal(sys_epoll_wait(epoll, events, 4, timeout_ns), expected);
    return sys_now_ns() - start;
}

/* Only lower bounds: how late a wait ends is the machine's affair. */
static void epoll_waits_no_shorter_than_it_is_told(void **state)
{
    (void)state;
    int epoll = sys_epoll_create();
    timed_wait(epoll, 0, 0);
    assert_true(timed_wait(epoll, 1, 0) >= 1);
    assert_true(timed_wait(epoll, 300000, 0) >= 300000);
    assert_true(timed_wait(epoll, 20 * NS_PER_MS, 0) >= 20 * NS_PER_MS);
    close(epoll);
}

static void epoll_tells_what_is_ready_with_the_data_that_was_given(void **state)
{
    (void)state;
    int epoll = sys_epoll_create();
    int fds[2];
    make_pair(fds);
    struct epoll_event events[4];
    uint64_t data = UINT64_C(0x0123456789abcdef);
    assert_int_equal(sys_epoll_add(epoll, fds[0], EPOLLIN, data), 0);
    assert_int_equal(sys_epoll_add(epoll, fds[0], EPOLLIN, data), -EEXIST);
    assert_int_equal(sys_epoll_wait(epoll, events, 4, 0), 0);
    assert_int_equal(sys_send(fds[1], "x", 1, false), 1);
    assert_int_equal(sys_epoll_wait(epoll, events, 4, -1), 1); /* for ever, but it is ready */
    assert_int_equal(events[0].events, EPOLLIN);
    assert_true(events[0].data.u64 == data);
    assert_int_equal(sys_epoll_wait(epoll, events, 4, 1000000 * NS_PER_MS), 1);
    assert_int_equal(sys_epoll_modify(epoll, fds[0], EPOLLOUT, data + 1), 0);
    assert_int_equal(sys_epoll_wait(epoll, events, 4, 0), 1);
    assert_int_equal(events[0].events, EPOLLOUT);
    assert_true(events[0].data.u64 == data + 1);
    assert_int_equal(sys_epoll_delete(epoll, fds[0]), 0);
    assert_int_equal(sys_epoll_delete(epoll, fds[0]), -ENOENT);
    assert_int_equal(sys_epoll_wait(epoll, events, 4, 0), 0);
    close(epoll);
    close(fds[0]);
    close(fds[1]);
}

static void on_alarm(int number)
{
    (void)number;
}

static void a_signal_ends_a_wait_with_eintr(void **state)
{
    (void)state;
    int epoll = sys_epoll_create();
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    struct epoll_event event;
    int64_t timeouts[] = {-1, 3600000 * NS_PER_MS};
    for (int i = 0; i < 2; i++) {
        struct itimerval when = {.it_value.tv_usec = 10000, .it_interval.tv_usec = 10000};
        setitimer(ITIMER_REAL, &when, NULL); /* again and again, should the first one come before the wait */
        assert_int_equal(sys_epoll_wait(epoll, &event, 1, timeouts[i]), -EINTR);
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    }
    signal(SIGALRM, SIG_DFL);
    close(epoll);
}

static void eventfd_wakes_and_leaves_errno_alone(void **state)
{
    (void)state;
    int fd = sys_eventfd_create();
    int epoll = sys_epoll_create();
    struct epoll_event event;
    assert_int_equal(sys_epoll_add(epoll, fd, EPOLLIN | (uint32_t)EPOLLET, 7), 0);
    assert_int_equal(sys_epoll_wait(epoll, &event, 1, 0), 0);
    for (int i = 0; i < 3; i++) { /* each wake is an edge of its own: nobody reads the counter */
        assert_int_equal(sys_eventfd_wake(fd), 0);
        assert_int_equal(sys_epoll_wait(epoll, &event, 1, 0), 1);
        assert_int_equal(sys_epoll_wait(epoll, &event, 1, 0), 0);
    }
    errno = ENOTTY;
    assert_int_equal(sys_eventfd_wake(-1), -EBADF);
    assert_int_equal(errno, ENOTTY);
    close(epoll);
    close(fd);
}

static void timerfd_fires_at_an_absolute_time_and_is_disarmed_by_zero(void **state)
{
    (void)state;
    int fd = sys_timerfd_create();
    int epoll = sys_epoll_create();
    assert_int_equal(sys_epoll_add(epoll, fd, EPOLLIN | (uint32_t)EPOLLET, 0), 0);
    int64_t start = sys_now_ns();
    assert_int_equal(sys_timerfd_set(fd, start + 15 * NS_PER_MS), 0);
    struct epoll_event event;
    assert_int_equal(sys_epoll_wait(epoll, &event, 1, -1), 1);
    assert_true(sys_now_ns() - start >= 15 * NS_PER_MS);
    assert_int_equal(sys_timerfd_set(fd, 1), 0); /* long past */
    assert_int_equal(sys_epoll_wait(epoll, &event, 1, -1), 1);
    assert_int_equal(sys_timerfd_set(fd, sys_now_ns() + NS_PER_MS), 0);
    assert_int_equal(sys_timerfd_set(fd, 0), 0);
    assert_int_equal(timed_wait(epoll, 5 * NS_PER_MS, 0) >= 5 * NS_PER_MS, true);
    close(epoll);
    close(fd);
}

static void clocks_advance_and_agree_with_the_system(void **state)
{
    (void)state;
    int64_t first = sys_now_ns();
    assert_true(sys_now_ns() >= first);
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    assert_true(now >= first);
    int64_t before = time(NULL);
    int64_t wall = sys_wall_time_s();
    assert_true(before <= wall && wall <= time(NULL));
}

static void processor_time_moves_only_while_the_thread_works(void **state)
{
    (void)state;
    int64_t first = sys_thread_cpu_ns();
    while (sys_thread_cpu_ns() - first < 2 * NS_PER_MS) {
    }
    int64_t wall = sys_now_ns();
    first = sys_thread_cpu_ns();
    usleep(30000);
    int64_t worked = sys_thread_cpu_ns() - first;
    assert_true(worked >= 0);
    assert_true(worked < sys_now_ns() - wall);
}

static void code_may_be_made_until_the_process_gives_that_up(void **state)
{
    (void)state;
    assert_int_equal(sys_try_code(), 0);
    pid_t pid = fork();
    if (pid == 0) {
        enum { SET_MDWE = 65, REFUSE_EXEC_GAIN = 1 }; /* PR_SET_MDWE of Linux 6.3 */
        bool is_known = prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0L, 0L, 0L) == 0;
        _exit(!is_known || sys_try_code() == -EACCES ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Linux 6.2 and later tell how many there are; before that, sys_open_fds() knows nothing and says 0. */
static void open_fds_are_counted(void **state)
{
    (void)state;
    uint64_t before = sys_open_fds();
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = dup(STDIN_FILENO);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(sys_open_fds(), before == 0 ? 0 : before + 3);
    for (size_t i = 0; i < 3; i++) {
        close(fds[i]);
    }
    assert_int_equal(sys_open_fds(), before);
}

static void random_bytes_fill_the_block_and_differ(void **state)
{
    (void)state;
    unsigned char one[18] = {0};
    unsigned char other[16] = {0};
    assert_int_equal(sys_random(one, 16), 0);
    assert_int_equal(sys_random(other, 16), 0);
    assert_memory_not_equal(one, other, 16);
    assert_int_equal(one[16] | one[17], 0); /* and no more than the block */
    unsigned char block[256] = {0};
    unsigned char last = 0;
    for (int i = 0; i < 16; i++) {
        assert_int_equal(sys_random(block, sizeof block), 0);
        last |= block[sizeof block - 1];
    }
    assert_int_not_equal(last, 0); /* to the end of the largest block, but for a chance of 2^-128 */
}

/* A connected TCP pair, the server's end first. */
static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int listener = sys_socket(AF_INET);
    assert_int_equal(sys_bind(listener, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(sys_listen(listener, 8), 0);
    assert_int_equal(sys_socket_name(listener, (struct sockaddr *)&any, &len), 0);
    fds[1] = sys_socket(AF_INET);
    sys_connect(fds[1], (struct sockaddr *)&any, len);
    wait_readable(listener);
    fds[0] = sys_accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    assert_int_equal(sys_set_option(fds[0], IPPROTO_TCP, TCP_NODELAY, 1), 0);
    assert_true(sys_get_option(fds[0], IPPROTO_TCP, TCP_NODELAY) > 0);
    close(listener);
}

/* Fill the socket of fds[0], and let the other end take bytes: the first may say so before it has room again. */
static void assert_unsent_bytes_go_down(int fds[2])
{
    static char bytes[65536];
    while (sys_send(fds[0], bytes, sizeof bytes, false) > 0) {
    }
    int before = sys_unsent_bytes(fds[0]);
    assert_true(before > 0);
    int after = before;
    for (int i = 0; i < 1000 && after >= before; i++) {
        wait_readable(fds[1]);
        assert_true(sys_recv(fds[1], bytes, sizeof bytes) > 0);
        after = sys_unsent_bytes(fds[0]);
    }
    assert_in_range(after, 0, before - 1);
    close(fds[0]);
    close(fds[1]);
}

static void unsent_bytes_become_less_when_the_peer_takes_some(void **state)
{
    (void)state;
    int fds[2];
    make_tcp_pair(fds);
    assert_unsent_bytes_go_down(fds);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_unsent_bytes_go_down(fds);
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_true(sys_unsent_bytes(pipe_fds[1]) < 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Send 4 bytes and 4 more. Returns how many segments it took. */
static unsigned send_twice(bool more)
{
    int fds[2];
    make_tcp_pair(fds);
    assert_int_equal(sys_send(fds[0], "head", 4, more), 4);
    assert_int_equal(sys_send(fds[0], "body", 4, false), 4);
    struct tcp_info info;
    socklen_t len = sizeof info;
    assert_int_equal(getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    close(fds[0]);
    close(fds[1]);
    return info.tcpi_data_segs_out;
}

static void more_joins_two_sends_into_one_segment(void **state)
{
    (void)state;
    assert_int_equal(send_twice(false), 2);
    int tries = 0;
    while (send_twice(true) != 1) { /* the kernel holds it back for 200 ms: a thread may be stopped longer than that */
        assert_true(++tries < 20);
    }
}

static void a_directory_is_read_and_its_links_are_looked_at_and_not_through(void **state)
{
    (void)state;
    char folder[] = "/tmp/evserve-sys-XXXXXX";
    assert_non_null(mkdtemp(folder));
    int dir = sys_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    assert_true(dir >= 0);
    assert_int_equal(symlinkat("/", dir, "link"), 0);
    struct stat st;
    assert_int_equal(sys_stat_at(dir, "link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(sys_stat_at(dir, "nothing", &st), -ENOENT);
    assert_int_equal(sys_stat(dir, &st), 0);
    assert_true(S_ISDIR(st.st_mode));

    _Alignas(struct dirent64) char buf[1024];
    int names = 0;
    int links = 0;
    ssize_t len;
    while ((len = sys_read_dir(dir, buf, sizeof buf)) > 0) {
        for (ssize_t at = 0; at < len;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(buf + at);
            names++;
            links += strcmp(entry->d_name, "link") == 0;
            at += entry->d_reclen;
        }
    }
    assert_int_equal(len, 0);
    assert_int_equal(names, 3); /* with "." and ".." */
    assert_int_equal(links, 1);
    assert_int_equal(sys_read_dir(-1, buf, sizeof buf), -EBADF);
    assert_int_equal(unlinkat(dir, "link", 0), 0);
    close(dir);
    assert_int_equal(rmdir(folder), 0);
}

static void datagram_arrives_whole_and_a_refused_one_leaves_no_fd(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0); /* the kernel finds an abstract name */
    len = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    int sender = sys_connect_datagram((struct sockaddr *)&address, len);
    assert_true(sender >= 0);
    assert_int_equal(sys_send(sender, "READY=1", 7, false), 7);
    char text[16] = "";
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), 7);
    assert_string_equal(text, "READY=1");
    close(fd);
    assert_int_equal(sys_send(sender, "READY=1", 7, false), -ECONNREFUSED);
    close(sender);
    assert_int_equal(sys_connect_datagram((struct sockaddr *)&address, len), -ECONNREFUSED);
    int after = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    close(after);
    assert_int_equal(after, fd);
}

static void new_fds_never_have_the_numbers_of_standard_ones(void **state)
{
    (void)state;
    int kept = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    int listener = sys_socket(AF_UNIX);
    struct sockaddr_un any = {.sun_family = AF_UNIX}; /* the kernel picks an abstract name */
    socklen_t len = sizeof any;
    assert_int_equal(sys_bind(listener, (struct sockaddr *)&any, sizeof any.sun_family), 0);
    assert_int_equal(sys_socket_name(listener, (struct sockaddr *)&any, &len), 0);
    assert_int_equal(sys_listen(listener, 1), 0);
    int client = sys_socket(AF_UNIX);
    assert_int_equal(sys_connect(client, (struct sockaddr *)&any, len), 0);
    close(STDIN_FILENO);
    int fds[] = {sys_epoll_create(),
                 sys_eventfd_create(),
                 sys_timerfd_create(),
                 sys_socket(AF_INET),
                 sys_accept(listener, NULL, NULL),
                 sys_open(AT_FDCWD, "/dev/null", O_RDONLY),
                 sys_duplicate(listener)};
    bool is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
    int flags[sizeof fds / sizeof fds[0]];
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        flags[i] = fcntl(fds[i], F_GETFD);
        close(fds[i]);
    }
    dup2(kept, STDIN_FILENO);
    close(kept);
    close(client);
    close(listener);
    assert_true(is_free);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        assert_in_range(fds[i], 3, 1000);
        assert_int_equal(flags[i], FD_CLOEXEC);
    }
}

static void a_standard_number_is_given_back_when_no_other_is_left(void **state)
{
    (void)state;
    struct rlimit before, narrow;
    int kept = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    close(STDIN_FILENO);
    getrlimit(RLIMIT_NOFILE, &before);
    narrow = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &narrow);
    int fd = sys_socket(AF_INET);
    setrlimit(RLIMIT_NOFILE, &before);
    bool is_free = fcntl(STDIN_FILENO, F_GETFD) < 0;
    dup2(kept, STDIN_FILENO);
    close(kept);
    assert_int_equal(fd, -EMFILE);
    assert_true(is_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagram_arrives_whole_and_a_refused_one_leaves_no_fd),
        cmocka_unit_test(unsent_bytes_become_less_when_the_peer_takes_some),
        cmocka_unit_test(a_plain_write_to_a_lost_peer_raises_sigpipe),
        cmocka_unit_test(a_lost_peer_is_epipe_and_never_a_signal),
        cmocka_unit_test(a_peer_lost_in_the_middle_of_a_sendfile_is_no_signal),
        cmocka_unit_test(a_host_that_blocks_sigpipe_finds_it_blocked_and_not_pending),
        cmocka_unit_test(a_sigpipe_that_was_pending_stays_pending),
        cmocka_unit_test(other_signals_are_not_touched),
        cmocka_unit_test(sendfile_moves_the_offset_by_its_result_and_not_the_file_position),
        cmocka_unit_test(failures_are_minus_errno),
        cmocka_unit_test(every_new_fd_is_close_on_exec_and_every_socket_non_blocking),
        cmocka_unit_test(a_duplicate_is_above_the_standard_streams),
        cmocka_unit_test(new_fds_never_have_the_numbers_of_standard_ones),
        cmocka_unit_test(a_standard_number_is_given_back_when_no_other_is_left),
        cmocka_unit_test(set_nonblocking_keeps_other_flags),
        cmocka_unit_test(recv_tells_nothing_yet_from_the_end),
        cmocka_unit_test(epoll_waits_no_shorter_than_it_is_told),
        cmocka_unit_test(epoll_tells_what_is_ready_with_the_data_that_was_given),
        cmocka_unit_test(a_signal_ends_a_wait_with_eintr),
        cmocka_unit_test(eventfd_wakes_and_leaves_errno_alone),
        cmocka_unit_test(timerfd_fires_at_an_absolute_time_and_is_disarmed_by_zero),
        cmocka_unit_test(clocks_advance_and_agree_with_the_system),
        cmocka_unit_test(processor_time_moves_only_while_the_thread_works),
        cmocka_unit_test(code_may_be_made_until_the_process_gives_that_up),
        cmocka_unit_test(open_fds_are_counted),
        cmocka_unit_test(random_bytes_fill_the_block_and_differ),
        cmocka_unit_test(a_directory_is_read_and_its_links_are_looked_at_and_not_through),
        cmocka_unit_test(more_joins_two_sends_into_one_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
