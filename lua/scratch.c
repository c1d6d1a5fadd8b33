/* Happy path: what one function has made is overwritten by the next, so that texts made again and again need no memory.
 *
 * Failure modes: an error jumps past the return, so whatever raises ends the loan first: script_raise_top(), the
 * allocator, and script_reserve_values(). */

#include "lua/scratch.h"

#include "lua/collector.h"

#include <assert.h>

enum { SCRATCH_KEEP_BYTES = 65536 }; /* a buffer that grew beyond this is freed after its use */

void script_end_loan(struct script *script)
{
    if (script->scratch_user != NULL) {
        script->scratch_user = NULL;
        collector_let_again(script->L);
    }
}

struct write_buffer *script_lend_scratch(lua_State *L, const char *user)
{
    struct script *script = script_of(L);
    assert(script->scratch_user == NULL); /* what was made in it would be lost */
    script->scratch_user = user;
    collector_stop(L);
    write_buffer_consume(&script->scratch, SIZE_MAX);
    return &script->scratch;
}

void script_return_scratch(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->scratch.capacity > SCRATCH_KEEP_BYTES) {
        write_buffer_done(&script->scratch);
    }
    script_end_loan(script);
    if (script->is_automatic) {
        collector_look(script, L); /* each loan puts LuaJIT's own step off */
    }
}

void script_reserve_values(lua_State *L, int count, const char *what)
{
    struct script *script = script_of(L);
    const char *user = script->scratch_user;
    script_end_loan(script); /* as Lua may raise */
    luaL_checkstack(L, count, what);
    if (user != NULL) {
        script->scratch_user = user;
        collector_stop(L);
    }
}

void scratch_done(struct script *script)
{
    write_buffer_done(&script->scratch);
}
