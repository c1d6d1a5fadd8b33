#ifndef EVSERVE_LUA_BIND_CRYPTO_H
#define EVSERVE_LUA_BIND_CRYPTO_H

/* app.random, app.uuid, app.base64, app.hex, app.sha256, app.hmac, app.equal and their likes. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_crypto(lua_State *L);

#endif
