/* Happy path: one walk over the value appends a byte for the kind of each part, followed by what it holds. A table
 * announces how many items and other fields follow, so that reading makes it in its final size.
 *
 * Failure modes: a part that cannot be copied ends the walk. Its name in the error is put together from the keys that
 * then lie on the Lua stack, so a walk that succeeds pays nothing for it. */

#include "lua/value.h"

#include "http/number.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    VALUE_PATH_MAX = 256, /* bytes of the name of a part in errors, with its NUL */
    VALUE_COST = 64,      /* bytes that a part counts for at least, between two calls of look */
};

/* The byte with which a copy begins. */
enum value_kind {
    VALUE_NIL = 'n',
    VALUE_FALSE = 'f',
    VALUE_TRUE = 't',
    VALUE_NULL = 'N',   /* app.json.null */
    VALUE_NUMBER = 'd', /* a double follows */
    VALUE_STRING = 's', /* its length follows as uint32_t, then its bytes */
    VALUE_TABLE = 'T',  /* struct value_counts follows, then the items, then the fields: key, value, key, value */
    VALUE_ARRAY = 'A',  /* likewise; the table is one of app.json.array() */
};

/* The parts of a table. */
struct value_counts {
    uint32_t items;  /* values of the keys 1 to items; some may be nil */
    uint32_t fields; /* pairs of all other keys and their values */
};

struct value_writer {
    lua_State *L;
    const struct value_rules *rules;
    struct write_buffer *out;
    size_t cap;                /* bytes of out */
    size_t work;               /* done since the last call of look */
    unsigned depth;            /* of the table at work, 0 outside of one */
    int keys[VALUE_DEPTH_MAX]; /* for each level, the stack index of its table's key, or 0: items holds it */
    uint32_t items[VALUE_DEPTH_MAX];
    const char *where;
    char *err;
    size_t errlen;
};

/* Errors. */

struct value_path {
    char text[VALUE_PATH_MAX];
    size_t len;
};

static void put_path(struct value_path *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put_path(struct value_path *path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(path->text + path->len, sizeof path->text - path->len, format, args);
    va_end(args);
    path->len += len > 0 ? (size_t)len : 0;
    if (path->len >= sizeof path->text) { /* cut, and it shows */
        path->len = sizeof path->text - 1;
        memcpy(path->text + path->len - 3, "...", 3);
    }
}

static bool is_plain_name(const char *text, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    return len > 0 && strspn(text, letters) == len && strchr("0123456789", text[0]) == NULL;
}

/* Append the key at index as Lua code writes it: .name, ["a name"], [3], [true]. */
static void put_key(struct value_path *path, lua_State *L, int index)
{
    size_t len;
    if (lua_type(L, index) == LUA_TNUMBER) {
        char text[NUMBER_TEXT_MAX];
        put_path(path, "[%.*s]", (int)number_format(text, lua_tonumber(L, index)), text);
    } else if (lua_type(L, index) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, index, &len);
        put_path(path, is_plain_name(text, len) ? ".%.60s" : "[\"%.60s\"]", text);
    } else {
        put_path(path, "[%s]", lua_toboolean(L, index) ? "true" : "false");
    }
}

/* The error text: the part at work, up to the table of level depth, then what is wrong with it. */
static int refuse_part(const struct value_writer *writer, unsigned depth, const char *what)
{
    struct value_path path = {.len = 0};
    put_path(&path, "%s", writer->where);
    for (unsigned i = 0; i < depth; i++) {
        if (writer->keys[i] == 0) {
            put_path(&path, "[%lu]", (unsigned long)writer->items[i]);
        } else {
            put_key(&path, writer->L, writer->keys[i]);
        }
    }
    snprintf(writer->err, writer->errlen, "%s: %s", path.text, what);
    return -EINVAL;
}

static int refuse_type(const struct value_writer *writer, int index, bool is_key)
{
    char what[96];
    const char *name = lua_typename(writer->L, lua_type(writer->L, index));
    if (is_key) {
        snprintf(what, sizeof what, "a %s as a key cannot be copied", name);
    } else {
        snprintf(what, sizeof what, "a %s cannot be copied", name);
    }
    return refuse_part(writer, writer->depth - is_key, what);
}

/* Writing. */

static int copy_value(struct value_writer *writer, int index);

static void count_bytes(struct value_writer *writer, size_t bytes)
{
    writer->work += bytes + VALUE_COST;
    if (writer->work >= VALUE_LOOK_BYTES && writer->rules->look != NULL) {
        writer->work = 0;
        writer->rules->look(writer->L);
    }
}

/* Append a kind and len bytes. */
static int write_part(struct value_writer *writer, enum value_kind kind, const void *bytes, size_t len)
{
    int error = 0;
    char *room = write_buffer_reserve(writer->out, len + 1, writer->cap, &error);
    if (room == NULL) {
        return error;
    }
    *room = (char)kind;
    if (len > 0) {
        memcpy(room + 1, bytes, len);
    }
    write_buffer_commit(writer->out, len + 1);
    return 0;
}

