/* The sandbox on the real kernel: each way out of it that we know is tried from inside, by system calls with the
 * arguments as the kernel gets them. Each case has a thread of its own, since there is no way back. */

#include "core/destinations.h"
#include "core/log.h"
#include "core/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { PLAIN_ERROR = 4096 }; /* no errno of the kernel's */

/* Bits of an argument that the kernel does not look at, because it is an int: they must not get anything through. */
#define UPPER (UINT64_C(1) << 63 | UINT64_C(1) << 32)

/* What the calls are tried on: made outside of the sandbox. */
static struct {
    int listener;                 /* TCP, shut down: it could connect again */
    int stream[2], datagram;      /* unix sockets: a pair, and one that is connected to nobody */
    int pipe[2];                  /* whose owner might be signalled */
    struct sockaddr_in outside;   /* a TCP server outside */
    struct sockaddr_un abstract;  /* a unix datagram socket outside, without a file */
    socklen_t abstract_len;       /* of its address */
    int outside_fd, abstract_fd;  /* they themselves */
    char *page;                   /* of memory */
    struct msghdr to_abstract;    /* one byte for the socket outside */
    struct iovec byte;            /* that byte */
    struct f_owner_ex owner;      /* init, as somebody to be signalled */
    int one;                      /* a value for options */
    struct clone_args new_thread; /* for clone3(2) */
    struct rlimit limit;          /* of open files */
} scene;

static uint64_t address_of(const void *data)
{
    return (uint64_t)(uintptr_t)data;
}

static void make_tcp(void)
{
    socklen_t len = sizeof scene.outside;
    scene.outside = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int *const sockets[] = {&scene.outside_fd, &scene.listener};
    for (size_t i = 0; i < 2; i++) {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        *sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(*sockets[i], (struct sockaddr *)&any, sizeof any), 0);
        assert_int_equal(listen(*sockets[i], 1), 0);
    }
    assert_int_equal(getsockname(scene.outside_fd, (struct sockaddr *)&scene.outside, &len), 0);
    assert_int_equal(shutdown(scene.listener, SHUT_RDWR), 0);
}

static int set_up(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    make_tcp();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, scene.stream), 0);
    assert_int_equal(pipe2(scene.pipe, O_CLOEXEC | O_NONBLOCK), 0);
    scene.datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    scene.abstract_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    scene.abstract.sun_family = AF_UNIX;
    assert_int_equal(bind(scene.abstract_fd, (struct sockaddr *)&scene.abstract, sizeof(sa_family_t)), 0);
    scene.abstract_len = sizeof scene.abstract;
    assert_int_equal(getsockname(scene.abstract_fd, (struct sockaddr *)&scene.abstract, &scene.abstract_len), 0);
    scene.byte = (struct iovec){.iov_base = &scene.one, .iov_len = 1};
    scene.to_abstract = (struct msghdr){.msg_name = &scene.abstract,
                                        .msg_namelen = scene.abstract_len,
                                        .msg_iov = &scene.byte,
                                        .msg_iovlen = 1};
    scene.owner = (struct f_owner_ex){.type = F_OWNER_PID, .pid = 1};
    scene.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return scene.page == MAP_FAILED;
}

