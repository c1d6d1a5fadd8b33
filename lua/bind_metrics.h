#ifndef EVSERVE_LUA_BIND_METRICS_H
#define EVSERVE_LUA_BIND_METRICS_H

/* What the prelude makes app.metrics of. */

struct lua_State;

/* Add the functions to the table on top of the stack. */
void bind_metrics(struct lua_State *L);

#endif
