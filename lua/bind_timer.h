#ifndef EVSERVE_LUA_BIND_TIMER_H
#define EVSERVE_LUA_BIND_TIMER_H

/* app.sleep, and timers. */

#include "lua/state.h"

/* Those that were set while the reactor must be left alone: their time begins now. Returns 0 or -ENOMEM. */
int timer_begin_all(struct script *script);

/* Cancel all timers. */
void timer_cancel_all(struct script *script);

/* Free those of a script whose Lua state is closed. */
void timer_free_all(struct script *script);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_timer(lua_State *L);

#endif
