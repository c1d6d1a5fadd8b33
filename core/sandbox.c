/* The rules of landlock and of seccomp.
 *
 * Happy path: landlock's rules are collected while sandbox_allow() names directories; sandbox_enter() sets no_new_privs,
 * which the other two ask for, enters landlock, and installs the filter of system calls last, since that also denies what
 * this file does.
 *
 * Failure modes: a kernel, or a container's own filter, that has not got a part. Files are kept apart by landlock alone:
 * without it whoever may open a file in the process's name still can. */

#include "core/sandbox.h"

#include "core/log.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

/* Rights of <linux/landlock.h>, which may be older than the kernel. */
enum {
    RIGHT_WRITE_FILE = 1 << 1,
    RIGHT_READ_FILE = 1 << 2,
    RIGHT_READ_DIR = 1 << 3,
    RIGHT_REMOVE_DIR = 1 << 4,
    RIGHT_REMOVE_FILE = 1 << 5,
    RIGHT_MAKE_DIR = 1 << 7,
    RIGHT_MAKE_REG = 1 << 8,
    RIGHT_REFER = 1 << 13, /* rename from one directory to another; version 2 */
    RIGHT_TRUNCATE = 1 << 14,

    RIGHTS_1 = (1 << 13) - 1, /* what the versions know: the first, */
    RIGHTS_2 = (1 << 14) - 1,
    RIGHTS_3 = (1 << 15) - 1,
    RIGHTS_5 = (1 << 16) - 1, /* ioctl(2) on devices */
    RIGHTS_OF_FILES = RIGHT_WRITE_FILE | RIGHT_READ_FILE | RIGHT_TRUNCATE,

    NET_VERSION = 4,
    NET_RIGHTS = 3, /* to bind and to connect TCP sockets */
};

static const uint64_t rights_of[] = {
    [SANDBOX_READ] = RIGHT_READ_FILE | RIGHT_READ_DIR,
    [SANDBOX_WRITE] = RIGHT_READ_FILE | RIGHT_READ_DIR | RIGHT_WRITE_FILE | RIGHT_TRUNCATE | RIGHT_REMOVE_DIR |
                      RIGHT_REMOVE_FILE | RIGHT_MAKE_DIR | RIGHT_MAKE_REG | RIGHT_REFER,
    [SANDBOX_REMOVE] = RIGHT_REMOVE_FILE,
};

void sandbox_open(struct sandbox *sandbox)
{
    int version = sys_landlock_version();
    *sandbox = (struct sandbox){.rules_fd = -1, .error = version, .version = version};
    if (version < 1) {
        return;
    }
    sandbox->file_rights = version >= 5 ? RIGHTS_5 : version >= 3 ? RIGHTS_3 : version == 2 ? RIGHTS_2 : RIGHTS_1;
    sandbox->rules_fd = sys_landlock_create(sandbox->file_rights, version >= NET_VERSION ? NET_RIGHTS : 0);
    sandbox->error = sandbox->rules_fd < 0 ? sandbox->rules_fd : 0;
}

void sandbox_close(struct sandbox *sandbox)
{
    if (sandbox->rules_fd >= 0) {
        sys_close(sandbox->rules_fd);
    }
    sandbox->rules_fd = -1;
}

int sandbox_allow(struct sandbox *sandbox, const char *path, enum sandbox_access access)
{
    int fd = sys_open(AT_FDCWD, path, O_PATH);
    if (fd < 0) {
        return fd;
    }
    struct stat st;
    int rv = sys_stat(fd, &st);
    if (rv == 0 && sandbox->rules_fd >= 0) {
        uint64_t rights = rights_of[access] & sandbox->file_rights;
        rv = sys_landlock_allow(sandbox->rules_fd, fd, S_ISDIR(st.st_mode) ? rights : rights & RIGHTS_OF_FILES);
    }
    sys_close(fd);
    return rv;
}

/* The system calls of this library, of the C library, LuaJIT and the threads below it, and of scripts that work with the
 * files that landlock leaves them. Not among them: to run programs, to connect, bind or listen, to trace, to mount, to
 * change users, permissions or limits. */
static const char *const free_calls[] = {
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "lseek",
    "sendfile",
    "close",
    "close_range",
    "open",
    "openat",
    "openat2",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
    "fcntl",
    "fcntl64",
    "dup",
    "dup2",
    "dup3",
    "flock",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fadvise64",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mmap",
    "mmap2",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "timerfd_create",
    "timerfd_settime",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "pipe2",
    "accept",
    "accept4",
    "recvfrom",
    "recvmsg",
    "sendto",
    "sendmsg",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "getsockname",
    "getpeername",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "futex",
    "set_robust_list",
    "rseq",
    "set_tid_address",
    "gettid",
    "getpid",
    "sched_yield",
    "sched_getaffinity",
    "getcpu",
    "exit",
    "exit_group",
    "membarrier",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "sigaltstack",
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
    "send",
    "sendfile64",
    "sigreturn",
    "stat64",
    "timerfd_settime64",
    "ugetrlimit",
    "cacheflush",
    "riscv_flush_icache",
};

