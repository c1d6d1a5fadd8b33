/* app.url: the address of a named route.
 *
 * Happy path: the pattern is parsed again, as the router did, and written with values in the places of its parameters.
 *
 * Failure modes: a value that the route would not get back is an error that names the parameter: one that its type does
 * not accept, and what no path can say (a slash, a backslash or NUL in a segment, the segments "." and ".."). */

#include "lua/bind_url.h"

#include "http/route_pattern.h"
#include "http/url.h"
#include "lua/script_error.h"

#include <string.h>

/* An address being made. */
struct url_writer {
    lua_State *L;      /* where errors are raised */
    const char *route; /* name, for errors */
    char *path;        /* as it will be decoded; there is room for all of it */
    size_t len;        /* of path */
};

static void url_put(struct url_writer *writer, const char *text, size_t len)
{
    memcpy(writer->path + writer->len, text, len);
    writer->len += len;
}

static _Noreturn void raise_value(const struct url_writer *writer, const char *name, const char *text, const char *why)
{
    script_raise(writer->L, "app.url: %s: parameter \"%s\": \"%.80s\" %s", writer->route, name, text, why);
}

/* Copy the type of a parameter out of a pattern: "{int}". */
static void copy_type(const char *pattern, const struct route_name *name, char *type, size_t room)
{
    const char *from = pattern + name->offset + name->len;
    const char *close = from[1] == '[' ? "]+}" : "}"; /* a set may have a '}' of its own */
    const char *end = strstr(from, close);
    size_t len = end == NULL ? 0 : (size_t)(end - from) + strlen(close);
    len = len < room ? len : room - 1;
    memcpy(type, from, len);
    type[len] = '\0';
}

/* Put the text at the top of the stack for the parameter called name. */
static void put_value(struct url_writer *writer, const char *pattern, const struct route_piece *piece,
                      const struct route_name *place, const char *name)
{
    size_t len;
    const char *text = lua_tolstring(writer->L, -1, &len);
    if (memchr(text, '\0', len) != NULL || memchr(text, '\\', len) != NULL) {
        raise_value(writer, name, text, "contains a NUL or a backslash, which a path must not");
    }
    if (piece->kind != PIECE_REST && memchr(text, '/', len) != NULL) {
        raise_value(writer, name, text, "contains a slash, which only a *rest may");
    }
    if (piece->kind != PIECE_REST && len == 0) {
        raise_value(writer, name, text, "is empty: a parameter needs at least one byte");
    }
    if (piece->type != NULL && !route_type_accepts(piece->type, text, len)) {
        char type[64];
        copy_type(pattern, place, type, sizeof type);
        script_raise(writer->L, "app.url: %s: parameter \"%s\": \"%.80s\" is not of the type %s", writer->route, name,
                     text, type);
    }
    url_put(writer, text, len);
}

/* Push the path, encoded. The stack keeps what it is made in. */
static void push_encoded(const struct url_writer *writer)
{
    lua_State *L = writer->L;
    const char *reason;
    char *encoded = lua_newuserdata(L, 3 * writer->len);
    char *decoded = lua_newuserdata(L, 3 * writer->len + 1);
    size_t len = url_encode_path(writer->path, writer->len, encoded);
    ssize_t decoded_len = url_normalise_path(encoded, len, decoded, 3 * writer->len + 1, &reason);
    if (decoded_len != (ssize_t)writer->len || memcmp(writer->path, decoded, writer->len) != 0) {
        script_raise(L, "app.url: %s: a segment would be \".\" or \"..\", which clients remove from paths",
                     writer->route);
    }
    lua_pushlstring(L, encoded, len);
}

/* Parse a pattern that was registered. */
static void parse(lua_State *L, struct route_pattern *pattern, const char *text)
{
    char err[SCRIPT_TEXT_MAX];
    if (route_pattern_parse(pattern, text, "", err, sizeof err) < 0) {
        script_raise(L, "%s", err);
    }
}

/* url_path(name, pattern, params): the encoded path. params maps names to texts. */
static int lua_url_path(lua_State *L)
{
    enum { NAME = 1, PATTERN, PARAMS, BLOCK, FIRST_VALUE };
    struct route_pattern pattern;
    size_t room, value_len;
    const char *text = luaL_checklstring(L, PATTERN, &room);
    struct url_writer writer = {.L = L, .route = luaL_checkstring(L, NAME)};
    luaL_checktype(L, PARAMS, LUA_TTABLE);
    parse(L, &pattern, text);
    lua_settop(L, PARAMS);
    lua_pushnil(L); /* for BLOCK */
    luaL_checkstack(L, 2 * ROUTE_PARAMS_MAX + LUA_MINSTACK, "app.url");
    for (unsigned i = 0; i < pattern.name_count; i++) {
        lua_pushlstring(L, text + pattern.names[i].offset, pattern.names[i].len);
        lua_rawget(L, PARAMS);
        if (lua_isnil(L, -1)) {
            script_raise(L, "app.url: %s: the parameter \"%.*s\" of %s is missing", writer.route,
                         (int)pattern.names[i].len, text + pattern.names[i].offset, text);
        }
        if (lua_tolstring(L, -1, &value_len) == NULL) {
            script_raise(L, "app.url: %s: text or a number expected, got %s", writer.route, luaL_typename(L, -1));
        }
        room += value_len;
    }
    writer.path = lua_newuserdata(L, room);
    lua_replace(L, BLOCK);

    unsigned next = 0;
    for (unsigned i = 0; i < pattern.piece_count; i++) {
        const struct route_piece *piece = &pattern.pieces[i];
        const char *start = writer.path + writer.len;
        if (piece->kind != PIECE_LITERAL) {
            const struct route_name *place = &pattern.names[next];
            lua_pushlstring(L, text + place->offset, place->len);
            lua_pushvalue(L, FIRST_VALUE + (int)next++);
            put_value(&writer, text, piece, place, lua_tostring(L, -2));
            lua_pop(L, 2);
        }
        url_put(&writer, piece->text, piece->len);
        uint32_t put = (uint32_t)(writer.path + writer.len - start);
        if (piece->kind == PIECE_INNER && route_inner_len(piece, start, put) != put - piece->len) {
            const struct route_name *place = &pattern.names[next - 1];
            script_raise(
                L, "app.url: %s: parameter \"%.*s\": \"%.*s\" contains the text behind it in its segment, \"%.*s\"",
                writer.route, (int)place->len, text + place->offset, put < 80 ? (int)(put - piece->len) : 80, start,
                (int)piece->len, piece->text);
        }
    }
    push_encoded(&writer);
    return 1;
}

/* url_params(pattern): a list of the names of its parameters. */
static int lua_url_params(lua_State *L)
{
    struct route_pattern pattern;
    const char *text = luaL_checkstring(L, 1);
    parse(L, &pattern, text);
    lua_newtable(L);
    for (unsigned i = 0; i < pattern.name_count; i++) {
        lua_pushlstring(L, text + pattern.names[i].offset, pattern.names[i].len);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* url_encode(text): for a name or value in a query. */
static int lua_url_encode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    char *encoded = lua_newuserdata(L, 3 * len + 1);
    lua_pushlstring(L, encoded, url_encode_segment(text, len, encoded));
    return 1;
}

void bind_url(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"url_path", lua_url_path},
        {"url_params", lua_url_params},
        {"url_encode", lua_url_encode},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
