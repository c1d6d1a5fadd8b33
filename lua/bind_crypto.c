/* Random bytes, texts as other texts, digests, and the comparison of secrets. They need no reactor, so workers have
 * them, too.
 *
 * Happy path: what is made is written into the scratch buffer, or on the stack of C, and becomes a string.
 *
 * Failure modes: an argument that is no string is an error; a text that is not base64 or hexadecimal gives nil and a
 * reason, since clients send such texts. Digests raise where OpenSSL is not there. */

#include "lua/bind_crypto.h"

#include "core/base64.h"
#include "core/hex.h"
#include "core/log.h"
#include "core/password_hash.h"
#include "core/random.h"
#include "core/sys.h"
#include "core/tls_digest.h"
#include "http/number.h"
#include "lua/hook.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <string.h>

enum {
    RANDOM_BYTES_MAX = 65536, /* of app.random */
    LONG_INPUT = 65536,       /* bytes whose digest takes some time: the deadline is looked at behind it */
};

static const char *type_name(lua_State *L, int index)
{
    return lua_isnone(L, index) ? "nil" : luaL_typename(L, index);
}

/* The string at index; anything else raises. */
static const char *binary_argument(lua_State *L, int index, const char *what, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "%s: a string expected, got %s", what, type_name(L, index));
    }
    return lua_tolstring(L, index, len);
}

/* Room for len bytes in the scratch buffer, which is lent until the caller returns it. */
static char *lend_bytes(lua_State *L, const char *what, size_t len)
{
    char *room = write_buffer_reserve(script_lend_scratch(L, what), len + 1, SIZE_MAX, NULL);
    if (room == NULL) {
        script_raise_memory(L);
    }
    return room;
}

/* Random bytes. */

static _Noreturn void raise_random(lua_State *L, const char *what, int error)
{
    script_raise(L, "%s: the system gives no random bytes: %s", what, errno_text(error));
}

/* app.random(n). */
static int lua_random(lua_State *L)
{
    double wanted = lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : 0;
    if (!(wanted >= 1 && wanted <= RANDOM_BYTES_MAX) || wanted != (double)(size_t)wanted) {
        char given[NUMBER_TEXT_MAX + 1];
        given[number_format(given, wanted)] = '\0';
        script_raise(L, "app.random: a whole number of bytes from 1 to %d expected, got %s", (int)RANDOM_BYTES_MAX,
                     lua_type(L, 1) == LUA_TNUMBER ? given : type_name(L, 1));
    }
    size_t len = (size_t)wanted;
    char *out = lend_bytes(L, "app.random", len);
    int rv = random_fill(out, len);
    if (rv == 0) {
        lua_pushlstring(L, out, len);
    }
    script_return_scratch(L);
    if (rv < 0) {
        raise_random(L, "app.random", -rv);
    }
    return 1;
}

/* app.uuid(version). */
static int lua_uuid(lua_State *L)
{
    char text[UUID_TEXT];
    lua_Number version = lua_isnoneornil(L, 1) ? 4 : lua_type(L, 1) == LUA_TNUMBER ? lua_tonumber(L, 1) : 0;
    if (version != 4 && version != 7) {
        script_raise(L, "app.uuid: the version is 4, which is random, or 7, which begins with the time");
    }
    int rv = uuid_write(text, (int)version, sys_wall_time_ms());
    if (rv < 0) {
        raise_random(L, "app.uuid", -rv);
    }
    lua_pushlstring(L, text, sizeof text);
    return 1;
}

/* Texts as other texts. */

static int encode_text(lua_State *L, const char *what, enum base64_form form)
{
    size_t len;
    const char *text = binary_argument(L, 1, what, &len);
    char *out = lend_bytes(L, what, base64_room(len));
    lua_pushlstring(L, out, base64_encode(text, len, form, out));
    script_return_scratch(L);
    return 1;
}

static int lua_base64(lua_State *L)
{
    return encode_text(L, "app.base64", BASE64_PADDED);
}

static int lua_base64url(lua_State *L)
{
    return encode_text(L, "app.base64url", BASE64_URL);
}

/* What a decoder returns: the bytes in the scratch buffer, which is returned; or nil and where the text is wrong. */
static int give_decoded(lua_State *L, const char *form, const char *out, ssize_t decoded, size_t bad, size_t len)
{
    if (decoded >= 0) {
        lua_pushlstring(L, out, (size_t)decoded);
        script_return_scratch(L);
        return 1;
    }
    script_return_scratch(L);
    lua_pushnil(L);
    if (bad >= len) {
        lua_pushfstring(L, "not %s: the end is missing", form);
    } else {
        lua_pushfstring(L, "not %s at byte %d", form, (int)bad + 1);
    }
    return 2;
}

