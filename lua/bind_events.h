#ifndef EVSERVE_LUA_BIND_EVENTS_H
#define EVSERVE_LUA_BIND_EVENTS_H

/* Server-Sent Events of scripts: their text, and the comments that keep a stream alive whose handler is silent. */

#include "lua/state.h"

/* End the comments of all streams: the script ends. */
void event_beats_free(struct script *script);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_events(lua_State *L);

#endif
