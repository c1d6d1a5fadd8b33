#ifndef EVSERVE_CORE_SYS_RIGHTS_H
#define EVSERVE_CORE_SYS_RIGHTS_H

/* Giving rights up for good, as core/sandbox.c does. All of it holds for the calling thread, and for every thread and
 * process that it starts from then on. The conventions are those of sys.h. */

#include <stddef.h>
#include <stdint.h>

int sys_no_new_privs(void); /* from now on execve(2) grants no rights (prctl(2)) */
/* landlock(7). The bits of rights are those of <linux/landlock.h>. */
int sys_landlock_version(void); /* from 1; -ENOSYS or -EOPNOTSUPP: this kernel has none */
int sys_landlock_create(uint64_t file_rights, uint64_t net_rights, uint64_t scopes);
int sys_landlock_allow(int rules_fd, int fd, uint64_t file_rights); /* below the directory fd, or for the file fd */
int sys_landlock_allow_port(int rules_fd, uint16_t port);           /* of TCP, to connect to */
int sys_landlock_enter(int rules_fd);

/* A condition on one argument of a system call. The kernel ignores the upper half of an argument that is an int, so the
 * mask of one must leave that half out: UINT32_MAX at most. */
struct sys_call_condition {
    unsigned argument; /* from 0 */
    uint64_t mask;     /* bits of it that count; 0: there is no condition */
    uint64_t value;    /* what they must be */
};

enum { SYS_CALL_CONDITIONS = 3 };

/* One system call, by its name, that may still be made, or that fails with a certain error. With several rules of one
 * name, the call may be made if one of them allows it. */
struct sys_call_rule {
    const char *name;
    int error;                                           /* 0: it may be made; else the errno it fails with */
    struct sys_call_condition when[SYS_CALL_CONDITIONS]; /* all must hold; each is about another argument */
};

/* From now on system calls without a rule fail with EPERM (seccomp(2)). A name that this machine does not know is
 * ignored. Returns 0, or -errno: -ENOSYS if the library was built without libseccomp, -EINVAL if the kernel has no
 * filters. Allocates. */
int sys_restrict_calls(const struct sys_call_rule *rules, size_t count);

#endif
