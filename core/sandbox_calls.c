/* The filter of system calls, as two tables.
 *
 * A new call belongs in free_calls only if no argument of it can reach beyond what the sandbox leaves; otherwise in
 * narrow_calls, with the arguments that are needed. Rules see the arguments themselves, not what a pointer leads to.
 * README.md, "The sandbox's system calls", says why each is there; a test compares the two.
 *
 * Free calls cost nothing: the kernel (5.11) knows beforehand that the filter lets them through. For a narrow one it
 * runs the filter, which takes some 50 ns. */

#include "core/sandbox_calls.h"

#include "core/destinations.h"
#include "core/sys.h"
#include "core/sys_rights.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#define INT UINT32_MAX /* the bits of an int: the kernel ignores the others */

/* Allowed with whatever arguments. */
static const char *const free_calls[] = {
    /* On fds that are open. */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "lseek",
    "sendfile",
    "close",
    "dup",
    "dup2",
    "dup3",
    "fstat",
    "getdents64",
    "flock",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fadvise64",
    /* On files: landlock decides which may be opened and changed. */
    "open",
    "openat",
    "openat2",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    /* On connections that are there, and on those that come to the addresses that are bound. */
    "accept",
    "accept4",
    "recvfrom",
    "shutdown",
    "getsockname",
    "getpeername",
    /* Waiting. */
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "timerfd_settime",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    /* Memory and threads of this process. */
    "munmap",
    "mremap",
    "brk",
    "futex",
    "set_robust_list",
    "rseq",
    "set_tid_address",
    "sched_yield",
    "exit",
    "exit_group",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "sigaltstack",
    /* Reading clocks and what this process is. */
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "gettid",
    "getpid",
    "sched_getaffinity",
    "getcpu",
    "getrandom",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "sysinfo",
    "getrlimit",
    /* The same on machines of 32 bits, under the names they have there, and what LuaJIT does there. */
    "_llseek",
    "clock_getres_time64",
    "clock_gettime64",
    "clock_nanosleep_time64",
    "fadvise64_64",
    "arm_fadvise64_64",
    "fstat64",
    "fstatat64",
    "ftruncate64",
    "futex_time64",
    "getegid32",
    "geteuid32",
    "getgid32",
    "getuid32",
    "lstat64",
    "ppoll_time64",
    "pselect6_time64",
    "recv",
    "rt_sigtimedwait_time64",
    "sendfile64",
    "sigreturn",
    "stat64",
    "timerfd_settime64",
    "ugetrlimit",
    "cacheflush",
    "riscv_flush_icache",
};

/* Of newer headers than we may have, or of the kernel's own. */
enum {
    NO_REPLACE = 1, /* RENAME_NOREPLACE of <linux/fs.h>, and RENAME_EXCHANGE */
    EXCHANGE = 2,
    BARRIER_QUERY = 0,             /* MEMBARRIER_CMD_QUERY of <linux/membarrier.h>, */
    BARRIER_PRIVATE = 1 << 3,      /* MEMBARRIER_CMD_PRIVATE_EXPEDITED, */
    BARRIER_REGISTER = 1 << 4,     /* MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED */
    SOCKET_UNSENT = TIOCOUTQ,      /* SIOCOUTQ of <linux/sockios.h> */
    PR_SET_VMA_NAMES = 0x53564d41, /* PR_SET_VMA of <linux/prctl.h> */
    MADV_GUARDS = 102,             /* MADV_GUARD_INSTALL of <asm-generic/mman-common.h>: stacks of glibc 2.42 */
    MADV_GUARDS_OFF = 103,         /* MADV_GUARD_REMOVE */
    CLONE_DETACHED_OLD = 0x400000, /* CLONE_DETACHED: without effect, musl still sets it */
};

/* What the C library asks of a new thread; no namespaces, no tracing, no process. */
#define THREAD                                                                                                         \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |                 \
     CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* Allowed when one argument, or two, are what they are here. */
#define WHEN(call, argument, mask, value)                                                                              \
    {                                                                                                                  \
        call, 0,                                                                                                       \
        {                                                                                                              \
            {                                                                                                          \
                argument, mask, value                                                                                  \
            }                                                                                                          \
        }                                                                                                              \
    }
#define WHEN_2(call, argument, mask, value, other, other_mask, other_value)                                            \
    {                                                                                                                  \
        call, 0,                                                                                                       \
        {                                                                                                              \
            {argument, mask, value},                                                                                   \
            {                                                                                                          \
                other, other_mask, other_value                                                                         \
            }                                                                                                          \
        }                                                                                                              \
    }
#define FLAGS(call, argument, flags) WHEN(call, argument, INT & ~(uint32_t)(flags), 0) /* these, and no others */

/* Not O_ASYNC, and not who gets a signal, or which (F_SETOWN, F_SETOWN_EX, F_SETSIG, F_NOTIFY, F_SETLEASE): the kernel
 * would signal other processes in our name. */
