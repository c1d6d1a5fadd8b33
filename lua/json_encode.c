/* Writing JSON.
 *
 * Happy path: one walk over the value, appending to a buffer that belongs to the script.
 *
 * Failure modes: a value without JSON (a function, a number that is not finite, a table with holes or with keys of two
 * kinds, a table inside itself) raises an error that names where it stands. */

#include "lua/json_encode.h"

#include "core/utf8.h"
#include "http/number.h"
#include "lua/cdata.h"
#include "lua/deadline.h"
#include "lua/json.h"
#include "lua/object.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_PER_LEVEL = 6, /* Lua stack slots that one level of nesting needs */
};

struct encoder {
    lua_State *L;
    struct write_buffer *out; /* the text so far */
    size_t out_max;           /* bytes of it */
    size_t work;              /* bytes put since the last look at the deadline; a value counts as some */
    unsigned depth;           /* levels of nesting around the value at hand */
    const char *field;        /* name of the innermost field, NULL in an array */
    int item;                 /* index in the innermost array, 0 outside of one */
    struct json_style style;
};

/* The name of a field, to be sorted. The string stays in the list of names on the stack. */
struct json_name {
    const char *text;
    size_t len;
    int number; /* its place in the list */
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

/* Add to the work that was done; raises when the run is over its budget. */
static void count_work(struct encoder *encoder, size_t bytes)
{
    encoder->work += bytes;
    if (encoder->work >= JSON_LOOK_BYTES) {
        encoder->work = 0;
        deadline_check(encoder->L);
    }
}

static void json_put(struct encoder *encoder, const char *text, size_t len)
{
    count_work(encoder, len);
    if (write_buffer_append(encoder->out, text, len, encoder->out_max) < 0) {
        script_raise_memory(encoder->L);
    }
}

static void put_char(struct encoder *encoder, char c)
{
    json_put(encoder, &c, 1);
}

/* Begin an item, a field or what closes them on a line of its own, if that is the style. */
static void put_json_line(struct encoder *encoder)
{
    static const char spaces[JSON_INDENT_MAX + 1] = "        ";
    if (encoder->style.indent == 0) {
        return;
    }
    put_char(encoder, '\n');
    for (unsigned i = 0; i < encoder->depth; i++) {
        json_put(encoder, spaces, encoder->style.indent);
    }
}

static void encode_number(struct encoder *encoder, double number)
{
    char text[NUMBER_TEXT_MAX];
    if (!isfinite(number)) {
        refuse_value(encoder, "cannot encode a number that is not finite");
    }
    json_put(encoder, text, number_format(text, number));
}

static void encode_escape(struct encoder *encoder, unsigned char c)
{
    static const char short_names[] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";
    char text[] = {'\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15]};
    size_t len = 2;
    if (c < sizeof short_names && short_names[c] != 0) {
        text[1] = short_names[c];
    } else if (c != '"' && c != '\\') {
        text[1] = 'u';
        len = sizeof text;
    }
    json_put(encoder, text, len);
}

/* JSON text is UTF-8; bytes that are not become U+FFFD, so that a response can always be read. */
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
            if (i - run < JSON_LOOK_BYTES) {
                continue;
            }
            json_put(encoder, string + run, i - run); /* a long string is work, too */
            run = i;
            continue;
        }
        json_put(encoder, string + run, i - run);
        if (sequence == 0) {
            json_put(encoder, replacement, sizeof replacement - 1);
        } else {
            encode_escape(encoder, text[i]);
        }
        run = ++i;
    }
    json_put(encoder, string + run, len - run);
    put_char(encoder, '"');
}

static bool has_array_meta(const struct encoder *encoder, int index)
{
    return object_has_meta(encoder->L, index, REF_ARRAY_META);
}

_Noreturn static void refuse_hole(const struct encoder *encoder, int index, size_t len)
{
    char what[64] = "cannot encode a list with holes";
    for (int i = 1; (size_t)i <= len + 1; i++) { /* the one after the last is nil */
        lua_rawgeti(encoder->L, index, i);
        if (lua_isnil(encoder->L, -1)) {
            snprintf(what, sizeof what, "cannot encode a list with holes: item %d is nil", i);
            break;
        }
        lua_pop(encoder->L, 1);
    }
    refuse_value(encoder, what);
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
        refuse_hole(encoder, index, len);
    }
    const char *field = encoder->field;
    int item = encoder->item;
    encoder->field = NULL;
    put_char(encoder, '[');
    for (size_t i = 1; i <= len; i++) {
        if (i > 1) {
            put_char(encoder, ',');
        }
        put_json_line(encoder);
        encoder->item = (int)i;
        lua_rawgeti(L, index, (int)i);
        if (lua_isnil(L, -1)) {
            encoder->field = field;
            encoder->item = item;
            refuse_hole(encoder, index, len);
        }
        encode_value(encoder, lua_gettop(L));
        lua_pop(L, 1);
    }
    encoder->depth--;
    if (len > 0) {
        put_json_line(encoder);
    }
    encoder->depth++;
    put_char(encoder, ']');
    encoder->field = field;
    encoder->item = item;
}

