#include "lua/request_fields.h"

#include "core/ascii.h"
#include "core/net.h"
#include "core/tls_info.h"
#include "http/cookie.h"
#include "http/peer.h"
#include "http/proxied.h"
#include "http/request_id.h"
#include "http/rules/basic_auth.h"
#include "http/url.h"
#include "lua/coro_pool.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

static void push_slice(lua_State *L, const struct exchange *exchange, struct slice slice)
{
    lua_pushlstring(L, exchange_text(exchange, slice), slice.len);
}

static void push_peer(lua_State *L, const struct exchange *exchange)
{
    char peer[NET_TEXT_MAX];
    peer_format(exchange->peer, peer, sizeof peer);
    lua_pushstring(L, peer);
}

static void push_client(lua_State *L, const struct exchange *exchange)
{
    char client[NET_TEXT_MAX];
    peer_format_host(exchange_client(exchange), client, sizeof client);
    lua_pushstring(L, client);
}

/* In lower case; nil if the request names none. */
static void push_host(lua_State *L, const struct exchange *exchange)
{
    size_t len;
    const char *host = exchange_host(exchange, &len);
    if (len == 0) {
        lua_pushnil(L);
    } else {
        request_push_lower(L, host, len);
    }
}

/* The route of a request, be it its handler's turn or that of its handler for refusals; NULL if there is none. */
static const struct route *route_of(const struct exchange *exchange)
{
    const struct route *route = exchange->match.route;
    const struct handler *handler = exchange->handler;
    bool is_its = route != NULL && handler != NULL &&
                  (route->handler == handler || route->handler->refusals == handler);
    return is_its ? route : NULL;
}

/* Push the value of a parameter of the type {int}: up to 18 digits, so it may be beyond what a number holds exactly. */
static void push_int(lua_State *L, const char *text, size_t len)
{
    int64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value * 10 + (text[i] - '0');
    }
    if (value <= INT64_C(9007199254740992)) {
        lua_pushnumber(L, (lua_Number)value);
    } else {
        lua_pushlstring(L, text, len);
    }
}

/* Which parameters of a route, or of none, are numbers for the script: a set as struct route.int_params. */
static unsigned number_params(lua_State *L, const struct route *route)
{
    if (route == NULL || route->int_params == 0) {
        return 0;
    }
    enum handler_ints ints = route->handler->ints;
    bool are_numbers = ints == HANDLER_INTS_USUAL ? script_of(L)->settings.numbers != 0 : ints == HANDLER_INTS_NUMBERS;
    return are_numbers ? route->int_params : 0;
}

static void push_params(lua_State *L, const struct exchange *exchange)
{
    const struct route *route = route_of(exchange);
    unsigned count = route == NULL ? 0 : route->param_count;
    unsigned numbers = number_params(L, route);
    lua_createtable(L, 0, (int)count);
    for (unsigned i = 0; i < count; i++) {
        struct slice value = exchange->match.params[i];
        const char *text = exchange->path + value.offset;
        lua_pushstring(L, route->param_names[i]);
        (numbers >> i & 1) != 0 ? push_int(L, text, value.len) : lua_pushlstring(L, text, value.len);
        lua_rawset(L, -3);
    }
}

/* Push a name or value of a query, decoded. */
void request_push_decoded(lua_State *L, const char *text, size_t len)
{
    char *out = write_buffer_reserve(script_lend_scratch(L, "req.query"), len + 1, SIZE_MAX, NULL);
    if (out == NULL) {
        script_raise_memory(L);
    }
    lua_pushlstring(L, out, url_decode_component(text, len, out));
    script_return_scratch(L);
}

/* Of names that come more than once, the first value: query_all() has the others. */
static void push_query(lua_State *L, const struct exchange *exchange)
{
    const char *query = exchange_text(exchange, exchange->head.query);
    size_t left = exchange->head.query.len;
    struct url_pair pair;
    lua_newtable(L);
    while (url_next_pair(&query, &left, &pair)) {
        request_push_decoded(L, pair.name, pair.name_len);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        bool is_first = lua_isnil(L, -1);
        lua_pop(L, 1);
        if (!is_first) {
            lua_pop(L, 1);
            continue;
        }
        request_push_decoded(L, pair.value, pair.value_len);
        lua_rawset(L, -3);
    }
}

/* Repeated fields are one value with commas (RFC 9110 section 5.3), Cookie with semicolons (RFC 6265 section 5.4). */
static const char *separator_of(const char *name, size_t len)
{
    return ascii_is(name, len, "cookie") ? "; " : ", ";
}

/* Push the value of all fields called name, joined; nil when there is none. */
void request_push_header(lua_State *L, const struct exchange *exchange, const char *name, size_t len)
{
    int count = 0;
    lua_pushnil(L);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len != len || !ascii_equals(exchange_text(exchange, field->name), name, len)) {
            continue;
        }
        if (count++ == 0) {
            lua_pop(L, 1);
        } else {
            lua_pushstring(L, separator_of(name, len));
        }
        push_slice(L, exchange, field->value);
        if (count > 1) {
            lua_concat(L, 3);
        }
    }
}

/* Push a name in lower case. */
void request_push_lower(lua_State *L, const char *name, size_t len)
{
    char *out = write_buffer_reserve(script_lend_scratch(L, "req.headers"), len + 1, SIZE_MAX, NULL);
    if (out == NULL) {
        script_raise_memory(L);
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = ascii_lower(name[i]);
    }
    lua_pushlstring(L, out, len);
    script_return_scratch(L);
}

