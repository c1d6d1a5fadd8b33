/* Not in sys.c, so that a program that uses the reactor library alone need not link libseccomp. */

#include "core/sys_rights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined EVSERVE_HAS_SECCOMP
#include <seccomp.h>
#endif

/* landlock(7), for headers that are older than it, or than its later versions. The numbers are the same on every
 * architecture. */
enum {
    CALL_LANDLOCK_CREATE = 444,
    CALL_LANDLOCK_ALLOW = 445,
    CALL_LANDLOCK_ENTER = 446,
    LANDLOCK_ASK_VERSION = 1,
    LANDLOCK_BENEATH = 1,
    LANDLOCK_PORT = 2,
    LANDLOCK_CONNECT_TCP = 2
};

struct landlock_rules {
    uint64_t file_rights, net_rights; /* that are denied unless a rule allows them */
    uint64_t scopes;                  /* what cannot be reached outside of the domain */
};

struct __attribute__((packed)) landlock_beneath {
    uint64_t rights;
    int32_t fd;
};

struct landlock_port {
    uint64_t rights;
    uint64_t port;
};

/* The result of a system call in our convention. */
static int rights_verdict(int result)
{
    return result < 0 ? -errno : result;
}

int sys_no_new_privs(void)
{
    return rights_verdict(prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L));
}

int sys_landlock_version(void)
{
    return rights_verdict((int)syscall(CALL_LANDLOCK_CREATE, NULL, 0L, LANDLOCK_ASK_VERSION));
}

int sys_landlock_create(uint64_t file_rights, uint64_t net_rights, uint64_t scopes)
{
    /* A kernel that does not know the later fields takes them as long as they are zero. */
    struct landlock_rules rules = {.file_rights = file_rights, .net_rights = net_rights, .scopes = scopes};
    return rights_verdict((int)syscall(CALL_LANDLOCK_CREATE, &rules, sizeof rules, 0));
}

int sys_landlock_allow(int rules_fd, int fd, uint64_t file_rights)
{
    struct landlock_beneath rule = {.rights = file_rights, .fd = fd};
    return rights_verdict((int)syscall(CALL_LANDLOCK_ALLOW, rules_fd, LANDLOCK_BENEATH, &rule, 0));
}

int sys_landlock_allow_port(int rules_fd, uint16_t port)
{
    struct landlock_port rule = {.rights = LANDLOCK_CONNECT_TCP, .port = port};
    return rights_verdict((int)syscall(CALL_LANDLOCK_ALLOW, rules_fd, LANDLOCK_PORT, &rule, 0));
}

int sys_landlock_enter(int rules_fd)
{
    return rights_verdict((int)syscall(CALL_LANDLOCK_ENTER, rules_fd, 0));
}

#if defined EVSERVE_HAS_SECCOMP

static int add_rule(scmp_filter_ctx filter, const struct sys_call_rule *rule)
{
    int number = seccomp_syscall_resolve_name(rule->name);
    if (number == __NR_SCMP_ERROR) {
        return 0;
    }
    uint32_t action = rule->error == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO((unsigned)rule->error);
    struct scmp_arg_cmp conditions[SYS_CALL_CONDITIONS];
    unsigned count = 0;
    while (count < SYS_CALL_CONDITIONS && rule->when[count].mask != 0) {
        const struct sys_call_condition *when = &rule->when[count];
        conditions[count++] = (struct scmp_arg_cmp){.arg = when->argument,
                                                    .op = SCMP_CMP_MASKED_EQ,
                                                    .datum_a = when->mask,
                                                    .datum_b = when->value};
    }
    return seccomp_rule_add_array(filter, action, number, count, conditions);
}

int sys_restrict_calls(const struct sys_call_rule *rules, size_t count)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL) {
        return -ENOMEM;
    }
    /* Calls in the manner of other machines (of 32 bits, say) are like all others that have no rule. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree of comparisons, where it knows how to */
    int rv = 0;
    for (size_t i = 0; i < count && rv == 0; i++) {
        rv = add_rule(filter, &rules[i]);
    }
    rv = rv < 0 ? rv : seccomp_load(filter);
    seccomp_release(filter);
    return rv;
}

#else

int sys_restrict_calls(const struct sys_call_rule *rules, size_t count)
{
    (void)rules, (void)count;
    return -ENOSYS;
}

#endif