/* The field whose name and value are on top of the stack; pops the value. */
static void encode_field(struct encoder *encoder, bool is_first)
{
    lua_State *L = encoder->L;
    const char *field = encoder->field;
    size_t len;
    const char *name = lua_tolstring(L, -2, &len);
    if (!is_first) {
        put_char(encoder, ',');
    }
    put_json_line(encoder);
    encode_string(encoder, name, len);
    json_put(encoder, ": ", encoder->style.indent == 0 ? 1 : 2);
    encoder->field = name;
    encode_value(encoder, lua_gettop(L));
    encoder->field = field;
    lua_pop(L, 1);
}

/* The key on the stack below the value on top must be a name. */
static void check_json_name(const struct encoder *encoder)
{
    int type = lua_type(encoder->L, -2);
    if (type != LUA_TSTRING) {
        refuse_value(encoder, type == LUA_TNUMBER
                                  ? "cannot encode a table with number keys that is not a list; use app.json.object"
                                  : "cannot encode a table with keys that are not strings");
    }
}

static int compare_json_names(const void *a, const void *b)
{
    const struct json_name *left = a;
    const struct json_name *right = b;
    size_t len = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->text, right->text, len);
    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* Push a list of the names of the object at index, and a userdata with count of them, sorted. */
static struct json_name *push_sorted_names(struct encoder *encoder, int index, int *count)
{
    lua_State *L = encoder->L;
    *count = 0;
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, index) != 0;) {
        check_json_name(encoder);
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, ++*count);
        count_work(encoder, JSON_LOOK_BYTES / JSON_LOOK);
    }
    struct json_name *names = lua_newuserdata(L, (size_t)*count * sizeof *names);
    for (int i = 0; i < *count; i++) {
        lua_rawgeti(L, -2, i + 1);
        names[i].text = lua_tolstring(L, -1, &names[i].len);
        names[i].number = i + 1;
        lua_pop(L, 1);
    }
    if (*count > 1) {
        qsort(names, (size_t)*count, sizeof *names, compare_json_names);
    }
    return names;
}

static bool encode_sorted_fields(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    int count;
    const struct json_name *names = push_sorted_names(encoder, index, &count);
    int list = lua_gettop(L) - 1;
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, list, names[i].number);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        encode_field(encoder, i == 0);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return count > 0;
}

static bool encode_fields(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    bool is_first = true;
    for (lua_pushnil(L); lua_next(L, index) != 0; is_first = false) {
        check_json_name(encoder);
        encode_field(encoder, is_first);
    }
    return !is_first;
}

static void encode_object(struct encoder *encoder, int index)
{
    put_char(encoder, '{');
    bool has_fields = encoder->style.is_sorted ? encode_sorted_fields(encoder, index) : encode_fields(encoder, index);
    encoder->depth--;
    if (has_fields) {
        put_json_line(encoder);
    }
    encoder->depth++;
    put_char(encoder, '}');
}

static void encode_table(struct encoder *encoder, int index)
{
    if (encoder->depth == JSON_DEPTH_MAX) {
        refuse_value(encoder, "tables are nested too deeply, or one contains itself");
    }
    script_reserve_values(encoder->L, SLOTS_PER_LEVEL, "JSON");
    encoder->depth++;
    size_t len = lua_objlen(encoder->L, index);
    if (len > 0 || has_array_meta(encoder, index)) {
        encode_array(encoder, index, len);
    } else {
        encode_object(encoder, index);
    }
    encoder->depth--;
}

/* Returns whether the value was a 64-bit integer of LuaJIT. */
static bool encode_cdata(struct encoder *encoder, int index)
{
    struct cdata_integer integer;
    char text[24];
    if (!cdata_get_integer(encoder->L, index, &integer)) {
        return false;
    }
    int len = integer.is_signed ? snprintf(text, sizeof text, "%" PRId64, (int64_t)integer.bits)
                                : snprintf(text, sizeof text, "%" PRIu64, integer.bits);
    json_put(encoder, text, (size_t)len);
    return true;
}

static void encode_value(struct encoder *encoder, int index)
{
    lua_State *L = encoder->L;
    int type = lua_type(L, index);
    char what[64];
    size_t len;
    count_work(encoder, JSON_LOOK_BYTES / JSON_LOOK);
    switch (type) {
    case LUA_TNIL:
        json_put(encoder, "null", 4);
        return;
    case LUA_TBOOLEAN:
        lua_toboolean(L, index) ? json_put(encoder, "true", 4) : json_put(encoder, "false", 5);
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
            json_put(encoder, "null", 4);
            return;
        }
        break;
    case CDATA_TYPE:
        if (encode_cdata(encoder, index)) {
            return;
        }
        break;
    default:
        break;
    }
    snprintf(what, sizeof what, "cannot encode a %s", lua_typename(L, type));
    refuse_value(encoder, what);
}

void json_encode_styled(lua_State *L, int index, const struct json_style *style, struct write_buffer *out)
{
    size_t cap = script_of(L)->settings.lua_memory_bytes;
    struct encoder encoder = {.L = L,
                              .out = out,
                              .out_max = cap < JSON_TEXT_MAX ? cap : JSON_TEXT_MAX,
                              .style = *style};
    encode_value(&encoder, index < 0 && index > LUA_REGISTRYINDEX ? lua_gettop(L) + index + 1 : index);
}

void json_encode(lua_State *L, int index, struct write_buffer *out)
{
    json_encode_styled(L, index, &(struct json_style){0}, out);
}
