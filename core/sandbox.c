/* The rules of landlock and of seccomp.
 *
 * Happy path: sandbox_allow() collects landlock's rules. sandbox_enter() sets no_new_privs, which the other two
 * require, enters landlock, and installs the filter of system calls last, since that also denies the calls that this
 * file makes.
 *
 * Failure modes: the kernel lacks a part, or a container's own filter denies it. Landlock alone restricts files:
 * without it, code that runs in the process can still open any file that the process may. */

#include "core/sandbox.h"

#include "core/destinations.h"
#include "core/log.h"
#include "core/sandbox_calls.h"
#include "core/sys.h"
#include "core/sys_rights.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

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
    NET_BIND = 1, /* TCP sockets */
    NET_CONNECT = 2,
    DNS_PORT = 53, /* DNS servers are asked over TCP if an answer is too long for UDP */

    /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL: abstract sockets and processes outside the sandbox
     * are out of reach. */
    SCOPE_VERSION = 6,
    SCOPE_ABSTRACT = 1,
    SCOPE_SIGNAL = 2,
};

static const uint64_t rights_of[] = {
    [SANDBOX_READ] = RIGHT_READ_FILE | RIGHT_READ_DIR,
    [SANDBOX_WRITE] = RIGHT_READ_FILE | RIGHT_READ_DIR | RIGHT_WRITE_FILE | RIGHT_TRUNCATE | RIGHT_REMOVE_DIR |
                      RIGHT_REMOVE_FILE | RIGHT_MAKE_DIR | RIGHT_MAKE_REG | RIGHT_REFER,
    [SANDBOX_REMOVE] = RIGHT_REMOVE_FILE,
    [SANDBOX_APPEND] = RIGHT_WRITE_FILE | RIGHT_MAKE_REG,
};

/* Allow the ports of needs. Returns 0 or -errno. */
static int allow_ports(const struct sandbox *sandbox, const struct destination_needs *needs)
{
    int rv = needs->names ? sys_landlock_allow_port(sandbox->rules_fd, DNS_PORT) : 0;
    for (unsigned i = 0; i < needs->port_count && rv == 0; i++) {
        rv = sys_landlock_allow_port(sandbox->rules_fd, needs->ports[i]);
    }
    return rv;
}

void sandbox_open(struct sandbox *sandbox, const struct destination_needs *needs)
{
    int version = sys_landlock_version();
    *sandbox = (struct sandbox){.rules_fd = -1, .error = version, .version = version, .needs = needs};
    bool has_every_port = needs != NULL && needs->every_port;
    uint64_t net = version < NET_VERSION ? 0 : has_every_port ? NET_BIND : NET_BIND | NET_CONNECT;
    uint64_t scopes = version < SCOPE_VERSION                 ? 0
                      : needs != NULL && needs->unix_abstract ? SCOPE_SIGNAL
                                                              : SCOPE_ABSTRACT | SCOPE_SIGNAL;
    if (version < 1) {
        return;
    }
    sandbox->file_rights = version >= 5 ? RIGHTS_5 : version >= 3 ? RIGHTS_3 : version == 2 ? RIGHTS_2 : RIGHTS_1;
    sandbox->rules_fd = sys_landlock_create(sandbox->file_rights, net, scopes);
    sandbox->error = sandbox->rules_fd < 0 ? sandbox->rules_fd : 0;
    if (sandbox->error == 0 && needs != NULL && (net & NET_CONNECT) != 0) {
        sandbox->error = allow_ports(sandbox, needs);
    }
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

struct part {
    const char *name;
    const char *absent; /* what -ENOSYS means */
    const char *off;    /* what -EOPNOTSUPP means */
    const char *loss;   /* what is not restricted without it */
};

/* A part is missing: that is a warning, or a failure. */
static int miss(const struct part *part, int error, bool is_required, const struct log *log, char *err, size_t errlen)
{
    const char *why = error == -ENOSYS ? part->absent : error == -EOPNOTSUPP ? part->off : errno_text(-error);
    if (is_required) {
        return error_text(err, errlen, error, "a sandbox is required, but %s is not available: %s", part->name, why);
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
    static const struct part ports = {"landlock's rules for ports", "this kernel has none, it is older than Linux 6.7",
                                      "they are switched off",
                                      "native code can connect to other ports than those of --allow-connect"};
    int rv = sys_no_new_privs();
    if (rv < 0 && (rv = miss(&privileges, rv, is_required, log, err, errlen)) < 0) {
        return rv;
    }
    rv = sandbox->error < 0 ? sandbox->error : sys_landlock_enter(sandbox->rules_fd);
    if (rv < 0 && (rv = miss(&files, rv, is_required, log, err, errlen)) < 0) {
        return rv;
    }
    bool asks_for_ports = sandbox->needs != NULL && sandbox->needs->tcp && !sandbox->needs->every_port;
    if (asks_for_ports && sandbox->rules_fd >= 0 && sandbox->version < NET_VERSION &&
        (rv = miss(&ports, -ENOSYS, is_required, log, err, errlen)) < 0) {
        return rv;
    }
    rv = sandbox_calls_restrict(sandbox->needs);
    return rv < 0 ? miss(&calls, rv, is_required, log, err, errlen) : 0;
}
