/* JSON, both ways.
 *
 * Happy path: the encoder walks the value and appends to a buffer that belongs to the script; the decoder walks the text
 * once and builds values on the Lua stack.
 *
 * Failure modes: a value without JSON (a function, a number that is not finite, a table with holes or with keys of two
 * kinds, a table inside itself) raises an error that names where it stands. A text that is not JSON gives nil and the
 * place of the first byte that is wrong. Memory is the script's buffer and Lua's own, so raising leaks nothing. */

#include "lua/json.h"

#include "lua/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 1 << 30,    /* bytes of an encoded text */
    NUMBER_TEXT_MAX = 32,  /* bytes of an encoded number */
    EXACT_DIGITS = 15,     /* whole numbers of so many digits are exact in a double */
    STACK_PER_LEVEL = 4,   /* Lua stack slots that one level of nesting needs */
};

/* The length of the UTF-8 sequence that text begins with (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_len(const unsigned char *text, size_t len)
{
    unsigned char first = text[0];
    if (first < 0x80) {
        return 1;
    }
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len < want) {
        return 0;
    }
    /* The second byte excludes overlong forms, surrogates, and what is above U+10FFFF. */
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < least || text[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < want; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return want;
}

/* Encoding. */

struct encoder {
    lua_State *L;
    struct write_buffer *out; /* the text so far */
    unsigned depth;           /* levels of nesting around the value at hand */
    const char *field;        /* name of the innermost field, NULL in an array */
    int item;                 /* index in the innermost array, 0 outside of one */
};

static void encode_value(struct encoder *encoder, int index);

_Noreturn static void refuse_value(const struct encoder *encoder, const char *what)
{
    char at[128] = "";
    if (encoder->field != NULL) {
        snprintf(at, sizeof at, " (field \"%.100s\")", encoder->field);
    } else if (encoder->item > 0) {
        snprintf(at, sizeof at, " (item %d)", encoder->item);
    }
    script_raise(encoder->L, "JSON: %s%s", what, at);
}

static void put(struct encoder *encoder, const char *text, size_t len)
{
    if (write_buffer_append(encoder->out, text, len, TEXT_MAX) < 0) {
        luaL_error(encoder->L, "JSON: not enough memory");
    }
}

static void put_char(struct encoder *encoder, char c)
{
    put(encoder, &c, 1);
}

static void encode_number(struct encoder *encoder, double number)
{
    char text[NUMBER_TEXT_MAX];
    if (!isfinite(number)) {
        refuse_value(encoder, "cannot encode a number that is not finite");
    }
    if (fabs(number) < 1e15 && number == (double)(int64_t)number) {
        int len = snprintf(text, sizeof text, "%lld", (long long)number);
        put(encoder, text, (size_t)len);
        return;
    }
    int len = snprintf(text, sizeof text, "%.15g", number);
    if (strtod(text, NULL) != number) {
        len = snprintf(text, sizeof text, "%.17g", number);
    }
    for (int i = 0; i < len; i++) { /* the host's locale may write another decimal point */
        if (strchr("0123456789+-e", text[i]) == NULL) {
            text[i] = '.';
        }
    }
    put(encoder, text, (size_t)len);
}

static void encode_escape(struct encoder *encoder, unsigned char c)
{
    static const char short_names[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char text[8];
    if (c == '"' || c == '\\') {
        int len = snprintf(text, sizeof text, "\\%c", c);
        put(encoder, text, (size_t)len);
    } else if (c < sizeof short_names && short_names[c] != 0) {
        int len = snprintf(text, sizeof text, "\\%c", short_names[c]);
        put(encoder, text, (size_t)len);
    } else {
        int len = snprintf(text, sizeof text, "\\u%04x", c);
        put(encoder, text, (size_t)len);
    }
}

/* JSON text is UTF-8; bytes that are not become U+FFFD, so that an answer can always be read. */
static void encode_string(struct encoder *encoder, const char *string, size_t len)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const unsigned char *text = (const unsigned char *)string;
    size_t run = 0; /* first byte not put yet */
    put_char(encoder, '"');
    for (size_t i = 0; i < len;) {
        size_t sequence = utf8_len(text + i, len - i);
        if (sequence > 0 && text[i] >= ' ' && text[i] != '"' && text[i] != '\\') {
            i += sequence;
            continue;
        }
        put(encoder, string + run, i - run);
        if (sequence == 0) {
            put(encoder, replacement, sizeof replacement - 1);
        } else {
            encode_escape(encoder, text[i]);
        }
        run = ++i;
    }
    put(encoder, string + run, len - run);
    put_char(encoder, '"');
}

static bool has_array_meta(const struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    if (!lua_getmetatable(L, index)) {
        return false;
    }
    script_push_ref(script_of(L), L, REF_ARRAY_META);
    bool is_same = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is_same;
}