static int tear_down(void **state)
{
    (void)state;
    const int fds[] = {scene.listener, scene.stream[0], scene.stream[1],  scene.datagram,
                       scene.pipe[0],  scene.pipe[1],   scene.outside_fd, scene.abstract_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
    return munmap(scene.page, 4096);
}

/* One try: a system call with its arguments, and the errno that it must give. */
struct
try {
    const char *what;
    long number;
    uint64_t arguments[6];
    int expected; /* 0: it must work; PLAIN_ERROR: any but EPERM, ENOSYS, or success */
};

static int make_call(const struct try *one)
{
    const uint64_t *a = one->arguments;
    errno = 0;
    long rv = syscall(one->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return rv < 0 ? errno : 0;
}

/* What a thread in the sandbox finds. */
struct visit {
    const struct try *tries;
    size_t count;
    const struct destination_needs *needs; /* of the sandbox */
    int entered;                           /* of sandbox_enter() */
    int found[160];                        /* of each try: errno, or 0 */
};

static void *visit_sandbox(void *arg)
{
    struct visit *visit = arg;
    struct sandbox sandbox;
    char err[256];
    sandbox_open(&sandbox, visit->needs);
    visit->entered = sandbox_enter(&sandbox, true, NULL, err, sizeof err);
    sandbox_close(&sandbox);
    for (size_t i = 0; i < visit->count && visit->entered == 0; i++) {
        visit->found[i] = make_call(&visit->tries[i]);
    }
    return NULL;
}

static void try_all_but(const struct destination_needs *needs, const struct try *tries, size_t count)
{
    static struct visit visit;
    pthread_t thread;
    visit = (struct visit){.tries = tries, .count = count, .needs = needs};
    assert_in_range(count, 1, sizeof visit.found / sizeof visit.found[0]);
    assert_int_equal(pthread_create(&thread, NULL, visit_sandbox, &visit), 0);
    pthread_join(thread, NULL);
    if (visit.entered < 0) { /* no landlock, or built without libseccomp */
        skip();
    }
    int faults = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_right = tries[i].expected == PLAIN_ERROR ? visit.found[i] != EPERM && visit.found[i] != ENOSYS
                                                         : visit.found[i] == tries[i].expected;
        if (!is_right) {
            print_error("%s: errno %d, not %d\n", tries[i].what, visit.found[i], tries[i].expected);
            faults++;
        }
    }
    assert_int_equal(faults, 0);
}

static void try_all(const struct try *tries, size_t count)
{
    try_all_but(NULL, tries, count);
}

#define COUNT(tries) (sizeof(tries) / sizeof(tries)[0])
#define DENIED(what, ...)                                                                                              \
    {                                                                                                                  \
        what, __VA_ARGS__, EPERM                                                                                       \
    }
#define WORKS(what, ...)                                                                                               \
    {                                                                                                                  \
        what, __VA_ARGS__, 0                                                                                           \
    }
#define REACHES(what, ...)                                                                                             \
    {                                                                                                                  \
        what, __VA_ARGS__, PLAIN_ERROR                                                                                 \
    } /* the kernel itself: a call that makes no sense fails there */

static void nobody_outside_is_connected_to(void **state)
{
    (void)state;
    const uint64_t to = address_of(&scene.outside), listener = (uint64_t)scene.listener;
    const uint64_t abstract = address_of(&scene.abstract), byte = address_of(&scene.one);
    const struct try tries[] = {
        DENIED("connect", SYS_connect, {listener, to, sizeof scene.outside}),
        DENIED("fast open", SYS_sendto, {listener, byte, 1, MSG_FASTOPEN, to, sizeof scene.outside}),
        DENIED("fast open, upper bits", SYS_sendto, {listener, byte, 1, MSG_FASTOPEN | UPPER, to, 16}),
        DENIED("fast open by sendmsg", SYS_sendmsg, {listener, address_of(&scene.to_abstract), MSG_FASTOPEN}),
        DENIED("fast open, upper bits", SYS_sendmsg, {listener, address_of(&scene.to_abstract), MSG_FASTOPEN | UPPER}),
        DENIED("sendmmsg", SYS_sendmmsg, {listener, address_of(&scene.to_abstract), 1, MSG_FASTOPEN}),
        DENIED("sendto an address", SYS_sendto,
               {(uint64_t)scene.datagram, byte, 1, 0, abstract, (uint64_t)scene.abstract_len}),
        DENIED("connect to an abstract socket", SYS_connect,
               {(uint64_t)scene.datagram, abstract, (uint64_t)scene.abstract_len}),
        DENIED("urgent data", SYS_sendto, {(uint64_t)scene.stream[0], byte, 1, MSG_OOB, 0, 0}),
        DENIED("zero copy", SYS_sendto, {(uint64_t)scene.stream[0], byte, 1, MSG_ZEROCOPY, 0, 0}),
        DENIED("socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}),
        DENIED("socket of datagrams", SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}),
        DENIED("netlink", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}),
        DENIED("vsock", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}),
        DENIED("pair of datagram sockets", SYS_socketpair,
               {AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, address_of(scene.page)}),
        DENIED("bind", SYS_bind, {listener, to, sizeof scene.outside}),
        DENIED("listen", SYS_listen, {listener, 1}),
        DENIED("fast open with connect", SYS_setsockopt, {listener, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, byte, 4}),
        DENIED("repair", SYS_setsockopt, {listener, IPPROTO_TCP, TCP_REPAIR, byte, 4}),
        DENIED("filter of packets", SYS_setsockopt, {listener, SOL_SOCKET, SO_ATTACH_FILTER, byte, 16}),
        DENIED("firewall", SYS_setsockopt, {listener, IPPROTO_IP, 64 /* IPT_SO_SET_REPLACE */, byte, 4}),
        DENIED("option of another level", SYS_setsockopt, {listener, IPPROTO_UDP, SO_LINGER, byte, 4}),
        DENIED("read what is no option of ours", SYS_getsockopt, {listener, IPPROTO_IP, TCP_INFO, byte, byte}),
    };
    try_all(tries, COUNT(tries));
    assert_int_equal(accept(scene.outside_fd, NULL, NULL), -1);
    assert_int_equal(recv(scene.abstract_fd, scene.page, 1, 0), -1);
}

