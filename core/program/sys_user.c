/* Becoming another user. Not in sys.c, since the library never does it. */

#include "core/program/sys_user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

int sys_find_user(const char *name, uid_t *uid, gid_t *gid)
{
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        return errno == 0 ? -ENOENT : -errno;
    }
    *uid = user->pw_uid;
    *gid = user->pw_gid;
    return 0;
}

int sys_set_user(const char *name, uid_t uid, gid_t gid)
{
    return initgroups(name, gid) < 0 || setgid(gid) < 0 || setuid(uid) < 0 ? -errno : 0;
}

bool sys_is_user_for_good(uid_t uid, gid_t gid)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 || getresgid(&gids[0], &gids[1], &gids[2]) < 0) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (uids[i] != uid || gids[i] != gid) {
            return false;
        }
    }
    return setuid(0) < 0;
}
