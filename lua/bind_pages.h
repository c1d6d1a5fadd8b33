#ifndef EVSERVE_LUA_BIND_PAGES_H
#define EVSERVE_LUA_BIND_PAGES_H

/* app.error_page: files in place of the server's own texts. */

#include "lua/state.h"

/* Add its function to the table on top of the stack, which the prelude gets. May raise. */
void bind_pages(lua_State *L);

#endif
