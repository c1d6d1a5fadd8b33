/* A host that provides a module for its scripts: require "host" returns a table with take(name), which changes a number
 * in the host, and names(), which returns a list. The script named on the command line uses it to handle requests. */

#include "evserve.h"

#include <lauxlib.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct item {
    const char *name;
    int count;
};

static struct item inventory[] = {{"apples", 3}, {"pears", 5}};

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

/* host.take(name): returns the number of items and takes one away; returns nil if the name is unknown. */
static int take(lua_State *L)
{
    struct item *items = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1);
    for (size_t i = 0; i < sizeof inventory / sizeof inventory[0]; i++) {
        if (strcmp(items[i].name, name) == 0) {
            lua_pushinteger(L, items[i].count--);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

/* host.names(): returns all names. */
static int names(lua_State *L)
{
    const struct item *items = lua_touserdata(L, lua_upvalueindex(1));
    lua_newtable(L);
    for (size_t i = 0; i < sizeof inventory / sizeof inventory[0]; i++) {
        lua_pushstring(L, items[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* Called once, by require "host". */
static int open_host(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction fn;
    } functions[] = {{"take", take}, {"names", names}};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushcclosure(L, functions[i].fn, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    return 1;
}

/* config.lua_init: package.preload.host = open_host. */
static int add_module(struct lua_State *L, void *arg)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushlightuserdata(L, arg);
    lua_pushcclosure(L, open_host, 1);
    lua_setfield(L, -2, "host");
    lua_pop(L, 2);
    return 0;
}

int main(int argc, char **argv)
{
    struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0",
        .script = argc > 1 ? argv[1] : "site.lua",
        .lua_init = add_module,
        .arg = inventory,
    };
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return cut != 0;
}
