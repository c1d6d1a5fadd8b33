#ifndef EVSERVE_LUA_BIND_SETTINGS_H
#define EVSERVE_LUA_BIND_SETTINGS_H

/* app.set. */

#include "lua/state.h"

/* The value at index for the setting or limit of a row, within its range. Raises; what is "app.set", for the text. */
uint64_t script_check_setting(lua_State *L, int index, const struct limit_info *info, const char *what);

/* A time was given as a number: so many milliseconds, where whoever writes 30 most likely means seconds. Log it with
 * the place in the script, once for all threads. */
void script_warn_of_seconds(lua_State *L, const char *what, const char *name, uint64_t value);

/* The same for the time of ms at index, if it is a number and below below_ms. */
void script_warn_if_seconds(lua_State *L, int index, const char *what, const char *name, uint32_t ms,
                            uint32_t below_ms);

/* The same for a call that may come often, such as app.fetch: once for each thread. */
void script_warn_of_seconds_once(lua_State *L, int index, const char *what, const char *name, uint32_t ms);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_settings(lua_State *L);

#endif
