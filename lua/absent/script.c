/* What the front door finds in place of the Lua layer in a build with EVSERVE_LUA=OFF: no script can be opened, so there
 * never is one to ask, start, stop or close. */

#include "lua/script.h"

#include "core/log.h"

#include <errno.h>

/* No script, so nothing to set. */
const struct limit_info setting_table[1];
const size_t setting_table_len = 0;

int script_open(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, const struct script_host *host, char *err, size_t errlen)
{
    (void)site, (void)reactor, (void)log, (void)host;
    *script = NULL;
    return error_text(err, errlen, -ENOTSUP,
                      "%s: this evserve was built without Lua (EVSERVE_LUA=OFF), so it cannot run scripts", path);
}

const struct settings *script_settings(const struct script *script)
{
    (void)script;
    return NULL;
}

const char *script_listen(const struct script *script, size_t n)
{
    (void)script, (void)n;
    return NULL;
}

const char *script_listen_place(const struct script *script, size_t n)
{
    (void)script, (void)n;
    return NULL;
}

int script_each_folder(struct script *script, int (*fn)(void *arg, const char *folder), void *arg)
{
    (void)script, (void)fn, (void)arg;
    return 0;
}

int script_start(struct script *script, const struct server *server, char *err, size_t errlen)
{
    (void)script, (void)server, (void)err, (void)errlen;
    return 0;
}

void script_announce_stop(struct script *script)
{
    (void)script;
}

void script_end_timers(struct script *script)
{
    (void)script;
}

bool script_is_busy(const struct script *script, int64_t until_ms)
{
    (void)script, (void)until_ms;
    return false;
}

void script_stop(struct script *script)
{
    (void)script;
}

void script_close(struct script *script)
{
    (void)script;
}
