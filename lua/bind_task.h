#ifndef EVSERVE_LUA_BIND_TASK_H
#define EVSERVE_LUA_BIND_TASK_H

/* Tasks: functions that run beside the handler that has begun them (app.spawn, app.all, app.race). */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_task(lua_State *L);

#endif