static void abstract_sockets_outside_are_out_of_reach(void **state)
{
    (void)state;
    if (syscall(444 /* landlock_create_ruleset */, NULL, 0L, 1) < 6) {
        skip();
    }
    const struct try tries[] = {
        DENIED("sendmsg to an abstract name", SYS_sendmsg,
               {(uint64_t)scene.datagram, address_of(&scene.to_abstract), MSG_NOSIGNAL}),
    };
    try_all(tries, COUNT(tries));
    assert_int_equal(recv(scene.abstract_fd, scene.page, 1, 0), -1);
}

static void only_what_is_needed_is_connected_with(void **state)
{
    (void)state;
    const uint64_t to = address_of(&scene.outside), listener = (uint64_t)scene.listener;
    const uint64_t byte = address_of(&scene.one);
    const struct destination_needs tcp = {.tcp = true, .port_count = 1, .ports = {1}};
    const struct destination_needs names = {.tcp = true, .names = true, .port_count = 1, .ports = {1}};
    const struct destination_needs unix_files = {.unix_files = true};
    const struct try with_tcp[] = {
        WORKS("socket", SYS_socket, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0}),
        WORKS("socket of IPv6", SYS_socket, {AF_INET6, SOCK_STREAM, IPPROTO_TCP}),
        DENIED("MPTCP", SYS_socket, {AF_INET, SOCK_STREAM, 262 /* IPPROTO_MPTCP */}),
        DENIED("SCTP", SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_SCTP}),
        DENIED("SCTP, upper bits", SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_SCTP | UPPER}),
        DENIED("UDP", SYS_socket, {AF_INET, SOCK_DGRAM, 0}),
        DENIED("raw", SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_TCP}),
        DENIED("netlink", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}),
        DENIED("vsock", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}),
        DENIED("unix", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}),
        DENIED("fast open", SYS_sendto, {listener, byte, 1, MSG_FASTOPEN, to, sizeof scene.outside}),
        DENIED("fast open with connect", SYS_setsockopt, {listener, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, byte, 4}),
        DENIED("sendmmsg", SYS_sendmmsg, {listener, address_of(&scene.to_abstract), 1, 0}),
        DENIED("bind", SYS_bind, {listener, to, sizeof scene.outside}),
    };
    const struct try with_names[] = {
        WORKS("UDP", SYS_socket, {AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0}),
        WORKS("UDP of IPv6", SYS_socket, {AF_INET6, SOCK_DGRAM, IPPROTO_UDP}),
        DENIED("ICMP", SYS_socket, {AF_INET, SOCK_DGRAM, IPPROTO_ICMP}),
        DENIED("unix", SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}),
        DENIED("netlink", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}),
    };
    const struct try with_unix[] = {
        WORKS("unix", SYS_socket, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0}),
        DENIED("unix datagrams", SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}),
        DENIED("unix packets", SYS_socket, {AF_UNIX, SOCK_SEQPACKET, 0}),
        DENIED("TCP", SYS_socket, {AF_INET, SOCK_STREAM, 0}),
    };
    try_all_but(&tcp, with_tcp, COUNT(with_tcp));
    try_all_but(&names, with_names, COUNT(with_names));
    try_all_but(&unix_files, with_unix, COUNT(with_unix));
    if (syscall(444 /* landlock_create_ruleset */, NULL, 0L, 1) >= 4) {
        const struct try to_another_port[] = {
            {"another port", SYS_connect, {listener, to, sizeof scene.outside}, EACCES},
        };
        try_all_but(&tcp, to_another_port, COUNT(to_another_port));
        assert_int_equal(accept(scene.outside_fd, NULL, NULL), -1);
    }
    const struct destination_needs port = {.tcp = true, .port_count = 1, .ports = {ntohs(scene.outside.sin_port)}};
    const struct try to_the_port[] = {{"the port", SYS_connect, {listener, to, sizeof scene.outside}, EINPROGRESS}};
    try_all_but(&port, to_the_port, COUNT(to_the_port));
    int fd = accept(scene.outside_fd, NULL, NULL);
    assert_true(fd >= 0);
    close(fd);
}

