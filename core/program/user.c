/* Failure modes: no such user, root itself, or a process without the right. The program must end after each of them. */

#include "core/program/user.h"

#include "core/log.h"
#include "core/program/sys_user.h"
#include "core/sys.h"

#include <errno.h>
#include <string.h>

int user_become(const char *name, char *err, size_t errlen)
{
    uid_t uid;
    gid_t gid;
    int rv = sys_find_user(name, &uid, &gid);
    if (rv < 0) {
        return error_text(err, errlen, rv, "user %s: %s", name, rv == -ENOENT ? "no such user" : errno_text(-rv));
    }
    if (uid == 0) {
        return error_text(err, errlen, -EINVAL, "user %s: this is root", name);
    }
    if (sys_user_id() == uid && sys_is_user_for_good(uid, gid)) {
        return 0; /* a program of this user has started us (upgrade.h) */
    }
    rv = sys_set_user(name, uid, gid);
    if (rv < 0) {
        return error_text(err, errlen, rv, "user %s: only root can become another user: %s", name, errno_text(-rv));
    }
    return sys_is_user_for_good(uid, gid) ? 0 : error_text(err, errlen, -EPERM, "user %s: root was not given up", name);
}
