#ifndef EVSERVE_LUA_ERROR_PAGE_H
#define EVSERVE_LUA_ERROR_PAGE_H

/* What app.set { debug = true } shows a client in place of a plain error: the text, the source around the place, the
 * traceback and the request, as HTML, or the text and the traceback as JSON. Secrets of the request are not shown. */

#include "lua/state.h"

struct coro;

/* Make the page about what failed in coro: traceback is the index of its text with a traceback, place where it
 * happened: "scripts/site.lua:12". Without the setting, or when there is nothing more to answer, this does nothing. May
 * raise. */
void error_page_keep(lua_State *L, struct coro *coro, int traceback, const char *place);

/* Answer with the page, if there is one. Returns whether; coro has then parted with its exchange. */
bool error_page_send(struct coro *coro, int status);

/* Push the page that is kept, and its Content-Type, and let go of it. Returns how many values that are: 0 without a
 * page. Raises (memory). */
int error_page_push(lua_State *L, struct coro *coro);

#endif