static void no_other_process_is_signalled_or_looked_into(void **state)
{
    (void)state;
    const uint64_t fd = (uint64_t)scene.pipe[0], owner = address_of(&scene.owner), pid = address_of(&scene.owner.pid);
    const struct try tries[] = {
        DENIED("F_SETOWN", SYS_fcntl, {fd, F_SETOWN, 1}),
        DENIED("F_SETOWN, upper bits", SYS_fcntl, {fd, F_SETOWN | UPPER, 1}),
        DENIED("F_SETOWN_EX", SYS_fcntl, {fd, F_SETOWN_EX, owner}),
        DENIED("F_SETSIG", SYS_fcntl, {fd, F_SETSIG, SIGKILL}),
        DENIED("O_ASYNC", SYS_fcntl, {fd, F_SETFL, O_ASYNC}),
        DENIED("O_ASYNC, upper bits", SYS_fcntl, {fd, F_SETFL | UPPER, O_ASYNC | O_NONBLOCK | UPPER}),
        DENIED("F_NOTIFY", SYS_fcntl, {fd, F_NOTIFY, DN_CREATE}),
        DENIED("F_SETLEASE", SYS_fcntl, {fd, F_SETLEASE, F_WRLCK}),
        DENIED("F_SETPIPE_SZ", SYS_fcntl, {fd, F_SETPIPE_SZ, 1 << 20}),
        DENIED("F_ADD_SEALS", SYS_fcntl, {fd, F_ADD_SEALS, F_SEAL_SEAL}),
        DENIED("FIOASYNC", SYS_ioctl, {fd, FIOASYNC, address_of(&scene.one)}),
        DENIED("FIOSETOWN", SYS_ioctl, {fd, 0x8901 /* FIOSETOWN of <asm/sockios.h> */, pid}),
        DENIED("TIOCSTI", SYS_ioctl, {fd, TIOCSTI, address_of(scene.page)}),
        DENIED("TIOCSTI, upper bits", SYS_ioctl, {fd, TIOCSTI | UPPER, address_of(scene.page)}),
        DENIED("kill", SYS_kill, {(uint64_t)getppid(), 0}),
        DENIED("kill all", SYS_kill, {(uint64_t)-1, 0}),
        DENIED("kill the group", SYS_kill, {0, 0}),
        DENIED("tgkill", SYS_tgkill, {(uint64_t)getppid(), (uint64_t)getppid(), 0}),
        DENIED("tkill", SYS_tkill, {(uint64_t)getppid(), 0}),
        DENIED("rt_sigqueueinfo", SYS_rt_sigqueueinfo, {(uint64_t)getppid(), 0, 0}),
        DENIED("pidfd_open", SYS_pidfd_open, {(uint64_t)getppid(), 0}),
        DENIED("pidfd_send_signal", SYS_pidfd_send_signal, {fd, 0, 0, 0}),
        DENIED("ptrace", SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}),
        DENIED("process_vm_readv", SYS_process_vm_readv, {(uint64_t)getppid(), 0, 0, 0, 0, 0}),
        DENIED("process_vm_writev", SYS_process_vm_writev, {(uint64_t)getppid(), 0, 0, 0, 0, 0}),
        DENIED("kcmp", SYS_kcmp, {1, 1, 0, 0, 0}),
        DENIED("sched_setaffinity", SYS_sched_setaffinity, {(uint64_t)getppid(), 8, address_of(scene.page)}),
        DENIED("setpriority", SYS_setpriority, {0, (uint64_t)getppid(), 0}),
        DENIED("own limits", SYS_prlimit64, {0, RLIMIT_NOFILE, address_of(&scene.limit), 0}),
        DENIED("limits of another", SYS_prlimit64, {(uint64_t)getppid(), RLIMIT_NOFILE, 0, address_of(&scene.limit)}),
    };
    try_all(tries, COUNT(tries));
}