static int write_string(struct value_writer *writer, int index)
{
    size_t len;
    const char *text = lua_tolstring(writer->L, index, &len);
    if (len > INT32_MAX) {
        return -ENOBUFS;
    }
    uint32_t len32 = (uint32_t)len;
    int rv = write_part(writer, VALUE_STRING, &len32, sizeof len32);
    return rv < 0 ? rv : write_buffer_append(writer->out, text, len, writer->cap);
}

static int write_items(struct value_writer *writer, int index, uint32_t count)
{
    int rv = 0;
    writer->keys[writer->depth - 1] = 0;
    for (uint32_t i = 1; i <= count && rv == 0; i++) {
        writer->items[writer->depth - 1] = i;
        lua_rawgeti(writer->L, index, (int)i);
        rv = copy_value(writer, lua_gettop(writer->L));
        lua_pop(writer->L, 1);
    }
    return rv;
}

/* Whether the key at index is one of the items, which are written already. */
static bool is_item_key(lua_State *L, int index, uint32_t items)
{
    if (lua_type(L, index) != LUA_TNUMBER) {
        return false;
    }
    double key = lua_tonumber(L, index);
    return key >= 1 && key <= items && !(key < (double)(uint32_t)key) && !(key > (double)(uint32_t)key);
}

static int write_field(struct value_writer *writer, int key)
{
    int type = lua_type(writer->L, key);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        return refuse_type(writer, key, true);
    }
    writer->keys[writer->depth - 1] = key;
    int rv = copy_value(writer, key);
    return rv < 0 ? rv : copy_value(writer, key + 1);
}

/* Everything but the items. On failure the key stays on the stack, where the error has found it. */
static int write_fields(struct value_writer *writer, int index, uint32_t items, uint32_t *count)
{
    lua_State *L = writer->L;
    int rv = 0;
    for (lua_pushnil(L); rv == 0 && lua_next(L, index) != 0; lua_pop(L, 1)) {
        int key = lua_gettop(L) - 1;
        if (!is_item_key(L, key, items)) {
            rv = write_field(writer, key);
            (*count)++;
        }
    }
    return rv;
}

/* Which kind of table it is: VALUE_ARRAY, VALUE_TABLE, or -EINVAL for one with a metatable of its own. */
static int table_kind(const struct value_writer *writer, int index)
{
    lua_State *L = writer->L;
    if (!lua_getmetatable(L, index)) {
        return VALUE_TABLE;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, writer->rules->array_meta);
    bool is_array = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is_array ? VALUE_ARRAY : refuse_part(writer, writer->depth, "a table with a metatable cannot be copied");
}

static int write_table(struct value_writer *writer, int index)
{
    if (writer->depth == VALUE_DEPTH_MAX) {
        return refuse_part(writer, writer->depth, "tables are nested too deeply, or one contains itself");
    }
    int kind = table_kind(writer, index);
    if (kind < 0) {
        return kind;
    }
    size_t len = lua_objlen(writer->L, index);
    struct value_counts counts = {.items = len < INT32_MAX ? (uint32_t)len : 0};
    int rv = write_part(writer, (enum value_kind)kind, &counts, sizeof counts);
    size_t counts_at = write_buffer_len(writer->out) - sizeof counts;
    writer->depth++;
    rv = rv < 0 ? rv : write_items(writer, index, counts.items);
    rv = rv < 0 ? rv : write_fields(writer, index, counts.items, &counts.fields);
    writer->depth--;
    if (rv == 0) {
        memcpy(writer->out->block + writer->out->start + counts_at, &counts, sizeof counts);
    }
    return rv;
}

static int copy_value(struct value_writer *writer, int index)
{
    lua_State *L = writer->L;
    size_t before = write_buffer_len(writer->out);
    double number;
    int rv;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        rv = write_part(writer, VALUE_NIL, NULL, 0);
        break;
    case LUA_TBOOLEAN:
        rv = write_part(writer, lua_toboolean(L, index) ? VALUE_TRUE : VALUE_FALSE, NULL, 0);
        break;
    case LUA_TNUMBER:
        number = lua_tonumber(L, index);
        rv = write_part(writer, VALUE_NUMBER, &number, sizeof number);
        break;
    case LUA_TSTRING:
        rv = write_string(writer, index);
        break;
    case LUA_TTABLE:
        return write_table(writer, index);
    case LUA_TLIGHTUSERDATA:
        rv = lua_touserdata(L, index) == NULL ? write_part(writer, VALUE_NULL, NULL, 0)
                                              : refuse_type(writer, index, false);
        break;
    default:
        return refuse_type(writer, index, false);
    }
    if (rv == 0) {
        count_bytes(writer, write_buffer_len(writer->out) - before);
    }
    return rv;
}

int value_write(lua_State *L, int index, const struct value_rules *rules, struct write_buffer *out, size_t cap,
                const char *where, char *err, size_t errlen)
{
    struct value_writer writer = {
        .L = L, .rules = rules, .out = out, .cap = cap, .where = where, .err = err, .errlen = errlen};
    int top = lua_gettop(L);
    int rv = copy_value(&writer, index < 0 && index > LUA_REGISTRYINDEX ? top + index + 1 : index);
    lua_settop(L, top);
    return rv;
}