static int decode_text(lua_State *L, const char *what, bool is_url)
{
    size_t len, bad = 0;
    const char *text = binary_argument(L, 1, what, &len);
    char *out = lend_bytes(L, what, base64_decoded_room(len));
    ssize_t decoded = base64_decode_exact(text, len, is_url, out, &bad);
    return give_decoded(L, is_url ? "base64url" : "base64", out, decoded, bad, len);
}

static int lua_base64_decode(lua_State *L)
{
    return decode_text(L, "app.base64_decode", false);
}

static int lua_base64url_decode(lua_State *L)
{
    return decode_text(L, "app.base64url_decode", true);
}

static int lua_to_hex(lua_State *L)
{
    size_t len;
    const char *text = binary_argument(L, 1, "app.hex", &len);
    char *out = lend_bytes(L, "app.hex", 2 * len);
    hex_encode(text, len, out);
    lua_pushlstring(L, out, 2 * len);
    script_return_scratch(L);
    return 1;
}

static int lua_from_hex(lua_State *L)
{
    size_t len, bad = 0;
    const char *text = binary_argument(L, 1, "app.hex_decode", &len);
    char *out = lend_bytes(L, "app.hex_decode", len / 2);
    ssize_t decoded = hex_decode(text, len, out, &bad);
    return give_decoded(L, "hexadecimal", out, decoded, bad, len);
}

/* Digests. */

/* What a digest function returns. */
static int give_hash(lua_State *L, const char *what, int rv, const unsigned char *hash, unsigned hash_len, size_t len,
                     const char *err)
{
    if (rv < 0) {
        script_raise(L, "%s needs OpenSSL: %s", what, err);
    }
    if (len >= LONG_INPUT) {
        hook_look_soon(script_of(L));
    }
    lua_pushlstring(L, (const char *)hash, hash_len);
    return 1;
}

static int hash_text(lua_State *L, const char *what, enum tls_digest digest)
{
    unsigned char out[TLS_DIGEST_MAX];
    unsigned out_len = 0;
    char err[SCRIPT_TEXT_MAX];
    size_t len;
    const char *text = binary_argument(L, 1, what, &len);
    int rv = tls_digest(digest, text, len, out, &out_len, err, sizeof err);
    return give_hash(L, what, rv, out, out_len, len, err);
}

static int lua_sha256(lua_State *L)
{
    return hash_text(L, "app.sha256", TLS_DIGEST_SHA256);
}

static int lua_sha512(lua_State *L)
{
    return hash_text(L, "app.sha512", TLS_DIGEST_SHA512);
}

/* app.hmac(digest, key, text). */
static int lua_hmac_of(lua_State *L)
{
    static const struct {
        const char *name;
        enum tls_digest digest;
    } digests[] = {
        {"sha256", TLS_DIGEST_SHA256},
        {"sha512", TLS_DIGEST_SHA512},
        {"sha1", TLS_DIGEST_SHA1},
    };
    unsigned char out[TLS_DIGEST_MAX];
    unsigned out_len = 0;
    char err[SCRIPT_TEXT_MAX];
    size_t key_len, len, n = 0;
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
    while (n < sizeof digests / sizeof digests[0] && strcmp(name, digests[n].name) != 0) {
        n++;
    }
    if (n == sizeof digests / sizeof digests[0]) {
        script_raise(L, "app.hmac: the digest is \"sha256\", \"sha512\" or \"sha1\", then come the key and the text");
    }
    const char *key = binary_argument(L, 2, "app.hmac: the key", &key_len);
    const char *text = binary_argument(L, 3, "app.hmac: the text", &len);
    int rv = tls_digest_hmac(digests[n].digest, key, key_len, text, len, out, &out_len, err, sizeof err);
    return give_hash(L, "app.hmac", rv, out, out_len, len, err);
}

/* app.equal(a, b): nil, which a client that sends nothing leaves, is equal to nothing. */
static int lua_same_bytes(lua_State *L)
{
    size_t lens[2] = {0, 0};
    const char *texts[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        if (!lua_isnoneornil(L, i + 1)) {
            texts[i] = binary_argument(L, i + 1, "app.equal", &lens[i]);
        }
    }
    lua_pushboolean(L, texts[0] != NULL && texts[1] != NULL && lens[0] == lens[1] &&
                           password_is_same(texts[0], texts[1], lens[0]));
    return 1;
}

void bind_crypto(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"random", lua_random},
        {"uuid", lua_uuid},
        {"base64", lua_base64},
        {"base64_decode", lua_base64_decode},
        {"base64url", lua_base64url},
        {"base64url_decode", lua_base64url_decode},
        {"to_hex", lua_to_hex},
        {"from_hex", lua_from_hex},
        {"sha256", lua_sha256},
        {"sha512", lua_sha512},
        {"hmac_of", lua_hmac_of},
        {"equal", lua_same_bytes},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
