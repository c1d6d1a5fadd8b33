#ifndef EVSERVE_LUA_BIRTH_H
#define EVSERVE_LUA_BIRTH_H

/* The begin and the end of a struct script with its Lua state. */

#include "lua/state.h"

/* Make one whose state is empty; path is its name. What a host or a site gives it is still zero. Returns 0, -ENOMEM, or
 * -ENOTSUP when LuaJIT takes no memory of ours; then with a text in err. */
int birth_create(struct script **script, const char *path, char *err, size_t errlen);

/* LuaJIT begins every state with the same sequence of random numbers: begin another one. May raise. */
void birth_seed(lua_State *L);

/* Close the state, which runs finalizers. */
void birth_close_state(struct script *script);

/* Free the rest, once the state is closed and nothing else is left that the script owns. */
void birth_free(struct script *script);

#endif
