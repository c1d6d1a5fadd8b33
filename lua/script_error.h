#ifndef EVSERVE_LUA_SCRIPT_ERROR_H
#define EVSERVE_LUA_SCRIPT_ERROR_H

/* Errors that say where they happened: how C raises them for scripts, and how those of the main thread become one line
 * of text. Those of coroutines, with their traceback, are coro_error.c's. */

#include "core/visible.h"
#include "lua/state.h"

/* Where the script called: "scripts/site.lua:12", the innermost Lua function that is not the prelude's, of the handler
 * or middleware at work; else the route at work, else the script's path. */
void script_place(lua_State *L, char place[PLACE_MAX]);

/* Append text with what does not show made visible: what a client sent cannot forge a line of its own in the log. out
 * is the scratch buffer. Raises for want of memory. */
void script_put_visible(lua_State *L, struct write_buffer *out, const char *text, size_t len,
                        enum visible_manner manner);

/* Push text with what does not show made visible. text lies in a Lua string below. May raise for want of memory. */
void script_push_visible(lua_State *L, const char *text, size_t len, enum visible_manner manner);

/* Raise an error that begins with the script_place(). Only from a lua_CFunction. */
_Noreturn void script_raise(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Raise an error that is a response, as app.error does: a status and a text for the client. */
_Noreturn void script_raise_answer(lua_State *L, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Raise the value on top of the stack. */
_Noreturn void script_raise_top(lua_State *L);

/* Whether the error value at index says that memory was short in run. A place may be in front of that; any other text
 * only if lua_memory has refused the run a block. */
bool script_is_memory_error(lua_State *L, int index, const struct run *run);

/* Raise that memory is short. */
_Noreturn void script_raise_memory(lua_State *L);

/* Raise unless the script is at start-up; what is "app.listen". */
void script_check_loading(lua_State *L, const char *what);

/* The text at index, a string or a number; a number becomes a string in place. Raises for anything else, and when a NUL
 * byte would end it too early for C; what is "app.listen". */
const char *script_check_text(lua_State *L, int index, const char *what);

/* Message handler for lua_pcall() on the main thread: the error becomes a text that begins with its place. */
int script_message_handler(lua_State *L);

/* Push the text of the error value at index, an absolute one: of a table what its __tostring says, else a few of its
 * fields. Not escaped. May raise for want of memory. */
void script_push_error_text(lua_State *L, int index);

/* Of the error text on top of the stack: where Lua has put a place of the prelude's in front, as it does for an error
 * of a C function that was called last (a tail call), put the script's place instead, or the route's. */
void script_place_error(lua_State *L);

/* Pop the error value on top of the main thread's stack and put it into err as one line that begins with file and line,
 * or the script's path. Does not raise. Returns result. */
int script_describe_error(const struct script *script, int result, char *err, size_t errlen);

#endif
