/* Happy path: a state like that of a worker's thread, with the functions below for its prelude, which runs the file and
 * counts the cases that fail.
 *
 * Failure modes: errors of the file and of its cases are the report's. What ends the whole run is a text for the caller:
 * no memory for the state, or a site that does not start again. */

#include "lua/rehearsal.h"

#include "core/log.h"
#include "core/sys.h"
#include "core/units.h"
#include "http/http_date.h"
#include "lua/bind_prelude.h"
#include "lua/birth.h"
#include "lua/call.h"
#include "lua/collector.h"
#include "lua/compiler.h"
#include "lua/deadline.h"
#include "lua/duration.h"
#include "lua/memory.h"
#include "lua/only_lua.h"
#include "lua/prelude.h"
#include "lua/script_error.h"
#include "lua/stack_guard.h"
#include "lua/worker_state.h"

#include <errno.h>
#include <lualib.h>

enum {
    REHEARSAL_MEMORY_BYTES = 1 << 30, /* that the state may hold */
    REHEARSAL_READ_BYTES = 65536,
    REHEARSAL_TURN_MS_MAX = 60000, /* of one turn */
};

/* One end of a pair of sockets; its metatable is in the registry by this name. */
#define LINK_NAME "evserve.test_link"

struct test_link {
    int fd; /* -1 once it is closed */
};

struct rehearsal_call {
    const struct script_stage *stage;
    const char *path, *only;
    int failed; /* cases */
};

static const struct script_stage *stage_of(lua_State *L)
{
    const struct rehearsal_call *call = lua_touserdata(L, lua_upvalueindex(1));
    return call->stage;
}

static struct test_link *check_link(lua_State *L)
{
    return luaL_checkudata(L, 1, LINK_NAME);
}

static int lua_link_close(lua_State *L)
{
    struct test_link *link = check_link(L);
    if (link->fd >= 0) {
        sys_close(link->fd);
        link->fd = -1;
    }
    return 0;
}

/* connect(): a connection with the server. */
static int lua_link_open(lua_State *L)
{
    const struct script_stage *stage = stage_of(L);
    struct test_link *link = lua_newuserdata(L, sizeof *link);
    link->fd = -1;
    luaL_getmetatable(L, LINK_NAME);
    lua_setmetatable(L, -2);
    link->fd = stage->connect(stage->arg);
    if (link->fd < 0) {
        script_raise(L, "cannot connect with the site: %s", errno_text(-link->fd));
    }
    return 1;
}

/* send(link, text, from): how many bytes of text from there on were sent, 0 if there is no room; nil and why if the
 * server has closed the connection. */
static int lua_link_send(lua_State *L)
{
    const struct test_link *link = check_link(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    size_t from = (size_t)luaL_checkinteger(L, 3);
    ssize_t sent = from >= len ? 0 : link->fd < 0 ? -EPIPE : sys_send(link->fd, text + from, len - from, false);
    if (sent < 0 && sent != -EAGAIN && sent != -EINTR) {
        lua_pushnil(L);
        lua_pushstring(L, errno_text((int)-sent));
        return 2;
    }
    lua_pushnumber(L, sent < 0 ? 0 : (lua_Number)sent);
    return 1;
}

/* receive(link): what has come, nil if there is nothing yet, false at the end. */
static int lua_link_receive(lua_State *L)
{
    const struct test_link *link = check_link(L);
    char bytes[REHEARSAL_READ_BYTES];
    ssize_t got = link->fd < 0 ? 0 : sys_recv(link->fd, bytes, sizeof bytes);
    if (got > 0) {
        lua_pushlstring(L, bytes, (size_t)got);
    } else if (got == -EAGAIN || got == -EINTR) {
        lua_pushnil(L);
    } else {
        lua_pushboolean(L, 0);
    }
    return 1;
}

/* turn(ms): let the server work, and wait so long at most for something to do. Returns whether it is there. */
static int lua_stage_turn(lua_State *L)
{
    const struct script_stage *stage = stage_of(L);
    double ms = luaL_checknumber(L, 1);
    int rv = stage->turn(stage->arg, ms < 0 ? 0 : ms > REHEARSAL_TURN_MS_MAX ? REHEARSAL_TURN_MS_MAX : (int)ms);
    lua_pushboolean(L, rv > 0);
    return 1;
}

/* step(end_ms): move the clock to the next timer, or to its end. Returns whether it is there. */
static int lua_stage_step(lua_State *L)
{
    const struct script_stage *stage = stage_of(L);
    int rv = stage->step(stage->arg, (int64_t)luaL_checknumber(L, 1));
    if (rv < 0) {
        script_raise(L, "t:advance: the site does not run any more");
    }
    lua_pushboolean(L, rv > 0);
    return 1;
}

static int lua_stage_restart(lua_State *L)
{
    const struct script_stage *stage = stage_of(L);
    char err[SCRIPT_TEXT_MAX];
    if (stage->restart(stage->arg, err, sizeof err) < 0) {
        script_raise(L, "t:restart: the site does not start: %s", err);
    }
    return 0;
}

/* line(text): a line of the report. */
static int lua_stage_line(lua_State *L)
{
    const struct script_stage *stage = stage_of(L);
    stage->line(stage->arg, luaL_checkstring(L, 1));
    return 0;
}

static int lua_clock_ms(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)(sys_now_ns() / NS_PER_MS));
    return 1;
}

