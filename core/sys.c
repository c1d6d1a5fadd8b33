/* The door to the real kernel: one system call a function and no policy, with two exceptions. sendfile(2) has no
 * MSG_NOSIGNAL, so sys_sendfile() keeps SIGPIPE from the calling thread by hand, since a library must not touch the
 * process's dispositions. And no new fd has the number of a standard one (verdict_fd()). */

#include "core/sys.h"

#include "core/units.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Calls that are newer than the C libraries and kernel headers we compile with: openat2(2) since Linux 5.6,
 * epoll_pwait2(2) since 5.11, fchmodat2(2) since 6.6. The numbers are the same on every architecture. */
enum { CALL_OPENAT2 = 437, CALL_EPOLL_PWAIT2 = 441, CALL_FCHMODAT2 = 452 };

/* Of <linux/openat2.h>. */
enum { STAY_BENEATH = 0x08, NO_MAGICLINKS = 0x02 }; /* RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS */
struct open_ways {
    uint64_t flags, mode, resolve; /* struct open_how */
};

/* What epoll_pwait2(2) takes, on machines with a time_t of 32 bits, too (struct __kernel_timespec). */
struct kernel_time {
    int64_t s;
    int64_t ns;
};

#if !defined SIOCOUTQ /* <linux/sockios.h> */
#define SIOCOUTQ TIOCOUTQ
#endif

#if !defined SIOCUNIXFILE /* <linux/un.h>, since Linux 4.13; beside <sys/un.h> that cannot be included */
#define SIOCUNIXFILE SIOCPROTOPRIVATE
#endif

/* The result of a system call in our convention. */
static int verdict(int result)
{
    return result < 0 ? -errno : result;
}

/* The result of a system call that makes an fd. In a process that started without standard fds the kernel hands out
 * their numbers first, and text written to standard error would reach a client. So such an fd moves above them. */
static int verdict_fd(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return verdict(fd);
    }
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    above = above == -1 && errno == EINVAL ? -EMFILE : verdict(above); /* EINVAL: no number above is allowed at all */
    close(fd);
    return above;
}

static ssize_t verdict_size(ssize_t result)
{
    return result < 0 ? -errno : result;
}

static _Atomic int64_t shift_ns; /* of the clocks */

void sys_shift_clocks(int64_t ns)
{
    atomic_fetch_add_explicit(&shift_ns, ns, memory_order_relaxed);
}

int64_t sys_shift_ns(void)
{
    return atomic_load_explicit(&shift_ns, memory_order_relaxed);
}

int64_t sys_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec + sys_shift_ns();
}

int64_t sys_coarse_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec + sys_shift_ns();
}

int64_t sys_wall_time_s(void)
{
    return sys_shift_ns() == 0 ? time(NULL) : sys_wall_time_ms() / 1000;
}

int64_t sys_wall_time_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + (ts.tv_nsec + sys_shift_ns()) / NS_PER_MS;
}

int64_t sys_thread_cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int sys_try_code(void)
{
    size_t len = (size_t)sysconf(_SC_PAGESIZE);
    char *page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    page[0] = 1; /* SELinux looks at that */
    int rv = verdict(mprotect(page, len, PROT_READ | PROT_EXEC));
    munmap(page, len);
    return rv;
}

void sys_sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * NS_PER_MS}, NULL);
}

unsigned sys_processors(void)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return count < 1 ? 1 : (unsigned)count;
}

uid_t sys_user_id(void)
{
    return geteuid();
}

pid_t sys_process_id(void)
{
    return getpid();
}

int sys_random(void *buf, size_t len)
{
    ssize_t got = getrandom(buf, len, 0); /* up to 256 bytes come whole, whatever signals do */
    return got < 0 ? -errno : 0;
}

int sys_epoll_create(void)
{
    return verdict_fd(epoll_create1(EPOLL_CLOEXEC));
}

static int epoll_change(int epoll_fd, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return verdict(epoll_ctl(epoll_fd, operation, fd, &event));
}