/* All keys are 1 to len, without holes. */
static void encode_array(struct encoder *encoder, int index, size_t len)
{
    lua_State *L = encoder->L;
    size_t keys = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TNUMBER) {
            refuse_value(encoder, "cannot encode a table that mixes list items and named fields");
        }
        keys++;
    }
    if (keys != len) {
        refuse_value(encoder, "cannot encode a list with holes");
    }
    const char *field = encoder->field;
    int item = encoder->item;
    encoder->field = NULL;
    put_char(encoder, '[');
    for (size_t i = 1; i <= len; i++) {
        if (i > 1) {
            put_char(encoder, ',');
        }
        encoder->item = (int)i;
        lua_rawgeti(L, index, (int)i);
        if (lua_isnil(L, -1)) {
            refuse_value(encoder, "cannot encode a list with holes");
        }
        encode_value(encoder, lua_gettop(L));
        lua_pop(L, 1);
    }
    put_char(encoder, ']');
    encoder->field = field;
    encoder->item = item;
}

static void encode_object(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    const char *field = encoder->field;
    bool is_first = true;
    put_char(encoder, '{');
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            refuse_value(encoder, lua_type(L, -2) == LUA_TNUMBER
                                      ? "cannot encode a table with number keys that is no list; use tostring(key)"
                                      : "cannot encode a table with keys that are not strings");
        }
        size_t len;
        const char *name = lua_tolstring(L, -2, &len);
        if (!is_first) {
            put_char(encoder, ',');
        }
        is_first = false;
        encode_string(encoder, name, len);
        put_char(encoder, ':');
        encoder->field = name;
        encode_value(encoder, lua_gettop(L));
        encoder->field = field;
    }
    put_char(encoder, '}');
}

static void encode_table(struct encoder *encoder, int index)
{
    if (encoder->depth == JSON_DEPTH_MAX) {
        refuse_value(encoder, "tables are nested too deeply, or one contains itself");
    }
    luaL_checkstack(encoder->L, STACK_PER_LEVEL, "JSON");
    encoder->depth++;
    size_t len = lua_objlen(encoder->L, index);
    if (len > 0 || has_array_meta(encoder, index)) {
        encode_array(encoder, index, len);
    } else {
        encode_object(encoder, index);
    }
    encoder->depth--;
}

static void encode_value(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    int type = lua_type(L, index);
    char what[64];
    size_t len;
    switch (type) {
    case LUA_TNIL:
        put(encoder, "null", 4);
        return;
    case LUA_TBOOLEAN:
        lua_toboolean(L, index) ? put(encoder, "true", 4) : put(encoder, "false", 5);
        return;
    case LUA_TNUMBER:
        encode_number(encoder, lua_tonumber(L, index));
        return;
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, index, &len);
        encode_string(encoder, text, len);
        return;
    }
    case LUA_TTABLE:
        encode_table(encoder, index);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) { /* app.json.null */
            put(encoder, "null", 4);
            return;
        }
        break;
    default:
        break;
    }
    snprintf(what, sizeof what, "cannot encode a %s", lua_typename(L, type));
    refuse_value(encoder, what);
}

void json_encode(lua_State *L, int index, struct write_buffer *out)
{
    struct encoder encoder = {.L = L, .out = out};
    encode_value(&encoder, index < 0 && index > LUA_REGISTRYINDEX ? lua_gettop(L) + index + 1 : index);
}

/* Decoding. */

struct decoder {
    lua_State *L;
    struct write_buffer *scratch; /* a string with escapes being made */
    const char *start, *at, *end; /* the text, and the next byte to look at */
    unsigned depth;               /* levels of nesting around the value at hand */
    const char *error;            /* static text, NULL as long as all is well */
};

static bool decode_value(struct decoder *decoder);

static bool fail(struct decoder *decoder, const char *error)
{
    decoder->error = error;
    return false;
}

/* The next byte, or NUL at the end: a NUL in the text is an error wherever this is asked. */
static char peek(const struct decoder *decoder)
{
    return decoder->at < decoder->end ? *decoder->at : '\0';
}

