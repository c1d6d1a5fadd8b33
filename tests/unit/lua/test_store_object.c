/* lua/store_object.c and the files below it, in a plain Lua state as workers have: what methods return, how mistakes are
 * named, and that nothing is lost when memory is short. */

#include "lua/store_object.h"

#include "core/mem.h"
#include "core/store.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static lua_State *L;
static struct stores *stores;
static struct store_scope scope;

static void *allocate(void *arg, void *block, size_t old, size_t size)
{
    (void)arg, (void)old;
    if (size == 0) {
        mem_free(block);
        return NULL;
    }
    return mem_resize(block, size);
}

__attribute__((format(printf, 2, 3))) static void raise(lua_State *state, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    luaL_error(state, "%s", text);
}

static int advance(lua_State *state)
{
    fake_sys_advance_ms(lua_tointeger(state, 1));
    return 0;
}

static void open_scope(void)
{
    store_scope_init(&scope, stores, raise);
    L = lua_newstate(allocate, NULL);
    luaL_openlibs(L);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    scope.rules.array_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setglobal(L, "array_meta");
    store_object_push_open(L, &scope);
    lua_setglobal(L, "open");
    lua_register(L, "pass", advance);
}

static void close_scope(void)
{
    lua_close(L);
    store_scope_done(&scope);
}

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    stores = NULL;
    int rv = stores_create(&stores);
    open_scope();
    return rv;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    close_scope();
    stores_release(stores);
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static void run(const char *code)
{
    if (luaL_dostring(L, code) != 0) {
        fail_msg("%s", lua_tostring(L, -1));
    }
    lua_settop(L, 0);
}

static void methods_do_what_they_say(void **state)
{
    (void)state;
    run("s = open('app.store', 'a')\n"
        "assert(s:get 'k' == nil and s:set('k', 'v') == true and s:get 'k' == 'v')\n"
        "assert(s:add('k', 1) == false and s:replace('k', false) == true and s:get 'k' == false)\n"
        "assert(s:replace('none', 1) == false and s:add('new', 1.5) == true and s:get 'new' == 1.5)\n"
        "assert(s:delete 'new' == true and s:delete 'new' == false)\n"
        "assert(s:set('k', nil) == true and s:get 'k' == nil)\n");
    run("assert(s:incr 'n' == 1 and s:incr('n', 2.5) == 3.5 and s:incr('n', -4) == -0.5 and s:get 'n' == -0.5)\n"
        "assert(s:incr('from', 1, 10) == 11 and s:incr('from', 1, 10) == 12)\n"
        "assert(s:incr(7) == 1 and s:get '7' == 1 and s:set(2^53, 1) and s:get '9007199254740992' == 1)\n");
    run("assert(s:set('t', 1, '1s') and s:ttl 't' == 1000 and s:ttl 'n' == math.huge and s:ttl 'none' == nil)\n"
        "pass(999) assert(s:get 't' == 1 and s:ttl 't' == 1) pass(1) assert(s:get 't' == nil)\n"
        "assert(s:incr('w', 1, 0, 500) == 1 and s:incr('w', 1, 0, 500) == 2) pass(500)\n"
        "assert(s:incr('w', 1, 0, 500) == 1)\n"
        "assert(s:expire('w', '1h') and s:ttl 'w' == 3600000 and s:expire 'w' and s:ttl 'w' == math.huge)\n"
        "assert(s:expire('w', math.huge) and s:expire('none', 1) == false)\n"
        "assert(s:once('job', '1m') == true and s:once('job', '1m') == false) pass(60000)\n"
        "assert(s:once('job', '1m') == true and s:get 'job' == true)\n");
    run("s:flush() for i = 1, 1200 do s:set('u:' .. i, i) end s:set('other', 1)\n"
        "local keys, more = s:keys() assert(#keys == 1000 and more == true)\n"
        "keys, more = s:keys('u:', 1200) assert(#keys == 1200 and more == false)\n"
        "keys, more = s:keys('u:', 1199) assert(#keys == 1199 and more == true)\n"
        "keys, more = s:keys('none') assert(#keys == 0 and more == false)\n"
        "keys, more = s:keys('other', 1) assert(keys[1] == 'other' and #keys == 1 and not more)\n"
        "local st = s:stats() assert(st.keys == 1201 and st.size == 1048576 and st.evicted == 0 and st.bytes < st.size)\n"
        "s:flush() assert(s:stats().keys == 0 and #s:keys('') == 0)\n");
}

