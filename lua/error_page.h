#ifndef EVSERVE_LUA_ERROR_PAGE_H
#define EVSERVE_LUA_ERROR_PAGE_H

/* What app.set { debug = true } shows a client in place of a plain error: the text, the source around the place, the
 * traceback and the request, as HTML, or the text and the traceback as JSON. Secrets of the request are not shown. */

#include "lua/state.h"

#include <stdbool.h>

struct coro;

/* Make the page about what failed in coro, while the stack of L still tells where: traceback is the index of its text
 * with a traceback. Without the setting, or when there is nothing more to answer, this does nothing. May raise. */
void error_page_keep(lua_State *L, struct coro *coro, int traceback);

/* Answer with the page, if there is one. Returns whether; coro has then parted with its exchange. */
bool error_page_send(struct coro *coro, int status);

/* Drop a page that was not needed. */
void error_page_drop(struct coro *coro);

#endif
