#ifndef EVSERVE_LUA_DEADLINE_H
#define EVSERVE_LUA_DEADLINE_H

/* What ends a run of Lua code that takes too much: processor time (handler_cpu) or memory (lua_memory). A run is what
 * happens between two waits of a coroutine, or one call on the main thread. */

#include "lua/state.h"

/* Begin a run, which is script->run until its end. This is a system call if the last one was 10 ms ago or more; its end
 * is none. */
void deadline_enter(struct script *script, uint64_t budget_ms, struct run *run);

/* End it, go on with the one outside; what it was like remains in the struct: whether it was stopped, and why. Returns
 * the milliseconds that it took when that is twice its budget and 50 ms or more, and nothing stopped it; else 0. */
uint64_t deadline_leave(struct script *script);

/* A stream has handed bytes on, which counts as a wait: its time begins anew. Returns whether the run has lasted so
 * long that it must really wait now, so that others have their turn. */
bool deadline_restart(struct script *script);

/* The script's Lua code is watched from now on. */
void deadline_arm(struct script *script);

/* For a C function that takes long: raise an error if the run it works for is over its budget. */
void deadline_check(lua_State *L);

/* Put the sentence that says why a run was stopped into text. */
void deadline_describe(const struct script *script, const struct run *run, char *text, size_t len);

#endif
