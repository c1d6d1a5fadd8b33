/* Reading JSON.
 *
 * Happy path: one walk over the text, building values on the Lua stack.
 *
 * Failure modes: a text that is not JSON gives nil and the place of the first byte that is wrong. */

#include "lua/json_decode.h"

#include "core/utf8.h"
#include "http/char_class.h"
#include "http/number.h"
#include "lua/cdata.h"
#include "lua/deadline.h"
#include "lua/json.h"
#include "lua/scratch.h"

#include <math.h>
#include <string.h>

enum { STACK_PER_LEVEL = 4 }; /* Lua stack slots that one level of nesting needs */

static const double EXACT_MAX = 9007199254740991.0; /* up to 2^53 - 1 no two integers are the same number */

struct decoder {
    lua_State *L;
    struct write_buffer *scratch; /* a string with escapes being made */
    const char *start, *at, *end; /* the text, and the next byte to look at */
    unsigned depth;               /* levels of nesting around the value at hand */
    unsigned values;              /* decoded since the last look at the deadline */
    const char *looked_at;        /* where that look was */
    const char *error;            /* static text, NULL as long as all is well */
    enum json_int64 int64;
};

static bool decode_value(struct decoder *decoder);

/* Raises when the run is over its budget. */
static void look_at_deadline(struct decoder *decoder)
{
    decoder->values = 0;
    decoder->looked_at = decoder->at;
    deadline_check(decoder->L);
}

static bool json_fail(struct decoder *decoder, const char *error)
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
    while (decoder->at < decoder->end &&
           (*decoder->at == ' ' || *decoder->at == '\n' || *decoder->at == '\t' || *decoder->at == '\r')) {
        decoder->at++;
    }
}

/* Take digits; returns how many. */
static size_t take_digits(struct decoder *decoder)
{
    const char *first = decoder->at;
    while (char_is_digit(peek(decoder))) {
        decoder->at++;
    }
    return (size_t)(decoder->at - first);
}

/* An integer, "-" and digits or digits, as 64 bits; false if it is longer. */
static bool read_integer(const char *text, size_t len, struct cdata_integer *integer)
{
    bool is_negative = text[0] == '-';
    uint64_t value = 0;
    for (size_t i = is_negative ? 1 : 0; i < len; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (value > UINT64_MAX / 10 || value * 10 > UINT64_MAX - digit) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (is_negative && value > (uint64_t)INT64_MAX + 1) {
        return false;
    }
    integer->bits = is_negative ? ~value + 1 : value;
    integer->is_signed = is_negative || value <= INT64_MAX;
    return true;
}

/* Push an integer beyond 2^53 as the caller wants it; false if it is to be a number. */
static bool push_large_integer(const struct decoder *decoder, const char *text, size_t len)
{
    struct cdata_integer integer;
    if (decoder->int64 == JSON_INT64_TEXT) {
        lua_pushlstring(decoder->L, text, len);
        return true;
    }
    return read_integer(text, len, &integer) && cdata_push_integer(decoder->L, &integer);
}

static bool decode_number(struct decoder *decoder)
{
    const char *first = decoder->at;
    decoder->at += peek(decoder) == '-' ? 1 : 0;
    const char *digits = decoder->at;
    size_t count = take_digits(decoder);
    if (count == 0) {
        return json_fail(decoder, "a number needs a digit here");
    }
    if (count > 1 && *digits == '0') {
        decoder->at = digits;
        return json_fail(decoder, "a number must not begin with 0");
    }
    bool is_integer = true;
    if (peek(decoder) == '.') {
        is_integer = false;
        decoder->at++;
        if (take_digits(decoder) == 0) {
            return json_fail(decoder, "a number needs a digit here");
        }
    }
    if (peek(decoder) == 'e' || peek(decoder) == 'E') {
        is_integer = false;
        decoder->at++;
        decoder->at += peek(decoder) == '+' || peek(decoder) == '-' ? 1 : 0;
        if (take_digits(decoder) == 0) {
            return json_fail(decoder, "a number needs a digit here");
        }
    }
    size_t len = (size_t)(decoder->at - first);
    double value = number_parse(first, len);
    if (decoder->int64 != JSON_INT64_NUMBER && is_integer && fabs(value) > EXACT_MAX &&
        push_large_integer(decoder, first, len)) {
        return true;
    }
    if (!isfinite(value)) {
        decoder->at = first;
        return json_fail(decoder, "the number is too large");
    }
    lua_pushnumber(decoder->L, value);
    return true;
}

/* Four hexadecimal digits, or -1. */
static int take_hex4(struct decoder *decoder)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = peek(decoder);
        int digit = char_is_digit(c)         ? c - '0'
                    : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                    : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                             : -1;
        if (digit < 0) {
            json_fail(decoder, "\\u needs four hexadecimal digits");
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
    return json_fail(decoder, "half of a surrogate pair is missing");
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
        json_fail(decoder, "unknown escape");
        return 0;
    }
    decoder->at++;
    out[0] = values[name - names];
    return 1;
}