#define FCNTL(call)                                                                                                    \
    WHEN(call, 1, INT, F_DUPFD), WHEN(call, 1, INT, F_DUPFD_CLOEXEC), WHEN(call, 1, INT, F_GETFD),                     \
        WHEN(call, 1, INT, F_SETFD), WHEN(call, 1, INT, F_GETFL),                                                      \
        WHEN_2(call, 1, INT, F_SETFL, 2, (uint32_t)O_ASYNC, 0), WHEN(call, 1, INT, F_GETLK),                           \
        WHEN(call, 1, INT, F_SETLK), WHEN(call, 1, INT, F_SETLKW), WHEN(call, 1, INT, F_OFD_GETLK),                    \
        WHEN(call, 1, INT, F_OFD_SETLK), WHEN(call, 1, INT, F_OFD_SETLKW)

/* Not MSG_FASTOPEN, which connects; not MSG_OOB, MSG_ZEROCOPY and the rest, which nobody needs. */
#define SEND_FLAGS (MSG_NOSIGNAL | MSG_MORE | MSG_DONTWAIT)

/* Memory is writable or executable, not both. Executable it must be for C modules and for LuaJIT's compiler. */
#define NOT_BOTH(call, argument) WHEN(call, argument, PROT_WRITE, 0), WHEN(call, argument, PROT_EXEC, 0)

#define GET_OPTION(level, option) WHEN_2("getsockopt", 1, INT, level, 2, INT, option)
#define OPTION(level, option)     GET_OPTION(level, option), WHEN_2("setsockopt", 1, INT, level, 2, INT, option)

static const struct sys_call_rule narrow_calls[] = {
    FCNTL("fcntl"),
    FCNTL("fcntl64"),
    FLAGS("renameat2", 4, NO_REPLACE | EXCHANGE), /* no device to white a file out */
    FLAGS("pipe2", 1, O_CLOEXEC | O_NONBLOCK),    /* no queue of the kernel's notices */
    /* What the C library asks of terminals and pipes, and what is not sent yet; not to type into a terminal (TIOCSTI),
     * nor who gets a signal (FIOSETOWN, FIOASYNC). */
    WHEN("ioctl", 1, INT, TCGETS),
    WHEN("ioctl", 1, INT, FIONREAD),
    WHEN("ioctl", 1, INT, FIONBIO),
    WHEN("ioctl", 1, INT, SOCKET_UNSENT),

    /* To whom the socket is connected, not to an address. sendmsg(2) has its address where a filter cannot look, but of
     * the sockets that can be here only one for datagrams would heed it. */
    WHEN_2("sendto", 3, INT & ~(uint32_t)SEND_FLAGS, 0, 4, UINT64_MAX, 0),
    FLAGS("send", 3, SEND_FLAGS),
    FLAGS("sendmsg", 2, SEND_FLAGS),
    /* Requests that the program makes of itself. */
    WHEN_2("socketpair", 0, INT, AF_UNIX, 1, 0xf, SOCK_STREAM),
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_LINGER),
    OPTION(SOL_SOCKET, SO_RCVBUF),
    OPTION(SOL_SOCKET, SO_RCVLOWAT),
    OPTION(SOL_SOCKET, SO_SNDBUF),
    GET_OPTION(SOL_SOCKET, SO_ACCEPTCONN),
    GET_OPTION(SOL_SOCKET, SO_DOMAIN),
    GET_OPTION(SOL_SOCKET, SO_ERROR),
    GET_OPTION(SOL_SOCKET, SO_PEERCRED),
    GET_OPTION(SOL_SOCKET, SO_PROTOCOL),
    GET_OPTION(SOL_SOCKET, SO_TYPE),
    OPTION(IPPROTO_TCP, TCP_CORK),
    OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    OPTION(IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
    OPTION(IPPROTO_TCP, TCP_QUICKACK),
    OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT),
    GET_OPTION(IPPROTO_TCP, TCP_INFO),

    /* Threads. clone3(2) takes its flags where a filter cannot look: the C library goes back to clone(2) when it is not
     * there. */
    WHEN("clone", 0, INT & ~(uint32_t)CLONE_DETACHED_OLD, THREAD),
    {.name = "clone3", .error = ENOSYS},
    WHEN("membarrier", 0, INT, BARRIER_QUERY),
    WHEN("membarrier", 0, INT, BARRIER_PRIVATE),
    WHEN("membarrier", 0, INT, BARRIER_REGISTER),
    WHEN("prctl", 0, INT, PR_SET_NAME),
    WHEN("prctl", 0, INT, PR_GET_NAME),
    WHEN("prctl", 0, INT, PR_SET_VMA_NAMES), /* names for memory, of newer C libraries */

    NOT_BOTH("mmap", 2),
    NOT_BOTH("mmap2", 2),
    NOT_BOTH("mprotect", 2),
    WHEN("madvise", 2, INT, MADV_NORMAL),
    WHEN("madvise", 2, INT, MADV_RANDOM),
    WHEN("madvise", 2, INT, MADV_SEQUENTIAL),
    WHEN("madvise", 2, INT, MADV_WILLNEED),
    WHEN("madvise", 2, INT, MADV_DONTNEED),
    WHEN("madvise", 2, INT, MADV_FREE),
    WHEN("madvise", 2, INT, MADV_HUGEPAGE),
    WHEN("madvise", 2, INT, MADV_NOHUGEPAGE),
    WHEN("madvise", 2, INT, MADV_DONTDUMP),
    WHEN("madvise", 2, INT, MADV_GUARDS),
    WHEN("madvise", 2, INT, MADV_GUARDS_OFF),

    WHEN("timerfd_create", 0, INT, CLOCK_MONOTONIC), /* no clocks that wake the machine */
    WHEN("timerfd_create", 0, INT, CLOCK_REALTIME),
    WHEN_2("prlimit64", 0, INT, 0, 2, UINT64_MAX, 0), /* our own limits are read, not set */
};

