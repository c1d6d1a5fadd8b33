/* lua/value.c: what can be copied arrives as it was, what cannot is named, and limits and memory end a copy. */

#include "lua/value.h"

#include "core/mem.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Two values are the same: of the same type, and tables with the same keys, values and mark. */
static const char helpers[] =
    "function same(a, b)\n"
    "    if type(a) ~= type(b) then return false end\n"
    "    if type(a) ~= 'table' then return a == b or (a ~= a and b ~= b) end\n"
    "    if getmetatable(a) ~= getmetatable(b) then return false end\n"
    "    for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "    for k in pairs(b) do if a[k] == nil then return false end end\n"
    "    return true\n"
    "end\n"
    "function nested(depth) local t = {} for i = 2, depth do t = { inner = t } end return t end\n";

static lua_State *L;
static struct write_buffer out;
static struct value_rules rules;
static char err[512];
static int looks;

static void *allocate(void *arg, void *block, size_t old, size_t size)
{
    (void)arg, (void)old;
    if (size == 0) {
        mem_free(block);
        return NULL;
    }
    return mem_resize(block, size);
}

static int open_state(void **state)
{
    (void)state;
    L = lua_newstate(allocate, NULL);
    luaL_openlibs(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    rules = (struct value_rules){.array_meta = luaL_ref(L, LUA_REGISTRYINDEX)};
    lua_setglobal(L, "array_meta");
    lua_pushlightuserdata(L, NULL);
    lua_setglobal(L, "null");
    write_buffer_init(&out);
    return luaL_dostring(L, helpers);
}

static int close_state(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    lua_close(L);
    write_buffer_done(&out);
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static void push(const char *expression)
{
    char code[512];
    snprintf(code, sizeof code, "return %s", expression);
    if (luaL_dostring(L, code) != 0) {
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
    }
}

static int copy_out(int index, size_t cap)
{
    write_buffer_consume(&out, SIZE_MAX);
    err[0] = '\0';
    return value_write(L, index, &rules, &out, cap, "argument 1", err, sizeof err);
}

static void values_arrive_as_they_were(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "nil",
        "true",
        "false",
        "null",
        "0",
        "-0.5",
        "2^53",
        "1/0",
        "0/0",
        "''",
        "'text'",
        "('x'):rep(100000)",
        "'a\\0b'",
        "{}",
        "{1, 2, 3}",
        "{a = 1, b = {c = 'd'}}",
        "{1, 2, x = 3, [1.5] = 4, [-1] = 5, [0] = 6, [2^40] = 7}",
        "{[true] = 1, [false] = 2}",
        "{1, nil, 3, nil, 5}",
        "{[3] = 'sparse', [1000000] = 1}",
        "setmetatable({}, array_meta)",
        "setmetatable({{}, setmetatable({1}, array_meta)}, array_meta)",
        "{null, {null}, x = null}",
        "nested(32)",
        "{'', [''] = ''}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lua_settop(L, 0);
        lua_getglobal(L, "same");
        push(cases[i]);
        assert_int_equal(copy_out(-1, 1 << 20), 0);
        assert_int_equal(lua_gettop(L), 2);
        const char *end = value_read(L, &rules, write_buffer_data(&out));
        assert_ptr_equal(end, write_buffer_data(&out) + write_buffer_len(&out));
        assert_int_equal(lua_gettop(L), 3);
        lua_call(L, 2, 1);
        if (!lua_toboolean(L, -1)) {
            fail_msg("%s arrived as something else", cases[i]);
        }
    }
}

static void copies_stand_one_after_another(void **state)
{
    (void)state;
    push("1, {2}, 'three'");
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(value_write(L, i, &rules, &out, 1000, "argument", err, sizeof err), 0);
    }
    const char *at = write_buffer_data(&out);
    for (int i = 1; i <= 3; i++) {
        at = value_read(L, &rules, at);
    }
    assert_ptr_equal(at, write_buffer_data(&out) + write_buffer_len(&out));
    assert_string_equal(lua_tostring(L, 6), "three");
    assert_int_equal(lua_tointeger(L, 4), 1);
}