static void tables_and_long_texts_come_back(void **state)
{
    (void)state;
    run("s = open('app.store', 'a', { size = '1M' })\n"
        "local rows = setmetatable({}, array_meta)\n"
        "for i = 1, 100 do rows[i] = { id = i, name = ('x'):rep(i) } end\n"
        "s:set('rows', rows) rows[1].id = 0\n"
        "local got = s:get 'rows'\n"
        "assert(#got == 100 and got[1].id == 1 and got[100].name == ('x'):rep(100))\n"
        "assert(getmetatable(got) == array_meta)\n"
        "local long = ('abc'):rep(200000) s:set('long', long) assert(s:get 'long' == long)\n"
        "s:set('empty', '') assert(s:get 'empty' == '')\n");
    assert_int_equal(scope.text.capacity <= 65536, true); /* what was long is not kept */
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *code, *error;
    } cases[] = {
        {"s:set('k', { x = { print } })", "store:set: a: value.x[1]: a function cannot be copied"},
        {"s:set('k', setmetatable({}, {}))", "store:set: a: value: a table with a metatable cannot be copied"},
        {"s:add('k')", "store:add: a: a value expected, got nil"},
        {"s:get()", "store:get: a: text expected as the key, got no value"},
        {"s:get {}", "store:get: a: text expected as the key, got table"},
        {"s:get ''", "store:get: a: a key of 1 to 8192 bytes expected, got 0"},
        {"s:get(('k'):rep(8193))", "store:get: a: a key of 1 to 8192 bytes expected, got 8193"},
        {"s.get('k')", "store:get: call it as a method, with a colon"},
        {"s.get(io.stdout, 'k')", "store:get: call it as a method, with a colon"},
        {"s.get(nil, 'k')", "store:get: call it as a method, with a colon"},
        {"s:set('k', 'v') s:incr 'k'", "store:incr: a: the value of \"k\" is not a number"},
        {"s:incr('n', 'x')", "store:incr: a: the second argument: a finite number expected, got string"},
        {"s:incr('n', 0/0)", "store:incr: a: the second argument: a finite number expected, got one that is not"},
        {"s:incr('n', 1, {})", "store:incr: a: the initial value: a finite number expected, got table"},
        {"s:set('k', 1, 0)",
         "store:set: a: ttl: at least a millisecond expected, got 0; leave it out for a key that stays"},
        {"s:set('k', 1, 0.5)", "store:set: a: ttl: 0.5 is not a whole number; write a duration such as \"30s\""},
        {"s:set('k', 1, -1)", "store:set: a: ttl: -1 is not a whole number; write a duration such as \"30s\""},
        {"s:set('k', 1, {})", "store:set: a: ttl: a duration such as \"30s\" expected, got table"},
        {"s:set('k', 1, '5 s')",
         "store:set: a: ttl: \"5 s\" is not a whole number with a unit (ms, s, m or h), such as \"30s\""},
        {"s:set('k', 1, '5s\\0')", "store:set: a: ttl: the text contains a NUL byte"},
        {"s:once 'k'", "store:once: a: ttl: a duration such as \"30s\" expected, got no value"},
        {"s:once('k', math.huge)", "store:once: a: ttl: inf is not a whole number; write a duration such as \"30s\""},
        {"s:keys('', 0)", "store:keys: a: 1 to 1000000 keys expected, got 0"},
        {"s:keys('', 1000001)", "store:keys: a: 1 to 1000000 keys expected, got 1000001"},
        {"open('app.store')", "app.store: a name such as \"sessions\" expected, got no value"},
        {"open('app.store', 'a b')",
         "app.store: the name \"a b\" must be 1 to 64 letters, digits and '_', '-', '.', ':'"},
        {"open('app.store', 'a\\0')", "app.store: the name contains a NUL byte"},
        {"open('app.store', 'x', 5)", "app.store: a table of options such as { size = \"16M\" } expected, got number"},
        {"open('app.store', 'x', { sise = 5 })", "app.store: unknown option \"sise\": there are redis, size"},
        {"open('app.store', 'x', { timeout = 5 })",
         "app.store: timeout: an option of a store in Redis, which has redis, too"},
        {"open('app.store', 'x', { 5 })", "app.store: unknown option \"\": there are redis, size"},
        {"open('app.store', 'x', { size = {} })", "app.store: size: a size such as \"16M\" expected, got table"},
        {"open('app.store', 'x', { size = 0 })", "app.store: size: at least 64K expected, got 0"},
        {"open('app.store', 'x', { size = '1K' })", "app.store: x: size: 1024 bytes are out of range: 65536 (64K) to "},
        {"open('app.store', 'x', { redis = 'redis://127.0.0.1' })",
         "app.store: redis: modules of workers have no stores in Redis. Call them in the script, and hand the module what it "
         "needs"},
        {"open('app.store', 'a', { size = '128K' })",
         "app.store: a: the script has given it 65536 bytes before, and now 131072: give the size once"},
    };
    run("s = open('app.store', 'a', { size = '64K' })");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_not_equal(luaL_dostring(L, cases[i].code), 0);
        const char *error = lua_tostring(L, -1);
        if (strstr(error, cases[i].error) == NULL) {
            fail_msg("%s: %s", cases[i].code, error);
        }
        lua_settop(L, 0);
    }
    run("assert(open('app.store', 'a', { size = '64K' }) and open('app.store', 'a'))");
}