/* Sockets of these families and of this kind, and no others: landlock knows the ports of TCP alone, not those of what
 * other protocols (MPTCP, SCTP) make of a stream. */
#define SOCKET(family, type, protocol)                                                                                 \
    {                                                                                                                  \
        "socket", 0,                                                                                                   \
        {                                                                                                              \
            {0, INT, family}, {1, 0xf, type},                                                                          \
            {                                                                                                          \
                2, INT, protocol                                                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }

/* To whom is behind a pointer: landlock and core/destinations.c look there. */
static const struct sys_call_rule connect_calls[] = {
    {.name = "connect"},
};

static const struct sys_call_rule tcp_calls[] = {
    SOCKET(AF_INET, SOCK_STREAM, 0),
    SOCKET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
    SOCKET(AF_INET6, SOCK_STREAM, 0),
    SOCKET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
};

/* What the C library asks DNS servers with, two questions at a time. */
static const struct sys_call_rule name_calls[] = {
    SOCKET(AF_INET, SOCK_DGRAM, 0),     SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
    SOCKET(AF_INET6, SOCK_DGRAM, 0),    SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
    FLAGS("sendmmsg", 3, SEND_FLAGS),   OPTION(IPPROTO_IP, IP_RECVERR),
    OPTION(IPPROTO_IPV6, IPV6_RECVERR),
};

static const struct sys_call_rule unix_calls[] = {
    SOCKET(AF_UNIX, SOCK_STREAM, 0),
};

/* Rules that are put together. */
struct rule_list {
    struct sys_call_rule *rules;
    size_t count;
};

static void add_rules(struct rule_list *list, const struct sys_call_rule *rules, size_t count)
{
    memcpy(list->rules + list->count, rules, count * sizeof *rules);
    list->count += count;
}

#define COUNT_OF(table) (sizeof(table) / sizeof(table)[0])

static void add_connections(struct rule_list *list, const struct destination_needs *needs)
{
    if (needs->tcp || needs->unix_files || needs->unix_abstract) {
        add_rules(list, connect_calls, COUNT_OF(connect_calls));
    }
    if (needs->tcp) {
        add_rules(list, tcp_calls, COUNT_OF(tcp_calls));
    }
    if (needs->names) {
        add_rules(list, name_calls, COUNT_OF(name_calls));
    }
    if (needs->unix_files || needs->unix_abstract) {
        add_rules(list, unix_calls, COUNT_OF(unix_calls));
    }
}

int sandbox_calls_restrict(const struct destination_needs *needs)
{
    enum {
        FREE = COUNT_OF(free_calls),
        NARROW = COUNT_OF(narrow_calls),
        CONNECTIONS = COUNT_OF(connect_calls) + COUNT_OF(tcp_calls) + COUNT_OF(name_calls) + COUNT_OF(unix_calls),
        SIGNALS = 2
    };
    struct sys_call_rule rules[FREE + NARROW + SIGNALS + CONNECTIONS];
    for (size_t i = 0; i < FREE; i++) {
        rules[i] = (struct sys_call_rule){.name = free_calls[i]};
    }
    memcpy(rules + FREE, narrow_calls, sizeof narrow_calls);
    uint64_t self = (uint64_t)sys_process_id();
    rules[FREE + NARROW] = (struct sys_call_rule)WHEN("tgkill", 0, INT, self); /* signals: to ourselves alone */
    rules[FREE + NARROW + 1] = (struct sys_call_rule)WHEN("kill", 0, INT, self);
    struct rule_list list = {rules, FREE + NARROW + SIGNALS};
    if (needs != NULL) {
        add_connections(&list, needs);
    }
    return sys_restrict_calls(rules, list.count);
}
