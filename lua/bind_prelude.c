#include "lua/bind_prelude.h"

#include "core/sys.h"
#include "lua/prelude.h"
#include "lua/script_error.h"

#include <luajit.h>
#include <string.h>

/* fail(text): an error of the prelude's, told as the script's. */
static int lua_fail(lua_State *L)
{
    script_raise(L, "%s", luaL_checkstring(L, 1));
}

/* quote(text): text between quotes, with what does not show made visible. */
static int lua_quote(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushliteral(L, "\"");
    script_push_visible(L, text, len, VISIBLE_QUOTED);
    lua_pushliteral(L, "\"");
    lua_concat(L, 3);
    return 1;
}

/* place(): "scripts/site.lua:12", where the script called. */
static int lua_place(lua_State *L)
{
    char place[PLACE_MAX];
    script_place(L, place);
    lua_pushstring(L, place);
    return 1;
}

static int lua_check_loading(lua_State *L)
{
    script_check_loading(L, luaL_checkstring(L, 1));
    return 0;
}

/* allow_globals(on): whether new globals were allowed so far in this run; changes that, if on is given. */
static int lua_allow_globals(lua_State *L)
{
    struct run *run = script_of(L)->run;
    lua_pushboolean(L, run->allows_globals);
    if (lua_isboolean(L, 1)) {
        run->allows_globals = lua_toboolean(L, 1) != 0;
    }
    return 1;
}

/* shifted_time(): seconds since the epoch, on a clock that tests have moved. */
static int lua_shifted_time(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)sys_wall_time_s());
    return 1;
}

/* ref(name, value): a value of the prelude's that C needs. */
static int lua_set_ref(lua_State *L)
{
    static const struct {
        const char *name;    /* in the prelude */
        enum script_ref ref; /* in C */
    } names[] = {
        {"xpcall", REF_XPCALL},
        {"report", REF_REPORT},
        {"serve", REF_SERVE},
        {"respond", REF_RESPOND},
        {"run_stream", REF_RUN_STREAM},
        {"run_failed", REF_RUN_FAILED},
        {"run_timer", REF_RUN_TIMER},
        {"run_deferred", REF_RUN_DEFERRED},
        {"run_websocket", REF_RUN_WEBSOCKET},
        {"run_task", REF_RUN_TASK},
        {"give_back", REF_GIVE_BACK},
        {"relay", REF_RELAY},
        {"threads", REF_THREADS},
        {"error_handler", REF_ERROR_HANDLER},
        {"closed", REF_CLOSED},
        {"cancelled", REF_CANCELLED},
        {"headers_meta", REF_HEADERS_META},
        {"response_meta", REF_RESPONSE_META},
        {"raised_meta", REF_RAISED_META},
        {"answer_raised", REF_ANSWER_RAISED},
        {"to_response", REF_TO_RESPONSE},
        {"wrap", REF_WRAP},
        {"no_routes", REF_NO_ROUTES},
        {"freeze", REF_FREEZE},
        {"start", REF_START},
        {"memory", REF_MEMORY},
        {"stopping", REF_STOPPING},
        {"stop", REF_STOP},
        {"array_meta", REF_ARRAY_META},
        {"socket_meta", REF_SOCKET_META},
        {"fetched_meta", REF_FETCHED_META},
        {"run_tests", REF_RUN_TESTS},
    };
    const struct script *script = script_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool is_it = strcmp(name, names[i].name) == 0;
        if (is_it && script->refs[names[i].ref] == LUA_NOREF) { /* each once: C relies on what they are */
            script_set_ref(L, names[i].ref);
            return 0;
        }
    }
    return luaL_error(L, "no such value, or it is set already: %s", name);
}

void prelude_run_parts(lua_State *L, int core, const struct prelude_part *parts)
{
    for (const struct prelude_part *part = parts; part->text != NULL; part++) {
        if (luaL_loadbufferx(L, part->text, part->len, "=evserve", "t") != 0) {
            script_raise_top(L);
        }
        luaJIT_setmode(L, -1, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
        for (int table = core; table <= core + 2; table++) {
            lua_pushvalue(L, table);
        }
        lua_call(L, 3, 0);
    }
}

void prelude_run(lua_State *L, const struct prelude_part *parts)
{
    int core = lua_gettop(L);
    lua_newtable(L);
    lua_newtable(L);
    prelude_run_parts(L, core, parts);
}

void bind_prelude(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fail", lua_fail},
        {"place", lua_place},
        {"quote", lua_quote},
        {"check_loading", lua_check_loading},
        {"allow_globals", lua_allow_globals},
        {"ref", lua_set_ref},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    if (sys_shift_ns() != 0) { /* a run of tests: Lua's own clock must follow */
        lua_pushcfunction(L, lua_shifted_time);
        lua_setfield(L, -2, "shifted_time");
    }
}