static void value_at_the_limit_fits_and_one_beyond_does_not(void **state)
{
    (void)state;
    run("s = open('app.store', 'a', { size = '64K' })\n"
        "local low, high = 1, 65536\n"
        "while high - low > 1 do\n"
        "    local middle = math.floor((low + high) / 2)\n"
        "    if pcall(s.set, s, 'k', ('x'):rep(middle)) then low = middle else high = middle end\n"
        "end\n"
        "local ok, err = pcall(s.set, s, 'k', ('x'):rep(low + 1))\n"
        "assert(not ok)\n"
        "local most = err:match 'the value is too large: up to (%d+) bytes fit; app.store%(\"a\", { size = ... }%)'\n"
        "assert(tonumber(most) == low + 5, err)\n" /* a kind and a length */
        "assert(#s:get 'k' == low)\n"
        "ok, err = pcall(s.set, s, 'k', { ('x'):rep(low + 1) }) assert(not ok and err:find 'too large', err)\n");
}

static void two_scopes_share_a_store_and_the_last_frees_it(void **state)
{
    (void)state;
    struct store_scope first;
    run("open('app.store', 'a'):set('k', 1)");
    first = scope;
    lua_State *first_state = L;
    open_scope();
    run("assert(open('app.store', 'a', { size = '2M' }):get 'k' == 1)");
    store_scope_settle(&scope, NULL);
    run("assert(open('app.store', 'a'):stats().size == 2097152)");
    fake_mem_fail_after(1, false);
    scope.uses[0]->size = 4 << 20;
    store_scope_settle(&scope, NULL); /* without memory it stays */
    run("assert(open('app.store', 'a'):stats().size == 2097152)");
    lua_close(first_state);
    store_scope_done(&first);
    run("assert(open('app.store', 'a'):get 'k' == 1)");
    close_scope();
    open_scope();
    run("assert(open('app.store', 'a'):get 'k' == nil)");
}

static void scope_without_a_server_has_stores_of_its_own(void **state)
{
    (void)state;
    close_scope();
    struct stores *kept = stores;
    stores = NULL;
    open_scope();
    run("s = open('app.store', 'a') s:set('k', 1) assert(open('app.store', 'a'):get 'k' == 1)");
    stores = kept;
}

/* A finalizer that uses the store while a value of it is being read or listed. */
static void finalizers_may_use_the_store(void **state)
{
    (void)state;
    run("s = open('app.store', 'a')\n"
        "local rows = {} for i = 1, 300 do rows[i] = { id = i } s:set('key:' .. i, i) end s:set('rows', rows)\n"
        "collectgarbage('setpause', 100) collectgarbage('setstepmul', 1000)\n"
        "local runs = 0\n"
        "local function finalize()\n"
        "    runs = runs + 1 s:set('noise', { ('y'):rep(500) }) s:get 'noise' s:keys('key:', 3)\n"
        "    open('app.store', 'b' .. runs % 9)\n"
        "end\n"
        "for round = 1, 20 do\n"
        "    for i = 1, 5 do getmetatable(newproxy(true)).__gc = finalize end\n"
        "    local got = s:get 'rows' for i = 1, 300 do assert(got[i].id == i) end\n"
        "    assert(#s:keys 'key:' == 300)\n"
        "end\n"
        "assert(runs > 50, runs)\n");
}

/* Every allocation fails once: the error is that of memory, the store stays whole, and nothing leaks. */
static void short_memory_is_an_error_each_time(void **state)
{
    (void)state;
    run("s = open('app.store', 'a')\n"
        "s:set('long', ('x'):rep(1000)) s:set('table', { a = { 1, 2, 3 } })\n"
        "function work()\n"
        "    s:set('t', { x = { 1, 2, ('y'):rep(600) } }) s:set('s', 'text') s:incr 'n'\n"
        "    assert(#s:get 'long' == 1000 and s:get('table').a[3] == 3 and s:get('t').x[2] == 2)\n"
        "    assert(#s:keys() > 3 and s:stats().keys > 3 and open('app.store', 'b' .. s:get 'n'))\n"
        "    s:add('added', 1) s:once('job', 1)\n"
        "end\n"
        "work()\n");
    int rv;
    uint64_t n = 0;
    do {
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT, 0);
        lua_getglobal(L, "work");
        fake_mem_fail_after(++n, false);
        rv = lua_pcall(L, 0, 0, 0);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        if (rv != 0) {
            assert_non_null(strstr(lua_tostring(L, -1), "memory"));
            assert_true(has_failed);
        }
        run("assert(#s:get 'long' == 1000 and s:get('table').a[3] == 3)");
    } while (rv != 0);
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(methods_do_what_they_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tables_and_long_texts_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(value_at_the_limit_fits_and_one_beyond_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_scopes_share_a_store_and_the_last_frees_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scope_without_a_server_has_stores_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finalizers_may_use_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_memory_is_an_error_each_time, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
