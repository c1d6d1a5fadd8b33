/* Garbage, in steps.
 *
 * LuaJIT would make a step inside whatever allocates: a finalizer (__gc, ffi.gc) could then run in the middle of any C
 * function, and its error would be that of whoever allocated. So its own collecting is stopped for good, and steps are
 * made where nothing is under way: by the count hook (deadline.c), and when a run has ended (coro_resume(),
 * script_call()).
 *
 * Happy path: the pace is LuaJIT's. A cycle begins when twice as much is held as the last one left (setpause), and each
 * step does as much work as has been allocated since the one before, times two (setstepmul).
 *
 * Failure modes: the error of a finalizer is a line in the log, and the cycle goes on behind it. */

#include "lua/collector.h"

#include "core/log.h"
#include "core/visible.h"

#include <limits.h>

enum {
    STEP_BYTES = 16384,  /* allocated between two steps */
    PAUSE_PERCENT = 200, /* held at the begin of a cycle, of what the last one left */
    ALL_KB = 1 << 20,    /* of a step that goes on to the end of the cycle, however large that is */
};

/* What is to be done. */
struct collection {
    bool is_whole; /* a cycle of its own, from the beginning */
    int step_kb;   /* else this much */
    bool is_done;  /* a cycle has come to its end */
};

static int collect_whole(lua_State *L)
{
    struct collection *collection = lua_touserdata(L, 1);
    if (collection->is_whole) {
        collection->is_whole = false; /* after an error it goes on from where it was */
        collection->step_kb = ALL_KB;
        lua_gc(L, LUA_GCCOLLECT, 0);
        collection->is_done = true;
    } else {
        collection->is_done = lua_gc(L, LUA_GCSTEP, collection->step_kb) != 0;
    }
    return 0;
}

/* The error value on top of the stack, as a part of a log line. */
static void describe_failure(lua_State *L, char *text, size_t room)
{
    size_t len, taken;
    const char *told = lua_tolstring(L, -1, &len);
    if (told == NULL) {
        error_text(text, room, 0, "the error is a %s", luaL_typename(L, -1));
    } else {
        visible_copy(text, room, told, len, VISIBLE_LINE, &taken);
    }
}

/* Finalizers that failed during a collection. */
struct finalizer_failures {
    unsigned count;
    char first[SCRIPT_TEXT_MAX]; /* error of the first one */
};

/* Note the error on top of the stack, which stays. */
static void note_failure(lua_State *L, struct finalizer_failures *failures)
{
    if (failures->count++ == 0) {
        describe_failure(L, failures->first, sizeof failures->first);
    }
}

static void log_failures(const struct script *script, const struct finalizer_failures *failures)
{
    if (failures->count == 1) {
        log_write(script->log, LOG_ERROR, "finalizer (__gc): %s", failures->first);
    } else if (failures->count > 1) {
        log_write(script->log, LOG_ERROR, "finalizer (__gc): %s (and %u more that failed)", failures->first,
                  failures->count - 1);
    }
}

/* log_finalizer(error): one has failed, in a collection of ours or, in compiled code, of LuaJIT's. */
static int lua_log_finalizer(lua_State *L)
{
    struct script *script = script_of(L);
    struct finalizer_failures alone = {0};
    lua_settop(L, 1);
    note_failure(L, script->failures != NULL ? script->failures : &alone);
    log_failures(script, &alone);
    return 0;
}

/* Do it. The prelude catches the errors of finalizers, except those that C has set: such an error ends a step, but not
 * a whole collection. */