static void what_cannot_be_copied_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *expression, *error;
    } cases[] = {
        {"print", "argument 1: a function cannot be copied"},
        {"{users = {{}, {}, {fn = print}}}", "argument 1.users[3].fn: a function cannot be copied"},
        {"coroutine.create(print)", "argument 1: a thread cannot be copied"},
        {"io.stdout", "argument 1: a userdata cannot be copied"},
        {"{x = 1LL}", "argument 1.x: a cdata cannot be copied"},
        {"{setmetatable({}, {})}", "argument 1[1]: a table with a metatable cannot be copied"},
        {"{a = {[{}] = 1}}", "argument 1.a: a table as a key cannot be copied"},
        {"{[print] = 1}", "argument 1: a function as a key cannot be copied"},
        {"{[null] = 1}", "argument 1: a userdata as a key cannot be copied"},
        {"{['a b'] = {[1.5] = {[true] = {['0'] = print}}}}",
         "argument 1[\"a b\"][1.5][true][\"0\"]: a function cannot be copied"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lua_settop(L, 0);
        push(cases[i].expression);
        assert_int_equal(copy_out(1, 1 << 20), -EINVAL);
        assert_string_equal(err, cases[i].error);
        assert_int_equal(lua_gettop(L), 1);
    }
}

static void depth_is_limited(void **state)
{
    (void)state;
    push("nested(33)");
    assert_int_equal(copy_out(1, 1 << 20), -EINVAL);
    assert_non_null(strstr(err, ".inner.inner: tables are nested too deeply, or one contains itself"));
    lua_settop(L, 0);
    push("(function() local t = {} t.t = {t, t, t} return t end)()");
    assert_int_equal(copy_out(1, 1 << 20), -EINVAL);
    assert_non_null(strstr(err, "argument 1.t[1].t[1]"));
    assert_non_null(strstr(err, ": tables are nested too deeply, or one contains itself"));
}

static void long_key_is_cut_in_the_error(void **state)
{
    (void)state;
    push("{[('k'):rep(1000)] = {[('k'):rep(1000)] = {[('k'):rep(1000)] = {[('k'):rep(1000)] = {x = print}}}}}");
    assert_int_equal(copy_out(1, 1 << 20), -EINVAL);
    assert_non_null(strstr(err, "...: a function cannot be copied"));
    assert_in_range(strlen(err), 256, 300);
}

/* A table whose parts are all there once, but which holds itself so often that no memory would be enough. */
static void copy_has_a_limit_of_bytes(void **state)
{
    (void)state;
    push("(function() local t = 'x' for i = 1, 30 do t = {t, t} end return t end)()");
    assert_int_equal(copy_out(1, 1 << 16), -ENOBUFS);
    assert_in_range(write_buffer_len(&out), 1, 1 << 16);
    lua_settop(L, 0);
    push("{'abc', x = 1}");
    assert_int_equal(copy_out(1, 1 << 16), 0);
    size_t len = write_buffer_len(&out);
    assert_int_equal(copy_out(1, len), 0);
    for (size_t cap = 0; cap < len; cap++) {
        assert_int_equal(copy_out(1, cap), -ENOBUFS);
    }
}

static void count_looks(lua_State *state)
{
    (void)state;
    looks++;
}

static void long_copies_look_up_now_and_then(void **state)
{
    (void)state;
    push("(function() local t = {} for i = 1, 10000 do t[i] = true end return t end)()");
    rules.look = count_looks;
    looks = 0;
    assert_int_equal(copy_out(1, 1 << 20), 0);
    assert_in_range(looks, 5, 20);
    looks = 0;
    value_read(L, &rules, write_buffer_data(&out));
    assert_in_range(looks, 5, 20);
}

static void short_memory_ends_a_copy(void **state)
{
    (void)state;
    push("{('x'):rep(1000), {}, x = 1}");
    int rv;
    uint64_t n = 0;
    do {
        write_buffer_done(&out);
        fake_mem_fail_after(++n, false);
        rv = copy_out(1, 1 << 20);
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || rv == -ENOMEM);
    } while (rv != 0);
    assert_true(n > 1);
    assert_int_equal(lua_gettop(L), 1);
}

static int read_protected(lua_State *state)
{
    luaL_checkstack(state, VALUE_SLOTS, "values");
    value_read(state, &rules, write_buffer_data(&out));
    return 1;
}

static void short_memory_ends_reading_with_an_error(void **state)
{
    (void)state;
    push("{('x'):rep(1000), {1, 2, 3}, x = 1}");
    assert_int_equal(copy_out(1, 1 << 20), 0);
    int rv;
    uint64_t n = 0;
    do {
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT, 0);
        lua_pushcfunction(L, read_protected);
        fake_mem_fail_after(++n, false);
        rv = lua_pcall(L, 0, 1, 0);
        fake_mem_fail_after(0, false);
        assert_true(rv == 0 || rv == LUA_ERRMEM);
    } while (rv != 0);
    assert_true(n > 2);
}

/* Copies that have been elsewhere. */