enum { PR_SET_VMA_NAMES = 0x53564d41 }; /* names for memory, of newer C libraries */

/* Those that are allowed with certain arguments alone: name, 0, argument, mask, value. */
static const struct sys_call_rule narrow_calls[] = {
    /* A thread is allowed, a process is not. clone3(2) takes its flags where a filter cannot look: the C library goes
     * back to clone(2) when it is not there. */
    {"clone", 0, 0, CLONE_THREAD, CLONE_THREAD},
    {"clone3", ENOSYS, -1, 0, 0},
    /* What the C library asks of terminals and pipes; not to type into a terminal. */
    {"ioctl", 0, 1, UINT32_MAX, TCGETS},
    {"ioctl", 0, 1, UINT32_MAX, FIONREAD},
    {"ioctl", 0, 1, UINT32_MAX, SIOCOUTQ}, /* whether a slow client takes bytes */
    {"ioctl", 0, 1, UINT32_MAX, FIONBIO},
    /* Notices to the service manager, and requests that the program makes of itself. */
    {"socket", 0, 0, UINT32_MAX, AF_UNIX},
    {"socketpair", 0, 0, UINT32_MAX, AF_UNIX},
    {"prctl", 0, 0, UINT32_MAX, PR_SET_NAME},
    {"prctl", 0, 0, UINT32_MAX, PR_GET_NAME},
    {"prctl", 0, 0, UINT32_MAX, PR_SET_VMA_NAMES},
    {"prlimit64", 0, 2, UINT64_MAX, 0}, /* limits are read, not set */
};

static int restrict_calls(void)
{
    enum {
        FREE = sizeof free_calls / sizeof free_calls[0],
        NARROW = sizeof narrow_calls / sizeof narrow_calls[0],
        SIGNALS = 2
    };
    struct sys_call_rule rules[FREE + NARROW + SIGNALS];
    for (size_t i = 0; i < FREE; i++) {
        rules[i] = (struct sys_call_rule){.name = free_calls[i], .argument = -1};
    }
    memcpy(rules + FREE, narrow_calls, sizeof narrow_calls);
    uint64_t self = (uint64_t)sys_process_id();
    rules[FREE + NARROW] = (struct sys_call_rule){"tgkill", 0, 0, UINT32_MAX, self}; /* signals: to ourselves alone */
    rules[FREE + NARROW + 1] = (struct sys_call_rule){"kill", 0, 0, UINT32_MAX, self};
    return sys_restrict_calls(rules, FREE + NARROW + SIGNALS);
}

struct part {
    const char *name;
    const char *absent; /* what -ENOSYS means */
    const char *off;    /* what -EOPNOTSUPP means */
    const char *loss;   /* what is not kept when it is missing */
};

/* A part is not to be had: a warning, or a failure. */
static int miss(const struct part *part, int error, bool is_required, const struct log *log, char *err, size_t errlen)
{
    const char *why = error == -ENOSYS ? part->absent : error == -EOPNOTSUPP ? part->off : errno_text(-error);
    if (is_required) {
        return error_text(err, errlen, error, "a sandbox is required, but %s cannot be had: %s", part->name, why);
    }
    log_write(log, LOG_WARN, "sandbox without %s (%s): %s", part->name, why, part->loss);
    return 0;
}

int sandbox_enter(const struct sandbox *sandbox, bool is_required, const struct log *log, char *err, size_t errlen)
{
    static const struct part privileges = {"no_new_privs", "this kernel has none", "it is switched off",
                                           "programs could give rights"};
    static const struct part files = {"landlock", "this kernel has none",
                                      "it was not switched on when this kernel was booted, see lsm=",
                                      "files outside can be opened"};
    static const struct part calls = {"a seccomp filter", "evserve was built without libseccomp", "it is switched off",
                                      "every system call can be made"};
    int rv = sys_no_new_privs();
    if (rv < 0 && (rv = miss(&privileges, rv, is_required, log, err, errlen)) < 0) {
        return rv;
    }
    rv = sandbox->rules_fd < 0 ? sandbox->error : sys_landlock_enter(sandbox->rules_fd);
    if (rv < 0 && (rv = miss(&files, rv, is_required, log, err, errlen)) < 0) {
        return rv;
    }
    rv = restrict_calls();
    return rv < 0 ? miss(&calls, rv, is_required, log, err, errlen) : 0;
}
