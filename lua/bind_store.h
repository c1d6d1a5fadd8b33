#ifndef EVSERVE_LUA_BIND_STORE_H
#define EVSERVE_LUA_BIND_STORE_H

/* What the prelude makes app.store of. */

struct lua_State;
struct script;
struct stores;

/* Before the state uses any store: those of the server, or NULL. */
void bind_store_init(struct script *script, struct stores *stores);

/* Add the functions to the table on top of the stack. May raise. */
void bind_store(struct lua_State *L);

#endif