static void no_process_and_no_program_is_begun(void **state)
{
    (void)state;
    scene.new_thread = (struct clone_args){.flags = CLONE_NEWUSER};
    const uint64_t path = address_of("/bin/true"), none = address_of(scene.page);
    const struct try tries[] = {
        DENIED("fork", SYS_clone, {SIGCHLD, 0}),
        DENIED("vfork", SYS_clone, {CLONE_VM | CLONE_VFORK | SIGCHLD, 0}),
        DENIED("thread in a namespace of its own", SYS_clone,
               {CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWNET, 0}),
        {"clone3", SYS_clone3, {address_of(&scene.new_thread), sizeof scene.new_thread}, ENOSYS},
        DENIED("execve", SYS_execve, {path, none, none}),
        DENIED("execveat", SYS_execveat, {(uint64_t)AT_FDCWD, path, none, none, 0}),
        DENIED("memfd_create", SYS_memfd_create, {path, 0}),
        DENIED("setns", SYS_setns, {(uint64_t)scene.pipe[0], 0}),
        DENIED("unshare", SYS_unshare, {CLONE_NEWUSER}),
        DENIED("personality", SYS_personality, {0x0400000 /* READ_IMPLIES_EXEC */}),
        DENIED("seccomp", SYS_seccomp, {0, 0, 0}),
        DENIED("no further prctl", SYS_prctl, {PR_SET_DUMPABLE, 1, 0, 0, 0}),
        DENIED("prctl, upper bits", SYS_prctl, {PR_SET_PDEATHSIG | UPPER, SIGKILL, 0, 0, 0}),
    };
    try_all(tries, COUNT(tries));
}

