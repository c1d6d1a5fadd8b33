/* Happy path: most values have nothing to escape, and are given back as they are.
 *
 * Failure modes: memory, which raises. */

#include "lua/bind_template.h"

#include "core/escape.h"
#include "lua/bind_prelude.h"
#include "lua/hook.h"
#include "lua/prelude.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

enum { LONG_VALUE = 1024 }; /* bytes whose escaping takes some time */

/* escape(text): text, for the place that is the upvalue. */
static int escape_value(lua_State *L)
{
    enum escape_place place = (enum escape_place)lua_tointeger(L, lua_upvalueindex(1));
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_settop(L, 1);
    if (len >= LONG_VALUE) {
        hook_look_soon(script_of(L));
    }
    size_t span = escape_span(place, text, len);
    if (span == len) {
        return 1;
    }
    struct write_buffer *out = script_lend_scratch(L, "a template");
    if (write_buffer_append(out, text, span, SIZE_MAX) < 0 || escape_append(out, place, text + span, len - span) < 0) {
        script_raise_memory(L);
    }
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
    return 1;
}

/* is_safe_url(text) */
static int is_safe_url(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_pushboolean(L, escape_is_safe_url(text, len));
    return 1;
}

/* template_load(core, app, shared): the functions of prelude_template.lua are in shared then. */
static int load_templates(lua_State *L)
{
    lua_settop(L, 3);
    prelude_run_parts(L, 1, evserve_template_prelude);
    return 0;
}

void bind_template(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"is_safe_url", is_safe_url},
        {"template_load", load_templates},
        {NULL, NULL},
    };
    static const char *const names[ESCAPE_COUNT] = {
        [ESCAPE_HTML] = "escape_html",       [ESCAPE_URL] = "escape_url",     [ESCAPE_PATH] = "escape_path",
        [ESCAPE_SEGMENT] = "escape_segment", [ESCAPE_QUERY] = "escape_query", [ESCAPE_JSON] = "escape_json",
        [ESCAPE_STRING] = "escape_string",
    };
    luaL_register(L, NULL, functions);
    for (int place = 0; place < ESCAPE_COUNT; place++) {
        lua_pushinteger(L, place);
        lua_pushcclosure(L, escape_value, 1);
        lua_setfield(L, -2, names[place]);
    }
}