int sys_epoll_add(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    return epoll_change(epoll_fd, EPOLL_CTL_ADD, fd, events, data);
}

int sys_epoll_modify(int epoll_fd, int fd, uint32_t events, uint64_t data)
{
    return epoll_change(epoll_fd, EPOLL_CTL_MOD, fd, events, data);
}

int sys_epoll_delete(int epoll_fd, int fd)
{
    return epoll_change(epoll_fd, EPOLL_CTL_DEL, fd, 0, 0);
}

/* time_t has 64 bits on every machine (CMakeLists.txt), the nanoseconds have those of a long. */
static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = (long)(ns % NS_PER_S)};
}

int sys_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int64_t timeout_ns)
{
    if (timeout_ns <= 0) { /* without a clock to keep, the older call does and is a little cheaper */
        return sys_epoll_wait_ms(epoll_fd, events, max, timeout_ns < 0 ? -1 : 0);
    }
    struct kernel_time limit = {.s = timeout_ns / NS_PER_S, .ns = timeout_ns % NS_PER_S};
    return verdict((int)syscall(CALL_EPOLL_PWAIT2, epoll_fd, events, max, &limit, NULL, 0));
}

int sys_epoll_wait_ms(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    return verdict(epoll_wait(epoll_fd, events, max, timeout_ms));
}