static void push_headers(lua_State *L, const struct exchange *exchange)
{
    lua_createtable(L, 0, exchange->head.field_count);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        const char *name = exchange_text(exchange, field->name);
        request_push_lower(L, name, field->name.len);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            push_slice(L, exchange, field->value);
        } else {
            lua_pushstring(L, separator_of(name, field->name.len));
            push_slice(L, exchange, field->value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
    script_push_ref(script_of(L), L, REF_HEADERS_META);
    lua_setmetatable(L, -2);
}

/* Of names that come more than once the first counts: browsers send the cookie of the longest path first. */
static void push_cookies(lua_State *L, const struct exchange *exchange)
{
    lua_newtable(L);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (!ascii_is(exchange_text(exchange, field->name), field->name.len, "cookie")) {
            continue;
        }
        const char *text = exchange_text(exchange, field->value);
        size_t left = field->value.len;
        struct cookie cookie;
        while (cookie_next(&text, &left, &cookie)) {
            lua_pushlstring(L, cookie.name, cookie.name_len);
            lua_pushvalue(L, -1);
            lua_rawget(L, -3);
            bool is_first = lua_isnil(L, -1);
            lua_pop(L, 1);
            if (is_first) {
                lua_pushlstring(L, cookie.value, cookie.value_len);
                lua_rawset(L, -3);
            } else {
                lua_pop(L, 1);
            }
        }
    }
}

static void push_scheme(lua_State *L, const struct exchange *exchange)
{
    lua_pushstring(L, exchange_scheme(exchange));
}

/* Set a field of the table on top of the stack, unless there is nothing to say. */
static void set_text_field(lua_State *L, const char *name, const char *text)
{
    if (text[0] != '\0') {
        lua_pushstring(L, text);
        lua_setfield(L, -2, name);
    }
}

/* A table, or nil for a connection without TLS. */
static void push_tls(lua_State *L, const struct exchange *exchange)
{
    struct tls_info info;
    if (!exchange_tls(exchange, &info)) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 6);
    set_text_field(L, "version", info.version);
    set_text_field(L, "cipher", info.cipher);
    set_text_field(L, "sni", info.server_name);
    set_text_field(L, "alpn", info.alpn);
    lua_pushboolean(L, info.is_resumed);
    lua_setfield(L, -2, "resumed");
    if (info.client_fingerprint[0] != '\0') {
        lua_createtable(L, 0, 2);
        set_text_field(L, "subject", info.client_subject);
        set_text_field(L, "fingerprint", info.client_fingerprint);
        lua_setfield(L, -2, "client");
    }
}

static void set_address(lua_State *L, const char *name, const struct peer *peer)
{
    char text[NET_TEXT_MAX];
    peer_format(peer, text, sizeof text);
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* A table, or nil for a connection without a header of the PROXY protocol. */
static void push_proxy(lua_State *L, const struct exchange *exchange)
{
    const struct proxied *proxied = exchange_proxied(exchange);
    if (proxied == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 6);
    set_address(L, "address", &proxied->proxy);
    set_address(L, "server", &proxied->destination);
    set_text_field(L, "authority", proxied->authority);
    set_text_field(L, "alpn", proxied->alpn);
    if (proxied->unique_id_len > 0) {
        lua_pushlstring(L, proxied->unique_id, proxied->unique_id_len);
        lua_setfield(L, -2, "unique_id");
    }
    if (proxied->is_tls) {
        lua_createtable(L, 0, 3);
        set_text_field(L, "version", proxied->tls_version);
        set_text_field(L, "cipher", proxied->tls_cipher);
        set_text_field(L, "client", proxied->tls_client);
        lua_setfield(L, -2, "tls");
    }
}

/* nil unless a rule has asked for a name and a password. */
static void push_user(lua_State *L, const struct exchange *exchange)
{
    char name[CREDENTIALS_MAX];
    size_t len = basic_auth_user(exchange, name);
    if (len == 0) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, name, len);
    }
}

void request_push_field(lua_State *L, struct exchange *exchange, enum request_field field)
{
    switch (field) {
    case REQUEST_METHOD:
        push_slice(L, exchange, exchange->head.method_text);
        return;
    case REQUEST_PATH:
        lua_pushlstring(L, exchange->path, exchange->path_len);
        return;
    case REQUEST_TARGET:
        push_slice(L, exchange, exchange->head.target);
        return;
    case REQUEST_ID:
        lua_pushstring(L, request_id(exchange));
        return;
    case REQUEST_PEER:
        push_peer(L, exchange);
        return;
    case REQUEST_USER:
        push_user(L, exchange);
        return;
    case REQUEST_CLIENT:
        push_client(L, exchange);
        return;
    case REQUEST_HOST:
        push_host(L, exchange);
        return;
    case REQUEST_PARAMS:
        push_params(L, exchange);
        return;
    case REQUEST_QUERY:
        push_query(L, exchange);
        return;
    case REQUEST_HEADERS:
        push_headers(L, exchange);
        return;
    case REQUEST_COOKIES:
        push_cookies(L, exchange);
        return;
    case REQUEST_SCHEME:
        push_scheme(L, exchange);
        return;
    case REQUEST_TLS:
        push_tls(L, exchange);
        return;
    case REQUEST_PROXY:
        push_proxy(L, exchange);
        return;
    case REQUEST_BODY:
        return;
    }
}