/* duration(value, what): its milliseconds. */
static int lua_test_duration(lua_State *L)
{
    lua_pushnumber(L, duration_check(L, 1, luaL_checkstring(L, 2)));
    return 1;
}

/* http_date(text): seconds since the epoch, or nil. */
static int lua_http_date(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int64_t time_s;
    if (!http_date_parse(text, len, sys_wall_time_s(), &time_s)) {
        return 0;
    }
    lua_pushnumber(L, (lua_Number)time_s);
    return 1;
}

/* Add the functions above to the table on top of the stack. */
static void bind_stage(lua_State *L, struct rehearsal_call *call)
{
    static const luaL_Reg functions[] = {
        {"connect", lua_link_open},      {"send", lua_link_send},      {"receive", lua_link_receive},
        {"close", lua_link_close},       {"turn", lua_stage_turn},     {"step", lua_stage_step},
        {"restart", lua_stage_restart},  {"line", lua_stage_line},     {"clock_ms", lua_clock_ms},
        {"duration", lua_test_duration}, {"http_date", lua_http_date},
    };
    luaL_newmetatable(L, LINK_NAME);
    lua_pushcfunction(L, lua_link_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        lua_pushlightuserdata(L, call);
        lua_pushcclosure(L, functions[i].func, 1);
        lua_setfield(L, -2, functions[i].name);
    }
}

static int build_test_state(lua_State *L)
{
    struct script *state = script_of(L);
    luaL_openlibs(L);
    only_lua_limit(L);
    birth_seed(L);
    compiler_start(L);
    lua_pushcfunction(L, script_message_handler);
    script_set_ref(L, REF_DESCRIBE);
    worker_state_push_core(L, state);
    bind_stage(L, lua_touserdata(L, 1));
    prelude_run(L, evserve_test_prelude);
    state->store_scope.rules.array_meta = state->refs[REF_ARRAY_META];
    lua_sethook(L, NULL, 0, 0);
    state->on_count = NULL;
    state->has_compiled = true;
    compiler_settle(L);
    return 0;
}

static int run_test_file(lua_State *L)
{
    struct rehearsal_call *call = lua_touserdata(L, 1);
    lua_settop(L, 0);
    script_push_ref(script_of(L), L, REF_RUN_TESTS);
    lua_pushstring(L, call->path);
    lua_pushstring(L, call->only);
    lua_call(L, 2, 1);
    call->failed = (int)lua_tointeger(L, -1);
    return 0;
}

int rehearsal_run(const struct script_stage *stage, const char *path, const char *only, char *err, size_t errlen)
{
    struct rehearsal_call call = {.stage = stage, .path = path, .only = only};
    struct script *made;
    struct run run;
    int rv = birth_create(&made, path, err, errlen);
    if (rv < 0) {
        return rv;
    }
    made->is_worker = true;
    made->is_repeat = true; /* no warning of the compiler */
    made->settings.lua_memory_bytes = REHEARSAL_MEMORY_BYTES;
    memory_reset_mark(made);
    script_enter_stack(made);
    deadline_enter(made, 0, &run);
    rv = script_protect(made, build_test_state, &call, err, errlen);
    collector_let(made->L);
    made->phase = SCRIPT_READY;
    made->has_started = true;
    rv = rv < 0 ? rv : script_protect(made, run_test_file, &call, err, errlen);
    deadline_leave(made);
    worker_state_close(made);
    return rv < 0 ? rv : call.failed;
}