static bool keep_text(struct decoder *decoder, const char *text, size_t len)
{
    return write_buffer_append(decoder->scratch, text, len, JSON_TEXT_MAX) == 0 ||
           json_fail(decoder, "not enough memory");
}

/* A string, its opening quote taken. Most have no escapes and go to Lua from where they lie. */
static bool decode_string(struct decoder *decoder)
{
    const char *run = decoder->at;
    bool is_copied = false;
    write_buffer_consume(decoder->scratch, SIZE_MAX);
    for (;;) {
        char c = peek(decoder);
        if (decoder->at - decoder->looked_at >= JSON_LOOK_BYTES) {
            look_at_deadline(decoder);
        }
        if (decoder->at == decoder->end) {
            return json_fail(decoder, "the string is not closed");
        }
        if (c == '"') {
            break;
        }
        if ((unsigned char)c < ' ') {
            return json_fail(decoder, "control characters in a string must be escaped");
        }
        if (c != '\\') {
            size_t len = utf8_len((const unsigned char *)decoder->at, (size_t)(decoder->end - decoder->at));
            if (len == 0) {
                return json_fail(decoder, "the text is not UTF-8");
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
        return json_fail(decoder, closing == ']' ? "\",\" or \"]\" expected" : "\",\" or \"}\" expected");
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
            return json_fail(decoder, "a field name in quotes expected");
        }
        decoder->at++;
        if (!decode_string(decoder)) {
            return false;
        }
        skip_space(decoder);
        if (peek(decoder) != ':') {
            return json_fail(decoder, "\":\" expected");
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
        return json_fail(decoder, "a value expected");
    }
    decoder->at += len;
    return true;
}

/* Push the value at the cursor; on failure the stack holds leftovers, which json_decode() drops. */
static bool decode_value(struct decoder *decoder)
{
    lua_State *L = decoder->L;
    if (++decoder->values == JSON_LOOK || decoder->at - decoder->looked_at >= JSON_LOOK_BYTES) {
        look_at_deadline(decoder);
    }
    skip_space(decoder);
    char c = peek(decoder);
    if (c == '{' || c == '[') {
        if (decoder->depth == JSON_DEPTH_MAX) {
            return json_fail(decoder, "nested too deeply");
        }
        script_reserve_values(L, STACK_PER_LEVEL, "JSON");
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
    if (c == '-' || char_is_digit(c)) {
        return decode_number(decoder);
    }
    if (c == 'n') {
        lua_pushlightuserdata(L, NULL);
        return take_word(decoder, "null");
    }
    lua_pushboolean(L, c == 't');
    return take_word(decoder, c == 't' ? "true" : "false");
}

int json_decode(lua_State *L, const char *text, size_t len, enum json_int64 int64, struct write_buffer *scratch)
{
    struct decoder decoder = {
        .L = L, .scratch = scratch, .start = text, .at = text, .looked_at = text, .end = text + len, .int64 = int64};
    int top = lua_gettop(L);
    script_reserve_values(L, STACK_PER_LEVEL, "JSON");
    if (decode_value(&decoder)) {
        skip_space(&decoder);
        if (decoder.at == decoder.end) {
            return 1;
        }
        json_fail(&decoder, "unexpected text after the value");
    }
    lua_settop(L, top);
    lua_pushnil(L);
    lua_pushfstring(L, "JSON: %s (byte %d)", decoder.error, (int)(decoder.at - decoder.start) + 1);
    return 2;
}
