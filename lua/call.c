#include "lua/call.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/tick_clock.h"
#include "lua/collector.h"
#include "lua/deadline.h"
#include "lua/memory.h"
#include "lua/script_error.h"

#include <errno.h>
#include <stdio.h>

/* The -errno of a run that failed. */
static int failure_of(const struct run *run, bool is_short)
{
    return run->stop == STOP_LOAD ? -ETIMEDOUT : is_short ? -ENOMEM : -EINVAL;
}

/* The function of an event has run for long, maybe. While the script starts, others wait for it on purpose. */
static void note_event(const struct script *script, const struct run *run)
{
    bool is_seen = run->took_ns >= STALL_NOTED_NS && script->has_started && !script_is_elsewhere(script);
    char *name = is_seen ? stalls_note(&reactor_clock(script->reactor)->stalls, run->took_ns) : NULL;
    if (name != NULL) {
        snprintf(name, STALL_NAME_MAX, "app.on(\"%s\") of %.400s", script->event == NULL ? "" : script->event,
                 script_path(script));
    }
}

int script_call(struct script *script, int nargs, int nresults, char *err, size_t errlen)
{
    struct run run;
    script_enter_stack(script);
    int handler = lua_gettop(script->L) - nargs;
    script_push_ref(script, script->L, REF_DESCRIBE);
    lua_insert(script->L, handler);
    deadline_enter(script, script->has_started ? script->settings.handler_cpu_ms : 0, &run);
    int rv = lua_pcall(script->L, nargs, nresults, handler);
    deadline_leave(script);
    note_event(script, &run);
    lua_remove(script->L, handler);
    if (script->running == NULL) {
        collector_look(script, script->L);
    }
    if (rv == 0) {
        return 0;
    }
    /* One that went through pcall or require has no code that says so. */
    bool is_short = rv == LUA_ERRMEM || script_is_memory_error(script->L, -1, &run);
    if (is_short && run.refused_bytes > 0) {
        char text[SCRIPT_TEXT_MAX];
        memory_describe(script, &run, text, sizeof text);
        lua_pop(script->L, 1);
        return error_text(err, errlen, -ENOMEM, "%s: %s", script_path(script), text);
    }
    return script_describe_error(script, failure_of(&run, is_short), err, errlen);
}

int script_protect(struct script *script, lua_CFunction fn, void *arg, char *err, size_t errlen)
{
    int rv = lua_cpcall(script->L, fn, arg);
    return rv == 0 ? 0 : script_describe_error(script, failure_of(script->run, rv == LUA_ERRMEM), err, errlen);
}
