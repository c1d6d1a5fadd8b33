/* Options that are numbers come from one table, like the limits of http/limits.def; the prelude has checked the names
 * of all, and has made one text of each list.
 *
 * Failure modes: a value out of its range raises an error; the options themselves belong to the route by then. */

#include "lua/websocket_options.h"

#include "core/mem.h"
#include "lua/bind_settings.h"
#include "lua/routes.h"
#include "lua/script_error.h"

enum websocket_row {
    WEBSOCKET_MAX_MESSAGE,
    WEBSOCKET_IDLE_TIMEOUT,
    WEBSOCKET_PING,
    WEBSOCKET_PONG_TIMEOUT,
    WEBSOCKET_CLOSE_TIMEOUT,
    WEBSOCKET_MAX_AGE,
    WEBSOCKET_COMPRESS,
    WEBSOCKET_COMPRESS_MIN,
    WEBSOCKET_ROWS,
};
_Static_assert(WEBSOCKET_ROWS <= sizeof((struct route_websocket *)0)->values / sizeof(uint64_t), "each has a value");

enum { DAY_MS = 86400000, MESSAGE_MAX = 1 << 30, AGE_MS = 3600000 };

static const struct limit_info websocket_table[WEBSOCKET_ROWS] = {
    {"max_message", LIMIT_ROUTE, LIMIT_BYTES, 0, WS_MAX_MESSAGE_BYTES, 1, MESSAGE_MAX, "bytes of a message"},
    {"idle_timeout", LIMIT_ROUTE, LIMIT_MS, 0, 0, 0, DAY_MS, "how long no message may go either way; 0: forever"},
    {"ping", LIMIT_ROUTE, LIMIT_MS, 0, WS_PING_MS, 0, DAY_MS, "silence after which a client is sent a ping; 0: never"},
    {"pong_timeout", LIMIT_ROUTE, LIMIT_MS, 0, WS_PONG_TIMEOUT_MS, 1, DAY_MS, "how long its pong may take"},
    {"close_timeout", LIMIT_ROUTE, LIMIT_MS, 0, WS_CLOSE_TIMEOUT_MS, 1, DAY_MS, "how long its close may take"},
    {"max_age", LIMIT_ROUTE, LIMIT_MS, 0, AGE_MS, 0, 7 * DAY_MS, "how long it may stay after a reload; 0: forever"},
    {"compress", LIMIT_ROUTE, LIMIT_FLAG, 0, 0, 0, 1, "whether messages are compressed"},
    {"compress_min", LIMIT_ROUTE, LIMIT_BYTES, 0, WS_COMPRESS_MIN_BYTES, 1, MESSAGE_MAX, "bytes of the shortest such"},
};

void websocket_push_option_names(lua_State *L)
{
    static const char *const others[] = {"origins", "protocols"};
    int count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < WEBSOCKET_ROWS; i++) {
        lua_pushstring(L, websocket_table[i].name);
        lua_rawseti(L, -2, ++count);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        lua_pushstring(L, others[i]);
        lua_rawseti(L, -2, ++count);
    }
}

/* A copy of the text called name, NULL where there is none. Raises. */
static char *copy_option(lua_State *L, int index, const char *what, const char *name)
{
    char *text = NULL;
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1)) {
        text = mem_copy_text(script_check_text(L, -1, what));
        if (text == NULL) {
            script_raise_memory(L);
        }
    }
    lua_pop(L, 1);
    return text;
}

void websocket_take_options(lua_State *L, int index, const char *what, struct route_websocket **options)
{
    struct route_websocket *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        script_raise_memory(L);
    }
    *options = made;
    for (unsigned i = 0; i < WEBSOCKET_ROWS; i++) {
        made->values[i] = websocket_table[i].initial;
        lua_getfield(L, index, websocket_table[i].name);
        if (!lua_isnil(L, -1)) {
            made->values[i] = script_check_setting(L, lua_gettop(L), &websocket_table[i], what);
        }
        lua_pop(L, 1);
    }
    made->origins = copy_option(L, index, what, "origins");
    made->protocols = copy_option(L, index, what, "protocols");
    made->policy = (struct ws_policy){.origins = made->origins, .protocols = made->protocols};
}

void websocket_settle_options(struct route_websocket *options, const struct limits *limits)
{
    const struct ws_user *user = options->options.user;
    ws_options_init(&options->options, limits, user);
    options->options.max_message = (size_t)options->values[WEBSOCKET_MAX_MESSAGE];
    options->options.idle_timeout_ms = (uint32_t)options->values[WEBSOCKET_IDLE_TIMEOUT];
    options->options.ping_ms = (uint32_t)options->values[WEBSOCKET_PING];
    options->options.pong_timeout_ms = (uint32_t)options->values[WEBSOCKET_PONG_TIMEOUT];
    options->options.close_timeout_ms = (uint32_t)options->values[WEBSOCKET_CLOSE_TIMEOUT];
    options->options.compress_min = options->values[WEBSOCKET_COMPRESS] == 0
                                        ? 0
                                        : (uint32_t)options->values[WEBSOCKET_COMPRESS_MIN];
    options->max_age_ms = options->values[WEBSOCKET_MAX_AGE];
}

void websocket_free_options(struct route_websocket *options)
{
    if (options != NULL) {
        mem_free(options->origins);
        mem_free(options->protocols);
        mem_free(options);
    }
}