static void skip_space(struct decoder *decoder)
{
    while (decoder->at < decoder->end && (*decoder->at == ' ' || *decoder->at == '\n' || *decoder->at == '\t' ||
                                          *decoder->at == '\r')) {
        decoder->at++;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Take digits; returns how many. */
static size_t take_digits(struct decoder *decoder)
{
    const char *first = decoder->at;
    while (is_digit(peek(decoder))) {
        decoder->at++;
    }
    return (size_t)(decoder->at - first);
}

static bool decode_number(struct decoder *decoder)
{
    lua_State *L = decoder->L;
    const char *first = decoder->at;
    bool is_negative = peek(decoder) == '-';
    decoder->at += is_negative ? 1 : 0;
    const char *digits = decoder->at;
    size_t count = take_digits(decoder);
    if (count == 0) {
        return fail(decoder, "a number needs a digit here");
    }
    if (count > 1 && *digits == '0') {
        decoder->at = digits;
        return fail(decoder, "a number may not begin with 0");
    }
    bool is_whole = true;
    if (peek(decoder) == '.') {
        is_whole = false;
        decoder->at++;
        if (take_digits(decoder) == 0) {
            return fail(decoder, "a number needs a digit here");
        }
    }
    if (peek(decoder) == 'e' || peek(decoder) == 'E') {
        is_whole = false;
        decoder->at++;
        decoder->at += peek(decoder) == '+' || peek(decoder) == '-' ? 1 : 0;
        if (take_digits(decoder) == 0) {
            return fail(decoder, "a number needs a digit here");
        }
    }
    if (is_whole && count <= EXACT_DIGITS) {
        int64_t value = 0;
        for (size_t i = 0; i < count; i++) {
            value = value * 10 + (digits[i] - '0');
        }
        lua_pushnumber(L, (double)(is_negative ? -value : value));
        return true;
    }
    lua_pushlstring(L, first, (size_t)(decoder->at - first)); /* Lua's own conversion knows no locale */
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (!isfinite(value)) {
        decoder->at = first;
        return fail(decoder, "the number is too large");
    }
    lua_pushnumber(L, value);
    return true;
}

/* Four hexadecimal digits, or -1. */
static int take_hex4(struct decoder *decoder)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = peek(decoder);
        int digit = is_digit(c)              ? c - '0'
                    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                             : -1;
        if (digit < 0) {
            fail(decoder, "\\u needs four hexadecimal digits");
            return -1;
        }
        value = value * 16 + digit;
        decoder->at++;
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(marks[len] | code);
    return len;
}

/* What follows "\u", of both halves for a character outside the basic plane. */
static bool take_code(struct decoder *decoder, uint32_t *code)
{
    const char *first = decoder->at;
    int high = take_hex4(decoder);
    if (high < 0) {
        return false;
    }
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff) {
        return true;
    }
    if (high < 0xdc00 && decoder->end - decoder->at >= 6 && decoder->at[0] == '\\' && decoder->at[1] == 'u') {
        decoder->at += 2;
        int low = take_hex4(decoder);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *code = 0x10000U + (((uint32_t)high - 0xd800U) << 10) + ((uint32_t)low - 0xdc00U);
            return true;
        }
        if (low < 0) {
            return false;
        }
    }
    decoder->at = first;
    return fail(decoder, "half of a surrogate pair is missing");
}

/* The escape at the cursor, behind its backslash, into out (4 bytes). Returns its length, 0 when it is none. */
static size_t take_escape(struct decoder *decoder, char *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    char c = peek(decoder);
    if (c == 'u') {
        uint32_t code;
        decoder->at++;
        return take_code(decoder, &code) ? put_utf8(out, code) : 0;
    }
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name == NULL) {
        fail(decoder, "no such escape");
        return 0;
    }
    decoder->at++;
    out[0] = values[name - names];
    return 1;
}

static bool keep_text(struct decoder *decoder, const char *text, size_t len)
{
    return write_buffer_append(decoder->scratch, text, len, TEXT_MAX) == 0 || fail(decoder, "not enough memory");
}

/* A string, its opening quote taken. Most have no escapes and go to Lua from where they lie. */
static bool decode_string(struct decoder *decoder)
{
    const char *run = decoder->at;
    bool is_copied = false;
    write_buffer_consume(decoder->scratch, SIZE_MAX);
    for (;;) {
        char c = peek(decoder);
        if (decoder->at == decoder->end) {
            return fail(decoder, "the string has no end");
        }
        if (c == '"') {
            break;
        }
        if ((unsigned char)c < ' ') {
            return fail(decoder, "control characters in a string must be escaped");
        }
        if (c != '\\') {
            size_t len = utf8_len((const unsigned char *)decoder->at, (size_t)(decoder->end - decoder->at));
            if (len == 0) {
                return fail(decoder, "the text is not UTF-8");
            }
            decoder->at += len;
            continue;
        }
        char bytes[4];
        is_copied = true;
        if (!keep_text(decoder, run, (size_t)(decoder->at - run))) {
            return false;
        }
        decoder->at++;
        size_t len = take_escape(decoder, bytes);
        if (len == 0 || !keep_text(decoder, bytes, len)) {
            return false;
        }
        run = decoder->at;
    }
    size_t len = (size_t)(decoder->at - run);
    decoder->at++;
    if (!is_copied) {
        lua_pushlstring(decoder->L, run, len);
        return true;
    }
    if (!keep_text(decoder, run, len)) {
        return false;
    }
    lua_pushlstring(decoder->L, write_buffer_data(decoder->scratch), write_buffer_len(decoder->scratch));
    return true;
}

