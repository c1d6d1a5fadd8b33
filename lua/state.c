/* What the script's parts need of each other at the least: places in the registry, arrays that grow, lines that do not
 * fill the log. */

#include "lua/state.h"

#include "core/mem.h"
#include "core/sys.h"
#include "core/units.h"

#include <errno.h>
#include <stdio.h>

enum {
    GROW_FIRST = 16,     /* first length of a growing array */
    LINE_WAIT_MS = 1000, /* between two lines of a kind that would fill the log */
};

void script_set_ref(lua_State *L, enum script_ref ref)
{
    struct script *script = script_of(L);
    const void *place = lua_topointer(L, -1);
    script->refs[ref] = luaL_ref(L, LUA_REGISTRYINDEX);
    script->ref_places[ref] = place;
}

int script_grow(void ***array, uint32_t count, uint32_t *capacity)
{
    if (count < *capacity) {
        return 0;
    }
    uint32_t wanted = *capacity == 0 ? GROW_FIRST : *capacity * 2;
    void **grown = mem_resize(*array, wanted * sizeof *grown);
    if (grown == NULL) {
        return -ENOMEM;
    }
    *array = grown;
    *capacity = wanted;
    return 0;
}

int64_t script_now_ms(const struct script *script)
{
    return script_is_elsewhere(script) ? sys_now_ns() / NS_PER_MS : reactor_now_ms(script->reactor);
}

bool script_may_log(const struct script *script, struct line_limit *limit, char others[OTHERS_MAX])
{
    int64_t now_ms = script_now_ms(script);
    if (now_ms < limit->until_ms) {
        limit->skipped++;
        return false;
    }
    others[0] = '\0';
    if (limit->skipped > 0) {
        snprintf(others, OTHERS_MAX, " (and %llu more since the last such line)", (unsigned long long)limit->skipped);
    }
    *limit = (struct line_limit){.until_ms = now_ms + LINE_WAIT_MS};
    return true;
}
