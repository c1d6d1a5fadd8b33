#ifndef EVSERVE_CORE_SANDBOX_CALLS_H
#define EVSERVE_CORE_SANDBOX_CALLS_H

/* The system calls that a sandbox leaves, with the arguments they may have. README.md has them as a table, with
 * reasons. */

struct destination_needs;

/* From now on all others fail with EPERM, for this thread and those that it begins. needs, if it is not NULL, has those
 * connections for which further calls are left. Returns 0 or -errno, as sys_restrict_calls(). */
int sandbox_calls_restrict(const struct destination_needs *needs);

#endif
