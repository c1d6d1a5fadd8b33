/* Happy path: everything is loaded as code that is not to be compiled, and the compiler is off. A route with jit = true
 * makes an exception for its function, and the compiler is turned on when the script has loaded.
 *
 * Failure mode: the process may not make memory executable, as with MemoryDenyWriteExecute= of systemd. LuaJIT finds
 * that out only when it has compiled something, and ends the process then. So this file tries it first. Without
 * executable memory the compiler stays off, which the log says, and all code is interpreted. */

#include "lua/compiler.h"

#include "core/log.h"
#include "core/sys.h"

#include <luajit.h>

/* Whether code can be made: asked once, when somebody wants to compile. */
static bool can_compile(struct script *script)
{
    if (script->code != CODE_UNKNOWN) {
        return script->code == CODE_ALLOWED;
    }
    int rv = sys_try_code();
    script->code = rv == 0 ? CODE_ALLOWED : CODE_DENIED;
    if (rv < 0 && !script->is_repeat) {
        log_write(script->log, LOG_WARN,
                  "%s: jit has no effect, the code is interpreted: this process may not make memory executable (%s). "
                  "With systemd, MemoryDenyWriteExecute= is the setting that denies it",
                  script_path(script), errno_text(-rv));
    }
    return rv == 0;
}

void compiler_start(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* README.md tells why */
}

void compiler_allow(lua_State *L, int index)
{
    script_of(L)->has_compiled = true;
    luaJIT_setmode(L, index, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_ON);
}

void compiler_settle(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->has_compiled && can_compile(script)) { /* all other code was loaded as not to be compiled */
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
    }
}

/* can_compile(): whether jit.on has an effect. */
static int lua_can_compile(lua_State *L)
{
    lua_pushboolean(L, can_compile(script_of(L)));
    return 1;
}

void bind_compiler(lua_State *L)
{
    static const luaL_Reg functions[] = {{"can_compile", lua_can_compile}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
