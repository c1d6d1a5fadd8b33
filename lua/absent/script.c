/* What the front door finds in place of the Lua layer in a build with EVSERVE_LUA=OFF: no script can be opened, so there
 * never is one to ask, start, stop or close. The only file of lua/ that such a build compiles. */

#include "lua/script.h"

#include "core/log.h"

#include <errno.h>

int script_open(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, int (*init)(struct lua_State *L, void *arg), void *arg, char *err, size_t errlen)
{
    (void)site, (void)reactor, (void)log, (void)init, (void)arg;
    *script = NULL;
    return error_text(err, errlen, -ENOTSUP,
                      "%s: this evserve was built without Lua (EVSERVE_LUA=OFF), so it cannot run scripts", path);
}

const char *script_listen(const struct script *script, size_t n)
{
    (void)script, (void)n;
    return NULL;
}

int script_start(struct script *script, const struct server *server, char *err, size_t errlen)
{
    (void)script, (void)server, (void)err, (void)errlen;
    return 0;
}

void script_stop(struct script *script)
{
    (void)script;
}

void script_close(struct script *script)
{
    (void)script;
}
