#ifndef EVSERVE_LUA_REQUEST_FIELDS_H
#define EVSERVE_LUA_REQUEST_FIELDS_H

/* What scripts see of a request, made from its exchange. All functions may raise (memory). */

#include "http/exchange.h"
#include "lua/state.h"

/* Fields of the object, in the order of their names in bind_request.c. */
enum request_field {
    REQUEST_METHOD = 1,
    REQUEST_PATH,
    REQUEST_TARGET,
    REQUEST_ID,
    REQUEST_SCHEME,
    REQUEST_KEPT, /* from here on they are kept */
    REQUEST_PEER = REQUEST_KEPT,
    REQUEST_CLIENT,
    REQUEST_HOST,
    REQUEST_USER,
    REQUEST_PARAMS,
    REQUEST_QUERY,
    REQUEST_HEADERS,
    REQUEST_COOKIES,
    REQUEST_TLS,
    REQUEST_PROXY,
    REQUEST_BODY, /* made by the prelude, since it may wait */
};

/* Push the value of a field other than the body. The request has not ended. */
void request_push_field(lua_State *L, struct exchange *exchange, enum request_field field);

/* Push the value of all header fields called name, joined; nil when there is none. */
void request_push_header(lua_State *L, const struct exchange *exchange, const char *name, size_t len);

/* Push the name of a field, or of a host, in lower case. */
void request_push_lower(lua_State *L, const char *name, size_t len);

/* Push a name or value of a query or a form, decoded. */
void request_push_decoded(lua_State *L, const char *text, size_t len);

#endif
