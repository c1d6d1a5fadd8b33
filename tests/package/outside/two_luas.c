/* A host that has a Lua of its own, which is not LuaJIT. It serves a script, if it can, and then runs its own Lua.
 * Exit status: 0 both work, 3 the script was refused, another one is a failure. */

#include <evserve.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static int run_own_lua(void)
{
    lua_State *L = luaL_newstate();
    int is_broken;
    luaL_openlibs(L);
    is_broken = luaL_dostring(L, "assert(_VERSION == 'Lua 5.4' and math.type(1) == 'integer')");
    if (is_broken) {
        fprintf(stderr, "the host's Lua: %s\n", lua_tostring(L, -1));
    }
    lua_close(L);
    return is_broken;
}

int main(int argc, char **argv)
{
    struct evserve_config config = {0};
    char err[EVSERVE_ERROR_MAX];
    evserve *server;
    config.size = sizeof config;
    config.listen = "none";
    config.script = argc > 1 ? argv[1] : NULL;
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 3;
    }
    evserve_free(server);
    return run_own_lua();
}
