#ifndef EVSERVE_LUA_MEMORY_H
#define EVSERVE_LUA_MEMORY_H

/* The memory of a Lua state: its allocator and its cap, lua_memory. */

#include "lua/state.h"

enum { MEMORY_RESERVE_PART = 8 }; /* the part of lua_memory that timers and app.on("memory", fn) may take beyond it */

/* Make script->L. Returns 0, -ENOMEM, or -ENOTSUP when LuaJIT takes no memory of ours. */
int memory_new_state(struct script *script);

/* Free what was set aside for a state that is closed. */
void memory_done(struct script *script);

/* Whether garbage should be collected now. */
bool memory_is_low(const struct script *script);

/* Whether more is held than allowed. */
bool memory_is_over(const struct script *script);

/* Whether a run may begin, after a collection if need be; uses_reserve: even beyond lua_memory. Before a run. */
bool memory_has_room(struct script *script, bool uses_reserve);

/* Blocks of bytes each are set aside for one kind of object, which is made again and again. Returns 0 or -ENOMEM. */
int memory_set_aside(struct script *script, size_t bytes);

/* Have one of them ready for the next allocation, of bytes, which then cannot fail. Returns false when memory is
 * short. */
bool memory_ready_block(struct script *script);

/* Whether there is memory to run Lua code with, so that not even growing a stack can fail (see memory.c). */
bool memory_has_spare(struct script *script);

/* Collect garbage. Any thread of the state; does not raise. */
void memory_collect(lua_State *L);

/* Log, once a second at most, that the state is full, so that what at place was refused. */
void memory_report_full(struct script *script, const char *what, const char *place);

/* The cap has changed. */
void memory_reset_mark(struct script *script);

/* Put the sentence that says that the cap is reached, as run (or NULL) met it, into text. */
void memory_describe(const struct script *script, const struct run *run, char *text, size_t len);

#endif
