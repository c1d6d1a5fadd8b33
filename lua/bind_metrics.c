/* Happy path: app.metrics() registers a route that responds in C (http/metrics.h).
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. */

#include "lua/bind_metrics.h"

#include "http/metrics.h"
#include "http/router.h"
#include "http/site.h"
#include "lua/routes.h"
#include "lua/script_error.h"

#include <string.h>

/* metrics(what, path): what is the function that was called, for errors. */
static int app_metrics(lua_State *L)
{
    struct script *script = script_of(L);
    char place[PLACE_MAX];
    char err[SCRIPT_TEXT_MAX];
    const char *what = luaL_checkstring(L, 1);
    script_check_loading(L, what);
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "%s: a path such as \"/metrics\" expected, got %s", what, luaL_typename(L, 2));
    }
    const char *path = script_check_text(L, 2, what);
    script_place(L, place);
    struct lua_route *route = routes_make(script, place, metrics_serve);
    if (route == NULL) {
        script_raise_memory(L);
    }
    route->handler.body_mode = BODY_UNWANTED;
    if (router_add(script->site->router, METHOD_BIT(METHOD_GET), path, &route->handler, place, err, sizeof err) < 0) {
        lua_pushstring(L, err); /* has the place already */
        return lua_error(L);
    }
    script->site->has_metrics = true;
    return 0;
}

void bind_metrics(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"metrics", app_metrics},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
