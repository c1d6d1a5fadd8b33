/* Texts sealed for clients to keep: core/tls_seal.h.
 *
 * Happy path: the options are read, which the table keeps alive, and the result is made in the scratch buffer.
 *
 * Failure modes: a mistake in the options is an error that names the option. A sealed text that does not open is none:
 * it comes from a client, so the function returns nil and a reason. */

#include "lua/bind_seal.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/tls_seal.h"
#include "http/limits.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <errno.h>
#include <string.h>

/* Raises for a secret, or a member of the list of secrets, that cannot be one. */
static void add_secret(lua_State *L, const char *what, int index, struct seal_terms *terms)
{
    size_t len = 0;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
    if (text == NULL) {
        script_raise(L, "%s: secret: a text of at least %d bytes, or a list of these, expected, got %s", what,
                     (int)SEAL_SECRET_LEAST, luaL_typename(L, index));
    }
    if (len < SEAL_SECRET_LEAST || len > SEAL_SECRET_MAX) {
        script_raise(
            L, "%s: secret: it has %u bytes, and this may be from %d to %d: \"openssl rand -base64 32\" makes one",
            what, (unsigned)len, (int)SEAL_SECRET_LEAST, (int)SEAL_SECRET_MAX);
    }
    if (terms->count == SEAL_SECRETS_MAX) {
        script_raise(L, "%s: secret: more than %d secrets", what, (int)SEAL_SECRETS_MAX);
    }
    terms->secrets[terms->count++] = (struct seal_secret){.text = text, .len = len};
}

/* The secret, or secrets, at the top of the stack. */
static void read_secret(lua_State *L, const char *what, struct seal_terms *terms)
{
    if (!lua_istable(L, -1)) {
        add_secret(L, what, -1, terms);
        return;
    }
    int count = (int)lua_objlen(L, -1);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        add_secret(L, what, -1, terms); /* which stays in the list */
        lua_pop(L, 1);
    }
}

static void read_purpose(lua_State *L, const char *what, struct seal_terms *terms)
{
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raise(L, "%s: purpose: a text such as \"session\" expected, got %s", what, luaL_typename(L, -1));
    }
    terms->purpose = lua_tolstring(L, -1, &terms->purpose_len);
    if (terms->purpose_len > SEAL_PURPOSE_MAX) {
        script_raise(L, "%s: purpose: it has more than %d bytes", what, (int)SEAL_PURPOSE_MAX);
    }
}

static void read_seal_age(lua_State *L, const char *what, struct seal_terms *terms)
{
    char err[SCRIPT_TEXT_MAX];
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raise(L, "%s: max_age: a time with a unit such as \"1h\" expected, got %s", what, luaL_typename(L, -1));
    }
    if (limits_parse_value(LIMIT_MS, script_check_text(L, lua_gettop(L), what), &terms->max_age_ms, err, sizeof err) <
        0) {
        script_raise(L, "%s: max_age: %s", what, err);
    }
    if (terms->max_age_ms == 0) {
        script_raise(L, "%s: max_age: it must be at least a millisecond; leave it out if there is no limit", what);
    }
}

/* Read the table at index 2. What terms point to lives in it. */
static void read_seal_terms(lua_State *L, const char *what, struct seal_terms *terms)
{
    *terms = (struct seal_terms){.purpose = ""};
    if (!lua_istable(L, 2)) {
        script_raise(L, "%s: a table such as { secret = ... } expected, got %s", what,
                     lua_isnone(L, 2) ? "nil" : luaL_typename(L, 2));
    }
    lua_pushnil(L);
    while (lua_next(L, 2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            script_raise(L, "%s: an option without a name: write { secret = ... }", what);
        }
        const char *name = lua_tostring(L, -2);
        if (strcmp(name, "secret") == 0) {
            read_secret(L, what, terms);
        } else if (strcmp(name, "purpose") == 0) {
            read_purpose(L, what, terms);
        } else if (strcmp(name, "max_age") == 0) {
            read_seal_age(L, what, terms);
        } else {
            script_push_visible(L, name, strlen(name), VISIBLE_QUOTED);
            script_raise(L, "%s: unknown option \"%.80s\": there are max_age, purpose, secret", what,
                         lua_tostring(L, -1));
        }
        lua_pop(L, 1);
    }
    if (terms->count == 0) {
        script_raise(L, "%s: secret: the options have none", what);
    }
}

/* The text at index 1. */
static const char *sealing_argument(lua_State *L, const char *what, size_t *len)
{
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "%s: a string expected, got %s", what, lua_isnone(L, 1) ? "nil" : luaL_typename(L, 1));
    }
    return lua_tolstring(L, 1, len);
}

static char *lend_seal_room(lua_State *L, const char *what, size_t len)
{
    char *room = write_buffer_reserve(script_lend_scratch(L, what), len, SIZE_MAX, NULL);
    if (room == NULL) {
        script_raise_memory(L);
    }
    return room;
}

/* OpenSSL is not there, or cannot. */
static _Noreturn void raise_seal(lua_State *L, const char *what, int error, const char *err)
{
    if (error == -ENOMEM) {
        script_raise_memory(L);
    }
    script_raise(L, "%s%s: %s", what, error == -ELIBACC ? " needs OpenSSL" : "", err);
}

/* app.seal(text, options). */
static int lua_seal(lua_State *L)
{
    struct seal_terms terms;
    char err[SCRIPT_TEXT_MAX];
    size_t len;
    const char *text = sealing_argument(L, "app.seal", &len);
    read_seal_terms(L, "app.seal", &terms);
    if (len > SEAL_TEXT_MAX) {
        script_raise(L, "app.seal: the text has %u bytes, and this may be at most %d", (unsigned)len,
                     (int)SEAL_TEXT_MAX);
    }
    char *out = lend_seal_room(L, "app.seal", tls_seal_room(len));
    int rv = tls_seal_text(&terms, text, len, sys_wall_time_ms(), out, err, sizeof err);
    if (rv == 0) {
        lua_pushlstring(L, out, tls_seal_room(len));
    }
    script_return_scratch(L);
    if (rv < 0) {
        raise_seal(L, "app.seal", rv, err);
    }
    return 1;
}

/* app.open(sealed, options): the text, or nil and why there is none. */
static int lua_open_seal(lua_State *L)
{
    struct seal_terms terms;
    char err[SCRIPT_TEXT_MAX];
    size_t len = 0;
    bool is_given = !lua_isnoneornil(L, 1);
    const char *sealed = is_given ? sealing_argument(L, "app.open", &len) : "";
    read_seal_terms(L, "app.open", &terms);
    char *out = lend_seal_room(L, "app.open", len <= SEAL_SEALED_MAX ? len + 1 : 1);
    ssize_t got = tls_seal_open(&terms, sealed, len, sys_wall_time_ms(), out, err, sizeof err);
    if (got >= 0) {
        lua_pushlstring(L, out, (size_t)got);
    }
    script_return_scratch(L);
    if (got >= 0) {
        return 1;
    }
    lua_pushnil(L);
    switch ((int)got) {
    case -EINVAL:
        lua_pushstring(L, is_given ? "not a sealed text" : "there is none");
        break;
    case -EBADMSG:
        lua_pushliteral(L, "changed, or sealed with another secret or for another purpose");
        break;
    case -ETIME:
        lua_pushliteral(L, "expired");
        break;
    default:
        raise_seal(L, "app.open", (int)got, err);
    }
    return 2;
}

void bind_seal(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"seal", lua_seal},
        {"open_seal", lua_open_seal},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
