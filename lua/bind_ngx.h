#ifndef EVSERVE_LUA_BIND_NGX_H
#define EVSERVE_LUA_BIND_NGX_H

/* The module "ngx", for drivers that were written for nginx: it is made when a script first requires it. */

#include "lua/state.h"

/* Add load_ngx() to the table on top of the stack, which the prelude gets. May raise. */
void bind_ngx(lua_State *L);

#endif
