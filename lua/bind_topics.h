#ifndef EVSERVE_LUA_BIND_TOPICS_H
#define EVSERVE_LUA_BIND_TOPICS_H

/* Topics for scripts: responses that are subscribers. */

#include "lua/state.h"

struct event_stream_options;

/* Read the stream of events that a response object has: the table at index, which the prelude has made. The topic lies
 * in the Lua state. Raises for anything that cannot be a stream. */
void topics_check_stream(lua_State *L, int index, struct event_stream_options *options);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_topics(lua_State *L);

#endif
