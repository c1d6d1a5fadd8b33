#ifndef EVSERVE_LUA_BIND_CODEC_H
#define EVSERVE_LUA_BIND_CODEC_H

/* Base64, checksums and digests for the prelude. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack. May raise. */
void bind_codec(lua_State *L);

#endif