static void no_other_door_of_the_kernel_is_open(void **state)
{
    (void)state;
    const uint64_t path = address_of("x"), memory = address_of(scene.page);
    const struct try tries[] = {
        DENIED("io_uring_setup", SYS_io_uring_setup, {1, memory}),
        DENIED("bpf", SYS_bpf, {0, memory, 16}),
        DENIED("userfaultfd", SYS_userfaultfd, {1 /* UFFD_USER_MODE_ONLY */}),
        DENIED("perf_event_open", SYS_perf_event_open, {memory, 0, (uint64_t)-1, (uint64_t)-1, 0}),
        DENIED("keyctl", SYS_keyctl, {0, 0, 0, 0, 0}),
        DENIED("add_key", SYS_add_key, {path, path, memory, 1, 0}),
        DENIED("mount", SYS_mount, {path, path, path, 0, 0}),
        DENIED("chroot", SYS_chroot, {path}),
        DENIED("open_by_handle_at", SYS_open_by_handle_at, {(uint64_t)AT_FDCWD, memory, 0}),
        DENIED("name_to_handle_at", SYS_name_to_handle_at, {(uint64_t)AT_FDCWD, path, memory, memory, 0}),
        DENIED("fchmod", SYS_fchmod, {(uint64_t)scene.pipe[0], 04755}),
        DENIED("fchown", SYS_fchown, {(uint64_t)scene.pipe[0], 0, 0}),
        DENIED("linkat", SYS_linkat, {(uint64_t)AT_FDCWD, path, (uint64_t)AT_FDCWD, path, 0}),
        DENIED("symlinkat", SYS_symlinkat, {path, (uint64_t)AT_FDCWD, path}),
        DENIED("mknodat", SYS_mknodat, {(uint64_t)AT_FDCWD, path, S_IFIFO, 0}),
        DENIED("setxattr", SYS_setxattr, {path, path, memory, 1, 0}),
        DENIED("chdir", SYS_chdir, {path}),
        DENIED("inotify_init1", SYS_inotify_init1, {0}),
        DENIED("fanotify_init", SYS_fanotify_init, {0, 0}),
        DENIED("setuid", SYS_setuid, {0}),
        DENIED("capset", SYS_capset, {memory, memory}),
        DENIED("setitimer", SYS_setitimer, {0, memory, 0}),
        DENIED("timer_create", SYS_timer_create, {0, 0, memory}),
        DENIED("mq_open", SYS_mq_open, {path, O_CREAT, 0600, 0}),
        DENIED("shmget", SYS_shmget, {0, 4096, 0600}),
        DENIED("recvmsg, which takes fds", SYS_recvmsg, {(uint64_t)scene.stream[0], address_of(&scene.to_abstract), 0}),
        DENIED("splice", SYS_splice, {(uint64_t)scene.pipe[0], 0, (uint64_t)scene.stream[0], 0, 1, 0}),
        DENIED("vmsplice", SYS_vmsplice, {(uint64_t)scene.pipe[1], memory, 1, 0}),
        DENIED("queue of notices", SYS_pipe2, {memory, O_EXCL}),
        DENIED("clock that wakes the machine", SYS_timerfd_create, {9 /* CLOCK_BOOTTIME_ALARM */, 0}),
        DENIED("device in place of a file", SYS_renameat2,
               {(uint64_t)AT_FDCWD, path, (uint64_t)AT_FDCWD, path, RENAME_WHITEOUT}),
        DENIED("memory that is shared with its like", SYS_madvise, {memory, 4096, MADV_MERGEABLE}),
        DENIED("broken memory", SYS_madvise, {memory, 4096, MADV_HWPOISON}),
        DENIED("writable and executable", SYS_mmap,
               {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}),
        DENIED("writable and executable later", SYS_mprotect, {memory, 4096, PROT_WRITE | PROT_EXEC}),
        DENIED("global barrier", SYS_membarrier, {1 /* MEMBARRIER_CMD_GLOBAL */, 0, 0}),
#if defined __x86_64__
        DENIED("calls of the x32 interface", 0x40000000L | SYS_getpid, {0}),
#endif
    };
    try_all(tries, COUNT(tries));
}

/* The other side: what serving, Lua and C modules need still works, and upper bits that the kernel ignores do no
 * harm. */