/* Checking. */

struct value_checker {
    const char *at, *end;
    unsigned depth; /* tables around what is checked */
};

static bool check_value_copy(struct value_checker *checker, bool is_key);

static bool check_bytes(struct value_checker *checker, void *bytes, size_t len)
{
    if ((size_t)(checker->end - checker->at) < len) {
        return false;
    }
    if (bytes != NULL) {
        memcpy(bytes, checker->at, len);
    }
    checker->at += len;
    return true;
}

static bool check_table_copy(struct value_checker *checker)
{
    struct value_counts counts;
    if (checker->depth == VALUE_DEPTH_MAX || !check_bytes(checker, &counts, sizeof counts)) {
        return false;
    }
    uint64_t left = (uint64_t)(checker->end - checker->at); /* each value takes a byte at least */
    bool is_good = counts.items + 2 * (uint64_t)counts.fields <= left && counts.items < INT32_MAX;
    checker->depth++;
    for (uint32_t i = 0; i < counts.items && is_good; i++) {
        is_good = check_value_copy(checker, false);
    }
    for (uint32_t i = 0; i < counts.fields && is_good; i++) {
        is_good = check_value_copy(checker, true) && check_value_copy(checker, false);
    }
    checker->depth--;
    return is_good;
}

static bool check_value_copy(struct value_checker *checker, bool is_key)
{
    uint32_t len;
    double number;
    char kind = 0;
    if (!check_bytes(checker, &kind, 1)) {
        return false;
    }
    switch (kind) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        return true;
    case VALUE_NIL:
    case VALUE_NULL:
        return !is_key;
    case VALUE_NUMBER:
        return check_bytes(checker, &number, sizeof number) && !(is_key && isnan(number));
    case VALUE_STRING:
        return check_bytes(checker, &len, sizeof len) && check_bytes(checker, NULL, len);
    case VALUE_TABLE:
    case VALUE_ARRAY:
        return !is_key && check_table_copy(checker);
    default:
        return false;
    }
}

bool value_check(const char *bytes, size_t len)
{
    struct value_checker checker = {.at = bytes, .end = bytes + len};
    return check_value_copy(&checker, false) && checker.at == checker.end;
}

/* Reading. */

struct value_reader {
    lua_State *L;
    const struct value_rules *rules;
    const char *at;
    const char *looked_at; /* where look was called last */
    size_t work;           /* values since then */
};

static void read_value(struct value_reader *reader);

static void take_bytes(struct value_reader *reader, void *bytes, size_t len)
{
    memcpy(bytes, reader->at, len);
    reader->at += len;
}

static void read_table(struct value_reader *reader, bool is_array)
{
    lua_State *L = reader->L;
    struct value_counts counts;
    take_bytes(reader, &counts, sizeof counts);
    lua_createtable(L, (int)counts.items, (int)counts.fields);
    for (uint32_t i = 1; i <= counts.items; i++) {
        read_value(reader);
        lua_rawseti(L, -2, (int)i);
    }
    for (uint32_t i = 0; i < counts.fields; i++) {
        read_value(reader);
        read_value(reader);
        lua_rawset(L, -3);
    }
    if (is_array) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, reader->rules->array_meta);
        if (lua_istable(L, -1)) {
            lua_setmetatable(L, -2);
        } else { /* this state has no such mark */
            lua_pop(L, 1);
        }
    }
}

static void look_at_work(struct value_reader *reader)
{
    size_t bytes = (size_t)(reader->at - reader->looked_at);
    if (bytes + ++reader->work * VALUE_COST >= VALUE_LOOK_BYTES && reader->rules->look != NULL) {
        reader->looked_at = reader->at;
        reader->work = 0;
        reader->rules->look(reader->L);
    }
}

static void read_value(struct value_reader *reader)
{
    lua_State *L = reader->L;
    uint32_t len;
    double number;
    enum value_kind kind = (enum value_kind) * reader->at++;
    switch (kind) {
    case VALUE_FALSE:
        lua_pushboolean(L, 0);
        break;
    case VALUE_TRUE:
        lua_pushboolean(L, 1);
        break;
    case VALUE_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case VALUE_NUMBER:
        take_bytes(reader, &number, sizeof number);
        lua_pushnumber(L, number);
        break;
    case VALUE_STRING:
        take_bytes(reader, &len, sizeof len);
        lua_pushlstring(L, reader->at, len);
        reader->at += len;
        break;
    case VALUE_TABLE:
        read_table(reader, false);
        break;
    case VALUE_ARRAY:
        read_table(reader, true);
        break;
    case VALUE_NIL:
        lua_pushnil(L);
        break;
    }
    look_at_work(reader);
}

const char *value_read(lua_State *L, const struct value_rules *rules, const char *bytes)
{
    struct value_reader reader = {.L = L, .rules = rules, .at = bytes, .looked_at = bytes};
    read_value(&reader);
    return reader.at;
}
