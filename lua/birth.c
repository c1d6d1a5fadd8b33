/* Failure modes: a struct that is half made can be closed and freed. */

#include "lua/birth.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "lua/memory.h"
#include "lua/scratch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Nobody can foretell it, and no other state has the same. */
static uint64_t make_seed(void)
{
    uint64_t seed;
    if (sys_random(&seed, sizeof seed) < 0) {
        seed = (uint64_t)sys_now_ns() ^ (uint64_t)sys_wall_time_s() << 20;
    }
    return seed;
}

/* Allocate, so that birth_free() can clean up whatever follows. Returns as memory_new_state(). */
static int allocate_script(struct script **script, const char *path)
{
    struct script *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < REF_COUNT; i++) {
        made->refs[i] = LUA_NOREF;
    }
    made->run = &made->idle_run;
    write_buffer_init(&made->scratch);
    settings_init(&made->settings);
    memory_reset_mark(made);
    made->seed = make_seed();
    size_t len = strlen(path) + 2;
    made->chunk_name = mem_alloc(len);
    if (made->chunk_name != NULL) {
        snprintf(made->chunk_name, len, "@%s", path);
    }
    int rv = made->chunk_name == NULL ? -ENOMEM : memory_new_state(made);
    if (rv < 0) {
        birth_close_state(made);
        birth_free(made);
        return rv;
    }
    *script = made;
    return 0;
}

int birth_create(struct script **script, const char *path, char *err, size_t errlen)
{
    int rv = allocate_script(script, path);
    if (rv == -ENOTSUP) {
        return error_text(err, errlen, rv,
                          "cannot open %s: this LuaJIT was built without GC64, so it takes no memory from the server; "
                          "LuaJIT needs XCFLAGS=-DLUAJIT_ENABLE_GC64, or a version of 2022 or later",
                          path);
    }
    return rv < 0 ? error_text(err, errlen, rv, "cannot open %s: out of memory", path) : 0;
}

void birth_seed(lua_State *L)
{
    lua_getglobal(L, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushnumber(L, (lua_Number)(script_of(L)->seed >> 11)); /* the bits that a number has */
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

void birth_close_state(struct script *script)
{
    script->phase = SCRIPT_CLOSING;
    if (script->L != NULL) {
        script_enter_stack(script); /* it runs finalizers, maybe on another thread than the script's */
        lua_close(script->L);
    }
}

void birth_free(struct script *script)
{
    store_scope_done(&script->store_scope);
    scratch_done(script);
    memory_done(script);
    mem_free(script->chunk_name);
    mem_free(script);
}