static void what_serving_needs_is_left(void **state)
{
    (void)state;
    const uint64_t fd = (uint64_t)scene.pipe[0], stream = (uint64_t)scene.stream[0], byte = address_of(&scene.one);
    const uint64_t memory = address_of(scene.page), listener = (uint64_t)scene.listener;
    static socklen_t len = sizeof(int);
    const struct try tries[] = {
        WORKS("F_GETFL", SYS_fcntl, {fd, F_GETFL}),
        WORKS("F_SETFL", SYS_fcntl, {fd, F_SETFL, O_NONBLOCK}),
        WORKS("F_SETFL, upper bits", SYS_fcntl, {fd, F_SETFL | UPPER, O_NONBLOCK | UPPER}),
        WORKS("F_SETFD", SYS_fcntl, {fd, F_SETFD, FD_CLOEXEC}),
        WORKS("FIONREAD", SYS_ioctl, {stream, FIONREAD, byte}),
        WORKS("SIOCOUTQ", SYS_ioctl, {stream, TIOCOUTQ, byte}),
        WORKS("send", SYS_sendto, {stream, byte, 1, MSG_NOSIGNAL | MSG_MORE, 0, 0}),
        WORKS("send, upper bits", SYS_sendto, {stream, byte, 1, MSG_NOSIGNAL | UPPER, 0, 0}),
        REACHES("recv", SYS_recvfrom, {stream, byte, 1, MSG_PEEK | MSG_DONTWAIT, 0, 0}),
        WORKS("pair of sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, memory}),
        WORKS("keep-alive", SYS_setsockopt, {listener, SOL_SOCKET, SO_KEEPALIVE, byte, 4}),
        WORKS("TCP_NODELAY", SYS_setsockopt, {listener, IPPROTO_TCP, TCP_NODELAY, byte, 4}),
        WORKS("SO_ERROR", SYS_getsockopt, {listener, SOL_SOCKET, SO_ERROR, byte, address_of(&len)}),
        WORKS("TCP_INFO", SYS_getsockopt, {listener, IPPROTO_TCP, TCP_INFO, byte, address_of(&len)}),
        WORKS("memory", SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}),
        WORKS("code", SYS_mprotect, {memory, 4096, PROT_READ | PROT_EXEC}),
        WORKS("memory again", SYS_mprotect, {memory, 4096, PROT_READ | PROT_WRITE}),
        WORKS("memory given back", SYS_madvise, {memory, 4096, MADV_DONTNEED}),
        WORKS("own limits read", SYS_prlimit64, {0, RLIMIT_NOFILE, 0, address_of(&scene.limit)}),
        WORKS("name of the thread", SYS_prctl, {PR_SET_NAME, address_of("x"), 0, 0, 0}),
        WORKS("signal to ourselves", SYS_tgkill, {(uint64_t)getpid(), (uint64_t)getpid(), 0}),
        WORKS("timer", SYS_timerfd_create, {CLOCK_MONOTONIC, 0}),
    };
    try_all(tries, COUNT(tries));
}

static void *do_nothing(void *arg)
{
    return arg;
}

static void *begin_thread(void *arg)
{
    struct visit *visit = arg;
    pthread_t thread;
    visit_sandbox(visit);
    visit->found[0] = pthread_create(&thread, NULL, do_nothing, NULL);
    if (visit->found[0] == 0) {
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void threads_begin_inside(void **state)
{
    (void)state;
    static struct visit visit;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, begin_thread, &visit), 0);
    pthread_join(thread, NULL);
    assert_int_equal(visit.found[0], 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nobody_outside_is_connected_to),
        TEST(abstract_sockets_outside_are_out_of_reach),
        TEST(only_what_is_needed_is_connected_with),
        TEST(no_other_process_is_signalled_or_looked_into),
        TEST(no_process_and_no_program_is_begun),
        TEST(no_other_door_of_the_kernel_is_open),
        TEST(what_serving_needs_is_left),
        TEST(threads_begin_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
