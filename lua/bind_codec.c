/* Texts as other texts: base64, hexadecimal digits, percent-encoding, checksums, digests. The arguments are strings:
 * the prelude has made sure of that, and gives errors their names. */

#include "lua/bind_codec.h"

#include "core/base64.h"
#include "core/crc32.h"
#include "core/hex.h"
#include "core/tls_digest.h"
#include "lua/request_fields.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <string.h>

/* Room for len bytes in the scratch buffer, which is lent until the caller returns it. */
static char *lend_room(lua_State *L, size_t len)
{
    char *room = write_buffer_reserve(script_lend_scratch(L, "ngx"), len + 1, SIZE_MAX, NULL);
    if (room == NULL) {
        script_raise_memory(L);
    }
    return room;
}

/* encode_base64(text, form): form is a number of enum base64_form. */
static int lua_encode_base64(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    enum base64_form form = (enum base64_form)luaL_checkinteger(L, 2);
    char *out = lend_room(L, base64_room(len));
    lua_pushlstring(L, out, base64_encode(text, len, form, out));
    script_return_scratch(L);
    return 1;
}

/* decode_base64(text, is_url): the bytes, or nil. */
static int lua_decode_base64(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    char *out = lend_room(L, base64_decoded_room(len));
    ssize_t decoded = base64_decode(text, len, lua_toboolean(L, 2) != 0, out);
    if (decoded < 0) {
        lua_pushnil(L);
    } else {
        lua_pushlstring(L, out, (size_t)decoded);
    }
    script_return_scratch(L);
    return 1;
}

/* hex(text): two digits for each byte. */
static int lua_hex(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    char *out = lend_room(L, 2 * len);
    hex_encode(text, len, out);
    lua_pushlstring(L, out, 2 * len);
    script_return_scratch(L);
    return 1;
}

/* unescape(text): a component of a query, decoded. */
static int lua_unescape(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    request_push_decoded(L, text, len);
    return 1;
}

/* crc32(text). */
static int lua_crc32(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushnumber(L, crc32_of(text, len));
    return 1;
}

/* load_digests(): true, or nil and why there are none. */
static int lua_load_digests(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    if (tls_digest_load(err, sizeof err) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* What a digest function returns: the bytes, or nil and an error text. */
static int give_digest(lua_State *L, int rv, const unsigned char *digest, unsigned len, const char *err)
{
    if (rv < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    lua_pushlstring(L, (const char *)digest, len);
    return 1;
}

static enum tls_digest check_digest(lua_State *L)
{
    return strcmp(luaL_checkstring(L, 1), "md5") == 0 ? TLS_DIGEST_MD5 : TLS_DIGEST_SHA1;
}

/* digest("md5" | "sha1", text). */
static int lua_digest(lua_State *L)
{
    unsigned char out[TLS_DIGEST_MAX];
    unsigned out_len = 0;
    char err[SCRIPT_TEXT_MAX];
    size_t len;
    enum tls_digest digest = check_digest(L);
    const char *text = luaL_checklstring(L, 2, &len);
    int rv = tls_digest(digest, text, len, out, &out_len, err, sizeof err);
    return give_digest(L, rv, out, out_len, err);
}

/* hmac("md5" | "sha1", key, text). */
static int lua_hmac(lua_State *L)
{
    unsigned char out[TLS_DIGEST_MAX];
    unsigned out_len = 0;
    char err[SCRIPT_TEXT_MAX];
    size_t key_len, len;
    enum tls_digest digest = check_digest(L);
    const char *key = luaL_checklstring(L, 2, &key_len);
    const char *text = luaL_checklstring(L, 3, &len);
    int rv = tls_digest_hmac(digest, key, key_len, text, len, out, &out_len, err, sizeof err);
    return give_digest(L, rv, out, out_len, err);
}

void bind_codec(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode_base64", lua_encode_base64},
        {"decode_base64", lua_decode_base64},
        {"hex", lua_hex},
        {"unescape", lua_unescape},
        {"crc32", lua_crc32},
        {"load_digests", lua_load_digests},
        {"digest", lua_digest},
        {"hmac", lua_hmac},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
