#ifndef EVSERVE_LUA_WEBSOCKET_OPTIONS_H
#define EVSERVE_LUA_WEBSOCKET_OPTIONS_H

/* The options of a WebSocket route. */

#include "http/ws/ws.h"
#include "http/ws/ws_accept.h"
#include "lua/state.h"

struct limits;

struct route_websocket {
    struct ws_options options; /* in force; those that the script has not given are settled before the script serves */
    struct ws_policy policy;   /* point to the texts below */
    uint64_t values[8];        /* of the rows of the table of options */
    uint64_t max_age_ms;       /* how long a WebSocket may stay open after a reload; 0: forever */
    char *origins;             /* owned; NULL: the default */
    char *protocols;           /* owned; NULL: none */
};

/* Push a list of their names. May raise. */
void websocket_push_option_names(lua_State *L);

/* Make the options of the table at index, whose names have been checked, into *options, which is NULL and whose owner
 * frees it whatever becomes of this. Raises; what is "app.websocket". */
void websocket_take_options(lua_State *L, int index, const char *what, struct route_websocket **options);

/* Settle what the script has not said: from the defaults and the limits of the route. */
void websocket_settle_options(struct route_websocket *options, const struct limits *limits);

/* Free them. NULL is allowed. */
void websocket_free_options(struct route_websocket *options);

#endif