/* Behind an item: true when the comma says that another one follows; else closing was taken, or there is an error. */
static bool take_comma(struct decoder *decoder, char closing)
{
    skip_space(decoder);
    char c = peek(decoder);
    if (c != ',' && c != closing) {
        return fail(decoder, closing == ']' ? "\",\" or \"]\" expected" : "\",\" or \"}\" expected");
    }
    decoder->at++;
    skip_space(decoder);
    return c == ',';
}

/* An array, its bracket taken. It keeps a mark, so that it is an array again when it is encoded empty. */
static bool decode_array(struct decoder *decoder)
{
    lua_State *L = decoder->L;
    lua_newtable(L);
    script_push_ref(script_of(L), L, REF_ARRAY_META);
    lua_setmetatable(L, -2);
    skip_space(decoder);
    if (peek(decoder) == ']') {
        decoder->at++;
        return true;
    }
    int count = 0;
    do {
        if (!decode_value(decoder)) {
            return false;
        }
        lua_rawseti(L, -2, ++count);
    } while (take_comma(decoder, ']'));
    return decoder->error == NULL;
}

/* An object, its brace taken. Of two fields of one name the last stays. */
static bool decode_object(struct decoder *decoder)
{
    lua_State *L = decoder->L;
    lua_newtable(L);
    skip_space(decoder);
    if (peek(decoder) == '}') {
        decoder->at++;
        return true;
    }
    do {
        if (peek(decoder) != '"') {
            return fail(decoder, "a field name in quotes expected");
        }
        decoder->at++;
        if (!decode_string(decoder)) {
            return false;
        }
        skip_space(decoder);
        if (peek(decoder) != ':') {
            return fail(decoder, "\":\" expected");
        }
        decoder->at++;
        if (!decode_value(decoder)) {
            return false;
        }
        lua_rawset(L, -3);
    } while (take_comma(decoder, '}'));
    return decoder->error == NULL;
}

static bool take_word(struct decoder *decoder, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(decoder->end - decoder->at) < len || memcmp(decoder->at, word, len) != 0) {
        return fail(decoder, "a value expected");
    }
    decoder->at += len;
    return true;
}

/* Push the value at the cursor; on failure the stack holds leftovers, which json_decode() drops. */
static bool decode_value(struct decoder *decoder)
{
    lua_State *L = decoder->L;
    skip_space(decoder);
    char c = peek(decoder);
    if (c == '{' || c == '[') {
        if (decoder->depth == JSON_DEPTH_MAX) {
            return fail(decoder, "nested too deeply");
        }
        luaL_checkstack(L, STACK_PER_LEVEL, "JSON");
        decoder->depth++;
        decoder->at++;
        bool ok = c == '{' ? decode_object(decoder) : decode_array(decoder);
        decoder->depth--;
        return ok;
    }
    if (c == '"') {
        decoder->at++;
        return decode_string(decoder);
    }
    if (c == '-' || is_digit(c)) {
        return decode_number(decoder);
    }
    if (c == 'n') {
        lua_pushlightuserdata(L, NULL);
        return take_word(decoder, "null");
    }
    lua_pushboolean(L, c == 't');
    return take_word(decoder, c == 't' ? "true" : "false");
}

int json_decode(lua_State *L, const char *text, size_t len, struct write_buffer *scratch)
{
    struct decoder decoder = {.L = L, .scratch = scratch, .start = text, .at = text, .end = text + len};
    int top = lua_gettop(L);
    luaL_checkstack(L, STACK_PER_LEVEL, "JSON");
    if (decode_value(&decoder)) {
        skip_space(&decoder);
        if (decoder.at == decoder.end) {
            return 1;
        }
        fail(&decoder, "nothing more expected");
    }
    lua_settop(L, top);
    lua_pushnil(L);
    lua_pushfstring(L, "JSON: %s (byte %d)", decoder.error, (int)(decoder.at - decoder.start) + 1);
    return 2;
}

/* What the prelude gets. */

/* json_encode(value): text. */
static int lua_json_encode(lua_State *L)
{
    struct script *script = script_of(L);
    if (lua_gettop(L) != 1) {
        script_raise(L, "app.json.encode: one value expected");
    }
    struct write_buffer *out = script_scratch(script);
    json_encode(L, 1, out);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_trim_scratch(script);
    return 1;
}

/* json_decode(text): value, or nil and what is wrong. */
static int lua_json_decode(lua_State *L)
{
    struct script *script = script_of(L);
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.json.decode: a string expected, not %s", luaL_typename(L, 1));
    }
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    int count = json_decode(L, text, len, script_scratch(script));
    script_trim_scratch(script);
    return count;
}

void bind_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"json_encode", lua_json_encode},
        {"json_decode", lua_json_decode},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