/* Check bytes that lie at the end of a block of memory, and read them if they are good. Returns whether they are. */
static bool check_and_read(const char *bytes, size_t len)
{
    char *block = malloc(len == 0 ? 1 : len);
    assert_non_null(block);
    memcpy(block, bytes, len);
    bool is_good = value_check(block, len);
    if (is_good) {
        assert_ptr_equal(value_read(L, &rules, block), block + len);
    }
    free(block);
    lua_settop(L, 0);
    return is_good;
}

static void only_whole_copies_pass_the_check(void **state)
{
    (void)state;
    push(
        "{ 1, 'two', { true, false, null }, setmetatable({}, array_meta), [0.5] = 'x', [true] = -1, name = ('y'):rep(300) }");
    assert_int_equal(value_write(L, -1, &rules, &out, 10000, "v", err, sizeof err), 0);
    size_t len = write_buffer_len(&out);
    assert_true(check_and_read(write_buffer_data(&out), len));
    for (size_t part = 0; part < len; part++) {
        assert_false(check_and_read(write_buffer_data(&out), part));
    }
    char longer[10000];
    memcpy(longer, write_buffer_data(&out), len);
    longer[len] = 'n';
    assert_false(check_and_read(longer, len + 1));
}

static void changed_copies_are_refused_or_can_be_read(void **state)
{
    (void)state;
    push("{ 'one', { 2, { a = 'b', [3] = 4 } }, key = { true, null, [0.25] = {} } }");
    assert_int_equal(value_write(L, -1, &rules, &out, 10000, "v", err, sizeof err), 0);
    size_t len = write_buffer_len(&out);
    char changed[1000];
    static const char kinds[] = "nftNdsTA";
    unsigned good = 0, bad = 0;
    for (size_t at = 0; at < len; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(changed, write_buffer_data(&out), len);
            changed[at] = (char)byte;
            changed[len - 1 - at] = kinds[byte % 8];
            bool is_good = check_and_read(changed, len);
            good += is_good;
            bad += !is_good;
        }
    }
    assert_true(good > 0 && bad > good);
}

static void copies_that_cannot_be_made_are_refused(void **state)
{
    (void)state;
    enum { TABLE_LEN = 9 }; /* its kind, items, fields */
    char bytes[1000];
    size_t len = 0;
    for (int i = 0; i <= VALUE_DEPTH_MAX; i++) { /* one deeper than may be */
        memcpy(bytes + len, "T\1\0\0\0\0\0\0\0", TABLE_LEN);
        len += TABLE_LEN;
    }
    bytes[len++] = 'n';
    assert_false(value_check(bytes, len));
    assert_true(value_check(bytes + TABLE_LEN, len - TABLE_LEN));
    static const char huge[] = "T\xff\xff\xff\x7f\0\0\0\0n", nil_key[] = "T\0\0\0\0\1\0\0\0nn";
    static const char table_key[] = "T\0\0\0\0\1\0\0\0T\0\0\0\0\0\0\0\0n";
    static const char nan_key[] = "T\0\0\0\0\1\0\0\0d\0\0\0\0\0\0\xf8\x7fn";
    assert_false(value_check(huge, sizeof huge - 1));
    assert_false(value_check(nil_key, sizeof nil_key - 1));
    assert_false(value_check(table_key, sizeof table_key - 1));
    assert_false(value_check(nan_key, sizeof nan_key - 1));
    assert_false(value_check("x", 1));
    assert_false(value_check("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_arrive_as_they_were, open_state, close_state),
        cmocka_unit_test_setup_teardown(copies_stand_one_after_another, open_state, close_state),
        cmocka_unit_test_setup_teardown(what_cannot_be_copied_is_named, open_state, close_state),
        cmocka_unit_test_setup_teardown(depth_is_limited, open_state, close_state),
        cmocka_unit_test_setup_teardown(long_key_is_cut_in_the_error, open_state, close_state),
        cmocka_unit_test_setup_teardown(copy_has_a_limit_of_bytes, open_state, close_state),
        cmocka_unit_test_setup_teardown(long_copies_look_up_now_and_then, open_state, close_state),
        cmocka_unit_test_setup_teardown(short_memory_ends_a_copy, open_state, close_state),
        cmocka_unit_test_setup_teardown(short_memory_ends_reading_with_an_error, open_state, close_state),
        cmocka_unit_test_setup_teardown(only_whole_copies_pass_the_check, open_state, close_state),
        cmocka_unit_test_setup_teardown(changed_copies_are_refused_or_can_be_read, open_state, close_state),
        cmocka_unit_test_setup_teardown(copies_that_cannot_be_made_are_refused, open_state, close_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