static void run_collection(lua_State *L, struct collection *collection)
{
    struct script *script = script_of(L);
    bool is_whole = collection->is_whole;
    struct finalizer_failures failures = {0};
    int rv;
    script->failures = &failures;
    script_enter_stack(script); /* this may be before a run, on another thread than that of the last one */
    while ((rv = lua_cpcall(L, collect_whole, collection)) != 0) {
        note_failure(L, &failures);
        lua_pop(L, 1);
        if (!is_whole || rv == LUA_ERRMEM) {
            break;
        }
    }
    script->failures = NULL;
    if (script->is_automatic) {
        collector_let(L);
    } else {
        collector_stop(L);
    }
    if (collection->is_done) {
        script->collect_at = script->memory_bytes / 100 * script->collect_pause;
    } else {
        script->collect_at = script->memory_bytes + STEP_BYTES;
    }
    script->collected_bytes = script->memory_bytes;
    log_failures(script, &failures);
}

void collector_step(lua_State *L)
{
    struct script *script = script_of(L);
    size_t grown = script->memory_bytes - script->collected_bytes; /* since the last step, if it has */
    bool has_grown = script->memory_bytes > script->collected_bytes;
    if (script->failures != NULL || script->is_collection_off) {
        return;
    }
    size_t kb = has_grown ? grown / 1024 + 1 : 1;
    struct collection step = {.step_kb = kb < ALL_KB ? (int)kb : ALL_KB};
    run_collection(L, &step);
}

void collector_finish(lua_State *L)
{
    struct collection whole = {.is_whole = true};
    if (script_of(L)->failures == NULL) { /* else a finalizer wants it */
        run_collection(L, &whole);
    }
}

void collector_let(lua_State *L)
{
    struct script *script = script_of(L);
    script->is_automatic = true;
    if (!script->is_collection_off) {
        lua_gc(L, LUA_GCRESTART, -1); /* when twice as much is held */
    }
}

void collector_let_again(lua_State *L)
{
    const struct script *script = script_of(L);
    if (script->is_automatic && script->failures == NULL) {
        collector_let(L);
    }
}

void collector_stop(lua_State *L)
{
    lua_gc(L, LUA_GCSTOP, 0);
}

void collector_start(lua_State *L)
{
    struct script *script = script_of(L);
    collector_stop(L);
    script->collect_pause = PAUSE_PERCENT;
    script->collect_at = script->memory_bytes * 2;
    script->collected_bytes = script->memory_bytes;
}

/* collectgarbage(option, argument), with all that Lua's has. */

static int lua_collectgarbage(lua_State *L)
{
    static const char *const options[] = {"collect",  "count",      "step",      "stop", "restart",
                                          "setpause", "setstepmul", "isrunning", NULL};
    enum { COLLECT, COUNT, STEP, STOP, RESTART, SETPAUSE, SETSTEPMUL, ISRUNNING };
    struct script *script = script_of(L);
    int option = luaL_checkoption(L, 1, "collect", options);
    int given = (int)luaL_optinteger(L, 2, 0);
    unsigned before = script->collect_pause;
    struct collection step = {.step_kb = given < 1 ? 1 : given < ALL_KB ? given : ALL_KB};
    switch (option) {
    case COLLECT:
        collector_finish(L);
        break;
    case COUNT:
        lua_pushnumber(L, (double)script->memory_bytes / 1024);
        return 1;
    case STEP:
        if (script->failures == NULL) {
            run_collection(L, &step);
        }
        lua_pushboolean(L, step.is_done);
        return 1;
    case STOP:
    case RESTART:
        script->is_collection_off = option == STOP;
        break;
    case SETPAUSE:
        script->collect_pause = given < 100 ? 100 : given > 1000 ? 1000 : (unsigned)given;
        lua_pushinteger(L, (lua_Integer)before);
        return 1;
    case SETSTEPMUL:
        lua_pushinteger(L, lua_gc(L, LUA_GCSETSTEPMUL, given));
        return 1;
    case ISRUNNING:
        lua_pushboolean(L, !script->is_collection_off);
        return 1;
    default:
        break;
    }
    lua_pushinteger(L, 0);
    return 1;
}

void bind_collector(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"log_finalizer", lua_log_finalizer},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    lua_pushcfunction(L, lua_collectgarbage);
    lua_setglobal(L, "collectgarbage");
}
