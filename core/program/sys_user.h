#ifndef EVSERVE_CORE_PROGRAM_SYS_USER_H
#define EVSERVE_CORE_PROGRAM_SYS_USER_H

/* Becoming another user. Not in sys.h, since the library never does it; the conventions are those of sys.h. */

#include <stdbool.h>
#include <sys/types.h>

/* Find the user of that name and its main group. Returns 0, -ENOENT if there is none, or -errno. For the start of a
 * program: it reads files, and may load libraries. */
int sys_find_user(const char *name, uid_t *uid, gid_t *gid);

/* Become that user, with all its groups, on all threads. */
int sys_set_user(const char *name, uid_t uid, gid_t gid);

/* Whether the process is that user and can never become root again. */
bool sys_is_user_for_good(uid_t uid, gid_t gid);

#endif
