#ifndef EVSERVE_LUA_SCRIPT_H
#define EVSERVE_LUA_SCRIPT_H

/* A Lua script that configures a site and serves its Lua routes: one Lua state, used by one reactor's thread. */

#include "http/host/script_kind.h"
#include "lua/settings.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct reactor;
struct script;
struct server;
struct site;
struct tls_plan;

/* Scripts in Lua, for the assembly of a site; the functions below, whose contracts are in http/host/script_kind.h. What
 * follows here is what Lua adds. */
extern const struct script_kind script_lua;

/* app.set, app.static and the routes go into site; app.listen is remembered. */
int script_open(struct script **script, const char *path, struct site *site, struct reactor *reactor,
                const struct log *log, const struct script_host *host, char *err, size_t errlen);

/* The settings in force. Valid as long as the script. */
const struct settings *script_settings(const struct script *script);

void script_each_setting(const struct script *script,
                         void (*fn)(void *arg, const struct limit_info *info, uint64_t value), void *arg);

const char *script_listen(const struct script *script, size_t n);

const char *script_listen_place(const struct script *script, size_t n);

const struct tls_plan *script_tls(const struct script *script);

/* The script's folder, and each directory that package.path and package.cpath name. */
int script_each_folder(struct script *script, int (*fn)(void *arg, const char *folder), void *arg);

/* From now on app.stats() reports about server. */
int script_start(struct script *script, const struct server *server, char *err, size_t errlen);

/* Timers set so far count from now on. */
int script_adopt(struct script *script, const struct server *server);

void script_announce_stop(struct script *script);

void script_end_timers(struct script *script);

/* What goes on that no request waits for: app.defer, a run of a timer, a handler whose client has gone. */
bool script_is_busy(const struct script *script, int64_t until_ms);

/* The log names what is cut. */
void script_stop(struct script *script);

void script_close(struct script *script);

#endif