int sys_eventfd_create(void)
{
    return verdict_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int sys_eventfd_wake(int fd)
{
    int saved = errno; /* a signal handler must leave errno as it was */
    uint64_t one = 1;
    int rv = write(fd, &one, sizeof one) < 0 ? -errno : 0;
    errno = saved;
    return rv;
}

int sys_timerfd_create(void)
{
    return verdict_fd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

int sys_timerfd_set(int fd, int64_t deadline_ns)
{
    int64_t real_ns = deadline_ns - sys_shift_ns();
    struct itimerspec when = {.it_value = to_timespec(deadline_ns == 0 ? 0 : real_ns > 0 ? real_ns : 1)};
    return verdict(timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL));
}

int sys_socket(int family)
{
    return verdict_fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int sys_datagram_socket(int family)
{
    return verdict_fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int sys_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return verdict(bind(fd, address, len));
}

int sys_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return verdict(connect(fd, address, len));
}

int sys_listen(int fd, int backlog)
{
    return verdict(listen(fd, backlog));
}

int sys_accept(int fd, struct sockaddr *peer, socklen_t *peer_len)
{
    return verdict_fd(accept4(fd, peer, peer_len, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int sys_socket_name(int fd, struct sockaddr *name, socklen_t *len)
{
    return verdict(getsockname(fd, name, len));
}

int sys_socket_file(int fd)
{
    return verdict_fd(ioctl(fd, SIOCUNIXFILE));
}

int sys_set_option(int fd, int level, int option, int value)
{
    return verdict(setsockopt(fd, level, option, &value, sizeof value));
}

int sys_get_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, option, &value, &len) < 0 ? -errno : value;
}

int sys_unread_bytes(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

int sys_unsent_bytes(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int sys_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : verdict(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int sys_reset_on_close(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    int rv = verdict(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    (void)connect(fd, &nobody,
                  sizeof nobody); /* a forked child may have the socket, so that the close does nothing yet */
    return rv;
}

int sys_shutdown_write(int fd)
{
    return verdict(shutdown(fd, SHUT_WR));
}

int sys_shutdown(int fd)
{
    return verdict(shutdown(fd, SHUT_RDWR));
}

ssize_t sys_recv(int fd, void *buf, size_t len)
{
    return verdict_size(recv(fd, buf, len, 0));
}

ssize_t sys_peek(int fd, void *buf, size_t len)
{
    return verdict_size(recv(fd, buf, len, MSG_PEEK));
}

ssize_t sys_send(int fd, const void *buf, size_t len, bool more)
{
    return verdict_size(send(fd, buf, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

ssize_t sys_sendv(int fd, const struct iovec *parts, size_t count)
{
    /* sendmsg(2) only reads the parts; msghdr has no const to say so. */
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts};
    message.msg_iovlen = (__typeof__(message.msg_iovlen))count; /* an int in musl */
    return verdict_size(sendmsg(fd, &message, MSG_NOSIGNAL));
}

int sys_connect_datagram(const struct sockaddr *address, socklen_t address_len)
{
    int fd = verdict_fd(socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd >= 0 && connect(fd, address, address_len) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static bool sigpipe_is_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

/* Take a SIGPIPE that became pending on this thread while it was blocked. */
static void swallow_sigpipe(const sigset_t *sigpipe)
{
    struct timespec zero = {0};
    while (sigtimedwait(sigpipe, NULL, &zero) < 0 && errno == EINTR) {
    }
}

ssize_t sys_sendfile(int fd, int file_fd, off_t *offset, size_t len)
{
    sigset_t sigpipe, before;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    bool was_blocked = sigismember(&before, SIGPIPE) == 1;
    bool was_pending = was_blocked && sigpipe_is_pending(); /* the host's own: not ours to take */

    ssize_t rv = verdict_size(sendfile(fd, file_fd, offset, len));

    /* A peer that is lost in the middle raises the signal too, but what comes back is how much was sent before. */
    bool is_cut = rv == -EPIPE || (rv >= 0 && (size_t)rv < len);
    if (is_cut && !was_pending && sigpipe_is_pending()) {
        swallow_sigpipe(&sigpipe);
    }
    if (!was_blocked) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return rv;
}

uint64_t sys_fd_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

uint64_t sys_open_fds(void)
{
    struct stat st;
    return stat("/proc/self/fd", &st) < 0 || st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

int sys_base(int base_fd)
{
    return base_fd > 0 ? base_fd : AT_FDCWD;
}

int sys_open(int dir_fd, const char *path, int flags)
{
    return verdict_fd(openat(dir_fd, path, flags | O_CLOEXEC));
}

int sys_open_beneath(int dir_fd, const char *path, int flags)
{
    struct open_ways how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = STAY_BENEATH | NO_MAGICLINKS,
    };
    return verdict_fd((int)syscall(CALL_OPENAT2, dir_fd, path, &how, sizeof how));
}

ssize_t sys_read_link(int dir_fd, const char *path, char *buf, size_t len)
{
    return verdict_size(readlinkat(dir_fd, path, buf, len));
}

int sys_stat(int fd, struct stat *st)
{
    return verdict(fstat(fd, st));
}

int sys_stat_at(int dir_fd, const char *name, struct stat *st)
{
    return verdict(fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW));
}

ssize_t sys_read_dir(int fd, void *buf, size_t len)
{
    return verdict_size(getdents64(fd, buf, len));
}

int sys_may_read(int dir_fd, const char *path)
{
    return verdict(faccessat(dir_fd, path, R_OK, AT_EACCESS));
}

int sys_unlink(int dir_fd, const char *path)
{
    return verdict(unlinkat(dir_fd, path, 0));
}

int sys_set_mode(int fd, mode_t mode)
{
    if (syscall(CALL_FCHMODAT2, fd, "", mode, AT_EMPTY_PATH) == 0) {
        return 0;
    }
    char path[32]; /* which leads to the file itself, whatever has its name by now */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return verdict(chmod(path, mode));
}

int sys_lock(int fd)
{
    return verdict(flock(fd, LOCK_EX | LOCK_NB));
}

ssize_t sys_read(int fd, void *buf, size_t len)
{
    return verdict_size(read(fd, buf, len));
}

ssize_t sys_pread(int fd, void *buf, size_t len, off_t offset)
{
    return verdict_size(pread(fd, buf, len, offset));
}

int sys_duplicate(int fd)
{
    return verdict(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

int sys_close(int fd)
{
    return verdict(close(fd));
}
