/* JSON of Lua sites (lua/json_decode.c, lua/json_encode.c). The input is a JSON text, flush against a page that must
 * not be touched. It is accepted when a plain reading of RFC 8259 accepts it, and only then; and what was read is the
 * same after it was written and read again. */

#include "lua/call.h"
#include "lua/json.h"
#include "lua/json_decode.h"
#include "lua/json_encode.h"
#include "lua/scratch.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/lua_scene.h"

#include <math.h>

/* A plain reading: whether text is JSON, nested no deeper than we allow, without numbers beyond a double. */
struct plain {
    const char *at; /* NUL-terminated */
    const char *end;
};

static bool read_value(struct plain *plain, int depth);

static void skip_space(struct plain *plain)
{
    plain->at += strspn(plain->at, " \t\r\n");
}

static bool read_word(struct plain *plain, const char *word)
{
    size_t len = strlen(word);
    bool is_there = strncmp(plain->at, word, len) == 0;
    plain->at += is_there ? len : 0;
    return is_there;
}

static bool read_hex4(struct plain *plain, unsigned *code)
{
    char digits[5] = "";
    if (strspn(plain->at, "0123456789abcdefABCDEF") < 4) {
        return false;
    }
    memcpy(digits, plain->at, 4);
    *code = (unsigned)strtoul(digits, NULL, 16);
    plain->at += 4;
    return true;
}

static bool read_escape(struct plain *plain)
{
    unsigned high, low;
    if (*plain->at != 'u') {
        return *plain->at != '\0' && strchr("\"\\/bfnrt", *plain->at++) != NULL;
    }
    plain->at++;
    if (!read_hex4(plain, &high)) {
        return false;
    }
    if (high < 0xd800 || high > 0xdfff) {
        return true;
    }
    return high < 0xdc00 && read_word(plain, "\\u") && read_hex4(plain, &low) && low >= 0xdc00 && low <= 0xdfff;
}

/* One character, by its code. */
static bool read_utf8(struct plain *plain)
{
    unsigned char first = (unsigned char)*plain->at++;
    size_t more = first < 0x80 ? 0 : first < 0xc0 ? 9 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf8 ? 3 : 9;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (more == 9) {
        return false;
    }
    uint32_t code = more == 0 ? first : first & (0x3fU >> more);
    for (size_t i = 0; i < more; i++) {
        unsigned char c = (unsigned char)*plain->at++;
        if ((c & 0xc0) != 0x80) {
            return false;
        }
        code = code << 6 | (c & 0x3f);
    }
    return code >= least[more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool read_string(struct plain *plain)
{
    if (*plain->at++ != '"') {
        return false;
    }
    while (plain->at < plain->end && *plain->at != '"') {
        bool is_escape = *plain->at == '\\';
        plain->at += is_escape ? 1 : 0;
        if ((unsigned char)*plain->at < ' ' || !(is_escape ? read_escape(plain) : read_utf8(plain))) {
            return false;
        }
    }
    return plain->at++ < plain->end;
}

static size_t skip_digits(struct plain *plain)
{
    size_t count = strspn(plain->at, "0123456789");
    plain->at += count;
    return count;
}

static bool read_number(struct plain *plain)
{
    const char *start = plain->at;
    read_word(plain, "-");
    if (!read_word(plain, "0") && skip_digits(plain) == 0) {
        return false;
    }
    if (read_word(plain, ".") && skip_digits(plain) == 0) {
        return false;
    }
    if (read_word(plain, "e") || read_word(plain, "E")) {
        plain->at += *plain->at == '+' || *plain->at == '-' ? 1 : 0;
        if (skip_digits(plain) == 0) {
            return false;
        }
    }
    return isfinite(strtod(start, NULL));
}

/* Members of an array or, with names, of an object. */
static bool read_members(struct plain *plain, const char *closing, bool has_names, int depth)
{
    skip_space(plain);
    if (read_word(plain, closing)) {
        return true;
    }
    do {
        skip_space(plain);
        if (has_names && !read_string(plain)) {
            return false;
        }
        skip_space(plain);
        if ((has_names && !read_word(plain, ":")) || !read_value(plain, depth)) {
            return false;
        }
        skip_space(plain);
    } while (read_word(plain, ","));
    return read_word(plain, closing);
}

static bool read_value(struct plain *plain, int depth)
{
    skip_space(plain);
    if (*plain->at == '{' || *plain->at == '[') {
        bool is_object = *plain->at++ == '{';
        return depth < JSON_DEPTH_MAX && read_members(plain, is_object ? "}" : "]", is_object, depth + 1);
    }
    if (*plain->at == '"') {
        return read_string(plain);
    }
    if (read_word(plain, "true") || read_word(plain, "false") || read_word(plain, "null")) {
        return true;
    }
    return read_number(plain);
}

static bool is_json(const char *text, size_t len)
{
    char *copy = strndup(text, len); /* a NUL is in no JSON text, so what is behind one does not matter */
    FUZZ_MUST(copy != NULL);
    struct plain plain = {copy, copy + len};
    bool is_right = strlen(copy) == len && read_value(&plain, 0);
    if (is_right) {
        skip_space(&plain);
        is_right = plain.at == plain.end;
    }
    free(copy);
    return is_right;
}

/* Whether the values at two stack indices are equal, whatever the order of their fields. */
static bool are_equal(lua_State *L, int one, int other)
{
    bool is_equal = lua_rawequal(L, one, other) != 0;
    if (is_equal || !lua_istable(L, one) || !lua_istable(L, other)) {
        return is_equal;
    }
    luaL_checkstack(L, 8, "are_equal");
    int balance = 0; /* fields of one less those of the other */
    for (lua_pushnil(L); lua_next(L, other) != 0; lua_pop(L, 1)) {
        balance--;
    }
    is_equal = true;
    for (lua_pushnil(L); lua_next(L, one) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, other);
        is_equal = is_equal && are_equal(L, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 1);
        balance++;
    }
    return is_equal && balance == 0;
}

struct text {
    const char *bytes; /* flush against the page */
    size_t len;        /* of bytes */
};

static int check(lua_State *L)
{
    const struct text *text = lua_touserdata(L, 1);
    int count = json_decode(L, text->bytes, text->len, JSON_INT64_NUMBER, script_lend_scratch(L, "decode"));
    script_return_scratch(L);
    FUZZ_MUST((count == 1) == is_json(text->bytes, text->len));
    if (count == 2) {
        FUZZ_MUST(lua_isnil(L, -2) && strncmp(lua_tostring(L, -1), "JSON: ", 6) == 0);
        return 0;
    }
    int value = lua_gettop(L);
    struct write_buffer *out = script_lend_scratch(L, "encode");
    json_encode(L, value, out);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
    size_t len;
    const char *written = lua_tolstring(L, -1, &len);
    FUZZ_MUST(is_json(written, len));
    FUZZ_MUST(json_decode(L, written, len, JSON_INT64_NUMBER, script_lend_scratch(L, "decode")) == 1);
    script_return_scratch(L);
    FUZZ_MUST(are_equal(L, value, lua_gettop(L)));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct scene *scene;
    char err[512] = "";
    if (len > GUARDED_BYTES) {
        return 0;
    }
    struct text text = {guarded_at_end(fuzz_guarded(), (const char *)data, len), len};
    if (scene == NULL) {
        scene = scene_open(APP);
        unlink(scene->path);
    }
    FUZZ_MUST(script_protect(scene->script, check, &text, err, sizeof err) == 0);
    return 0;
}
