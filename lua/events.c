#include "lua/events.h"

#include "core/log.h"
#include "lua/call.h"

#include <errno.h>

/* Push the n-th function that app.on() was given for an event, from 1. Whether there is one; if not, nothing is
 * pushed. */
static bool push_listener(const struct script *script, enum script_ref event, size_t n)
{
    lua_State *L = script->L;
    script_push_ref(script, L, event);
    if (n > lua_objlen(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_rawgeti(L, -1, (int)n);
    lua_remove(L, -2);
    return true;
}

/* Call a function of an event, which lies on the main thread's stack. Returns as script_call(). */
static int call_listener(struct script *script, enum script_ref event, char *err, size_t errlen)
{
    const char *outer = script->event;
    script->event = event == REF_START      ? "start"
                    : event == REF_MEMORY   ? "memory"
                    : event == REF_STOPPING ? "stopping"
                                            : "stop";
    int rv = script_call(script, 0, 0, err, errlen);
    script->event = outer;
    return rv;
}

int events_start(struct script *script, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t n = 1; rv == 0 && push_listener(script, REF_START, n); n++) {
        rv = call_listener(script, REF_START, err, errlen);
        rv = rv < 0 && rv != -ETIMEDOUT ? -EINVAL : rv;
    }
    return rv;
}

void events_call(struct script *script, enum script_ref event)
{
    char err[SCRIPT_TEXT_MAX];
    for (size_t n = 1; push_listener(script, event, n); n++) {
        if (call_listener(script, event, err, sizeof err) < 0) {
            log_write(script->log, LOG_ERROR, "%s", err);
        }
    }
}

/* Whether there are any functions to ask. */
static bool ask_for_memory(struct script *script)
{
    bool is_asked = script->has_started && push_listener(script, REF_MEMORY, 1);
    if (is_asked) {
        lua_pop(script->L, 1);
        events_call(script, REF_MEMORY);
    }
    return is_asked;
}

void events_init(struct script *script)
{
    script->on_full = ask_for_memory;
}
