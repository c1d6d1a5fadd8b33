/* A LuaJIT without GC64, on a machine of 64 bits, refuses every allocator but its own. */

#include "lua/script.h"

#include <lua.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* In place of LuaJIT's, see tests/CMakeLists.txt. */
lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *arg);

lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *arg)
{
    (void)allocate, (void)arg;
    return NULL;
}

static void script_is_refused_with_the_reason(void **state)
{
    (void)state;
    char err[256];
    struct script *script = NULL;
    int rv = script_open(&script, "site.lua", NULL, NULL, NULL, NULL, err, sizeof err);
    assert_true(rv < 0);
    assert_null(script);
    assert_string_equal(err, "cannot open site.lua: this LuaJIT was built without GC64, so it takes no memory from the "
                             "server; LuaJIT needs XCFLAGS=-DLUAJIT_ENABLE_GC64, or a version of 2022 or later");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(script_is_refused_with_the_reason)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
