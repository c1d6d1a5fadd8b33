#ifndef EVSERVE_LUA_BIND_WORKER_H
#define EVSERVE_LUA_BIND_WORKER_H

/* app.worker: modules whose functions run on threads of their own. */

#include "lua/state.h"

#include <stdbool.h>

/* Whether a function runs on a thread, even if nobody waits for it any more. */
bool worker_any_is_busy(const struct script *script);

/* Log how many functions still run: the script ends, and nobody waits for them any more. */
void worker_report_left(const struct script *script);

/* Free those of a script whose Lua state is closed. */
void worker_free_all(struct script *script);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_worker(lua_State *L);

#endif
